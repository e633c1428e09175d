//! The header fields of a request on its way to a backend, and of an answer on its way back.
//!
//! What belongs to one connection stays on it; who asks, and for which host, is said by ghostpin and not by
//! whoever sends the request, unless it comes from a trusted proxy. Fields that are of no concern to a proxy pass as
//! they were sent, in their order and spelling.

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use crate::core::Epoch;
use crate::http1::fields::write;
use crate::http1::{Field, Fields, Known, Length, RequestHead, ResponseHead};
use crate::observe::trace::{TRACEPARENT, TRACESTATE, Trace};

mod peer;
mod request_id;

pub use self::peer::Peer;
pub use self::request_id::{RequestId, RequestIds};

/// What ghostpin adds to a request.
#[derive(Clone, Copy)]
pub struct Additions<'a> {
    /// Who asks.
    pub peer: &'a Peer,
    /// The site's own fields; they replace what was sent.
    pub fixed: &'a [(HeaderName, HeaderValue)],
    /// The request's id.
    pub request_id: &'a str,
    /// The epoch of its lease, if the backend is to know: a fencing token.
    pub epoch: Option<Epoch>,
    /// What is told of it, if it was chosen.
    pub trace: Option<&'a Trace>,
}

/// Names the epoch to a backend that is told.
const EPOCH: &str = "x-ghostpin-epoch";

/// Writes the head of a request as a backend gets it: HTTP/1.1, for a path, with ghostpin's own word on who asks.
pub fn write_request(out: &mut Vec<u8>, head: &RequestHead, additions: &Additions<'_>) {
    let Additions { peer, fixed, request_id, epoch, trace } = *additions;
    let fields = &head.fields;
    for part in [head.method.as_str().as_bytes(), b" ", head.path_and_query_bytes(), b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    let is_told = |name: &[u8]| epoch.is_some() && name.eq_ignore_ascii_case(EPOCH.as_bytes());
    let is_of_another_trace = |name: &[u8]| {
        trace.is_some_and(|trace| {
            name.eq_ignore_ascii_case(TRACEPARENT.as_bytes())
                || (!trace.is_continued() && name.eq_ignore_ascii_case(TRACESTATE.as_bytes()))
        })
    };
    let is_fixed =
        |name: &[u8]| fixed.iter().any(|(fixed, _)| name.eq_ignore_ascii_case(fixed.as_str().as_bytes()));
    if !is_fixed(b"host") {
        write(out, b"host", head.host_bytes());
    }
    let named = Named::by(fields);
    for field in fields.iter() {
        let passes = match field.known {
            Known::Other | Known::Accept | Known::Date | Known::ContentLength => true,
            // HTTP/2 may send a cookie a field; HTTP/1.1 has one field for all (RFC 9113, 8.2.3).
            Known::Cookie => !fields.has_several(Known::Cookie),
            Known::Forwarded => peer.is_trusted(),
            // Where ghostpin has no word of its own, several are nobody's.
            Known::XForwardedHost | Known::XForwardedProto | Known::XRealIp => {
                peer.is_trusted() && !fields.has_several(field.known)
            }
            // Written anew, or not at all. A client that waits for a 100 is told to go on when its body is first
            // read, whatever the backend thinks.
            Known::Host | Known::Expect | Known::XRequestId | Known::XForwardedFor => false,
            _ => !is_of_connection(field.known),
        };
        if passes
            && !named.has(&field)
            && !is_fixed(field.name)
            && !is_told(field.name)
            && !is_of_another_trace(field.name)
        {
            field.write(out);
        }
    }
    let mut put = |name: &[u8], value: &[u8]| {
        if !is_fixed(name) {
            write(out, name, value);
        }
    };
    if fields.has_several(Known::Cookie) {
        let all: Vec<&[u8]> = fields.all(Known::Cookie).collect();
        put(b"cookie", &all.join(&b"; "[..]));
    }
    peer.say_who_asks(head, &mut put);
    put(b"x-request-id", request_id.as_bytes());
    if let Some(epoch) = epoch {
        put(EPOCH.as_bytes(), epoch.to_string().as_bytes());
    }
    if let Some(trace) = trace {
        put(TRACEPARENT.as_bytes(), trace.traceparent().as_bytes());
    }
    for (name, value) in fixed {
        write(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if let Some(protocol) = asked_upgrade(head) {
        write(out, b"connection", b"upgrade");
        write(out, b"upgrade", protocol.as_bytes());
    } else if fields.lists(Known::Te, "trailers") {
        write(out, b"connection", b"te");
        write(out, b"te", b"trailers");
    }
    match head.length {
        Length::Chunked => write(out, b"transfer-encoding", b"chunked"),
        // Methods that usually have a body say so if they have none (RFC 9110, 8.6).
        Length::Nothing if has_body_usually(&head.method) && !fields.has(Known::ContentLength) => {
            write(out, b"content-length", b"0");
        }
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// The protocol, if this is a request for an upgrade that a backend may grant. An upgrade to cleartext HTTP/2 is not
/// one: it would lead past everything that is decided here. Nor is one with a body.
pub fn asked_upgrade(head: &RequestHead) -> Option<&str> {
    let fields = &head.fields;
    // In HTTP/2 there is no such field, but in what an extended `CONNECT` was turned into.
    if !fields.has(Known::Upgrade) || head.version == Version::HTTP_10 || head.length != Length::Nothing {
        return None;
    }
    let mut protocols = fields.members(Known::Upgrade);
    let protocol = protocols.next()?;
    let h2c = protocol.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case("h2"));
    let is_one = protocols.next().is_none()
        && protocol.is_ascii()
        && !h2c
        && fields.lists(Known::Connection, "upgrade");
    is_one.then_some(protocol)
}

/// How an answer goes to a client of HTTP/1.x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The client speaks HTTP/1.0, which has no chunks, and closes unless it was told otherwise.
    pub old: bool,
    /// No further request on this connection.
    pub close: bool,
}

/// Writes the head of an answer to a client of HTTP/1.x. `length` is that of its body, `date` the time now.
pub fn write_answer(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    length: Length,
    delivery: Delivery,
    date: impl FnOnce() -> HeaderValue,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    for field in passed_back(head) {
        field.write(out);
    }
    if !head.fields.has(Known::Date) {
        write(out, b"date", date().as_bytes());
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        write(out, b"connection", b"upgrade");
        write(out, b"upgrade", head.fields.get(Known::Upgrade).unwrap_or_default());
    } else if delivery.close {
        write(out, b"connection", b"close");
    } else if delivery.old {
        write(out, b"connection", b"keep-alive");
    }
    if matches!(length, Length::Chunked | Length::UntilClose) && !delivery.old {
        write(out, b"transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
}

/// The fields of an answer that concern the client.
pub fn passed_back(head: &ResponseHead) -> impl Iterator<Item = Field<'_>> {
    let named = Named::by(&head.fields);
    // With a coding, the length is that of something else (RFC 9112, 6.3); some answers have none (RFC 9110, 8.6).
    let no_length = head.fields.has(Known::TransferEncoding)
        || head.status.is_informational()
        || head.status == StatusCode::NO_CONTENT;
    let mut lengths = 0;
    head.fields.iter().filter(move |field| {
        if field.known == Known::ContentLength {
            lengths += 1;
            return !no_length && lengths == 1;
        }
        !is_of_connection(field.known) && !named.has(field)
    })
}

/// Fields that belong to one connection (RFC 9110, 7.6.1).
fn is_of_connection(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

/// The fields that `Connection` makes a matter of one connection.
struct Named<'a>(Vec<&'a str>);

impl<'a> Named<'a> {
    fn by(fields: &'a Fields) -> Self {
        // Nearly every `Connection` names nothing, and an empty `Vec` costs nothing.
        Self(fields.members(Known::Connection).filter(|name| !concerns_everybody(name)).collect())
    }

    fn has(&self, field: &Field<'_>) -> bool {
        self.0.iter().any(|name| field.name.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// Fields that no `Connection` can make a matter of one connection: without them a request would be framed, routed
/// or attributed in another way than it was checked. And the words that nearly every `Connection` is: they are no
/// fields, or go anyway.
fn concerns_everybody(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "keep-alive",
        "close",
        "upgrade",
        "host",
        "content-length",
        "cookie",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn has_body_usually(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

#[cfg(test)]
mod tests;
