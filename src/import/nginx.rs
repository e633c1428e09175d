//! nginx: `server` blocks with a `server_name` that `proxy_pass` somewhere.

mod directives;
mod include;

use std::collections::BTreeMap;
use std::path::Path;

use super::draft::{Draft, Line, Site};
use directives::{Directive, parse};
use include::Includes;

/// What ghostpin does by itself for every request, so that nothing is lost.
const TOLD_ANYWAY: [&str; 6] =
    ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "upgrade", "connection"];

/// An `upstream`: its servers, in the order in which they would be asked.
type Upstreams = BTreeMap<String, Vec<String>>;

/// Reads a `nginx.conf`. Files that it includes are looked for below `folder`.
pub(super) fn read(text: &str, folder: &Path) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let unfolded = Includes::new(folder, &mut draft).unfold(parse(text, 0)?)?;
    let (https, others): (Vec<Directive>, Vec<Directive>) =
        unfolded.into_iter().partition(|one| one.name == "http" && one.block.is_some());
    // A file of sites alone is what an `http` block includes.
    let mut all = others;
    all.extend(https.into_iter().filter_map(|one| one.block).flatten());
    let mut upstreams = Upstreams::new();
    for one in all.iter().filter(|one| one.name == "upstream") {
        upstreams.insert(one.first().to_owned(), servers(one, &mut draft));
    }
    for one in &all {
        match (one.name.as_str(), &one.block) {
            ("server", Some(block)) => server(one, block, folder, &upstreams, &mut draft),
            ("upstream", _) => {}
            _ => draft.note(one.line, format!("{} is about nginx", one.in_words())),
        }
    }
    Ok(draft)
}

fn servers(upstream: &Directive, draft: &mut Draft) -> Vec<String> {
    let (mut first, mut backups) = (Vec::new(), Vec::new());
    for one in upstream.block.iter().flatten() {
        if one.name != "server" {
            draft.note(one.line, format!("{} of upstream `{}`", one.in_words(), upstream.first()));
            continue;
        }
        let address = with_port(one.first());
        let says = |word: &str| one.args.iter().any(|arg| arg == word);
        if says("down") {
            draft.note(one.line, format!("{} is said to be down, and was left out", one.in_words()));
        } else if says("backup") {
            backups.push(address);
        } else {
            if one.args.len() > 1 {
                draft.note(one.line, format!("{}: the parameters of it", one.in_words()));
            }
            first.push(address);
        }
    }
    first.extend(backups);
    first
}

fn with_port(address: &str) -> String {
    let has_port =
        address.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_address = address.starts_with("unix:") || (has_port && !address.ends_with(']'));
    if is_address { address.to_owned() } else { format!("{address}:80") }
}

fn server(one: &Directive, block: &[Directive], folder: &Path, upstreams: &Upstreams, draft: &mut Draft) {
    let mut site = Site::at(one.line);
    let mut is_secure = false;
    for inner in block {
        match inner.name.as_str() {
            "listen" => is_secure |= listen(inner, draft, &mut site),
            "server_name" => {
                for name in &inner.args {
                    host(name, inner.line, &mut site);
                }
            }
            "ssl_certificate" => site.certificate = Some(path_of(inner.first(), folder)),
            "ssl_certificate_key" => site.key = Some(path_of(inner.first(), folder)),
            _ => {}
        }
    }
    // The whole site first: what is below it is compared with that.
    let (mut locations, others): (Vec<&Directive>, Vec<&Directive>) =
        block.iter().partition(|inner| inner.name == "location");
    locations.sort_by_key(|location| location.args != ["/"]);
    for location in locations {
        self::location(location, is_secure, upstreams, &mut site);
    }
    for inner in others {
        match (inner.name.as_str(), inner.args.as_slice()) {
            ("listen" | "server_name" | "ssl_certificate" | "ssl_certificate_key", _) => {}
            ("return", args) => redirect(inner, args, is_secure, &mut site),
            ("proxy_set_header", args) => header(inner, args, &mut site),
            ("if", _) if sends_to_tls(inner) => site.redirect = Some(true),
            _ => site.note(inner.line, inner.in_words()),
        }
    }
    draft.add(site);
}

/// Notes where it listens. Whether that is TLS.
fn listen(one: &Directive, draft: &mut Draft, site: &mut Site) -> bool {
    let is_secure = one.args.iter().any(|arg| arg == "ssl");
    let address = one.first();
    let full = match address.parse::<u16>() {
        Ok(port) => format!("0.0.0.0:{port}"),
        Err(_) => match address.strip_prefix("*:") {
            Some(port) => format!("0.0.0.0:{port}"),
            None if address.starts_with("unix:") => address.to_owned(),
            None => with_port(address),
        },
    };
    let is_address = full.parse::<std::net::SocketAddr>().is_ok() || full.starts_with("unix:");
    if is_address {
        if is_secure {
            draft.https.insert(full)
        } else {
            draft.http.insert(full)
        };
    } else {
        site.note(one.line, format!("{}: no address to listen at", one.in_words()));
    }
    for arg in
        one.args.iter().skip(1).filter(|arg| !matches!(arg.as_str(), "ssl" | "http2" | "default_server"))
    {
        site.note(one.line, format!("`{arg}` of {}", one.in_words()));
    }
    if one.args.iter().any(|arg| arg == "default_server") {
        site.note(one.line, "`default_server`: a host that no site has is answered 404");
    }
    is_secure
}

fn host(name: &str, line: Line, site: &mut Site) {
    if name == "_" || name.is_empty() {
        return site.note(line, format!("`server_name {name}` is no host"));
    }
    if name.starts_with('~') || name.ends_with(".*") {
        let why = "a host is written out, or stands for all below a domain (`*.domain`)";
        return site.note(line, format!("`server_name {name}`: {why}"));
    }
    match name.strip_prefix('.') {
        Some(domain) => site.hosts.extend([domain.to_owned(), format!("*.{domain}")]),
        None => site.hosts.push(name.to_owned()),
    }
}

fn path_of(text: &str, folder: &Path) -> String {
    folder.join(text).display().to_string()
}

/// `return` of a whole server: to TLS, or not ours.
fn redirect(one: &Directive, args: &[String], is_secure: bool, site: &mut Site) {
    let to = args.last().map_or("", String::as_str);
    let is_status = matches!(args.first().map(String::as_str), Some("301" | "302" | "307" | "308"));
    let to_itself = ["https://$host", "https://$server_name", "https://$http_host", "https://${host}"];
    let goes_home =
        to_itself.iter().any(|start| to.strip_prefix(start).is_some_and(|rest| rest.starts_with('$')));
    if is_status && !is_secure && goes_home {
        site.redirect = Some(true);
    } else {
        site.note(one.line, one.in_words());
    }
}

/// `if ($scheme = http) { return 301 https://... }`
fn sends_to_tls(one: &Directive) -> bool {
    let about_scheme = one.args.join(" ").contains("$scheme");
    let only_returns = |block: &Vec<Directive>| {
        block.iter().all(|inner| inner.name == "return" && inner.args.join(" ").contains("https://$"))
    };
    about_scheme && one.block.as_ref().is_some_and(only_returns)
}

fn location(one: &Directive, is_secure: bool, upstreams: &Upstreams, site: &mut Site) {
    let args: Vec<&str> = one.args.iter().map(String::as_str).collect();
    let (exact, path) = match args.as_slice() {
        ["=", path] => (true, *path),
        ["^~", path] | [path] if path.starts_with('/') => (false, *path),
        _ => return site.note(one.line, format!("{}: a path is a plain prefix, no pattern", one.in_words())),
    };
    let block = one.block.as_deref().unwrap_or_default();
    let Some(pass) = block.iter().find(|inner| inner.name == "proxy_pass") else {
        // The whole site, sent to TLS.
        if let ("/", [only]) = (path, block)
            && only.name == "return"
        {
            return redirect(only, &only.args, is_secure, site);
        }
        for inner in block {
            site.note(inner.line, format!("`location {path}`: {}", inner.in_words()));
        }
        return site.note(
            one.line,
            format!("{} proxies nowhere: its requests go to the site's backend", one.in_words()),
        );
    };
    let backends = match backends(pass.first(), upstreams) {
        Ok(backends) => backends,
        Err(why) => return site.note(pass.line, format!("`location {path}`: {}: {why}", pass.in_words())),
    };
    if exact {
        site.note(
            one.line,
            format!("{}: a route is a prefix, so it is for all below `{path}`, too", one.in_words()),
        );
    }
    if path == "/" {
        site.backends = backends;
    } else {
        site.add_route(one.line, path.trim_end_matches('/'), &backends);
    }
    for inner in block.iter().filter(|inner| inner.name != "proxy_pass") {
        match (inner.name.as_str(), inner.args.as_slice()) {
            ("proxy_set_header", args) if path == "/" => header(inner, args, site),
            ("proxy_http_version" | "proxy_buffering", _) => {}
            _ => site.note(inner.line, format!("`location {path}`: {}", inner.in_words())),
        }
    }
}

fn backends(url: &str, upstreams: &Upstreams) -> Result<Vec<String>, String> {
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
    if !path.is_empty() && path != "/" {
        return Err("it changes the path, which ghostpin never does".to_owned());
    }
    match upstreams.get(&place) {
        Some(servers) if servers.is_empty() => Err(format!("upstream `{place}` has no server")),
        Some(servers) => Ok(servers.clone()),
        None => Ok(vec![with_port(&place)]),
    }
}

fn header(one: &Directive, args: &[String], site: &mut Site) {
    let [name, value] = args else { return site.note(one.line, one.in_words()) };
    if TOLD_ANYWAY.contains(&name.to_ascii_lowercase().as_str())
        && (value.contains('$') || value.is_empty() || value == "upgrade")
    {
        return;
    }
    if name.eq_ignore_ascii_case("x-real-ip") {
        let why = "ghostpin passes it only from a trusted proxy: let the backend go by X-Forwarded-For";
        return site.note(one.line, format!("{}: {why}", one.in_words()));
    }
    if value.contains('$') || value.is_empty() {
        return site.note(one.line, format!("{}: a header field has one fixed value", one.in_words()));
    }
    site.headers.push((name.clone(), value.clone()));
}
