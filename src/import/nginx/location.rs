//! `location`: who answers a path, if it is plain to say.

use super::super::draft::{Line, Site};
use super::directives::Directive;
use super::header::{header, is_told_anyway};
use super::{Upstreams, redirect, with_port};

/// The locations of a block. What is below the whole site is compared with that.
pub(super) fn locations(
    mut locations: Vec<&Directive>,
    is_secure: bool,
    upstreams: &Upstreams,
    site: &mut Site,
) {
    locations.sort_by_key(|one| one.args != ["/"]);
    for one in locations {
        location(one, is_secure, upstreams, site);
    }
}

fn location(one: &Directive, is_secure: bool, upstreams: &Upstreams, site: &mut Site) {
    let args: Vec<&str> = one.args.iter().map(String::as_str).collect();
    let (is_exact, path) = match args.as_slice() {
        ["=", path] => (true, *path),
        ["^~", path] | [path] if path.starts_with('/') => (false, *path),
        _ => {
            tell(one, one.first(), &[], site);
            return site.note(one.line, format!("{}: a path is a plain prefix, no pattern", one.in_words()));
        }
    };
    let block = one.block.as_deref().unwrap_or_default();
    let is_all = path == "/" && !is_exact;
    if let Some(answer) = block.iter().find(|inner| inner.name == "return") {
        // The whole site, sent to TLS. Whatever else the block says of where requests go, it answers before.
        if is_all {
            tell(one, path, &["return"], site);
            return redirect(answer, is_secure, site);
        }
    }
    let backends = match target(block, path, upstreams) {
        Ok(backends) => backends,
        Err((line, why)) => {
            tell(one, path, &[], site);
            let (line, text) = (line.unwrap_or(one.line), format!("{}: {why}", one.in_words()));
            return if is_all { site.note(line, text) } else { site.refuse(line, path, text) };
        }
    };
    match (path, is_exact) {
        ("/", true) => {
            tell(one, path, &[], site);
            let why = "a route is for all below its path, and that would be the whole site";
            return site.note(one.line, format!("{}: {why}", one.in_words()));
        }
        ("/", false) if !site.backends.is_empty() && site.backends != backends => {
            tell(one, path, &[], site);
            return site.note(one.line, format!("{}: the site is proxied elsewhere already", one.in_words()));
        }
        ("/", false) => site.backends = backends,
        (_, true) => {
            site.note(
                one.line,
                format!("{}: a route is a prefix, so it is for all below `{path}`, too", one.in_words()),
            );
            site.add_route(one.line, path.trim_end_matches('/'), &backends);
        }
        (_, false) => {
            if !path.ends_with('/') {
                site.note(
                    one.line,
                    format!("{}: a route ends with a segment, so it is not for `{path}...`", one.in_words()),
                );
            }
            site.add_route(one.line, path.trim_end_matches('/'), &backends);
        }
    }
    for inner in block {
        match inner.name.as_str() {
            "proxy_set_header" if is_all => header(inner, site),
            "proxy_pass" => {}
            _ => tell_one(inner, path, site),
        }
    }
}

/// Tells of what a block says, but for the directives of these names.
fn tell(one: &Directive, path: &str, but: &[&str], site: &mut Site) {
    for inner in one.block.iter().flatten().filter(|inner| !but.contains(&inner.name.as_str())) {
        tell_one(inner, path, site);
    }
}

fn tell_one(inner: &Directive, path: &str, site: &mut Site) {
    let is_nothing_lost = match inner.name.as_str() {
        "proxy_http_version" | "proxy_buffering" => true,
        "proxy_set_header" => is_told_anyway(inner),
        _ => false,
    };
    if !is_nothing_lost {
        site.note(inner.line, format!("`location {path}`: {}", inner.in_words()));
    }
}

/// The backends to which a location passes requests as they are; or why it doesn't, and in which line.
fn target(
    block: &[Directive],
    path: &str,
    upstreams: &Upstreams,
) -> Result<Vec<String>, (Option<Line>, String)> {
    let Some(pass) = block.iter().find(|inner| inner.name == "proxy_pass") else {
        return Err((None, "proxies nowhere".to_owned()));
    };
    for inner in block {
        let why = match inner.name.as_str() {
            "return" => "it answers by itself",
            "internal" => "no reader may ask for it",
            "rewrite" if !is_answer(inner) => "it changes the path, which ghostpin never does",
            _ => continue,
        };
        return Err((Some(inner.line), why.to_owned()));
    }
    backends(pass.first(), path, upstreams).map_err(|why| (Some(pass.line), why))
}

/// Whether a `rewrite` sends the reader elsewhere, and changes nothing of what is proxied.
fn is_answer(rewrite: &Directive) -> bool {
    let to = rewrite.args.get(1).map_or("", String::as_str);
    matches!(rewrite.args.get(2).map(String::as_str), Some("redirect" | "permanent"))
        || ["http://", "https://", "$scheme"].iter().any(|scheme| to.starts_with(scheme))
}

fn backends(url: &str, location: &str, upstreams: &Upstreams) -> Result<Vec<String>, String> {
    let Some(rest) = url.strip_prefix("http://") else {
        let why = if url.starts_with("https://") {
            "ghostpin speaks clear text to backends"
        } else {
            "no http:// URL"
        };
        return Err(why.to_owned());
    };
    let (place, path) = match rest.strip_prefix("unix:") {
        Some(socket) => match socket.split_once(':') {
            Some((socket, path)) => (format!("unix:{socket}"), path),
            None => (format!("unix:{socket}"), ""),
        },
        None => match rest.find('/') {
            Some(slash) => (rest[..slash].to_owned(), &rest[slash..]),
            None => (rest.to_owned(), ""),
        },
    };
    if url.contains('$') {
        return Err("where it goes is decided by a variable".to_owned());
    }
    // nginx puts the path of the URL in place of that of the location.
    if !path.is_empty() && path != location {
        return Err("it changes the path, which ghostpin never does".to_owned());
    }
    match upstreams.get(&place.to_ascii_lowercase()) {
        Some(servers) if servers.is_empty() => Err(format!("upstream `{place}` has no server")),
        Some(servers) => Ok(servers.clone()),
        None => Ok(vec![with_port(&place)]),
    }
}
