//! What every scenario needs: a ghostpin under a configuration of its own, and two stand-in instances.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ghostpin::demo::client::{self, Reply, SiteView};
use ghostpin::demo::deeds::Deeds;
use ghostpin::demo::processes::{Proxy, Reserved, Scratch, Signal, StandIn};
use rustix::process::{Pid, kill_process};
use serde_json::json;
use tokio::process::Command;

/// The site that scenarios with a single one use.
pub const SITE: &str = "blog";
/// Its host.
pub const HOST: &str = "blog.example";

/// At 200 requests a second, a pause of 5 s fills the usual hold budget of 1,000; so it is larger here.
pub const TABLES: &str = r#"
[hold]
max_requests = 5000
[health]
interval = "500ms"
timeout = "1s"
fall = 2
"#;

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The ghostpin to test; also runs the stand-ins.
    pub ghostpin: PathBuf,
    /// Where the log of ghostpin goes; thrown away unless given.
    pub log: Option<PathBuf>,
    /// The short form, for every change; otherwise the full one.
    pub quick: bool,
    /// Seed of whatever is random.
    pub seed: u64,
}

/// A ghostpin with its files and addresses, which stay the same over restarts.
#[derive(Debug)]
pub struct Edge {
    program: PathBuf,
    log: PathBuf,
    scratch: Scratch,
    http: Reserved,
    admin: Reserved,
    proxy: Option<Proxy>,
    /// The process that has taken over from it.
    heir: Option<Heir>,
}

/// Killed when dropped. It is nobody's child here.
#[derive(Debug)]
struct Heir(Pid);

impl Drop for Heir {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

impl Edge {
    /// Everything but the process.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        Ok(Self {
            program: settings.ghostpin.clone(),
            log: settings.log.clone().unwrap_or_else(|| scratch.path("ghostpin.log")),
            scratch,
            http: Reserved::any()?,
            admin: Reserved::any()?,
            proxy: None,
            heir: None,
        })
    }

    /// One that runs, in front of these instances, of which the first must be running.
    pub async fn before(settings: &Settings, instances: [SocketAddr; 2]) -> io::Result<Self> {
        let mut edge = Self::new(settings)?;
        edge.write(&edge.config(TABLES, &site(SITE, &[HOST], &instances)))?;
        edge.start().await?;
        for _ in 0..500 {
            if client::get(edge.http(), HOST, "/").await.is_ok_and(|reply| reply.status.is_success()) {
                return Ok(edge);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Err(io::Error::other("ghostpin passes nothing on"))
    }

    /// Where readers come in.
    pub fn http(&self) -> SocketAddr {
        self.http.address
    }

    /// A configuration with `more` tables (such as `[hold]`) and sites after the addresses.
    pub fn config(&self, more: &str, sites: &str) -> String {
        format!(
            "[server]\nstate = {:?}\n[listen]\nhttp = [\"{}\"]\n[admin]\nlisten = \"{}\"\n[log]\naccess = false\n{more}\n{sites}",
            self.scratch.path("state"),
            self.http.address,
            self.admin.address
        )
    }

    pub fn config_file(&self) -> PathBuf {
        self.scratch.path("ghostpin.toml")
    }

    /// Puts a configuration in the place of the former one, in one step.
    pub fn write(&self, config: &str) -> io::Result<()> {
        let new = self.scratch.path("ghostpin.toml.new");
        std::fs::write(&new, config)?;
        std::fs::rename(new, self.config_file())
    }

    /// Starts the process, or starts it again, and waits until it is ready.
    pub async fn start(&mut self) -> io::Result<()> {
        let config = self.config_file();
        self.proxy = Some(Proxy::start(&self.program, &config, self.admin.address, &self.log).await?);
        Ok(())
    }

    /// Kills the process (SIGKILL).
    pub async fn kill(&mut self) -> io::Result<()> {
        match self.proxy.take() {
            Some(proxy) => proxy.kill().await,
            None => Err(not_running()),
        }
    }

    /// Has another process take over by `ghostpin upgrade`, with this configuration file and, if one is given, this program.
    /// The inner error is what was said about why the old process goes on.
    pub async fn upgrade(&mut self, config: &Path, program: Option<&Path>) -> io::Result<Result<(), String>> {
        let mut command = Command::new(&self.program);
        command.args(["upgrade", "--json", "--config"]).arg(config).args(program);
        let output = command.kill_on_drop(true).stdin(Stdio::null()).output().await?;
        if !output.status.success() {
            return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let done: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let pid = done["serves"]["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let heir = Heir(pid.ok_or_else(|| io::Error::other(format!("no process was named: {done}")))?);
        if let Some(before) = self.heir.replace(heir) {
            // It has a life of its own until its last request has ended.
            std::mem::forget(before);
        }
        Ok(Ok(()))
    }

    /// Number of the process that decides.
    pub fn pid(&self) -> io::Result<u32> {
        match &self.heir {
            Some(Heir(pid)) => Ok(pid.as_raw_nonzero().get().cast_unsigned()),
            None => self.proxy()?.id().ok_or_else(not_running),
        }
    }

    /// Where operators come in.
    pub fn admin(&self) -> SocketAddr {
        self.admin.address
    }

    /// A file beside the configuration.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    pub fn proxy(&self) -> io::Result<&Proxy> {
        self.proxy.as_ref().ok_or_else(not_running)
    }

    pub fn reload(&self) -> io::Result<()> {
        self.proxy()?.signal(Signal::HUP)
    }

    pub async fn site(&self, name: &str) -> io::Result<SiteView> {
        client::site(self.admin.address, name).await
    }

    /// Waits until so many requests are held at all sites together, for a minute at most; returns how many are.
    pub async fn until_all_held(&self, count: u64) -> io::Result<u64> {
        let mut held = 0;
        for _ in 0..1_200 {
            let reply =
                client::get(self.admin.address, &self.admin.address.to_string(), "/v1/status").await?;
            let status: serde_json::Value = serde_json::from_slice(&reply.body).map_err(io::Error::other)?;
            held =
                status["held"].as_u64().ok_or_else(|| io::Error::other("the status tells of none held"))?;
            if held >= count {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(held)
    }

    /// Waits until so many requests are held at a site, for a minute at most; returns how many are.
    pub async fn until_held(&self, name: &str, count: u64) -> io::Result<u64> {
        let mut held = 0;
        for _ in 0..1_200 {
            held = self.site(name).await?.held;
            if held >= count {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(held)
    }

    /// Asks for a planned handoff; answers when it has ended.
    pub fn handoff(
        &self,
        site: &str,
        to: SocketAddr,
    ) -> impl Future<Output = io::Result<Reply>> + Send + use<> {
        let (admin, path) = (self.admin.address, format!("/v1/sites/{site}/handoff"));
        async move { client::post(admin, &admin.to_string(), &path, &json!({"to": to.to_string()})).await }
    }

    /// Resident memory of the process, in KiB.
    pub fn memory(&self) -> io::Result<u64> {
        let id = self.pid()?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        size.ok_or_else(|| io::Error::other("no VmRSS"))
    }
}

fn not_running() -> io::Error {
    io::Error::other("the proxy is not running")
}

/// A `[[site]]`.
pub fn site(name: &str, hosts: &[&str], backends: &[SocketAddr]) -> String {
    let backends: Vec<String> = backends.iter().map(ToString::to_string).collect();
    format!("[[site]]\nname = {name:?}\nhosts = {hosts:?}\nbackends = {backends:?}\n")
}

/// An instance of the application at an address of its own, which stays the same over restarts.
#[derive(Debug)]
pub struct Instance {
    name: &'static str,
    program: PathBuf,
    address: Reserved,
    account: Option<PathBuf>,
    running: Option<StandIn>,
}

impl Instance {
    /// An instance that is not started yet; with a folder, it writes down what it does.
    pub fn new(settings: &Settings, name: &'static str, folder: Option<&Scratch>) -> io::Result<Self> {
        Ok(Self {
            name,
            program: settings.ghostpin.clone(),
            address: Reserved::any()?,
            account: folder.map(|folder| folder.path(name)),
            running: None,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address.address
    }

    pub async fn start(&mut self) -> io::Result<()> {
        self.start_with(&[]).await
    }

    /// With more arguments.
    pub async fn start_with(&mut self, more: &[&str]) -> io::Result<()> {
        let account = self.account.as_deref();
        self.running = Some(StandIn::start(&self.program, self.name, self.address(), account, more).await?);
        Ok(())
    }

    pub async fn kill(&mut self) -> io::Result<()> {
        match self.running.take() {
            Some(stand_in) => stand_in.kill().await,
            None => Err(io::Error::other("the instance is not running")),
        }
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.running.as_ref().ok_or_else(|| io::Error::other("the instance is not running"))?.signal(signal)
    }

    /// What it has written down.
    pub fn deeds(&self) -> io::Result<Deeds> {
        Deeds::read(self.account.as_deref().unwrap_or(Path::new("")))
    }
}

/// The two instances of a site, A and B.
#[derive(Debug)]
pub struct Pair {
    pub a: Instance,
    pub b: Instance,
    _folder: Scratch,
}

impl Pair {
    /// Two instances, neither of them started, that write down what they do.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        let folder = Scratch::new()?;
        Ok(Self {
            a: Instance::new(settings, "A", Some(&folder))?,
            b: Instance::new(settings, "B", Some(&folder))?,
            _folder: folder,
        })
    }

    /// The same, the second one on a machine of its own, as far as its address says.
    pub fn on_two_machines(settings: &Settings) -> io::Result<Self> {
        let mut pair = Self::new(settings)?;
        pair.b.address = Reserved::prefer(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        Ok(pair)
    }

    pub fn addresses(&self) -> [SocketAddr; 2] {
        [self.a.address(), self.b.address()]
    }
}

/// Lets this process open as many files as it may.
pub fn raise_file_limit() -> io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
