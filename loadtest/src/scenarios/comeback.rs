//! The active instance dies and comes back seconds later, while the other one is well: the site moves once, and
//! nobody fails back by himself; not even a proxy that is killed, and whose file names the first instance first.

use std::io;
use std::time::Duration;

use ghostpin::demo::history::Turns;
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use ghostpin_loadtest::harness::{Edge, HOST, Pair, SITE, Settings};
use ghostpin_loadtest::report::{Report, Seen};

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let [before, gap, after] = if settings.quick { [1, 2, 3] } else { [4, 5, 7] }.map(Duration::from_secs);
    let mut report = Report::new(format!("comeback: A killed and back {} s later, B well", gap.as_secs()));
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    pair.b.start().await?;
    let mut edge = Edge::before(settings, pair.addresses()).await?;

    let readers = Readers::start(Load::of_readers(edge.http(), HOST, before + gap + after));
    sleep(before).await;
    readers.no_write_in_flight().await;
    pair.a.kill().await?;
    sleep(gap).await;
    pair.a.start().await?;
    let mut records = readers.finish().await;

    let b = pair.b.address().to_string();
    report.promise(edge.site(SITE).await?.backend.as_ref() == Some(&b), "B keeps the pin");
    edge.kill().await?;
    edge.start().await?;
    report.promise(edge.site(SITE).await?.backend.as_ref() == Some(&b), "B keeps the pin over kill -9");
    let more = Readers::start(Load::of_readers(edge.http(), HOST, Duration::from_secs(2))).finish().await;
    report.figure("requests after kill -9 and a restart", more.len());
    // Numbered on, so that a number stands for one request.
    let next = records.len() as u64;
    records.extend(more.into_iter().map(|mut record| {
        record.number += next;
        record
    }));

    let seen = Seen::of(&records, &Turns::once_each(&["A", "B"]));
    report.seen(&seen);
    report.no_failure(&seen);
    report.never_back(&seen);
    let by_b =
        records.iter().filter_map(|record| record.answer()?.instance.as_deref()).filter(|name| *name == "B");
    report.promise(by_b.count() > 0, "B answers");
    Ok(report)
}
