//! Faults at random, from a seed, with handoffs all the time.

use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Kind, Record};
use ghostpin::demo::processes::Signal;
use ghostpin_loadtest::report::{Report, millis};
use tokio::time::sleep;

use crate::Settings;
use crate::net::part;
use crate::scenarios::{judged_but, plan};
use crate::stage::{Plan, Stage, edge_of, joined, since};

/// How long a request may be held; failures of one that was are told so much later than their cause.
const HOLD: Duration = Duration::from_secs(10);
/// After a fault, this is how long its traces may be seen: a lease, a controller, a hold.
const TRACES: Duration = Duration::from_secs(20);

/// A fault, from when until when, and which edges' readers may fail for it.
#[derive(Debug)]
struct Window {
    what: String,
    from: Moment,
    until: Moment,
    edges: Vec<usize>,
    /// The lines to the readers were bad, too.
    readers_lines: bool,
}

impl Window {
    /// What this one's line may have delayed.
    fn delays(&self, record: &Record) -> bool {
        let until = record.answer().map_or(record.ended, |answer| answer.head);
        self.readers_lines && record.started <= self.until && until >= self.from
    }

    fn explains(&self, record: &Record) -> bool {
        self.edges.contains(&edge_of(record))
            && record.ended >= self.from
            && record.started <= self.until + TRACES
    }
}

const KINDS: usize = 11;
/// The kind that makes lines slow, and has them lose packets.
const BAD_LINES: usize = 9;

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// For how long.
    pub time: Duration,
    /// What the dice begin with.
    pub seed: u64,
    /// The only kind, if there is only one.
    pub kind: Option<usize>,
    /// Requests a second at each edge.
    pub rate: u32,
}

pub async fn random(settings: &Settings, faults: Faults) -> io::Result<Report> {
    let Faults { time, seed, kind: only, rate } = faults;
    let mut report = Report::new(format!("random: faults for {} s, seed {seed}", time.as_secs()));
    // Known even if the run comes to no end.
    eprintln!("random: seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let tables = format!("[hold]\ntimeout = \"{}s\"\nmax_requests = 5000\n", HOLD.as_secs());
    let detours = dice.bool();
    let tables = plan(settings).tables + &tables;
    let mut stage = Stage::up(Plan { tables, detours, ..plan(settings) }).await?;
    let readers = stage.readers(rate, time + Duration::from_secs(10));
    let began = Moment::now();
    let (mut windows, mut handoffs, mut done): (Vec<Window>, _, [usize; KINDS]) = (Vec::new(), 0, [0; KINDS]);
    let mut ended = 0;
    while since(began) < time {
        // A few handoffs, from any edge to the other instance.
        for _ in 0..dice.usize(3..8) {
            handoffs += usize::from(handoff(&stage, dice.usize(..3)).await);
            sleep(Duration::from_millis(dice.u64(20..300))).await;
        }
        let kind = only.filter(|&kind| kind < KINDS).unwrap_or_else(|| dice.usize(..KINDS));
        done[kind] += 1;
        let from = Moment::now();
        let readers_lines = dice.bool();
        let (what, edges) = fault(&mut stage, kind, readers_lines, &mut dice).await?;
        let readers_lines = readers_lines && kind == BAD_LINES;
        windows.push(Window { what, from, until: Moment::now(), edges, readers_lines });
        ended += stage.supervise()?;
        stage.until_served().await?;
    }
    let records = joined(readers).await;
    judged_but(&mut report, &stage, &records, |record| windows.iter().any(|window| window.delays(record)))?;
    if !report.kept() {
        for Window { what, from, until, .. } in &windows {
            report.figure("a fault", format!("{what}, from {} to {}", from.0, until.0));
        }
    }
    report.figure("handoffs that were asked for and succeeded", handoffs);
    report.figure("edges that have ended by themselves", ended);
    report.figure("edges take requests for others", detours);
    report.figure("faults, by kind", format!("{done:?}"));
    let failed = records.iter().filter(|record| record.kind == Kind::Read && !record.succeeded());
    let (explained, unexplained): (Vec<_>, Vec<_>) =
        failed.partition(|record| windows.iter().any(|window| window.explains(record)));
    report.figure("failed GETs that a fault explains", explained.len());
    for record in unexplained.iter().take(5) {
        let last = windows
            .iter()
            .rfind(|window| window.from <= record.started)
            .map_or("none", |window| window.what.as_str());
        let what = format!(
            "edge {} at {}: {:?} after {}, last fault: {last}",
            edge_of(record),
            millis(record.started.since(began)),
            record.failure(),
            millis(record.wait())
        );
        report.figure("failed without a reason", what);
    }
    report.promise(unexplained.is_empty(), "every failed GET is explained by a fault at its edge");
    report.promise(stage.edges.iter().all(|edge| edge.is_running()), "every edge runs at the end");
    Ok(report)
}

async fn handoff(stage: &Stage, at: usize) -> bool {
    let Ok((_, backend, _)) = stage.pin(at).await else { return false };
    let to = usize::from(backend == stage.app(0).to_string());
    let asked = tokio::time::timeout(Duration::from_secs(12), stage.handoff(at, to)).await;
    matches!(asked, Ok(Ok(200)))
}

/// Does something bad, with a handoff in the middle of it, and makes it good again. Tells what it was, and whose readers may
/// have noticed.
async fn fault(
    stage: &mut Stage,
    kind: usize,
    readers_lines: bool,
    dice: &mut fastrand::Rng,
) -> io::Result<(String, Vec<usize>)> {
    let edge = dice.usize(..3);
    let other = (edge + 1) % 3;
    // Whose readers may fail: those of an edge that is not there, or that is kept from its store for longer than they are
    // held. All others are held for less.
    let (its, none) = (vec![edge], Vec::new());
    let a_while = Duration::from_millis(dice.u64(300..9_000));
    let what = |name: &str| format!("{name} for {}", millis(a_while));
    Ok(match kind {
        0 => {
            let asked = tokio::spawn(handoff_of(stage, other).await?);
            sleep(Duration::from_millis(dice.u64(..30))).await;
            stage.edges[edge].kill().await?;
            sleep(a_while / 3).await;
            stage.start_edge(edge)?;
            let _ = asked.await;
            (what(&format!("edge {edge} killed")), its)
        }
        1 => {
            let controller = stage.controller().await.unwrap_or(edge);
            let asked = tokio::spawn(handoff_of(stage, (controller + 1) % 3).await?);
            sleep(Duration::from_millis(dice.u64(..30))).await;
            stage.edges[controller].kill().await?;
            sleep(a_while / 3).await;
            stage.start_edge(controller)?;
            let _ = asked.await;
            (what("the controller killed"), vec![controller])
        }
        2 => {
            stage.edges[edge].signal(Signal::STOP)?;
            handoff(stage, other).await;
            sleep(a_while).await;
            stage.edges[edge].signal(Signal::CONT)?;
            (what(&format!("edge {edge} stopped")), its)
        }
        3 => {
            stage.etcd.iter().try_for_each(|member| part(&stage.edges[edge].node, &member.node))?;
            handoff(stage, other).await;
            sleep(a_while).await;
            stage.hear_all()?;
            (what(&format!("edge {edge} parted from etcd")), its)
        }
        4 => {
            stage.etcd.iter().try_for_each(|member| stage.edges[edge].node.stop_hearing(&member.node))?;
            handoff(stage, other).await;
            sleep(a_while).await;
            stage.hear_all()?;
            (what(&format!("edge {edge} doesn't hear etcd")), its)
        }
        5 => {
            stage.etcd.iter().try_for_each(|member| member.node.stop_hearing(&stage.edges[edge].node))?;
            handoff(stage, other).await;
            sleep(a_while).await;
            stage.hear_all()?;
            (what(&format!("etcd doesn't hear edge {edge}")), its)
        }
        6 => {
            stage.apps.iter().try_for_each(|app| part(&stage.edges[edge].node, &app.node))?;
            sleep(a_while).await;
            stage.hear_all()?;
            (what(&format!("edge {edge} parted from the instances")), its)
        }
        7 => {
            if let Ok(leader) = stage.etcd_leader().await {
                stage.etcd[leader].kill().await?;
                handoff(stage, edge).await;
                sleep(a_while).await;
                stage.start_etcd(leader, "existing").await?;
            }
            (what("etcd's leader killed"), none)
        }
        8 => {
            if let Ok(leader) = stage.etcd_leader().await {
                stage.etcd[leader].signal(Signal::STOP)?;
                handoff(stage, edge).await;
                sleep(a_while).await;
                stage.etcd[leader].signal(Signal::CONT)?;
            }
            (what("etcd's leader stopped"), none)
        }
        BAD_LINES => {
            let nodes = || stage.edges.iter().chain(&stage.etcd).map(|process| &process.node);
            let (rate, lost) = (dice.u32(300..3_000), dice.u32(1..8));
            nodes().try_for_each(|node| node.spoil(rate, lost, readers_lines))?;
            handoff(stage, edge).await;
            sleep(a_while).await;
            nodes().try_for_each(|node| node.unspoil())?;
            let whose = if readers_lines { "all lines" } else { "lines between machines" };
            (what(&format!("{whose} of {rate} kbit/s that lose {lost} %")), vec![0, 1, 2])
        }
        _ => {
            let pinned = usize::from(stage.pin(edge).await?.1 == stage.app(1).to_string());
            stage.apps[pinned].kill().await?;
            sleep(a_while / 3).await;
            stage.start_app(pinned).await?;
            (what("the pinned instance killed"), none)
        }
    })
}

async fn handoff_of(stage: &Stage, at: usize) -> io::Result<impl Future<Output = io::Result<u16>> + use<>> {
    let backend = stage.pin(at).await.map(|(_, backend, _)| backend).unwrap_or_default();
    Ok(stage.handoff(at, usize::from(backend == stage.app(0).to_string())))
}

#[cfg(test)]
mod tests {
    use ghostpin::demo::history::Outcome;

    use super::*;

    #[test]
    fn only_what_was_under_way_on_a_bad_line_may_have_been_delayed_by_it() {
        let record = |started, ended| Record {
            number: 1,
            kind: Kind::Read,
            intended: Moment(started),
            started: Moment(started),
            ended: Moment(ended),
            outcome: Outcome::Failed(String::new()),
        };
        let window = |readers_lines| Window {
            what: String::new(),
            from: Moment(10),
            until: Moment(20),
            edges: vec![0],
            readers_lines,
        };
        let delayed = |window: Window| {
            [(1, 9), (1, 10), (12, 13), (20, 40), (21, 40)]
                .map(|(from, until)| window.delays(&record(from, until)))
        };
        assert_eq!(delayed(window(true)), [false, true, true, true, false]);
        assert_eq!(delayed(window(false)), [false; 5]);
    }
}
