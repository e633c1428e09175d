//! Edges that are upgraded in place, one after the other, with handoffs meanwhile. Readers come straight to each edge: there is
//! no balancer that could send them elsewhere.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Kind, failures};
use ghostpin_loadtest::report::{Report, millis};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::Settings;
use crate::scenarios::{TTL, judged, plan};
use crate::stage::{Plan, Stage, joined};

/// Readers' requests a second at each edge.
const RATE: u32 = 100;
/// What the old process still has may take so long.
const SHUTDOWN: Duration = Duration::from_secs(3);
/// A handoff may come at any moment of an upgrade.
const UPGRADE_MAX: Duration = Duration::from_millis(1_500);

/// The processes that have taken the place of those that the stage has started. They end with this.
#[derive(Default)]
struct Heirs([Option<Pid>; 3]);

impl Drop for Heirs {
    fn drop(&mut self) {
        for heir in self.0.into_iter().flatten() {
            let _ = kill_process(heir, Signal::KILL);
        }
    }
}

pub async fn upgrades(settings: &Settings) -> io::Result<Report> {
    let count = if settings.quick { 6 } else { 60 };
    let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = Rng::with_seed(seed);
    let mut report = Report::new(format!(
        "upgrades: {count} times one of three edges is upgraded in place, with a handoff in every second one (--seed {seed})"
    ));
    let stage = Stage::up(Plan {
        server: format!("shutdown_timeout = \"{SHUTDOWN:?}\"\nupgrade_probation = \"500ms\"\n"),
        delay: Duration::from_millis(20),
        ..plan(settings)
    })
    .await?;
    let readers = stage.readers(RATE, Duration::from_secs(15) * count);
    let mut heirs = Heirs::default();
    let (mut took, mut longest_handoff, mut controllers) = (Vec::new(), Duration::ZERO, 0);
    for n in 0..count as usize {
        // Each of them, and then any: the one that is the controller, and others.
        let at = if n < heirs.0.len() { n } else { random.usize(0..3) };
        let asked = (at + random.usize(1..3)) % 3;
        sleep(Duration::from_millis(500)).await;
        controllers += usize::from(stage.controller().await? == at);
        let before = match heirs.0[at] {
            Some(heir) => heir,
            None => Pid::from_raw(stage.edges[at].id()?.cast_signed()).ok_or_else(no_process)?,
        };
        let delay = Duration::from_millis(random.u64(0..UPGRADE_MAX.as_millis() as u64));
        let handoff = async {
            sleep(delay).await;
            if n % 2 == 1 { hand_off(&stage, asked).await.map(Some) } else { Ok(None) }
        };
        let began = Moment::now();
        let upgrade = async { (upgrade(&stage, at).await, Moment::now().since(began)) };
        let ((upgraded, needed), handoff) = tokio::join!(upgrade, handoff);
        let upgraded = upgraded?;
        report.promise(upgraded.is_ok(), "every new process takes over");
        match upgraded {
            Ok(heir) => heirs.0[at] = Some(heir),
            Err(why) => report.figure("not upgraded", why.trim()),
        }
        took.push(needed);
        longest_handoff = longest_handoff.max(handoff?.unwrap_or_default());
        stage.until("the old process has ended", || async { has_ended(before) }).await?;
        let edges = stage.ask(asked, "/v1/edges").await?;
        let there = edges["edges"].as_array().map_or(0, Vec::len);
        report.promise(there == 3, format!("the old process has left the fleet: {there} edges"));
    }
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    took.sort_unstable();
    report.figure("requests", records.len());
    report.figure("upgrades of the controller", controllers);
    report.figure(
        "an upgrade took, median / longest",
        format!("{} / {}", millis(took[took.len() / 2]), millis(took[took.len() - 1])),
    );
    report.figure("longest handoff", millis(longest_handoff));
    let failed = failures(&records, Kind::Read).count() + failures(&records, Kind::Write).count();
    report.promise(failed == 0, "nothing fails, POSTs neither");
    report.promise(longest_handoff < TTL / 2, "no handoff waits for the lease of a process that has ended");
    Ok(report)
}

fn no_process() -> io::Error {
    io::Error::other("that is no process")
}

/// The inner error is what was said about why the old process goes on.
async fn upgrade(stage: &Stage, at: usize) -> io::Result<Result<Pid, String>> {
    let mut command = stage.edges[at].node.command(&stage.plan.ghostpin);
    command.args(["upgrade", "--json", "--config"]).arg(stage.config_file(at));
    let output = command.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let done: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let pid = done["serves"]["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    pid.map(Ok).ok_or_else(no_process)
}

/// Moves the pin, and asks again where another has become the controller meanwhile. Returns how long that took.
async fn hand_off(stage: &Stage, at: usize) -> io::Result<Duration> {
    let to = usize::from(stage.pin(at).await?.1 == stage.app(0).to_string());
    let asked = Moment::now();
    stage
        .until("the pin is moved", || async {
            let _ = stage.handoff(at, to).await;
            stage.pin(at).await.is_ok_and(|(_, backend, _)| backend == stage.app(to).to_string())
        })
        .await?;
    Ok(Moment::now().since(asked))
}

/// Whoever was started by a process that has ended is reaped by nobody here.
fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z"))
}
