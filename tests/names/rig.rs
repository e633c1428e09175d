//! A proxy of its own, instances at 127.0.0.2, .3, ... on one port, and a reader.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE;
use super::dns::{Answer, Dns};

const GHOSTPIN: &str = env!("CARGO_BIN_EXE_ghostpin");

pub(crate) struct Rig {
    pub(crate) dns: Dns,
    folder: tempfile::TempDir,
    port: u16,
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
    /// Nothing runs but the DNS server; its answers say `ttl`, in seconds.
    pub(crate) fn new(answer: Answer, ttl: u32) -> Self {
        let dns = Dns::start(answer, ttl);
        let folder = tempfile::tempdir().unwrap();
        // A port that is free at all the addresses is not found by the first try on every machine.
        let free = |port: &u16| {
            (3..=4).all(|last| TcpListener::bind(SocketAddr::from(([127, 0, 0, last], *port))).is_ok())
        };
        let any = || TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port();
        let port = (0..100).map(|_| any()).find(free).expect("a free port");
        let text = format!(
            "[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"./admin.sock\"\n[server]\nthreads = 1\n\
             [resolver]\nservers = [\"{}\"]\ntimeout = \"300ms\"\n[log]\nlevel = \"warn\"\n[hold]\ntimeout = \"30s\"\n\
             [health]\ninterval = \"100ms\"\ntimeout = \"5s\"\n\
             [[site]]\nname = \"blog\"\nhosts = [\"blog.example\"]\nbackends = [\"ghost-a:{port}\"]\n\
             app = \"generic\"\n",
            dns.address
        );
        std::fs::write(folder.path().join("ghostpin.toml"), text).unwrap();
        Self { dns, folder, port }
    }

    pub(crate) fn name(&self) -> String {
        format!("ghost-a:{}", self.port)
    }

    pub(crate) fn backend(&self, last: u8) -> String {
        format!("{}@127.0.0.{last}:{}", self.name(), self.port)
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
        let mut proxy = Proxy { process, admin: self.folder.path().join("admin.sock"), http: None };
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
    admin: std::path::PathBuf,
    http: Option<SocketAddr>,
}

impl Proxy {
    /// With SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    fn try_admin(&self, path: &str) -> Option<Value> {
        let (status, _, body) = ask(UnixStream::connect(&self.admin).ok()?, "localhost", path)?;
        (status == 200).then(|| serde_json::from_str(&body).ok())?
    }

    pub(crate) fn admin(&self, path: &str) -> Value {
        self.try_admin(path).unwrap_or_else(|| panic!("GET {path} of the admin API"))
    }

    pub(crate) fn site(&self) -> Value {
        self.admin("/v1/sites/blog")
    }

    /// Looks at the site until it is as expected.
    pub(crate) fn until(&self, what: &str, as_expected: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let site = self.site();
            if as_expected(&site) {
                return site;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {site:#}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The status of an answer, and the instance that gave it.
    pub(crate) fn get(&self) -> (u16, String) {
        get(self.http.unwrap())
    }

    pub(crate) fn get_in_background(&self) -> JoinHandle<(u16, String)> {
        let address = self.http.unwrap();
        thread::spawn(move || get(address))
    }
}

fn get(address: SocketAddr) -> (u16, String) {
    let answer = TcpStream::connect(address).ok().and_then(|stream| ask(stream, "blog.example", "/"));
    let (status, head, _) = answer.unwrap_or_default();
    let instance = head.lines().find_map(|line| line.strip_prefix("x-instance: "));
    (status, instance.unwrap_or_default().to_owned())
}

/// Status, head and body of the answer; `None` if there is no whole one.
fn ask(mut stream: impl Read + Write, host: &str, path: &str) -> Option<(u16, String, String)> {
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
