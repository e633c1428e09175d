//! The active instance is stopped for seconds (SIGSTOP) and then goes on, while the other one is well: the site
//! moves, and what the old instance says when it wakes up reaches nobody.

use std::io;
use std::time::Duration;

use ghostpin::demo::deeds::handed_over_twice;
use ghostpin::demo::history::{Kind, Turns};
use ghostpin::demo::processes::Signal;
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use ghostpin_loadtest::harness::{Edge, HOST, Pair, Settings};
use ghostpin_loadtest::report::{Report, Seen};

/// The longest wait at `interval = 500ms, timeout = 1s, fall = 2`.
const LONGEST: Duration = Duration::from_secs(4);

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let [before, frozen, after] = if settings.quick { [1, 5, 4] } else { [4, 6, 6] }.map(Duration::from_secs);
    let mut report = Report::new(format!("frozen: A stopped for {} s, B well", frozen.as_secs()));
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    pair.b.start().await?;
    let edge = Edge::before(settings, pair.addresses()).await?;

    let readers = Readers::start(Load::of_readers(edge.http(), HOST, before + frozen + after));
    sleep(before).await;
    pair.a.signal(Signal::STOP)?;
    sleep(frozen).await;
    pair.a.signal(Signal::CONT)?;
    let records = readers.finish().await;

    let seen = Seen::of(&records, &Turns::once_each(&["A", "B"]));
    report.seen(&seen);
    report.promise(seen.reads.count() == 0, "no GET fails");
    report.promise(seen.waits.longest() <= LONGEST, "no wait is longer than 4 s");
    report.never_back(&seen);

    let failed = || records.iter().filter(|record| record.kind == Kind::Write && !record.succeeded());
    let said = failed().filter(|record| record.outcome_unknown_was_said()).count();
    report.figure("POSTs told that their outcome is unknown", said);
    report.promise(
        said == failed().count(),
        "a POST fails only with a 502 that says that the outcome is unknown",
    );
    report.promise(said > 0, "POSTs that hung in A are told so (there was at least one)");
    let twice = handed_over_twice([&pair.a.deeds()?, &pair.b.deeds()?]);
    report.figure("POSTs handed over twice", twice.len());
    report.promise(twice.is_empty(), "no POST is handed over twice");
    Ok(report)
}
