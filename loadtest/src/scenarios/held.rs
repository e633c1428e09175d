//! Far more requests arrive at a site whose instance is gone than it may hold: as many as it may are held, the
//! others are turned away in good order, and another site's readers notice nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ghostpin::demo::history::{Record, Waits};
use ghostpin::demo::readers::{Load, Readers};
use tokio::time::sleep;

use ghostpin_loadtest::harness::{Edge, Instance, Settings, site};
use ghostpin_loadtest::report::{Report, millis};

const LIMIT: usize = 1_000;

/// None of the held may reach its deadline within the run, and all readers come from one address.
pub const TABLES: &str = r#"
[hold]
timeout = "120s"
max_requests = 1000
[limits]
max_connections_per_client = 65536
"#;

/// Floods at a well site and at the held one take turns; medians are compared.
const ROUNDS: u64 = 3;

/// The neighbour's p99 under the flood at the held site, over its p99 under the same flood at a well site. What
/// is above 1 is noise of a machine that also runs the flood.
const MOST_RATIO: f64 = 1.5;

/// Differences below this say nothing on a shared machine.
const NOISE: Duration = Duration::from_millis(2);

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let (count, rate) = if settings.quick { (9_000, 2_000) } else { (50_001, 4_000) };
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
        count: count / ROUNDS,
        write_every: 0,
        timeout: Duration::from_secs(120),
        keep: 256,
        ..Load::of_readers(edge.http(), "", Duration::ZERO)
    };
    let time = Duration::from_secs_f64((count / ROUNDS) as f64 / f64::from(rate));
    let memory_at_start = edge.memory()?;
    let mut quiet = Neighbour::default();
    quiet.watch(edge.http(), time).await?;

    instances[0].kill().await?;
    let (mut beside_well, mut beside_held) = (Neighbour::default(), Neighbour::default());
    let mut floods = Vec::new();
    let mut well_failed = 0;
    for _ in 0..ROUNDS {
        let well = Readers::start(flood("well"));
        beside_well.watch(edge.http(), time).await?;
        well_failed += well.finish().await.iter().filter(|record| !record.succeeded()).count();

        let gone = Readers::start(flood("gone"));
        beside_held.watch(edge.http(), time).await?;
        floods.push(gone);
        settle(&floods, (count / ROUNDS) as usize).await;
    }
    let held = edge.site("gone").await?.held;
    let memory_held = edge.memory()?;
    instances[0].start().await?;
    let mut records = Vec::new();
    for flood in floods {
        records.extend(flood.finish().await);
    }

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
    report.promise(records.len() as u64 == count / ROUNDS * ROUNDS, "every request is accounted for");
    report.promise(well_failed == 0, "the well site answers its whole flood");

    let memory = [memory_at_start, memory_held].map(|kib| format!("{:.1}", kib as f64 / 1024.0));
    report.figure("memory (MiB) at start / holding", memory.join(" / "));
    for (name, neighbour) in
        [("quiet", &quiet), ("flood at a well site", &beside_well), ("flood at the held site", &beside_held)]
    {
        let p99: Vec<String> = neighbour.p99.iter().copied().map(millis).collect();
        report.figure(&format!("neighbour p99, {name}"), p99.join(", "));
        report.promise(neighbour.failed == 0, format!("no request of the neighbour fails ({name})"));
    }
    let (well, held) = (beside_well.median(), beside_held.median());
    let ratio = held.as_secs_f64() / well.as_secs_f64();
    report.figure("neighbour p99, held over well (medians)", format!("{ratio:.2}"));
    let unchanged = ratio <= MOST_RATIO || held <= well + NOISE;
    report.pace(settings.quick, unchanged, "the neighbour's p99 is unchanged");
    Ok(report)
}

fn host(name: &str) -> String {
    format!("{name}.example")
}

/// Waits until all requests but as many as may be held have ended.
async fn settle(floods: &[Readers], each: usize) {
    let ended = || floods.iter().map(|flood| flood.look(|records| records.len())).sum::<usize>();
    for _ in 0..600 {
        if ended() + LIMIT >= floods.len() * each {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What readers of another site saw, round by round.
#[derive(Default)]
struct Neighbour {
    p99: Vec<Duration>,
    failed: usize,
}

impl Neighbour {
    /// One round, on a thread of its own, so that the flood's bookkeeping does not delay it.
    async fn watch(&mut self, target: SocketAddr, time: Duration) -> io::Result<()> {
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let base = Load::of_readers(target, &host("neighbour"), time);
            let load = Load { rate: 500, count: base.count * 500 / u64::from(base.rate), ..base };
            io::Result::Ok(runtime.block_on(async { Readers::start(load).finish().await }))
        });
        while !thread.is_finished() {
            sleep(Duration::from_millis(10)).await;
        }
        let records = thread.join().map_err(|_| io::Error::other("the neighbour's readers panicked"))??;
        self.p99.push(Waits::of(&records).percentile(99.0));
        self.failed += records.iter().filter(|record| !record.succeeded()).count();
        Ok(())
    }

    fn median(&self) -> Duration {
        let mut p99 = self.p99.clone();
        p99.sort_unstable();
        p99.get(p99.len() / 2).copied().unwrap_or_default()
    }
}
