//! The TOML as it is written: one struct a table, one field a key, unknown keys refused.
//!
//! Every value is parsed and bounded by its type while it is read. Nothing here knows a default: a key that isn't there
//! is `None`, so that a site can tell "not said" from "said".

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use toml::Spanned;

use super::acme::RawAcme;
use super::cluster::{Partition, RawCluster};
use super::cookies::Cookies;
use super::guard::RawGuard;
use super::listener::RawListeners;
use super::log::RawLog;
use super::names::{Host, HttpUrl, Instance, PathPrefix, ProbeHost, Statuses, UrlPath};
use super::provider::RawProvider;
use super::traces::RawTraces;
use super::units::{Count, HOUR, KIB, MIB, MINUTE, Period, SECOND, Size};
use super::written::{OneOrMany, Text};
use super::{App, BackendSpec, Failover, ListenAddress, WarmStandby};
use crate::core::SiteName;

/// The file that `--config` names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFile {
    pub(super) include: Option<Spanned<OneOrMany<String>>>,
    pub(super) server: RawServer,
    pub(super) listen: RawListen,
    pub(super) tls: RawTls,
    pub(super) https: RawHttps,
    pub(super) admin: RawAdmin,
    pub(super) guard: RawGuard,
    pub(super) hold: RawHoldAll,
    pub(super) health: RawHealth,
    pub(super) handoff: RawHandoff,
    pub(super) upstream: RawUpstream,
    pub(super) limits: RawLimits,
    pub(super) resolver: RawResolver,
    pub(super) acme: Option<Spanned<RawAcme>>,
    pub(super) cluster: Option<Spanned<RawCluster>>,
    pub(super) provider: RawProvider,
    pub(super) log: RawLog,
    pub(super) traces: Option<Spanned<RawTraces>>,
    pub(super) pages: RawPages,
    /// Sites are taken out and read one by one; the field is here so that its key is known.
    #[serde(rename = "site")]
    _site: Option<IgnoredAny>,
}

/// A file that `include` names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIncluded {
    #[serde(rename = "site")]
    _site: Option<IgnoredAny>,
}

/// `[server]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    pub(super) state: Option<Spanned<String>>,
    pub(super) threads: Option<Text<Count<0, 1_024>>>,
    pub(super) trusted_proxies: Option<Vec<Text<ipnet::IpNet>>>,
    pub(super) shutdown_delay: Option<Text<Period<0, HOUR>>>,
    pub(super) shutdown_timeout: Option<Text<Period<0, HOUR>>>,
    pub(super) upgrade_timeout: Option<Text<Period<SECOND, HOUR>>>,
    pub(super) upgrade_probation: Option<Text<Period<0, HOUR>>>,
    pub(super) watchdog: Option<OnStall>,
    pub(super) watchdog_limit: Option<Text<Period<{ 2 * SECOND }, HOUR>>>,
}

/// What is done about a worker that stands still.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnStall {
    Report,
    Restart,
}

/// `[listen]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawListen {
    pub(super) http: Option<Spanned<RawListeners>>,
    pub(super) https: Option<Spanned<RawListeners>>,
    pub(super) proxy_protocol: Option<RawProxyProtocol>,
}

/// `proxy_protocol` in `[listen]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProxyProtocol {
    pub(super) from: Option<Vec<Text<ipnet::IpNet>>>,
}

/// `[tls]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    pub(super) certificates: Option<Spanned<String>>,
    pub(super) public_port: Option<Text<Count<1, 65_535>>>,
}

/// `[https]` and `[site.https]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttps {
    pub(super) redirect: Option<bool>,
    pub(super) hsts: Option<Text<Period<0, { 3_650 * 24 * HOUR }>>>,
    pub(super) hsts_subdomains: Option<bool>,
}

/// `[admin]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAdmin {
    pub(super) listen: Option<Spanned<Text<ListenAddress>>>,
    pub(super) token: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<String>>,
}

/// By hand, for the token must not get into a log.
impl std::fmt::Debug for RawAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawAdmin").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// `[hold]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHoldAll {
    pub(super) timeout: Option<Text<HoldTimeout>>,
    pub(super) max_requests: Option<Text<HoldRequests>>,
    pub(super) share_answers: Option<bool>,
    pub(super) harmless_cookies: Option<Cookies>,
    pub(super) max_requests_total: Option<Text<Count<1, 10_000_000>>>,
}

/// `[site.hold]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHold {
    pub(super) timeout: Option<Text<HoldTimeout>>,
    pub(super) max_requests: Option<Text<HoldRequests>>,
    pub(super) share_answers: Option<bool>,
    pub(super) harmless_cookies: Option<Cookies>,
    pub(super) never: Option<Vec<Text<UrlPath>>>,
}

pub(super) type HoldTimeout = Period<10, { 10 * MINUTE }>;
pub(super) type HoldRequests = Count<1, 1_000_000>;

/// `[health]` and `[site.health]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHealth {
    pub(super) path: Option<Text<UrlPath>>,
    pub(super) proof_path: Option<Text<UrlPath>>,
    pub(super) host: Option<Text<ProbeHost>>,
    pub(super) forwarded_proto: Option<Proto>,
    pub(super) expect: Option<Spanned<OneOrMany<Text<Statuses>>>>,
    pub(super) interval: Option<Text<Period<10, HOUR>>>,
    pub(super) held_interval: Option<Text<Period<5, MINUTE>>>,
    pub(super) timeout: Option<Text<Period<10, { 5 * MINUTE }>>>,
    pub(super) fall: Option<Text<Count<1, 1_000>>>,
    pub(super) rise: Option<Text<Count<1, 1_000>>>,
}

/// What a probe says the reader's connection was.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Proto {
    Http,
    Https,
}

/// `[handoff]` and `[site.handoff]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHandoff {
    pub(super) drain_timeout: Option<Text<Period<0, HOUR>>>,
    pub(super) prove_timeout: Option<Text<Period<10, HOUR>>>,
}

/// `[upstream]` and `[site.upstream]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUpstream {
    pub(super) connect_timeout: Option<Text<Period<10, { 5 * MINUTE }>>>,
    pub(super) first_byte_timeout: Option<Text<Period<10, { 24 * HOUR }>>>,
    pub(super) body_timeout: Option<Text<Period<10, { 24 * HOUR }>>>,
    pub(super) keep_alive: Option<Text<Period<0, HOUR>>>,
    pub(super) tunnel_timeout: Option<Text<Period<SECOND, { 7 * 24 * HOUR }>>>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) max_connections: Option<Text<Count<1, 10_000_000>>>,
    pub(super) max_connections_per_client: Option<Text<Count<1, 10_000_000>>>,
    pub(super) max_head: Option<Text<Size<{ 8 * KIB }, MIB>>>,
    pub(super) max_headers: Option<Text<Count<16, 1_000>>>,
    pub(super) head_timeout: Option<Text<Period<10, { 10 * MINUTE }>>>,
    pub(super) body_timeout: Option<Text<Period<10, HOUR>>>,
    pub(super) write_timeout: Option<Text<Period<10, HOUR>>>,
    pub(super) keep_alive_timeout: Option<Text<Period<10, HOUR>>>,
}

/// `[resolver]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawResolver {
    pub(super) servers: Option<Vec<Text<SocketAddr>>>,
    pub(super) timeout: Option<Text<Period<10, MINUTE>>>,
}

/// `[pages]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPages {
    pub(super) unavailable: Option<Spanned<String>>,
    pub(super) unknown_host: Option<Spanned<String>>,
    pub(super) bad_gateway: Option<Spanned<String>>,
}

/// `[[site]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSite {
    pub(super) name: Option<Spanned<Text<SiteName>>>,
    pub(super) hosts: Option<Spanned<Vec<Spanned<Text<Host>>>>>,
    pub(super) backends: Option<Spanned<Vec<Spanned<Text<BackendSpec>>>>>,
    pub(super) app: Option<App>,
    pub(super) failover: Option<Failover>,
    pub(super) warm_standby: Option<Spanned<WarmStandby>>,
    pub(super) partition: Option<Partition>,
    pub(super) certificate: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) https: RawHttps,
    pub(super) hold: RawHold,
    pub(super) health: RawHealth,
    pub(super) hooks: RawHooks,
    pub(super) handoff: RawHandoff,
    pub(super) upstream: RawUpstream,
    pub(super) tell_epoch: Option<bool>,
    pub(super) headers: RawHeaders,
    pub(super) route: Vec<Spanned<RawRoute>>,
}

/// `[site.hooks]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHooks {
    pub(super) fence: Option<Spanned<RawHook>>,
    pub(super) start: Option<Spanned<RawHook>>,
}

/// One hook.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHook {
    pub(super) command: Option<Vec<String>>,
    pub(super) url: Option<Text<HttpUrl>>,
    pub(super) timeout: Option<Text<Period<10, HOUR>>>,
    pub(super) required: Option<bool>,
}

/// `[[site.route]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRoute {
    pub(super) path: Option<Text<PathPrefix>>,
    pub(super) upstream: Option<Text<Instance>>,
}

/// `[site.headers]`, in the order of their names.
#[derive(Debug, Default)]
pub(super) struct RawHeaders(pub(super) Vec<(HeaderName, HeaderValue)>);

impl<'de> Deserialize<'de> for RawHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = RawHeaders;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table of header fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeaders, A::Error> {
        let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::new();
        while let Some((Text(name), Text(value))) = map.next_entry()? {
            // TOML tells `X-A` and `x-a` apart, HTTP doesn't.
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(A::Error::custom(format!(
                    "`{name}` is written twice, in different letter cases"
                )));
            }
            fields.push((name, value));
        }
        Ok(RawHeaders(fields))
    }
}
