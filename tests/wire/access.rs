//! The access log in a place of its own.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Backend, Config, Proxy, until};

fn logging(a: &Backend, lines: &str) -> Config {
    let mut config = Config::of(&[a]);
    config.log = lines.into();
    config
}

/// Its whole lines: the last one may just be written.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn a_log_that_is_moved_away_during_an_upgrade_is_left_by_the_new_process_too() {
    let a = Backend::named("A");
    let mut config = logging(&a, "access_to = './access.log'");
    config.server = "upgrade_probation = '1s'".into();
    let proxy = Proxy::start(&config);
    let (path, moved) = (proxy.path("access.log"), proxy.path("access.log.1"));
    let heir = thread::scope(|scope| {
        let upgrading = scope.spawn(|| proxy.ask_for_upgrade(&proxy.path("ghostpin.toml"), None));
        proxy.until_logged("it is watched");
        fs::rename(&path, &moved).unwrap();
        proxy.signal(Signal::USR1);
        until("the old one has opened it again", || path.exists());
        upgrading.join().unwrap().unwrap()
    });
    let status = proxy.get("/").status;
    until("there is a line", || !lines(&path).is_empty() || !lines(&moved).is_empty());
    kill_process(heir, Signal::KILL).unwrap();
    assert_eq!((status, lines(&path).len(), lines(&moved).len()), (200, 1, 0));
}

#[test]
fn a_log_in_a_file_has_no_colours() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    assert_eq!(proxy.get("/").status, 200);
    proxy.until_logged("listening");
    assert!(!proxy.log().contains('\u{1b}'), "{}", proxy.log());
}

#[test]
fn no_line_is_lost_while_the_access_log_is_moved_away() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&logging(&a, "access_to = './access.log'"));
    let path = proxy.path("access.log");
    let mut files = vec![path.clone()];
    let mut client = proxy.client();
    let mut asked = 0;
    let mut ask = || {
        assert_eq!(client.get("a.test", &format!("/{asked}?key=secret")).status, 200);
        asked += 1;
    };
    for round in 1..=5 {
        until("lines go to the file that has the name now", || {
            ask();
            !lines(&path).is_empty()
        });
        let moved = proxy.path(&format!("access.log.{round}"));
        fs::rename(&path, &moved).unwrap();
        files.push(moved);
        (0..20).for_each(|_| ask());
        proxy.signal(Signal::USR1);
        (0..20).for_each(|_| ask());
        until("it was opened again", || path.exists());
    }
    let all = || files.iter().flat_map(|path| lines(path)).collect::<Vec<Value>>();
    until("all lines were written", || all().len() >= asked);
    let mut numbers: Vec<usize> =
        all().iter().map(|line| line["path"].as_str().unwrap()[1..].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..asked).collect::<Vec<_>>());
    assert!(all().iter().all(|line| line["site"] == "a" && line["epoch"] == 1 && line["status"] == 200));
    assert!(!proxy.log().contains("\"access\""), "they are not in the log as well");
}

#[test]
fn of_many_alike_a_share_leaves_a_line_and_errors_and_held_ones_all_do() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&logging(&a, "access_to = './access.log'\naccess_share = 0"));
    let path = proxy.path("access.log");
    assert_eq!(proxy.get("/like-all-others").status, 200);
    proxy.hold();
    let held = proxy.get_meanwhile("/held");
    until("it is held", || proxy.held() == 1);
    proxy.release();
    assert_eq!(held.join().unwrap().status, 200);
    assert_eq!(proxy.client().get("nobody.test", "/refused").status, 404);
    until("both are written", || lines(&path).len() == 2);
    let lines = lines(&path);
    assert_eq!((&lines[0]["path"], &lines[0]["status"]), (&"/held".into(), &200.into()));
    assert!(lines[0]["held_ms"].is_u64() && lines[0]["attempts"] == 1);
    assert_eq!((&lines[1]["path"], &lines[1]["refusal"]), (&"/refused".into(), &"unknown_host".into()));
}

#[test]
fn a_combined_line_says_what_apache_says_and_keeps_queries_to_itself() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&logging(&a, "access_to = 'stdout'\naccess_format = 'combined'"));
    let mut client = proxy.client();
    client.send(
        "GET /a-post/?key=secret HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\n\
         Referer: http://b.test/from?token=secret\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    let line = || proxy.log().lines().find(|line| line.contains("/a-post/")).map(str::to_owned);
    until("it is written", || line().is_some());
    let line = line().unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("] \"GET /a-post/ HTTP/1.1\" 200 "), "{line}");
    assert!(
        line.contains(" \"http://b.test/from\" \"curl/8\" host=\"a.test\" site=\"a\" epoch=1 "),
        "{line}"
    );
    assert!(!proxy.log().contains("secret"));
}

/// A pipe that can be written to, and that nobody reads, as long as the file is open.
struct Pipe {
    folder: TempDir,
    _open: File,
}

impl Pipe {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        make_pipe(&path);
        Self { _open: OpenOptions::new().read(true).write(true).open(path).unwrap(), folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Has ten times the lines that a pipe takes.
fn fill(proxy: &Proxy) {
    let mut client = proxy.client();
    let path = format!("/{}", "long".repeat(500));
    for _ in 0..320 {
        assert_eq!(client.get("a.test", &path).status, 200);
    }
}

/// Somebody decides, and the process ends when it is told to.
fn decides_and_ends(mut proxy: Proxy) {
    proxy.hold();
    let held = proxy.get_meanwhile("/held");
    until("it is held", || proxy.held() == 1);
    proxy.release();
    assert_eq!(held.join().unwrap().status, 200);
    proxy.signal(Signal::TERM);
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
}

#[test]
fn a_log_that_takes_nothing_keeps_no_reader_waiting() {
    let (a, pipe) = (Backend::named("A"), Pipe::new());
    let proxy = Proxy::start(&logging(&a, &format!("access_to = '{}'", pipe.path().display())));
    fill(&proxy);
    assert_eq!(proxy.metric("ghostpin_log_lines_dropped_total{log=\"access\"}"), 0, "they wait, in memory");
    assert_eq!(proxy.metric("ghostpin_stalled_workers"), 0);
}

#[test]
fn who_has_a_log_opened_again_that_takes_nothing_keeps_nobody_waiting() {
    let (a, pipe) = (Backend::named("A"), Pipe::new());
    let proxy = Proxy::start(&logging(&a, &format!("access_to = '{}'", pipe.path().display())));
    fill(&proxy);
    proxy.signal(Signal::USR1);
    decides_and_ends(proxy);
}

#[test]
fn a_pipe_that_nobody_reads_where_the_log_was_leaves_the_old_one_in_use() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&logging(&a, "access_to = './access.log'"));
    let (path, moved) = (proxy.path("access.log"), proxy.path("access.log.1"));
    fs::rename(&path, &moved).unwrap();
    make_pipe(&path);
    proxy.signal(Signal::USR1);
    proxy.until_logged("nobody reads from this pipe");
    assert_eq!(proxy.get("/goes-on").status, 200);
    until("its line is there", || lines(&moved).len() == 1);
    decides_and_ends(proxy);
}

#[test]
fn a_standard_output_that_takes_nothing_does_not_keep_the_process_from_its_end() {
    let (a, pipe) = (Backend::named("A"), Pipe::new());
    let proxy = Proxy::start_with_stdout(&logging(&a, "access_to = 'stdout'"), &pipe.path());
    // More than waits in memory.
    let mut client = proxy.client();
    until("lines are dropped", || {
        for _ in 0..1000 {
            assert_eq!(client.get("nobody.test", "/").status, 404);
        }
        proxy.metric("ghostpin_log_lines_dropped_total{log=\"access\"}") > 0
    });
    decides_and_ends(proxy);
}

#[test]
fn what_is_no_request_leaves_a_line_with_the_id_that_is_told() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&logging(&a, "access_to = './access.log'\naccess_share = 0"));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nbroken\r\n\r\n");
    let refused = client.response();
    assert_eq!(refused.status, 400);
    let told: Value = serde_json::from_str(&refused.text()).unwrap();
    let path = proxy.path("access.log");
    until("its line is there", || !lines(&path).is_empty());
    let line = &lines(&path)[0];
    for (field, value) in [
        ("client", "127.0.0.1".into()),
        ("method", "-".into()),
        ("path", "-".into()),
        ("status", Value::from(400)),
        ("refusal", told["code"].clone()),
        ("request_id", told["request_id"].clone()),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
}

#[test]
fn an_access_log_that_cannot_be_written_is_an_error_with_a_way_out() {
    let a = Backend::named("A");
    let mut proxy = Proxy::start(&logging(&a, ""));
    let said = proxy.restart_in_vain(&logging(&a, "access_to = './no-such-folder/access.log'"));
    assert!(said.contains("[log] access_to") && said.contains("no-such-folder"), "{said}");
}
