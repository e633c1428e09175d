//! A swarm of three managers that the test commands, instances at 127.0.0.2, .3, ... on one port, a proxy and a reader.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::PATIENCE;
use super::manager::{Manager, Mode, Shared};
use super::world::World;

const GHOSTPIN: &str = env!("CARGO_BIN_EXE_ghostpin");

pub(crate) struct Rig {
    pub(crate) managers: Vec<Manager>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
}

/// A process that ends with the test.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rig {
    /// Three managers, a world without services, and a proxy that isn't started. `more` is written into the file.
    pub(crate) fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::default());
        *shared.world.lock().unwrap() = World::new();
        let at = |number| Manager::at(folder.path().join(format!("m{number}.sock")), shared.clone());
        let managers: Vec<Manager> = (0..3).map(at).collect();
        // A port that is free at all the addresses is not found by the first try on every machine.
        let free = |port: &u16| {
            (3..=4).all(|last| TcpListener::bind(SocketAddr::from(([127, 0, 0, last], *port))).is_ok())
        };
        let any = || TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port();
        let port = (0..100).map(|_| any()).find(free).expect("a free port");
        let rig = Self { managers, shared, folder, port };
        rig.write(&rig.addresses(), more);
        rig
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.managers.iter().map(|manager| manager.address.clone()).collect()
    }

    /// Writes the configuration.
    pub(crate) fn write(&self, managers: &[String], more: &str) {
        let text = format!(
            "[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"./admin.sock\"\n[server]\nthreads = 1\n\
             [log]\nlevel = \"warn\"\n[hold]\ntimeout = \"30s\"\n[health]\ninterval = \"100ms\"\ntimeout = \"5s\"\n\
             [provider.swarm]\nmanagers = {managers:?}\nheld_interval = \"50ms\"\ntimeout = \"400ms\"\n{more}\n"
        );
        std::fs::write(self.folder.path().join("ghostpin.toml"), text).unwrap();
    }

    /// Changes the world, under the eyes of all managers that look.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.shared.world.lock().unwrap())
    }

    /// The labels of the site `blog`, and more.
    pub(crate) fn labels(&self, more: &[&str]) -> Vec<String> {
        let port = format!("ghostpin.port={}", self.port);
        let all = ["ghostpin.site=blog", "ghostpin.hosts=blog.example", "ghostpin.app=generic", &port];
        all.iter().chain(more).map(|&label| label.to_owned()).collect()
    }

    /// A service `blog` with one task at 127.0.0.2.
    pub(crate) fn blog(&self) {
        let labels = self.labels(&[]);
        self.change(|world| {
            world.service("blog", &labels);
            world.task("blog", 1, "t2", 2);
        });
    }

    /// The backend that a task at 127.0.0.`last` is.
    pub(crate) fn backend(&self, slot: u64, last: u8) -> String {
        format!("blog.{slot}.t{last}@127.0.0.{last}:{}", self.port)
    }

    /// Returns when so many rounds of questions have been asked from now on.
    pub(crate) fn until_asked(&self, times: usize) {
        let (goal, began) = (self.shared.asked.load(Ordering::SeqCst) + times, Instant::now());
        while self.shared.asked.load(Ordering::SeqCst) < goal {
            assert!(began.elapsed() < PATIENCE, "nobody asks");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn all_are(&self, mode: &Mode) {
        self.managers.iter().for_each(|manager| manager.is(mode.clone()));
    }

    /// An instance at 127.0.0.`last`, which names itself so.
    pub(crate) fn instance(&self, last: u8) -> Process {
        let name = format!("127.0.0.{last}");
        let listen = format!("{name}:{}", self.port);
        let mut child = Command::new(GHOSTPIN)
            .args(["stand-in", "--listen", &listen, "--name", &name])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on"), "{line}");
        Process(child)
    }

    pub(crate) fn start(&self) -> Proxy {
        let config = self.folder.path().join("ghostpin.toml");
        let mut command = Command::new(GHOSTPIN);
        command.arg("run").arg("--config").arg(config).stdout(Stdio::null());
        let process = Process(command.spawn().unwrap());
        let admin = self.folder.path().join("admin.sock");
        let mut proxy = Proxy { process, heir: None, admin, http: None };
        let began = Instant::now();
        while proxy.http.is_none() {
            assert!(began.elapsed() < PATIENCE, "ghostpin doesn't start");
            thread::sleep(Duration::from_millis(20));
            let status = proxy.try_admin("/v1/status").unwrap_or_default();
            proxy.http = status["listening"][0].as_str().and_then(|address| address.parse().ok());
        }
        proxy
    }
}

pub(crate) struct Proxy {
    process: Process,
    /// The one that has taken over from it.
    heir: Option<Pid>,
    admin: std::path::PathBuf,
    http: Option<SocketAddr>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(heir) = self.heir {
            let _ = kill_process(heir, Signal::KILL);
        }
    }
}

impl Proxy {
    /// Returns when a new process serves.
    pub(crate) fn upgrade(&mut self) {
        let config = self.admin.with_file_name("ghostpin.toml");
        let output =
            Command::new(GHOSTPIN).args(["upgrade", "--json", "--config"]).arg(config).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        self.heir = Pid::from_raw(done["serves"]["pid"].as_i64().unwrap() as i32);
    }

    /// What became of a service.
    pub(crate) fn service(&self, name: &str) -> Value {
        let all = self.admin("/v1/providers");
        let all = all["swarm"]["services"].as_array().unwrap();
        all.iter().find(|one| one["service"] == name).cloned().unwrap_or_default()
    }

    /// Reads the file again.
    pub(crate) fn reload(&self) -> u16 {
        self.post("/v1/reload")
    }

    /// The status of the admin API's answer.
    pub(crate) fn post(&self, path: &str) -> u16 {
        let mut stream = UnixStream::connect(&self.admin).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// A text of the admin API.
    pub(crate) fn text(&self, path: &str) -> String {
        ask(UnixStream::connect(&self.admin).unwrap(), path, "localhost").unwrap().2
    }

    /// With SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    fn try_admin(&self, path: &str) -> Option<Value> {
        let (status, _, body) = ask(UnixStream::connect(&self.admin).ok()?, path, "localhost")?;
        (status == 200).then(|| serde_json::from_str(&body).ok())?
    }

    pub(crate) fn admin(&self, path: &str) -> Value {
        self.try_admin(path).unwrap_or_else(|| panic!("GET {path} of the admin API"))
    }

    /// The site `blog`; null if there is none.
    pub(crate) fn site(&self) -> Value {
        self.try_admin("/v1/sites/blog").unwrap_or_default()
    }

    /// Looks at the site until it is as expected.
    pub(crate) fn until(&self, what: &str, as_expected: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let site = self.site();
            if as_expected(&site) {
                return site;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {site:#} {:#}", self.admin("/v1/providers"));
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Looks at the providers until they are as expected.
    pub(crate) fn until_swarm(&self, what: &str, as_expected: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let swarm = self.admin("/v1/providers")["swarm"].clone();
            if as_expected(&swarm) {
                return swarm;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {swarm:#}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The update that waits for somebody's word.
    pub(crate) fn until_waiting(&self) -> Value {
        let began = Instant::now();
        loop {
            let status = self.admin("/v1/status");
            if let Some(waiting) = status["waiting_updates"].get(0) {
                return waiting.clone();
            }
            assert!(began.elapsed() < PATIENCE, "nothing waits: {status:#}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Serves the site under this epoch and backend.
    pub(crate) fn until_pinned(&self, epoch: u64, backend: &str) -> Value {
        self.until(&format!("{backend} is pinned"), |site| {
            site["epoch"] == epoch && site["backend"] == backend && site["phase"] == "serving"
        })
    }

    /// The status of an answer, and the instance that gave it.
    pub(crate) fn get(&self) -> (u16, String) {
        get(self.http.unwrap())
    }
}

fn get(address: SocketAddr) -> (u16, String) {
    let answer = TcpStream::connect(address).ok().and_then(|stream| ask(stream, "/", "blog.example"));
    let (status, head, _) = answer.unwrap_or_default();
    let instance = head.lines().find_map(|line| line.strip_prefix("x-instance: "));
    (status, instance.unwrap_or_default().to_owned())
}

/// Status, head and body of the answer; `None` if there is no whole one.
fn ask(mut stream: impl Read + Write, path: &str, host: &str) -> Option<(u16, String, String)> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_owned(), body.to_owned()))
}

/// One reader after the other.
pub(crate) struct Readers {
    seen: Arc<Mutex<Vec<(u16, String)>>>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Readers {
    pub(crate) fn start(proxy: &Proxy) -> Self {
        let (seen, stopped) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (address, told, stop) = (proxy.http.unwrap(), seen.clone(), stopped.clone());
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let answer = get(address);
                told.lock().unwrap().push(answer);
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { seen, stopped, thread }
    }

    /// Returns when that many more answers are there.
    pub(crate) fn until_answers(&self, more: usize) {
        let (goal, began) = (self.seen.lock().unwrap().len() + more, Instant::now());
        while self.seen.lock().unwrap().len() < goal {
            assert!(began.elapsed() < PATIENCE, "readers get no answers");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn stop(self) -> Vec<(u16, String)> {
        self.stopped.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.seen.lock().unwrap().clone()
    }
}
