//! The corpus before a backend: all its cases are sent through ghostpin, and when everything has ended, each is judged by
//! what came of it at both ends.
//!
//! The backend is judged after the proxy is gone and its connections are read to their ends. Only then is "nothing of
//! it reached the backend" more than a guess about how long to wait.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::behind::{Backend, Connection};
use super::case::Behind;
use super::harness::secure::Authority;
use super::harness::{Config, Proxy};
use super::recorder::Item;
use super::road::{Over, Road};
use super::talk::Manner;

/// A case that goes wrong may wait until a deadline; others go on meanwhile.
const AT_ONCE: usize = 8;

const TOKEN_LENGTH: usize = 6;

/// What marks all that belongs to one run of a case: no text of the corpus has it by chance.
pub(crate) fn token(number: usize, manner: Manner) -> String {
    let manner = if manner == Manner::Whole { 'w' } else { 'p' };
    format!("k{number:04}{manner}")
}

/// Whether it marks what was sent in small pieces.
pub(crate) fn is_in_pieces(token: &str) -> bool {
    token.ends_with('p')
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
pub(crate) fn by_token<'a>(
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

/// Cases of one kind, known by their numbers.
pub(crate) trait Cases: Sync {
    /// What a client sees of one.
    type Talk: Send;

    /// What is spoken inside of TLS, as ALPN names it.
    const PROTOCOL: &str;

    fn count(&self) -> usize;
    fn talk(&self, number: usize, road: &Road, token: &str, manner: Manner) -> Self::Talk;
    /// All that is wrong, one line each.
    fn judge(
        &self,
        number: usize,
        behind: Behind,
        token: &str,
        talk: &Self::Talk,
        items: &[&Item],
    ) -> Vec<String>;
    fn report(
        &self,
        number: usize,
        manners: &str,
        wrong: &[String],
        talk: &Self::Talk,
        items: &[&Item],
    ) -> String;
    /// This backend may refuse the case without having understood it.
    fn may_be_refused(&self, number: usize, by: Behind) -> bool;
}

/// Sends all cases this way through ghostpin to a backend, and judges them.
pub(crate) fn play<C: Cases>(cases: &C, behind: Behind, over: Over) {
    let backend = Backend::start(behind);
    let mut config = Config::new();
    let address = backend.address();
    let site = format!("name = 'a'\nhosts = ['a.test']\nbackends = ['{address}']\napp = 'generic'");
    config.sites.push(("a".into(), site));
    // A failure is told by what was sent and seen; a line for each of a thousand requests would bury it.
    config.log = "level = 'warn'\naccess = false".into();
    let authority = Authority::new();
    // For b.test too, whom no site has: that a host is misdirected is said before that it is unknown.
    authority.certify("both.pem", &["a.test", "b.test"]);
    let (mut proxy, road);
    match over {
        Over::ClearText => {
            proxy = Proxy::start(&config);
            road = Road::ClearText(proxy.address);
        }
        Over::Tls => {
            proxy = Proxy::start(&authority.secured(config));
            road = Road::tls(proxy.https(), authority.client(&[C::PROTOCOL]));
        }
    }
    let talks = talk_all(cases, &road);
    assert_eq!(proxy.ended(), None, "the proxy did not survive the corpus");
    proxy.kill();
    println!("over {over:?}:");
    judge_all(cases, behind, &talks, &backend.finish());
}

/// All cases in both manners, several at a time.
fn talk_all<C: Cases>(cases: &C, road: &Road) -> BTreeMap<String, C::Talk> {
    let manners = [Manner::Whole, Manner::Pieces];
    let (next, talks) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::SeqCst);
                    let (number, manner) = (run / manners.len(), manners[run % manners.len()]);
                    if number >= cases.count() {
                        return;
                    }
                    let token = token(number, manner);
                    let talk = cases.talk(number, road, &token, manner);
                    talks.lock().expect("no other run has panicked").insert(token, talk);
                }
            });
        }
    });
    talks.into_inner().expect("no run has panicked")
}

fn judge_all<C: Cases>(
    cases: &C,
    behind: Behind,
    talks: &BTreeMap<String, C::Talk>,
    connections: &[Connection],
) {
    let (seen, stray) = by_token(connections.iter().map(|connection| connection.items.as_slice()));
    let (mut failed, mut report) = (0, String::new());
    for number in 0..cases.count() {
        let verdict = |manner| {
            let token = token(number, manner);
            let items = seen.get(&token).cloned().unwrap_or_default();
            let wrong = cases.judge(number, behind, &token, &talks[&token], &items);
            // Without the token, so that the same failure in both manners is one.
            let wrong = wrong.iter().map(|line| line.replace(&token, "{case}")).collect::<Vec<_>>();
            (wrong, &talks[&token], items)
        };
        let (whole, pieces) = (verdict(Manner::Whole), verdict(Manner::Pieces));
        failed += usize::from(!whole.0.is_empty() || !pieces.0.is_empty());
        let is_same = whole.0 == pieces.0;
        if !whole.0.is_empty() {
            let manners = if is_same { "whole and in pieces" } else { "whole" };
            report += &cases.report(number, manners, &whole.0, whole.1, &whole.2);
        }
        if !pieces.0.is_empty() && !is_same {
            report += &cases.report(number, "in pieces", &pieces.0, pieces.1, &pieces.2);
        }
    }
    for item in &stray {
        report += &format!("bytes of no case reached the backend: {}\n", item.raw().escape_ascii());
    }
    let may_refuse = |item: &Item| {
        let number = |token: &String| token[1..5].parse().unwrap_or(usize::MAX);
        tokens_in(item.raw()).iter().map(number).any(|number| cases.may_be_refused(number, behind))
    };
    let differences: Vec<String> =
        connections.iter().flat_map(|connection| connection.differences(may_refuse)).collect();
    for difference in &differences {
        report += &format!("{difference}\n");
    }
    let count = cases.count();
    assert!(
        failed == 0 && stray.is_empty() && differences.is_empty(),
        "{failed} of {count} cases failed, {} stray requests, {} read in another way by the backend:\n{report}",
        stray.len(),
        differences.len()
    );
    let items: usize = connections.iter().map(|connection| connection.items.len()).sum();
    println!("{count} cases before {behind:?}: {items} requests over {} connections", connections.len());
}
