//! As many requests as there may ever be are held at once: what each costs, and that all are answered.
//!
//! Once with a connection for each, as many as a process may have files for, and once as streams of HTTP/2, which need
//! so few files that a hundred thousand of them are a matter of memory alone.

mod connections;
mod streams;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ghostpin_loadtest::harness::{Edge, HOST, Pair, SITE, Settings, site};
use ghostpin_loadtest::report::Report;

/// The whole crowd is held, for as long as it takes.
pub const TABLES: &str = r#"
[hold]
timeout = "300s"
max_requests = 200000
max_requests_total = 200000
[limits]
max_connections = 200000
max_connections_per_client = 200000
head_timeout = "60s"
"#;

/// Bytes of ghostpin's memory that one may cost.
const MOST: u64 = 10 * 1024;
/// Connections of one address. It has some more ports, but the kernel looks long for the last ones.
const OF_ONE_ADDRESS: u64 = 10_000;
/// How long the instance may take for all of them.
const PATIENCE: Duration = Duration::from_secs(240);

/// Readers who have asked, and wait.
trait Crowd: Sized {
    /// How they come, for people.
    const NAME: &str;

    /// Has so many ask for the site's page.
    async fn ask(target: SocketAddr, count: u64) -> io::Result<Self>;

    /// How many of them the new instance has answered, when all have an answer or it is too late for one.
    async fn answered(self) -> io::Result<u64>;
}

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let mut report = Report::new("crowd: as many held requests as there may ever be");
    let most = if settings.quick { 10_000 } else { 100_000 };
    let files = connections::most();
    report.figure("files that a process may have open here", files);
    hold::<connections::Connections>(settings, u64::min(most, files), &mut report).await?;
    hold::<streams::Streams>(settings, most, &mut report).await?;
    Ok(report)
}

/// Has a crowd held by a ghostpin of its own, and an instance come for it.
async fn hold<C: Crowd>(settings: &Settings, count: u64, report: &mut Report) -> io::Result<()> {
    let name = C::NAME;
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    let mut edge = Edge::new(settings)?;
    edge.write(&edge.config(TABLES, &site(SITE, &[HOST], &pair.addresses())))?;
    edge.start().await?;
    pair.a.kill().await?;
    let memory_before = edge.memory()?;
    let began = Instant::now();
    let crowd = C::ask(edge.http(), count).await?;
    let held = edge.until_held(SITE, count).await?;
    report.figure(&format!("{name}: held at once"), held);
    report.figure(&format!("{name}: until all were held, s"), seconds(began));
    report.promise(held == count, format!("all {count} are held ({name})"));
    let each = edge.memory()?.saturating_sub(memory_before) * 1024 / count;
    report.figure(&format!("{name}: memory for each, bytes"), each);
    report.promise(each <= MOST, format!("one costs no more than 10 KiB ({name})"));

    pair.b.start().await?;
    let began = Instant::now();
    let answered = crowd.answered().await?;
    report.figure(&format!("{name}: answered in the end"), answered);
    report.figure(&format!("{name}: all after the instance listened, s"), seconds(began));
    report.promise(answered == count, format!("all are answered by the new instance ({name})"));
    Ok(())
}

fn seconds(since: Instant) -> String {
    format!("{:.1}", since.elapsed().as_secs_f64())
}

/// Where the connection of this number comes from.
fn address(number: u64) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 1, 1 + (number / OF_ONE_ADDRESS) as u8), 0))
}
