//! A folder with a configuration, two applications, and a ghostpin that runs for as long as the test does.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Only waited for in full by what fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a verb said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder with a configuration, and two applications.
pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) backends: [SocketAddr; 2],
}

/// A running `ghostpin run`; ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers 200 to everything, for as long as the test runs, but nothing to `/slow`.
pub(crate) fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            if head.starts_with(b"GET /slow ") {
                kept.push(stream);
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    address
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap(), backends: [application(), application()] };
        desk.write(&desk.text());
        desk
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("ghostpin.toml")
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn text(&self) -> String {
        let [a, b] = self.backends;
        format!(
            r#"
            [server]
            state = "./state"
            threads = 1
            [listen]
            http = ["127.0.0.1:0"]
            [admin]
            listen = "./admin.sock"
            token = "s3cret"
            [[site]]
            name = "blog"
            app = "generic"
            hosts = ["blog.example"]
            backends = ["{a}", "{b}"]
            "#
        )
    }

    pub(crate) fn start(&self) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
        self.run(command.args(["run", "--config"]).arg(self.config()))
    }

    pub(crate) fn run(&self, command: &mut Command) -> Running {
        let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let began = Instant::now();
        loop {
            let site = self.site();
            let all_well = |candidates: &Vec<Value>| candidates.iter().all(|one| one["health"] == "well");
            if site["phase"] == "serving" && site["candidates"].as_array().is_some_and(all_well) {
                return running;
            }
            assert!(began.elapsed() < PATIENCE, "never served: {site}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn site(&self) -> Value {
        serde_json::from_str(&self.say(&["site", "blog", "--json"]).out).unwrap_or_default()
    }

    /// Returns when this backend has the pin.
    pub(crate) fn until_pinned(&self, backend: SocketAddr) {
        let began = Instant::now();
        while self.site()["backend"] != backend.to_string() {
            assert!(began.elapsed() < PATIENCE, "{backend} has no pin: {}", self.site());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a verb that goes on until it is stopped.
    pub(crate) fn spawn(&self, verb: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
        command.args(verb).arg("--config").arg(self.config());
        Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Asks for a page that takes its time, and returns when that is under way.
    pub(crate) fn ask_slowly(&self) -> TcpStream {
        let status: Value = serde_json::from_str(&self.say(&["status", "--json"]).out).unwrap();
        let mut reader = TcpStream::connect(status["listening"][0].as_str().unwrap()).unwrap();
        reader.write_all(b"GET /slow HTTP/1.1\r\nhost: blog.example\r\n\r\n").unwrap();
        let began = Instant::now();
        while self.site()["in_flight"] != 1 {
            assert!(began.elapsed() < PATIENCE, "the request never got there");
            thread::sleep(Duration::from_millis(5));
        }
        reader
    }

    /// Runs a verb with the configuration of this desk.
    pub(crate) fn say(&self, verb: &[&str]) -> Said {
        said(Command::new(env!("CARGO_BIN_EXE_ghostpin")).args(verb).arg("--config").arg(self.config()))
    }
}

pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.env_remove("GHOSTPIN_ADMIN").env_remove("GHOSTPIN_TOKEN").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
