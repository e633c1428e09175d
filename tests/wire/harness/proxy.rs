//! The real program, as a process of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::{Backend, Client, Response, until};

/// Longer than any wish takes; only waited for in full if nobody decides any more.
const ADMIN_PATIENCE: Duration = Duration::from_secs(60);

/// What goes into the configuration file. Times are short, so that tests are.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) server: String,
    /// Addresses in quotes, with commas between them.
    pub(crate) http: String,
    /// What else is said of listeners.
    pub(crate) listen: String,
    /// Where operators ask, if not at a Unix socket.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) hold: String,
    pub(crate) health: String,
    pub(crate) handoff: String,
    pub(crate) upstream: String,
    pub(crate) limits: String,
    pub(crate) log: String,
    pub(crate) sites: Vec<(String, String)>,
    /// Of the process, besides what this one has.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

impl Config {
    /// Without a site.
    pub(crate) fn new() -> Self {
        Self {
            server: "threads = 2".into(),
            http: "'127.0.0.1:0'".into(),
            listen: String::new(),
            admin: None,
            hold: "timeout = '15s'".into(),
            health: "path = '/probe'\nproof_path = '/probe'\ninterval = '100ms'\ntimeout = '400ms'\n\
                     held_interval = '10ms'\nfall = 2\nrise = 1"
                .into(),
            handoff: "drain_timeout = '5s'\nprove_timeout = '5s'".into(),
            upstream: String::new(),
            limits: String::new(),
            log: "level = 'info'".into(),
            sites: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// One site named `a` at the host `a.test`.
    pub(crate) fn of(backends: &[&Backend]) -> Self {
        Self::new().site("a", backends, "app = 'generic'")
    }

    /// With another site, at the host `NAME.test`. `lines` are further keys and tables of it.
    pub(crate) fn site(mut self, name: &str, backends: &[&Backend], lines: &str) -> Self {
        self.set_site(name, &format!("{name}.test"), backends, lines);
        self
    }

    /// Adds a site or replaces it.
    pub(crate) fn set_site(&mut self, name: &str, host: &str, backends: &[&Backend], lines: &str) {
        let addresses: Vec<String> =
            backends.iter().map(|backend| format!("'{}'", backend.address)).collect();
        let addresses = addresses.join(", ");
        let text = format!("name = '{name}'\nhosts = ['{host}']\nbackends = [{addresses}]\n{lines}");
        match self.sites.iter_mut().find(|(other, _)| other == name) {
            Some((_, before)) => *before = text,
            None => self.sites.push((name.to_owned(), text)),
        }
    }

    pub(crate) fn remove_site(&mut self, name: &str) {
        self.sites.retain(|(other, _)| other != name);
    }

    pub(crate) fn hold(mut self, lines: &str) -> Self {
        self.hold = lines.into();
        self
    }

    pub(crate) fn handoff(mut self, lines: &str) -> Self {
        self.handoff = lines.into();
        self
    }

    pub(crate) fn upstream(mut self, lines: &str) -> Self {
        self.upstream = lines.into();
        self
    }

    pub(crate) fn limits(mut self, lines: &str) -> Self {
        self.limits = lines.into();
        self
    }

    fn text(&self, folder: &Path) -> String {
        let folder = folder.display();
        let admin = self.admin.map_or_else(|| format!("{folder}/admin"), |address| address.to_string());
        let Self { server, http, listen, hold, health, handoff, upstream, limits, log, .. } = self;
        let mut text = format!(
            "[server]\nstate = '{folder}/state'\n{server}\n[listen]\nhttp = [{http}]\n{listen}\n[admin]\n\
             listen = '{admin}'\n[hold]\n{hold}\n[health]\n{health}\n[handoff]\n{handoff}\n[upstream]\n\
             {upstream}\n[limits]\n{limits}\n[log]\n{log}\n"
        );
        for (_, site) in &self.sites {
            text.push_str("[[site]]\n");
            text.push_str(site);
            text.push('\n');
        }
        text
    }
}

/// A running proxy. Killed when dropped; its log is printed if a test fails.
pub(crate) struct Proxy {
    folder: TempDir,
    child: Child,
    /// The process that has taken over from it.
    heir: Option<Pid>,
    pub(crate) address: SocketAddr,
    admin: Option<SocketAddr>,
}

impl Proxy {
    /// Starts it and waits until all its sites serve.
    #[track_caller]
    pub(crate) fn start(config: &Config) -> Self {
        let proxy = Self::start_unready(config);
        proxy.until_serving(config);
        proxy
    }

    /// Starts it under a supervisor, and waits until all its sites serve.
    #[track_caller]
    pub(crate) fn start_supervised(config: &Config) -> Self {
        let proxy = Self::start_with(config, &["--supervise"]);
        proxy.until_serving(config);
        proxy
    }

    /// Starts it by this path, and waits until all its sites serve.
    #[track_caller]
    pub(crate) fn start_as(program: &Path, config: &Config) -> Self {
        let folder = folder();
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        let child = launch_by(command, config, folder.path(), &[]);
        let proxy = Self::running(config, folder, child);
        proxy.until_serving(config);
        proxy
    }

    /// Starts it as systemd does that has bound this socket for it, and waits until all its sites serve.
    #[track_caller]
    pub(crate) fn start_with_socket(config: &Config, socket: TcpListener) -> Self {
        let mut shell = Command::new("/bin/sh");
        let line = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        shell.args(["-c", line, env!("CARGO_BIN_EXE_ghostpin")]).stdin(Stdio::from(OwnedFd::from(socket)));
        let folder = folder();
        let child = launch_by(shell, config, folder.path(), &[]);
        let proxy = Self::running(config, folder, child);
        proxy.until_serving(config);
        proxy
    }

    /// Starts it with a standard output that is not its log, and waits until all its sites serve.
    #[track_caller]
    pub(crate) fn start_with_stdout(config: &Config, stdout: &Path) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >\"$STDOUT\"", env!("CARGO_BIN_EXE_ghostpin")]);
        shell.env("STDOUT", stdout).stdin(Stdio::null());
        let folder = folder();
        let child = launch_by(shell, config, folder.path(), &[]);
        let proxy = Self::running(config, folder, child);
        proxy.until_serving(config);
        proxy
    }

    /// Starts one that is expected to give up. Returns what it said.
    #[track_caller]
    pub(crate) fn start_in_vain(config: &Config) -> String {
        let folder = folder();
        let mut child = launch(config, folder.path(), &[]);
        until("it ends", || child.try_wait().expect("a process").is_some());
        assert!(!child.wait().expect("it has ended").success());
        std::fs::read_to_string(folder.path().join("log")).expect("a log")
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub(crate) fn start_unready(config: &Config) -> Self {
        Self::start_with(config, &[])
    }

    #[track_caller]
    fn start_with(config: &Config, arguments: &[&str]) -> Self {
        let folder = folder();
        let child = launch(config, folder.path(), arguments);
        Self::running(config, folder, child)
    }

    #[track_caller]
    fn running(config: &Config, folder: TempDir, child: Child) -> Self {
        let address = ([0, 0, 0, 0], 0).into();
        let mut proxy = Self { folder, child, heir: None, address, admin: config.admin };
        proxy.until_listening();
        proxy
    }

    /// Kills it and starts another over the same folder.
    #[track_caller]
    pub(crate) fn kill_and_restart(&mut self, config: &Config) {
        self.kill();
        self.child = launch(config, self.folder.path(), &[]);
        self.until_listening();
    }

    pub(crate) fn kill(&mut self) {
        if let Some(heir) = self.heir.take() {
            let _ = rustix::process::kill_process(heir, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts another over the same folder that is expected to give up. Returns what it said.
    #[track_caller]
    pub(crate) fn restart_in_vain(&mut self, config: &Config) -> String {
        self.kill();
        let mut child = launch(config, self.folder.path(), &[]);
        let status = child.wait().expect("it ends");
        assert!(!status.success());
        self.log()
    }

    /// Starts another over the same folder, with `--adopt`.
    #[track_caller]
    pub(crate) fn restart_adopting(&mut self, config: &Config) {
        self.child = launch(config, self.folder.path(), &["--adopt"]);
        self.until_listening();
    }

    #[track_caller]
    fn until_listening(&mut self) {
        let mut address = None;
        until("the proxy answers its admin socket", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("ghostpin has ended with {status}:\n{}", self.log());
            }
            address = self.try_admin("GET", "/v1/status", "").and_then(|(_, status)| {
                status["listening"][0].as_str().and_then(|address| address.parse().ok())
            });
            address.is_some()
        });
        self.address = address.expect("an address");
    }

    #[track_caller]
    pub(crate) fn until_serving(&self, config: &Config) {
        for (name, _) in &config.sites {
            until("the site serves", || self.site(name)["phase"] == "serving");
        }
    }

    /// Writes the configuration and has it reloaded by SIGHUP; returns when that was done or refused.
    #[track_caller]
    pub(crate) fn reload(&self, config: &Config) {
        self.write(config);
        self.hang_up();
    }

    /// Writes the configuration, and leaves it at that.
    #[track_caller]
    pub(crate) fn write(&self, config: &Config) {
        std::fs::write(self.path("ghostpin.toml"), config.text(self.folder.path())).expect("a file");
    }

    /// SIGHUP, and waits until it was dealt with.
    #[track_caller]
    pub(crate) fn hang_up(&self) {
        let known = self.log().matches("the configuration was reloaded").count()
            + self.log().matches("the new configuration was refused").count();
        self.signal(Signal::HUP);
        until("the reload has ended", || {
            let log = self.log();
            log.matches("the configuration was reloaded").count()
                + log.matches("the new configuration was refused").count()
                > known
        });
    }

    /// Has `program`, or the same one again, take over by `ghostpin upgrade`. The error is what that said.
    pub(crate) fn upgrade(&mut self, config: &Config, program: Option<&Path>) -> Result<(), String> {
        self.write(config);
        self.heir = Some(self.ask_for_upgrade(&self.path("ghostpin.toml"), program)?);
        Ok(())
    }

    /// The same with this folder for its own, which is the same one by another path.
    pub(crate) fn upgrade_at(&mut self, config: &Config, folder: &Path) -> Result<(), String> {
        let file = folder.join("ghostpin.toml");
        std::fs::write(&file, config.text(folder)).expect("a file");
        self.heir = Some(self.ask_for_upgrade(&file, None)?);
        Ok(())
    }

    /// `ghostpin upgrade` with this file as it is. Says who serves then, but goes on taking the old process for its own.
    pub(crate) fn ask_for_upgrade(&self, file: &Path, program: Option<&Path>) -> Result<Pid, String> {
        let mut upgrade = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
        upgrade.args(["upgrade", "--json", "--config"]).arg(file).args(program);
        let output = upgrade.output().expect("ghostpin starts");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let pid = done["serves"]["pid"].as_i64().expect("a number");
        Ok(Pid::from_raw(pid as i32).expect("a process"))
    }

    /// Waits until the process that was started first has ended, and takes its heir for it.
    #[track_caller]
    pub(crate) fn until_elder_ended(&mut self) {
        until("the old process has ended", || self.ended().is_some());
        assert!(self.ended().expect("it has ended").success(), "{}", self.log());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process");
        rustix::process::kill_process(pid, signal).expect("it lives");
    }

    /// Of the process that decides.
    pub(crate) fn pid(&self) -> u32 {
        self.heir.map_or(self.child.id(), |heir| heir.as_raw_nonzero().get() as u32)
    }

    /// As it says itself.
    #[track_caller]
    pub(crate) fn pid_that_serves(&self) -> u32 {
        let (_, status) = self.admin("GET", "/v1/status", "");
        status["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a number")
    }

    pub(crate) fn signal_supervisor(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        rustix::process::kill_process(pid, signal).expect("it lives");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A thread of its own writes the log: a line may come after the answer to what it is about.
    #[track_caller]
    pub(crate) fn until_logged(&self, said: &str) {
        until(&format!("the log says: {said}"), || self.log().contains(said));
    }

    /// Asks the admin API; `None` if it isn't there.
    pub(crate) fn try_admin(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        let (status, text) = self.try_admin_text(method, path, body)?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn try_admin_text(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}"
        );
        let request = format!("{head}\r\n\r\n{body}");
        let answer = match self.admin {
            Some(address) => {
                let stream = TcpStream::connect(address).ok()?;
                stream.set_read_timeout(Some(ADMIN_PATIENCE)).ok()?;
                ask(stream, &request)
            }
            None => {
                let stream = UnixStream::connect(self.path("admin")).ok()?;
                stream.set_read_timeout(Some(ADMIN_PATIENCE)).ok()?;
                ask(stream, &request)
            }
        }?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    #[track_caller]
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.try_admin(method, path, body).expect("the admin API answers")
    }

    /// What the admin API says of a site.
    #[track_caller]
    pub(crate) fn site(&self, name: &str) -> Value {
        self.admin("GET", &format!("/v1/sites/{name}"), "").1
    }

    #[track_caller]
    pub(crate) fn held(&self) -> u64 {
        self.site("a")["held"].as_u64().expect("a number")
    }

    #[track_caller]
    pub(crate) fn in_flight(&self) -> u64 {
        self.site("a")["in_flight"].as_u64().expect("a number")
    }

    #[track_caller]
    pub(crate) fn epoch(&self) -> u64 {
        self.site("a")["epoch"].as_u64().expect("a number")
    }

    #[track_caller]
    pub(crate) fn pinned(&self) -> String {
        self.site("a")["backend"].as_str().expect("a text").to_owned()
    }

    /// Shuts the gate of site `a` until [`Self::release`].
    #[track_caller]
    pub(crate) fn hold(&self) {
        assert_eq!(self.admin("POST", "/v1/sites/a/hold", "").0, 200);
    }

    #[track_caller]
    pub(crate) fn release(&self) {
        assert_eq!(self.admin("POST", "/v1/sites/a/release", "").0, 200);
    }

    /// Waits until a candidate of site `a` is known to be well.
    #[track_caller]
    pub(crate) fn until_well(&self, backend: &Backend) {
        until("the candidate is well", || {
            let site = self.site("a");
            let candidates = site["candidates"].as_array().expect("a list");
            candidates.iter().any(|one| one["address"] == backend.address.as_str() && one["health"] == "well")
        });
    }

    /// A handoff of site `a`; returns when it has ended.
    #[track_caller]
    pub(crate) fn handoff(&self, to: &Backend) -> (u16, Value) {
        let to = format!("{{\"to\": \"{}\"}}", to.address);
        self.admin("POST", "/v1/sites/a/handoff", &to)
    }

    /// Where it speaks TLS.
    #[track_caller]
    pub(crate) fn https(&self) -> SocketAddr {
        let (_, status) = self.admin("GET", "/v1/status", "");
        status["listening"][1].as_str().and_then(|address| address.parse().ok()).expect("an address of https")
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.client().get("a.test", path)
    }

    /// A GET on a connection of its own, in a thread of its own.
    pub(crate) fn get_meanwhile(&self, path: &str) -> std::thread::JoinHandle<Response> {
        let (address, path) = (self.address, path.to_owned());
        std::thread::spawn(move || Client::to(address).get("a.test", &path))
    }

    /// A number out of `/metrics`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.try_admin_text("GET", "/metrics", "").expect("metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    /// Memory of the process, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status("VmRSS").trim_end_matches(" kB").parse().expect("a number")
    }

    /// What the system says of the process under this name.
    pub(crate) fn status(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    }

    /// Established TCP connections of the process to a backend.
    pub(crate) fn connections_to(&self, backend: &Backend) -> usize {
        let port: u16 =
            backend.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let remote = format!("0100007F:{port:04X}");
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).expect("it lives");
        let established = table.lines().filter(|line| {
            let mut words = line.split_whitespace().skip(2);
            words.next() == Some(remote.as_str()) && words.next() == Some("01")
        });
        established.count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what ghostpin logged:\n{}", self.log());
        }
        self.kill();
    }
}

/// The whole answer.
fn ask(mut stream: impl Read + Write, request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("gp").tempdir().expect("a folder")
}

fn launch(config: &Config, folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    command.stdin(Stdio::null());
    launch_by(command, config, folder, arguments)
}

fn launch_by(mut command: Command, config: &Config, folder: &Path, arguments: &[&str]) -> Child {
    let file = folder.join("ghostpin.toml");
    std::fs::write(&file, config.text(folder)).expect("a file");
    let log = File::create(folder.join("log")).expect("a file");
    command
        .arg("run")
        .arg("--config")
        .arg(file)
        .args(arguments)
        .envs(config.environment.iter().map(|(name, value)| (name, value)))
        .stdout(log.try_clone().expect("a file descriptor"))
        .stderr(log)
        .spawn()
        .expect("ghostpin starts")
}
