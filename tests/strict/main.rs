//! A strictness corpus for HTTP/1.1 and HTTP/2: what could be read in two ways is refused or made unambiguous, and what is
//! legal comes through unchanged. The cases are data, in `corpus/`; here they are sent, each on a connection of its own, in
//! clear text and over TLS, to the real program, in front of a backend that writes down every byte, and in front of real ones.

mod behind;
mod case;
// The wire tests use all of it, this one only the process.
#[allow(dead_code, unused_imports)]
#[path = "../wire/harness/mod.rs"]
mod harness;
mod judge;
mod parse;
mod recorder;
mod road;
mod selftest;
mod stage;
mod streams;
mod talk;

use case::{Behind, Case};
use recorder::Item;
use road::{Over, Road};
use talk::{Manner, Talk};

/// The cases of HTTP/1.1.
struct Corpus(Vec<Case>);

impl Corpus {
    fn read(over: Over) -> Self {
        let cases = case::corpus(over.scheme());
        assert!(cases.len() >= 120, "only {} cases were found", cases.len());
        Self(cases)
    }
}

impl stage::Cases for Corpus {
    type Talk = Talk;

    const PROTOCOL: &str = "http/1.1";

    fn count(&self) -> usize {
        self.0.len()
    }

    fn talk(&self, number: usize, road: &Road, token: &str, manner: Manner) -> Talk {
        talk::talk(road.walk(), &self.0[number], token, manner)
    }

    fn judge(&self, number: usize, behind: Behind, token: &str, talk: &Talk, items: &[&Item]) -> Vec<String> {
        judge::judge(behind, &self.0[number], token, talk, items)
    }

    fn report(&self, number: usize, manners: &str, wrong: &[String], talk: &Talk, items: &[&Item]) -> String {
        judge::report(&self.0[number], manners, wrong, talk, items)
    }

    fn may_be_refused(&self, number: usize, by: Behind) -> bool {
        self.0.get(number).is_some_and(|case| case.refused_by.contains(&by))
    }
}

#[test]
fn every_case_of_the_corpus_is_read_in_one_way_only() {
    for over in Over::BOTH {
        stage::play(&Corpus::read(over), Behind::Recorder, over);
    }
}

#[test]
fn node_understands_of_every_case_what_ghostpin_has_understood() {
    for over in Over::BOTH {
        stage::play(&Corpus::read(over), Behind::Node, over);
    }
}

#[test]
fn nginx_understands_of_every_case_what_ghostpin_has_understood() {
    for over in Over::BOTH {
        stage::play(&Corpus::read(over), Behind::Nginx, over);
    }
}
