//! What becomes of the blocks, once all of them are known: the order in which they were written doesn't matter.
//!
//! Blocks that send one host to the same backends (in clear text and over TLS, say) are twins, and one site. A block
//! without a backend gives no host to anybody: what it says is said of the sites that have its hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::draft::{Draft, Line, Note, Refused, Route, Site, wildcards};
use super::written::leave_wrong_parts;

impl Draft {
    /// The draft with its sites as they are to be written: no host is in two of them.
    pub(super) fn settled(mut self) -> Self {
        for listens in [&mut self.http, &mut self.https] {
            *listens = std::mem::take(listens).into_iter().map(as_one_text).collect();
        }
        // Where one block speaks TLS, all do: nothing else could be meant by two at one address.
        self.http.retain(|address| !self.https.contains(address));
        let (whole, others): (Vec<Site>, Vec<Site>) =
            std::mem::take(&mut self.sites).into_iter().partition(|block| !block.backends.is_empty());
        let mut sites = Sites::default();
        for block in whole {
            sites.take(block, |line| self.words(line));
        }
        let left_out: Vec<Site> = others.into_iter().filter_map(|block| sites.hear(block)).collect();
        for (site, hosts) in &sites.redirected {
            sites.all[*site].redirect_those(hosts);
        }
        let everywhere: BTreeSet<&String> = self.http.union(&self.https).collect();
        let mut all = sites.all;
        all.retain(|site| !site.backends.is_empty());
        for site in &mut all {
            site.tell_of_more_listeners(&everywhere);
            // Who answers a path depends on the routes that stay.
            leave_wrong_parts(site);
            site.tidy();
            site.tell_who_answers();
        }
        all.extend(left_out);
        all.sort_by_key(|site| site.line);
        self.sites = all;
        self
    }
}

/// An address has several texts, and would be listened at twice.
fn as_one_text(address: String) -> String {
    address.parse::<SocketAddr>().map_or(address, |address| address.to_string())
}

/// Sites with backends.
#[derive(Default)]
struct Sites {
    /// One that became part of another is left empty.
    all: Vec<Site>,
    /// Which of them has a host.
    owners: BTreeMap<String, usize>,
    /// Hosts that a block without backends sends from clear text to TLS, for each site.
    redirected: BTreeMap<usize, BTreeSet<String>>,
}

impl Sites {
    /// Takes a block with backends in. A host that a site with other backends has stays there.
    fn take(&mut self, mut block: Site, of: impl Fn(Line) -> String) {
        let mut twins = BTreeSet::new();
        for host in std::mem::take(&mut block.hosts) {
            match self.owners.get(&host).copied() {
                None => block.hosts.push(host),
                Some(owner) if self.all[owner].backends == block.backends => drop(twins.insert(owner)),
                Some(owner) => {
                    let owner = of(self.all[owner].line);
                    block.note(
                        block.line,
                        format!("`{host}` is a host of the site of {owner} already, with other backends: it stays there"),
                    );
                }
            }
        }
        let Some(first) = twins.pop_first() else {
            self.owners.extend(block.hosts.iter().map(|host| (host.clone(), self.all.len())));
            return self.all.push(block);
        };
        let mut others: Vec<Site> =
            twins.into_iter().map(|twin| std::mem::take(&mut self.all[twin])).collect();
        others.push(block);
        for other in others {
            self.owners.extend(other.hosts.iter().map(|host| (host.clone(), first)));
            self.all[first].join(other, &of);
        }
    }

    /// Hears what a block without backends says of the sites that have its hosts. What is about no site is returned.
    fn hear(&mut self, mut block: Site) -> Option<Site> {
        let (known, unknown): (Vec<String>, Vec<String>) =
            std::mem::take(&mut block.hosts).into_iter().partition(|host| self.owners.contains_key(host));
        let owners: BTreeSet<usize> = known.iter().map(|host| self.owners[host]).collect();
        for owner in &owners {
            self.all[*owner].listens.extend(block.listens.iter().cloned());
        }
        if block.redirect == Some(true) {
            for host in &known {
                self.redirected.entry(self.owners[host]).or_default().insert(host.clone());
            }
        } else if !known.is_empty() {
            let hosts = known.join("`, `");
            block.note(
                block.line,
                format!("this block has no backend: of `{hosts}` the site's backend answers all"),
            );
        }
        for host in &unknown {
            if let Some((wildcard, owner)) = self.below(host) {
                self.all[owner].note(block.line, format!("`{host}` has a block of its own, which proxies nothing; here `{wildcard}` stands for it, too"));
            }
        }
        match owners.first() {
            Some(first) if unknown.is_empty() => {
                block.redirect = None;
                let notes = block.remains();
                self.all[*first].add_notes(notes);
                None
            }
            _ => {
                block.hosts = unknown;
                Some(block)
            }
        }
    }

    /// The wildcard of a site that a host, which is no site's own, is below of.
    fn below(&self, host: &str) -> Option<(String, usize)> {
        wildcards(host).find_map(|wildcard| {
            let owner = *self.owners.get(&wildcard)?;
            Some((wildcard, owner))
        })
    }
}

impl Site {
    /// All that a block says, in words, for where it becomes no site.
    pub(super) fn remains(&self) -> Vec<Note> {
        let mut notes = self.notes.clone();
        let mut tell = |line, text| notes.push(Note { line, text });
        if !self.backends.is_empty() {
            tell(self.line, format!("it is proxied to {}", self.backends.join(", ")));
        }
        if self.redirect == Some(true) {
            tell(self.line, "clear text is sent to TLS".to_owned());
        }
        if let Some(pair) = self.pair() {
            tell(self.line, pair);
        }
        for (field, value) in &self.headers {
            tell(self.line, format!("the header field `{field}: {value}` for the backend"));
        }
        for Route { line, path, backends } in &self.routes {
            tell(*line, format!("`{path}` goes to {}", backends.join(", ")));
        }
        notes.extend(self.refused.iter().map(|refused| refused.note.clone()));
        notes
    }

    /// Its certificate and key, in words.
    fn pair(&self) -> Option<String> {
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(format!("the certificate `{certificate}` with the key `{key}`"))
            }
            (Some(certificate), None) => Some(format!("the certificate `{certificate}`")),
            (None, Some(key)) => Some(format!("the key `{key}`")),
            (None, None) => None,
        }
    }

    /// Adds those that are not there yet.
    pub(super) fn add_notes(&mut self, notes: impl IntoIterator<Item = Note>) {
        let mut known: BTreeSet<Note> = self.notes.iter().cloned().collect();
        self.notes.extend(notes.into_iter().filter(|note| known.insert(note.clone())));
    }

    /// Takes a twin in: another block for some of the same hosts, with the same backends. What only one of them says
    /// holds for all of the site from now on, so it is told.
    fn join(&mut self, other: Site, of: impl Fn(Line) -> String) {
        let (here, there) = (of(self.line), of(other.line));
        let only =
            |place: &str| format!("is said in the block of {place} only; here it holds for all of the site");
        let mut notes = Vec::new();
        let mut tell = |line, text: String| notes.push(Note { line, text });
        if self.pair().is_none() {
            (self.certificate, self.key) = (other.certificate.clone(), other.key.clone());
        } else if let Some(pair) = other.pair().filter(|pair| self.pair().as_ref() != Some(pair)) {
            tell(other.line, format!("{pair}: a site has one, and keeps that of {here}"));
        }
        match (self.redirect, other.redirect) {
            (Some(one), Some(two)) if one != two => {
                tell(
                    other.line,
                    format!("`https.redirect = {two}` would fit this block: it is as in {here}"),
                );
            }
            (one, two) => self.redirect = one.or(two),
        }
        for (field, value) in &self.headers {
            if !other.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(field)) {
                tell(self.line, format!("`{field}: {value}` {}", only(&here)));
            }
        }
        for (field, value) in other.headers {
            match self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(&field)) {
                Some((_, known)) if *known == value => {}
                Some((_, known)) => {
                    tell(other.line, format!("`{field}: {value}`: the field is `{known}` already"))
                }
                None => {
                    tell(other.line, format!("`{field}: {value}` {}", only(&there)));
                    self.headers.push((field, value));
                }
            }
        }
        let has = |routes: &[Route], path: &str| routes.iter().any(|route| route.path == path);
        let differs = |route: &&Route| route.backends != self.backends;
        for route in self.routes.iter().filter(differs).filter(|route| !has(&other.routes, &route.path)) {
            tell(route.line, format!("the route `{}` {}", route.path, only(&here)));
        }
        for route in other.routes.iter().filter(differs).filter(|route| !has(&self.routes, &route.path)) {
            tell(route.line, format!("the route `{}` {}", route.path, only(&there)));
        }
        self.routes.extend(other.routes);
        self.refused.extend(other.refused);
        self.hosts.extend(other.hosts);
        self.listens.extend(other.listens);
        self.add_notes(other.notes);
        self.add_notes(notes);
    }

    /// Sends clear text to TLS, as another block does for these of its hosts.
    fn redirect_those(&mut self, hosts: &BTreeSet<String>) {
        let rest: Vec<&str> =
            self.hosts.iter().filter(|host| !hosts.contains(*host)).map(String::as_str).collect();
        match self.redirect {
            Some(true) => {}
            None if rest.is_empty() => self.redirect = Some(true),
            None => {
                let rest = rest.join("`, `");
                self.note(
                    self.line,
                    format!("`{rest}` was not sent from clear text to TLS; here all of the site is"),
                );
                self.redirect = Some(true);
            }
            Some(false) => {
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                let hosts = hosts.join("`, `");
                self.note(self.line, format!("another block sends `{hosts}` from clear text to TLS, this one answers in clear text: so does the site"));
            }
        }
    }

    /// ghostpin knows a site by its host alone.
    fn tell_of_more_listeners(&mut self, everywhere: &BTreeSet<&String>) {
        if self.listens.is_empty() {
            return;
        }
        let more: Vec<&str> =
            everywhere.iter().filter(|one| !self.listens.contains(**one)).map(|one| one.as_str()).collect();
        if !more.is_empty() {
            let own: Vec<&str> = self.listens.iter().map(String::as_str).collect();
            let (own, more) = (own.join(", "), more.join(", "));
            self.note(
                self.line,
                format!("it is answered for at {own} only; ghostpin does so at every address that it listens at, so also at {more}"),
            );
        }
    }

    /// Leaves of its backends and routes what a site can have, and tells of the rest.
    fn tidy(&mut self) {
        let mut routes: Vec<Route> = Vec::new();
        for route in std::mem::take(&mut self.routes) {
            let Route { line, path, backends } = &route;
            match routes.iter().find(|known| known.path == *path) {
                Some(known) if known.backends == *backends => {}
                Some(known) => {
                    let (to, instead) = (backends.join(", "), known.backends.join(", "));
                    let text = format!(
                        "`{path}` is there twice: this one, to {to}, is left out; it goes to {instead}"
                    );
                    self.note(*line, text);
                }
                None => routes.push(route),
            }
        }
        let (same, routes): (Vec<Route>, Vec<Route>) =
            routes.into_iter().partition(|route| route.backends == self.backends);
        for Route { line, path, .. } in same {
            let text = match longest(&routes, &path) {
                Some(above) => format!(
                    "`{path}` goes to the same backend as the rest, but is below `{}`: here it goes to {}",
                    above.path, above.backends[0]
                ),
                None => format!("`{path}` goes to the same backend as the rest: it needs no route"),
            };
            self.note(line, text);
        }
        for Route { line, path, backends } in routes.iter().filter(|route| route.backends.len() > 1) {
            let all = backends.join(", ");
            self.note(
                *line,
                format!("`{path}` goes to several servers ({all}); a route has one, and is not pinned"),
            );
        }
        self.routes = routes;
        let mut backends: Vec<String> = Vec::new();
        for backend in std::mem::take(&mut self.backends) {
            if backends.contains(&backend) {
                self.note(self.line, format!("`{backend}` is there twice: nothing is balanced"));
            } else {
                backends.push(backend);
            }
        }
        self.backends = backends;
    }

    /// Tells of each path that became no route who is asked for it instead.
    fn tell_who_answers(&mut self) {
        for Refused { path, note: Note { line, text } } in std::mem::take(&mut self.refused) {
            let to = match longest(&self.routes, &format!("{}/", path.trim_end_matches('/'))) {
                Some(above) => format!("{}, as all below `{}`", above.backends[0], above.path),
                None => "the site's backend".to_owned(),
            };
            self.note(line, format!("{text}: its requests go to {to}"));
        }
    }
}

/// The longest route that a path is below of.
fn longest<'a>(routes: &'a [Route], path: &str) -> Option<&'a Route> {
    let is_above = |route: &&Route| path.strip_prefix(&route.path).is_some_and(|rest| rest.starts_with('/'));
    routes.iter().filter(is_above).max_by_key(|route| route.path.len())
}
