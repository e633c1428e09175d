//! An operator moves a site while slow answers are on their way: all of them end, and only then the new instance
//! is given its first request.

use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::deeds::{handed_over_twice, overlapping};
use ghostpin::demo::history::Turns;
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use ghostpin_loadtest::harness::{Edge, HOST, Pair, SITE, Settings};
use ghostpin_loadtest::report::{Report, Seen, millis};

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let [before, after] = if settings.quick { [2, 3] } else { [8, 8] }.map(Duration::from_secs);
    let mut report = Report::new("planned: a handoff with answers of 0.7 s in flight");
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    pair.b.start().await?;
    let edge = Edge::before(settings, pair.addresses()).await?;

    let slow = Load {
        path: "/?delay=700ms".into(),
        keep: 512,
        ..Load::of_readers(edge.http(), HOST, before + after)
    };
    let readers = Readers::start(slow);
    sleep(before).await;
    let in_flight = readers.in_flight();
    let asked = Moment::now();
    let reply = edge.handoff(SITE, pair.b.address()).await?;
    let took = Moment::now().since(asked);
    let records = readers.finish().await;

    report.figure("in flight when the handoff was asked for", in_flight);
    report.figure("handoff", format!("{} after {}", reply.status, millis(took)));
    report.promise(reply.status.is_success(), "the handoff succeeds");
    report.promise(in_flight > 0, "there are answers in flight");
    let seen = Seen::of(&records, &Turns::once_each(&["A", "B"]));
    report.seen(&seen);
    report.no_failure(&seen);
    report.never_back(&seen);

    let (a, b) = (pair.a.deeds()?, pair.b.deeds()?);
    report.figure(
        "requests handed to A / to B",
        format!("{} / {}", a.from_readers().count(), b.from_readers().count()),
    );
    report.promise(b.from_readers().count() > 0, "B is given requests");
    let overlapping = overlapping(&a, &b);
    report.figure("in A's hands when B was given its first", overlapping);
    report.promise(overlapping == 0, "the two instances never overlap");
    report.promise(handed_over_twice([&a, &b]).is_empty(), "no POST is handed over twice");
    Ok(report)
}
