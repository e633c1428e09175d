//! As many requests as there may ever be are held at once: what each costs, and that all are answered.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

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
/// Files that are something else, at most.
const OTHER_FILES: u64 = 1_000;
/// Ports of one address: connections beyond that come from another.
const OF_ONE_ADDRESS: u64 = 20_000;

pub async fn run(settings: &Settings) -> io::Result<Report> {
    // Each has a file here and one at ghostpin, which may have as many as this process.
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count =
        u64::min(if settings.quick { 10_000 } else { 100_000 }, files.saturating_sub(OTHER_FILES).max(1));
    let mut report = Report::new(format!("crowd: {count} held requests"));
    let mut pair = Pair::new(settings)?;
    pair.a.start().await?;
    let mut edge = Edge::new(settings)?;
    edge.write(&edge.config(TABLES, &site(SITE, &[HOST], &pair.addresses())))?;
    edge.start().await?;
    pair.a.kill().await?;
    let memory_before = edge.memory()?;
    let mut crowd = Vec::with_capacity(count as usize);
    for number in 0..count {
        crowd.push(ask(edge.http(), number)?);
    }
    let held = edge.until_held(SITE, count).await?;
    report.figure("files that a process may have open here", files);
    report.figure("held at once", held);
    report.promise(held == count, "all are held");
    let each = (edge.memory()?.saturating_sub(memory_before)) * 1024 / count;
    report.figure("memory for each, bytes", each);
    report.promise(each <= MOST, "one costs no more than 10 KiB");

    pair.b.start().await?;
    let began = Instant::now();
    let answered = tokio::task::spawn_blocking(move || crowd.into_iter().filter_map(answer).count()).await?;
    report.figure("answered in the end", answered);
    report.figure(
        "all of them after the instance listened, s",
        format!("{:.1}", began.elapsed().as_secs_f64()),
    );
    report.promise(answered as u64 == count, "all are answered by the new instance");
    Ok(report)
}

/// A request on a connection of its own, which isn't read from yet.
fn ask(target: SocketAddr, number: u64) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from = Ipv4Addr::new(127, 0, 1, 1 + (number / OF_ONE_ADDRESS) as u8);
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&target.into())?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// Its answer, if it is one of the new instance.
fn answer(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    (text.starts_with("HTTP/1.1 200") && text.contains("x-instance: B")).then_some(())
}
