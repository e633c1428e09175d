//! An HTTP/1.1 strictness corpus: what could be read in two ways is refused or made unambiguous, and what is legal
//! comes through unchanged. The cases are data, in `corpus/*.toml`; here they are sent, each on a connection of its
//! own, to the real program, in front of a backend that writes down every byte, and in front of real ones.
//!
//! The backend is judged after the proxy is gone and its connections are read to their ends. Only then is "nothing of
//! it reached the backend" more than a guess about how long to wait.

mod behind;
mod case;
// The wire tests use all of it, this one only the process.
#[allow(dead_code, unused_imports)]
#[path = "../wire/harness/mod.rs"]
mod harness;
mod judge;
mod parse;
mod recorder;
mod selftest;
mod talk;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use behind::Backend;
use case::{Behind, Case};
use harness::{Config, Proxy};
use recorder::Item;
use talk::{Manner, Talk};

/// A case that goes wrong may wait until a deadline; others go on meanwhile.
const AT_ONCE: usize = 8;

const TOKEN_LENGTH: usize = 6;

/// What marks all that belongs to one run of a case: no text of the corpus has it by chance.
fn token(number: usize, manner: Manner) -> String {
    let manner = if manner == Manner::Whole { 'w' } else { 'p' };
    format!("k{number:04}{manner}")
}

/// All tokens in what the backend was sent.
fn tokens_in(bytes: &[u8]) -> Vec<String> {
    let is_token = |window: &&[u8]| {
        window[0] == b'k' && window[1..5].iter().all(u8::is_ascii_digit) && matches!(window[5], b'w' | b'p')
    };
    let mut found: Vec<String> = bytes
        .windows(TOKEN_LENGTH)
        .filter(is_token)
        .map(|window| String::from_utf8_lossy(window).into_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// What the backend saw of each run, and what belongs to none. An item without a token belongs to the one before it on
/// its connection: it is what a proxy has let through behind it.
fn by_token<'a>(
    connections: impl Iterator<Item = &'a [Item]>,
) -> (BTreeMap<String, Vec<&'a Item>>, Vec<&'a Item>) {
    let (mut known, mut stray) = (BTreeMap::<String, Vec<&Item>>::new(), Vec::new());
    for items in connections {
        let mut before = Vec::new();
        for item in items {
            let mut tokens = tokens_in(item.raw());
            if tokens.is_empty() {
                tokens.clone_from(&before);
            }
            for token in &tokens {
                known.entry(token.clone()).or_default().push(item);
            }
            if tokens.is_empty() {
                stray.push(item);
            }
            before = tokens;
        }
    }
    (known, stray)
}

/// All cases in both manners, several at a time.
fn run(to: SocketAddr, cases: &[Case]) -> BTreeMap<String, Talk> {
    let manners = [Manner::Whole, Manner::Pieces];
    let (next, talks) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::SeqCst);
                    let (number, manner) = (run / manners.len(), manners[run % manners.len()]);
                    let Some(case) = cases.get(number) else { return };
                    let token = token(number, manner);
                    let talk = talk::talk(to, case, &token, manner);
                    talks.lock().expect("no other run has panicked").insert(token, talk);
                }
            });
        }
    });
    talks.into_inner().expect("no run has panicked")
}

/// Sends the corpus through ghostpin to a backend, and judges what came of it at both ends.
fn corpus_before(behind: Behind) {
    let cases = case::corpus();
    assert!(cases.len() >= 120, "only {} cases were found", cases.len());
    let backend = Backend::start(behind);
    let mut config = Config::new();
    let address = backend.address();
    let site = format!("name = 'a'\nhosts = ['a.test']\nbackends = ['{address}']\napp = 'generic'");
    config.sites.push(("a".into(), site));
    // A failure is told by what was sent and seen; a line for each of a thousand requests would bury it.
    config.log = "level = 'warn'\naccess = false".into();
    let mut proxy = Proxy::start(&config);
    let talks = run(proxy.address, &cases);
    assert_eq!(proxy.ended(), None, "the proxy did not survive the corpus");
    proxy.kill();
    let connections = backend.finish();
    let (seen, stray) = by_token(connections.iter().map(|connection| connection.items.as_slice()));

    let (mut failed, mut report) = (0, String::new());
    for (number, case) in cases.iter().enumerate() {
        let verdict = |manner| {
            let token = token(number, manner);
            let items = seen.get(&token).cloned().unwrap_or_default();
            let wrong = judge::judge(behind, case, &token, &talks[&token], &items);
            // Without the token, so that the same failure in both manners is one.
            let wrong = wrong.iter().map(|line| line.replace(&token, "{case}")).collect::<Vec<_>>();
            (wrong, &talks[&token], items)
        };
        let (whole, pieces) = (verdict(Manner::Whole), verdict(Manner::Pieces));
        failed += usize::from(!whole.0.is_empty() || !pieces.0.is_empty());
        let is_same = whole.0 == pieces.0;
        if !whole.0.is_empty() {
            let manners = if is_same { "whole and in pieces" } else { "whole" };
            report += &judge::report(case, manners, &whole.0, whole.1, &whole.2);
        }
        if !pieces.0.is_empty() && !is_same {
            report += &judge::report(case, "in pieces", &pieces.0, pieces.1, &pieces.2);
        }
    }
    for item in &stray {
        report += &format!("bytes of no case reached the backend: {}\n", item.raw().escape_ascii());
    }
    let may_refuse = |item: &Item| {
        let refusable = |token: &String| {
            let case = token[1..5].parse::<usize>().ok().and_then(|number| cases.get(number));
            case.is_some_and(|case| case.refused_by.contains(&behind))
        };
        tokens_in(item.raw()).iter().any(refusable)
    };
    let differences: Vec<String> =
        connections.iter().flat_map(|connection| connection.differences(may_refuse)).collect();
    for difference in &differences {
        report += &format!("{difference}\n");
    }
    assert!(
        failed == 0 && stray.is_empty() && differences.is_empty(),
        "{failed} of {} cases failed, {} stray requests, {} read in another way by the backend:\n{report}",
        cases.len(),
        stray.len(),
        differences.len()
    );
    let (count, items) = (connections.len(), connections.iter().map(|one| one.items.len()).sum::<usize>());
    println!("{} cases before {behind:?}: {items} requests over {count} connections", cases.len());
}

#[test]
fn every_case_of_the_corpus_is_read_in_one_way_only() {
    corpus_before(Behind::Recorder);
}

#[test]
fn node_understands_of_every_case_what_ghostpin_has_understood() {
    corpus_before(Behind::Node);
}

#[test]
fn nginx_understands_of_every_case_what_ghostpin_has_understood() {
    corpus_before(Behind::Nginx);
}
