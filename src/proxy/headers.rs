//! The header fields of a request on its way to a backend, and of an answer on its way back.
//!
//! What belongs to one connection stays on it; who asks, and for which host, is said by ghostpin and not by
//! whoever sends the request, unless it comes from a trusted proxy. A head that two parties could read in two ways
//! is refused. The fields are looked at once, and only what was seen is removed: most requests have nothing to go.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version, request, response};

mod peer;
mod request_id;

pub use self::peer::Peer;
pub use self::request_id::RequestIds;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why a request is refused before it gets anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// It does not say for which host it is.
    NoHost,
    /// More than one `Host` field.
    TwoHosts,
    /// Its host is none.
    NotAHost,
    /// `Host` says one thing, the request line (or `:authority`) another.
    ContradictingHosts,
    /// A target that only another kind of server could serve: `CONNECT`, or no path.
    NotATarget,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// A length that is no number, or more than one.
    NotALength,
    /// A transfer coding other than `chunked`, or in a version that has none.
    UnknownCoding,
}

impl BadRequest {
    /// What to tell the client.
    pub fn message(self) -> &'static str {
        match self {
            Self::NoHost => "The request names no host.",
            Self::TwoHosts => "The request has more than one Host field.",
            Self::NotAHost => "The host of the request is not a host name.",
            Self::ContradictingHosts => "The request names two different hosts.",
            Self::NotATarget => "The target of the request is not a path.",
            Self::LengthAndCoding => "The request gives both a length and a transfer coding.",
            Self::NotALength => "The length of the request is not one number.",
            Self::UnknownCoding => "The transfer coding of the request is not chunked.",
        }
    }
}

/// What [`check`] saw in a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u16);

impl Seen {
    const CONNECTION: u16 = 1;
    const KEEP_ALIVE: u16 = 1 << 1;
    const PROXY_CONNECTION: u16 = 1 << 2;
    const TE: u16 = 1 << 3;
    const TRANSFER_ENCODING: u16 = 1 << 4;
    const UPGRADE: u16 = 1 << 5;
    const EXPECT: u16 = 1 << 6;
    const FORWARDED: u16 = 1 << 7;
    const HOST: u16 = 1 << 8;
    const CONTENT_LENGTH: u16 = 1 << 9;
    const BODY: u16 = 1 << 10;
    const COOKIE: u16 = 1 << 11;
    const COOKIES: u16 = 1 << 12;

    fn has(self, what: u16) -> bool {
        self.0 & what != 0
    }
}

/// Looks at a request's head, once, and refuses what could be read in two ways.
///
/// # Errors
/// The reason for a 400.
pub fn check(parts: &request::Parts) -> Result<Seen, BadRequest> {
    let mut seen = 0;
    for (name, value) in &parts.headers {
        let field = match name.as_str() {
            "connection" => Seen::CONNECTION,
            "keep-alive" => Seen::KEEP_ALIVE,
            "proxy-connection" => Seen::PROXY_CONNECTION,
            "te" => Seen::TE,
            "upgrade" => Seen::UPGRADE,
            "expect" => Seen::EXPECT,
            "forwarded" => Seen::FORWARDED,
            "cookie" if seen & Seen::COOKIE != 0 => Seen::COOKIES,
            "cookie" => Seen::COOKIE,
            "host" if seen & Seen::HOST != 0 => return Err(BadRequest::TwoHosts),
            "host" => Seen::HOST,
            "content-length" => {
                let digits = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
                if seen & Seen::CONTENT_LENGTH != 0 || !digits {
                    return Err(BadRequest::NotALength);
                }
                let body = if value == "0" { 0 } else { Seen::BODY };
                Seen::CONTENT_LENGTH | body
            }
            "transfer-encoding" => {
                let chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
                if seen & Seen::TRANSFER_ENCODING != 0 || !chunked || parts.version != Version::HTTP_11 {
                    return Err(BadRequest::UnknownCoding);
                }
                Seen::TRANSFER_ENCODING | Seen::BODY
            }
            _ => 0,
        };
        seen |= field;
    }
    let seen = Seen(seen);
    if seen.has(Seen::CONTENT_LENGTH) && seen.has(Seen::TRANSFER_ENCODING) {
        return Err(BadRequest::LengthAndCoding);
    }
    check_target(parts)?;
    check_host(parts, seen)?;
    Ok(seen)
}

/// The host that a checked request is for, as it was sent: with its port, in its case.
pub fn host(parts: &request::Parts) -> &str {
    match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    }
}

/// Makes a checked head ready for a backend: an HTTP/1.1 request for a path, with ghostpin's own word on who asks.
///
/// `fixed` are the site's own fields; they replace what was sent. Returns the protocol if the request asks for an
/// upgrade that a backend may grant. An upgrade to cleartext HTTP/2 is not one: it would lead past everything
/// that is decided here. Nor is one with a body.
pub fn to_backend(
    parts: &mut request::Parts,
    seen: Seen,
    peer: &Peer,
    fixed: &[(HeaderName, HeaderValue)],
    request_id: HeaderValue,
) -> Option<HeaderValue> {
    let headers = &mut parts.headers;
    let host = match parts.uri.authority() {
        // The request line rules (RFC 9112, 3.2.2); HTTP/2 has nothing else.
        Some(authority) => {
            let host = HeaderValue::from_str(authority.as_str()).expect("an authority is visible ASCII");
            headers.insert(HOST, host.clone());
            host
        }
        None => headers.get(HOST).cloned().unwrap_or_else(|| HeaderValue::from_static("")),
    };
    if parts.uri.authority().is_some() {
        let path = std::mem::take(&mut parts.uri).into_parts().path_and_query;
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }

    let upgrade = asked_upgrade(headers, seen, parts.version);
    let trailers = seen.has(Seen::TE) && lists(headers, &TE, "trailers");
    strip(headers, seen);
    if seen.has(Seen::EXPECT) {
        // The client is told to go on when its body is first read, whatever the backend thinks.
        headers.remove(EXPECT);
    }
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if seen.has(Seen::COOKIES) {
        join_cookies(headers);
    }
    parts.version = Version::HTTP_11;

    peer.say_who_asks(headers, seen.has(Seen::FORWARDED), host);
    headers.insert(&X_REQUEST_ID, request_id);
    for (name, value) in fixed {
        headers.insert(name, value.clone());
    }
    upgrade
}

/// Gives a head that was made ready for one site the fields of another.
pub fn change_site(
    parts: &mut request::Parts,
    before: &[(HeaderName, HeaderValue)],
    after: &[(HeaderName, HeaderValue)],
) {
    for (name, _) in before {
        parts.headers.remove(name);
    }
    for (name, value) in after {
        parts.headers.insert(name, value.clone());
    }
}

/// Makes the head of a backend's answer ready for any client.
///
/// Returns how long the backend says that it keeps an idle connection. A 101 keeps the fields of its upgrade.
pub fn from_backend(parts: &mut response::Parts) -> Option<Duration> {
    let headers = &mut parts.headers;
    let mut seen = 0;
    for name in headers.keys() {
        seen |= match name.as_str() {
            "connection" => Seen::CONNECTION,
            "keep-alive" => Seen::KEEP_ALIVE,
            "proxy-connection" => Seen::PROXY_CONNECTION,
            "te" => Seen::TE,
            "transfer-encoding" => Seen::TRANSFER_ENCODING,
            "upgrade" => Seen::UPGRADE,
            _ => 0,
        };
    }
    // An HTTP/1.0 backend is no reason to treat the client as one.
    parts.version = Version::HTTP_11;
    if seen == 0 {
        return None;
    }
    let seen = Seen(seen);
    let keep_alive = seen.has(Seen::KEEP_ALIVE).then(|| idle_timeout(headers)).flatten();
    let upgraded = match parts.status {
        StatusCode::SWITCHING_PROTOCOLS => headers.get(UPGRADE).cloned(),
        _ => None,
    };
    if seen.has(Seen::TRANSFER_ENCODING) {
        // The coding rules (RFC 9112, 6.3); the length is that of something else.
        headers.remove(CONTENT_LENGTH);
    }
    strip(headers, seen);
    if let Some(protocol) = upgraded {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    keep_alive
}

fn check_target(parts: &request::Parts) -> Result<(), BadRequest> {
    let uri = &parts.uri;
    let path = uri.path();
    let fits = path.starts_with('/')
        || (path == "*" && parts.method == Method::OPTIONS)
        || (path.is_empty() && uri.scheme().is_some());
    // An authority without a scheme is the form of CONNECT.
    if !fits || parts.method == Method::CONNECT || (uri.authority().is_some() && uri.scheme().is_none()) {
        return Err(BadRequest::NotATarget);
    }
    Ok(())
}

fn check_host(parts: &request::Parts, seen: Seen) -> Result<(), BadRequest> {
    let field = match parts.headers.get(HOST) {
        Some(field) => field.as_bytes(),
        None if parts.version == Version::HTTP_11 || parts.uri.authority().is_none() => {
            return Err(BadRequest::NoHost);
        }
        None => &[],
    };
    let host = match parts.uri.authority() {
        Some(authority) => {
            let authority = authority.as_str().as_bytes();
            if seen.has(Seen::HOST) && !authority.eq_ignore_ascii_case(field) {
                return Err(BadRequest::ContradictingHosts);
            }
            authority
        }
        None => field,
    };
    // Enough to keep it one word in every place where a backend may print it; the route table knows the rest.
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    if host.is_empty() || !host.iter().all(word) {
        return Err(BadRequest::NotAHost);
    }
    Ok(())
}

/// The protocol, if this is a request for an upgrade.
fn asked_upgrade(headers: &HeaderMap, seen: Seen, version: Version) -> Option<HeaderValue> {
    let asked = seen.has(Seen::UPGRADE) && seen.has(Seen::CONNECTION) && !seen.has(Seen::BODY);
    if !asked || version != Version::HTTP_11 || !lists(headers, &CONNECTION, "upgrade") {
        return None;
    }
    let mut protocols = headers.get_all(UPGRADE).iter();
    let protocol = protocols.next()?;
    let one = protocols.next().is_none() && !protocol.as_bytes().contains(&b',');
    let h2c = protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2");
    (one && !h2c).then(|| protocol.clone())
}

/// Removes the fields that belong to one connection (RFC 9110, 7.6.1), of those that were seen.
fn strip(headers: &mut HeaderMap, seen: Seen) {
    if seen.has(Seen::CONNECTION) {
        remove_named(headers);
    }
    let fields = [
        (Seen::KEEP_ALIVE, &KEEP_ALIVE),
        (Seen::PROXY_CONNECTION, &PROXY_CONNECTION),
        (Seen::TE, &TE),
        (Seen::TRANSFER_ENCODING, &TRANSFER_ENCODING),
        (Seen::UPGRADE, &UPGRADE),
    ];
    for (field, name) in fields {
        if seen.has(field) {
            headers.remove(name);
        }
    }
}

/// Removes `Connection` and the fields that it names.
fn remove_named(headers: &mut HeaderMap) {
    let Entry::Occupied(entry) = headers.entry(CONNECTION) else { return };
    // Nearly every `Connection` names nothing, and an empty `Vec` costs nothing.
    let names_any = entry.iter().flat_map(tokens).any(|name| !concerns_everybody(name));
    let values: Vec<HeaderValue> = if names_any { entry.iter().cloned().collect() } else { Vec::new() };
    entry.remove();
    for name in values.iter().flat_map(tokens).filter(|name| !concerns_everybody(name)) {
        headers.remove(name);
    }
}

/// Fields that no `Connection` can make a matter of one connection: without them a request would be framed, routed
/// or attributed in another way than it was checked. And the two words that nearly every `Connection` is: one is
/// no field, and the other goes anyway.
fn concerns_everybody(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "keep-alive",
        "close",
        "host",
        "content-length",
        "cookie",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim).filter(|token| !token.is_empty())
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().flat_map(tokens).any(|listed| listed.eq_ignore_ascii_case(token))
}

/// HTTP/2 may send a cookie a field; HTTP/1.1 has one field for all (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&all.join(&b"; "[..])).expect("made of field values");
    headers.insert(COOKIE, joined);
}

/// `timeout` of a `Keep-Alive` field, in whole seconds.
fn idle_timeout(headers: &HeaderMap) -> Option<Duration> {
    let parameters = headers.get_all(&KEEP_ALIVE).iter().flat_map(tokens);
    let mut values = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse().ok()).flatten()
    });
    values.next().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
