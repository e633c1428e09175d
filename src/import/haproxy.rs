//! HAProxy: frontends that choose a backend by the host, and their backends' servers.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, Site};

/// One section: its line, its words, and the lines in it.
struct Section<'a> {
    line: usize,
    name: &'a str,
    lines: Vec<(usize, Vec<&'a str>)>,
}

/// What a condition asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wants {
    Hosts(Vec<String>),
    Paths(Vec<String>),
}

/// Reads a `haproxy.cfg`.
pub(super) fn read(text: &str) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let mut backends: BTreeMap<&str, Section<'_>> = BTreeMap::new();
    let mut frontends = Vec::new();
    for (kind, section) in sections(text, &mut draft)? {
        match kind {
            "frontend" | "listen" => frontends.push((kind, section)),
            "backend" => drop(backends.insert(section.name, section)),
            kind => draft.note(section.line, format!("`{kind}`: what it says is about HAProxy")),
        }
    }
    let mut used = BTreeSet::new();
    for (kind, section) in &frontends {
        frontend(section, *kind == "listen", &backends, &mut used, &mut draft);
    }
    for (name, section) in backends.iter().filter(|(name, _)| !used.contains(*name)) {
        draft.note(section.line, format!("`backend {name}`: no host leads to it"));
    }
    Ok(draft)
}

fn sections<'a>(text: &'a str, draft: &mut Draft) -> Result<Vec<(&'a str, Section<'a>)>, String> {
    let mut sections: Vec<(&str, Section<'_>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line_number = number + 1;
        let words = words(line);
        let Some(&first) = words.first() else { continue };
        let is_head = !line.starts_with([' ', '\t'])
            && matches!(
                first,
                "global"
                    | "defaults"
                    | "frontend"
                    | "backend"
                    | "listen"
                    | "userlist"
                    | "resolvers"
                    | "peers"
                    | "cache"
                    | "mailers"
                    | "program"
                    | "ring"
            );
        if is_head {
            let name = words.get(1).copied().unwrap_or_default();
            sections.push((first, Section { line: line_number, name, lines: Vec::new() }));
        } else if let Some((_, section)) = sections.last_mut() {
            section.lines.push((line_number, words));
        } else {
            draft.note(line_number, format!("`{}` is in no section", words.join(" ")));
        }
    }
    match sections.is_empty() {
        true => Err("line 1: no section such as `frontend` or `backend`".to_owned()),
        false => Ok(sections),
    }
}

/// The words of a line, without its comment.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().take_while(|word| !word.starts_with('#')).collect()
}

/// Hosts, and beginnings of paths, that a rule chooses.
type Choice = (Vec<String>, Vec<String>);

fn frontend<'a>(
    section: &Section<'a>,
    is_listen: bool,
    backends: &BTreeMap<&str, Section<'a>>,
    used: &mut BTreeSet<&'a str>,
    draft: &mut Draft,
) {
    let mut acls: BTreeMap<&str, Option<Wants>> = BTreeMap::new();
    let mut redirects = false;
    let mut rules: Vec<(usize, &str, Result<Choice, String>)> = Vec::new();
    for (line, words) in &section.lines {
        let written = format!("`{}`", words.join(" "));
        match words.as_slice() {
            ["bind", address, options @ ..] => bind(*line, address, options, draft),
            ["acl", name, asks @ ..] => {
                let found = wants(asks);
                if found.is_none() {
                    draft.note(*line, format!("{written}: only hosts and beginnings of paths are known"));
                }
                // Several lines of one name are alternatives.
                match (acls.get_mut(name), found) {
                    (Some(Some(Wants::Hosts(hosts))), Some(Wants::Hosts(more))) => hosts.extend(more),
                    (Some(Some(Wants::Paths(paths))), Some(Wants::Paths(more))) => paths.extend(more),
                    (_, found) => drop(acls.insert(name, found)),
                }
            }
            ["use_backend", name, "if", condition @ ..] => {
                rules.push((
                    *line,
                    name,
                    choice(condition, &acls).map_err(|why| format!("{written}: {why}")),
                ));
            }
            ["default_backend", name] => rules.push((*line, name, Ok((Vec::new(), Vec::new())))),
            ["http-request", "redirect", "scheme", "https", ..] | ["redirect", "scheme", "https", ..] => {
                redirects = true
            }
            ["server", ..] if is_listen => {}
            ["mode", "http"] | ["option", "forwardfor", ..] => {}
            _ => draft.note(*line, format!("{written} of `{}`", section.name)),
        }
    }
    // A whole host first: what is below it is compared with that.
    let mut sites: Vec<Site> = Vec::new();
    let mut below = Vec::new();
    for (line, name, found) in rules {
        let target = backends.get(name);
        match (found, target) {
            (Err(why), _) => draft.note(line, why),
            (Ok(_), None) => draft.note(line, format!("there is no `backend {name}`")),
            (Ok((hosts, paths)), Some(target)) => {
                used.insert(target.name);
                if hosts.is_empty() && paths.is_empty() {
                    draft.note(line, format!("`default_backend {name}`: a host that no site has is answered 404; give the host a site"));
                } else if paths.is_empty() {
                    let mut site = Site::at(line);
                    site.hosts = hosts;
                    servers(target, &mut site);
                    site.redirect = redirects.then_some(true);
                    sites.push(site);
                } else {
                    below.push((line, hosts, paths, target));
                }
            }
        }
    }
    for (line, hosts, paths, target) in below {
        let mut other = Site::at(line);
        servers(target, &mut other);
        let whole = sites
            .iter_mut()
            .filter(|site| hosts.is_empty() || site.hosts.iter().any(|host| hosts.contains(host)));
        let mut found = false;
        for site in whole {
            found = true;
            for path in &paths {
                site.add_route(line, path.trim_end_matches('/'), &other.backends);
            }
            site.notes.extend(other.notes.iter().cloned());
        }
        if !found {
            draft.note(
                line,
                format!(
                    "`{}` of {}: nothing answers for the rest of that host",
                    paths.join(" "),
                    hosts.join(" ")
                ),
            );
        }
    }
    for site in sites {
        draft.add(site);
    }
    if is_listen {
        draft.note(
            section.line,
            format!("`listen {}`: no host leads to its servers; write a site for it", section.name),
        );
    }
}

fn bind(line: usize, address: &str, options: &[&str], draft: &mut Draft) {
    let is_secure = options.contains(&"ssl");
    let full = match address.strip_prefix("*:").or_else(|| address.strip_prefix(':')) {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    };
    match full.parse::<std::net::SocketAddr>() {
        Ok(_) if is_secure => drop(draft.https.insert(full)),
        Ok(_) => drop(draft.http.insert(full)),
        Err(_) => draft.note(line, format!("`bind {address}`: no address to listen at")),
    }
    let mut rest = options.iter().filter(|word| **word != "ssl").copied().peekable();
    while let Some(option) = rest.next() {
        let value = rest
            .next_if(|_| matches!(option, "crt" | "crt-list" | "alpn" | "ciphers" | "ca-file" | "verify"));
        let value = value.map_or_else(String::new, |value| format!(" {value}"));
        let why = if option == "crt" {
            ": put its certificates into the folder of `[tls] certificates`"
        } else {
            ""
        };
        draft.note(line, format!("`{option}{value}` of `bind {address}`{why}"));
    }
}

/// What a test asks for, if it is about a host or about the beginning of a path.
fn wants(asks: &[&str]) -> Option<Wants> {
    let (what, rest) = asks.split_first()?;
    let mut is_ending = false;
    let mut values = Vec::new();
    let mut rest = rest.iter().peekable();
    while let Some(word) = rest.next() {
        match *word {
            "-i" => {}
            "-m" => match rest.next() {
                Some(&"str") => {}
                Some(&"end") => is_ending = true,
                _ => return None,
            },
            flag if flag.starts_with('-') => return None,
            value => values.push(value.to_owned()),
        }
    }
    let below = |values: Vec<String>| -> Option<Vec<String>> {
        values.into_iter().map(|value| value.strip_prefix('.').map(|domain| format!("*.{domain}"))).collect()
    };
    let what = what.split(',').next().unwrap_or_default();
    match what {
        "hdr(host)" | "req.hdr(host)" | "hdr(Host)" | "req.hdr(Host)" | "ssl_fc_sni" if !is_ending => {
            Some(Wants::Hosts(values))
        }
        "hdr(host)" | "req.hdr(host)" | "hdr_end(host)" => below(values).map(Wants::Hosts),
        "path_beg" => Some(Wants::Paths(values)),
        _ => None,
    }
}

/// Hosts and paths of a condition: names of `acl` lines, or a test in braces. All of them hold together.
fn choice(condition: &[&str], acls: &BTreeMap<&str, Option<Wants>>) -> Result<Choice, String> {
    let (mut hosts, mut paths) = (Vec::new(), Vec::new());
    let mut words = condition.iter();
    let mut is_alternative = false;
    while let Some(word) = words.next() {
        let found = match *word {
            "||" | "or" => {
                is_alternative = true;
                continue;
            }
            "{" => {
                let asks: Vec<&str> = words.by_ref().take_while(|word| **word != "}").copied().collect();
                wants(&asks)
            }
            name => acls.get(name).cloned().flatten(),
        };
        match found {
            Some(Wants::Hosts(found)) if hosts.is_empty() || is_alternative => hosts.extend(found),
            Some(Wants::Paths(found)) if paths.is_empty() => paths.extend(found),
            _ => return Err(format!("`{word}` is no plain question for a host or the beginning of a path")),
        }
    }
    match is_alternative && !paths.is_empty() {
        true => Err("hosts and paths are alternatives".to_owned()),
        false => Ok((hosts, paths)),
    }
}

fn servers(section: &Section<'_>, site: &mut Site) {
    let (mut first, mut backups) = (Vec::new(), Vec::new());
    for (line, words) in &section.lines {
        let written = format!("`{}` of `backend {}`", words.join(" "), section.name);
        match words.as_slice() {
            ["server", _, address, options @ ..] => {
                if options.contains(&"ssl") {
                    site.note(*line, format!("{written}: ghostpin speaks clear text to backends"));
                    continue;
                }
                let address = address
                    .strip_prefix("unix@")
                    .map_or_else(|| (*address).to_owned(), |path| format!("unix:{path}"));
                if options.contains(&"backup") {
                    backups.push(address)
                } else {
                    first.push(address)
                };
                let others: Vec<&str> =
                    options.iter().filter(|word| !matches!(**word, "check" | "backup")).copied().collect();
                if !others.is_empty() {
                    site.note(*line, format!("`{}` of {written}", others.join(" ")));
                }
            }
            ["http-request", "set-header", name, value] if !value.contains("%[") => {
                site.headers.push(((*name).to_owned(), (*value).to_owned()));
            }
            ["mode", "http"] | ["option", "forwardfor", ..] => {}
            _ => site.note(*line, written),
        }
    }
    first.extend(backups);
    site.backends = first;
}
