//! One process after the other takes over under load of every kind, with handoffs in every second upgrade; and then some that
//! are no good are to take over, and don't.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use ghostpin::demo::client;
use ghostpin::demo::clock::Moment;
use ghostpin::demo::deeds::handed_over_twice;
use ghostpin::demo::history::{Kind, Turn, Turns, failures};
use ghostpin::demo::readers::{Load, Readers};
use ghostpin::demo::websocket;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use ghostpin_loadtest::clients::{Http2, WebSockets, open_websocket};
use ghostpin_loadtest::harness::{Edge, HOST, Instance, Pair, SITE, Settings, site};
use ghostpin_loadtest::report::{Report, Seen, millis};

/// The site whose requests are held over each upgrade, and that of WebSockets and downloads that are open over it.
const WAITING: &str = "waiting";
const OPEN: &str = "open";
/// Requests that are held over each upgrade.
const HELD: u64 = 200;
/// Bytes of a download that is under way over each upgrade.
const DOWNLOAD: usize = 10_000_000;
/// What a process that was upgraded still has may take so long.
const SHUTDOWN: Duration = Duration::from_secs(6);
/// For what takes no time to speak of.
const SOON: Duration = Duration::from_secs(15);

/// Held requests wait until the new process is there, however long that is watched for; and a handoff waits less long for the
/// WebSockets of a site than the old process may live, whose held requests are told to come again then.
pub const TABLES: &str = "[hold]\ntimeout = \"60s\"\n[handoff]\ndrain_timeout = \"1s\"\n";

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let (count, probation) = if settings.quick { (4, "500ms") } else { (100, "3s") };
    let mut report = Report::new(format!("upgrade: {count} upgrades under load (--seed {})", settings.seed));
    let mut stage = Stage::new(settings, probation).await?;
    let load = |rate, first| Load {
        rate,
        first,
        count: u64::MAX,
        timeout: Duration::from_secs(60),
        ..Load::of_readers(stage.edge.http(), HOST, Duration::ZERO)
    };
    let readers = [
        ("HTTP/1.1", Readers::start(load(200, 0))),
        ("HTTP/2", Readers::start_by(load(100, 1 << 40), Http2::in_clear_text())),
        ("WebSocket", Readers::start_by(Load { write_every: 0, ..load(50, 1 << 41) }, WebSockets::default())),
    ];
    let mut took = Vec::new();
    for number in 0..count {
        took.push(stage.upgrade(number % 2 == 1, &mut report).await?);
    }
    stage.fail_in_every_way(&mut report).await?;
    readers.iter().for_each(|(_, readers)| readers.stop());

    took.sort_unstable();
    report.figure(
        "an upgrade took, median / longest",
        format!("{} / {}", millis(took[took.len() / 2]), millis(took[took.len() - 1])),
    );
    report.figure("handoffs during upgrades", stage.turns.0.len() - 1);
    report.figure("requests held over an upgrade", stage.held);
    report.figure("WebSockets, downloads of 10 MB over one", stage.open);
    for (name, readers) in readers {
        let records = readers.finish().await;
        report.figure("readers over", format!("{name}: {} requests", records.len()));
        let seen = Seen::of(&records, &stage.turns);
        report.seen(&seen);
        report.no_failure(&seen);
        report.never_back(&seen);
    }
    let twice = handed_over_twice([&stage.pair.a.deeds()?, &stage.pair.b.deeds()?]);
    report.promise(twice.is_empty(), "no POST is handed over twice");
    Ok(report)
}

struct Stage {
    edge: Edge,
    pair: Pair,
    _other: Instance,
    /// Who is pinned, and since when it was wished.
    turns: Turns,
    random: Rng,
    held: u64,
    open: u64,
}

impl Stage {
    async fn new(settings: &Settings, probation: &str) -> io::Result<Self> {
        let mut pair = Pair::new(settings)?;
        pair.a.start().await?;
        pair.b.start().await?;
        let mut other = Instance::new(settings, "C", None)?;
        other.start().await?;
        let mut edge = Edge::new(settings)?;
        let sites = [
            site(SITE, &[HOST], &pair.addresses()),
            site(WAITING, &[WAITING], &[other.address()]),
            site(OPEN, &[OPEN], &[other.address()]),
        ];
        let config = edge.config(TABLES, &sites.concat());
        let server = format!(
            "[server]\nshutdown_timeout = \"{SHUTDOWN:?}\"\nupgrade_probation = \"{probation}\"\nupgrade_timeout = \"5s\"\n"
        );
        edge.write(&config.replacen("[server]\n", &server, 1))?;
        edge.start().await?;
        for name in [SITE, WAITING, OPEN] {
            served(&edge, name).await?;
        }
        let turns = Turns(vec![Turn { instance: "A".into(), since: Moment::now() }]);
        Ok(Self { edge, pair, _other: other, turns, random: Rng::with_seed(settings.seed), held: 0, open: 0 })
    }

    /// One upgrade, with all that is to outlive it. Returns how long it took.
    async fn upgrade(&mut self, with_handoff: bool, report: &mut Report) -> io::Result<Duration> {
        self.wish(WAITING, "hold").await?;
        let held = Readers::start(Load {
            rate: 2_000,
            count: HELD,
            timeout: Duration::from_secs(60),
            ..Load::of_readers(self.edge.http(), WAITING, Duration::ZERO)
        });
        self.edge.until_held(WAITING, HELD).await?;
        let mut page = open_websocket(self.edge.http(), OPEN).await.map_err(io::Error::other)?;
        let mut download = Download::begin(self.edge.http()).await?;

        let (before, config) = (self.edge.pid()?, self.edge.config_file());
        let delay = Duration::from_millis(self.random.u64(0..1_000));
        let handoff = with_handoff.then(|| self.handoff(delay));
        let handoff = handoff.map(tokio::spawn);
        let began = Moment::now();
        let upgraded = self.edge.upgrade(&config, None).await?;
        let took = Moment::now().since(began);
        report.promise(upgraded.is_ok(), "the new process takes over");
        if let Err(why) = upgraded {
            report.figure("not upgraded", why.trim());
        }
        websocket::write(&mut page, "still there", Some([1, 2, 3, 4])).await?;
        let heard = websocket::read(&mut page).await?;
        report.promise(heard.as_deref() == Some("C still there"), "a WebSocket goes on in the old process");
        drop(page);
        report.promise(download.finish().await?, "a download ends in the old process");
        if let Some(handoff) = handoff {
            let turn = handoff.await??;
            report.promise(turn.is_some(), "a handoff that is asked for during an upgrade comes to pass");
            self.turns.0.extend(turn);
        }
        self.wish(WAITING, "release").await?;
        let records = held.finish().await;
        let failed = failures(&records, Kind::Read).count() + failures(&records, Kind::Write).count();
        report.promise(failed == 0, "every held request is answered");
        self.held += records.len() as u64;
        self.open += 1;
        report.promise(ended(before).await, "the old process ends when its time is over");
        Ok(took)
    }

    /// Moves the pin to the other instance after this time, whoever decides then. Returns whose turn it is, if it has moved.
    fn handoff(&self, delay: Duration) -> impl Future<Output = io::Result<Option<Turn>>> + Send + use<> {
        let is_a = self.turns.0.last().is_some_and(|turn| turn.instance == "A");
        let (name, to) = if is_a { ("B", self.pair.b.address()) } else { ("A", self.pair.a.address()) };
        let admin = self.edge.admin();
        async move {
            sleep(delay).await;
            let turn = Turn { instance: name.into(), since: Moment::now() };
            let until = Moment::now() + SOON;
            while Moment::now() < until {
                let path = format!("/v1/sites/{SITE}/handoff");
                let asked =
                    client::post(admin, &admin.to_string(), &path, &json!({"to": to.to_string()})).await;
                // Whoever is told that another process has taken over looks at the site, and asks again if need be.
                let site = client::site(admin, SITE).await;
                if site.is_ok_and(|site| site.backend == Some(to.to_string())) {
                    return Ok(Some(turn));
                }
                drop(asked);
                sleep(Duration::from_millis(5)).await;
            }
            Ok(None)
        }
    }

    /// As the operator, who asks again if it was the very moment at which another process took over.
    async fn wish(&self, name: &str, wish: &str) -> io::Result<()> {
        let admin = self.edge.admin();
        let until = Moment::now() + SOON;
        loop {
            let path = format!("/v1/sites/{name}/{wish}");
            match client::post(admin, &admin.to_string(), &path, &json!({})).await {
                Ok(reply) if reply.status.is_success() => return Ok(()),
                _ if Moment::now() < until => sleep(Duration::from_millis(5)).await,
                other => return Err(io::Error::other(format!("{wish} of {name}: {other:?}"))),
            }
        }
    }

    /// Each of these is to take over, and must not.
    async fn fail_in_every_way(&mut self, report: &mut Report) -> io::Result<()> {
        let script = |name: &str, line: &str| -> io::Result<PathBuf> {
            let path = self.edge.path(name);
            std::fs::write(&path, format!("#!/bin/sh\n{line}\n"))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
            Ok(path)
        };
        let (wrong, hangs) = (script("wrong", "exit 3")?, script("hangs", "exec sleep 60")?);
        let absent = self.edge.path("absent");
        let good = self.edge.config_file();
        let bad = self.edge.path("bad.toml");
        let text = std::fs::read_to_string(&good)?;
        std::fs::write(&bad, text.replace("[hold]", "[hold]\nmax_request = 1"))?;
        let ways: [(&str, &Path, Option<&Path>, Option<Signal>); 6] = [
            ("a program that is not there", &good, Some(&absent), None),
            ("a program that ends at once", &good, Some(&wrong), None),
            ("a program that hangs", &good, Some(&hangs), None),
            ("a configuration that is wrong", &bad, None, None),
            ("a crash while it is watched", &good, None, Some(Signal::KILL)),
            ("a hang while it is watched", &good, None, Some(Signal::STOP)),
        ];
        let before = self.edge.pid()?;
        for (name, config, program, signal) in ways {
            let hit = signal.map(|signal| tokio::spawn(hit_child(before, signal)));
            let said = self.edge.upgrade(config, program).await?;
            if let Some(hit) = hit {
                report.promise(hit.await?, format!("{name}: there is a process to be hit"));
            }
            report.promise(said.is_err(), format!("{name}: `ghostpin upgrade` says that it has failed"));
            report.promise(self.edge.pid()? == before, format!("{name}: the old process goes on"));
            served(&self.edge, SITE).await?;
        }
        Ok(())
    }
}

/// Waits until a site is pinned.
async fn served(edge: &Edge, name: &str) -> io::Result<()> {
    let until = Moment::now() + SOON;
    while edge.site(name).await.is_ok_and(|site| site.backend.is_none()) {
        if Moment::now() > until {
            return Err(io::Error::other(format!("{name} is not served")));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Whether a process ends within the time that it has.
async fn ended(pid: u32) -> bool {
    let until = Moment::now() + SHUTDOWN + SOON;
    while Moment::now() < until {
        // One that nobody has waited for yet has no memory any more.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if !status.contains("VmRSS:") {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Sends a signal to the process that another one has started, as soon as it is being watched.
async fn hit_child(parent: u32, signal: Signal) -> bool {
    for _ in 0..500 {
        sleep(Duration::from_millis(10)).await;
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let child = children.ok().and_then(|all| all.split_whitespace().last()?.parse().ok());
        if let Some(child) = child.and_then(Pid::from_raw) {
            // As long as it takes to read a configuration of three sites, and more.
            sleep(Duration::from_millis(300)).await;
            return kill_process(child, signal).is_ok();
        }
    }
    false
}

/// A download that is read to its end only when it is told so.
struct Download {
    stream: TcpStream,
    read: usize,
}

impl Download {
    async fn begin(target: std::net::SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target).await?;
        let head = format!("GET /?size={DOWNLOAD} HTTP/1.1\r\nHost: {OPEN}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut some = vec![0; 100_000];
        stream.read_exact(&mut some).await?;
        Ok(Self { stream, read: some.len() })
    }

    /// Whether all of it comes.
    async fn finish(&mut self) -> io::Result<bool> {
        let mut rest = Vec::new();
        let read = timeout(SOON, self.stream.read_to_end(&mut rest)).await;
        Ok(matches!(read, Ok(Ok(read)) if self.read + read > DOWNLOAD))
    }
}
