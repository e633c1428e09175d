//! A worker's thread that stands still: it is told of while it does, with the request that it is at.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Backend, Config, Proxy, until};
use crate::http2;

/// As long as its file is there, a request for `/stall` keeps its thread.
struct Stall {
    folder: TempDir,
}

impl Stall {
    fn new() -> Self {
        let stall = Self { folder: tempfile::tempdir().expect("a folder") };
        File::create(stall.file()).expect("a file");
        stall
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("stall")
    }

    fn proxy(&self, a: &Backend, server: &str) -> Proxy {
        let mut config = Config::of(&[a]);
        config.server = format!("threads = 1\n{server}");
        config.log = "format = 'json'".into();
        config.environment.push(("GHOSTPIN_STALL", self.file()));
        Proxy::start(&config)
    }

    fn end(&self) {
        std::fs::remove_file(self.file()).expect("it is there");
    }
}

fn entries(proxy: &Proxy, kind: &str) -> Vec<Value> {
    let (_, entries) = proxy.admin("GET", &format!("/v1/journal?kind={kind}"), "");
    entries.as_array().expect("a list").clone()
}

fn printed_status(proxy: &Proxy) -> String {
    let mut status = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    let output =
        status.arg("status").arg("--admin").arg(proxy.path("admin")).output().expect("ghostpin starts");
    String::from_utf8(output.stdout).expect("a text")
}

/// What the journal says of the one stall that there was.
fn reported(proxy: &Proxy) -> (String, String) {
    until("the stall is reported", || !entries(proxy, "worker_stalled").is_empty());
    let entries = entries(proxy, "worker_stalled");
    assert_eq!(entries.len(), 1, "it is told once: {entries:?}");
    let text = |key: &str| entries[0][key].as_str().expect("a text").to_owned();
    (text("site"), text("note"))
}

#[test]
fn a_stalled_worker_is_reported_with_its_request() {
    let (a, stall) = (Backend::named("A"), Stall::new());
    let proxy = stall.proxy(&a, "");
    assert_eq!(proxy.metric("ghostpin_stalled_workers"), 0);
    let asked = proxy.get_meanwhile("/stall?key=secret");
    let (site, note) = reported(&proxy);
    assert_eq!(site, "a");
    assert!(note.contains(" at GET a.test/stall, request "), "{note}");
    assert_eq!(proxy.metric("ghostpin_stalled_workers"), 1);
    assert_eq!(proxy.metric("ghostpin_worker_stalls_total"), 1);
    let (status, problem) = proxy.admin("GET", "/readyz", "");
    assert_eq!((status, problem["title"].as_str()), (503, Some("stalled")));
    assert_eq!(proxy.admin("GET", "/v1/status", "").1["stalled_workers"], 1);
    let shown = proxy.admin("GET", "/v1/live?seconds=0", "").1.to_string();
    assert!(shown.contains("\\\"stalled_workers\\\":1"), "{shown}");
    let printed = printed_status(&proxy);
    assert!(printed.contains("STALLED    1 worker stands still"), "{printed}");

    stall.end();
    assert_eq!(asked.join().unwrap().text(), "A GET 0");
    until("it says that it goes on", || entries(&proxy, "worker_goes_on").len() == 1);
    assert_eq!(proxy.metric("ghostpin_stalled_workers"), 0);
    assert_eq!(proxy.admin("GET", "/readyz", "").0, 200);
    assert!(!printed_status(&proxy).contains("STALLED"));
    let log = proxy.log();
    let id = a.only_request().field("x-request-id").expect("an id").to_owned();
    assert!(note.ends_with(&id), "{note} is not about {id}");
    let line = log.lines().find(|line| line.contains("a worker stands still")).expect("a line");
    let line: Value = serde_json::from_str(line).expect("JSON");
    for (field, value) in
        [("method", "GET"), ("host", "a.test"), ("path", "/stall"), ("site", "a"), ("request_id", &id)]
    {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(!log.contains("secret"), "queries stay out of logs");
}

#[test]
fn a_stall_in_a_stream_of_http_2_names_the_stream() {
    let (a, stall) = (Backend::named("A"), Stall::new());
    let proxy = stall.proxy(&a, "");
    let address = proxy.address;
    let asked = std::thread::spawn(move || {
        http2::run(async {
            let (mut sender, _) = http2::connect_at(address).await;
            assert_eq!(sender.send_request(http2::get("/before")).await.unwrap().status(), 200);
            sender.send_request(http2::get("/stall")).await.unwrap().status()
        })
    });
    let (site, note) = reported(&proxy);
    assert_eq!(site, "a");
    assert!(note.contains(" at GET a.test/stall, request "), "{note}");
    stall.end();
    assert_eq!(asked.join().unwrap(), 200);
}

#[test]
fn a_process_that_is_to_be_started_again_aborts_when_the_limit_is_over() {
    let (a, stall) = (Backend::named("A"), Stall::new());
    let mut proxy = stall.proxy(&a, "watchdog = 'restart'\nwatchdog_limit = '2s'");
    let mut client = proxy.client();
    client.ask("GET", "a.test", "/stall");
    until("it has ended", || proxy.ended().is_some());
    assert_eq!(proxy.ended().unwrap().signal(), Some(Signal::ABORT.as_raw()));
    let log = proxy.log();
    assert!(log.contains("\"path\":\"/stall\"") && log.contains("this process aborts"), "{log}");
}
