//! Who is in a run: three members of etcd, three edges, and the instances of one application.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum;
use ghostpin::broken::Rule;
use ghostpin::cli::client::{Client, Place};
use ghostpin::demo::clock::Moment;
use ghostpin::demo::deeds::Deeds;
use ghostpin::demo::history::Record;
use ghostpin::demo::processes::{Scratch, Signal, signal, start, tail};
use ghostpin::demo::readers::{Load, Readers};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::net::Node;

/// The site, and its host.
pub const SITE: &str = "blog";
pub const HOST: &str = "blog.example";
/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The numbers of each edge's readers begin with a number of their own.
const READERS: u64 = 1_000_000_000;

/// A node with the one process that runs there.
#[derive(Debug)]
pub struct Process {
    pub node: Node,
    child: Option<Child>,
}

impl Process {
    fn at(node: Node) -> Self {
        Self { node, child: None }
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn signal(&self, which: Signal) -> io::Result<()> {
        signal(self.child.as_ref().ok_or_else(|| io::Error::other("it is not running"))?, which)
    }

    pub fn id(&self) -> io::Result<u32> {
        self.child.as_ref().and_then(Child::id).ok_or_else(|| io::Error::other("it is not running"))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// Processor time that it has had, in hundredths of a second as Linux counts it.
    pub fn cpu(&self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()?))?;
        // After the name in brackets, which may have spaces: user and system time are the 12th and 13th word.
        let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: u64 = words.filter_map(|word| word.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Waits for its end, and returns its exit code; none if a signal has ended it.
    pub async fn ended(&mut self) -> io::Result<Option<i32>> {
        let mut child = self.child.take().ok_or_else(|| io::Error::other("it is not running"))?;
        let status =
            timeout(PATIENCE, child.wait()).await.map_err(|_| io::Error::other("it does not end"))?;
        Ok(status?.code())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_some(),
            None => false,
        })
    }
}

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Plan {
    pub ghostpin: PathBuf,
    /// More keys of `[server]`.
    pub server: String,
    /// More tables for every edge's file.
    pub tables: String,
    /// More keys of `[cluster]`.
    pub cluster: String,
    /// Edges take requests for others.
    pub detours: bool,
    /// More keys of the site.
    pub site: String,
    /// etcd's heartbeat and election timeout, in milliseconds.
    pub timers: [u32; 2],
    /// Sites beside the one, all on the same instances; each is named by its number.
    pub others: usize,
    /// How long an instance takes for an answer.
    pub delay: Duration,
    /// Rules that the edges are to break; they must be built for it.
    pub broken: Vec<Rule>,
}

/// All of them.
pub struct Stage {
    pub plan: Plan,
    pub etcd: Vec<Process>,
    pub edges: Vec<Process>,
    pub apps: Vec<Process>,
    pub scratch: Scratch,
}

impl Stage {
    /// Starts all of them and waits until every edge serves the site.
    pub async fn up(plan: Plan) -> io::Result<Self> {
        let mut stage = Self::without_edges(plan).await?;
        for at in 0..stage.edges.len() {
            stage.start_edge(at)?;
        }
        stage.until_served().await?;
        Ok(stage)
    }

    /// Starts all but the edges.
    pub async fn without_edges(plan: Plan) -> io::Result<Self> {
        type Make = fn(&str, u8) -> io::Result<Node>;
        let nodes = |make: Make, name: &str, first: u8, count: u8| -> io::Result<Vec<Process>> {
            (0..count).map(|n| Ok(Process::at(make(&format!("{name}{n}"), first + n)?))).collect()
        };
        let mut stage = Self {
            plan,
            etcd: nodes(Node::new, "etcd", 11, 3)?,
            edges: nodes(Node::with_readers, "edge", 21, 3)?,
            apps: nodes(Node::new, "app", 31, 2)?,
            scratch: Scratch::new()?,
        };
        for at in 0..stage.etcd.len() {
            stage.start_etcd(at, "new").await?;
        }
        for at in 0..stage.apps.len() {
            stage.start_app(at).await?;
        }
        stage.until("etcd has a leader", || async { stage.etcd_leader().await.is_ok() }).await?;
        Ok(stage)
    }

    /// All but etcd begins anew, by another plan, and with nothing left of what was; no edge is started.
    pub async fn begin_anew(&mut self, plan: Plan) -> io::Result<()> {
        for process in self.edges.iter_mut().chain(&mut self.apps) {
            process.kill().await?;
        }
        self.hear_all()?;
        for at in 0..self.edges.len() {
            self.forget(at)?;
        }
        for at in 0..self.apps.len() {
            std::fs::remove_file(self.scratch.path(["A", "B"][at]))?;
        }
        self.plan = plan;
        for at in 0..self.apps.len() {
            self.start_app(at).await?;
        }
        let takes = || async { self.etcdctl(0, &["put", "ready", ""]).await.is_ok() };
        self.until("etcd takes what is written", takes).await
    }

    /// An edge that is not running loses what it had on its disk.
    pub fn forget(&self, at: usize) -> io::Result<()> {
        match std::fs::remove_dir_all(self.scratch.path(&format!("state{at}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Every line is well again.
    pub fn hear_all(&self) -> io::Result<()> {
        let all = self.edges.iter().chain(&self.etcd).chain(&self.apps);
        all.map(|process| &process.node).try_for_each(Node::hear_all)
    }

    /// Waits until each edge that runs serves the site.
    pub async fn until_served(&self) -> io::Result<()> {
        for at in 0..self.edges.len() {
            if self.edges[at].is_running() {
                let serves = || async { self.pin(at).await.is_ok_and(|(_, _, phase)| phase == "serving") };
                self.until(&format!("edge {at} serves"), serves).await?;
            }
        }
        Ok(())
    }

    /// Waits until the edge that decides has seen that all instances are well: to others it moves nothing.
    pub async fn until_well(&self, at: usize) -> io::Result<()> {
        let are_well = || async {
            let site = self.ask(at, &format!("/v1/sites/{SITE}")).await.unwrap_or_default();
            let candidates = site["candidates"].as_array().map_or(&[][..], Vec::as_slice);
            candidates.len() == self.apps.len() && candidates.iter().all(|one| one["health"] == "well")
        };
        self.until("all instances are well", are_well).await
    }

    /// Waits for something, and says what has not come.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) -> io::Result<()> {
        let waiting = async {
            while !is_so().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.map_err(|_| {
            let logs: Vec<String> = (0..3)
                .map(|at| format!("edge {at}:\n{}", tail(&self.scratch.path(&format!("edge{at}.log")))))
                .collect();
            io::Error::other(format!("not within {PATIENCE:?}: {what}\n{}", logs.join("\n")))
        })
    }

    fn log(&self, name: &str) -> io::Result<(File, File)> {
        let file = File::options().create(true).append(true).open(self.scratch.path(name))?;
        Ok((file.try_clone()?, file))
    }

    // etcd

    /// All members, as each of them is told.
    fn peers(&self) -> String {
        let member = |(n, member): (usize, &Process)| format!("m{n}=http://{}:2380", member.node.ip);
        self.etcd.iter().enumerate().map(member).collect::<Vec<_>>().join(",")
    }

    pub fn etcd_url(&self, at: usize) -> String {
        format!("http://{}:2379", self.etcd[at].node.ip)
    }

    pub async fn start_etcd(&mut self, at: usize, state: &str) -> io::Result<()> {
        let (out, err) = self.log(&format!("etcd{at}.log"))?;
        let (node, [heartbeat, election]) = (&self.etcd[at].node, self.plan.timers);
        let mut command = node.command("etcd");
        command
            .args(["--name", &format!("m{at}"), "--log-level", "warn"])
            .args([
                "--heartbeat-interval",
                &heartbeat.to_string(),
                "--election-timeout",
                &election.to_string(),
            ])
            .args(["--listen-client-urls", &format!("http://{}:2379,http://127.0.0.1:2379", node.ip)])
            .args(["--advertise-client-urls", &format!("http://{}:2379", node.ip)])
            .args(["--listen-peer-urls", &format!("http://{}:2380", node.ip)])
            .args(["--initial-advertise-peer-urls", &format!("http://{}:2380", node.ip)])
            .args(["--initial-cluster", &self.peers(), "--initial-cluster-state", state])
            .arg("--data-dir")
            .arg(self.scratch.path(&format!("etcd{at}")))
            .stdout(out)
            .stderr(err);
        self.etcd[at].child = Some(start(&mut command)?);
        Ok(())
    }

    /// Has all members begin anew from a backup, as after a disaster.
    pub async fn restore(&mut self, backup: &std::path::Path) -> io::Result<()> {
        for at in 0..self.etcd.len() {
            self.etcd[at].kill().await?;
        }
        for at in 0..self.etcd.len() {
            let folder = self.scratch.path(&format!("etcd{at}"));
            std::fs::remove_dir_all(&folder)?;
            let own = format!("http://{}:2380", self.etcd[at].node.ip);
            let (name, folder, backup) =
                (format!("m{at}"), folder.to_string_lossy(), backup.to_string_lossy());
            let arguments = ["snapshot", "restore", &backup, "--name", &name, "--data-dir", &folder];
            let addresses = ["--initial-cluster", &self.peers(), "--initial-advertise-peer-urls", &own];
            self.etcdctl(at, &[&arguments[..], &addresses[..]].concat()).await?;
            self.start_etcd(at, "new").await?;
        }
        Ok(())
    }

    /// Asks a member by etcd's own tool.
    pub async fn etcdctl(&self, at: usize, arguments: &[&str]) -> io::Result<String> {
        let output = self.etcdctl_of(at, arguments).output().await?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// etcd's own tool, to be run.
    pub fn etcdctl_of(&self, at: usize, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.etcd_url(at), "--command-timeout=2s"]);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Which member leads.
    pub async fn etcd_leader(&self) -> io::Result<usize> {
        for at in (0..self.etcd.len()).filter(|&at| self.etcd[at].is_running()) {
            let Ok(text) = self.etcdctl(at, &["endpoint", "status", "--write-out=json"]).await else {
                continue;
            };
            let status: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
            let status = &status[0]["Status"];
            if status["leader"] == status["header"]["member_id"] && status["leader"] != 0 {
                return Ok(at);
            }
        }
        Err(io::Error::other("etcd has no leader"))
    }

    // The application.

    pub fn app(&self, at: usize) -> SocketAddr {
        SocketAddr::from((self.apps[at].node.ip, 2368))
    }

    pub async fn start_app(&mut self, at: usize) -> io::Result<()> {
        let name = ["A", "B"][at];
        let mut command = self.apps[at].node.command(&self.plan.ghostpin);
        command
            .args([
                "stand-in",
                "--anywhere",
                "--name",
                name,
                "--listen",
                &self.app(at).to_string(),
                "--record",
            ])
            .arg(self.scratch.path(name))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.apps[at].child = Some(start(&mut command)?);
        let address = self.app(at);
        self.until("an instance listens", || async { tokio::net::TcpStream::connect(address).await.is_ok() })
            .await
    }

    /// What the instances have written down.
    pub fn deeds(&self) -> io::Result<Vec<Deeds>> {
        ["A", "B"].iter().map(|name| Deeds::read(&self.scratch.path(name))).collect()
    }

    // The edges.

    pub fn http(&self, at: usize) -> SocketAddr {
        let node = &self.edges[at].node;
        SocketAddr::from((node.front.unwrap_or(node.ip), 80))
    }

    /// Where an edge takes requests for others.
    pub fn detour(&self, at: usize) -> SocketAddr {
        SocketAddr::from((self.edges[at].node.ip, 7080))
    }

    /// An edge's configuration.
    pub fn config(&self, at: usize) -> String {
        let listen = self.http(at).to_string();
        let etcd: Vec<String> = (0..self.etcd.len()).map(|member| self.etcd_url(member)).collect();
        let Plan { server, tables, cluster, detours, site, others, .. } = &self.plan;
        let backends = [self.app(0).to_string(), self.app(1).to_string()];
        let detour = if *detours { format!("detour = \"{}\"\n", self.detour(at)) } else { String::new() };
        let mut text = format!(
            "[server]\nstate = {:?}\nthreads = 1\n{server}[listen]\nhttp = [{listen:?}]\n[admin]\nlisten = {:?}\n\
             [log]\naccess = false\n[cluster]\netcd = {etcd:?}\nname = \"edge-{at}\"\n{detour}{cluster}\n{tables}\n\
             [[site]]\nname = {SITE:?}\nhosts = [{HOST:?}]\nbackends = {backends:?}\napp = \"generic\"\ntell_epoch = true\n{site}\n",
            self.scratch.path(&format!("state{at}")),
            self.socket(at)
        );
        for other in 0..*others {
            text += &format!(
                "[[site]]\nname = \"s{other}\"\nhosts = [\"s{other}.example\"]\nbackends = {backends:?}\napp = \"generic\"\n"
            );
        }
        text
    }

    /// Starts an edge that knows of no others.
    pub fn start_alone(&mut self, at: usize) -> io::Result<()> {
        let text = self.config(at);
        let (cluster, tables) = (text.find("[cluster]").unwrap_or(0), text.find("[health]").unwrap_or(0));
        self.run_edge(at, &[&text[..cluster], &text[tables..]].concat())
    }

    pub fn start_edge(&mut self, at: usize) -> io::Result<()> {
        self.run_edge(at, &self.config(at))
    }

    /// Has a stopped edge bring its pins into the fleet's store.
    pub async fn join(&self, at: usize) -> io::Result<String> {
        let file = self.config_file(at);
        std::fs::write(&file, self.config(at))?;
        let mut command = self.edges[at].node.command(&self.plan.ghostpin);
        let output = command.arg("join").arg("--config").arg(file).stdin(Stdio::null()).output().await?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// The file that it is read from.
    pub fn config_file(&self, at: usize) -> PathBuf {
        self.scratch.path(&format!("edge{at}.toml"))
    }

    /// Starts an edge by this configuration.
    pub fn run_edge(&mut self, at: usize, config: &str) -> io::Result<()> {
        let file = self.config_file(at);
        std::fs::write(&file, config)?;
        let (out, err) = self.log(&format!("edge{at}.log"))?;
        let mut command = self.edges[at].node.command(&self.plan.ghostpin);
        command.arg("run").arg("--config").arg(file).stdout(out).stderr(err);
        if !self.plan.broken.is_empty() {
            command.env("GHOSTPIN_BROKEN", names(&self.plan.broken));
        }
        self.edges[at].child = Some(start(&mut command)?);
        Ok(())
    }

    /// Its admin API is asked past the network, so that no fault hides what it says.
    pub fn socket(&self, at: usize) -> PathBuf {
        self.scratch.path(&format!("admin{at}"))
    }

    /// Starts edges again that have ended by themselves, as a service manager does, and tells how many there were.
    pub fn supervise(&mut self) -> io::Result<usize> {
        let mut ended = 0;
        for at in 0..self.edges.len() {
            if self.edges[at].has_ended()? {
                ended += 1;
                self.start_edge(at)?;
            }
        }
        Ok(ended)
    }

    pub fn client(&self, at: usize) -> Client {
        let (told_by, actor) = ("the stage".to_owned(), "fleet".to_owned());
        Client { place: Place::Unix(self.socket(at)), told_by, token: None, actor, patience: PATIENCE }
    }

    /// What an edge's admin API says.
    pub async fn ask(&self, at: usize, path: &str) -> io::Result<Value> {
        let client = self.client(at);
        let body = timeout(Duration::from_secs(3), client.get(path))
            .await?
            .map_err(|error| io::Error::other(error.to_string()))?;
        serde_json::from_slice(&body).map_err(io::Error::other)
    }

    /// Epoch, backend and phase of the site, as an edge sees it.
    pub async fn pin(&self, at: usize) -> io::Result<(u64, String, String)> {
        let site = self.ask(at, &format!("/v1/sites/{SITE}")).await?;
        let text = |key: &str| site[key].as_str().unwrap_or_default().to_owned();
        // What the fleet does is one thing, what this edge does another.
        let phase = if site["open"] == true { text("phase") } else { "held".to_owned() };
        Ok((site["epoch"].as_u64().unwrap_or_default(), text("backend"), phase))
    }

    /// Asks an edge for a handoff; answers with the status when it has ended.
    pub fn handoff(&self, at: usize, to: usize) -> impl Future<Output = io::Result<u16>> + use<> {
        let (client, to) = (self.client(at), self.app(to));
        async move {
            let body = format!("{{\"to\": \"{to}\"}}");
            let request = client.request(
                "POST".parse().map_err(io::Error::other)?,
                &format!("/v1/sites/{SITE}/handoff"),
                body.into(),
            );
            let reply = timeout(PATIENCE, client.send(request)).await?;
            Ok(reply.map_err(|error| io::Error::other(error.to_string()))?.status.as_u16())
        }
    }

    /// The edge that decides.
    pub async fn controller(&self) -> io::Result<usize> {
        for at in (0..self.edges.len()).filter(|&at| self.edges[at].is_running()) {
            if let Some(controller) = self.controller_seen_by(at).await {
                return Ok(controller);
            }
        }
        Err(io::Error::other("nobody decides"))
    }

    /// The same, as one of them says.
    pub async fn controller_seen_by(&self, at: usize) -> Option<usize> {
        let controller = self.ask(at, "/v1/controller").await.ok()?;
        controller["name"].as_str()?.strip_prefix("edge-")?.parse().ok()
    }

    // Readers.

    /// Readers at each edge, `rate` a second each.
    pub fn readers(&self, rate: u32, time: Duration) -> Vec<Readers> {
        (0..self.edges.len()).map(|at| self.readers_at(at, rate, time, self.plan.delay)).collect()
    }

    /// Readers at one edge, whose answers take so long in the instance.
    pub fn readers_at(&self, at: usize, rate: u32, time: Duration, delay: Duration) -> Readers {
        let count = (time.as_secs_f64() * f64::from(rate)) as u64;
        let load = Load::of_readers(self.http(at), HOST, time);
        let path = format!("/?delay={}ms", delay.as_millis());
        Readers::start(Load { rate, count, path, first: at as u64 * READERS, ..load })
    }
}

/// Sends no more readers, waits for those who are under way, and makes one history of all edges.
pub async fn joined(readers: Vec<Readers>) -> Vec<Record> {
    readers.iter().for_each(Readers::stop);
    let mut all = Vec::new();
    for readers in readers {
        all.extend(readers.finish().await);
    }
    all
}

/// Which edge a record is of.
pub fn edge_of(record: &Record) -> usize {
    (record.number / READERS) as usize
}

/// Since when.
pub fn since(moment: Moment) -> Duration {
    Moment::now().since(moment)
}

/// Rules as an edge is told them.
pub fn names(rules: &[Rule]) -> String {
    let names = rules.iter().filter_map(ValueEnum::to_possible_value).map(|rule| rule.get_name().to_owned());
    names.collect::<Vec<_>>().join(",")
}
