//! The scenarios, one function each.

use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Kind, Record, Waits, failures};
use ghostpin::demo::processes::Signal;
use ghostpin_loadtest::report::{Report, millis};
use tokio::time::sleep;

use crate::Settings;
use crate::judge::{judge, told_late};
use crate::net::part;
use crate::stage::{Plan, Stage, edge_of, joined};

/// The usual lease.
pub const TTL: Duration = Duration::from_secs(5);

pub fn plan(settings: &Settings) -> Plan {
    Plan {
        ghostpin: settings.ghostpin.clone(),
        server: String::new(),
        tables: "[health]\ninterval = \"500ms\"\n".to_owned(),
        cluster: String::new(),
        detours: false,
        site: String::new(),
        timers: [100, 1000],
        others: 0,
        delay: Duration::ZERO,
        broken: settings.broken.clone(),
    }
}

/// What holds in every history.
pub fn judged(report: &mut Report, stage: &Stage, records: &[Record]) -> io::Result<()> {
    judged_but(report, stage, records, |_| false)
}

/// The same, where the lines to some readers were bad. What an edge has handed to such a line may arrive long after: that
/// is no old head that it has delivered late, if its reader had asked before anybody saw the new one.
pub fn judged_but(
    report: &mut Report,
    stage: &Stage,
    records: &[Record],
    bad_line: impl Fn(&Record) -> bool,
) -> io::Result<()> {
    let mut verdict = judge(records, &stage.deeds()?);
    let late = std::mem::take(&mut verdict.late_heads);
    let on_a_bad_line = |late: &u64| told_late(records, *late).is_some_and(|(record, _)| bad_line(record));
    let (delayed, late): (Vec<_>, Vec<_>) = late.into_iter().partition(on_a_bad_line);
    verdict.late_heads = late;
    report.figure("failed GETs", failures(records, Kind::Read));
    report.figure("failed POSTs", failures(records, Kind::Write));
    report.figure("two-state reads", verdict.two_state_reads.len());
    report.figure("old heads after the first new one", verdict.late_heads.len());
    if !delayed.is_empty() {
        report.figure("old heads that a bad line to their reader delayed", delayed.len());
    }
    for (late, newer) in verdict.late_heads.iter().take(5).filter_map(|&late| told_late(records, late)) {
        report.figure("an old head", compared(late, newer));
    }
    let waits = Waits::of(records);
    let percentile = |percent| millis(waits.percentile(percent));
    report.figure(
        "wait p50 / p99 / longest",
        format!("{} / {} / {}", percentile(50.0), percentile(99.0), millis(waits.longest())),
    );
    report.promise(
        verdict.shared_epochs.is_empty(),
        format!("one backend an epoch: {:?}", verdict.shared_epochs),
    );
    report.promise(verdict.two_state_reads.is_empty(), "no reader sees two states");
    report.promise(verdict.late_heads.is_empty(), "no old head is delivered after the first new one");
    report.promise(verdict.handed_over_twice.is_empty(), "no POST is handed over twice");
    report.promise(verdict.epochs_back.is_empty(), "no epoch falls");
    Ok(())
}

/// When an old head came, beside the first newer one; times count from the beginning of the old one's request.
fn compared(late: &Record, newer: &Record) -> String {
    let one = |record: &Record| {
        let answer = record.answer();
        let ms = |at: Moment| (at.0 as f64 - late.started.0 as f64) / 1e6;
        let epoch = answer.and_then(|answer| answer.epoch).unwrap_or_default();
        let head = answer.map_or(f64::NAN, |answer| ms(answer.head));
        format!("epoch {epoch} at edge {} ({:.3} to {head:.3} ms)", edge_of(record), ms(record.started))
    };
    format!("{} after {}, {}", one(late), one(newer), late.started.0)
}

pub fn no_read_fails(report: &mut Report, records: &[Record]) {
    report.promise(failures(records, Kind::Read).count() == 0, "no GET fails");
}

/// The longest pause of the readers of an edge between two answers that were none of ghostpin's own.
fn reads_of(records: &[Record], edge: usize) -> Vec<Record> {
    records.iter().filter(|record| edge_of(record) == edge).cloned().collect()
}

pub async fn leaders(settings: &Settings) -> io::Result<Report> {
    let kills = if settings.quick { 1 } else { 15 };
    let mut report = Report::new(format!("leaders: etcd's leader is killed {kills} times, one every 20 s"));
    let mut stage = Stage::up(plan(settings)).await?;
    let readers = stage.readers(50, Duration::from_secs(20) * kills + Duration::from_secs(5));
    for n in 0..kills {
        sleep(Duration::from_secs(5)).await;
        let leader = stage.etcd_leader().await?;
        stage.etcd[leader].kill().await?;
        sleep(Duration::from_secs(8)).await;
        stage.start_etcd(leader, "existing").await?;
        sleep(Duration::from_secs(6)).await;
        let status = stage.handoff(n as usize % 3, (n as usize + 1) % 2).await?;
        report.promise(status == 200, "a handoff succeeds after each");
        sleep(Duration::from_secs(1)).await;
    }
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    report.promise(
        failures(&records, Kind::Read).count() + failures(&records, Kind::Write).count() == 0,
        "nothing fails",
    );
    report.promise(Waits::of(&records).longest() < Duration::from_secs(1), "no edge is fenced");
    Ok(report)
}

pub async fn quorum(settings: &Settings, policy: &str) -> io::Result<Report> {
    // A leader that was left alone answers for an election timeout or two; then come the rest of a lease, and the hold.
    let away = Duration::from_secs(if settings.quick { 12 } else { 60 });
    let mut report =
        Report::new(format!("quorum: etcd has none for {} s, partition = {policy:?}", away.as_secs()));
    let hold = "[hold]\ntimeout = \"5s\"\nmax_requests = 5000\n";
    let mut stage = Stage::up(Plan {
        tables: plan(settings).tables + hold,
        cluster: format!("partition = {policy:?}\n"),
        ..plan(settings)
    })
    .await?;
    let readers = stage.readers(50, away + Duration::from_secs(12));
    sleep(Duration::from_secs(3)).await;
    let gone = Moment::now();
    stage.etcd[0].kill().await?;
    stage.etcd[1].kill().await?;
    sleep(away).await;
    stage.start_etcd(0, "existing").await?;
    stage.start_etcd(1, "existing").await?;
    stage
        .until("etcd has a leader again", || async { stage.etcdctl(0, &["get", "x"]).await.is_ok() })
        .await?;
    let back = Moment::now();
    stage.until_served().await?;
    let served = Moment::now();
    sleep(Duration::from_secs(1)).await;
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    let during: Vec<Record> =
        records.iter().filter(|r| r.intended > gone + TTL && r.intended < back).cloned().collect();
    let failed = failures(&during, Kind::Read);
    report.figure("failed GETs of those that were asked while it was away", &failed);
    report.figure("from quorum to served by all", millis(served.since(back)));
    if policy == "serve" {
        no_read_fails(&mut report, &records);
    } else {
        let held_first = |r: &&Record| {
            r.kind == Kind::Read
                && !r.succeeded()
                && r.wait() + Duration::from_millis(200) < Duration::from_secs(5)
        };
        report.promise(failed.count() > 0, "all sites are held, and told 503 at their deadline");
        report
            .promise(records.iter().filter(held_first).count() == 0, "nobody is refused before the deadline");
        report.promise(failed.reasons.keys().all(|reason| reason == "status 503"), "it is a 503");
        report.promise(
            served.since(back) <= Duration::from_secs(1),
            "served again within a second of the quorum",
        );
    }
    Ok(report)
}

pub async fn frozen(settings: &Settings, is_controller: bool) -> io::Result<Report> {
    let whom = if is_controller { "the controller" } else { "an edge" };
    let mut report =
        Report::new(format!("frozen: {whom} is stopped for three leases in a handoff, and goes on"));
    // Some answers are on their way through it when it is stopped.
    let stage = Stage::up(Plan { delay: Duration::from_millis(100), ..plan(settings) }).await?;
    let controller = stage.controller().await?;
    let frozen = if is_controller { controller } else { (controller + 1) % 3 };
    let readers = stage.readers(50, TTL * 3 + Duration::from_secs(10));
    sleep(Duration::from_secs(2)).await;
    stage.edges[frozen].signal(Signal::STOP)?;
    let asked = Moment::now();
    let status = handoff_without(&stage, frozen, 1).await?;
    let took = Moment::now().since(asked);
    sleep((TTL * 3).saturating_sub(took)).await;
    stage.edges[frozen].signal(Signal::CONT)?;
    stage.until_served().await?;
    report.promise(takes_wishes(&stage, frozen, 0).await, "it takes wishes again");
    sleep(Duration::from_secs(1)).await;
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    report.figure("handoff", format!("{status} after {}", millis(took)));
    report.promise(status == 200, "the handoff succeeds");
    report.promise(took <= TTL + Duration::from_secs(3), "it waits for the lease and no longer");
    for edge in (0..3).filter(|edge| *edge != frozen) {
        no_read_fails(&mut report, &reads_of(&records, edge));
    }
    Ok(report)
}

/// Asks for a handoff while an edge is away. If it was the controller, the wish may have been put before it: then it is
/// put again before the next one.
async fn handoff_without(stage: &Stage, away: usize, to: usize) -> io::Result<u16> {
    let at = (away + 1) % 3;
    let status = stage.handoff(at, to).await?;
    if status != 503 {
        return Ok(status);
    }
    let is_another = || async { stage.controller_seen_by(at).await.is_some_and(|now| now != away) };
    stage.until("another controller", is_another).await?;
    // It moves nothing to an instance that it has not looked at yet.
    if let Some(controller) = stage.controller_seen_by(at).await {
        stage.until_well(controller).await?;
    }
    stage.handoff(at, to).await
}

/// Whether an edge that was away takes a wish, whoever decides about it now.
async fn takes_wishes(stage: &Stage, at: usize, to: usize) -> bool {
    matches!(tokio::time::timeout(TTL, stage.handoff(at, to)).await, Ok(Ok(200)))
}

pub async fn controllers(settings: &Settings) -> io::Result<Report> {
    let mut report = Report::new("controllers: killed at each step of a handoff");
    // A hook that takes its time makes each step long enough to be hit.
    let site = "[site.hooks]\nfence = { command = [\"sleep\", \"0.4\"] }\nstart = { command = [\"sleep\", \"0.4\"] }\n\
                [site.handoff]\ndrain_timeout = \"1s\"\n";
    let mut stage = Stage::up(Plan { site: site.to_owned(), ..plan(settings) }).await?;
    let rounds = if settings.quick { 3 } else { 12 };
    let readers = stage.readers(30, Duration::from_secs(16) * rounds);
    let (mut longest, mut killed_edges) = (Duration::ZERO, Vec::new());
    for n in 0..rounds as usize {
        sleep(Duration::from_secs(1)).await;
        let (before, ..) = stage.pin((n + 1) % 3).await?;
        let controller = stage.controller().await?;
        let asked = tokio::spawn(stage.handoff(controller, (n + 1) % 2));
        // From before the fence is written to after the serve.
        sleep(Duration::from_millis([2, 60, 300, 500, 900, 12][n % 6])).await;
        let killed = Moment::now();
        killed_edges.push((controller, killed));
        stage.edges[controller].kill().await?;
        asked.abort();
        let other = (controller + 1) % 3;
        let served = || async {
            stage.pin(other).await.is_ok_and(|(_, _, phase)| phase == "serving")
                && stage.controller().await.is_ok()
        };
        sleep(Duration::from_millis(100)).await;
        stage.until("the next controller completes the handoff", served).await?;
        longest = longest.max(Moment::now().since(killed));
        let (after, ..) = stage.pin(other).await?;
        report.promise(after <= before + 2, "nothing is opened twice");
        stage.start_edge(controller)?;
        stage.until_served().await?;
    }
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    let elsewhere = |record: &&Record| {
        let killed = |&(edge, at): &(usize, Moment)| edge == edge_of(record) && record.ended > at;
        !record.succeeded() && record.kind == Kind::Read && !killed_edges.iter().any(killed)
    };
    report.promise(
        records.iter().filter(elsewhere).count() == 0,
        "no GET fails at an edge that was not killed",
    );
    report.figure("longest from the kill to served under the next controller", millis(longest));
    report.promise(longest <= TTL + Duration::from_secs(3), "completed within the lease and 3 s");
    Ok(report)
}

pub async fn parted(settings: &Settings) -> io::Result<Report> {
    let mut report =
        Report::new("parted: an edge is cut off, from etcd and from the backend, one way and both");
    let stage = Stage::up(plan(settings)).await?;
    let readers = stage.readers(50, Duration::from_secs(90));
    let mut handoffs = Vec::new();
    let ways = ["from etcd", "what etcd says", "what it says to etcd"];
    let (edge, controller) = (ways.map(|way| (way, false)), ways.map(|way| (way, true)));
    for (way, is_controller) in edge.into_iter().chain(controller) {
        let controller = stage.controller().await?;
        let cut_off = if is_controller { controller } else { (controller + 2) % 3 };
        let edge = &stage.edges[cut_off].node;
        let pinned = usize::from(stage.pin(controller).await?.1 == stage.app(1).to_string());
        match way {
            "from etcd" => stage.etcd.iter().try_for_each(|member| part(edge, &member.node))?,
            "what etcd says" => stage.etcd.iter().try_for_each(|member| edge.stop_hearing(&member.node))?,
            _ => stage.etcd.iter().try_for_each(|member| member.node.stop_hearing(edge))?,
        }
        sleep(Duration::from_millis(500)).await;
        let asked = Moment::now();
        let status = handoff_without(&stage, cut_off, 1 - pinned).await?;
        let whom = if is_controller { "the controller " } else { "" };
        handoffs.push(format!("{whom}{way}: {status} after {}", millis(Moment::now().since(asked))));
        report.promise(status == 200, "a handoff goes on without it");
        stage.hear_all()?;
        stage.until_served().await?;
        report.promise(takes_wishes(&stage, cut_off, pinned).await, "it takes wishes again");
        sleep(Duration::from_secs(1)).await;
    }
    let controller = stage.controller().await?;
    let cut_off = (controller + 2) % 3;
    for alone in [cut_off, controller] {
        let (epoch, backend, _) = stage.pin(controller).await?;
        let pinned = usize::from(backend == stage.app(1).to_string());
        part(&stage.edges[alone].node, &stage.apps[pinned].node)?;
        sleep(Duration::from_secs(4)).await;
        let (after, ..) = stage.pin(controller).await?;
        report.promise(epoch == after, "an edge that alone can't reach the backend doesn't move the site");
        stage.hear_all()?;
        stage.until_served().await?;
        sleep(Duration::from_secs(1)).await;
    }
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    report.figure("handoffs while it was cut off", handoffs.join(", "));
    Ok(report)
}

pub async fn restored(settings: &Settings) -> io::Result<Report> {
    let mut report = Report::new("restored: etcd comes back from an old backup");
    let mut stage = Stage::up(plan(settings)).await?;
    let readers = stage.readers(50, Duration::from_secs(60));
    let backup = stage.scratch.path("backup");
    stage.etcdctl(0, &["snapshot", "save", &backup.to_string_lossy()]).await?;
    for n in 0..4 {
        report.promise(stage.handoff(n % 3, (n + 1) % 2).await? == 200, "the handoffs before it succeed");
    }
    let (before, backend, _) = stage.pin(0).await?;
    stage.restore(&backup).await?;
    let newer = || async {
        let mut all = true;
        for at in 0..3 {
            all &= stage.pin(at).await.is_ok_and(|(epoch, _, phase)| epoch > before && phase == "serving");
        }
        all
    };
    stage.until("the site goes on under a newer epoch than any that was known", newer).await?;
    report.figure("epoch before and after", format!("{before} on {backend}, {:?}", stage.pin(0).await?));
    sleep(Duration::from_secs(1)).await;
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    Ok(report)
}

pub async fn joining(settings: &Settings) -> io::Result<Report> {
    let mut report = Report::new("joining: from one edge to three, with its epochs");
    let mut stage = Stage::without_edges(plan(settings)).await?;
    stage.start_alone(0)?;
    stage.until_served().await?;
    for n in 1..=3 {
        report.promise(stage.handoff(0, n % 2).await? == 200, "the handoffs of the lone edge succeed");
    }
    let alone = stage.pin(0).await?;
    report.promise(stage.join(0).await.is_err(), "an edge that runs can't be joined");
    stage.edges[0].kill().await?;
    report.figure("join says", stage.join(0).await?);
    report.figure("join again says", stage.join(0).await?);
    for at in 0..3 {
        stage.start_edge(at)?;
    }
    stage.until_served().await?;
    for at in 0..3 {
        report.promise(stage.pin(at).await? == alone, "every edge serves under the pin of the one");
    }
    report.figure("pin", format!("{alone:?}"));
    Ok(report)
}

/// A handoff right after an edge has left, with how long it took. If that was the controller, another one is elected at once.
pub async fn handoff_when_led(stage: &Stage, at: usize, to: usize) -> io::Result<(u16, Duration)> {
    let asked = Moment::now();
    let took = || Moment::now().since(asked);
    let mut status = stage.handoff(at, to).await?;
    while status == 503 && took() < TTL * 2 {
        sleep(Duration::from_millis(20)).await;
        status = stage.handoff(at, to).await?;
    }
    Ok((status, took()))
}

pub async fn leaving(settings: &Settings) -> io::Result<Report> {
    let mut report = Report::new("leaving: an edge leaves in good order; nobody waits for its lease");
    let mut stage = Stage::up(plan(settings)).await?;
    let controller = stage.controller().await?;
    let mut took = Vec::new();
    for leaves in [(controller + 1) % 3, controller] {
        let stays = (leaves + 2) % 3;
        let client = stage.client(leaves);
        let left =
            client.post("/v1/leave", None).await.map_err(|error| io::Error::other(error.to_string()))?;
        report.promise(String::from_utf8_lossy(&left).contains("true"), "it says that it has left");
        let to = usize::from(stage.pin(stays).await?.1 == stage.app(0).to_string());
        let (status, needed) = handoff_when_led(&stage, stays, to).await?;
        took.push(millis(needed));
        report.promise(
            status == 200 && needed < Duration::from_secs(1),
            "a handoff right after it takes no lease's time",
        );
        stage.edges[leaves].kill().await?;
        stage.start_edge(leaves)?;
        stage.until_served().await?;
    }
    report.figure("handoff after an edge, after the controller has left", took.join(", "));
    Ok(report)
}
