//! The draft as TOML, with comments for whoever reads it next. What is printed passes the check: a part of a site that
//! would not is left out and told of, and a site that would not is a comment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::draft::{Acme, Draft, Line, Note, Route, Site, wildcards};
use crate::config::{Config, ConfigErrors};

/// What a part of a site is checked in.
const AROUND: &str =
    "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nbackends = [\"127.0.0.1:1\"]\napp = \"generic\"\n";
/// The port at which a Ghost listens unless it is told otherwise.
const GHOST_PORT: &str = ":2368";

/// A site as it is printed, or as a comment.
struct Part {
    /// Where it was written.
    line: String,
    hosts: Vec<String>,
    text: String,
    is_site: bool,
    /// What is said against it by the check.
    against: Option<String>,
}

impl Part {
    /// What is printed. Whoever reads of a site that is refused should know who answers for its hosts meanwhile.
    fn printed(&self, standing: &BTreeSet<String>) -> String {
        let Self { line, hosts, text, against, .. } = self;
        let Some(why) = against else { return text.clone() };
        let mut head = comment(&format!("The site of {line} can't be taken over as it is:")) + why;
        for host in hosts {
            if let Some(wildcard) = wildcards(host).find(|wildcard| standing.contains(wildcard)) {
                head += &comment(&format!("As it is, `{host}` is answered by the site of `{wildcard}`."));
            }
        }
        head + &commented(text)
    }
}

/// All of it. `origin` is the file that was read.
pub(super) fn toml(draft: Draft, origin: &str) -> String {
    let mut draft = draft.settled();
    let mut names = BTreeSet::new();
    let mut parts = Vec::new();
    for site in std::mem::take(&mut draft.sites) {
        parts.push(part(&site, &mut names, |line| draft.words(line)));
    }
    loop {
        let mut text = head(&draft, origin, &parts);
        let standing = parts.iter().filter(|part| part.is_site).flat_map(|part| part.hosts.clone()).collect();
        let mut line = text.lines().count();
        let mut begins = Vec::new();
        for part in &parts {
            begins.push(line + 1);
            let printed = format!("\n{}", part.printed(&standing));
            line += printed.lines().count();
            text += &printed;
        }
        let Err(errors) = Config::parse(&text, Path::new("made")) else { return text };
        if !without_wrong(&mut parts, &begins, &errors) {
            let why: String =
                errors.iter().map(|error| comment(&format!("  {}: {}", error.key, error.message))).collect();
            return comment("This can't be taken over as it is:") + &why + &commented(&text);
        }
    }
}

/// Makes a comment of each site that something is said against. Whether there is one.
fn without_wrong(parts: &mut [Part], begins: &[usize], errors: &ConfigErrors) -> bool {
    let mut wrong: BTreeMap<usize, String> = BTreeMap::new();
    for error in errors.iter() {
        let at = error.line.map_or(0, |line| begins.partition_point(|begin| *begin <= line));
        if let Some(part) = at.checked_sub(1) {
            *wrong.entry(part).or_default() += &comment(&format!("  {}: {}", error.key, error.message));
        }
    }
    let is_any = wrong.keys().any(|part| parts[*part].is_site);
    for (part, why) in wrong {
        let part = &mut parts[part];
        part.against.get_or_insert_default().push_str(&why);
        part.is_site = false;
    }
    is_any
}

/// What stands before the sites.
fn head(draft: &Draft, origin: &str, parts: &[Part]) -> String {
    let Draft { http, https, acme, notes, .. } = draft;
    let mut text = comment(&format!(
        "Made by `ghostpin import {origin}`. Read the comments, then: ghostpin check --config FILE"
    ));
    if !parts.iter().any(|part| part.is_site) {
        text += &comment("No site was taken over: as it is, this answers every request with 404.");
    }
    text += &not_taken("Of the file as a whole, this was not taken over:", notes, |line| draft.words(line));
    text += "\n[listen]\n";
    let http = if http.is_empty() { BTreeSet::from(["0.0.0.0:80".to_owned()]) } else { http.clone() };
    text += &format!("http = {}\n", list(&http));
    let has_certificate = |part: &Part| part.text.lines().any(|line| line.starts_with("certificate = "));
    let orders = acme.as_ref().is_some_and(|acme| acme.against.is_empty());
    if orders || parts.iter().any(has_certificate) {
        text += &format!("https = {}\n", list(https));
    } else if !https.is_empty() {
        text += &comment("Over TLS it listens there, once it is said where the certificates are:");
        text += &comment(&format!("https = {}", list(https)));
        text += "# [tls]\n# certificates = \"certs/\"\n";
    }
    if let Some(acme) = acme {
        text += &certificates(acme, |line| draft.words(line));
    }
    text
}

/// `[acme]`; as a comment, if it would order from somebody else than the proxy did.
fn certificates(acme: &Acme, of: impl Fn(Line) -> String) -> String {
    let Acme { directory, contact, against } = acme;
    let directory = directory.as_deref().unwrap_or("https://acme-v02.api.letsencrypt.org/directory");
    let mut table = format!("[acme]\ndirectory = {}\n", quoted(directory));
    match contact {
        Some(contact) => table += &format!("contact = [{}]\n", quoted(&format!("mailto:{contact}"))),
        None => table += "# contact = [\"mailto:you@example.org\"]\n",
    }
    if against.is_empty() {
        return format!("\n# Certificates were ordered by the proxy itself. So they are with this:\n{table}");
    }
    let head = "Certificates came from elsewhere, or were not ordered, as this says:";
    let text = format!("\n{}", not_taken(head, against, of)) + &comment("If they should be ordered there:");
    table.lines().fold(text, |text, line| text + &comment(line.trim_start_matches("# ")))
}

fn part(site: &Site, names: &mut BTreeSet<String>, of: impl Fn(Line) -> String + Copy) -> Part {
    let (line, hosts) = (of(site.line), site.hosts.clone());
    let lacks = match (site.hosts.is_empty(), site.backends.is_empty()) {
        (true, _) => Some("it has no host that ghostpin could know it by"),
        (false, true) => Some("nothing in it is proxied as a whole, so there is no backend to pin it to"),
        (false, false) => None,
    };
    let Some(why) = lacks else {
        let text = body(site, name_of(site, names), of);
        return Part { line, hosts, text, is_site: true, against: None };
    };
    let named = if hosts.is_empty() { String::new() } else { format!(" ({})", hosts.join(", ")) };
    let text = comment(&format!("The site of {line}{named} was left out: {why}."))
        + &not_taken("What it says:", &site.remains(), of);
    Part { line, hosts, text, is_site: false, against: None }
}

/// Takes the header fields and routes out that the check would refuse, so that they don't take the whole site along.
pub(super) fn leave_wrong_parts(site: &mut Site) {
    let refused = |part: &str| match Config::parse(&format!("{AROUND}{part}"), Path::new("part")) {
        Ok(_) => None,
        Err(errors) => errors.iter().next().map(|error| error.message.clone()),
    };
    for (field, value) in std::mem::take(&mut site.headers) {
        match refused(&header_text(&field, &value)) {
            None => site.headers.push((field, value)),
            Some(why) => site.note(site.line, format!("the header field `{field}: {value}`: {why}")),
        }
    }
    for route in std::mem::take(&mut site.routes) {
        // What goes where the rest goes needs no route.
        let wrong = if route.backends == site.backends { None } else { refused(&route_text(&route)) };
        match wrong {
            None => site.routes.push(route),
            Some(why) => {
                let to = route.backends.join(", ");
                site.refuse(route.line, &route.path, format!("`{}` goes to {to}: {why}", route.path));
            }
        }
    }
}

fn body(site: &Site, name: String, of: impl Fn(Line) -> String) -> String {
    let Site { line, hosts, backends, certificate, key, redirect, headers, routes, notes, .. } = site;
    let mut text = format!("[[site]]  # {}\n", of(*line));
    text += &not_taken("This was not taken over:", notes, of);
    text += &format!("name = {}\nhosts = {}\n", quoted(&name), list(hosts));
    if backends.len() > 1 {
        text += &comment(&format!("Never balanced: {} is pinned first, the others stand by.", backends[0]));
    }
    text += &format!("backends = {}\n", list(backends));
    match backends.iter().all(|backend| backend.ends_with(GHOST_PORT)) {
        true => text += &comment("By its port it is a Ghost. If not: app = \"generic\""),
        false => text += "app = \"generic\"\n",
    }
    if let Some(domain) = hosts.first().and_then(|host| host.strip_prefix("*."))
        && hosts.iter().all(|host| host.starts_with("*."))
    {
        text += &comment("All of its hosts are wildcards. Probes ask for this one:");
        text += &format!("health.host = {}\n", quoted(&format!("www.{domain}")));
    }
    for (name, value) in [("certificate", certificate), ("key", key)] {
        if let Some(value) = value {
            text += &format!("{name} = {}\n", quoted(value));
        }
    }
    if let Some(redirect) = redirect {
        text += &format!("https.redirect = {redirect}\n");
    }
    for (field, value) in headers {
        text += &header_text(field, value);
    }
    routes.iter().fold(text, |text, route| text + &route_text(route))
}

fn header_text(field: &str, value: &str) -> String {
    format!("headers.{} = {}\n", quoted(field), quoted(value))
}

fn route_text(Route { path, backends, .. }: &Route) -> String {
    let upstream = backends.first().map_or("", String::as_str);
    // Backends may have names, upstreams of a route have addresses; of this name it is known.
    let upstream = match upstream.strip_prefix("localhost:") {
        Some(port) => format!("{}  # localhost", quoted(&format!("127.0.0.1:{port}"))),
        None => quoted(upstream),
    };
    format!("[[site.route]]\npath = {}\nupstream = {upstream}\n", quoted(path))
}

/// After its first host, and no other site's.
fn name_of(site: &Site, names: &mut BTreeSet<String>) -> String {
    let first = site.hosts.first().map_or("", String::as_str);
    let base = first.strip_prefix("*.").map_or_else(|| first.to_owned(), |domain| format!("all.{domain}"));
    let base: String = base.chars().take(100).collect();
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let name = std::iter::once(base.clone()).chain(numbered).find(|name| !names.contains(name));
    let name = name.unwrap_or(base);
    names.insert(name.clone());
    name
}

fn not_taken(head: &str, notes: &[Note], of: impl Fn(Line) -> String) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let mut text = comment(head);
    for Note { line, text: note } in notes {
        text += &comment(&format!("  {}: {note}", of(*line)));
    }
    text
}

fn commented(text: &str) -> String {
    text.lines().map(comment).collect()
}

/// One line, whatever is in it.
fn comment(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    format!("# {}", clean.collect::<String>()).trim_end().to_owned() + "\n"
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let all: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("[{}]", all.join(", "))
}
