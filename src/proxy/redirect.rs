//! From cleartext to TLS: who is sent there, and what the answer says.

use http::{Method, StatusCode};

use super::{Answer, Body};
use crate::acme::CHALLENGE_PATH;
use crate::http1::{RequestHead, ResponseHead};

/// The port that nobody has to name.
const HTTPS_PORT: u16 = 443;

/// Whether a request for this path may be sent elsewhere. What a CA asks for in clear text must be answered in clear text
/// (RFC 8555, 8.3), whoever answers it.
pub fn is_for_readers(path: &str) -> bool {
    !path.starts_with(CHALLENGE_PATH)
}

/// Sends a request to the same host and path over TLS, at this port.
pub fn answer(head: &RequestHead, port: u16) -> Answer {
    // The method stays what it is; for reading, the older status says the same, and every client knows it.
    let status = match head.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    // A host of a site: an IPv6 address is none.
    let host = head.host();
    let host = host.find(':').map_or(host, |colon| &host[..colon]);
    let path = head.path_and_query();
    let path = if path.starts_with('/') { path } else { "/" };
    let location = match port {
        HTTPS_PORT => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    let mut head = ResponseHead::new(status);
    head.fields.push("location", location.as_bytes());
    head.fields.push("content-length", b"0");
    Answer { head, body: Body::Whole(Vec::new()), close: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_to(head: &str, port: u16) -> (u16, String) {
        let head = RequestHead::parse(head.as_bytes(), 100).expect("a head");
        let answer = answer(&head, port);
        let location =
            answer.head.fields.iter().find(|field| field.name == b"location").expect("a location").value;
        (answer.head.status.as_u16(), String::from_utf8(location.to_vec()).expect("text"))
    }

    #[test]
    fn host_path_query_and_method_stay_as_they_are() {
        for (head, port, status, location) in [
            ("GET /a?b=c HTTP/1.1\r\nhost: a.test\r\n\r\n", 443, 301, "https://a.test/a?b=c"),
            ("HEAD / HTTP/1.1\r\nhost: A.test:80\r\n\r\n", 443, 301, "https://A.test/"),
            ("POST /form HTTP/1.1\r\nhost: a.test:8080\r\n\r\n", 8443, 308, "https://a.test:8443/form"),
            ("OPTIONS * HTTP/1.1\r\nhost: a.test\r\n\r\n", 443, 308, "https://a.test/"),
        ] {
            assert_eq!(sent_to(head, port), (status, location.to_owned()), "{head}");
        }
    }

    #[test]
    fn what_a_ca_asks_for_stays_in_clear_text() {
        assert!(!is_for_readers("/.well-known/acme-challenge/token"));
        assert!(is_for_readers("/.well-known/webfinger") && is_for_readers("/"));
    }
}
