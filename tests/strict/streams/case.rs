//! The cases of HTTP/2, as they stand in `corpus/http2/*.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::case::{Behind, Reaches, Values, expand};
use super::super::judge::Meaning;
use super::super::parse::Framing;
use super::super::road::Over;
use super::wire::List;

/// One stream: what is sent over it, and what must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamCase {
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) why: String,
    method: Option<String>,
    scheme: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    /// Pseudo-header fields that are not sent.
    #[serde(default)]
    without: Vec<String>,
    /// The fields behind them.
    #[serde(default)]
    send: Vec<(String, String)>,
    /// How often these are sent.
    times: Option<usize>,
    /// The whole list, in its order, instead of all that.
    head: Option<Vec<(String, String)>>,
    #[serde(default)]
    data: Vec<String>,
    trailers: Option<Vec<(String, String)>>,
    pub(crate) answer: Vec<u16>,
    #[serde(default)]
    pub(crate) accept_or_refuse: bool,
    /// The status by which it is accepted.
    #[serde(default = "ok")]
    pub(crate) granted: u16,
    /// In small pieces, it may be granted what it announces before what makes it wrong is there.
    #[serde(default)]
    pub(crate) answered_early: bool,
    /// Why it may be accepted though the standard has it refused.
    pub(crate) deviates: Option<String>,
    #[serde(default)]
    pub(crate) reaches: Reaches,
    pub(crate) line: Option<Values>,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, Values>,
    #[serde(default)]
    pub(crate) absent: Vec<String>,
    /// Fields that it must have once, with any value.
    #[serde(default)]
    pub(crate) once: Vec<String>,
    pub(crate) body: Option<String>,
    pub(crate) framing: Option<Framing>,
    #[serde(default)]
    pub(crate) refused_by: Vec<Behind>,
    #[serde(skip)]
    pub(crate) file: String,
}

fn ok() -> u16 {
    200
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<StreamCase>,
}

/// A case as it is sent.
pub(super) struct Sent {
    pub(super) head: List,
    pub(super) data: Vec<Vec<u8>>,
    pub(super) trailers: Option<List>,
}

impl StreamCase {
    pub(crate) fn parse(file: &str, text: &str) -> Vec<Self> {
        let File { case: mut cases } = toml::from_str(text).unwrap_or_else(|why| panic!("{file}: {why}"));
        for case in &mut cases {
            file.clone_into(&mut case.file);
            if let Some(why) = case.contradiction() {
                panic!("{file}: {}: {why}", case.name);
            }
        }
        cases
    }

    fn contradiction(&self) -> Option<&'static str> {
        let accepts = self.answer.contains(&self.granted);
        let has_pseudo =
            [&self.method, &self.scheme, &self.authority, &self.path].iter().any(|it| it.is_some());
        if self.name.is_empty() || self.section.is_empty() || self.why.is_empty() {
            return Some("it has no name, no section or no reason");
        }
        if self.answer.is_empty() || self.accept_or_refuse != (accepts && self.answer.len() > 1) {
            return Some("accept_or_refuse goes with the granting status and others, and only with both");
        }
        if self.answered_early && (accepts || self.reaches != Reaches::WhatWasAnnounced) {
            return Some(
                "answered_early goes with what is refused, and of which the backend may see what was announced",
            );
        }
        if self.deviates.is_some() && !self.accept_or_refuse {
            return Some("a deviation is a choice that the standard doesn't leave");
        }
        if self.line.is_some() != (accepts || self.reaches == Reaches::WhatWasAnnounced) {
            return Some("what is accepted needs its request line, and only that");
        }
        if self.head.is_some() && (has_pseudo || !self.send.is_empty() || !self.without.is_empty()) {
            return Some("head is the whole list");
        }
        let sent = self.sent("k0000w");
        let texts = sent.head.iter().flat_map(|(name, value)| [name, value]).chain(&sent.data);
        if !texts.into_iter().any(|text| text.windows(6).any(|part| part == b"k0000w")) {
            return Some("what reaches the backend can't be told from other cases without {case}");
        }
        None
    }

    pub(super) fn sent(&self, token: &str) -> Sent {
        let pseudo = |name: &str, given: &Option<String>, usual: &str| {
            let value = given.as_deref().unwrap_or(usual).to_owned();
            (!self.without.iter().any(|other| other == name)).then(|| (name.to_owned(), value))
        };
        let usual = [
            pseudo(":method", &self.method, "GET"),
            pseudo(":scheme", &self.scheme, "http"),
            pseudo(":authority", &self.authority, "a.test"),
            pseudo(":path", &self.path, "/{case}"),
        ];
        let usual = || {
            let send = std::iter::repeat_n(&self.send, self.times.unwrap_or(1)).flatten();
            usual.iter().flatten().chain(send).cloned().collect()
        };
        let list = |pairs: &Vec<(String, String)>| {
            pairs.iter().map(|(name, value)| (expand(name, token), expand(value, token))).collect()
        };
        Sent {
            head: list(&self.head.clone().unwrap_or_else(usual)),
            data: self.data.iter().map(|text| expand(text, token)).collect(),
            trailers: self.trailers.as_ref().map(list),
        }
    }

    pub(super) fn meaning(&self) -> Meaning<'_> {
        Meaning {
            line: self.line.as_ref(),
            fields: &self.fields,
            absent: &self.absent,
            body: self.body.as_deref(),
            framing: self.framing,
        }
    }
}

/// All of them, in the order of their files.
pub(super) fn corpus(over: Over) -> Vec<StreamCase> {
    let files = super::super::case::files("tests/strict/corpus/http2", over.scheme());
    let cases: Vec<StreamCase> =
        files.iter().flat_map(|(name, text)| StreamCase::parse(name, text)).collect();
    super::super::case::check_names(cases.iter().map(|case| case.name.as_str()));
    cases
}
