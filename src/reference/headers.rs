//! Header fields: each is sent through the code that writes heads, by a reader and by a trusted proxy, and what comes out
//! is told.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::{code, table};
use crate::config::Pages;
use crate::core::Epoch;
use crate::http1::{RequestHead, ResponseHead};
use crate::proxy::answer::{Asker, Refusal};
use crate::proxy::headers::{Additions, Delivery, Peer, write_answer, write_request};

const READER: &str = "192.0.2.7";
const PROXY: &str = "10.0.0.1";

/// Fields of requests that ghostpin knows, and a value that somebody might send.
const OF_REQUESTS: [(&str, &str); 17] = [
    ("host", "blog.example"),
    ("x-forwarded-for", "198.51.100.9"),
    ("x-forwarded-host", "other.example"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "for=198.51.100.9"),
    ("x-real-ip", "198.51.100.9"),
    ("x-ghostpin-epoch", "9"),
    ("connection", "keep-alive"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("upgrade", "websocket"),
    ("expect", "100-continue"),
    ("cookie", "a=1"),
    ("accept", "text/html"),
    ("content-length", "0"),
    ("authorization", "Bearer x"),
];

/// Fields of answers that ghostpin knows.
const OF_ANSWERS: [(&str, &str); 9] = [
    ("connection", "close"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("upgrade", "h2c"),
    ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("set-cookie", "a=1"),
    ("server", "Express"),
    ("cache-control", "public"),
    ("retry-after", "3"),
];

/// What a head has under this name, all of it.
fn values(head: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(head);
    let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    let same =
        fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned());
    same.collect::<Vec<_>>().join("` and `")
}

/// What a backend gets of this field, from this address. With `epoch`, backends of the site are told it.
fn forwarded(name: &str, value: &str, from: &str, epoch: Option<Epoch>) -> String {
    let trusted: Arc<[ipnet::IpNet]> = [format!("{PROXY}/32").parse().unwrap()].into();
    let peer = Peer::new(from.parse().unwrap(), false, &trusted);
    let field = if name == "host" { String::new() } else { format!("{name}: {value}\r\n") };
    let head = format!("GET / HTTP/1.1\r\nhost: blog.example\r\n{field}\r\n");
    let head = RequestHead::parse(head.as_bytes(), 100).unwrap();
    let mut out = Vec::new();
    let additions = Additions { peer: &peer, fixed: &[], request_id: "made here", epoch, trace: None };
    write_request(&mut out, &head, &additions);
    told_as(&values(&out, name), value)
}

fn passed_back(name: &str, value: &str) -> String {
    let head = format!("HTTP/1.1 200 OK\r\n{name}: {value}\r\ncontent-length: 0\r\n\r\n");
    let head = ResponseHead::parse(head.as_bytes()).unwrap();
    let mut out = Vec::new();
    let (length, delivery) = (head.length(&Method::GET).unwrap(), Delivery { old: false, close: false });
    write_answer(&mut out, &head, length, delivery, || HeaderValue::from_static("now"));
    told_as(&values(&out, name), value)
}

fn told_as(got: &str, sent: &str) -> String {
    match got {
        "" => "nothing".to_owned(),
        got if got == sent => "as it was sent".to_owned(),
        got => code(got),
    }
}

pub(super) fn told() -> String {
    let requests = OF_REQUESTS.iter().map(|(name, value)| {
        vec![
            code(&format!("{name}: {value}")),
            forwarded(name, value, READER, None),
            forwarded(name, value, PROXY, None),
            forwarded(name, value, READER, Some(Epoch(7))),
        ]
    });
    let answers = OF_ANSWERS
        .iter()
        .map(|(name, value)| vec![code(&format!("{name}: {value}")), passed_back(name, value)]);
    let refusal = Refusal::HeldTooLong.answer(Asker::unknown(), &Pages::default(), "ID");
    let own = refusal.head.fields.iter().map(|field| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match text(field.name).as_str() {
            "content-length" => "`content-length`".to_owned(),
            name => code(&format!("{name}: {}", text(field.value))),
        }
    });
    format!(
        "\n## Header fields of requests\n\nWhat a backend gets of what was sent, from a reader at {READER}, from a proxy at {PROXY} that is among `server.trusted_proxies`, \
         and from a reader where the site has `tell_epoch`, under epoch 7. Each line is one request with this field and `host: blog.example`. Fields that are not listed pass as \
         they were sent; those of the site's `headers` replace whatever was sent; what `Connection` names goes no further. `x-request-id` is made for each request, or is that of a trusted proxy.\n\n{}\
         \n## Header fields of answers\n\n{}\nAn answer that ghostpin makes itself, here one of `held_too_long`, has {}. With `https.hsts`, every answer over TLS has \
         `strict-transport-security`.\n",
        table(&["Sent", "By a reader", "By a trusted proxy", "With `tell_epoch`"], requests),
        table(&["Sent by the backend", "The reader gets"], answers),
        own.collect::<Vec<_>>().join(", "),
    )
}
