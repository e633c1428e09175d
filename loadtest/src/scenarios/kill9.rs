//! The proxy is killed (SIGKILL) at random moments of handoffs: after each restart the site is pinned to the
//! newest instance that had been opened, and nothing older ever answers.

use std::io;
use std::time::Duration;

use fastrand::Rng;
use ghostpin::demo::clock::Moment;
use ghostpin::demo::deeds::handed_over_twice;
use ghostpin::demo::history::{Kind, Record, Turn, Turns, failures};
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use ghostpin_loadtest::harness::{Edge, HOST, Pair, SITE, Settings, site};
use ghostpin_loadtest::report::{Report, Seen};

/// The time in which there was no proxy.
struct Down {
    from: Moment,
    to: Moment,
}

impl Down {
    fn touches(&self, record: &Record) -> bool {
        record.started <= self.to && record.ended >= self.from
    }
}

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let count = if settings.quick { 20 } else { 200 };
    let mut report = Report::new(format!("kill9: {count} kills in handoffs (--seed {})", settings.seed));
    let mut random = Rng::with_seed(settings.seed);
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    pair.b.start().await?;
    let mut edge = Edge::new(settings)?;
    edge.write(&edge.config("", &site(SITE, &[HOST], &pair.addresses())))?;
    edge.start().await?;

    let readers = Readers::start(Load::of_readers(edge.http(), HOST, Duration::from_secs(600)));
    let names = ["A", "B"];
    let turn = |instance: usize| Turn { instance: names[instance].into(), since: Moment::now() };
    let mut turns = Turns(vec![turn(0)]);
    let mut pinned = 0;
    let mut epoch = edge.site(SITE).await?.epoch;
    let mut downs = Vec::new();
    let (mut confirmed, mut moved) = (0, 0);
    for _ in 0..count {
        let target = 1 - pinned;
        let wished = turn(target);
        let since = wished.since;
        turns.0.push(wished);
        let handoff = tokio::spawn(edge.handoff(SITE, pair.addresses()[target]));
        // Most handoffs take some milliseconds; some kills must come after the end.
        let most = if random.bool() { 8_000 } else { 80_000 };
        sleep_precisely(Duration::from_micros(random.u64(0..most))).await;
        let from = Moment::now();
        edge.kill().await?;
        let answered = matches!(handoff.await, Ok(Ok(reply)) if reply.status.is_success());
        let opened = answered || readers.look(|records| records.iter().any(|r| by(r, names[target], since)));
        edge.start().await?;
        downs.push(Down { from, to: Moment::now() });

        let now = edge.site(SITE).await?;
        report.promise(now.epoch >= epoch, "no epoch falls over a restart");
        report.promise(!opened || now.epoch > epoch, "the epoch of a handoff survives");
        epoch = epoch.max(now.epoch);
        let backend = pair.addresses().iter().position(|address| now.backend == Some(address.to_string()));
        report.promise(backend.is_some(), "the site is pinned after a restart");
        if opened {
            report.promise(
                backend == Some(target),
                "after a restart the pin is the newest that had been opened",
            );
        }
        confirmed += usize::from(opened);
        if backend == Some(target) {
            moved += 1;
            pinned = target;
        } else {
            // Its turn never came: an answer of it since then was out of order, and is found below.
            turns.0.pop();
        }
        let restarted = downs.last().map_or(since, |down| down.to);
        let served = served(&readers, restarted).await;
        report.promise(served, "the site is served after a restart");
        sleep(Duration::from_millis(random.u64(0..100))).await;
    }
    readers.stop();
    let records = readers.finish().await;

    let seen = Seen::of(&records, &turns);
    report.figure("kills / handoffs opened before / pins moved", format!("{count} / {confirmed} / {moved}"));
    report.figure("last epoch", epoch);
    report.seen(&seen);
    report.never_back(&seen);
    let up: Vec<&Record> =
        records.iter().filter(|record| !downs.iter().any(|down| down.touches(record))).collect();
    let (reads, writes) =
        (failures(up.iter().copied(), Kind::Read), failures(up.iter().copied(), Kind::Write));
    report.figure("failed GETs while the proxy was there", &reads);
    report.figure("failed POSTs while the proxy was there", &writes);
    report.promise(reads.count() + writes.count() == 0, "nothing fails while the proxy is there");
    // Nobody may be told while it starts that his site does not exist: no connection, or a right answer.
    let wrong = |record: &&Record| record.answer().is_some() && !record.succeeded();
    let wrong = failures(records.iter().filter(wrong), Kind::Read);
    report.figure("GETs answered wrongly while it starts", &wrong);
    report.promise(wrong.count() == 0, "while it starts, nobody gets a wrong answer");
    let twice = handed_over_twice([&pair.a.deeds()?, &pair.b.deeds()?]);
    report.promise(twice.is_empty(), "no POST is handed over twice");
    Ok(report)
}

fn by(record: &Record, instance: &str, since: Moment) -> bool {
    record.answer().is_some_and(|answer| answer.instance.as_deref() == Some(instance) && answer.head >= since)
}

/// Whether a reader that began after `moment` gets an answer soon.
async fn served(readers: &Readers, moment: Moment) -> bool {
    for _ in 0..2_000 {
        // The newest records are at the end.
        let found =
            |records: &[Record]| records.iter().rev().take(400).any(|r| r.started > moment && r.succeeded());
        if readers.look(found) {
            return true;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}

/// The runtime's timers know whole milliseconds only, and a handoff has many moments within one.
async fn sleep_precisely(time: Duration) {
    let end = Moment::now() + time;
    let _ = tokio::task::spawn_blocking(move || std::thread::sleep(end.since(Moment::now()))).await;
}
