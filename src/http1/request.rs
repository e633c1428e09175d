//! The head of a request: read, and refused where it could be read in two ways.

use std::mem::MaybeUninit;
use std::net::Ipv6Addr;

use http::header::{COOKIE, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY};
use http::{Method, StatusCode, Version};

use super::fields::{Fields, Known, Span};
use super::length::{self, Length};

/// Fields for which there is room without allocating: more than browsers send.
const FIELDS_USUAL: usize = 100;
/// Bytes of the head of an HTTP/2 request for which there is room at once: enough for most.
const TEXT_BYTES_USUAL: usize = 1024;

/// Why a request is refused before it gets anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// It is no HTTP (RFC 9112, 3 and 5).
    NotHttp,
    /// A version other than 1.0 and 1.1, on a connection that speaks 1.x.
    Version,
    /// A line ends without a carriage return (RFC 9112, 2.2).
    BareLineFeed,
    /// The head is larger than is accepted.
    TooLarge,
    /// It has more fields than are accepted.
    TooManyFields,
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
    /// Its body is not what its head announced.
    Body,
}

impl BadRequest {
    /// All there are.
    pub const ALL: [Self; 14] = [
        Self::NotHttp,
        Self::Version,
        Self::BareLineFeed,
        Self::TooLarge,
        Self::TooManyFields,
        Self::NoHost,
        Self::TwoHosts,
        Self::NotAHost,
        Self::ContradictingHosts,
        Self::NotATarget,
        Self::LengthAndCoding,
        Self::NotALength,
        Self::UnknownCoding,
        Self::Body,
    ];

    /// Its label in metrics, and its word in answers and in the access log.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotHttp => "not_http",
            Self::Version => "unknown_version",
            Self::BareLineFeed => "bare_line_feed",
            Self::TooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::NoHost => "no_host",
            Self::TwoHosts => "two_hosts",
            Self::NotAHost => "not_a_host",
            Self::ContradictingHosts => "contradicting_hosts",
            Self::NotATarget => "not_a_target",
            Self::LengthAndCoding => "length_and_coding",
            Self::NotALength => "not_a_length",
            Self::UnknownCoding => "unknown_coding",
            Self::Body => "bad_body",
        }
    }

    /// The status that says so.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What to tell the client.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotHttp => "The request is not well-formed HTTP.",
            Self::Version => "The version of the request is neither HTTP/1.0 nor HTTP/1.1.",
            Self::BareLineFeed => "A line of the request ends without a carriage return.",
            Self::TooLarge => "The head of the request is too large.",
            Self::TooManyFields => "The request has too many header fields.",
            Self::NoHost => "The request names no host.",
            Self::TwoHosts => "The request has more than one Host field.",
            Self::NotAHost => "The host of the request is not a host name.",
            Self::ContradictingHosts => "The request names two different hosts.",
            Self::NotATarget => "The target of the request is not a path.",
            Self::LengthAndCoding => "The request gives both a length and a transfer coding.",
            Self::NotALength => "The length of the request is not one number.",
            Self::UnknownCoding => "The transfer coding of the request is not chunked.",
            Self::Body => "The body of the request is not well-formed.",
        }
    }
}

/// The head of a request that can be read in one way only.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Its method.
    pub method: Method,
    /// The version that the client speaks.
    pub version: Version,
    /// Its fields.
    pub fields: Fields,
    /// How long its body is.
    pub length: Length,
    path_and_query: Span,
    /// From the request line or `:authority`.
    authority: Option<Span>,
}

impl RequestHead {
    /// Reads a head: all of it, with its empty line. `fields_max` limits the number of its fields.
    ///
    /// # Errors
    /// The reason for refusing it.
    pub fn parse(head: &[u8], fields_max: usize) -> Result<Self, BadRequest> {
        if memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r') {
            return Err(BadRequest::BareLineFeed);
        }
        if fields_max <= FIELDS_USUAL {
            Self::parse_into(head, &mut [const { MaybeUninit::uninit() }; FIELDS_USUAL][..fields_max])
        } else {
            Self::parse_into(head, &mut vec![MaybeUninit::uninit(); fields_max])
        }
    }

    /// Whether `data`, which has no end of a head in it, may become one. What can't is not waited for.
    ///
    /// # Errors
    /// The reason for refusing it.
    pub fn may_become(data: &[u8]) -> Result<(), BadRequest> {
        if data.is_empty() {
            return Ok(());
        }
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
        match httparse::Request::new(&mut []).parse_with_uninit_headers(data, &mut room) {
            Ok(_) | Err(httparse::Error::TooManyHeaders) => Ok(()),
            Err(error) => Err(reason(error)),
        }
    }

    fn parse_into<'a>(
        head: &'a [u8],
        room: &mut [MaybeUninit<httparse::Header<'a>>],
    ) -> Result<Self, BadRequest> {
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(head, room).map_err(reason)?;
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(BadRequest::NotHttp);
        };
        if status != httparse::Status::Complete(head.len()) {
            return Err(BadRequest::NotHttp);
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadRequest::NotHttp)?;
        // A fragment is for the client alone (RFC 9112, 3.2).
        if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#') {
            return Err(BadRequest::NotHttp);
        }
        let mut fields = Fields::parsed(head, parsed.headers);
        let (authority, path) = match target.as_bytes()[0] {
            b'/' => (None, Span::of(target.as_bytes(), head)),
            b'*' if target == "*" && method == Method::OPTIONS => (None, Span::of(target.as_bytes(), head)),
            _ => {
                let (authority, path) = absolute(target).ok_or(BadRequest::NotATarget)?;
                let span = match path.as_bytes() {
                    // RFC 9112, 3.2.4: of all the server.
                    [] if method == Method::OPTIONS => fields.keep(b"*"),
                    [] => fields.keep(b"/"),
                    [b'?', ..] => fields.keep(format!("/{path}").as_bytes()),
                    path => Span::of(path, head),
                };
                (Some(Span::of(authority.as_bytes(), head)), span)
            }
        };
        let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let head = Self {
            length: length::of_request(&fields, version)?,
            method,
            version,
            fields,
            path_and_query: path,
            authority,
        };
        head.check()?;
        Ok(head)
    }

    /// The head of an HTTP/2 request. A body that is not empty has no length but that of its frames, unless one is
    /// told. `fields_max` limits the number of its fields; those of a cookie are one, as they will be.
    ///
    /// # Errors
    /// The reason for refusing it.
    pub fn from_http2(
        parts: &http::request::Parts,
        has_body: bool,
        fields_max: usize,
    ) -> Result<Self, BadRequest> {
        let uri = &parts.uri;
        let mut fields = Fields::default();
        fields.reserve(parts.headers.len(), TEXT_BYTES_USUAL);
        // Neither was sent as it must be, where what stands for them says that all is well.
        if uri.path().is_empty() || uri.scheme_str() == Some("") {
            return Err(BadRequest::NotATarget);
        }
        let path = match uri.path_and_query() {
            Some(path) if !path.as_str().is_empty() => path.as_str(),
            _ => return Err(BadRequest::NotATarget),
        };
        if !(path.starts_with('/') || path == "*" && parts.method == Method::OPTIONS) {
            return Err(BadRequest::NotATarget);
        }
        let path_and_query = fields.keep(path.as_bytes());
        let authority = uri.authority().map(|authority| fields.keep(authority.as_str().as_bytes()));
        let crumbs = parts.headers.get_all(COOKIE).iter().count();
        if parts.headers.len() - crumbs.saturating_sub(1) > fields_max {
            return Err(BadRequest::TooManyFields);
        }
        for (name, value) in &parts.headers {
            if !is_writable(name, value) {
                return Err(BadRequest::NotHttp);
            }
            fields.push(name.as_str(), value.as_bytes());
        }
        if fields.has(Known::TransferEncoding) {
            // HTTP/2 has none (RFC 9113, 8.2.2).
            return Err(BadRequest::UnknownCoding);
        }
        let length = match length::of_request(&fields, Version::HTTP_2)? {
            Length::Nothing if has_body && !fields.has(Known::ContentLength) => Length::Chunked,
            Length::Exactly(_) if !has_body => return Err(BadRequest::NotALength),
            known => known,
        };
        let head = Self {
            method: parts.method.clone(),
            version: Version::HTTP_2,
            fields,
            length,
            path_and_query,
            authority,
        };
        head.check()?;
        Ok(head)
    }

    /// The same for an extended `CONNECT` (RFC 8441): a stream that is to be a WebSocket. To a backend it is what it would
    /// have been over HTTP/1.1, a GET that asks for an upgrade; `key` is the nonce of that, in Base64.
    ///
    /// # Errors
    /// The reason for refusing it.
    pub fn from_http2_websocket(
        parts: &http::request::Parts,
        key: &str,
        fields_max: usize,
    ) -> Result<Self, BadRequest> {
        let mut parts = parts.clone();
        parts.method = Method::GET;
        // The client has none to send, and two would be no handshake (RFC 6455, 11.3.1).
        parts.headers.remove(SEC_WEBSOCKET_KEY);
        let mut head = Self::from_http2(&parts, false, fields_max)?;
        head.fields.push("connection", b"upgrade");
        head.fields.push("upgrade", b"websocket");
        head.fields.push("sec-websocket-key", key.as_bytes());
        Ok(head)
    }

    fn check(&self) -> Result<(), BadRequest> {
        if self.method == Method::CONNECT {
            return Err(BadRequest::NotATarget);
        }
        if self.fields.has_several(Known::Host) {
            return Err(BadRequest::TwoHosts);
        }
        let field = self.fields.get(Known::Host);
        if field.is_none() && (self.version == Version::HTTP_11 || self.authority.is_none()) {
            return Err(BadRequest::NoHost);
        }
        let authority = self.authority.map(|span| self.fields.text(span));
        if let (Some(field), Some(authority)) = (field, authority)
            && !authority.eq_ignore_ascii_case(field)
        {
            return Err(BadRequest::ContradictingHosts);
        }
        if is_a_host(self.host_bytes()) { Ok(()) } else { Err(BadRequest::NotAHost) }
    }

    /// The host, for those who only write it down.
    pub fn host_bytes(&self) -> &[u8] {
        match self.authority {
            // The request line rules (RFC 9112, 3.2.2); HTTP/2 need have nothing else.
            Some(span) => self.fields.text(span),
            None => self.fields.get(Known::Host).unwrap_or_default(),
        }
    }

    /// The host that it is for, as it was sent: with its port, in its case.
    pub fn host(&self) -> &str {
        std::str::from_utf8(self.host_bytes()).unwrap_or_default()
    }

    /// What is asked for: a path, and a query if there is one. `*` for OPTIONS of all the server.
    pub fn path_and_query(&self) -> &str {
        std::str::from_utf8(self.path_and_query_bytes()).unwrap_or_default()
    }

    /// The same, for those who only write it down.
    pub fn path_and_query_bytes(&self) -> &[u8] {
        self.fields.text(self.path_and_query)
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        let target = self.path_and_query_bytes();
        let end = memchr::memchr(b'?', target).unwrap_or(target.len());
        std::str::from_utf8(&target[..end]).unwrap_or_default()
    }

    /// Whether the client wants to send another request on the connection (RFC 9112, 9.3).
    pub fn keeps_alive(&self) -> bool {
        let lists = |option| self.fields.lists(Known::Connection, option);
        // `close` comes first there: beside it, `keep-alive` says nothing.
        !lists("close") && (self.version != Version::HTTP_10 || lists("keep-alive"))
    }
}

/// Whether a field of HTTP/2, as it was decoded, is one of HTTP/1.1 and the same there: its name a token, its value
/// without white space around it (RFC 9113, 8.2.1).
pub fn is_writable(name: &HeaderName, value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let value = value.as_bytes();
    // The one sign that a name may have there and a token not.
    !name.as_str().contains('"') && !is_space(value.first()) && !is_space(value.last())
}

fn reason(error: httparse::Error) -> BadRequest {
    match error {
        httparse::Error::TooManyHeaders => BadRequest::TooManyFields,
        httparse::Error::Version => BadRequest::Version,
        _ => BadRequest::NotHttp,
    }
}

/// Authority and path of a target in absolute form.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Enough to keep it one word in every place where a backend may print it, with no more than one port; the route table
/// knows the rest.
fn is_a_host(host: &[u8]) -> bool {
    let (is_named, port) = match host {
        [b'[', inside @ ..] => {
            let Some(end) = memchr::memchr(b']', inside) else { return false };
            let address = std::str::from_utf8(&inside[..end]).ok();
            let is_address = address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
            (is_address, &inside[end + 1..])
        }
        _ => {
            let (name, port) = host.split_at(memchr::memchr(b':', host).unwrap_or(host.len()));
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
            (!name.is_empty() && name.iter().all(is_word), port)
        }
    };
    is_named
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}
