//! The active instance is killed, and the other one starts seconds later: readers notice a pause, nothing else.

use std::io;
use std::time::Duration;

use ghostpin::demo::deeds::handed_over_twice;
use ghostpin::demo::history::{Turns, first_answer};
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use ghostpin_loadtest::harness::{Edge, HOST, Pair, Settings};
use ghostpin_loadtest::report::{Report, Seen, millis};

/// The first answer must come within this time of B's listening.
const REOPENED: Duration = Duration::from_millis(50);

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let [before, gap, after] = if settings.quick { [1, 2, 2] } else { [4, 5, 7] }.map(Duration::from_secs);
    let mut report = Report::new(format!("crash: A killed, B starts {} s later", gap.as_secs()));
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    let edge = Edge::before(settings, pair.addresses()).await?;

    let readers = Readers::start(Load::of_readers(edge.http(), HOST, before + gap + after));
    sleep(before).await;
    readers.no_write_in_flight().await;
    pair.a.kill().await?;
    sleep(gap).await;
    pair.b.start().await?;
    let records = readers.finish().await;

    let (a, b) = (pair.a.deeds()?, pair.b.deeds()?);
    let seen = Seen::of(&records, &Turns::once_each(&["A", "B"]));
    report.seen(&seen);
    report.no_failure(&seen);
    report.never_back(&seen);
    report.promise(handed_over_twice([&a, &b]).is_empty(), "no POST is handed over twice");

    let listened = b.listening.first().copied().unwrap_or_default();
    let first = first_answer(&records, "B", listened).map(|head| head.since(listened));
    report.figure("first answer after B listened", first.map_or("never".into(), millis));
    let at_once = first.is_some_and(|first| first <= REOPENED);
    report.pace(settings.quick, at_once, "reopened within 50 ms of B's listening");
    Ok(report)
}
