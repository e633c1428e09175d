//! `[cluster]`: the store that many edges share, and what an edge does when it can't reach it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::defaults::{DEFAULT_CLUSTER_LEASE_TTL, DEFAULT_CLUSTER_PARTITION, DEFAULT_CLUSTER_PREFIX};
use super::errors::Report;
use super::units::{Period, SECOND};
use super::written::{Text, Written};
use super::{Limits, Listen, ListenAddress, Listener, ListenerSettings, Secret, include};

/// `[cluster]`
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// URLs of etcd's members, in the order in which they are tried; at least one.
    pub etcd: Vec<String>,
    /// What this edge is called; the host's name unless set.
    pub name: String,
    /// Under which keys the fleet is; begins with a slash and ends without one.
    pub prefix: String,
    /// How long an edge that falls silent is waited for.
    pub lease_ttl: Duration,
    /// What sites do that don't say it themselves.
    pub partition: Partition,
    /// How etcd is known, and how this edge is known to it.
    pub tls: Option<ClusterTls>,
    /// Who this edge is to etcd.
    pub user: Option<(String, Secret)>,
}

/// `tls` in `[cluster]`: texts in PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterTls {
    /// Who signs the members' certificates; those of the system unless set.
    pub ca: Option<Arc<str>>,
    /// Certificate and key by which this edge is known.
    pub identity: Option<(Arc<str>, Secret)>,
}

/// `partition`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// A site is held while its edge can't renew its lease: never two states; the default.
    Fence,
    /// It goes on with the last pin that is known: two states are possible.
    Serve,
}

/// `[cluster]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCluster {
    etcd: Option<Spanned<Vec<Spanned<Text<Member>>>>>,
    name: Option<Spanned<Text<EdgeName>>>,
    prefix: Option<Text<Prefix>>,
    lease_ttl: Option<Text<Period<{ 2 * SECOND }, { 60 * SECOND }>>>,
    pub(super) partition: Option<Partition>,
    detour: Option<Spanned<Text<SocketAddr>>>,
    tls: Option<Spanned<RawTls>>,
    user: Option<Spanned<String>>,
    password_file: Option<Spanned<String>>,
}

/// `tls` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTls {
    ca: Option<Spanned<String>>,
    cert: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
}

/// The URL of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member(String);

impl Written for Member {
    const EXPECTS: &'static str = r#"a URL such as "https://10.0.0.1:2379""#;

    fn read(text: &str) -> Result<Self, String> {
        let uri: http::Uri = text.parse().map_err(|_| format!("`{text}` is no URL"))?;
        let is_one =
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.port().is_some() && uri.path() == "/";
        match is_one {
            true => Ok(Self(text.trim_end_matches('/').to_owned())),
            false => Err(format!("`{text}` is no member of etcd; write `https://host:2379`")),
        }
    }
}

/// What an edge is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdgeName(String);

impl EdgeName {
    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Written for EdgeName {
    const EXPECTS: &'static str = r#"a name such as "edge-1""#;

    fn read(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        match !text.is_empty() && text.len() <= 64 && text.bytes().all(fits) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("`{text}` is no name; write up to 64 letters, digits, `.`, `-` or `_`")),
        }
    }
}

/// Where the fleet's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prefix(String);

impl Written for Prefix {
    const EXPECTS: &'static str = r#"a path such as "/ghostpin""#;

    fn read(text: &str) -> Result<Self, String> {
        let path = text.trim_end_matches('/');
        match path.len() > 1 && path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(path.to_owned())),
            false => Err(format!("`{text}` is no prefix; begin it with a slash, such as `/ghostpin`")),
        }
    }
}

/// Where other edges' requests come in, if they may; it is one of the process's listeners.
pub(super) fn detour(
    raw: &Option<Spanned<RawCluster>>,
    listen: &Listen,
    limits: &Limits,
    report: &mut Report<'_, '_>,
) -> Option<Listener> {
    let key = raw.as_ref()?.get_ref().detour.as_ref()?;
    let (at, address) = (key.span().start, key.get_ref().0);
    if address.ip().is_unspecified() {
        let message = format!(
            "`{address}` is no address by which other edges reach this one; write the one that it has among them"
        );
        report.wrong(at, "cluster.detour", message);
    }
    let address = ListenAddress::Tcp(address);
    if address.is_one_place() && listen.all().any(|listener| listener.address == address) {
        let message = format!("`{address}` is in [listen] too; choose another port");
        report.wrong(at, "cluster.detour", message);
    }
    let settings = ListenerSettings { proxy_protocol_from: Vec::new(), limits: *limits };
    Some(Listener { address, settings })
}

/// From what was written.
pub(super) fn cluster(raw: &Option<Spanned<RawCluster>>, report: &mut Report<'_, '_>) -> Option<Cluster> {
    let at = raw.as_ref()?.span().start;
    let raw = raw.as_ref()?.get_ref();
    let mut etcd: Vec<String> = Vec::new();
    for member in raw.etcd.iter().flat_map(|list| list.get_ref()) {
        let Text(Member(url)) = member.get_ref();
        if etcd.contains(url) {
            report.wrong(
                member.span().start,
                "cluster.etcd",
                format!("`{url}` is listed twice; remove one of them"),
            );
        }
        etcd.push(url.clone());
    }
    if etcd.is_empty() {
        let message = r#"names no member; write etcd = ["https://10.0.0.1:2379"], say"#;
        report.missing(raw.etcd.as_ref().map_or(at, |list| list.span().start), "cluster.etcd", message);
    }
    Some(Cluster {
        etcd,
        name: name(raw, at, report),
        prefix: raw.prefix.as_ref().map_or_else(|| DEFAULT_CLUSTER_PREFIX.to_owned(), |key| key.0.0.clone()),
        lease_ttl: raw.lease_ttl.map_or(DEFAULT_CLUSTER_LEASE_TTL, |key| key.0.0),
        partition: raw.partition.unwrap_or(DEFAULT_CLUSTER_PARTITION),
        tls: raw.tls.as_ref().and_then(|tls| self::tls(tls, report)),
        user: user(raw, report),
    })
}

fn name(raw: &RawCluster, at: usize, report: &mut Report<'_, '_>) -> String {
    if let Some(name) = &raw.name {
        return name.get_ref().0.0.clone();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match EdgeName::read(&host) {
        Ok(EdgeName(name)) => name,
        Err(_) => {
            let message = format!(
                r#"is missing, and the host's name `{host}` can't stand for it; write name = "edge-1", say"#
            );
            report.missing(at, "cluster.name", message);
            host
        }
    }
}

fn tls(raw: &Spanned<RawTls>, report: &mut Report<'_, '_>) -> Option<ClusterTls> {
    let (at, raw) = (raw.span().start, raw.get_ref());
    let ca = raw.ca.as_ref().map(|file| text(file, "ca", report));
    let identity = match (&raw.cert, &raw.key) {
        (Some(cert), Some(key)) => Some((text(cert, "cert", report), text(key, "key", report))),
        (None, None) => None,
        (cert, _) => {
            let name = if cert.is_none() { "cert" } else { "key" };
            report.missing(
                at,
                format!("cluster.tls.{name}"),
                "must be there: a certificate and its key belong together",
            );
            None
        }
    };
    let ca = match ca {
        Some(read) => Some(read?.into()),
        None => None,
    };
    let identity = match identity {
        Some((cert, key)) => Some((cert?.into(), Secret(key?))),
        None => None,
    };
    Some(ClusterTls { ca, identity })
}

/// A file's text. It may be a key, and is never part of an error.
fn text(file: &Spanned<String>, key: &str, report: &mut Report<'_, '_>) -> Option<String> {
    let path = report.source.folder().join(file.get_ref());
    match include::read_text(&path) {
        Ok(text) if text.contains("-----BEGIN ") => return Some(text),
        Ok(_) => report.wrong(
            file.span().start,
            format!("cluster.tls.{key}"),
            format!("`{}` is no PEM file; name one that begins with -----BEGIN", path.display()),
        ),
        Err(error) => report.wrong(
            file.span().start,
            format!("cluster.tls.{key}"),
            format!("`{}` can't be read: {error}", path.display()),
        ),
    }
    None
}

fn user(raw: &RawCluster, report: &mut Report<'_, '_>) -> Option<(String, Secret)> {
    let (user, file) = match (&raw.user, &raw.password_file) {
        (Some(user), Some(file)) => (user.get_ref().clone(), file),
        (None, None) => return None,
        (Some(user), None) => {
            let message = "stands alone; add password_file, which names the file with its password";
            report.missing(user.span().start, "cluster.user", message);
            return None;
        }
        (None, Some(file)) => {
            report.missing(
                file.span().start,
                "cluster.password_file",
                "stands alone; add user, whose password it is",
            );
            return None;
        }
    };
    let path = report.source.folder().join(file.get_ref());
    match include::read_text(&path) {
        Ok(text) => Some((user, Secret(text.trim_end().to_owned()))),
        Err(error) => {
            let message = format!("`{}` can't be read: {error}", path.display());
            report.wrong(file.span().start, "cluster.password_file", message);
            None
        }
    }
}
