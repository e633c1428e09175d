//! Hosts, site names, backends, paths, header fields: what may be written for them, and what is said otherwise.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};

use super::written::Written;
use super::{BackendSpec, ListenAddress};
use crate::core::{Backend, SiteName};

/// Longest host name in DNS.
const MAX_HOST_BYTES: usize = 253;
/// Longest label in DNS.
const MAX_LABEL_BYTES: usize = 63;
/// Site names are keys, path segments of the admin API and metric labels.
const MAX_SITE_NAME_BYTES: usize = 128;

/// Header fields that are about one connection, or that the proxy itself must get right. A fixed value for one of them
/// would break the framing of messages or the routing, so they can't be set.
const RESERVED_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A host of a site, lower case: `blog.example` or `*.blog.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host(pub(super) String);

impl Written for Host {
    const EXPECTS: &'static str = r#"a host such as "blog.example" or "*.blog.example""#;

    fn read(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.contains('*') {
            return Err(format!(
                "`{text}`: `*` stands for the first labels only; write `*.domain`, or each host by itself"
            ));
        }
        host_name(name).map_err(|why| format!("`{text}`: {why}"))?;
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Reads a host as the configuration does: `blog.example` or `*.blog.example`, made lower case.
///
/// # Errors
/// Why it is none.
pub fn host(text: &str) -> Result<String, String> {
    Host::read(text).map(|Host(host)| host)
}

/// Checks a host name as it is sent in `Host`: ASCII letters, digits, hyphens, underscores, dots.
fn host_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a host must not be empty".into());
    }
    if name.contains('/') {
        return Err("write the host only, without scheme or path".into());
    }
    if let Some((host, port)) = name.rsplit_once(':')
        && !host.contains(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(format!("ports are ignored when a site is looked up; write `{host}`"));
    }
    if !name.is_ascii() {
        return Err("write it as browsers send it, in its ASCII form (`xn--...`)".into());
    }
    if let Some(name) = name.strip_suffix('.') {
        return Err(format!("write it without the dot at the end: `{name}`"));
    }
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return Err(format!(
            "{bad:?} can't be in a host; letters, digits, hyphens, underscores and dots can"
        ));
    }
    if name.len() > MAX_HOST_BYTES {
        return Err(format!("longer than {MAX_HOST_BYTES} characters"));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err("two dots in a row, or a dot at the beginning".into());
        }
        if label.len() > MAX_LABEL_BYTES {
            return Err(format!("the part `{label}` is longer than {MAX_LABEL_BYTES} characters"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(format!("the part `{label}` begins or ends with a hyphen"));
        }
    }
    Ok(())
}

/// The `Host` of a probe: a host without wildcard, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeHost(pub(super) String);

impl Written for ProbeHost {
    const EXPECTS: &'static str = r#"a host such as "blog.example""#;

    fn read(text: &str) -> Result<Self, String> {
        let name = match text.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => name,
            _ => text,
        };
        host_name(name).map_err(|why| format!("`{text}`: {why}"))?;
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Written for SiteName {
    const EXPECTS: &'static str = r#"a name such as "blog""#;

    fn read(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // "." and ".." would vanish from the paths of the admin API.
        if text.is_empty() || text.starts_with('.') || !text.bytes().all(fits) {
            return Err(format!(
                "`{text}` is no name; write ASCII letters, digits, `-`, `_` and `.`, with no dot at the beginning"
            ));
        }
        if text.len() > MAX_SITE_NAME_BYTES {
            return Err(format!("`{text}` is longer than {MAX_SITE_NAME_BYTES} characters"));
        }
        Ok(Self::from(text))
    }
}

impl Written for BackendSpec {
    const EXPECTS: &'static str = r#"a backend such as "127.0.0.1:2368" or "unix:/run/ghost.sock""#;

    fn read(text: &str) -> Result<Self, String> {
        if text.starts_with("unix:") {
            return instance(text).map(Self::Instance);
        }
        if text.contains("://") {
            return Err(format!("`{text}`: write it without a scheme, such as `127.0.0.1:2368`"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("`{text}` has no port; write `{text}:2368`, say"));
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = match port.parse() {
            Ok(0) => return Err(format!("`{text}`: port 0 is nobody's; write the backend's port")),
            Ok(port) if digits => port,
            _ => {
                return Err(format!(
                    "`{text}`: `{port}` is no port; write a number from 1 to 65535 after the colon"
                ));
            }
        };
        // All-numeric names would be IPv4 addresses with a slip in them: 10.0.0.256, 127.1.
        let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if host.starts_with('[') || host.contains(':') || numeric {
            return instance(text).map(Self::Instance);
        }
        host_name(host).map_err(|why| format!("`{text}`: {why}"))?;
        Ok(Self::Name { host: host.to_ascii_lowercase().into(), port })
    }
}

/// A backend that is an address: `IP:port`, `[IPv6]:port` or `unix:/path`.
fn instance(text: &str) -> Result<Backend, String> {
    if text.starts_with("unix:") {
        return text.parse().map_err(|error| format!("{error}"));
    }
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("`{text}` is no backend; write `IP:port`, `[IPv6]:port`, `name:port` or `unix:/path/of/the/socket`")
    })?;
    // One address has one text, or `[::0001]:80` and `[::1]:80` would be two backends.
    address.to_string().parse().map_err(|error| format!("{error}"))
}

/// A backend that must be an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance(pub(super) Backend);

impl Written for Instance {
    const EXPECTS: &'static str = r#"an address such as "127.0.0.1:8080" or "unix:/run/app.sock""#;

    fn read(text: &str) -> Result<Self, String> {
        match BackendSpec::read(text)? {
            BackendSpec::Instance(backend) => Ok(Self(backend)),
            BackendSpec::Name { .. } => {
                Err(format!("`{text}` is a name; the upstream of a path must be an address or a Unix socket"))
            }
        }
    }
}

/// Path and query of a request that ghostpin makes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UrlPath(pub(super) String);

impl Written for UrlPath {
    const EXPECTS: &'static str = r#"a path such as "/""#;

    fn read(text: &str) -> Result<Self, String> {
        let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !text.starts_with('/') || !clean || text.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(format!(
                "`{text}` is no path; begin it with `/`, and percent-encode spaces and what is not ASCII"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A prefix of paths, made of whole segments; without the slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathPrefix(pub(super) String);

impl Written for PathPrefix {
    const EXPECTS: &'static str = r#"a path such as "/.ghost/activitypub""#;

    fn read(text: &str) -> Result<Self, String> {
        let UrlPath(path) = UrlPath::read(text)?;
        if let Some(prefix) = path.strip_suffix("/*") {
            return Err(format!("`{text}`: a prefix matches all that is below it; write `{prefix}`"));
        }
        if path.contains(['?', '*']) {
            return Err(format!("`{text}`: a prefix is a plain path, without `?` and `*`"));
        }
        match path.trim_end_matches('/') {
            "" => Err(format!("`{text}` would send every request past the pin; name a path below it")),
            prefix => Ok(Self(prefix.to_owned())),
        }
    }
}

impl Written for HeaderName {
    const EXPECTS: &'static str = "the name of a header field";

    fn read(text: &str) -> Result<Self, String> {
        let name: Self = text.parse().map_err(|_| format!("`{text}` can't be the name of a header field"))?;
        if RESERVED_HEADERS.contains(&name.as_str()) {
            return Err(format!("`{name}` can't be set: the proxy makes it for each connection itself"));
        }
        Ok(name)
    }
}

impl Written for HeaderValue {
    const EXPECTS: &'static str = "the text of a header field";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} can't be in a header field; write visible ASCII only"))
    }
}

impl Written for SocketAddr {
    const EXPECTS: &'static str = r#"an address such as "127.0.0.1:8080" or "[::]:80""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is no address; write `IP:port` or `[IPv6]:port`"))
    }
}

impl Written for ListenAddress {
    const EXPECTS: &'static str = r#"an address such as "127.0.0.1:9180", or the path of a Unix socket"#;

    fn read(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.contains('/') {
            return Ok(Self::Unix(path.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("`{text}` is neither an address (`127.0.0.1:9180`) nor the path of a Unix socket (with a `/` in it)")
        })
    }
}

impl Written for ipnet::IpNet {
    const EXPECTS: &'static str = r#"an address or a network such as "10.0.0.0/8""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()))
            .map_err(|_| format!("`{text}` is neither an address nor a network; write `10.0.0.0/8`, say"))
    }
}

/// An `http://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpUrl(pub(super) http::Uri);

impl Written for HttpUrl {
    const EXPECTS: &'static str = r#"a URL such as "http://127.0.0.1:9000/fence""#;

    fn read(text: &str) -> Result<Self, String> {
        let uri: http::Uri = text.parse().map_err(|_| format!("`{text}` is no URL"))?;
        match uri.scheme_str() {
            Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(Self(uri)),
            _ => Err(format!("`{text}`: a hook is called over plain HTTP; write `http://host:port/path`")),
        }
    }
}

/// Statuses that mean well, as an inclusive range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statuses(pub(super) (u16, u16));

impl Written for Statuses {
    const EXPECTS: &'static str = r#"a status or a range of them, such as "200" or "200-299""#;

    fn read(text: &str) -> Result<Self, String> {
        let status = |text: &str| {
            let number = text.parse().ok().filter(|status| (100..=599).contains(status));
            number.filter(|_| text.len() == 3)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self((first, last))),
            _ => Err(format!(
                "`{text}` is no status; write one from 100 to 599, or a range such as \"200-299\""
            )),
        }
    }

    fn read_number(number: i64) -> Result<Self, String> {
        Self::read(&number.to_string())
    }
}

/// A filter of log lines, checked here so that a reload can't break the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter(pub(super) String);

impl Written for Filter {
    const EXPECTS: &'static str = r#"a filter such as "info" or "ghostpin=debug""#;

    fn read(text: &str) -> Result<Self, String> {
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) if !text.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "`{text}` is no filter; write off, error, warn, info, debug or trace, or `target=level`"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
