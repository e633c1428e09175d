//! `listen` and `server_name`: where a block is answered for, and for whom.

use super::super::draft::{Draft, Line, Site};
use super::directives::Directive;
use super::with_port;

/// How a block listens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    pub(super) clear: bool,
    pub(super) secure: bool,
}

/// Notes where it listens. Without a word of that, nginx listens at port 80.
pub(super) fn listens(block: &[Directive], line: Line, draft: &mut Draft, site: &mut Site) -> Ways {
    let mut ways = Ways::default();
    for one in block.iter().filter(|one| one.name == "listen") {
        listen(one, draft, site, &mut ways);
    }
    if !block.iter().any(|one| one.name == "listen") {
        let one = Directive { line, name: "listen".to_owned(), args: vec!["80".to_owned()], block: None };
        listen(&one, draft, site, &mut ways);
    }
    ways
}

fn listen(one: &Directive, draft: &mut Draft, site: &mut Site, ways: &mut Ways) {
    let says = |word: &str| one.args.iter().skip(1).any(|arg| arg == word);
    if says("quic") {
        return site.note(one.line, format!("{}: ghostpin does not speak HTTP/3", one.in_words()));
    }
    let address = one.first();
    let full = match (address.parse::<u16>(), address.strip_prefix('*')) {
        (Ok(port), _) => format!("0.0.0.0:{port}"),
        (_, Some(port)) => with_port(&format!("0.0.0.0{port}")),
        _ => with_port(address),
    };
    let place = match full.parse::<std::net::SocketAddr>() {
        Ok(place) => Some(place.to_string()),
        Err(_) if full.starts_with("unix:/") => Some(full),
        Err(_) => None,
    };
    match place {
        Some(place) => {
            site.listens.insert(place.clone());
            if says("ssl") {
                draft.https.insert(place)
            } else {
                draft.http.insert(place)
            };
        }
        None => site.note(one.line, format!("{}: no address to listen at", one.in_words())),
    }
    if says("ssl") {
        ways.secure = true
    } else {
        ways.clear = true
    };
    for arg in one.args.iter().skip(1) {
        match arg.as_str() {
            "ssl" | "http2" => {}
            "default_server" => {
                site.note(one.line, "`default_server`: a host that no site has is answered 404")
            }
            _ => site.note(one.line, format!("`{arg}` of {}", one.in_words())),
        }
    }
}

pub(super) fn host(name: &str, line: Line, site: &mut Site) {
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
