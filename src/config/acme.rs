//! `[acme]`: where certificates come from, and how names are proved to whoever issues them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use toml::Spanned;

use super::defaults::{DEFAULT_ACME_CHALLENGES, DEFAULT_ACME_ON_DEMAND, DEFAULT_ACME_WAIT};
use super::errors::Report;
use super::names::HttpUrl;
use super::units::{MINUTE, Period, SECOND};
use super::written::{Text, Written};
use super::{Secret, include};

/// Certificate authorities in all: the first one, and those that are asked when it can't be.
const AUTHORITIES_MAX: usize = 8;

/// `[acme]`
#[derive(Clone, Debug, PartialEq)]
pub struct Acme {
    /// Who issues certificates, in the order of preference; at least one.
    pub authorities: Vec<CertificateAuthority>,
    /// How an authority can reach the operator: `mailto:` addresses.
    pub contact: Vec<String>,
    /// Whether a name is ordered when somebody asks for it; else all exact hosts are ordered ahead of need.
    pub on_demand: bool,
    /// Who is asked, with `?domain=NAME`, before a name that only a wildcard covers is ordered.
    pub ask: Option<Uri>,
    /// How long the first handshake for a name waits for its certificate.
    pub wait: Duration,
    /// How names are proved, in the order of preference; at least one.
    pub challenges: Vec<Challenge>,
}

/// `directory` and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateAuthority {
    /// URL of its directory.
    pub directory: String,
    /// PEM of the certificates that its own https is trusted by; those of the system unless set.
    pub roots: Option<Arc<str>>,
    /// The account there that ours is to be bound to.
    pub external_account: Option<ExternalAccount>,
}

/// `external_account`
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalAccount {
    /// Its key identifier.
    pub id: String,
    /// Its key for HMAC, in base64url without padding. Never printed.
    pub key: Secret,
}

impl ExternalAccount {
    /// The key's bytes.
    pub fn key_bytes(&self) -> Vec<u8> {
        decode(self.key.expose()).expect("it was decoded when it was read")
    }
}

/// A way to prove a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Challenge {
    /// By an answer over cleartext HTTP on port 80 (RFC 8555, 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// By a certificate of its own, on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// `[acme]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAcme {
    directory: Option<Spanned<Text<DirectoryUrl>>>,
    contact: Option<Vec<Text<Contact>>>,
    ca_file: Option<Spanned<String>>,
    on_demand: Option<bool>,
    ask: Option<Text<HttpUrl>>,
    wait: Option<Text<Period<SECOND, { 5 * MINUTE }>>>,
    challenges: Option<Spanned<Vec<Spanned<Challenge>>>>,
    external_account: Option<Spanned<RawExternalAccount>>,
    fallback: Vec<Spanned<RawFallback>>,
}

/// `[[acme.fallback]]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFallback {
    directory: Option<Spanned<Text<DirectoryUrl>>>,
    ca_file: Option<Spanned<String>>,
    external_account: Option<Spanned<RawExternalAccount>>,
}

/// `external_account` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExternalAccount {
    id: Option<Spanned<String>>,
    key_file: Option<Spanned<String>>,
}

/// The URL of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DirectoryUrl(String);

impl Written for DirectoryUrl {
    const EXPECTS: &'static str = r#"a URL such as "https://ca.example/directory""#;

    fn read(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| format!("`{text}` is no URL"))?;
        match uri.scheme_str() {
            Some("https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(Self(text.to_owned())),
            _ => Err(format!("`{text}`: a directory is asked over https; write `https://host/path`")),
        }
    }
}

/// How an authority can reach the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contact(String);

impl Written for Contact {
    const EXPECTS: &'static str = r#"an address such as "mailto:ops@example.org""#;

    fn read(text: &str) -> Result<Self, String> {
        let address = text.strip_prefix("mailto:").and_then(|address| address.split_once('@'));
        let fits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        match address {
            Some((who, host)) if fits(who) && fits(host) => Ok(Self(text.to_owned())),
            None if text.contains('@') && !text.contains(':') => Err(format!("write `mailto:{text}`")),
            _ => Err(format!("`{text}` is no contact; write an address such as `mailto:ops@example.org`")),
        }
    }
}

/// From what was written.
pub(super) fn acme(raw: &Option<Spanned<RawAcme>>, report: &mut Report<'_, '_>) -> Option<Acme> {
    let at = raw.as_ref()?.span().start;
    let raw = raw.as_ref()?.get_ref();
    let first = (at, "acme", &raw.directory, &raw.ca_file, &raw.external_account);
    let others = raw.fallback.iter().map(|spanned| {
        let raw = spanned.get_ref();
        (spanned.span().start, "acme.fallback", &raw.directory, &raw.ca_file, &raw.external_account)
    });
    let mut authorities: Vec<CertificateAuthority> = Vec::new();
    for (at, table, directory, ca_file, external_account) in std::iter::once(first).chain(others) {
        let roots = ca_file.as_ref().and_then(|file| roots(file, table, report));
        let external_account =
            external_account.as_ref().and_then(|raw| self::external_account(raw, table, report));
        let Some(url) = directory else {
            let message = r#"must be there, such as directory = "https://ca.example/directory""#;
            report.missing(at, format!("{table}.directory"), message);
            continue;
        };
        let directory = url.get_ref().0.0.clone();
        if authorities.iter().any(|other| other.directory == directory) {
            let message = format!("`{directory}` is listed twice; remove one of them");
            report.wrong(url.span().start, format!("{table}.directory"), message);
        }
        authorities.push(CertificateAuthority { directory, roots, external_account });
    }
    if authorities.len() > AUTHORITIES_MAX {
        let message = format!("there may be {AUTHORITIES_MAX} authorities in all; remove some");
        report.wrong(raw.fallback[AUTHORITIES_MAX - 1].span().start, "acme.fallback", message);
    }
    Some(Acme {
        authorities,
        contact: raw.contact.iter().flatten().map(|key| key.0.0.clone()).collect(),
        on_demand: raw.on_demand.unwrap_or(DEFAULT_ACME_ON_DEMAND),
        ask: raw.ask.as_ref().map(|key| key.0.0.clone()),
        wait: raw.wait.map_or(DEFAULT_ACME_WAIT, |key| key.0.0),
        challenges: challenges(&raw.challenges, report),
    })
}

fn challenges(raw: &Option<Spanned<Vec<Spanned<Challenge>>>>, report: &mut Report<'_, '_>) -> Vec<Challenge> {
    let Some(list) = raw else { return DEFAULT_ACME_CHALLENGES.to_vec() };
    if list.get_ref().is_empty() {
        let message = r#"is empty; write one way to prove a name at least, such as ["http-01"]"#;
        report.missing(list.span().start, "acme.challenges", message);
    }
    let mut challenges = Vec::new();
    for key in list.get_ref() {
        if challenges.contains(key.get_ref()) {
            report.wrong(key.span().start, "acme.challenges", "is listed twice; remove one of them");
        }
        challenges.push(*key.get_ref());
    }
    challenges
}

/// The text of a file with at least one certificate.
fn roots(file: &Spanned<String>, table: &str, report: &mut Report<'_, '_>) -> Option<Arc<str>> {
    let path = report.source.folder().join(file.get_ref());
    let why = match include::read_text(&path) {
        Ok(text) => match CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>() {
            Ok(found) if !found.is_empty() => return Some(text.into()),
            Ok(_) => "has no certificate in it; name a PEM file that has".to_owned(),
            Err(error) => format!("is no PEM file: {error}"),
        },
        Err(error) => format!("can't be read: {error}"),
    };
    report.wrong(file.span().start, format!("{table}.ca_file"), format!("`{}` {why}", path.display()));
    None
}

/// The key is never part of an error.
fn external_account(
    raw: &Spanned<RawExternalAccount>,
    table: &str,
    report: &mut Report<'_, '_>,
) -> Option<ExternalAccount> {
    let key = |name: &str| format!("{table}.external_account.{name}");
    let (at, raw) = (raw.span().start, raw.get_ref());
    let (Some(id), Some(file)) = (&raw.id, &raw.key_file) else {
        let name = if raw.id.is_none() { "id" } else { "key_file" };
        let message = r#"must be there; write external_account = { id = "...", key_file = "..." }"#;
        report.missing(at, key(name), message);
        return None;
    };
    if id.get_ref().is_empty() {
        report.wrong(id.span().start, key("id"), "is empty; write the identifier that the authority gave");
    }
    let path = report.source.folder().join(file.get_ref());
    let why = match include::read_text(&path) {
        Ok(text) => match decode(text.trim()) {
            Some(bytes) if !bytes.is_empty() => {
                let secret = text.trim().trim_end_matches('=').to_owned();
                return Some(ExternalAccount { id: id.get_ref().clone(), key: Secret(secret) });
            }
            _ => "does not hold a key in base64url; write it as the authority gave it".to_owned(),
        },
        Err(error) => format!("can't be read: {error}"),
    };
    report.wrong(file.span().start, key("key_file"), format!("`{}` {why}", path.display()));
    None
}

fn decode(key: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests;
