//! HAProxy: frontends that choose a backend by the host, and their backends' servers.

mod conditions;
mod routes;
mod sections;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::draft::{Draft, Site, one_text};
use conditions::{Acls, Choice};
use routes::Sites;
use sections::{Section, sections};

/// Reads a `haproxy.cfg`.
pub(super) fn read(text: &str) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let (sections, strays) = sections(text)?;
    for (line, words) in strays {
        draft.note(line, format!("`{}` is in no section", words.join(" ")));
    }
    let mut backends: BTreeMap<&str, &Section> = BTreeMap::new();
    let mut frontends = Vec::new();
    for section in &sections {
        match section.kind.as_str() {
            "frontend" | "listen" => frontends.push(Frontend::of(section, &mut draft)),
            "backend" => drop(backends.insert(&section.name, section)),
            kind => {
                draft.note(section.line, format!("`{kind}`: what it says is about HAProxy"));
                for (line, words) in &section.lines {
                    draft.note(*line, format!("`{}` of `{kind}`", words.join(" ")));
                }
            }
        }
    }
    let everywhere: Vec<Bind> =
        frontends.iter().filter(|one| one.listens()).flat_map(|one| one.binds.clone()).collect();
    for bind in &everywhere {
        let listens = if bind.is_secure { &mut draft.https } else { &mut draft.http };
        listens.insert(bind.address.to_string());
    }
    let mut used = BTreeSet::new();
    for frontend in frontends {
        frontend.sites(&backends, &everywhere, &mut used, &mut draft);
    }
    for (name, section) in backends.iter().filter(|(name, _)| !used.contains(*name)) {
        draft.note(section.line, format!("`backend {name}`: no host leads to it"));
        for (line, words) in &section.lines {
            draft.note(*line, format!("`{}` of `backend {name}`", words.join(" ")));
        }
    }
    Ok(draft)
}

#[derive(Clone, Copy, Debug)]
struct Bind {
    address: SocketAddr,
    is_secure: bool,
}

impl Bind {
    /// Whether whoever reaches the other one could have been served here: the ports of the web are one place.
    fn covers(&self, other: &Self) -> bool {
        let port = |bind: &Self| if bind.address.port() == 443 { 80 } else { bind.address.port() };
        let (own, its) = (self.address.ip(), other.address.ip());
        port(self) == port(other) && (own == its || own.is_unspecified())
    }
}

/// One rule of a frontend: for which requests it is, in one way or another, and the backend that answers them.
/// Without a way, it is for all that no rule has.
struct Rule<'a> {
    line: usize,
    backend: &'a str,
    choices: Vec<Choice>,
}

struct Frontend<'a> {
    section: &'a Section,
    binds: Vec<Bind>,
    rules: Vec<Rule<'a>>,
    redirects: bool,
}

impl<'a> Frontend<'a> {
    fn of(section: &'a Section, draft: &mut Draft) -> Self {
        let mut frontend = Self { section, binds: Vec::new(), rules: Vec::new(), redirects: false };
        let lines: Vec<(usize, Vec<&str>)> = section
            .lines
            .iter()
            .map(|(line, words)| (*line, words.iter().map(String::as_str).collect()))
            .collect();
        // A rule may name what a later line adds to.
        let mut acls = Acls::default();
        for (line, words) in &lines {
            if let ["acl", name, asks @ ..] = words.as_slice()
                && let Err(why) = acls.add(name, asks)
            {
                draft.note(*line, format!("`{}`: {why}", words.join(" ")));
            }
        }
        for (line, words) in &lines {
            frontend.line(*line, words, &acls, draft);
        }
        frontend
    }

    fn line(&mut self, line: usize, words: &[&'a str], acls: &Acls<'_>, draft: &mut Draft) {
        let written = format!("`{}`", words.join(" "));
        match words {
            ["acl", ..] => {}
            ["bind", addresses, options @ ..] => {
                for address in addresses.split(',') {
                    self.bind(line, address, options, draft);
                }
            }
            ["use_backend", backend, "if", condition @ ..] => match acls.choices(condition) {
                Ok(choices) => self.rules.push(Rule { line, backend, choices }),
                Err(why) => draft.note(line, format!("{written}: {why}")),
            },
            ["default_backend", backend] => {
                self.rules.push(Rule { line, backend, choices: Vec::new() });
            }
            ["http-request", "redirect", "scheme", "https", rest @ ..]
            | ["redirect", "scheme", "https", rest @ ..]
                if is_for_all(rest) =>
            {
                self.redirects = true;
            }
            ["server", ..] if self.section.kind == "listen" => {}
            ["mode", "http"] | ["option", "forwardfor"] => {}
            _ => draft.note(line, format!("{written} of `{}`", self.section.name)),
        }
    }

    fn bind(&mut self, line: usize, address: &str, options: &[&str], draft: &mut Draft) {
        let is_secure = options.contains(&"ssl");
        match in_full(address).parse() {
            Ok(address) => self.binds.push(Bind { address, is_secure }),
            Err(_) => draft.note(line, format!("`bind {address}`: no address to listen at")),
        }
        let mut rest = options.iter().filter(|word| **word != "ssl").copied().peekable();
        while let Some(option) = rest.next() {
            let value = rest.next_if(|_| {
                matches!(option, "crt" | "crt-list" | "alpn" | "ciphers" | "ca-file" | "verify")
            });
            let value = value.map_or_else(String::new, |value| format!(" {value}"));
            let why = if option == "crt" {
                ": put its certificates into the folder of `[tls] certificates`"
            } else {
                ""
            };
            draft.note(line, format!("`{option}{value}` of `bind {address}`{why}"));
        }
    }

    /// Whether anything that is taken over is served where it listens.
    fn listens(&self) -> bool {
        self.section.kind == "frontend" || self.redirects || !self.rules.is_empty()
    }

    fn sites(
        self,
        backends: &BTreeMap<&str, &'a Section>,
        everywhere: &[Bind],
        used: &mut BTreeSet<&'a str>,
        draft: &mut Draft,
    ) {
        // A whole host first: what is below it is compared with that.
        let (mut sites, mut below) = (Sites::default(), Vec::new());
        for Rule { line, backend, choices } in &self.rules {
            let Some(target) = backends.get(backend) else {
                draft.note(*line, format!("there is no `backend {backend}`"));
                continue;
            };
            if choices.is_empty() {
                draft.note(*line, format!("`default_backend {backend}`: a host that no site has is answered 404; give the host a site"));
                continue;
            }
            let (whole, parts): (Vec<&Choice>, Vec<&Choice>) =
                choices.iter().partition(|choice| choice.paths.is_empty());
            let mut site = Site::at(*line);
            site.hosts = whole.iter().flat_map(|choice| &choice.hosts).map(|host| one_text(host)).collect();
            if !site.hosts.is_empty() {
                self.listened(everywhere, &mut site);
                if sites.whole(site, target) {
                    used.insert(&target.name);
                }
            }
            if !parts.is_empty() {
                used.insert(&target.name);
            }
            below.extend(parts.into_iter().map(|choice| (*line, choice, *target)));
        }
        for (line, choice, target) in below {
            let hosts = choice.hosts.iter().map(|host| one_text(host)).collect();
            sites.route(line, &Choice { hosts, ..choice.clone() }, target, draft);
        }
        sites.add_to(draft);
        if self.section.kind == "listen" {
            self.listened_to(draft);
        }
    }

    /// What the addresses of a frontend say of its sites.
    fn listened(&self, everywhere: &[Bind], site: &mut Site) {
        let is_clear = self.binds.iter().any(|bind| !bind.is_secure);
        site.redirect = match self.redirects {
            true => Some(true),
            false if is_clear && everywhere.iter().any(|bind| bind.is_secure) => Some(false),
            false => None,
        };
        // That there is none is told where it was written.
        if self.binds.is_empty() {
            return;
        }
        let mut reachable = everywhere.iter().filter(|other| !other.address.ip().is_loopback());
        if reachable.any(|other| !self.binds.iter().any(|own| own.covers(other))) {
            let own: Vec<String> = self.binds.iter().map(|bind| bind.address.to_string()).collect();
            let why = "ghostpin answers for it at every address that it listens at";
            site.note(site.line, format!("it was served at {} only: {why}", own.join(" and ")));
        }
    }

    /// What a `listen` sends to its own servers, whatever the host.
    fn listened_to(&self, draft: &mut Draft) {
        let Section { line, name, .. } = self.section;
        draft.note(*line, format!("`listen {name}`: no host leads to its servers; write a site for it"));
        if !self.listens() {
            for Bind { address, .. } in &self.binds {
                draft.note(*line, format!("`bind {address}` of `listen {name}`: nothing is served there"));
            }
        }
        for (line, words) in self.section.lines.iter().filter(|(_, words)| words[0] == "server") {
            draft.note(*line, format!("`{}` of `listen {name}`", words.join(" ")));
        }
    }
}

/// An address with all that HAProxy lets one leave out.
fn in_full(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("" | "*", port)) => format!("0.0.0.0:{port}"),
        Some((ip, port)) if ip.contains(':') && !ip.starts_with('[') => format!("[{ip}]:{port}"),
        _ => address.to_owned(),
    }
}

/// Whether a redirect to TLS is for all that came in clear text.
fn is_for_all(rest: &[&str]) -> bool {
    let rest = match rest {
        ["code", _, rest @ ..] => rest,
        rest => rest,
    };
    matches!(
        rest,
        [] | ["unless", "{", "ssl_fc", "}"] | ["if", "!{", "ssl_fc", "}"] | ["if", "!", "{", "ssl_fc", "}"]
    )
}
