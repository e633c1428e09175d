//! `[provider]`: where sites come from besides the file.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::defaults::{DEFAULT_SWARM_HELD_INTERVAL, DEFAULT_SWARM_INTERVAL, DEFAULT_SWARM_TIMEOUT};
use super::errors::Report;
use super::include;
use super::units::{MINUTE, Period};
use super::written::{Text, Written};

/// Managers that may be named. A swarm has seven at most, or it should.
const MANAGERS_MAX: usize = 16;

/// `[provider.swarm]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    /// Whom to ask; at least one.
    pub managers: Vec<Manager>,
    /// What connections over TCP are secured by.
    pub tls: Option<ClientTls>,
    /// Between two answers.
    pub interval: Duration,
    /// The same, while a site waits for its task.
    pub held_interval: Duration,
    /// How long one manager may take to answer.
    pub timeout: Duration,
}

/// Where the API of a manager is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// `host:port`
    Tcp {
        /// An address, or a name that is looked up at each connection.
        host: String,
        /// The port.
        port: u16,
    },
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// `tls`: a client's certificate, and whom it trusts. The files are read at each connection, for they are renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The certificates that a manager's own is trusted by; no others are.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// `[provider]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProvider {
    swarm: Option<Spanned<RawSwarm>>,
}

/// `[provider.swarm]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSwarm {
    managers: Option<Spanned<Vec<Spanned<Text<Manager>>>>>,
    tls: Option<Spanned<RawClientTls>>,
    interval: Option<Text<Period<100, MINUTE>>>,
    held_interval: Option<Text<Period<50, MINUTE>>>,
    timeout: Option<Text<Period<100, MINUTE>>>,
}

/// `tls` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawClientTls {
    ca: Option<Spanned<String>>,
    cert: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
}

impl Written for Manager {
    const EXPECTS: &'static str =
        r#"a manager such as "unix:///var/run/docker.sock" or "tcp://10.0.0.1:2376""#;

    fn read(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => {
                    Err(format!("`{text}`: write the whole path, such as `unix:///var/run/docker.sock`"))
                }
            };
        }
        let Some(authority) = text.strip_prefix("tcp://") else {
            return Err(format!("`{text}` is no manager; write `unix:///path` or `tcp://host:port`"));
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let read: Option<http::uri::Authority> = authority.parse().ok().filter(|_| !authority.contains('@'));
        let host = read.as_ref().map(|read| read.host().trim_matches(['[', ']']).to_owned());
        match (host.filter(|host| !host.is_empty()), read.and_then(|read| read.port_u16())) {
            (Some(host), Some(port)) if port > 0 => Ok(Self::Tcp { host, port }),
            (Some(_), _) => {
                Err(format!("`{text}` has no port; Docker's is 2376 with TLS: `tcp://host:2376`"))
            }
            _ => Err(format!("`{text}` is no manager; write `tcp://host:port`")),
        }
    }
}

/// From what was written.
pub(super) fn swarm(raw: &RawProvider, report: &mut Report<'_, '_>) -> Option<Swarm> {
    let (at, raw) = (raw.swarm.as_ref()?.span().start, raw.swarm.as_ref()?.get_ref());
    let mut managers: Vec<Manager> = Vec::new();
    let mut add = |at: usize, why: String| report.missing(at, "provider.swarm.managers", why);
    match &raw.managers {
        None => add(at, r#"is missing; write managers = ["unix:///var/run/docker.sock"], say"#.to_owned()),
        Some(list) if list.get_ref().is_empty() => {
            add(list.span().start, "is empty; name one manager at least, better all".to_owned());
        }
        Some(list) => {
            for key in list.get_ref() {
                let manager = &key.get_ref().0;
                if managers.contains(manager) {
                    add(key.span().start, format!("`{manager}` is listed twice; remove one of them"));
                }
                managers.push(manager.clone());
            }
            if managers.len() > MANAGERS_MAX {
                add(list.span().start, format!("may be {MANAGERS_MAX} at most; remove some"));
            }
        }
    }
    Some(Swarm {
        managers,
        tls: raw.tls.as_ref().and_then(|raw| tls(raw, report)),
        interval: raw.interval.map_or(DEFAULT_SWARM_INTERVAL, |key| key.0.0),
        held_interval: raw.held_interval.map_or(DEFAULT_SWARM_HELD_INTERVAL, |key| key.0.0),
        timeout: raw.timeout.map_or(DEFAULT_SWARM_TIMEOUT, |key| key.0.0),
    })
}

fn tls(raw: &Spanned<RawClientTls>, report: &mut Report<'_, '_>) -> Option<ClientTls> {
    let (at, raw) = (raw.span().start, raw.get_ref());
    let mut file = |name: &str, key: &Option<Spanned<String>>| {
        let name = format!("provider.swarm.tls.{name}");
        let Some(key) = key else {
            let message = r#"must be there; write tls = { ca = "...", cert = "...", key = "..." }"#;
            report.missing(at, name, message);
            return None;
        };
        let path = report.source.folder().join(key.get_ref());
        if let Err(error) = include::read_text(&path) {
            report.wrong(key.span().start, name, format!("`{}` can't be read: {error}", path.display()));
        }
        Some(path)
    };
    let (ca, cert, key) = (file("ca", &raw.ca), file("cert", &raw.cert), file("key", &raw.key));
    Some(ClientTls { ca: ca?, cert: cert?, key: key? })
}
