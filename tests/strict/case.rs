//! The corpus as it stands in `corpus/*.toml`: see `corpus/README.md` for what a case may say. A case that contradicts
//! itself is refused here, before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::parse::Framing;

/// One connection: what is sent over it, and what must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) why: String,
    pub(crate) send: String,
    /// Sent when a 100 has come.
    pub(crate) then: Option<String>,
    /// The statuses of the first answer.
    pub(crate) answer: Vec<u16>,
    #[serde(default)]
    pub(crate) accept_or_refuse: bool,
    #[serde(default)]
    pub(crate) interim: Vec<u16>,
    pub(crate) after: Option<After>,
    #[serde(default)]
    pub(crate) close_after_send: bool,
    #[serde(default)]
    pub(crate) reaches: Reaches,
    pub(crate) line: Option<Values>,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, Values>,
    #[serde(default)]
    pub(crate) absent: Vec<String>,
    pub(crate) body: Option<String>,
    pub(crate) framing: Option<Framing>,
    #[serde(default = "one")]
    pub(crate) requests: usize,
    /// The request lines of the accepted requests after the first.
    #[serde(default)]
    pub(crate) next: Vec<String>,
    /// The statuses of a refusal that follows the accepted requests.
    #[serde(default)]
    pub(crate) next_answer: Vec<u16>,
    /// The servers that take it for no request, or for none that they serve, however it is written.
    #[serde(default)]
    pub(crate) refused_by: Vec<Behind>,
    /// The file it comes from.
    #[serde(skip)]
    pub(crate) file: String,
}

/// Which backend is behind ghostpin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Behind {
    /// One that writes down what it is given.
    Recorder,
    Node,
    Nginx,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum After {
    Closed,
    Open,
    Either,
}

/// What the backend may see of a refused request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reaches {
    #[default]
    Nothing,
    /// A beginning, since bodies are passed on as they come; it must never look like a whole request.
    NoWholeRequest,
    /// The request that its head announces, whole or not, for what makes it wrong comes behind that.
    WhatWasAnnounced,
}

/// One text, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Values {
    One(String),
    Many(Vec<String>),
}

impl Values {
    pub(crate) fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

impl Case {
    /// From the text of a file.
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

    pub(crate) fn accepts(&self) -> bool {
        self.answer.contains(&200)
    }

    fn contradiction(&self) -> Option<&'static str> {
        let refuses = self.answer.iter().any(|status| *status != 200);
        let says_meaning = self.line.is_some()
            || self.body.is_some()
            || self.framing.is_some()
            || !self.fields.is_empty()
            || !self.absent.is_empty();
        if !self.send.contains("{case}") {
            return Some("what reaches the backend can't be told from other cases without {case}");
        }
        if self.name.is_empty() || self.section.is_empty() || self.why.is_empty() {
            return Some("it has no name, no section or no reason");
        }
        if self.answer.is_empty() && !self.close_after_send {
            return Some("no answer is only possible for a client that has left");
        }
        if self.accept_or_refuse != (self.accepts() && refuses) {
            return Some("accept_or_refuse goes with 200 and other statuses, and only with both");
        }
        if self.reaches == Reaches::WhatWasAnnounced {
            return Some("over HTTP/1.1 what comes behind a request is another one");
        }
        if says_meaning && !self.accepts() {
            return Some("what is refused has no meaning to state");
        }
        if self.accepts() && self.line.is_none() {
            return Some("what is accepted needs its request line");
        }
        if !self.refused_by.is_empty() && (!self.accepts() || self.requests != 1) {
            return Some(
                "a backend can refuse only what is passed on, and more than one request is not told apart",
            );
        }
        if self.requests != 1 + self.next.len() {
            return Some("requests must be one more than there are lines in next");
        }
        None
    }
}

/// All cases, in the order of their files, for clients that come by this scheme.
pub(crate) fn corpus(scheme: &str) -> Vec<Case> {
    let files = files("tests/strict/corpus", scheme);
    let cases: Vec<Case> = files.iter().flat_map(|(name, text)| Case::parse(name, text)).collect();
    check_names(cases.iter().map(|case| case.name.as_str()));
    cases
}

/// Names and texts of the TOML files of a folder of the repository, in the order of their names. A backend is told how the
/// client came, whatever the client says: `{scheme}`.
pub(crate) fn files(folder: &str, scheme: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(&folder).expect("a folder of the corpus");
    let mut files: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).expect("a file of the corpus");
        (name, text.replace("{scheme}", scheme))
    };
    files.iter().map(read).collect()
}

/// A name says which case has failed.
pub(crate) fn check_names<'a>(names: impl Iterator<Item = &'a str>) {
    let mut known = BTreeSet::new();
    for name in names {
        assert!(known.insert(name), "two cases have the name {name}");
    }
}

/// The bytes that a text of the corpus stands for: `{case}` is the case's token, `{repeat:TEXT:COUNT}` a text many
/// times, and `{bytes:80 ff}` bytes that no TOML text can have. Every other brace is one.
pub(crate) fn expand(text: &str, token: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        bytes.extend_from_slice(&rest.as_bytes()[..open]);
        rest = &rest[open..];
        let placeholder = rest.find('}').and_then(|close| Some((close, filled(&rest[1..close], token)?)));
        match placeholder {
            Some((close, filled)) => {
                bytes.extend(filled);
                rest = &rest[close + 1..];
            }
            None => {
                bytes.push(b'{');
                rest = &rest[1..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn filled(placeholder: &str, token: &str) -> Option<Vec<u8>> {
    if placeholder == "case" {
        return Some(token.as_bytes().to_vec());
    }
    if let Some(hex) = placeholder.strip_prefix("bytes:") {
        return hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    }
    let (text, count) = placeholder.strip_prefix("repeat:")?.rsplit_once(':')?;
    Some(text.repeat(count.parse().ok()?).into_bytes())
}
