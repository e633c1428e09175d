//! The house rules that a compiler does not know: which room may name which, how long a file may be, what every file
//! says about itself, and words that are not left behind.
//!
//! It reads the text of `src/`, without comments, strings and test modules, so it sees what is written, not what a macro
//! makes of it.

#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use paths::Named;
use source::Source;

const LINES_MAX: usize = 600;

/// Files that were longer when the rule came, and how long they may be: lower a number when its file shrinks, and drop
/// the entry below the limit.
const LONG: &[(&str, usize)] = &[];

const BANNED_WORDS: &[(&str, &str)] = &[
    ("todo!", "finish it, or refuse the case with an error"),
    ("unimplemented!", "finish it, or refuse the case with an error"),
    ("dbg!", "remove it, or log what matters with tracing"),
    ("FIXME", "fix it, or write down in plain words what is not done"),
    ("XXX", "fix it, or write down in plain words what is not done"),
];

/// What pure rooms may use of the standard library where they may not use all: they have no clock, no lock, no network,
/// no files and no tasks, but they have durations, addresses and shared values.
const PURE_STD: &[(&str, &[&str])] = &[
    ("time", &["Duration"]),
    ("sync", &["Arc", "Weak"]),
    (
        "net",
        &["AddrParseError", "IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"],
    ),
    ("fs", &[]),
    ("io", &[]),
    ("os", &[]),
    ("env", &[]),
    ("process", &[]),
    ("thread", &[]),
];

/// Rooms that take inputs and return answers, and the crates that each of them may use.
const PURE: &[(&str, &[&str])] = &[
    ("core", &["http", "thiserror", "foldhash", "hashbrown"]),
    ("http1", &["http", "httparse", "memchr", "thiserror"]),
];

/// Rooms that never name each other; they meet in `gate` and `published`.
const APART: &[(&str, &str)] = &[
    ("proxy", "control"),
    ("control", "proxy"),
    ("acme", "proxy"),
    ("acme", "control"),
    ("control", "acme"),
    ("provider", "proxy"),
    ("provider", "control"),
    ("provider", "acme"),
    ("provider", "app"),
];

/// One broken rule, in the form that editors jump to.
fn broken(file: &Path, line: usize, rule: &str, advice: &str) -> String {
    format!("{}:{line}: {rule}: {advice}", file.display())
}

#[test]
fn pure_rooms_use_nothing_that_could_act() {
    let dependencies = dependencies();
    for (pure, crates) in PURE {
        let found = each_path(pure, |named| {
            let path = named.path.iter().map(String::as_str).collect::<Vec<_>>();
            let rule = "pure rooms decide and never act";
            match path.as_slice() {
                ["std", module, rest @ ..] => {
                    let (_, allowed) = PURE_STD.iter().find(|(name, _)| name == module)?;
                    let item = rest.first().copied().unwrap_or("*");
                    (!allowed.contains(&item)).then(|| {
                        let advice = format!(
                            "`std::{module}::{item}` is out of its reach; take an input, return an effect"
                        );
                        (rule, advice)
                    })
                }
                ["crate", room, ..] if room != pure => {
                    let advice = format!(
                        "`crate::{room}` is out of its reach; {room} may know {pure}, not the reverse"
                    );
                    Some((rule, advice))
                }
                [first, ..] if dependencies.contains(*first) && !crates.contains(first) => {
                    let advice = format!("`{first}` is out of its reach; it may use {}", crates.join(", "));
                    Some((rule, advice))
                }
                _ => None,
            }
        });
        assert_none(found);
    }
}

#[test]
fn the_data_plane_and_the_control_plane_never_name_each_other() {
    for (room, other) in APART {
        let found = each_path(room, |named| {
            (named.path.first().is_some_and(|first| first == "crate")
                && named.path.get(1).is_some_and(|n| n == other))
            .then(|| {
                let advice = format!(
                    "`{room}` must not name `crate::{other}`; let them meet in `gate` or `published`"
                );
                ("the planes stay apart", advice)
            })
        });
        assert_none(found);
    }
}

#[test]
fn no_file_outgrows_its_reader() {
    let mut found = Vec::new();
    for file in rust_files() {
        let lines = read(&file).lines().count();
        let known = LONG.iter().find(|(name, _)| Path::new(name) == file);
        let limit = known.map_or(LINES_MAX, |(_, limit)| *limit);
        if lines > limit {
            let rule = format!("{lines} lines, more than {limit}");
            found.push(broken(&file, limit, &rule, "split it where it holds two ideas"));
        } else if known.is_some() && lines <= LINES_MAX {
            found.push(broken(&file, 1, "it has become short", "drop it from LONG in tests/tidy.rs"));
        }
    }
    for (name, _) in LONG.iter().filter(|(name, _)| !repo().join(name).exists()) {
        found.push(broken(Path::new(name), 1, "it is gone", "drop it from LONG in tests/tidy.rs"));
    }
    assert_none(found);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut found = Vec::new();
    for file in rust_files() {
        // The tests of a module say so by their names; the module itself says the rest.
        let tests = file.file_name().is_some_and(|name| name == "tests.rs");
        if !tests && !read(&file).trim_start().starts_with("//!") {
            let advice = "begin with a `//!` comment: what it is for, and what it refuses to do";
            found.push(broken(&file, 1, "no module doc", advice));
        }
    }
    assert_none(found);
}

#[test]
fn no_file_is_left_out_of_the_program() {
    let files = rust_files();
    let is_declared = |file: &PathBuf| {
        let stem = file.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let folder = file.parent().expect("it is in src");
        let (name, folder) = match stem.as_str() {
            "main" | "lib" => return true,
            "mod" => (folder.file_name().expect("a room").to_string_lossy().into_owned(), folder.parent()),
            _ => (stem, Some(folder)),
        };
        let folder = folder.expect("it is in src");
        let parents = [folder.join("mod.rs"), folder.join("lib.rs"), folder.with_extension("rs")];
        let declaration = format!("mod {name};");
        parents
            .iter()
            .filter(|parent| files.contains(parent))
            .any(|parent| read(parent).contains(&declaration))
    };
    let left_out = files.iter().filter(|file| !is_declared(file));
    let advice = "no `mod` names it: delete it, or declare it";
    assert_none(left_out.map(|file| broken(file, 1, "a file that is not compiled", advice)).collect());
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let mut found = Vec::new();
    for file in rust_files() {
        // Comments count as well here.
        for (number, line) in read(&file).lines().enumerate() {
            for (word, advice) in BANNED_WORDS.iter().filter(|(word, _)| holds_word(line, word)) {
                found.push(broken(&file, number + 1, &format!("`{word}`"), advice));
            }
        }
    }
    assert_none(found);
}

#[test]
fn the_rules_see_what_they_are_looking_for() {
    let source = Source::parse(
        "//! use std::fs;\n\
         use std::{net::{IpAddr, TcpStream}, time::Duration as D};\n\
         use super::super::proxy::*;\n\
         const A: &str = \"use std::fs\"; const B: &[u8] = br#\"std::io\"#; const C: char = '\"';\n\
         fn f<'a>(x: &'a u8) -> std::time::Instant { tokio::spawn(async {}); crate::gate::Gate::new(x) }\n\
         #[cfg(test)]\nmod tests { use std::thread; }\n\
         fn g() { std::env::args(); }\n",
    );
    let named = paths::named(&source, Path::new("src/core/table.rs"));
    let seen: Vec<(usize, String)> = named.iter().map(|n| (n.line, n.path.join("::"))).collect();
    let expected = [
        (2, "std::net::IpAddr"),
        (2, "std::net::TcpStream"),
        (2, "std::time::Duration"),
        (3, "crate::proxy::*"),
        (5, "std::time::Instant"),
        (5, "tokio::spawn"),
        (5, "crate::gate::Gate::new"),
        (8, "std::env::args"),
    ];
    assert_eq!(seen, expected.map(|(line, path)| (line, path.to_owned())));

    assert!(holds_word("    todo!()", "todo!"));
    assert!(holds_word("// FIXME: later", "FIXME"));
    assert!(!holds_word("let PREFIXME = 1;", "FIXME"));
    assert!(!holds_word("my_dbg!(x)", "dbg!"));
}

/// Every path that the files of a room name, and what `rule` has against it.
fn each_path(room: &str, rule: impl Fn(&Named) -> Option<(&'static str, String)>) -> Vec<String> {
    let mut found = Vec::new();
    let (folder, module) = (format!("src/{room}"), format!("src/{room}.rs"));
    for file in rust_files() {
        let tests = file.file_name().is_some_and(|name| name == "tests.rs");
        if tests || !(file.starts_with(&folder) || file == Path::new(&module)) {
            continue;
        }
        for named in paths::named(&Source::parse(&read(&file)), &file) {
            if let Some((name, advice)) = rule(&named) {
                found.push(broken(&file, named.line, name, &advice));
            }
        }
    }
    found
}

fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
        !line[..at].ends_with(part_of_a_name) && !line[at + word.len()..].starts_with(part_of_a_name)
    })
}

/// The names by which code can reach another crate.
fn dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = read(Path::new("Cargo.toml")).parse().expect("Cargo.toml is TOML");
    let names: BTreeSet<String> = ["dependencies", "dev-dependencies"]
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(|table| table.keys().map(|name| name.replace('-', "_")))
        .collect();
    assert!(names.contains("tokio"), "no dependencies were found");
    names
}

/// All files of `src/`, relative to the repository.
fn rust_files() -> Vec<PathBuf> {
    let mut folders = vec![repo().join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(repo()).expect("it is in the repository").to_owned());
            }
        }
    }
    assert!(files.contains(&PathBuf::from("src/core/mod.rs")), "the sources were not found");
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(repo().join(file)).expect("a file of the repository can be read")
}

fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(broken: Vec<String>) {
    assert!(broken.is_empty(), "{} broken:\n{}\n", broken.len(), broken.join("\n"));
}
