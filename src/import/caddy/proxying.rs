//! `reverse_proxy`: the backends that it names, and what its block says of them.

use super::super::draft::Note;
use super::blocks::Block;

/// What ghostpin tells the backend of every request by itself, however it is written.
const TOLD_ANYWAY: [(&str, &[&str]); 4] = [
    ("host", &["{host}", "{http.request.host}", "{hostport}", "{http.request.hostport}"]),
    ("x-forwarded-for", &["{remote_host}", "{http.request.remote.host}"]),
    ("x-forwarded-proto", &["{scheme}", "{http.request.scheme}"]),
    ("x-forwarded-host", &["{host}", "{http.request.host}", "{hostport}", "{http.request.hostport}"]),
];

/// What a `reverse_proxy` comes to.
#[derive(Debug, Default)]
pub(super) struct Proxying {
    /// None, if they can't be ghostpin's; then the notes say why.
    pub(super) backends: Vec<String>,
    /// Fixed fields for the backend, and their lines.
    pub(super) headers: Vec<(usize, String, String)>,
    pub(super) notes: Vec<Note>,
}

impl Proxying {
    pub(super) fn of(one: &Block, upstreams: &[String]) -> Self {
        let mut all: Vec<&String> = upstreams.iter().collect();
        let mut proxying = Self::default();
        let mut refused = None;
        for inner in one.block.iter().flatten() {
            match inner.words.as_slice() {
                [name, to @ ..] if name == "to" => all.extend(to),
                [name, field, value] if name == "header_up" => proxying.header(inner, field, value),
                _ => {
                    refused = refused.or_else(|| refusal(inner));
                    proxying.notes.extend(inner.untaken("`reverse_proxy`: ", ""));
                }
            }
        }
        for upstream in all {
            let found = refused.map_or_else(|| backend(upstream), Err);
            match found {
                Ok(backend) => proxying.backends.push(backend),
                Err(why) => proxying
                    .note(one.line, format!("`{upstream}` is no backend that ghostpin could have: {why}")),
            }
        }
        proxying
    }

    fn header(&mut self, inner: &Block, field: &str, value: &str) {
        let is_told =
            |(name, values): &(&str, &[&str])| field.eq_ignore_ascii_case(name) && values.contains(&value);
        if TOLD_ANYWAY.iter().any(is_told) {
            return;
        }
        let why = if value.contains('{') || field.contains('{') {
            "a header field has one fixed value"
        } else if field.starts_with(['-', '+', '?', '>']) {
            "a header field is replaced, and nothing else"
        } else if field.eq_ignore_ascii_case("host") {
            "the backend is told the host that was asked for"
        } else {
            return self.headers.push((inner.line, field.to_owned(), value.to_owned()));
        };
        self.note(inner.line, format!("`reverse_proxy`: {}: {why}", inner.in_words()));
    }

    fn note(&mut self, line: usize, text: String) {
        self.notes.push(Note { line: line.into(), text });
    }
}

/// Why nothing can be sent to backends of which a block says this.
fn refusal(inner: &Block) -> Option<&'static str> {
    let words: Vec<&str> = inner.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["rewrite" | "method", ..] => Some("it is asked for something else than the reader has asked for"),
        ["transport", "http", ..] => inner.block.iter().flatten().find_map(|inner| {
            let versions = inner.words.get(1..).unwrap_or_default();
            match inner.name() {
                name if name.starts_with("tls") => {
                    Some("backends are spoken to in clear text, and it is one for TLS")
                }
                "proxy_protocol" => Some("it expects the PROXY protocol"),
                "versions" if !versions.iter().any(|version| version == "1.1") => {
                    Some("backends are spoken to over HTTP/1.1")
                }
                _ => None,
            }
        }),
        ["transport", ..] => Some("backends are spoken to over HTTP/1.1"),
        _ => None,
    }
}

fn backend(upstream: &str) -> Result<String, &'static str> {
    if upstream.contains('{') {
        return Err("a placeholder decides");
    }
    if let Some(path) = upstream.strip_prefix("unix/") {
        return Ok(format!("unix:{path}"));
    }
    let rest = match upstream.split_once("://") {
        Some(("http", rest)) => rest,
        Some(_) => return Err("backends are spoken to in clear text, over HTTP/1.1"),
        None => upstream,
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains('/') {
        return Err("it changes the path");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, port),
        _ => (rest, "80"),
    };
    match (host, port.parse::<u16>()) {
        (_, Err(_)) => Err("a range of ports"),
        ("", Ok(port)) => Ok(format!("localhost:{port}")),
        (host, Ok(port)) => Ok(format!("{host}:{port}")),
    }
}
