//! What is found in another proxy's configuration, before it is written down: sites, and what could not be taken over.

use std::collections::BTreeSet;

use crate::config;

/// A line of one of the files that are read; the first is the one that was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) line: Line,
    pub(super) text: String,
}

/// One site.
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
    pub(super) routes: Vec<(String, String)>,
    pub(super) notes: Vec<Note>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) http: BTreeSet<String>,
    pub(super) https: BTreeSet<String>,
    /// The proxy orders certificates by itself; an address for the authority, if one is said.
    pub(super) acme: Option<Option<String>>,
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

    /// Adds a path of its own. What a route can't say is noted.
    pub(super) fn add_route(&mut self, line: impl Into<Line> + Copy, path: &str, backends: &[String]) {
        let Some(first) = backends.first() else { return };
        if backends == self.backends {
            return self
                .note(line, format!("`{path}` goes to the same backend as the rest: nothing is lost"));
        }
        if backends.len() > 1 {
            let all = backends.join(", ");
            self.note(
                line,
                format!("`{path}` goes to several servers ({all}); a route has one, and is not pinned"),
            );
        }
        self.routes.push((path.to_owned(), first.clone()));
    }
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

    /// Takes a site in. A host that another site has already stays there; a site that is another one's twin (the same
    /// backends, in clear text and over TLS) becomes part of it.
    pub(super) fn add(&mut self, mut site: Site) {
        let mut hosts: Vec<String> = Vec::new();
        for host in std::mem::take(&mut site.hosts) {
            match config::host(&host) {
                Ok(host) if hosts.contains(&host) => {}
                Ok(host) => hosts.push(host),
                Err(why) => site.note(site.line, format!("this host is none that a site can have: {why}")),
            }
        }
        let known = self.sites.iter().position(|other| other.hosts.iter().any(|host| hosts.contains(host)));
        if let Some(known) = known
            && (site.backends.is_empty()
                || self.sites[known].backends.is_empty()
                || self.sites[known].backends == site.backends)
        {
            return self.sites[known].join(hosts, site);
        }
        hosts.retain(|host| {
            let owner = self.sites.iter().find(|other| other.hosts.contains(host));
            if let Some(owner) = owner {
                let (owner, line) = (self.words(owner.line), site.line);
                site.notes.push(Note {
                    line,
                    text: format!("`{host}` is a host of the site of {owner} already, with other backends: it stays there"),
                });
            }
            owner.is_none()
        });
        site.hosts = hosts;
        self.sites.push(site);
    }
}

impl Site {
    fn join(&mut self, hosts: Vec<String>, other: Site) {
        for host in hosts {
            if !self.hosts.contains(&host) {
                self.hosts.push(host);
            }
        }
        if self.backends.is_empty() {
            self.backends = other.backends;
        }
        self.certificate = self.certificate.take().or(other.certificate);
        self.key = self.key.take().or(other.key);
        self.redirect = self.redirect.or(other.redirect);
        for header in other.headers {
            if !self.headers.contains(&header) {
                self.headers.push(header);
            }
        }
        for route in other.routes {
            if !self.routes.contains(&route) {
                self.routes.push(route);
            }
        }
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}
