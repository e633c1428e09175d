//! The command line as operators meet it: the real program, its words and its exit codes.

#[path = "cli/desk.rs"]
mod desk;
#[path = "cli/failures.rs"]
mod failures;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/silence.rs"]
mod silence;
#[path = "cli/terminal.rs"]
mod terminal;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Instant;

use desk::{Desk, PATIENCE, said};
use serde_json::Value;

#[test]
fn every_verb_does_what_it_says() {
    let desk = Desk::new();
    let _running = desk.start();
    let [a, b] = desk.backends;
    let done = |verb: &[&str]| {
        let said = desk.say(verb);
        assert_eq!(said.code, 0, "{verb:?}: {said:?}");
        assert_eq!(said.err, "", "{verb:?}");
        said.out
    };
    let fails = |code: i32, verb: &[&str]| {
        let said = desk.say(verb);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{verb:?}: {said:?}");
        said.err
    };
    let refused = |verb: &[&str]| fails(1, verb);

    assert!(done(&["sites"]).contains(&format!("blog  serving  1      {a}")), "{}", done(&["sites"]));
    assert_eq!(done(&["sites", "--troubled"]).lines().count(), 1, "the head only");
    assert!(done(&["status"]).contains("sites      1: 1 serving\n"), "{}", done(&["status"]));
    assert!(done(&["site", "blog"]).contains(&format!("pin       {a} under epoch 1\n")));
    assert!(done(&["explain", "https://blog.example/x"]).contains("a request enters at once"));
    assert_eq!(
        done(&["handoff", "blog", "--to", &b.to_string()]),
        format!("blog is pinned to {b} under epoch 2\n")
    );
    assert!(refused(&["handoff", "blog", "--to", &b.to_string()]).contains("has the pin already"));
    assert!(fails(4, &["handoff", "nobody", "--to", &b.to_string()]).contains("there is no site `nobody`"));
    assert!(fails(4, &["edges"]).contains("there is no fleet"));
    assert!(done(&["hold", "blog"]).starts_with("blog is on hold"));
    assert_eq!(done(&["sites", "--troubled"]).lines().count(), 2);
    let troubled: Value = serde_json::from_str(&done(&["sites", "--troubled", "--json"])).unwrap();
    assert_eq!((&troubled[0]["name"], &troubled[0]["handoff"]["cause"]), (&"blog".into(), &"hold".into()));
    assert_eq!(done(&["sites", "--search", "BLOG.example"]).lines().count(), 2);
    assert_eq!(done(&["sites", "--search", "nowhere"]).lines().count(), 1);
    assert!(done(&["explain", "blog.example"]).contains("the site is on hold"));
    assert!(done(&["release", "blog"]).starts_with("blog is no longer on hold"));
    assert!(refused(&["release", "blog"]).contains("the site is not on hold"));
    let journal = done(&["journal", "--site", "blog", "--kind", "handoff"]);
    assert!(
        journal.contains(&format!("handoff (planned) switched: {a} (epoch 1) -> {b} (epoch 2)")),
        "{journal}"
    );
    assert!(journal.contains("wished by "), "{journal}");
    let journal: Value = serde_json::from_str(&done(&["journal", "--count", "1", "--json"])).unwrap();
    assert_eq!(journal.as_array().unwrap().len(), 1);

    assert!(done(&["check"]).ends_with("A reload: nothing changes\n"), "{}", done(&["check"]));
    desk.write(&desk.text().replace(&format!(", \"{b}\""), ""));
    let plan = done(&["check"]);
    assert!(
        plan.contains(&format!("hand off  blog: pinned to {b}, which is no longer among its backends")),
        "{plan}"
    );
    let plan: Value = serde_json::from_str(&done(&["check", "--json"])).unwrap();
    assert_eq!(plan["plan"]["handed_off"][0]["site"], "blog");
    assert!(done(&["reload"]).starts_with("reloaded: 0 added, 0 removed, 1 changed, 0 unchanged"));
    desk.write("[server]\nstat = 1\n");
    assert!(
        refused(&["reload", "--admin", &desk.folder.path().join("admin.sock").display().to_string()])
            .contains("token")
    );
}

#[test]
fn a_healthcheck_tells_who_is_ready_from_who_stops_and_who_is_not_there() {
    let desk = Desk::new();
    desk.write(&desk.text().replace("threads = 1", "threads = 1\nshutdown_delay = \"1h\""));
    assert_eq!(desk.say(&["healthcheck"]).code, 3);
    let running = desk.start();
    let said = desk.say(&["healthcheck"]);
    assert_eq!((said.code, said.out.as_str()), (0, "ready\n"), "{said:?}");
    assert_eq!(desk.say(&["healthcheck", "--json"]).out, "{\"ready\":true}\n");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&running.0),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let began = Instant::now();
    let said = loop {
        let said = desk.say(&["healthcheck"]);
        if said.code != 0 {
            break said;
        }
        assert!(began.elapsed() < PATIENCE, "it never says that it stops");
    };
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("ghostpin is stopping"), "{said:?}");
}

#[test]
fn each_change_is_one_line_of_json_until_it_is_told_to_stop() {
    let desk = Desk::new();
    let _running = desk.start();
    let mut watching = desk.spawn(&["sites", "--watch", "--every", "100ms", "--json"]);
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let mut phase = || -> Value {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["name"], "blog");
        line["phase"].clone()
    };
    assert_eq!(phase(), "serving");
    assert_eq!(desk.say(&["hold", "blog"]).code, 0);
    assert_ne!(phase(), "serving");
    assert_eq!(desk.say(&["release", "blog"]).code, 0);
    while phase() != "serving" {}
    let pid = rustix::process::Pid::from_child(&watching.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(watching.0.wait().unwrap().code(), Some(0));
}

#[test]
fn who_waits_is_told_what_for_and_need_not_wait_for_ever() {
    let desk = Desk::new();
    let _running = desk.start();
    let _reader = desk.ask_slowly();
    let said = desk.say(&["handoff", "blog", "--to", &desk.backends[1].to_string(), "--wait", "2s"]);
    assert_eq!((said.code, said.out.as_str()), (5, ""), "{said:?}");
    assert!(said.err.starts_with("blog is draining (1 s): for "), "{said:?}");
    assert!(said.err.contains("waits for 1 requests in flight to end"), "{said:?}");
    assert!(said.err.contains("not done after 2 s, and it goes on: `ghostpin site blog` says"), "{said:?}");
}

#[test]
fn check_names_every_mistake_by_its_file_and_line() {
    let desk = Desk::new();
    desk.write(&desk.text().replace("hosts", "host").replace("threads = 1", "threads = \"many\""));
    let said = desk.say(&["check"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("ghostpin.toml:4: server.threads"), "{said:?}");
    assert!(said.err.contains("did you mean `hosts`?"), "{said:?}");
    let said = desk.say(&["check", "--json"]);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &answer["ok"], &answer["errors"][0]["line"]), (1, &false.into(), &4.into()));
}

#[test]
fn check_needs_no_running_ghostpin_and_says_so() {
    let desk = Desk::new();
    let said = desk.say(&["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("is right: 1 site, 1 host, 2 backends"), "{said:?}");
    assert!(said.out.contains("no ghostpin answers at"), "{said:?}");
}

#[test]
fn check_says_that_a_reload_would_wait_for_somebodys_word() {
    let desk = Desk::new();
    desk.write(&format!("{}\n[guard]\nshare = 0.0\nsites = 0\n", desk.text()));
    let _running = desk.start();
    let [a, b] = desk.backends;
    let text = fs::read_to_string(desk.config()).unwrap();
    desk.write(&text.replace(&format!("\"{a}\", "), ""));
    let planned = desk.say(&["check"]);
    assert_eq!(planned.code, 0, "the file is right: {planned:?}");
    let waits = planned.out.lines().find(|line| line.starts_with("waits     ")).expect(&planned.out);
    let confirm = &waits[waits.find("`ghostpin confirm ").expect(waits)..];
    let reloaded = desk.say(&["reload"]);
    assert!(reloaded.code == 1 && reloaded.err.contains(confirm), "{confirm}: {reloaded:?}");
    let plan: Value = serde_json::from_str(&desk.say(&["check", "--json"]).out).unwrap();
    assert!(plan["plan"]["waits"].as_str().unwrap().contains(confirm), "{plan}");

    let id = confirm["`ghostpin confirm ".len()..].trim_end_matches('`');
    assert_eq!(desk.say(&["confirm", id]).code, 0);
    // The word is about the file; the handoff that follows from it takes its time.
    desk.until_pinned(b);
    let after = desk.say(&["check"]).out;
    assert!(after.ends_with("A reload: nothing changes\n"), "{after}");
}

#[test]
fn the_port_of_readers_is_no_admin_api() {
    let desk = Desk::new();
    let _running = desk.start();
    let status: Value = serde_json::from_str(&desk.say(&["status", "--json"]).out).unwrap();
    let readers = status["listening"][0].as_str().unwrap();
    for verb in [&["site", "blog"][..], &["status"], &["top", "--json"]] {
        let said = said(Command::new(env!("CARGO_BIN_EXE_ghostpin")).args(verb).args(["--admin", readers]));
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{verb:?}: {said:?}");
        assert!(said.err.contains("is this a ghostpin's admin API?"), "{verb:?}: {said:?}");
    }
}

#[test]
fn a_time_or_a_place_that_cannot_be_meant_is_refused_with_what_can() {
    let program = || Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    for (line, hint) in [
        (&["handoff", "blog", "--to", "b:1", "--wait", "1"][..], "such as `30s`, `500ms` or `1m30s`"),
        (&["hold", "blog", "--wait", "1.5s"], "whole numbers"),
        (&["sites", "--watch", "--every", "0s"], "100ms"),
        (&["top", "--every", "99ms"], "100ms"),
        (&["status", "--admin", "localhost"], "add a port"),
        (&["status", "--admin", "https://127.0.0.1:9180"], "not over TLS"),
    ] {
        let said = said(program().args(line));
        assert!(said.code == 2 && said.err.contains(hint), "{line:?}: {said:?}");
    }
}

#[test]
fn a_file_named_from_its_own_folder_is_the_same_file() {
    let desk = Desk::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    command.args(["run", "--config", "ghostpin.toml"]).current_dir(desk.folder.path());
    let _running = desk.run(&mut command);
    let said = desk.say(&["check"]);
    assert!(said.out.ends_with("A reload: nothing changes\n"), "{}", said.out);
}

#[test]
fn exit_codes_tell_a_wrong_line_from_an_absent_ghostpin() {
    let desk = Desk::new();
    let nobody = desk.say(&["sites"]);
    assert_eq!(nobody.code, 3, "{nobody:?}");
    let (socket, file) = (desk.folder.path().join("./admin.sock"), desk.config());
    let place =
        format!("no ghostpin answers at {} (so says [admin] of {}): ", socket.display(), file.display());
    assert!(nobody.err.contains(&place) && nobody.err.contains("--admin"), "{nobody:?}");
    assert_eq!(desk.say(&["sight"]).code, 2);
    assert_eq!(desk.say(&["handoff", "blog"]).code, 2, "--to is needed");
    let program = || Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    let unreadable = said(program().args(["sites", "--config", "/nowhere/ghostpin.toml"]));
    assert_eq!(unreadable.code, 2, "{unreadable:?}");
    let help = said(program().arg("--help"));
    assert!(help.code == 0 && help.out.contains("Exit codes: 0 done"), "{help:?}");
}

#[test]
fn manual_pages_and_completions_come_from_the_same_words_as_the_help() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let program = || Command::new(env!("CARGO_BIN_EXE_ghostpin"));
    assert_eq!(said(program().arg("man").arg(&pages)).code, 0);
    let page = fs::read_to_string(pages.join("ghostpin-handoff.1")).unwrap();
    assert!(page.contains("Move a site to another of its backends") && page.contains("\\-\\-to"), "{page}");
    let footer = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
    assert!(footer.contains(&format!("\"ghostpin {}\"", env!("CARGO_PKG_VERSION"))), "{footer}");
    assert!(!pages.join("ghostpin-stand-in.1").exists(), "what is hidden has no page");
    for shell in ["bash", "zsh", "fish"] {
        let script = said(program().args(["completions", shell]));
        assert_eq!(script.code, 0, "{script:?}");
        assert!(script.out.contains("drain-edge") && script.out.contains("troubled"), "{shell}");
        assert!(
            !script.out.contains("stand-in") && !script.out.contains("stand__in"),
            "{shell}: what is hidden"
        );
    }
    let script = said(program().args(["completions", "bash"])).out;
    fs::write(folder.path().join("bash"), script).unwrap();
    let completed = said(Command::new("bash").current_dir(folder.path()).args([
        "-c",
        "source ./bash; COMP_WORDS=(ghostpin drain); COMP_CWORD=1; _ghostpin ghostpin drain ghostpin; echo ${COMPREPLY[@]}",
    ]));
    assert_eq!(completed.out, "drain-edge\n", "{completed:?}");
    assert_eq!(said(program().args(["completions", "cmd"])).code, 2);
}
