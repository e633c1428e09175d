//! With `--json`, a verb fails in JSON, too: one object on standard error, and the exit code that it has without.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::desk::{Desk, Running, Said, said};

/// What it says on standard error, which is one object and nothing else; on standard output there is nothing.
#[track_caller]
fn error_of(said: &Said) -> Value {
    assert_eq!(said.out, "", "{said:?}");
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
    let error: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["code"], said.code, "the exit code is what it says: {said:?}");
    error
}

#[track_caller]
fn fails(said: &Said, kind: &str, code: i32, why: &str) {
    let error = error_of(said);
    assert_eq!((error["error"].as_str(), said.code), (Some(kind), code), "{said:?}");
    assert!(error["message"].as_str().unwrap().contains(why), "{said:?}");
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ghostpin"))
}

#[test]
fn a_refusal_is_an_object_that_says_why() {
    let desk = Desk::new();
    let _running = desk.start();
    fails(&desk.say(&["release", "blog", "--json"]), "refused", 1, "the site is not on hold");
}

#[test]
fn a_wrong_line_is_an_object_whoever_finds_it_wrong() {
    fails(&said(program().args(["sites", "--json", "--sorted"])), "usage", 2, "'--sorted'");
    fails(
        &said(program().args(["status", "--json", "--config", "/nowhere.toml"])),
        "usage",
        2,
        "/nowhere.toml",
    );
    let help = said(program().args(["sites", "--json", "--help"]));
    assert!(help.code == 0 && help.out.contains("Usage: ghostpin sites"), "help is no failure: {help:?}");
    let words = said(program().args(["release", "--", "--json"]));
    assert!(words.err.starts_with("ghostpin: "), "a site of that name asks for nothing: {words:?}");
}

#[test]
fn an_absent_ghostpin_is_an_object_that_says_where_it_was_looked_for() {
    let desk = Desk::new();
    for verb in ["sites", "top", "healthcheck", "reload"] {
        fails(&desk.say(&[verb, "--json"]), "unreachable", 3, "admin.sock");
    }
    fs::create_dir(desk.folder.path().join("state")).unwrap();
    fails(&desk.say(&["upgrade", "--json"]), "unreachable", 3, "no ghostpin can be asked at");
}

#[test]
fn an_absent_site_is_an_object_that_names_it() {
    let desk = Desk::new();
    let _running = desk.start();
    fails(&desk.say(&["site", "nobody", "--json"]), "absent", 4, "there is no site `nobody`");
}

#[test]
fn what_is_not_done_in_time_is_an_object_alone() {
    let desk = Desk::new();
    let _running = desk.start();
    let _reader = desk.ask_slowly();
    // Longer than progress keeps quiet for people.
    let moved =
        desk.say(&["handoff", "blog", "--to", &desk.backends[1].to_string(), "--wait", "2s", "--json"]);
    fails(&moved, "unfinished", 5, "not done after 2 s, and it goes on");
}

#[test]
fn a_check_that_finds_mistakes_lists_them_on_standard_output_and_fails_in_json() {
    let desk = Desk::new();
    desk.write(&desk.text().replace("threads = 1", "threads = \"many\""));
    let checked = desk.say(&["check", "--json"]);
    let answer: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(answer["errors"][0]["key"], "server.threads", "{checked:?}");
    fails(&Said { out: String::new(), ..checked }, "refused", 1, "has 1 mistake");
}

#[test]
fn top_is_a_line_of_json_a_look_and_goes_on_over_a_ghostpin_that_is_away() {
    let desk = Desk::new();
    let running = desk.start();
    let mut command = program();
    command.args(["top", "--json", "--every", "100ms", "--config"]).arg(desk.config());
    let mut top = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(top.0.stdout.take().unwrap()).lines();
    let mut errors = BufReader::new(top.0.stderr.take().unwrap()).lines();
    let mut look = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    for _ in 0..2 {
        let seen = look();
        assert_eq!((&seen["sites"][0]["name"], &seen["status"]["sites"]), (&"blog".into(), &1.into()));
        assert_eq!(seen["edges"], Value::Null, "there is no fleet");
    }
    drop(running);
    let error: Value = serde_json::from_str(&errors.next().unwrap().unwrap()).unwrap();
    assert_eq!(error["error"], "unreachable");
    // What it says while nobody reads it here must find room.
    thread::spawn(move || errors.for_each(drop));
    let _running = desk.start();
    assert_eq!(look()["status"]["sites"], 1);
    drop(lines);
    assert_eq!(top.0.wait().unwrap().code(), Some(0), "it ends when nobody reads any more");
}
