//! What is found in another proxy's configuration, before it is written down: sites, and what could not be taken over.

use std::collections::BTreeSet;

use crate::config;

/// A line of one of the files that are read; the first is the one that was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) file: usize,
    pub(super) number: usize,
}

impl From<usize> for Line {
    fn from(number: usize) -> Self {
        Self { file: 0, number }
    }
}

/// A line, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Note {
    pub(super) line: Line,
    pub(super) text: String,
}

/// A path of its own, as it was written, with all its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) line: Line,
    pub(super) path: String,
    pub(super) backends: Vec<String>,
}

/// A path that became no route. Who answers it instead is told when all routes are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) path: String,
    pub(super) note: Note,
}

/// One site, or a block that says something of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    /// The line at which it begins.
    pub(super) line: Line,
    pub(super) hosts: Vec<String>,
    /// The first is pinned.
    pub(super) backends: Vec<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) redirect: Option<bool>,
    /// Fixed header fields for the backend.
    pub(super) headers: Vec<(String, String)>,
    /// Path prefixes, and who answers them.
    pub(super) routes: Vec<Route>,
    pub(super) refused: Vec<Refused>,
    /// Where it is answered for, if that is not everywhere.
    pub(super) listens: BTreeSet<String>,
    pub(super) notes: Vec<Note>,
}

/// How certificates are ordered.
#[derive(Debug, Default)]
pub(super) struct Acme {
    /// Of the authority, if it is not the usual one.
    pub(super) directory: Option<String>,
    /// An address for the authority.
    pub(super) contact: Option<String>,
    /// What says that they come from elsewhere, or that none are ordered.
    pub(super) against: Vec<Note>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) http: BTreeSet<String>,
    pub(super) https: BTreeSet<String>,
    /// The proxy orders certificates by itself.
    pub(super) acme: Option<Acme>,
    pub(super) sites: Vec<Site>,
    /// The files that were read beside the one that was named.
    pub(super) included: Vec<String>,
    pub(super) notes: Vec<Note>,
}

impl Site {
    pub(super) fn at(line: impl Into<Line>) -> Self {
        Self { line: line.into(), ..Self::default() }
    }

    pub(super) fn note(&mut self, line: impl Into<Line>, text: impl Into<String>) {
        self.notes.push(Note { line: line.into(), text: text.into() });
    }

    /// Sets a header field for the backend. A field has one value: the first.
    pub(super) fn add_header(&mut self, line: impl Into<Line>, field: &str, value: &str) {
        match self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(field)) {
            Some((_, known)) if known == value => {}
            Some((_, known)) => {
                let text = format!("`{field}: {value}`: the field is `{known}` already");
                self.note(line, text);
            }
            None => self.headers.push((field.to_owned(), value.to_owned())),
        }
    }

    /// Adds a path of its own. Whether it becomes a route is decided when all of the site is known.
    pub(super) fn add_route(&mut self, line: impl Into<Line>, path: &str, backends: &[String]) {
        let (line, path) = (line.into(), path.to_owned());
        if backends.is_empty() {
            let text = format!("`{path}` had nothing that could be taken over");
            self.refuse(line, &path, text);
        } else {
            self.routes.push(Route { line, path, backends: backends.to_vec() });
        }
    }

    /// Tells of a path that becomes no route, and later on of who answers it instead.
    pub(super) fn refuse(&mut self, line: impl Into<Line>, path: &str, text: impl Into<String>) {
        let note = Note { line: line.into(), text: text.into() };
        self.refused.push(Refused { path: path.to_owned(), note });
    }

    /// Tells of a path that is for some hosts only, where its site has others, too.
    pub(super) fn tell_of_wider_path(&mut self, line: usize, path: &str, hosts: &[String]) {
        if self.hosts.iter().any(|host| !is_among(host, hosts)) {
            let hosts = hosts.join(" ");
            self.note(line, format!("`{path}` is for {hosts} only; here it holds for all of the site"));
        }
    }

    /// A certificate whose file is chosen anew for each connection, or a key alone, is none that a site can have.
    fn leave_odd_pair(&mut self) {
        let files = [&self.certificate, &self.key].into_iter().flatten();
        let is_chosen = files.clone().any(|file| file.contains(['$', '{']));
        if is_chosen || self.certificate.is_none() {
            for file in files.cloned().collect::<Vec<_>>() {
                let why = if is_chosen {
                    "a certificate is one file, without variables"
                } else {
                    "no certificate is with it"
                };
                self.note(self.line, format!("`{file}`: {why}"));
            }
            (self.certificate, self.key) = (None, None);
        }
    }
}

/// The wildcards that a host is below of, the nearest first.
pub(super) fn wildcards(host: &str) -> impl Iterator<Item = String> + '_ {
    let bare = host.strip_prefix("*.").unwrap_or(host);
    bare.match_indices('.').map(|(dot, _)| format!("*{}", &bare[dot..]))
}

/// Whether a host is one of these, or below a wildcard of them.
pub(super) fn is_among(host: &str, hosts: &[String]) -> bool {
    hosts
        .iter()
        .any(|known| known == host || known.strip_prefix('*').is_some_and(|domain| host.ends_with(domain)))
}

/// A host as all are written, if it is one.
pub(super) fn one_text(host: &str) -> String {
    config::host(host).unwrap_or_else(|_| host.to_owned())
}

impl Draft {
    /// A line, as it is told: with its file, if it is in one that was included.
    pub(super) fn words(&self, line: Line) -> String {
        match line.file.checked_sub(1).and_then(|included| self.included.get(included)) {
            Some(file) => format!("{file} line {}", line.number),
            None => format!("line {}", line.number),
        }
    }

    pub(super) fn note(&mut self, line: impl Into<Line>, text: impl Into<String>) {
        self.notes.push(Note { line: line.into(), text: text.into() });
    }

    /// Takes a block in: a site, or what is said of one. What becomes of it is decided when all of them are known.
    pub(super) fn add(&mut self, mut site: Site) {
        let mut hosts: Vec<String> = Vec::new();
        for host in std::mem::take(&mut site.hosts) {
            match config::host(&host) {
                Ok(host) if hosts.contains(&host) => {}
                Ok(host) => hosts.push(host),
                Err(why) => site.note(site.line, format!("this host is none that a site can have: {why}")),
            }
        }
        site.hosts = hosts;
        for (field, value) in std::mem::take(&mut site.headers) {
            site.add_header(site.line, &field, &value);
        }
        site.leave_odd_pair();
        self.sites.push(site);
    }
}
