//! Traefik: the routers of a dynamic configuration (YAML or TOML, as its file provider reads it), or of the labels in a compose or
//! stack file, that send a host to the servers of a `loadBalancer`.

mod labels;
mod rule;

use std::collections::BTreeSet;

use super::draft::{Draft, Note, Site, is_among, one_text};
use super::tree::{Node, from_toml, from_yaml};
use rule::Choice;

/// Middlewares after which the backend sees something else than what the reader has asked for, or nothing.
const CHANGERS: [&str; 6] =
    ["addPrefix", "stripPrefix", "stripPrefixRegex", "replacePath", "replacePathRegex", "redirectRegex"];

/// Reads a dynamic configuration, or a compose file.
pub(super) fn read(text: &str) -> Result<Draft, String> {
    let is_toml = text.lines().any(|line| line.starts_with('[') && line.trim_end().ends_with(']'));
    let root = if is_toml { from_toml(text) } else { from_yaml(text) }?;
    let mut draft = Draft::default();
    let root = match root.get("services") {
        Some(services) => labels::read(services, &mut draft),
        None => root,
    };
    let Some(http) = root.get("http") else {
        return Err(
            "line 1: neither `http`, as in a dynamic configuration, nor `services` with labels of Traefik's"
                .to_owned(),
        );
    };
    for (key, node) in root.entries() {
        match key.as_str() {
            "http" => {}
            "tls" => tls(node, &mut draft),
            "tcp" | "udp" => draft.note(node.line, format!("`{key}`: only HTTP is proxied")),
            key => draft.notes.extend(lines(node, key, "")),
        }
    }
    for (key, node) in http.entries() {
        let is_known =
            ["routers", "services", "middlewares"].iter().any(|known| known.eq_ignore_ascii_case(key));
        if !is_known {
            draft.notes.extend(lines(node, key, ""));
        }
    }
    let mut traefik = Traefik {
        routers: http.get("routers"),
        services: http.get("services"),
        middlewares: http.get("middlewares"),
        used: BTreeSet::new(),
        draft,
    };
    traefik.sites();
    traefik.unused();
    Ok(traefik.draft)
}

/// Every line of it, as what was not taken over. `of` says where it stands.
fn lines(node: &Node, name: &str, of: &str) -> Vec<Note> {
    let note = |text: &str| vec![Note { line: node.line.into(), text: format!("`{name}{text}`{of}") }];
    match (node.as_text(), node.entries(), node.items()) {
        (Some(""), ..) | (None, [], []) => note(""),
        (Some(text), ..) => note(&format!(": {text}")),
        (None, entries, items) => {
            let below = entries.iter().map(|(key, node)| lines(node, &format!("{name}.{key}"), of));
            below.chain(items.iter().map(|node| lines(node, name, of))).flatten().collect()
        }
    }
}

fn tls(node: &Node, draft: &mut Draft) {
    for (key, inner) in node.entries() {
        match key.as_str() {
            "certificates" => {
                for certificate in inner.items() {
                    let file = certificate.get("certFile").and_then(Node::as_text).unwrap_or_default();
                    draft.note(
                        certificate.line,
                        format!(
                            "`certFile: {file}`: put it and its key into the folder of `[tls] certificates`"
                        ),
                    );
                }
            }
            key => draft.notes.extend(lines(inner, key, " of `tls`")),
        }
    }
}

/// A name, without the provider that it is said to be of; nothing, if that is Traefik itself.
fn local(name: &str) -> Option<&str> {
    match name.split_once('@') {
        Some((_, "internal")) => None,
        Some((name, _)) => Some(name),
        None => Some(name),
    }
}

struct Traefik<'a> {
    routers: Option<&'a Node>,
    services: Option<&'a Node>,
    middlewares: Option<&'a Node>,
    /// Services and middlewares that a router leads to.
    used: BTreeSet<(&'static str, &'a str)>,
    draft: Draft,
}

/// Paths of a host that go elsewhere: compared with the whole host once all of those are known.
struct Below {
    line: usize,
    choices: Vec<Choice>,
    backends: Vec<String>,
}

impl<'a> Traefik<'a> {
    fn sites(&mut self) {
        let entries = self.routers.map(Node::entries).unwrap_or_default();
        let has_tls = entries.iter().any(|(_, router)| router.get("tls").is_some_and(is_on));
        let mut below = Vec::new();
        for (name, router) in entries {
            let mut site = Site::at(router.line);
            let choices = self.router(name, router, has_tls, &mut site);
            let (whole, parts): (Vec<Choice>, Vec<Choice>) =
                choices.into_iter().partition(|choice| choice.paths.is_empty());
            if !parts.is_empty() {
                let backends = site.backends.clone();
                below.push(Below { line: router.line, choices: parts, backends });
            }
            site.hosts = whole.into_iter().flat_map(|choice| choice.hosts).collect();
            if site.hosts.is_empty() {
                for (field, _) in &site.headers {
                    let text =
                        format!("`{field}` of the router `{name}`: a route has no header fields of its own");
                    site.notes.push(Note { line: site.line, text });
                }
                // Several routers may lead to one service.
                site.notes.retain(|note| !self.draft.notes.contains(note));
                self.draft.notes.append(&mut site.notes);
            } else {
                self.draft.add(site);
            }
        }
        for part in below {
            self.below(part);
        }
    }

    /// What a router chooses; the rest of what it says goes into the site.
    fn router(&mut self, name: &'a str, router: &'a Node, has_tls: bool, site: &mut Site) -> Vec<Choice> {
        let mut is_secure = false;
        let mut redirects = false;
        let mut is_changed = false;
        let mut choices = Vec::new();
        for (key, node) in router.entries() {
            match key.to_ascii_lowercase().as_str() {
                "rule" => choices = self.rule(name, node, site),
                "service" => self.service(name, node, site),
                "entrypoints" => entry_points(name, router, node, site),
                "middlewares" => {
                    for word in node.words() {
                        let effect = self.middleware(word, node.line, false, site);
                        redirects |= effect == Effect::Redirects;
                        is_changed |= effect == Effect::Changes;
                    }
                }
                "tls" => is_secure = self.router_tls(name, node, site),
                _ => site.notes.extend(lines(node, key, &format!(" of the router `{name}`"))),
            }
        }
        if router.get("service").is_none() {
            site.note(router.line, format!("the router `{name}` names no service"));
        }
        if router.get("rule").is_none() {
            site.note(router.line, format!("the router `{name}` has no rule"));
        }
        let listens = if is_secure { &mut self.draft.https } else { &mut self.draft.http };
        listens.insert(if is_secure { "0.0.0.0:443" } else { "0.0.0.0:80" }.to_owned());
        if !is_secure && has_tls {
            site.redirect = Some(redirects);
        } else if redirects && !has_tls {
            let why = "no router has `tls`: with a certificate, set `https.redirect = true`";
            site.note(router.line, format!("the router `{name}` sends clear text to TLS, but {why}"));
        }
        if is_changed {
            site.note(
                router.line,
                format!(
                    "the router `{name}`: a middleware changes what is asked for, so it has no site here"
                ),
            );
            // Its hosts stay: they may have a wildcard above them, which would answer.
            site.backends.clear();
        }
        choices
    }

    fn rule(&mut self, name: &str, node: &Node, site: &mut Site) -> Vec<Choice> {
        let text = node.as_text().unwrap_or_default();
        match rule::read(text) {
            Ok(choices) => {
                let (with, without): (Vec<Choice>, Vec<Choice>) =
                    choices.into_iter().partition(|choice| !choice.hosts.is_empty());
                for choice in &without {
                    let paths = choice.paths.join(" ");
                    site.note(
                        node.line,
                        format!("the rule of `{name}` is for any host ({paths}): give the host a site"),
                    );
                }
                for note in with.iter().flat_map(|choice| &choice.notes) {
                    site.note(node.line, note.clone());
                }
                with
            }
            Err(why) => {
                site.note(node.line, format!("the rule `{text}` of `{name}`: {why}"));
                Vec::new()
            }
        }
    }

    fn router_tls(&mut self, name: &str, node: &Node, site: &mut Site) -> bool {
        for (key, inner) in node.entries() {
            match key.to_ascii_lowercase().as_str() {
                "certresolver" => drop(self.draft.acme.get_or_insert_default()),
                _ => site.notes.extend(lines(
                    inner,
                    &format!("tls.{key}"),
                    &format!(" of the router `{name}`"),
                )),
            }
        }
        is_on(node)
    }

    /// The servers of a service become the site's backends.
    fn service(&mut self, router: &str, node: &'a Node, site: &mut Site) {
        let named = node.as_text().unwrap_or_default();
        let Some(name) = local(named) else {
            return site.note(node.line, format!("`{named}` of the router `{router}` is Traefik's own"));
        };
        let found = self.services.and_then(|services| {
            services.entries().iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
        });
        let Some((name, service)) = found else {
            return site.note(node.line, format!("there is no service `{name}`"));
        };
        self.used.insert(("service", name));
        for (kind, inner) in service.entries() {
            if !kind.eq_ignore_ascii_case("loadBalancer") {
                site.note(
                    inner.line,
                    format!(
                        "`{kind}` of the service `{name}`: only the servers of a `loadBalancer` are known"
                    ),
                );
                continue;
            }
            for (key, inner) in inner.entries() {
                match key.to_ascii_lowercase().as_str() {
                    "servers" => inner.items().iter().for_each(|server| backend(server, name, site)),
                    "passhostheader" if inner.as_text() == Some("true") => {}
                    _ => site.notes.extend(lines(inner, key, &format!(" of the service `{name}`"))),
                }
            }
        }
    }

    fn middleware(&mut self, named: &str, line: usize, is_in_chain: bool, site: &mut Site) -> Effect {
        let known = local(named).and_then(|name| {
            let all = self.middlewares?.entries();
            all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
        });
        let Some((name, middleware)) = known else {
            site.note(line, format!("there is no middleware `{named}`"));
            return Effect::None;
        };
        self.used.insert(("middleware", name));
        let mut effect = Effect::None;
        for (kind, node) in middleware.entries() {
            let is = |other: &str| kind.eq_ignore_ascii_case(other);
            if is("redirectScheme") && node.get("scheme").and_then(Node::as_text) == Some("https") {
                effect = effect.max(Effect::Redirects);
                // To another port is elsewhere.
                for (key, inner) in node.entries() {
                    let is_usual = key.eq_ignore_ascii_case("port") && inner.as_text() == Some("443");
                    if !is_usual
                        && !["scheme", "permanent"].iter().any(|known| known.eq_ignore_ascii_case(key))
                    {
                        let key = format!("redirectScheme.{key}");
                        site.notes.extend(lines(inner, &key, &format!(" of the middleware `{name}`")));
                    }
                }
            } else if is("headers") {
                headers(name, node, site);
            } else if is("chain") && !is_in_chain {
                let Some(links) = node.get("middlewares") else { continue };
                for link in links.words() {
                    effect = effect.max(self.middleware(link, links.line, true, site));
                }
            } else {
                site.notes.extend(lines(node, kind, &format!(" of the middleware `{name}`")));
                // Of a chain in a chain nobody looks what is in it.
                if is("chain") || CHANGERS.iter().any(|changer| is(changer)) {
                    effect = effect.max(Effect::Changes);
                }
            }
        }
        effect
    }

    fn below(&mut self, Below { line, choices, backends }: Below) {
        for Choice { hosts, paths, .. } in choices {
            let hosts: Vec<String> = hosts.iter().map(|host| one_text(host)).collect();
            let is_meant = |site: &&mut Site| site.hosts.iter().any(|host| is_among(host, &hosts));
            for site in self.draft.sites.iter_mut().filter(is_meant) {
                for path in &paths {
                    site.tell_of_wider_path(line, path, &hosts);
                    site.add_route(line, path.trim_end_matches('/'), &backends);
                }
            }
            let has_site = |host: &String| self.draft.sites.iter().any(|site| site.hosts.contains(host));
            // A block without a backend: who answers for its hosts is told when all are known.
            let mut rest = Site::at(line);
            rest.hosts = hosts.iter().filter(|host| !has_site(host)).cloned().collect();
            if !rest.hosts.is_empty() {
                for path in &paths {
                    rest.add_route(line, path.trim_end_matches('/'), &backends);
                }
                self.draft.add(rest);
            }
        }
    }

    /// What no router leads to.
    fn unused(&mut self) {
        for (kind, all) in [("service", self.services), ("middleware", self.middlewares)] {
            for (name, node) in all.map(Node::entries).unwrap_or_default() {
                if !self.used.contains(&(kind, name.as_str())) {
                    self.draft.note(node.line, format!("the {kind} `{name}`: no router leads to it"));
                }
            }
        }
    }
}

/// Where a router listens, by names whose addresses are in another file.
fn entry_points(name: &str, router: &Node, node: &Node, site: &mut Site) {
    let has_tls = router.get("tls").is_some_and(is_on);
    for point in node.words() {
        let is = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(point));
        let why = if is(&["web", "http"]) || is(&["websecure", "https"]) && has_tls {
            continue;
        } else if is(&["websecure", "https"]) {
            "without `tls`, it is taken for clear text; if the entry point has TLS of its own, give the site a certificate"
        } else {
            "ghostpin answers for it at every address that it listens at"
        };
        site.note(node.line, format!("`entryPoints: {point}` of the router `{name}`: {why}"));
    }
}

/// What a middleware does that a site can be told of, or can't; of several, the last one counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    None,
    Redirects,
    Changes,
}

/// `tls: {}`, `tls: true` and whatever is said below it.
fn is_on(tls: &Node) -> bool {
    tls.as_text() != Some("false")
}

fn headers(name: &str, node: &Node, site: &mut Site) {
    for (key, inner) in node.entries() {
        if !key.eq_ignore_ascii_case("customRequestHeaders") {
            site.notes.extend(lines(
                inner,
                &format!("headers.{key}"),
                &format!(" of the middleware `{name}`"),
            ));
            continue;
        }
        for (field, value) in inner.entries() {
            match value.as_text() {
                Some(_) if field.eq_ignore_ascii_case("host") => site.note(
                    value.line,
                    format!(
                        "`{field}` of the middleware `{name}`: the backend is told the host that was asked for"
                    ),
                ),
                Some(text) if !text.is_empty() => site.headers.push((field.clone(), text.to_owned())),
                _ => site.note(
                    value.line,
                    format!("`{field}` of the middleware `{name}`: a field that is removed"),
                ),
            }
        }
    }
}

/// A server of a `loadBalancer`.
fn backend(server: &Node, service: &str, site: &mut Site) {
    for (key, node) in server.entries() {
        if !key.eq_ignore_ascii_case("url") {
            site.notes.extend(lines(
                node,
                &format!("servers.{key}"),
                &format!(" of the service `{service}`"),
            ));
        }
    }
    let line = server.line;
    let Some(url) = server.get("url").and_then(Node::as_text) else {
        return site.note(line, format!("a server of the service `{service}` has no `url`"));
    };
    let rest = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    match rest {
        None => site.note(line, format!("`{url}`: backends are spoken to in clear text, over HTTP/1.1")),
        Some(rest) if rest.contains(['/', '?']) => site.note(line, format!("`{url}`: it changes the path")),
        Some(rest) => {
            let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            site.backends.push(if has_port { rest.to_owned() } else { format!("{rest}:80") });
        }
    }
}
