//! The operator's guide does what it says: each page's `sh` blocks are run in their order, in a folder of their own, and
//! each line of the `text` block below one is looked for in what it printed.
//!
//! Addresses of this machine are exchanged for free ones, so that pages can be read, and run beside each other.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// Between what two blocks have printed.
const BORDER: &str = "=== the next block";
/// Longer than any page may take on a busy machine.
const SECONDS_MAX: &str = "120";

/// A block that is run, and what is to be seen.
#[derive(Debug, Default, PartialEq)]
struct Step {
    script: String,
    seen: Vec<String>,
}

/// The steps of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut fence = "";
    for line in page.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(kind @ ("sh" | "text")), "") => {
                fence = kind;
                if kind == "sh" {
                    steps.push(Step::default());
                }
            }
            (Some(""), _) => fence = "",
            (Some(other), "") => panic!("a block of kind {other:?}: nobody would run it"),
            (_, "sh") => steps.last_mut().unwrap().script += &format!("{line}\n"),
            (_, "text") => steps.last_mut().expect("a script above").seen.push(line.to_owned()),
            _ => {}
        }
    }
    steps
}

/// With free ports in the place of those that are written.
fn with_free_ports(text: &str, ports: &mut BTreeMap<String, u16>) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (written, rest) = part.split_at(end);
        whole += "127.0.0.1:";
        match written {
            "" => {}
            _ => whole += &ports.entry(written.to_owned()).or_insert_with(free_port).to_string(),
        }
        whole += rest;
    }
    // Names on this machine have their port by themselves.
    for (written, free) in ports {
        whole = whole.replace(&format!(".example:{written}"), &format!(".example:{free}"));
    }
    whole
}

/// One that is free until a page binds it: no other page gets it, and below this range's end no connection takes a port for
/// its own end.
fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % 20_000;
    let next = || 10_000 + ((first + u32::from(TAKEN.fetch_add(1, Ordering::Relaxed))) % 20_000) as u16;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).take(20_000).find(is_free).expect("a free port")
}

fn run(name: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide").join(name);
    let mut ports = BTreeMap::new();
    let page = fs::read_to_string(page).unwrap();
    with_free_ports(&page, &mut ports);
    let steps = steps(&with_free_ports(&page, &mut ports));
    assert!(!steps.is_empty() && steps.iter().any(|step| !step.seen.is_empty()), "{name} shows nothing");
    let folder = tempfile::tempdir().unwrap();
    let mut script = "set -eu\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n".to_owned();
    for Step { script: block, .. } in &steps {
        script += &format!("{block}\necho '{BORDER}'\n");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_ghostpin")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let printed = fs::File::create(folder.path().join("printed")).unwrap();
    let status = Command::new("timeout")
        .args([SECONDS_MAX, "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env_remove("GHOSTPIN_ADMIN")
        .stdin(Stdio::null())
        .stdout(printed.try_clone().unwrap())
        .stderr(printed)
        .status()
        .unwrap();
    let printed = fs::read_to_string(folder.path().join("printed")).unwrap();
    assert!(status.success(), "{name}: {status}\n{printed}");
    for (step, output) in steps.iter().zip(printed.split(BORDER)) {
        // Ports of other lengths move columns.
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = output.lines().map(plain).collect();
        for line in &step.seen {
            let is_there = lines.iter().any(|other| other.contains(&plain(line)));
            assert!(is_there, "{name} promises `{line}`, and there was\n{output}");
        }
    }
}

#[test]
fn every_page_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide");
    let mut pages: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    pages.sort();
    let tested = [
        "cluster.md",
        "concepts.md",
        "failures.md",
        "first-site.md",
        "migration.md",
        "swarm.md",
        "tls.md",
        "tuning.md",
    ];
    assert_eq!(pages, tested);
}

#[test]
fn concepts() {
    run("concepts.md");
}

#[test]
fn a_first_site() {
    run("first-site.md");
}

#[test]
fn tls() {
    run("tls.md");
}

#[test]
fn failures() {
    run("failures.md");
}

#[test]
fn tuning() {
    run("tuning.md");
}

#[test]
fn a_swarm() {
    run("swarm.md");
}

#[test]
fn from_another_proxy() {
    run("migration.md");
}

#[cfg(feature = "cluster")]
#[test]
fn many_edges() {
    run("cluster.md");
}
