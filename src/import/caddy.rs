//! Caddy: the site blocks of a Caddyfile that `reverse_proxy` somewhere.

mod addresses;
mod blocks;
mod certificates;
mod proxying;
mod snippets;
mod words;

use std::collections::BTreeMap;

use super::draft::{Draft, Site};
use addresses::Addresses;
use blocks::{Block, parse};
use proxying::Proxying;
use snippets::Snippets;

/// Directives after which a backend is asked for something else than the reader has asked for.
const CHANGERS: [&str; 3] = ["rewrite", "uri", "method"];
/// Directives that answer before a backend is asked.
const ANSWERS: [&str; 4] = ["redir", "error", "abort", "respond"];

/// Named matchers that are paths; one that is anything else has none.
type Matchers = BTreeMap<String, Vec<String>>;

/// Reads a Caddyfile.
pub(super) fn read(text: &str) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let (all, unused) = Snippets::unfold(parse(text)?)?;
    draft.notes.extend(unused);
    let mut sites = Vec::new();
    for one in &all {
        match one.name() {
            // A block without a name holds what is said of all.
            "" => certificates::options(one.block.as_deref().unwrap_or_default(), &mut draft),
            "import" => draft.notes.extend(one.untaken("", ": import that file by itself")),
            _ => sites.push(one),
        }
    }
    let addresses = Addresses::of(&sites);
    for one in sites {
        let mut site = Site::at(one.line);
        addresses.listen(one, &mut site, &mut draft);
        let mut reader = Reader { site, draft: &mut draft, is_proxied: false };
        reader.site(one.block.as_deref().unwrap_or_default());
        let site = reader.site;
        draft.add(site);
    }
    Ok(draft)
}

/// Whether a matcher is for all requests.
fn is_for_all(matcher: &str) -> bool {
    matches!(matcher, "*" | "/*")
}

/// Whether a directive is for some requests only.
fn is_matched(one: &Block) -> bool {
    // With one argument only, that is where `rewrite` leads to.
    let is_target = one.name() == "rewrite" && one.words.len() == 2;
    !is_target && one.words.get(1).is_some_and(|word| word.starts_with(['/', '@']) && !is_for_all(word))
}

/// Why nothing that a block proxies is what the reader has asked for.
fn prevents(one: &Block) -> Option<&'static str> {
    match one.name() {
        name if CHANGERS.contains(&name) => Some("it changes what is asked for, which ghostpin never does"),
        name if ANSWERS.contains(&name) => Some("it answers before a backend is asked"),
        _ => None,
    }
}

fn matchers(outer: &Matchers, block: &[Block]) -> Matchers {
    let mut all = outer.clone();
    for inner in block {
        if let [name, kind, paths @ ..] = inner.words.as_slice()
            && name.starts_with('@')
        {
            let is_path = kind == "path" && inner.block.is_none();
            all.insert(name.clone(), if is_path { paths.to_vec() } else { Vec::new() });
        }
    }
    all
}

struct Reader<'a> {
    site: Site,
    draft: &'a mut Draft,
    /// What is no path of its own is proxied already.
    is_proxied: bool,
}

impl Reader<'_> {
    fn site(&mut self, block: &[Block]) {
        let stops = block.iter().filter(|inner| !is_matched(inner)).find_map(|inner| {
            let goes_to_tls = self.sends_to_tls(inner);
            Some((inner, prevents(inner).filter(|_| !goes_to_tls)?))
        });
        let Some((stop, why)) = stops else { return self.whole(block, &Matchers::new()) };
        for inner in block {
            match inner.name() {
                "tls" => self.directive(inner, &Matchers::new()),
                _ if inner == stop => self.site.notes.extend(inner.untaken("", &format!(": {why}"))),
                _ => self.site.notes.extend(inner.untaken("", "")),
            }
        }
    }

    /// What is said for all requests of the site, and the paths below.
    fn whole(&mut self, block: &[Block], outer: &Matchers) {
        let named = matchers(outer, block);
        // What is for all comes first: paths are compared with that. Of that, as in Caddy, `handle` and `route` do.
        let mut sorted: Vec<&Block> = block.iter().collect();
        sorted.sort_by_key(|inner| (is_matched(inner), !matches!(inner.name(), "handle" | "route")));
        for inner in sorted {
            self.directive(inner, &named);
        }
    }

    fn directive(&mut self, one: &Block, named: &Matchers) {
        let words: Vec<&str> = one.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["reverse_proxy", matcher, ..] if is_for_all(matcher) => self.proxied(one, &one.words[2..]),
            ["reverse_proxy", matcher, ..] if matcher.starts_with(['/', '@']) => {
                self.proxied_below(one, matcher, &one.words[2..], named);
            }
            ["reverse_proxy", ..] => self.proxied(one, &one.words[1..]),
            ["handle" | "route"] | ["handle" | "route", "*" | "/*"] => {
                let block = one.block.as_deref().unwrap_or_default();
                match block.iter().filter(|inner| !is_matched(inner)).find_map(prevents) {
                    Some(why) => {
                        self.is_proxied |= block.iter().any(|inner| inner.name() == "reverse_proxy");
                        self.site.notes.extend(one.untaken("", &format!(": {why}")));
                    }
                    None => self.whole(block, named),
                }
            }
            ["handle" | "route", matcher] => self.handled(one, matcher, named),
            ["tls", ..] => certificates::tls(one, &mut self.site, self.draft),
            ["import", ..] if one.block.is_some() => {
                let why = ": what a block hands to a snippet is not known";
                self.site.notes.extend(one.untaken("", why));
            }
            ["import", ..] => self.site.notes.extend(one.untaken("", ": import that by itself")),
            [name, ..] if name.starts_with('@') => {
                if named.get(*name).is_none_or(Vec::is_empty) {
                    self.site.notes.extend(one.untaken("", ": only `path` is known of matchers"));
                }
            }
            ["redir", ..] if self.sends_to_tls(one) => self.site.redirect = Some(true),
            _ => self.site.notes.extend(one.untaken("", "")),
        }
    }

    /// `redir https://{host}{uri}`, of a site in clear text.
    fn sends_to_tls(&self, one: &Block) -> bool {
        let words: Vec<&str> =
            one.words.iter().map(String::as_str).filter(|word| !is_for_all(word)).collect();
        let (["redir", to] | ["redir", to, "permanent" | "301" | "308"]) = words.as_slice() else {
            return false;
        };
        let host = to.strip_prefix("https://").and_then(|rest| rest.strip_suffix("{uri}"));
        self.site.redirect == Some(false)
            && host.is_some_and(|host| host == "{host}" || self.site.hosts == [host])
    }

    /// `reverse_proxy` for all requests of the site.
    fn proxied(&mut self, one: &Block, upstreams: &[String]) {
        if std::mem::replace(&mut self.is_proxied, true) {
            let notes = one.untaken("", ": the site is proxied elsewhere already");
            return self.site.notes.extend(notes);
        }
        let Proxying { backends, headers, notes } = Proxying::of(one, upstreams);
        self.site.backends = backends;
        self.site.headers.extend(headers.into_iter().map(|(_, field, value)| (field, value)));
        self.site.notes.extend(notes);
    }

    fn proxied_below(&mut self, one: &Block, matcher: &str, upstreams: &[String], named: &Matchers) {
        let paths = match matcher.starts_with('@') {
            true => named.get(matcher).cloned().unwrap_or_default(),
            false => vec![matcher.to_owned()],
        };
        if paths.is_empty() {
            return self.site.notes.extend(one.untaken("", ": only paths are known of matchers"));
        }
        let Proxying { backends, headers, notes } = Proxying::of(one, upstreams);
        self.site.notes.extend(notes);
        for (line, field, value) in headers {
            let why = "a route has no header fields of its own";
            self.site.note(line, format!("`header_up {field} {value}` of `{matcher}`: {why}"));
        }
        let mut done: Vec<&str> = Vec::new();
        for path in &paths {
            let (prefix, is_exact) = match path.strip_suffix('*') {
                Some(prefix) => (prefix.trim_end_matches('/'), false),
                None => (path.trim_end_matches('/'), true),
            };
            if done.contains(&prefix) {
                continue;
            }
            done.push(prefix);
            match prefix {
                "" => self.site.note(one.line, format!("{}: `{path}` is the whole site", one.in_words())),
                prefix if prefix.contains(['*', '{']) || !prefix.starts_with('/') => {
                    self.site.note(one.line, format!("`{path}`: a path is a plain prefix"));
                }
                prefix => {
                    let has_all = paths.iter().any(|other| other.strip_suffix("/*") == Some(prefix));
                    if is_exact && !has_all {
                        let why = "a route is a prefix, so it is for all below it, too";
                        self.site.note(one.line, format!("`{path}`: {why}"));
                    } else if !is_exact && !path.ends_with("/*") {
                        let why = format!("a route is for `{prefix}` and all below it, not for `{prefix}x`");
                        self.site.note(one.line, format!("`{path}`: {why}"));
                    }
                    self.site.add_route(one.line, prefix, &backends);
                }
            }
        }
    }

    /// `handle` and `route` with a matcher: a route, if all they do is to proxy.
    fn handled(&mut self, one: &Block, matcher: &str, named: &Matchers) {
        let block = one.block.as_deref().unwrap_or_default();
        let stops = block.iter().find_map(|inner| {
            // Whatever changes a path that the block is for may change all of it.
            let is_for_some = is_matched(inner) && !CHANGERS.contains(&inner.name());
            prevents(inner).filter(|_| !is_for_some)
        });
        if let Some(why) = stops {
            return self.site.notes.extend(one.untaken("", &format!(": {why}")));
        }
        let mut is_proxied = false;
        for inner in block {
            let upstreams = match inner.words.get(1).map(String::as_str) {
                Some(matcher) if is_for_all(matcher) => &inner.words[2..],
                _ => inner.words.get(1..).unwrap_or_default(),
            };
            if inner.name() == "reverse_proxy" && !is_matched(inner) && !is_proxied {
                is_proxied = true;
                self.proxied_below(inner, matcher, upstreams, named);
            } else {
                self.site.notes.extend(inner.untaken(&format!("`{} {matcher}`: ", one.name()), ""));
            }
        }
    }
}
