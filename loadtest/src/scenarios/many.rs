//! Thousands of sites lose their instance at the same moment: every single one of them moves to its standby.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Kind, Record, Turns, Waits, failures, order};
use ghostpin::demo::readers::{Load, Readers};

use ghostpin_loadtest::harness::{Edge, Pair, Settings, site};
use ghostpin_loadtest::report::{Report, millis};

/// Two instances answer the probes of all sites here: at one a second each, there would be nothing else.
pub const TABLES: &str = r#"
[health]
interval = "10s"
[hold]
timeout = "60s"
"#;

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let (sites, rate) = if settings.quick { (500, 1_000) } else { (10_000, 4_000) };
    let mut report = Report::new(format!("many: {sites} sites lose their instance at once"));
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    pair.b.start().await?;
    let name = |number: usize| format!("site-{number}");
    let hosts: Vec<String> = (0..sites).map(|number| format!("site-{number}.example")).collect();
    let tables: String = hosts
        .iter()
        .enumerate()
        .map(|(number, host)| site(&name(number), &[host], &pair.addresses()))
        .collect();
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

    pair.a.kill().await?;
    let killed = Moment::now();
    let after = Readers::start(load).finish().await;
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

    let b = pair.b.address().to_string();
    let mut pinned = 0;
    for number in 0..sites {
        pinned += usize::from(edge.site(&name(number)).await?.backend.as_ref() == Some(&b));
    }
    report.figure("sites pinned to B", pinned);
    report.promise(pinned == sites, "every site is pinned to its standby");
    let order = order(&after, &Turns::once_each(&["A", "B"]));
    report.promise(order.two_state_reads.is_empty(), "no reader sees two states");
    Ok(report)
}

/// The sites (each was asked once, in their order) that the instance has answered.
fn answered_by(instance: &str, records: &[Record]) -> HashSet<u64> {
    let by =
        |record: &&Record| record.answer().is_some_and(|answer| answer.instance.as_deref() == Some(instance));
    records.iter().filter(|record| record.succeeded()).filter(by).map(|record| record.number).collect()
}
