//! Rules of a frontend as sites and their routes. HAProxy takes the first rule that fits, ghostpin the narrowest: where
//! that is another one, the rule that HAProxy would never come to is left out, and told of.

use std::collections::BTreeMap;

use super::super::draft::{Draft, Site, is_among, wildcards};
use super::conditions::Choice;
use super::sections::Section;
use super::servers::servers;

/// A site, and what the rules so far have taken of its paths.
struct Drawn<'a> {
    site: Site,
    /// The backend that it was written for.
    backend: &'a str,
    taken: Vec<Taken>,
}

/// A beginning of paths, as it was written, and who answers it.
struct Taken {
    path: String,
    backends: Vec<String>,
}

/// What the rules of one frontend become.
#[derive(Default)]
pub(super) struct Sites<'a> {
    all: Vec<Drawn<'a>>,
    /// Which of them is the first that has a host.
    first: BTreeMap<String, usize>,
    /// What is about paths of hosts that have no site.
    rest: Vec<Site>,
}

impl<'a> Sites<'a> {
    /// Adds the site of whole hosts, but for those that a rule before this one takes. Whether any are left.
    pub(super) fn whole(&mut self, mut site: Site, target: &'a Section) -> bool {
        let line = site.line;
        let backend = target.name.as_str();
        for host in std::mem::take(&mut site.hosts) {
            match self.before(&host, backend) {
                None => site.hosts.push(host),
                Some((wildcard, first)) => {
                    let number = first.line.number;
                    let why = format!("the rule of line {number} takes it, as all of `{wildcard}`");
                    first.note(line, format!("`{host}`: {why}"));
                }
            }
        }
        let is_any = !site.hosts.is_empty();
        if is_any {
            servers(target, &mut site);
            for host in &site.hosts {
                self.first.entry(host.clone()).or_insert(self.all.len());
            }
            self.all.push(Drawn { site, backend, taken: Vec::new() });
        }
        is_any
    }

    /// The site that all of a host goes to before a rule for another backend is come to.
    fn before(&mut self, host: &str, backend: &str) -> Option<(String, &mut Site)> {
        let names = std::iter::once(host.to_owned()).chain(wildcards(host));
        let (at, name) = names.filter_map(|name| Some((*self.first.get(&name)?, name))).min()?;
        let Drawn { site, backend: its, .. } = &mut self.all[at];
        (name != host && *its != backend).then_some((name, site))
    }

    /// Adds a rule about paths, once all whole hosts are known.
    pub(super) fn route(&mut self, line: usize, choice: &Choice, target: &Section, draft: &mut Draft) {
        let Choice { hosts, paths, .. } = choice;
        let other = of_paths(line, choice, target);
        let is_meant = |site: &Site| hosts.is_empty() || site.hosts.iter().any(|host| is_among(host, hosts));
        let mut found = false;
        for drawn in self.all.iter_mut().filter(|drawn| is_meant(&drawn.site)) {
            found = true;
            for path in paths {
                drawn.path(line, path, hosts, &other.backends);
            }
            drawn.site.add_notes(other.notes.iter().cloned());
        }
        let unknown: Vec<String> =
            hosts.iter().filter(|host| !self.first.contains_key(*host)).cloned().collect();
        if !unknown.is_empty() {
            let mut site = Site { hosts: unknown, backends: Vec::new(), ..other.clone() };
            for path in paths {
                site.add_route(line, path.trim_end_matches('/'), &other.backends);
            }
            self.rest.push(site);
        } else if !found {
            let paths = paths.join(" ");
            draft.note(line, format!("`{paths}` of any host: nothing answers for the rest of it"));
            draft.notes.extend(other.notes);
        }
    }

    pub(super) fn add_to(self, draft: &mut Draft) {
        let whole = self.all.into_iter().map(|drawn| drawn.site);
        whole.chain(self.rest).for_each(|site| draft.add(site));
    }
}

impl Drawn<'_> {
    /// A path of the site, if no rule before this one takes it.
    fn path(&mut self, line: usize, path: &str, hosts: &[String], backends: &[String]) {
        let Self { site, taken, .. } = self;
        let prefix = path.trim_end_matches('/');
        if site.line.number < line {
            return site.note(line, format!("`{path}`: the rule before it takes all of the host"));
        }
        let first = taken.iter().find(|taken| path.starts_with(&taken.path));
        if let Some(first) = first.filter(|first| first.backends != backends) {
            let begin = &first.path;
            let why = format!("the rule before it takes it, as all that begins with `{begin}`");
            site.note(line, format!("`{path}`: {why}"));
            // A route of `/v` has nothing of `/v1`, which that rule is for, too.
            if !path[begin.len()..].starts_with('/') && !begin.ends_with('/') && path != begin {
                site.add_route(line, prefix, &first.backends);
            }
            return;
        }
        taken.push(Taken { path: path.to_owned(), backends: backends.to_vec() });
        if prefix.is_empty() {
            return site.note(line, format!("`{path}` is the whole site"));
        }
        if prefix == path && !backends.is_empty() {
            let why = format!("a route is for `{path}` and all below it, not for `{path}x`");
            site.note(line, format!("`{path}`: {why}"));
        }
        if !hosts.is_empty() {
            site.tell_of_wider_path(line, path, hosts);
        }
        site.add_route(line, prefix, backends);
    }
}

/// The backend of a rule about paths, with what is to be told of it.
fn of_paths(line: usize, choice: &Choice, target: &Section) -> Site {
    let mut other = Site::at(line);
    servers(target, &mut other);
    for (field, _) in std::mem::take(&mut other.headers) {
        let why = "a route has no header fields of its own";
        other.note(line, format!("`{field}` of `backend {}`: {why}", target.name));
    }
    if choice.is_caseless {
        let paths = choice.paths.join(" ");
        other.note(line, format!("`{paths}`: only paths in this case are meant"));
    }
    other
}
