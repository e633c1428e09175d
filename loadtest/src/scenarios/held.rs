//! Far more requests arrive at a site whose instance is gone than it may hold: as many as it may are held, the
//! others are turned away in good order, and another site's readers notice nothing.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use ghostpin::demo::history::{Record, Waits};
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use crate::harness::{Edge, Instance, Settings, site};
use crate::report::{Report, millis};

const LIMIT: usize = 1_000;

/// None of the held may reach its deadline within the run.
pub const TABLES: &str = r#"
[hold]
timeout = "120s"
max_requests = 1000
"#;

/// The neighbour's p99 under the flood at the held site, over its p99 under the same flood at a well site. What
/// is above 1 is noise of a machine that also runs the flood.
const MOST_RATIO: f64 = 1.5;

/// Differences below this say nothing on a shared machine.
const NOISE: Duration = Duration::from_millis(2);

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let (count, rate) = if settings.quick { (5_000, 2_000) } else { (50_000, 4_000) };
    let mut report = Report::new(format!("held: {count} requests at a site that may hold {LIMIT}"));
    let mut instances = ["gone", "well", "neighbour"]
        .map(|name| Instance::new(settings, name, None))
        .into_iter()
        .collect::<io::Result<Vec<_>>>()?;
    let mut sites = String::new();
    for (instance, name) in instances.iter_mut().zip(["gone", "well", "neighbour"]) {
        instance.start().await?;
        sites += &site(name, &[&host(name)], &[instance.address()]);
    }
    let mut edge = Edge::new(settings)?;
    edge.write(&edge.config(TABLES, &sites))?;
    edge.start().await?;

    let flood = |name: &str| Load {
        hosts: vec![host(name)],
        rate,
        count,
        write_every: 0,
        timeout: Duration::from_secs(120),
        keep: 256,
        ..Load::of_readers(edge.http(), "", Duration::ZERO)
    };
    let time = Duration::from_secs(count / u64::from(rate));
    let memory_at_start = edge.memory()?;

    let quiet = neighbour(edge.http(), time.min(Duration::from_secs(5)));
    let quiet = finish(quiet).await?;
    let beside_well = neighbour(edge.http(), time);
    let well = Readers::start(flood("well")).finish().await;
    let beside_well = finish(beside_well).await?;
    let memory_after_well = edge.memory()?;

    instances[0].kill().await?;
    let beside_held = neighbour(edge.http(), time);
    let readers = Readers::start(flood("gone"));
    let beside_held = finish(beside_held).await?;
    let held = settle(&edge, &readers, count as usize).await?;
    let memory_held = edge.memory()?;
    instances[0].start().await?;
    let records = readers.finish().await;

    let is = |status| move |record: &&Record| record.answer().is_some_and(|answer| answer.status == status);
    let released = records.iter().filter(is(200)).count();
    let turned_away = || records.iter().filter(is(503));
    let with_retry_after =
        turned_away().filter(|r| r.answer().is_some_and(|a| a.retry_after.is_some())).count();
    report.figure("held at once", held);
    report.figure("released to the instance in the end", released);
    report.figure(
        "turned away with 503 / with Retry-After",
        format!("{} / {with_retry_after}", turned_away().count()),
    );
    report.figure("anything else", records.len() - released - turned_away().count());
    report.promise(held == LIMIT as u64, "as many are held as the limit allows");
    report.promise(released == LIMIT, "all of the held are answered in the end");
    report.promise(with_retry_after == records.len() - LIMIT, "all others get a 503 with Retry-After");
    report.promise(records.len() as u64 == count, "every request is accounted for");
    report.promise(well.iter().all(Record::succeeded), "the well site answers its whole flood");

    let memory =
        [memory_at_start, memory_after_well, memory_held].map(|kib| format!("{:.1}", kib as f64 / 1024.0));
    report.figure("memory (MiB) start / after flood / holding", memory.join(" / "));
    for (name, records) in
        [("quiet", &quiet), ("flood at a well site", &beside_well), ("flood at the held site", &beside_held)]
    {
        let waits = Waits::of(records);
        let figures = format!("{} / {}", millis(waits.percentile(50.0)), millis(waits.percentile(99.0)));
        report.figure(&format!("neighbour p50 / p99, {name}"), figures);
        report.promise(
            records.iter().all(Record::succeeded),
            format!("no request of the neighbour fails ({name})"),
        );
    }
    let p99 = |records: &[Record]| Waits::of(records).percentile(99.0);
    let (well, held) = (p99(&beside_well), p99(&beside_held));
    let ratio = held.as_secs_f64() / well.as_secs_f64();
    report.figure("neighbour p99, held over well", format!("{ratio:.2}"));
    report.promise(ratio <= MOST_RATIO || held <= well + NOISE, "the neighbour's p99 is unchanged");
    Ok(report)
}

fn host(name: &str) -> String {
    format!("{name}.example")
}

/// Waits until all requests but the held ones have ended; how many the proxy says that it holds then.
async fn settle(edge: &Edge, readers: &Readers, count: usize) -> io::Result<u64> {
    for _ in 0..600 {
        if readers.look(|records| records.len()) + LIMIT >= count {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(edge.site("gone").await?.held)
}

/// Readers of another site, on a thread of their own, so that the flood's bookkeeping does not delay them.
fn neighbour(target: SocketAddr, time: Duration) -> JoinHandle<io::Result<Vec<Record>>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let base = Load::of_readers(target, &host("neighbour"), time);
        let load = Load { rate: 500, count: base.count * 500 / u64::from(base.rate), ..base };
        Ok(runtime.block_on(async { Readers::start(load).finish().await }))
    })
}

/// Waits for the thread without stopping this one.
async fn finish(thread: JoinHandle<io::Result<Vec<Record>>>) -> io::Result<Vec<Record>> {
    while !thread.is_finished() {
        sleep(Duration::from_millis(10)).await;
    }
    thread.join().map_err(|_| io::Error::other("the neighbour's readers panicked"))?
}
