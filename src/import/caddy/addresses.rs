//! The addresses at the head of a site: the hosts that it answers for, and where Caddy listens for them.

use std::collections::BTreeSet;

use super::super::draft::{Draft, Site};
use super::blocks::Block;

/// What Caddy would listen at of all sites: ghostpin answers for every host at each of its addresses.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    ports: BTreeSet<u16>,
    has_tls: bool,
    /// Hosts that have TLS somewhere.
    secure: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    host: &'a str,
    port: u16,
    is_secure: bool,
}

fn all(one: &Block) -> impl Iterator<Item = &str> {
    one.words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty())
}

impl Addresses {
    pub(super) fn of(sites: &[&Block]) -> Self {
        let mut found = Self::default();
        for Address { host, port, is_secure } in sites.iter().flat_map(|one| all(one)).filter_map(address) {
            found.ports.insert(of_the_web(port));
            if is_secure {
                found.has_tls = true;
                found.secure.insert(host.to_owned());
            }
        }
        found
    }

    pub(super) fn listen(&self, one: &Block, site: &mut Site, draft: &mut Draft) {
        for text in all(one) {
            let Some(Address { host, port, is_secure }) = address(text) else {
                site.note(one.line, format!("`{text}`: no host by itself"));
                continue;
            };
            let listens = if is_secure { &mut draft.https } else { &mut draft.http };
            listens.insert(format!("0.0.0.0:{port}"));
            if host.is_empty() {
                site.note(one.line, format!("`{text}` has no host: say which it answers for"));
                continue;
            }
            if is_secure {
                draft.http.insert("0.0.0.0:80".to_owned());
                draft.acme.get_or_insert_default();
            } else {
                site.redirect = Some(false);
            }
            let is_elsewhere = self.ports.len() > 1 && of_the_web(port) != 80;
            if is_elsewhere || !is_secure && self.has_tls && !self.secure.contains(host) {
                let over = if is_secure { "" } else { " in clear text" };
                let why = "ghostpin answers for it at every address that it listens at";
                site.note(one.line, format!("`{text}` was served at port {port} only{over}: {why}"));
            }
            site.hosts.push(host.to_owned());
        }
    }
}

/// The ports that Caddy opens for one site are one.
fn of_the_web(port: u16) -> u16 {
    if port == 443 { 80 } else { port }
}

fn address(text: &str) -> Option<Address<'_>> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    if text.contains('{') || rest.contains('/') || scheme.is_some_and(|scheme| !scheme.starts_with("http")) {
        return None;
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (rest, None),
    };
    let is_secure = match (scheme, port) {
        (Some(scheme), _) => scheme == "https",
        // Without a host Caddy has no certificate to order.
        (None, port) => port == Some(443) || port != Some(80) && !host.is_empty(),
    };
    Some(Address { host, port: port.unwrap_or(if is_secure { 443 } else { 80 }), is_secure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_the_host_the_port_and_whether_it_is_tls() {
        for (text, expected) in [
            ("a.example", Some(("a.example", 443, true))),
            ("http://a.example", Some(("a.example", 80, false))),
            ("https://a.example:8443", Some(("a.example", 8443, true))),
            ("a.example:80", Some(("a.example", 80, false))),
            ("a.example:8080", Some(("a.example", 8080, true))),
            (":8080", Some(("", 8080, false))),
            (":443", Some(("", 443, true))),
            ("[::1]", Some(("[::1]", 443, true))),
            ("[::1]:80", Some(("[::1]", 80, false))),
            ("a.example/api", None),
            ("{$HOST}", None),
            ("a.example:{$PORT}", None),
        ] {
            let found = address(text).map(|Address { host, port, is_secure }| (host, port, is_secure));
            assert_eq!(found, expected, "{text}");
        }
    }
}
