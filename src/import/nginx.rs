//! nginx: `server` blocks with a `server_name` that `proxy_pass` somewhere.

mod directives;
mod header;
mod include;
mod listen;
mod location;

use std::collections::BTreeMap;
use std::path::Path;

use super::draft::{Draft, Site};
use directives::{Directive, parse};
use header::{header, is_told_anyway};
use include::Includes;
use listen::{host, listens};
use location::locations;

/// Each `upstream`, in lower case as nginx compares them: its servers, in the order in which they would be asked.
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
        upstreams.insert(one.first().to_ascii_lowercase(), servers(one, &mut draft));
    }
    for one in &all {
        match (one.name.as_str(), &one.block) {
            ("server", Some(block)) => server(one, block, folder, &upstreams, &mut draft),
            ("upstream", _) => {}
            _ => draft.note(one.line, format!("{} is about nginx", one.in_words())),
        }
    }
    if draft.https.is_empty() {
        // Nothing to say where there is no TLS.
        draft.sites.iter_mut().for_each(|site| site.redirect = site.redirect.filter(|redirect| *redirect));
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
    let ways = listens(block, one.line, draft, &mut site);
    for inner in block.iter().filter(|inner| inner.name == "server_name") {
        for name in &inner.args {
            host(name, inner.line, &mut site);
        }
    }
    pairs(block, folder, &mut site);
    let (below, others): (Vec<&Directive>, Vec<&Directive>) =
        block.iter().partition(|inner| inner.name == "location");
    let has_own_fields = below
        .iter()
        .filter(|inner| inner.args == ["/"])
        .flat_map(|inner| &inner.block)
        .flatten()
        .any(|inner| inner.name == "proxy_set_header");
    locations(below, ways.secure, upstreams, &mut site);
    for inner in others {
        match inner.name.as_str() {
            "listen" | "server_name" | "ssl_certificate" | "ssl_certificate_key" => {}
            "return" => answered(inner, ways.secure, &mut site),
            "proxy_set_header" if has_own_fields && !is_told_anyway(inner) => {
                site.note(
                    inner.line,
                    format!("{}: nginx sends only the fields of `location /`", inner.in_words()),
                );
            }
            "proxy_set_header" => header(inner, &mut site),
            "if" if sends_to_tls(inner, &site) => site.redirect = Some(true),
            _ => site.note(inner.line, inner.in_words()),
        }
    }
    // nginx answers in clear text where it listens for that; ghostpin sends to TLS whom it has a certificate for.
    if ways.clear && !site.backends.is_empty() {
        site.redirect.get_or_insert(false);
    }
    draft.add(site);
}

/// The certificate and its key. nginx may have several, each for another kind of key.
fn pairs(block: &[Directive], folder: &Path, site: &mut Site) {
    let all = |name| block.iter().filter(move |inner| inner.name == name);
    let (mut certificates, mut keys) = (all("ssl_certificate"), all("ssl_certificate_key"));
    let path = |one: &Directive| folder.join(one.first()).display().to_string();
    site.certificate = certificates.next().map(path);
    site.key = keys.next().map(path);
    for more in certificates.chain(keys) {
        site.note(
            more.line,
            format!("{}: a site has one certificate, and this is another one", more.in_words()),
        );
    }
}

/// `return` of a whole block: it answers before anything is proxied.
fn answered(one: &Directive, is_secure: bool, site: &mut Site) {
    let backends = std::mem::take(&mut site.backends);
    let routes = std::mem::take(&mut site.routes);
    let never: Vec<String> =
        backends.into_iter().chain(routes.into_iter().flat_map(|route| route.backends)).collect();
    if !never.is_empty() {
        site.note(
            one.line,
            format!("{} answers all: nothing is proxied to {}", one.in_words(), never.join(", ")),
        );
    }
    redirect(one, is_secure, site);
}

/// `return` to TLS, or not ours.
fn redirect(one: &Directive, is_secure: bool, site: &mut Site) {
    if !is_secure && goes_home(one, site) {
        site.redirect = Some(true);
    } else {
        site.note(one.line, one.in_words());
    }
}

/// Whether a `return` sends to the same over TLS.
fn goes_home(one: &Directive, site: &Site) -> bool {
    let [status, to] = one.args.as_slice() else { return false };
    let is_redirect = matches!(status.as_str(), "301" | "302" | "307" | "308");
    let Some(to) = to.strip_prefix("https://") else { return false };
    let host = ["$request_uri", "$uri$is_args$args"].iter().find_map(|rest| to.strip_suffix(rest));
    let is_same = match host {
        Some("$host" | "$http_host" | "${host}") => true,
        // The first of its names.
        Some("$server_name") => site.hosts.len() == 1,
        Some(host) => site.hosts == [host],
        None => false,
    };
    is_redirect && is_same
}

/// `if ($scheme = http) { return 301 https://... }`
fn sends_to_tls(one: &Directive, site: &Site) -> bool {
    let condition = one.args.concat();
    let is_about_clear_text = matches!(condition.as_str(), "($scheme=http)" | "($scheme!=https)");
    let only_returns =
        |block: &Vec<Directive>| block.iter().all(|inner| inner.name == "return" && goes_home(inner, site));
    is_about_clear_text && one.block.as_ref().is_some_and(only_returns)
}
