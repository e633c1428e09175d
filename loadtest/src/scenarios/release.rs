//! A crowd is held, and the instance that comes is slow: it is given no more than it can bear, and no less, in the order
//! of arrival, and nobody who comes later is served before those who waited.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use ghostpin::demo::deeds::Deeds;
use ghostpin::demo::readers::{Load, Readers};

use ghostpin_loadtest::harness::{Edge, HOST, Pair, SITE, Settings, site};
use ghostpin_loadtest::report::{Report, millis};

/// Time of its one thread that the instance needs for an answer, as a cold Ghost may.
const BUSY: &str = "5ms";

/// The whole crowd is held, for as long as it takes.
pub const TABLES: &str = r#"
[hold]
timeout = "120s"
max_requests = 20000
max_requests_total = 20000
[limits]
max_connections_per_client = 65536
"#;

/// Of what the instance does alone, this much at least while the crowd is let go.
const LEAST: f64 = 0.9;
/// Places that a request may lose to others that were let go with it: they overtake each other on their way.
const TOGETHER: u64 = 64;

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let count = if settings.quick { 600 } else { 4_000 };
    let title = format!("release: {count} held requests, and an instance that needs {BUSY} for each");
    let mut report = Report::new(title);
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    let mut edge = Edge::new(settings)?;
    edge.write(&edge.config(TABLES, &site(SITE, &[HOST], &pair.addresses())))?;
    edge.start().await?;
    let load = |first: u64, rate, count| Load {
        first,
        rate,
        count,
        write_every: 0,
        timeout: Duration::from_secs(120),
        ..Load::of_readers(edge.http(), HOST, Duration::ZERO)
    };
    pair.a.kill().await?;
    let crowd = Readers::start(load(0, 1_000, count));
    let held = edge.until_held(SITE, count).await?;
    report.promise(held == count, "the whole crowd is held");

    pair.b.start_with(&["--busy", BUSY]).await?;
    // They come all the while, and are not to be served before those who have waited.
    let later = Readers::start(load(count, 20, 20 * count / 200));
    let crowd = crowd.finish().await;
    later.stop();
    let later = later.finish().await;
    let failed = crowd.iter().chain(&later).filter(|record| !record.succeeded()).count();
    report.figure("failed", failed);
    report.promise(failed == 0, "nobody fails");

    let released = Released::of(&pair.b.deeds()?, count);
    let alone = alone(&pair).await?;
    let part = released.per_second / alone;
    let goodput = format!("{:.1} of {alone:.1} that it does alone: {part:.3}", released.per_second);
    report.figure("answers a second while they were let go", goodput);
    report.figure("places lost to others of the crowd, at most", released.lost);
    report.figure("of those who came later, served before one of the crowd", released.overtook);
    let first = released.first_after.map_or("never".into(), millis);
    report.figure("first of them handed over after the instance listened", first);
    report.promise(part >= LEAST, "its goodput is nine tenths of what it can do alone");
    report.promise(released.lost <= TOGETHER, "the order of arrival is kept");
    report.promise(released.overtook == 0, "nobody who comes later overtakes one who waited");
    Ok(report)
}

/// What the instance has seen of the crowd.
struct Released {
    per_second: f64,
    lost: u64,
    overtook: usize,
    first_after: Option<Duration>,
}

impl Released {
    fn of(deeds: &Deeds, count: u64) -> Self {
        let in_order: Vec<_> = deeds.requests.iter().filter(|deed| deed.reader.is_some()).collect();
        let place: HashMap<u64, usize> =
            in_order.iter().enumerate().filter_map(|(place, deed)| Some((deed.reader?, place))).collect();
        let crowd = || in_order.iter().filter(|deed| deed.reader.is_some_and(|reader| reader < count));
        let first = crowd().map(|deed| deed.begun).min();
        let last = crowd().filter_map(|deed| deed.ended).max();
        let took = first.zip(last).map_or(Duration::MAX, |(first, last)| last.since(first));
        let end = (0..count).filter_map(|reader| place.get(&reader)).max().copied().unwrap_or_default();
        let overtook =
            in_order[..end].iter().filter(|deed| deed.reader.is_some_and(|reader| reader >= count));
        let lost = (0..count).filter_map(|reader| Some((*place.get(&reader)? as u64).saturating_sub(reader)));
        let listened = deeds.listening.last().copied();
        Self {
            per_second: crowd().count() as f64 / took.as_secs_f64(),
            lost: lost.max().unwrap_or_default(),
            overtook: overtook.count(),
            first_after: listened.zip(first).map(|(listened, first)| first.since(listened)),
        }
    }
}

/// What the instance answers a second, if it is asked for more than it can answer and by nobody else.
async fn alone(pair: &Pair) -> io::Result<f64> {
    let load = Load {
        rate: 400,
        count: 800,
        write_every: 0,
        timeout: Duration::from_secs(30),
        ..Load::of_readers(pair.b.address(), HOST, Duration::ZERO)
    };
    let records = Readers::start(load).finish().await;
    let first = records.iter().map(|record| record.started).min();
    let last = records.iter().map(|record| record.ended).max();
    let took = first.zip(last).map_or(Duration::MAX, |(first, last)| last.since(first));
    let answered = records.iter().filter(|record| record.succeeded()).count();
    Ok(answered as f64 / took.as_secs_f64())
}
