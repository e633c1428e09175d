//! Where a verb writes to: a full disk is a failure, a reader who has gone is none, and neither makes it fall over.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::desk::{Desk, PATIENCE, Said};

/// What it says with these outputs; of one that isn't piped there is nothing.
fn said(desk: &Desk, verb: &[&str], out: impl Into<Stdio>, err: impl Into<Stdio>) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    command.args(verb).current_dir(&desk.folder).env_remove("GHOSTPIN_ADMIN");
    let output = command.stdout(out).stderr(err).spawn().unwrap().wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Where nothing can be written.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe that nobody reads from any more.
fn unread() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

const VERBS: [&[&str]; 14] = [
    &["sites", "--json", "--config", "ghostpin.toml"],
    &["sites", "--config", "ghostpin.toml"],
    &["status", "--config", "ghostpin.toml"],
    &["status", "--watch", "--config", "ghostpin.toml"],
    &["top", "--json", "--config", "ghostpin.toml"],
    &["check", "--config", "ghostpin.toml"],
    &["check", "--json", "--config", "ghostpin.toml"],
    &["explain", "http://blog.example", "--config", "ghostpin.toml"],
    &["completions", "bash"],
    &["man", "pages"],
    &["import", "nginx.conf"],
    &["certs-dev", "--out", "certs"],
    &["--help"],
    &["--version"],
];

fn desk() -> Desk {
    let desk = Desk::new();
    let nginx = "events {} http { server { listen 80; server_name a.example; location / { proxy_pass http://127.0.0.1:1; } } }";
    fs::write(desk.folder.path().join("nginx.conf"), nginx).unwrap();
    desk
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let desk = desk();
    let _running = desk.start();
    for verb in VERBS {
        let said = said(&desk, verb, full(), Stdio::piped());
        assert_eq!(said.code, 1, "{verb:?}: {said:?}");
        assert!(said.err.contains("standard output can't be written"), "{verb:?}: {said:?}");
    }
    desk.write("[server]\nstat = 1\n");
    let wrong = said(&desk, &["check", "--json", "--config", "ghostpin.toml"], full(), Stdio::piped());
    assert!(wrong.code == 1 && wrong.err.contains("\"message\""), "{wrong:?}");
}

#[test]
fn a_reader_who_has_gone_is_no_failure() {
    let desk = desk();
    let _running = desk.start();
    for verb in VERBS {
        let said = said(&desk, verb, unread(), Stdio::piped());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{verb:?}: {said:?}");
    }
}

#[test]
fn a_failure_keeps_its_exit_code_where_its_words_cannot_be_written() {
    let desk = desk();
    let code = |verb: &[&str]| said(&desk, verb, Stdio::piped(), full()).code;
    assert_eq!(code(&["sites", "--config", "ghostpin.toml"]), 3);
    assert_eq!(code(&["sites", "--json", "--config", "ghostpin.toml"]), 3);
    assert_eq!(code(&["sight"]), 2);
    assert_eq!(code(&["sight", "--json"]), 2);
    assert_eq!(code(&["demo", "--listen", "192.0.2.1:1"]), 1);
    let _running = desk.start();
    assert_eq!(code(&["site", "nobody", "--config", "ghostpin.toml"]), 4);
    assert_eq!(code(&["reload", "--admin", "./admin.sock"]), 1);
}

#[test]
fn who_watches_ends_with_its_reader_although_nothing_changes() {
    let desk = desk();
    let _running = desk.start();
    for verb in [&["sites", "--watch", "--json"][..], &["sites", "--watch"]] {
        let mut watching = desk.spawn(verb);
        let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        drop(lines);
        let began = Instant::now();
        let status = loop {
            if let Some(status) = watching.0.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "{verb:?} watches for nobody");
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{verb:?}");
    }
}
