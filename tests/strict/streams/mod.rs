//! Requests of HTTP/2, which a backend of HTTP/1.1 must not find to be something else. A list of fields may hold what no text
//! of HTTP/1.1 can: line ends in a name, spaces in a path, two lengths. Written down as text, it would be another request, or
//! several. So each case is a list as a client may send it, frame by frame, in front of the same backends.

mod case;
mod judge;
mod selftest;
mod talk;
mod wire;

use super::case::Behind;
use super::recorder::Item;
use super::road::{Over, Road};
use super::stage::{self, Cases};
use super::talk::Manner;

use case::StreamCase;
use talk::{Outcome, Talk};

/// The cases of HTTP/2.
struct Streams(Vec<StreamCase>);

impl Streams {
    fn read(over: Over) -> Self {
        let cases = case::corpus(over);
        assert!(cases.len() >= 100, "only {} cases were found", cases.len());
        Self(cases)
    }
}

impl Cases for Streams {
    type Talk = Talk;

    const PROTOCOL: &str = "h2";

    fn count(&self) -> usize {
        self.0.len()
    }

    fn talk(&self, number: usize, road: &Road, token: &str, manner: Manner) -> Talk {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            match road.walk_async().await {
                Ok(stream) => talk::talk(stream, &self.0[number], token, manner).await,
                Err(error) => Talk { case: Outcome::Garbled(error.to_string()), last: None },
            }
        })
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
fn every_stream_of_the_corpus_is_one_request_of_http_1_1_or_none() {
    for over in Over::BOTH {
        stage::play(&Streams::read(over), Behind::Recorder, over);
    }
}

#[test]
fn node_understands_of_every_stream_what_ghostpin_has_understood() {
    for over in Over::BOTH {
        stage::play(&Streams::read(over), Behind::Node, over);
    }
}

#[test]
fn nginx_understands_of_every_stream_what_ghostpin_has_understood() {
    for over in Over::BOTH {
        stage::play(&Streams::read(over), Behind::Nginx, over);
    }
}
