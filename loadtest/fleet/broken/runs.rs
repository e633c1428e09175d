//! What befalls the fleet, one function a run. What is waited for is seen; times are only those for which a fault goes on
//! while readers look.

use std::io;
use std::time::Duration;

use ghostpin::demo::processes::Signal;
use tokio::time::sleep;

use super::Run;
use super::rig::{Rig, bound, is_done, run};
use crate::line::{Then, Way};
use crate::net::part;
use crate::stage::{Plan, SITE};

/// For so long readers look at what a fault leads to.
const LOOK: Duration = Duration::from_millis(900);
/// How late etcd's answers come in [`Run::LateAnswers`]: by more than a lease's margin and the half second in which etcd
/// notices that one is over.
const LATE: Duration = Duration::from_millis(2_200);

/// How late the controller's news are in [`Run::Joined`], when it has written a fence.
const LATE_NEWS: Duration = Duration::from_millis(200);
/// What the controller says of a site that is fenced.
const FENCE: &str = "\"phase\":\"fence\"";
/// What a new edge writes first, and what it reads.
const ITS_KEY: &str = "/edges/";
const THE_SITES: &str = "/sites/";

/// Says how the fleet is set up.
pub fn set_up(run: Run, plan: &mut Plan) {
    let ttl = match run {
        Run::Joined => 5,
        Run::Newcomer => 4,
        Run::LateAnswers | Run::LostKey | Run::Laggard | Run::Twice => 3,
        Run::CutOff | Run::SlowAnswers | Run::Asleep | Run::Removed => 2,
    };
    plan.cluster += &format!("lease_ttl = \"{ttl}s\"\n");
    if run == Run::SlowAnswers {
        // So that there is time for the fault, between the fence and the next pin.
        plan.site = "[site.hooks]\nfence = { command = [\"sleep\", \"0.5\"] }\n".to_owned();
    }
    // Another site stays when the one is removed.
    plan.others = usize::from(run == Run::Removed);
}

pub async fn happens(rig: &mut Rig, run: Run) -> io::Result<()> {
    match run {
        Run::CutOff => cut_off(rig).await,
        Run::SlowAnswers => slow_answers(rig).await,
        Run::LateAnswers => late_answers(rig).await,
        Run::Joined => is_joined(rig).await,
        Run::LostKey => lost_key(rig).await,
        Run::Newcomer => newcomer(rig).await,
        Run::Laggard => laggard(rig).await,
        Run::Asleep => asleep(rig).await,
        Run::Twice => twice(rig).await,
        Run::Removed => removed(rig).await,
    }
}

async fn cut_off(rig: &mut Rig) -> io::Result<()> {
    let (controller, edge) = rig.start_with_readers(&[0, 1, 2]).await?;
    rig.lines[edge].hold_both();
    rig.moves(controller, 1).await?;
    sleep(LOOK).await;
    rig.lines[edge].flows();
    rig.stage.until_served().await
}

async fn slow_answers(rig: &mut Rig) -> io::Result<()> {
    rig.start(&[0, 1, 2]).await?;
    let controller = rig.controller().await?;
    let edge = (controller + 1) % 3;
    for at in 0..3 {
        rig.read(at, 50, if at == edge { Duration::from_secs(1) } else { Duration::ZERO });
    }
    // Until the first of the slow ones are answered.
    sleep(Duration::from_millis(1_200)).await;
    let moving = tokio::spawn(rig.stage.handoff(controller, 1));
    let is_fenced = || async { rig.stage.pin(edge).await.is_ok_and(|(_, _, phase)| phase == "held") };
    rig.stage.until("the edge is fenced", is_fenced).await?;
    rig.lines[edge].hold_both();
    // The last of them are answered meanwhile.
    sleep(Duration::from_millis(1_300)).await;
    rig.lines[edge].flows();
    is_done(bound("the handoff", moving).await???)?;
    rig.stage.until_served().await
}

async fn late_answers(rig: &mut Rig) -> io::Result<()> {
    let (controller, edge) = rig.start_with_readers(&[0, 1, 2]).await?;
    rig.lines[edge].be_late(Way::Down, LATE);
    // Until an answer is that late, though one is waited for at a time.
    sleep(LATE * 2).await;
    rig.lines[edge].hold(Way::Up);
    let moving = tokio::spawn(rig.stage.handoff(controller, 1));
    // What etcd has said before that is on its way; of the fence, nothing is heard.
    sleep(LATE).await;
    rig.lines[edge].hold(Way::Down);
    is_done(bound("the handoff", moving).await???)?;
    sleep(LOOK).await;
    rig.lines[edge].flows();
    rig.stage.until_served().await
}

async fn is_joined(rig: &mut Rig) -> io::Result<()> {
    rig.stage.start_alone(2)?;
    rig.stage.until_served().await?;
    rig.stage.until_well(2).await?;
    for n in 1..=5 {
        rig.moves(2, n % 2).await?;
    }
    let (joined, ..) = rig.stage.pin(2).await?;
    rig.stage.edges[2].kill().await?;
    let (controller, _) = rig.start_with_readers(&[0, 1]).await?;
    rig.lines[controller].hold(Way::Down);
    rig.stage.join(2).await?;
    rig.lines[controller].trap(FENCE, Then::HoldUp);
    let moving = tokio::spawn(rig.stage.handoff(controller, 1));
    bound("the fence is on its way", rig.lines[controller].sprung()).await?;
    // etcd hears of it before the controller hears of what was joined.
    rig.lines[controller].goes_on(Way::Up);
    sleep(LATE_NEWS).await;
    rig.lines[controller].flows();
    // What becomes of the wish depends on who is the controller by then.
    let _ = bound("an answer", moving).await??;
    let goes_on = || async {
        let (one, other) = (rig.stage.pin(0).await, rig.stage.pin(1).await);
        [one, other].iter().all(|pin| pin.as_ref().is_ok_and(|(epoch, ..)| *epoch > joined))
    };
    rig.stage.until("the site goes on from the pin that was joined", goes_on).await?;
    rig.stage.until_served().await
}

/// A third edge is started. Its line is held from just before it writes its key.
async fn comes_to_its_key(rig: &mut Rig) -> io::Result<()> {
    rig.lines[2].trap(ITS_KEY, Then::HoldBoth);
    let config = rig.config(2);
    rig.stage.run_edge(2, &config)?;
    bound("the edge writes its key", rig.lines[2].sprung()).await
}

async fn lost_key(rig: &mut Rig) -> io::Result<()> {
    let (controller, _) = rig.start_with_readers(&[0, 1]).await?;
    comes_to_its_key(rig).await?;
    rig.read(2, 50, Duration::ZERO);
    rig.moves(controller, 1).await?;
    sleep(LOOK).await;
    rig.lines[2].flows();
    rig.stage.until_served().await
}

async fn newcomer(rig: &mut Rig) -> io::Result<()> {
    let (controller, _) = rig.start_with_readers(&[0, 1]).await?;
    comes_to_its_key(rig).await?;
    rig.lines[controller].trap(FENCE, Then::HoldUp);
    let moving = tokio::spawn(rig.stage.handoff(controller, 1));
    bound("the fence is on its way", rig.lines[controller].sprung()).await?;
    rig.lines[2].flows();
    let keys = format!("{}/edges/", rig.prefix);
    // It serves, and has said so.
    let serves = || async {
        let keys = rig.stage.etcdctl(0, &["get", "--prefix", &keys, "--print-value-only"]).await;
        let said = |line: &str| {
            let key: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            key["name"] == "edge-2" && key["watermark"] != 0
        };
        keys.is_ok_and(|keys| keys.lines().any(said))
    };
    rig.stage.until("the new edge serves", serves).await?;
    rig.lines[2].hold_both();
    rig.read(2, 50, Duration::ZERO);
    rig.lines[controller].flows();
    is_done(bound("the handoff", moving).await???)?;
    sleep(LOOK).await;
    rig.lines[2].flows();
    rig.stage.until_served().await
}

async fn laggard(rig: &mut Rig) -> io::Result<()> {
    let [leader, third, behind] = rig.members;
    let (controller, _) = rig.start_with_readers(&[0, 1]).await?;
    rig.lines[2] = rig.line([leader, behind, behind]).await?;
    comes_to_its_key(rig).await?;
    for other in [leader, third] {
        part(&rig.stage.etcd[behind].node, &rig.stage.etcd[other].node)?;
    }
    rig.moves(controller, 1).await?;
    // It gets to the leader with its key, and no further.
    rig.lines[2].trap(THE_SITES, Then::Break);
    rig.lines[2].flows();
    bound("the edge reads", rig.lines[2].sprung()).await?;
    rig.read(2, 50, Duration::ZERO);
    sleep(LOOK).await;
    rig.stage.hear_all()?;
    rig.stage.until_served().await
}

async fn asleep(rig: &mut Rig) -> io::Result<()> {
    rig.start(&[0, 1, 2]).await?;
    let controller = rig.controller().await?;
    let edges = [(controller + 1) % 3, (controller + 2) % 3];
    rig.read(controller, 50, Duration::ZERO);
    edges.iter().for_each(|&edge| rig.read(edge, 100, Duration::from_millis(300)));
    sleep(Duration::from_millis(800)).await;
    for edge in edges {
        // What it would hear when it goes on would tell it as much as its clock.
        rig.lines[edge].hold_both();
        rig.stage.edges[edge].signal(Signal::STOP)?;
    }
    rig.moves(controller, 1).await?;
    sleep(Duration::from_millis(200)).await;
    for edge in edges {
        // Its timers are late: the thread that they belong to is the last one whose turn it is.
        let process = rig.stage.edges[edge].id()?.to_string();
        run("taskset", &["--all-tasks", "--cpu-list", "--pid", "0", &process]).await?;
        run("chrt", &["--idle", "--pid", "0", &process]).await?;
        rig.stage.edges[edge].signal(Signal::CONT)?;
    }
    sleep(LOOK).await;
    for edge in edges {
        run("chrt", &["--other", "--pid", "0", &rig.stage.edges[edge].id()?.to_string()]).await?;
        rig.lines[edge].flows();
    }
    rig.stage.until_served().await
}

async fn twice(rig: &mut Rig) -> io::Result<()> {
    let (controller, edge) = rig.start_with_readers(&[0, 1]).await?;
    rig.lines[edge].hold_both();
    let config = rig.config(2).replace("name = \"edge-2\"", &format!("name = \"edge-{edge}\""));
    rig.stage.run_edge(2, &config)?;
    let serves = || async { rig.stage.pin(2).await.is_ok_and(|(_, _, phase)| phase == "serving") };
    rig.stage.until("the edge serves elsewhere", serves).await?;
    rig.moves(controller, 1).await?;
    sleep(LOOK).await;
    rig.lines[edge].flows();
    rig.stage.until_served().await
}

async fn removed(rig: &mut Rig) -> io::Result<()> {
    let (controller, _) = rig.start_with_readers(&[0, 1, 2]).await?;
    rig.moves(controller, 1).await?;
    rig.moves(controller, 0).await?;
    for at in 0..3 {
        let (before, site) = split_at_the_site(&rig.config(at))?;
        let (_, others) = site.split_once("[[site]]").unwrap_or_default();
        std::fs::write(rig.stage.config_file(at), format!("{before}[[site]]{others}"))?;
        rig.stage.edges[at].signal(Signal::HUP)?;
    }
    let key = format!("{}/sites/{SITE}", rig.prefix);
    let is_gone = || async {
        let record = rig.stage.etcdctl(0, &["get", &key, "--print-value-only"]).await;
        record.is_ok_and(|record| record.is_empty() || record.contains("\"gone\""))
    };
    rig.stage.until("the site is gone", is_gone).await?;
    for at in 0..3 {
        let left = rig.stage.client(at).post("/v1/leave", None).await;
        left.map_err(|error| io::Error::other(error.to_string()))?;
        rig.stage.edges[at].kill().await?;
        rig.stage.forget(at)?;
    }
    let both = format!("backends = {:?}", [0, 1].map(|app| rig.stage.app(app).to_string()));
    let second = format!("backends = {:?}", [rig.stage.app(1).to_string()]);
    for at in 0..3 {
        let (before, site) = split_at_the_site(&rig.config(at))?;
        rig.stage.run_edge(at, &format!("{before}[[site]]\n{}", site.replacen(&both, &second, 1)))?;
    }
    rig.stage.until_served().await?;
    sleep(LOOK).await;
    Ok(())
}

/// A configuration, from its first site on and before; without that site's first line.
fn split_at_the_site(config: &str) -> io::Result<(String, String)> {
    let (before, site) =
        config.split_once("[[site]]\n").ok_or_else(|| io::Error::other("a configuration without sites"))?;
    Ok((before.to_owned(), site.to_owned()))
}
