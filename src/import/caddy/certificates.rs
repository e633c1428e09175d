//! Certificates: the global options that decide about them, and a site's `tls`.

use super::super::draft::{Acme, Draft, Note, Site};
use super::blocks::Block;

/// The options of the block without a name, which holds what is said of all.
pub(super) fn options(block: &[Block], draft: &mut Draft) {
    for one in block {
        let words: Vec<&str> = one.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["email", address] if is_contact(address) => {
                acme(draft).contact = Some((*address).to_owned());
            }
            ["acme_ca", url] if is_directory(url) => acme(draft).directory = Some((*url).to_owned()),
            ["acme_ca" | "cert_issuer" | "local_certs", ..] | ["auto_https", "off" | "disable_certs", ..] => {
                acme(draft).against.push(Note { line: one.line.into(), text: one.in_words() });
                draft.notes.extend(one.untaken("", " of the global options"));
            }
            _ => draft.notes.extend(one.untaken("", " of the global options")),
        }
    }
}

/// `tls` of a site.
pub(super) fn tls(one: &Block, site: &mut Site, draft: &mut Draft) {
    let words: Vec<&str> = one.words.iter().map(String::as_str).collect();
    match (words.as_slice(), &one.block) {
        (["tls", certificate, key], block) if !certificate.contains('{') && !key.contains('{') => {
            (site.certificate, site.key) = (Some((*certificate).to_owned()), Some((*key).to_owned()));
            for inner in block.iter().flatten() {
                site.notes.extend(inner.untaken("`tls`: ", ""));
            }
        }
        (["tls", contact], None) if is_contact(contact) => {
            acme(draft).contact = Some((*contact).to_owned());
        }
        (args, block) => {
            let others = ["ca", "ca_root", "issuer", "get_certificate", "load"];
            // An address that is a variable is one of the usual authority still.
            let has_own = matches!(args, ["tls", "internal"] | ["tls", _, _]);
            if has_own || block.iter().flatten().any(|inner| others.contains(&inner.name())) {
                acme(draft).against.push(Note { line: one.line.into(), text: one.in_words() });
            }
            site.notes.extend(one.untaken("", ""));
        }
    }
}

fn acme(draft: &mut Draft) -> &mut Acme {
    draft.acme.get_or_insert_default()
}

/// An address that a configuration of ghostpin can have, and no variable.
fn is_contact(text: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    !text.contains('{') && text.split_once('@').is_some_and(|(who, host)| is_plain(who) && is_plain(host))
}

fn is_directory(text: &str) -> bool {
    let host =
        |uri: http::Uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|h| !h.is_empty());
    !text.contains('{') && text.parse().is_ok_and(host)
}
