//! Thousands of sites lose their instance at the same moment: every single one of them moves to its standby.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Kind, Record, Turns, Waits, failures, order};
use ghostpin::demo::readers::{Load, Readers};

use ghostpin_loadtest::harness::{Edge, Pair, Settings, site};
use ghostpin_loadtest::report::{Report, millis};

/// All sites must be reopened within this time of the standby's listening.
const REOPENED: Duration = Duration::from_secs(1);

/// Two instances answer the probes of all sites here: at one a second each, there would be nothing else.
pub const TABLES: &str = r#"
[health]
interval = "10s"
[hold]
timeout = "60s"
"#;

/// A ghostpin before so many sites, all of them answered by A so far, and a load of one request for each.
struct Many {
    sites: usize,
    pair: Pair,
    edge: Edge,
    load: Load,
}

impl Many {
    async fn start(settings: &Settings, with_b: bool, report: &mut Report) -> io::Result<Self> {
        let (sites, rate) = numbers(settings);
        let mut pair = Pair::on_two_machines(settings)?;
        pair.a.start().await?;
        if with_b {
            pair.b.start().await?;
        }
        let hosts: Vec<String> = (0..sites).map(|number| format!("site-{number}.example")).collect();
        let tables = hosts.iter().enumerate();
        let tables: String =
            tables.map(|(number, host)| site(&name(number), &[host], &pair.addresses())).collect();
        let mut edge = Edge::new(settings)?;
        edge.write(&edge.config(TABLES, &tables))?;
        let starting = Moment::now();
        edge.start().await?;
        report.figure("ready after", millis(Moment::now().since(starting)));
        let load = Load {
            hosts,
            rate,
            count: sites as u64,
            write_every: 0,
            timeout: Duration::from_secs(90),
            keep: 256,
            ..Load::of_readers(edge.http(), "", Duration::ZERO)
        };
        let before = Readers::start(load.clone()).finish().await;
        report.figure("sites answered by A before", answered_by("A", &before).len());
        report.figure("failed before", failures(&before, Kind::Read));
        report.promise(answered_by("A", &before).len() == sites, "every site is answered by A at first");
        Ok(Self { sites, pair, edge, load })
    }

    /// How many sites are pinned to B.
    async fn pinned(&self) -> io::Result<usize> {
        let b = self.pair.b.address().to_string();
        let mut pinned = 0;
        for number in 0..self.sites {
            pinned += usize::from(self.edge.site(&name(number)).await?.backend.as_ref() == Some(&b));
        }
        Ok(pinned)
    }
}

/// How many sites there are, and how many readers come a second.
fn numbers(settings: &Settings) -> (usize, u32) {
    if settings.quick { (500, 1_000) } else { (10_000, 4_000) }
}

fn name(number: usize) -> String {
    format!("site-{number}")
}

/// The standby is there.
pub async fn run(settings: &Settings) -> io::Result<Report> {
    let (sites, _) = numbers(settings);
    let mut report = Report::new(format!("many: {sites} sites lose their instance at once"));
    let mut many = Many::start(settings, true, &mut report).await?;
    many.pair.a.kill().await?;
    let killed = Moment::now();
    let after = Readers::start(many.load.clone()).finish().await;
    let reopened = answered_by("B", &after);
    let last = after.iter().filter_map(|record| Some(record.answer()?.head)).max().unwrap_or(killed);
    let asked = after.iter().map(|record| record.started).max().unwrap_or(killed);
    report.figure("failed after", failures(&after, Kind::Read));
    report.figure("sites answered by B", reopened.len());
    report.figure(
        "last site asked / answered after",
        format!("{} / {}", millis(asked.since(killed)), millis(last.since(killed))),
    );
    report.figure("longest wait", millis(Waits::of(&after).longest()));
    report.promise(reopened.len() == sites, "every site is answered by its standby");
    let pinned = many.pinned().await?;
    report.figure("sites pinned to B", pinned);
    report.promise(pinned == sites, "every site is pinned to its standby");
    let order = order(&after, &Turns::once_each(&["A", "B"]));
    report.promise(order.two_state_reads.is_empty(), "no reader sees two states");
    Ok(report)
}

/// The standby comes later, when a reader of each site waits for it.
pub async fn late(settings: &Settings) -> io::Result<Report> {
    let (sites, _) = numbers(settings);
    let mut report =
        Report::new(format!("late: {sites} sites lose their instance, and their standby comes later"));
    let mut many = Many::start(settings, false, &mut report).await?;
    many.pair.a.kill().await?;
    let readers = Readers::start(many.load.clone());
    let held = many.edge.until_all_held(sites as u64).await?;
    report.figure("held at once", held);
    report.promise(held == sites as u64, "a reader of each site is held");
    many.pair.b.start().await?;
    let after = readers.finish().await;
    let listened = many.pair.b.deeds()?.listening.first().copied().unwrap_or_default();
    let last = after.iter().filter_map(|record| Some(record.answer()?.head)).max().unwrap_or(listened);
    report.figure("failed", failures(&after, Kind::Read));
    report.figure("last site answered after B listened", millis(last.since(listened)));
    report.promise(answered_by("B", &after).len() == sites, "every site is answered by its standby");
    report.pace(
        settings.quick,
        last.since(listened) <= REOPENED,
        "all are reopened within a second of its listening",
    );
    let pinned = many.pinned().await?;
    report.figure("sites pinned to B", pinned);
    report.promise(pinned == sites, "every site is pinned to its standby");
    Ok(report)
}

/// The sites (each was asked once, in their order) that the instance has answered.
fn answered_by(instance: &str, records: &[Record]) -> HashSet<u64> {
    let by =
        |record: &&Record| record.answer().is_some_and(|answer| answer.instance.as_deref() == Some(instance));
    records.iter().filter(|record| record.succeeded()).filter(by).map(|record| record.number).collect()
}
