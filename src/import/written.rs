//! The draft as TOML, with comments for whoever reads it next.

use std::collections::BTreeSet;
use std::path::Path;

use super::draft::{Draft, Line, Note, Site};
use crate::config::Config;

/// What a site is checked with: it may say what it likes of TLS.
const AROUND: &str =
    "[listen]\nhttps = [\"127.0.0.1:443\"]\n[acme]\ndirectory = \"https://ca.example/directory\"\n";
/// The port at which a Ghost listens unless it is told otherwise.
const GHOST_PORT: &str = ":2368";

/// All of it. `origin` is the file that was read.
pub(super) fn toml(draft: Draft, origin: &str) -> String {
    let of = |line: Line| draft.words(line);
    let Draft { http, https, acme, sites, notes, .. } = &draft;
    let mut text = comment(&format!(
        "Made by `ghostpin import {origin}`. Read the comments, then: ghostpin check --config FILE"
    ));
    text += &not_taken("Of the file as a whole, this was not taken over:", notes, of);
    text += "\n[listen]\n";
    let http = if http.is_empty() { BTreeSet::from(["0.0.0.0:80".to_owned()]) } else { http.clone() };
    text += &format!("http = {}\n", list(&http));
    let mut names = BTreeSet::new();
    let sites: Vec<String> = sites.iter().map(|site| one(site, &mut names, of)).collect();
    let has_certificate = |site: &String| site.lines().any(|line| line.starts_with("certificate = "));
    if acme.is_some() || sites.iter().any(has_certificate) {
        text += &format!("https = {}\n", list(https));
    } else if !https.is_empty() {
        text += &comment("Over TLS it listens there, once it is said where the certificates are:");
        text += &comment(&format!("https = {}", list(https)));
        text += "# [tls]\n# certificates = \"certs/\"\n";
    }
    if let Some(contact) = acme {
        text += "\n# Certificates were ordered by the proxy itself. So they are with this:\n[acme]\n";
        text += "directory = \"https://acme-v02.api.letsencrypt.org/directory\"\n";
        match contact {
            Some(contact) => text += &format!("contact = [{}]\n", quoted(&format!("mailto:{contact}"))),
            None => text += "# contact = [\"mailto:you@example.org\"]\n",
        }
    }
    for site in sites {
        text += &format!("\n{site}");
    }
    text
}

fn one(site: &Site, names: &mut BTreeSet<String>, of: impl Fn(Line) -> String + Copy) -> String {
    let line = of(site.line);
    let lacks = match (site.hosts.is_empty(), site.backends.is_empty()) {
        (true, _) => Some("it has no host that ghostpin could know it by"),
        (false, true) => Some("nothing in it is proxied as a whole, so there is no backend to pin it to"),
        (false, false) => None,
    };
    if let Some(why) = lacks {
        let hosts =
            if site.hosts.is_empty() { String::new() } else { format!(" ({})", site.hosts.join(", ")) };
        return comment(&format!("The site of {line}{hosts} was left out: {why}."))
            + &not_taken("What it says:", &site.notes, of);
    }
    let body = body(site, name_of(site, names), of);
    let checked = Config::parse(&format!("{AROUND}{body}"), Path::new("site"));
    match checked {
        Ok(_) => body,
        Err(errors) => {
            let mut text = comment(&format!("The site of {line} can't be taken over as it is:"));
            for error in errors.to_string().lines() {
                text += &comment(&format!("  {error}"));
            }
            body.lines().fold(text, |text, line| text + &comment(line))
        }
    }
}

fn body(site: &Site, name: String, of: impl Fn(Line) -> String) -> String {
    let Site { line, hosts, backends, certificate, key, redirect, headers, routes, notes } = site;
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
        text += &format!("headers.{} = {}\n", quoted(field), quoted(value));
    }
    for (path, upstream) in routes {
        text += &format!("[[site.route]]\npath = {}\nupstream = {}\n", quoted(path), quoted(upstream));
    }
    text
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
