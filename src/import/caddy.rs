//! Caddy: the site blocks of a Caddyfile that `reverse_proxy` somewhere.

mod blocks;
mod words;

use std::collections::BTreeMap;

use super::draft::{Draft, Site};
use blocks::{Block, parse};

/// Reads a Caddyfile.
pub(super) fn read(text: &str) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let (mut snippets, mut sites) = (BTreeMap::new(), Vec::new());
    for one in parse(text)? {
        let name = one.words.first().map_or("", String::as_str);
        match name.strip_prefix('(').and_then(|name| name.strip_suffix(')')) {
            Some(name) => drop(snippets.insert(name.to_owned(), one.block.unwrap_or_default())),
            // A block without a name holds what is said of all.
            None if name.is_empty() => options(one.block.unwrap_or_default(), &mut draft),
            None if name == "import" => {
                draft.note(one.line, format!("{}: import that file by itself", one.in_words()))
            }
            None => sites.push(one),
        }
    }
    for one in &sites {
        site(one, &snippets, &mut draft);
    }
    Ok(draft)
}

fn options(block: Vec<Block>, draft: &mut Draft) {
    for one in block {
        match one.words.as_slice() {
            [name, address] if name == "email" => draft.acme = Some(Some(address.clone())),
            _ => draft.note(one.line, format!("{} of the global options", one.in_words())),
        }
    }
}

fn site(one: &Block, snippets: &BTreeMap<String, Vec<Block>>, draft: &mut Draft) {
    let mut site = Site::at(one.line);
    let addresses = one.words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty());
    for address in addresses {
        self::address(address, one.line, draft, &mut site);
    }
    let mut named = BTreeMap::new();
    let block = unfolded(one.block.as_deref().unwrap_or_default(), snippets, &mut site);
    for inner in &block {
        if let [name, kind, paths @ ..] = inner.words.as_slice()
            && name.starts_with('@')
        {
            let is_path = kind == "path" && inner.block.is_none();
            named.insert(name.clone(), if is_path { paths.to_vec() } else { Vec::new() });
        }
    }
    // The whole site first: what is below it is compared with that.
    let (mut whole, mut rest): (Vec<&Block>, Vec<&Block>) = (Vec::new(), Vec::new());
    for inner in &block {
        let is_matched = inner.words.get(1).is_some_and(|word| word.starts_with(['/', '@']));
        if is_matched {
            rest.push(inner)
        } else {
            whole.push(inner)
        };
    }
    for inner in whole.into_iter().chain(rest) {
        directive(inner, &named, &mut site, draft);
    }
    draft.add(site);
}

/// Its directives, with those of the snippets that it imports.
fn unfolded(block: &[Block], snippets: &BTreeMap<String, Vec<Block>>, site: &mut Site) -> Vec<Block> {
    let mut all = Vec::new();
    for inner in block {
        match inner.words.as_slice() {
            [word, name] if word == "import" && snippets.contains_key(name) => {
                // One level: a snippet that imports another one is rare, and is noted.
                all.extend(snippets[name].iter().cloned());
            }
            [word, ..] if word == "import" => {
                site.note(inner.line, format!("{}: import that by itself", inner.in_words()))
            }
            _ => all.push(inner.clone()),
        }
    }
    all
}

fn address(text: &str, line: usize, draft: &mut Draft, site: &mut Site) {
    let (is_secure, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => (!text.ends_with(":80"), text),
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok()),
        None => (rest, None),
    };
    if host.contains('/') || text.contains("{$") {
        return site.note(line, format!("`{text}`: no host by itself"));
    }
    // Without a host Caddy has no certificate to order.
    let is_secure = is_secure && !host.is_empty();
    let port = port.unwrap_or(if is_secure { 443 } else { 80 });
    let listens = if is_secure { &mut draft.https } else { &mut draft.http };
    listens.insert(format!("0.0.0.0:{port}"));
    if is_secure {
        draft.http.insert("0.0.0.0:80".to_owned());
        draft.acme.get_or_insert_default();
    } else if !host.is_empty() {
        site.redirect = Some(false);
    }
    match host {
        "" => site.note(line, format!("`{text}` has no host: say which it answers for")),
        host => site.hosts.push(host.to_owned()),
    }
}

fn directive(one: &Block, named: &BTreeMap<String, Vec<String>>, site: &mut Site, draft: &mut Draft) {
    let words: Vec<&str> = one.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["reverse_proxy", args @ ..] => match args.first() {
            Some(matcher) if matcher.starts_with(['/', '@']) => {
                proxied_below(one, matcher, &one.words[2..], named, site);
            }
            Some(&"*") => proxy(one, &one.words[2..], site),
            _ => proxy(one, &one.words[1..], site),
        },
        ["handle" | "route"] | ["handle" | "route", "*"] => {
            for inner in one.block.iter().flatten() {
                directive(inner, named, site, draft);
            }
        }
        ["handle" | "route", matcher] => handled(one, matcher, named, site),
        ["tls", certificate, key] => {
            (site.certificate, site.key) = (Some((*certificate).to_owned()), Some((*key).to_owned()));
        }
        ["tls", contact] if contact.contains('@') => draft.acme = Some(Some((*contact).to_owned())),
        [name, ..] if name.starts_with('@') => {
            if named.get(*name).is_none_or(Vec::is_empty) {
                site.note(one.line, format!("{}: only `path` is known of matchers", one.in_words()));
            }
        }
        _ => site.note(one.line, one.in_words()),
    }
}

/// `reverse_proxy` for all requests of the site.
fn proxy(one: &Block, upstreams: &[String], site: &mut Site) {
    let backends = backends(one, upstreams, site);
    if site.backends.is_empty() {
        site.backends = backends;
    } else if site.backends != backends {
        site.note(one.line, format!("{}: the site is proxied elsewhere already", one.in_words()));
    }
}

fn proxied_below(
    one: &Block,
    matcher: &str,
    upstreams: &[String],
    named: &BTreeMap<String, Vec<String>>,
    site: &mut Site,
) {
    let paths = match matcher.starts_with('@') {
        true => named.get(matcher).cloned().unwrap_or_default(),
        false => vec![matcher.to_owned()],
    };
    if paths.is_empty() {
        return site.note(one.line, format!("{}: only paths are known of matchers", one.in_words()));
    }
    let backends = backends(one, upstreams, site);
    for path in paths {
        let prefix = path.trim_end_matches('*').trim_end_matches('/');
        match prefix {
            "" => site.note(one.line, format!("{}: `{path}` is the whole site", one.in_words())),
            prefix if prefix.contains('*') => {
                site.note(one.line, format!("`{path}`: a path is a plain prefix"))
            }
            prefix => {
                if !path.ends_with('*') {
                    site.note(
                        one.line,
                        format!("`{path}`: a route is a prefix, so it is for all below it, too"),
                    );
                }
                site.add_route(one.line, prefix, &backends);
            }
        }
    }
}

/// `handle` and `route` with a matcher: a route, if all they do is to proxy.
fn handled(one: &Block, matcher: &str, named: &BTreeMap<String, Vec<String>>, site: &mut Site) {
    for inner in one.block.iter().flatten() {
        match inner.words.first().map(String::as_str) {
            Some("reverse_proxy") if !inner.words.get(1).is_some_and(|word| word.starts_with(['/', '@'])) => {
                proxied_below(inner, matcher, &inner.words[1..], named, site);
            }
            _ => site.note(inner.line, format!("`{} {matcher}`: {}", one.words[0], inner.in_words())),
        }
    }
}

/// The backends of a `reverse_proxy`, also those that its block names. What else the block says is noted, or a header.
fn backends(one: &Block, upstreams: &[String], site: &mut Site) -> Vec<String> {
    let mut all: Vec<&String> = upstreams.iter().collect();
    for inner in one.block.iter().flatten() {
        match inner.words.as_slice() {
            [name, to @ ..] if name == "to" => all.extend(to),
            [name, field, value]
                if name == "header_up"
                    && !value.contains('{')
                    && !field.starts_with(['-', '+', '?', '>']) =>
            {
                site.headers.push((field.clone(), value.clone()));
            }
            [name, field, value] if name == "header_up" && tells_anyway(field, value) => {}
            _ => site.note(inner.line, format!("`reverse_proxy`: {}", inner.in_words())),
        }
    }
    let mut backends = Vec::new();
    for upstream in all {
        match backend(upstream) {
            Ok(backend) => backends.push(backend),
            Err(why) => {
                site.note(one.line, format!("`{upstream}` is no backend that ghostpin could have: {why}"))
            }
        }
    }
    backends
}

/// What ghostpin tells the backend of every request by itself.
fn tells_anyway(field: &str, value: &str) -> bool {
    let field = field.to_ascii_lowercase();
    (field == "host" && value.contains("host"))
        || ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].contains(&field.as_str())
}

fn backend(upstream: &str) -> Result<String, &'static str> {
    if upstream.contains('{') {
        return Err("a placeholder decides");
    }
    if let Some(path) = upstream.strip_prefix("unix/") {
        return Ok(format!("unix:{path}"));
    }
    let rest = match upstream.split_once("://") {
        Some(("http", rest)) => rest,
        Some(_) => return Err("backends are spoken to in clear text, over HTTP/1.1"),
        None => upstream,
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains('/') {
        return Err("it changes the path");
    }
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "80"));
    match (host, port.parse::<u16>()) {
        (_, Err(_)) => Err("a range of ports"),
        ("", Ok(port)) => Ok(format!("localhost:{port}")),
        (host, Ok(port)) => Ok(format!("{host}:{port}")),
    }
}
