//! A ghostpin that is there and says nothing, or goes before it has said what it was asked: neither is one that is not there.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::desk::{Desk, PATIENCE, Running};

fn signal(running: &Running, signal: Signal) {
    kill_process(Pid::from_child(&running.0), signal).unwrap();
}

/// A verb with the configuration of this desk, both of its outputs piped.
fn piped(desk: &Desk, verb: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    command.args(verb).arg("--config").arg(desk.config()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

/// Its lines, as they come: who waits for one in vain fails, and doesn't hang.
fn lines(of: impl Read + Send + 'static) -> Receiver<String> {
    let (sends, lines) = channel();
    thread::spawn(move || {
        BufReader::new(of).lines().map_while(Result::ok).try_for_each(|line| sends.send(line))
    });
    lines
}

/// The exit code and standard error of a verb that ends.
fn ended(mut verb: Running) -> (i32, String) {
    let began = Instant::now();
    let told = lines(verb.0.stderr.take().unwrap());
    let code = loop {
        if let Some(status) = verb.0.try_wait().unwrap() {
            break status.code().unwrap();
        }
        assert!(began.elapsed() < PATIENCE, "it never ends");
        thread::sleep(std::time::Duration::from_millis(20));
    };
    (code, told.iter().collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_ghostpin_that_hangs_is_told_and_not_waited_for_without_end() {
    let desk = Desk::new();
    let running = desk.start();
    signal(&running, Signal::STOP);
    let verbs = [&["status"][..], &["sites", "--json"], &["site", "blog", "--watch"], &["top", "--json"]];
    let asked = verbs.map(|verb| piped(&desk, verb));
    for (verb, asked) in verbs.iter().zip(asked) {
        let (code, told) = ended(asked);
        assert_eq!(code, 3, "{verb:?}: {told}");
        assert!(told.contains("connected, but it doesn't answer"), "{verb:?}: {told}");
    }
}

#[test]
fn who_watches_is_told_of_a_ghostpin_that_hangs_and_goes_on_when_it_is_back() {
    let desk = Desk::new();
    let running = desk.start();
    for verb in [&["sites", "--watch", "--json"][..], &["top", "--json"]] {
        let mut watching = piped(&desk, verb);
        let seen = lines(watching.0.stdout.take().unwrap());
        let told = lines(watching.0.stderr.take().unwrap());
        seen.recv_timeout(PATIENCE).expect("a first look");
        signal(&running, Signal::STOP);
        let silence: Value = serde_json::from_str(&told.recv_timeout(PATIENCE).expect("a word")).unwrap();
        assert_eq!(silence["error"], "unreachable", "{verb:?}");
        assert!(silence["message"].as_str().unwrap().contains("it doesn't answer"), "{verb:?}: {silence}");
        while seen.try_recv().is_ok() {}
        signal(&running, Signal::CONT);
        assert_eq!(desk.say(&["hold", "blog"]).code, 0);
        let is_held = |line: &str| line.contains("\"draining\"") || line.contains("\"fencing\"");
        while !is_held(&seen.recv_timeout(PATIENCE).expect("what came after")) {}
        assert_eq!(desk.say(&["release", "blog"]).code, 0);
    }
}

#[test]
fn who_was_asked_and_has_gone_leaves_it_open_what_came_of_it() {
    for json in [&[][..], &["--json"]] {
        let desk = Desk::new();
        let mut running = desk.start();
        let _reader = desk.ask_slowly();
        let to = desk.backends[1].to_string();
        let moving = piped(&desk, &[&["handoff", "blog", "--to", &to], json].concat());
        let began = Instant::now();
        while desk.site()["phase"] != "draining" {
            assert!(began.elapsed() < PATIENCE, "it never begins");
        }
        running.0.kill().unwrap();
        let (code, told) = ended(moving);
        assert_eq!(code, 6, "{told}");
        assert!(told.contains("what came of it is not known"), "{told}");
        assert!(json.is_empty() || told.contains("\"error\":\"unknown\""), "{told}");
    }
}
