//! The configuration: what an operator wrote, read once, checked whole, and turned into bounded, typed values.
//!
//! [`Config`] is what the rest of ghostpin sees. Reading files, unknown keys, units and line numbers are the
//! business of the parts below. Every default is a named constant.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::core::{Backend, SiteName};

pub mod acme;
pub mod changes;
mod cluster;
mod common;
mod cookies;
pub mod defaults;
pub mod diff;
mod errors;
pub mod fingerprint;
mod guard;
mod include;
pub mod labels;
mod listener;
mod log;
mod names;
mod parse;
mod pieces;
pub mod provider;
mod quick;
mod raw;
mod read;
pub mod share;
mod site;
mod traces;
mod units;
mod written;

#[cfg(test)]
pub(crate) mod tests;

pub use self::labels::SiteDefaults;
pub use acme::Acme;
pub use cluster::{Cluster, Partition};
pub(crate) use common::Kinds;
pub use cookies::Cookies;
pub use errors::{ConfigError, ConfigErrors, MAX_ERRORS};
pub use guard::{Canary, Guard};
pub use include::all as files_of;
pub use log::{AccessFormat, AccessTo, Log, LogFormat};
pub use names::host;
pub use quick::Loaded;
pub use share::Share;
pub use traces::Traces;
pub use units::duration;

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[listen]`
    pub listen: Listen,
    /// `[tls]`
    pub tls: Tls,
    /// `[admin]`
    pub admin: Admin,
    /// `[guard]`: how much an update may touch at once, and where it is tried first.
    pub guard: Guard,
    /// `[hold]`: what all sites together may hold.
    pub hold_total: HoldTotal,
    /// `[limits]`
    pub limits: Limits,
    /// `[resolver]`
    pub resolver: Resolver,
    /// `[acme]`; `None` if certificates are not ordered.
    pub acme: Option<Acme>,
    /// `[cluster]`; `None` if this process is alone.
    pub cluster: Option<Cluster>,
    /// `[provider.swarm]`; `None` if no swarm is watched.
    pub swarm: Option<provider::Swarm>,
    /// `[log]`
    pub log: Log,
    /// `[traces]`; `None` if nothing is traced.
    pub traces: Option<Traces>,
    /// `[pages]`
    pub pages: Pages,
    /// What sites get that a provider brings.
    pub defaults: SiteDefaults,
    /// `[[site]]`, in the order of the files, each with the defaults of the top-level tables filled in.
    pub sites: Vec<Arc<Site>>,
}

/// `[server]`: the process. Changes need a restart, and a reload says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Folder of the pin store.
    pub state: PathBuf,
    /// Worker threads; at least 1 (0 in the file means one per core).
    pub threads: usize,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// For how long connections are still taken after a stop was asked for, and `/readyz` has said so.
    pub shutdown_delay: Duration,
    /// How long a stop waits for requests in flight.
    pub shutdown_timeout: Duration,
    /// How long the new process of an upgrade may take to be ready.
    pub upgrade_timeout: Duration,
    /// For how long it is watched before it takes over.
    pub upgrade_probation: Duration,
    /// What is done about a worker that stands still.
    pub watchdog: Watchdog,
}

/// What is done about a worker that stands still, besides telling of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watchdog {
    /// After so long, the process ends, for its supervisor to start it again; `None` if it goes on.
    pub restart_after: Option<Duration>,
}

/// `[listen]`: where readers come in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listen {
    /// Cleartext HTTP/1.1 and HTTP/2 addresses.
    pub http: Vec<Listener>,
    /// Addresses of HTTP/1.1 and HTTP/2 over TLS.
    pub https: Vec<Listener>,
    /// Where other edges bring requests for backends that they can't reach: `cluster.detour`.
    pub edges: Option<Listener>,
    /// Balancers whose connections begin with a PROXY header (version 1 or 2), unless a listener says otherwise.
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
}

impl Listen {
    /// All listeners, in the order by which they are numbered.
    pub fn all(&self) -> impl Iterator<Item = &Listener> {
        self.http.iter().chain(&self.https).chain(&self.edges)
    }
}

/// One listener, what holds for all of them filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Where it is.
    pub address: ListenAddress,
    /// What its connections are served by.
    pub settings: ListenerSettings,
}

/// What connections of one listener are served by.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerSettings {
    /// Balancers whose connections begin with a PROXY header (version 1 or 2).
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    /// What one client, or all of them, may take.
    pub limits: Limits,
}

/// `[tls]`: what readers are shown over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A folder of certificates and keys.
    pub certificates: Option<PathBuf>,
    /// The port at which clients reach the listeners of `https`, if that is not the first one's own.
    pub public_port: Option<u16>,
}

/// `[https]`, per site: what readers are told of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Https {
    /// Whether requests in clear text are sent there; `None` for those hosts that have a certificate.
    pub redirect: Option<bool>,
    /// The value of `Strict-Transport-Security`.
    pub hsts: Option<String>,
}

/// The certificate that a site names for its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The key; without one it is in the same file.
    pub key: Option<PathBuf>,
}

/// `[admin]`: where operators come in.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Address of the admin API.
    pub listen: ListenAddress,
    /// Bearer token; required for an address that is neither loopback nor a Unix socket. Never printed.
    pub token: Option<Secret>,
}

/// Where somebody comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A text that never appears in logs, errors or answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) String);

impl Secret {
    /// Keeps a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for a comparison.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// `[hold]` keys that count over all sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTotal {
    /// Requests held at all gates together.
    pub max_requests: usize,
}

/// `[limits]`: what one client, or all of them, may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections in total.
    pub max_connections: usize,
    /// Client connections from one address (IPv6: one /64), unless it is a trusted proxy.
    pub max_connections_per_client: usize,
    /// Largest request head, in bytes.
    pub max_head_bytes: usize,
    /// Most header fields in a request.
    pub max_headers: usize,
    /// From the first byte (or the opening) of a connection to the end of a request head.
    pub head_timeout: Duration,
    /// A request body that stands still.
    pub body_timeout: Duration,
    /// A client that does not read its answer.
    pub write_timeout: Duration,
    /// An idle kept connection.
    pub keep_alive_timeout: Duration,
}

/// `[resolver]`: who is asked for the addresses of backends that are given by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// DNS servers; if there are none, `/etc/resolv.conf` names them.
    pub servers: Vec<SocketAddr>,
    /// How long one look may take, over all servers and tries.
    pub timeout: Duration,
}

/// `[pages]`: templates that replace the built-in ones. Their text is read with the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// HTML of a 503 (held too long, or too many held).
    pub unavailable: Option<Arc<str>>,
    /// HTML of a 404 for an unknown host.
    pub unknown_host: Option<Arc<str>>,
    /// HTML of a 502.
    pub bad_gateway: Option<Arc<str>>,
}

/// One `[[site]]`, defaults filled in. There may be a million: what many have in common is kept once.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its name; unique.
    pub name: SiteName,
    /// Its hosts, lower case, without ports; `*.domain` for every name below a domain.
    pub hosts: Box<[Box<str>]>,
    /// Its candidates in the order of preference.
    pub backends: Box<[BackendSpec]>,
    /// What a provider says of instances that nobody may choose; `None` if nothing.
    pub unfit: Option<Box<Unfit>>,
    /// What kind of application it is.
    pub app: App,
    /// Who decides about an unplanned promotion.
    pub failover: Failover,
    /// What to do about a target that was already running before the fence.
    pub warm_standby: WarmStandby,
    /// What to do while this edge can't renew its lease in the fleet's store.
    pub partition: Partition,
    /// What its readers are told of TLS.
    pub https: Arc<Https>,
    /// Its certificate, if it names one.
    pub certificate: Option<Box<CertificateFiles>>,
    /// Hold budget.
    pub hold: Arc<Hold>,
    /// Probes.
    pub health: Arc<Health>,
    /// Hooks of a handoff.
    pub hooks: Arc<Hooks>,
    /// Deadlines of a handoff.
    pub handoff: Arc<Handoff>,
    /// Deadlines and connections towards the backend.
    pub upstream: Arc<Upstream>,
    /// Backends are told the epoch of each request's lease.
    pub tell_epoch: bool,
    /// Header fields set on every request to the backend.
    pub headers: Arc<Vec<(HeaderName, HeaderValue)>>,
    /// Path prefixes that go to another upstream (never pinned), longest first.
    pub routes: Arc<Vec<PathRoute>>,
    /// A provider brings it, and says where its instances are.
    pub provided: bool,
    /// The labels that its provider finds its instances by.
    pub found_by: Option<Box<str>>,
}

/// Instances that nobody may choose, as a provider says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfit {
    /// They run beside the one that is meant.
    pub rivals: Vec<String>,
    /// Their machine is down.
    pub lost: Vec<String>,
}

impl Site {
    /// See [`Unfit::rivals`].
    pub fn rivals(&self) -> &[String] {
        self.unfit.as_ref().map_or(&[], |unfit| &unfit.rivals)
    }

    /// See [`Unfit::lost`].
    pub fn lost(&self) -> &[String] {
        self.unfit.as_ref().map_or(&[], |unfit| &unfit.lost)
    }

    /// `Host` of probes: the site's first host that is no wildcard, unless there is another for them.
    pub fn probe_host(&self) -> &str {
        let exact = || self.hosts.iter().find(|host| !host.starts_with("*."));
        self.health.host.as_deref().or_else(|| exact().map(|host| &**host)).unwrap_or_default()
    }
}

/// A backend as configured: an instance, or a name that has to be resolved to one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendSpec {
    /// An address.
    Instance(Backend),
    /// `host:port` whose host is a name.
    Name {
        /// The host name.
        host: Box<str>,
        /// The port.
        port: u16,
    },
}

impl std::fmt::Display for BackendSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance(backend) => backend.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// `app`: which lessons apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum App {
    /// The Ghost blogging platform; the default.
    Ghost,
    /// Anything else.
    Generic,
}

/// `failover`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Failover {
    /// The controller promotes the next well backend; the default.
    Auto,
    /// Requests are held until an operator decides.
    Manual,
}

/// `warm_standby`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmStandby {
    /// Promote it as it is, and say so loudly; the default.
    Allow,
    /// Run the `start` hook (which restarts it) before it is proved.
    Restart,
    /// Do not promote it.
    Refuse,
}

/// `[hold]`, per site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long a request may wait at the gate, over all its attempts.
    pub timeout: Duration,
    /// Requests held at once.
    pub max_requests: usize,
    /// Requests for paths that the application asks of itself are answered 503 at once while the gate is shut (Ghost:
    /// `/ghost/api/admin/schedules/`, `/favicon.ico`).
    pub never: Vec<String>,
    /// Held requests that are alike are given one answer, where it may be shared.
    pub share_answers: bool,
    /// Cookies that no page depends on.
    pub harmless_cookies: Cookies,
}

impl Hold {
    /// Whether no page depends on a cookie of this name.
    pub fn is_harmless(&self, cookie: &[u8]) -> bool {
        self.harmless_cookies.has(cookie)
    }

    /// Whether a request for this path is answered at once while the gate is shut.
    pub fn is_never_held(&self, path: &str) -> bool {
        self.never.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }
}

/// `[health]`
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Path of the liveness probe.
    pub path: String,
    /// Path of the proof before a gate opens; a page that needs the whole application.
    pub proof_path: String,
    /// `Host` of probes, if it isn't [the site's own](Site::probe_host).
    pub host: Option<String>,
    /// `X-Forwarded-Proto` of probes.
    pub forwarded_proto: String,
    /// Statuses that mean well, as inclusive ranges.
    pub expect: Vec<(u16, u16)>,
    /// Time between two probes of one backend.
    pub interval: Duration,
    /// Time between two probes of a candidate while its site is held.
    pub held_interval: Duration,
    /// Time a probe may take.
    pub timeout: Duration,
    /// Failed probes in a row that make a backend unwell.
    pub fall: u32,
    /// Successful probes in a row that make it well.
    pub rise: u32,
}

/// `[handoff]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// How long leases may end by themselves in a planned handoff before they are cut.
    pub drain_timeout: Duration,
    /// How long a target may take to be proved.
    pub prove_timeout: Duration,
}

/// `[hooks]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// Stops the old instance.
    pub fence: Option<Hook>,
    /// Starts (or restarts) the new one.
    pub start: Option<Hook>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// What it does.
    pub action: HookAction,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether the handoff stops if it fails.
    pub required: bool,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// Runs a program with its arguments; the handoff is described by environment variables.
    Command(Vec<String>),
    /// POSTs a JSON description of the handoff to an `http://` URL.
    Url(http::Uri),
}

/// `[upstream]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time from the end of the request to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// Time that an answer's body may stand still.
    pub body_timeout: Duration,
    /// An idle kept connection is closed after this; below Node's 5 s.
    pub keep_alive: Duration,
    /// Time that an upgraded connection (WebSocket) may stand still in both directions.
    pub tunnel_timeout: Duration,
}

/// A path prefix that another upstream answers.
#[derive(Clone, Debug, PartialEq)]
pub struct PathRoute {
    /// The prefix, beginning with `/`; matches whole segments.
    pub path: String,
    /// Who answers.
    pub upstream: Backend,
}

impl PathRoute {
    /// Whether `path` is the prefix, or lies below it.
    pub fn matches(&self, path: &str) -> bool {
        let below = path.strip_prefix(self.path.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'))
    }
}
