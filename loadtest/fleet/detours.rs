//! An edge alone can't reach a backend, and its requests go through another one.

use std::io;
use std::time::Duration;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Record, Waits};
use ghostpin_loadtest::report::{Report, millis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Settings;
use crate::net::part;
use crate::scenarios::{judged, no_read_fails, plan};
use crate::stage::{Plan, SITE, Stage, edge_of, joined};

/// How the way to the backend fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing arrives, and nothing comes back.
    Silent,
    /// Connections are refused.
    Refused,
}

/// A time in which an edge's requests went through another one.
struct Round {
    what: String,
    edge: usize,
    cut: Moment,
    taken: Moment,
    over: Moment,
}

pub async fn detours(settings: &Settings) -> io::Result<Report> {
    let mut report = Report::new(
        "detours: an edge alone can't reach the backend, and its requests go through another one",
    );
    let mut stage = Stage::up(Plan { detours: true, ..plan(settings) }).await?;
    let a_while = Duration::from_secs(if settings.quick { 2 } else { 10 });
    let readers = stage.readers(50, Duration::from_secs(120) + 8 * a_while);
    let mut rounds = Vec::new();
    for way in [Way::Refused, Way::Silent] {
        for is_controller in [false, true] {
            let controller = stage.controller().await?;
            let edge = if is_controller { controller } else { (controller + 1) % 3 };
            let whom = if is_controller { "the controller" } else { "an edge" };
            let what = format!("{whom}, {way:?}");
            rounds.push(round(&mut report, &stage, what, edge, way, a_while).await?);
        }
    }
    report.promise(strangers_are_refused(&stage).await?, "who is no edge brings nothing");
    handed_off(&mut report, &stage).await?;
    let killed = carrier_dies(&mut report, &mut stage).await?;
    let records = joined(readers).await;
    judged(&mut report, &stage, &records)?;
    // Whoever asks an edge that is dead is refused by its machine.
    let others: Vec<Record> = records.iter().filter(|record| edge_of(record) != killed).cloned().collect();
    no_read_fails(&mut report, &others);
    for Round { what, edge, cut, taken, over } in rounds {
        let its = |from: Moment, until: Moment| {
            let is_its = move |record: &&Record| {
                edge_of(record) == edge && record.intended >= from && record.intended < until
            };
            Waits::of(records.iter().filter(is_its))
        };
        let (before, after) = (its(cut, taken), its(taken, over));
        let figure = format!(
            "longest wait until it was taken {}, then p50 / p99 {} / {}",
            millis(before.longest()),
            millis(after.percentile(50.0)),
            millis(after.percentile(99.0))
        );
        report.figure(&what, figure);
        report
            .promise(after.percentile(99.0) < Duration::from_millis(500), "requests that take it don't wait");
    }
    Ok(report)
}

/// Cuts one edge off from the instance that has the pin, and waits until its requests go through another one, and back.
async fn round(
    report: &mut Report,
    stage: &Stage,
    what: String,
    edge: usize,
    way: Way,
    a_while: Duration,
) -> io::Result<Round> {
    let before = stage.pin(edge).await?;
    let cut = Moment::now();
    cut_off(stage, edge, way).await?;
    until_through(stage, edge, true).await?;
    let taken = Moment::now();
    sleep(a_while).await;
    report.promise(
        stage.pin(edge).await? == before,
        "an edge that alone can't reach the backend moves nothing",
    );
    let over = Moment::now();
    stage.hear_all()?;
    until_through(stage, edge, false).await?;
    sleep(Duration::from_secs(1)).await;
    Ok(Round { what, edge, cut, taken, over })
}

async fn pinned(stage: &Stage, edge: usize) -> io::Result<usize> {
    Ok(usize::from(stage.pin(edge).await?.1 == stage.app(1).to_string()))
}

async fn cut_off(stage: &Stage, edge: usize, way: Way) -> io::Result<()> {
    let (edge_node, app) = (&stage.edges[edge].node, &stage.apps[pinned(stage, edge).await?].node);
    match way {
        Way::Silent => part(edge_node, app),
        Way::Refused => app.refuse(edge_node),
    }
}

/// Through whom the requests of an edge go.
async fn through(stage: &Stage, edge: usize) -> io::Result<Option<usize>> {
    let site = stage.ask(edge, &format!("/v1/sites/{SITE}")).await?;
    Ok(site["detour"].as_str().and_then(|name| name.strip_prefix("edge-")?.parse().ok()))
}

async fn until_through(stage: &Stage, edge: usize, other: bool) -> io::Result<()> {
    let is_so = || async {
        through(stage, edge).await.is_ok_and(|through| through.is_some() == other)
            && stage.pin(edge).await.is_ok_and(|(.., phase)| phase == "serving")
    };
    let what = if other { "its requests go through another edge" } else { "it goes the usual way again" };
    stage.until(&format!("edge {edge}: {what}"), is_so).await
}

/// The site is moved while an edge's requests take the detour, and moved back.
async fn handed_off(report: &mut Report, stage: &Stage) -> io::Result<()> {
    let edge = (stage.controller().await? + 1) % 3;
    for way in [Way::Silent, Way::Refused] {
        stage.until_well(stage.controller().await?).await?;
        cut_off(stage, edge, way).await?;
        until_through(stage, edge, true).await?;
        let to = 1 - pinned(stage, edge).await?;
        let asked = Moment::now();
        report.promise(stage.handoff(edge, to).await? == 200, "the site can be moved meanwhile");
        report.figure("a handoff meanwhile", millis(Moment::now().since(asked)));
        // The other instance is in reach.
        until_through(stage, edge, false).await?;
        stage.hear_all()?;
        stage.until_served().await?;
    }
    Ok(())
}

/// The edge that takes them is killed: the third takes them. Tells which one was.
async fn carrier_dies(report: &mut Report, stage: &mut Stage) -> io::Result<usize> {
    let edge = (stage.controller().await? + 1) % 3;
    cut_off(stage, edge, Way::Refused).await?;
    until_through(stage, edge, true).await?;
    let carrier = through(stage, edge).await?.unwrap_or(edge);
    let third = 3 - edge - carrier;
    let killed = Moment::now();
    let (asked, host) = (stage.http(edge), crate::stage::HOST);
    stage.edges[carrier].kill().await?;
    let takes_the_other = || async { through(stage, edge).await.is_ok_and(|other| other == Some(third)) };
    stage.until("the third edge takes them", takes_the_other).await?;
    report.figure(
        "the edge that takes them is killed: the third does after",
        millis(Moment::now().since(killed)),
    );
    report.promise(answers(asked, host).await, "its readers are answered through the third");
    stage.start_edge(carrier)?;
    stage.hear_all()?;
    until_through(stage, edge, false).await?;
    stage.until_served().await?;
    Ok(carrier)
}

async fn answers(edge: std::net::SocketAddr, host: &str) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(edge).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    timeout(Duration::from_secs(10), asked).await.is_ok_and(|answered| answered.unwrap_or(false))
}

/// Somebody on the same network who doesn't know the token, or knows it and means another epoch.
async fn strangers_are_refused(stage: &Stage) -> io::Result<bool> {
    let epoch = stage.pin(0).await?.0;
    let text = stage.etcdctl(0, &["get", "--prefix", "/ghostpin/detours/", "--print-value-only"]).await?;
    let own = |value: &serde_json::Value| value["name"] == "edge-0";
    let values = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let values: Vec<_> = values.filter(own).collect();
    let token = values.first().and_then(|value| value["token"].as_str());
    let token = token.ok_or_else(|| io::Error::other("edge 0 takes no requests for others"))?;
    let mut refused = true;
    for (line, expected) in [
        (format!("DETOUR 1 {} {epoch} {SITE}\n", "0".repeat(token.len())), ""),
        (format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", crate::stage::HOST), ""),
        ("x".repeat(10_000), ""),
        (format!("DETOUR 1 {token} {} {SITE}\n", epoch + 1), "NO\n"),
        (format!("DETOUR 1 {token} {epoch} unknown\n"), "NO\n"),
        (format!("DETOUR 1 {token} {epoch} {SITE}\n"), "OK\n"),
    ] {
        let said = said(stage, &line).await?;
        refused &= said == expected;
    }
    Ok(refused)
}

/// What edge 0 says to this, before it closes the connection or waits for more.
async fn said(stage: &Stage, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(stage.detour(0)).await?;
    // A connection that was closed already takes no more.
    let _ = stream.write_all(line.as_bytes()).await;
    let mut said = [0; 3];
    match timeout(Duration::from_secs(5), stream.read_exact(&mut said)).await {
        Ok(Ok(_)) => Ok(String::from_utf8_lossy(&said).into_owned()),
        Ok(Err(_)) => Ok(String::new()),
        Err(_) => Ok("nothing".to_owned()),
    }
}
