use std::sync::Arc;

use ipnet::IpNet;

use super::*;

const PROXY: &str = "10.0.0.1";
const READER: &str = "192.0.2.7";

fn peer(address: &str) -> Peer {
    let trusted: Arc<[IpNet]> = ["10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().unwrap()).into();
    Peer::new(address.parse().unwrap(), false, &trusted)
}

fn text(first: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{first}\r\n").into_bytes();
    for (name, value) in fields {
        write(&mut text, name.as_bytes(), value.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn request(line: &str, fields: &[(&str, &str)]) -> RequestHead {
    RequestHead::parse(&text(&format!("{line} HTTP/1.1"), fields), 100).unwrap()
}

/// A head that was written, in parts: its first line, and its fields with names in lower case.
#[derive(Debug)]
struct Written {
    line: String,
    fields: Vec<(String, String)>,
}

impl Written {
    fn new(text: &[u8]) -> Self {
        let text = std::str::from_utf8(text).unwrap().strip_suffix("\r\n\r\n").unwrap();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let fields = lines.map(|line| line.split_once(": ").unwrap());
        Self { line, fields: fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect() }
    }

    fn values(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(other, _)| other == name);
        same.map(|(_, value)| value.as_str()).collect()
    }

    fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }
}

fn forwarded_with(head: &RequestHead, peer: &Peer, fixed: &[(HeaderName, HeaderValue)]) -> Written {
    let mut out = Vec::new();
    write_request(&mut out, head, &Additions { peer, fixed, request_id: "id", epoch: None, trace: None });
    Written::new(&out)
}

fn forwarded(head: &RequestHead, peer: &Peer) -> Written {
    forwarded_with(head, peer, &[])
}

const KEPT: Delivery = Delivery { old: false, close: false };

fn answered(first: &str, fields: &[(&str, &str)], delivery: Delivery) -> (Written, Length) {
    let head = ResponseHead::parse(&text(first, fields)).unwrap();
    let length = head.length(&Method::GET).unwrap();
    let mut out = Vec::new();
    write_answer(&mut out, &head, length, delivery, || HeaderValue::from_static("now"));
    (Written::new(&out), length)
}

#[test]
fn a_request_without_anything_to_remove_arrives_as_it_was_sent() {
    let fields =
        [("Host", "a.example:8080"), ("Accept", "*/*"), ("COOKIE", "a=1"), ("traceparent", "00-0-0-00")];
    let head = request("GET /x?y=%20", &[&fields[..], &[("Trailer", "x-sum"), ("X-Empty", "")]].concat());
    let mut out = Vec::new();
    write_request(
        &mut out,
        &head,
        &Additions { peer: &peer(READER), fixed: &[], request_id: "id", epoch: None, trace: None },
    );
    let expected = "GET /x?y=%20 HTTP/1.1\r\nhost: a.example:8080\r\nAccept: */*\r\nCOOKIE: a=1\r\n\
                    traceparent: 00-0-0-00\r\nTrailer: x-sum\r\nX-Empty: \r\nx-forwarded-for: 192.0.2.7\r\n\
                    x-forwarded-proto: http\r\nx-forwarded-host: a.example:8080\r\nx-request-id: id\r\n\r\n";
    assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
}

#[test]
fn a_body_arrives_with_the_length_it_was_sent_with() {
    for (line, sent, length, coding) in [
        ("POST /", Some(("content-length", "3")), &["3"][..], &[][..]),
        ("POST /", Some(("content-length", "0")), &["0"], &[]),
        ("POST /", None, &["0"], &[]),
        ("GET /", None, &[], &[]),
        ("GET /", Some(("content-length", "3")), &["3"], &[]),
        ("PUT /", Some(("transfer-encoding", "Chunked")), &[], &["chunked"]),
    ] {
        let fields: Vec<_> = [Some(("host", "a.example")), sent].into_iter().flatten().collect();
        let written = forwarded(&request(line, &fields), &peer(READER));
        assert_eq!(written.values("content-length"), length, "{line} {sent:?}");
        assert_eq!(written.values("transfer-encoding"), coding, "{line} {sent:?}");
    }
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let fields = [
        ("host", "a.example"),
        ("connection", "close, X-Own ,\tx-two"),
        ("connection", "x-three, host, content-length, X-Forwarded-For, keep-alive"),
        ("x-own", "1"),
        ("X-OWN", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
        ("content-length", "3"),
        ("proxy-authorization", "kept"),
    ];
    let written = forwarded(&request("POST /", &fields), &peer(READER));
    for gone in [
        "connection",
        "x-own",
        "x-two",
        "x-three",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
        "expect",
    ] {
        assert!(!written.has(gone), "{gone}");
    }
    for (name, value) in [
        ("host", "a.example"),
        ("content-length", "3"),
        ("x-forwarded-for", READER),
        ("proxy-authorization", "kept"),
    ] {
        assert_eq!(written.values(name), [value]);
    }
}

#[test]
fn a_client_that_takes_trailers_says_so_to_the_backend() {
    let fields = [("host", "a.example"), ("te", "gzip;q=0.5, Trailers"), ("connection", "te")];
    let written = forwarded(&request("GET /", &fields), &peer(READER));
    assert_eq!(written.values("te"), ["trailers"]);
    assert_eq!(written.values("connection"), ["te"]);
}

#[test]
fn a_member_of_a_list_that_is_no_text_hides_no_other() {
    let ask = |fields: &[u8]| {
        let text = [b"GET / HTTP/1.1\r\nhost: a.example\r\n", fields, b"\r\n\r\n"].concat();
        forwarded(&RequestHead::parse(&text, 100).unwrap(), &peer(READER))
    };
    assert!(!ask(b"connection: x-own, \xd0\r\nx-own: 1").has("x-own"), "it stays on its connection");
    assert_eq!(ask(b"connection: upgrade, \xd0\r\nupgrade: websocket").values("upgrade"), ["websocket"]);
    assert!(!ask(b"connection: upgrade\r\nupgrade: \xd0").has("upgrade"), "that is no protocol");
    assert!(!ask(b"connection: upgrade\r\nupgrade: websocket, \xd0").has("upgrade"), "those are two");
}

#[test]
fn an_upgrade_goes_through_if_it_is_one_that_a_backend_may_grant() {
    let ask = |version: &str, fields: &[(&str, &str)]| {
        let text = text(&format!("GET / {version}"), &[&[("host", "a.example")], fields].concat());
        RequestHead::parse(&text, 100).unwrap()
    };
    let socket = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
    let head = ask("HTTP/1.1", &socket);
    assert_eq!(asked_upgrade(&head), Some("websocket"));
    let written = forwarded(&head, &peer(READER));
    assert_eq!(written.values("connection"), ["upgrade"]);
    assert_eq!(written.values("upgrade"), ["websocket"]);

    let h2c = [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
    let two = [("connection", "upgrade"), ("upgrade", "websocket, H2C")];
    let body = [socket[0], socket[1], ("content-length", "5")];
    for (version, fields) in [
        ("HTTP/1.0", &socket[..]),
        ("HTTP/1.1", &h2c[..]),
        ("HTTP/1.1", &two[..]),
        ("HTTP/1.1", &body[..]),
        ("HTTP/1.1", &socket[1..]),
        ("HTTP/1.1", &socket[..1]),
    ] {
        let head = ask(version, fields);
        assert_eq!(asked_upgrade(&head), None, "{fields:?}");
        let written = forwarded(&head, &peer(READER));
        for gone in ["connection", "upgrade", "http2-settings"] {
            assert!(!written.has(gone), "{gone} of {fields:?}");
        }
    }
}

#[test]
fn the_backend_gets_one_host_and_a_path() {
    let request_of = |method: &str, uri: &str, cookies: &[&'static str]| {
        let mut builder = http::Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        for cookie in cookies {
            builder = builder.header("cookie", *cookie);
        }
        builder.body(()).unwrap().into_parts().0
    };
    let parts = request_of("GET", "https://A.example:8443/x?y", &["a=1", "b=2", "c=3"]);
    let head = RequestHead::from_http2(&parts, false, 100).unwrap();
    assert_eq!(head.host(), "A.example:8443");
    let written = forwarded(&head, &peer(READER));
    assert_eq!(written.line, "GET /x?y HTTP/1.1");
    assert_eq!(written.values("host"), ["A.example:8443"]);
    assert_eq!(written.values("x-forwarded-host"), ["A.example:8443"]);
    assert_eq!(written.values("cookie"), ["a=1; b=2; c=3"]);

    let parts = request_of("PUT", "https://a.example/", &[]);
    let written = forwarded(&RequestHead::from_http2(&parts, true, 100).unwrap(), &peer(READER));
    assert_eq!(written.values("transfer-encoding"), ["chunked"], "a body without a length");

    for (line, path, host) in
        [("GET http://A.example?q", "GET /?q", "A.example"), ("OPTIONS *", "OPTIONS *", "a.example")]
    {
        let written = forwarded(&request(line, &[("host", "a.example")]), &peer(READER));
        assert_eq!(written.line, format!("{path} HTTP/1.1"));
        assert_eq!(written.values("host"), [host]);
    }
}

#[test]
fn a_stranger_can_say_nothing_of_who_asks() {
    let lies = [
        ("host", "a.example"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=1.1.1.1"),
        ("X-Request-ID", "mine"),
        ("X-Real-IP", "1.1.1.1"),
    ];
    for (address, said) in [(READER, READER), ("::ffff:192.0.2.7", READER), ("2001:db8::7", "2001:db8::7")] {
        let peer = peer(address);
        assert!(!peer.is_trusted() && peer.address().to_string() == said);
        let written = forwarded(&request("GET /", &lies), &peer);
        assert_eq!(written.values("x-forwarded-for"), [said]);
        assert_eq!(written.values("x-forwarded-proto"), ["http"]);
        assert_eq!(written.values("x-forwarded-host"), ["a.example"]);
        assert_eq!(written.values("x-request-id"), ["id"]);
        assert!(!written.has("forwarded") && !written.has("x-real-ip"));
    }
}

#[test]
fn an_address_that_two_fields_name_is_nobodys() {
    let one = [("host", "a.example"), ("x-real-ip", "192.0.2.9")];
    assert_eq!(forwarded(&request("GET /", &one), &peer(PROXY)).values("x-real-ip"), ["192.0.2.9"]);
    let two = [&[("x-real-ip", "1.1.1.1")], &one[..]].concat();
    assert!(!forwarded(&request("GET /", &two), &peer(PROXY)).has("x-real-ip"));
}

#[test]
fn of_several_words_of_a_trusted_proxy_its_own_one_counts() {
    let words = [
        ("host", "a.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "public.example"),
        ("x-forwarded-proto", "https"),
    ];
    let written = forwarded(&request("GET /", &words), &peer(PROXY));
    assert_eq!(written.values("x-forwarded-host"), ["public.example"]);
    assert_eq!(written.values("x-forwarded-proto"), ["https"]);
}

#[test]
fn a_trusted_proxy_is_believed_as_far_as_it_can_know() {
    for (chain, expected) in [
        (&[][..], PROXY.to_owned()),
        (&[""], PROXY.to_owned()),
        (&["192.0.2.7"], format!("192.0.2.7, {PROXY}")),
        (&["1.1.1.1, 192.0.2.7"], format!("192.0.2.7, {PROXY}")),
        (&["1.1.1.1", "192.0.2.7,10.9.9.9"], format!("192.0.2.7, 10.9.9.9, {PROXY}")),
        (&["1.1.1.1, 2001:db8::7, [2001:db8:1::1]:443, 10.2.2.2:80"], {
            format!("2001:db8::7, [2001:db8:1::1]:443, 10.2.2.2:80, {PROXY}")
        }),
        (&["1.1.1.1, unknown, 10.2.2.2"], format!("unknown, 10.2.2.2, {PROXY}")),
        (&["10.3.3.3, 10.2.2.2"], format!("10.3.3.3, 10.2.2.2, {PROXY}")),
    ] {
        let fields: Vec<_> = [("host", "a.example")]
            .into_iter()
            .chain(chain.iter().map(|line| ("x-forwarded-for", *line)))
            .collect();
        let written = forwarded(&request("GET /", &fields), &peer(PROXY));
        assert_eq!(written.values("x-forwarded-for"), [expected], "{chain:?}");
        assert_eq!(written.values("x-forwarded-proto"), ["http"]);
        assert_eq!(written.values("x-forwarded-host"), ["a.example"]);
        assert!(!written.has("forwarded"));
    }
    let fields = [
        ("host", "a.example:81"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b.example"),
        ("forwarded", "for=192.0.2.7"),
    ];
    let written = forwarded(&request("GET /", &fields), &peer(PROXY));
    assert_eq!(written.values("x-forwarded-proto"), ["https"]);
    assert_eq!(written.values("x-forwarded-host"), ["b.example"]);
    let element = "for=10.0.0.1;host=\"a.example:81\";proto=http";
    assert_eq!(written.values("forwarded"), ["for=192.0.2.7", element]);
    let written = forwarded(&request("GET /", &fields), &peer("2001:db8:1::9"));
    let element = "for=\"[2001:db8:1::9]\";host=\"a.example:81\";proto=http";
    assert_eq!(written.values("forwarded"), ["for=192.0.2.7", element]);
}

#[test]
fn the_fields_of_a_site_replace_what_was_sent() {
    let head = request("GET /", &[("host", "a.example"), ("X-Site-ID", "1"), ("x-site-id", "2")]);
    let fixed = [("x-site-id", "42"), ("x-forwarded-proto", "https"), ("host", "inside.example")]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let written = forwarded_with(&head, &peer(READER), &fixed);
    assert_eq!(written.values("x-site-id"), ["42"]);
    assert_eq!(written.values("x-forwarded-proto"), ["https"]);
    assert_eq!(written.values("host"), ["inside.example"]);
}

#[test]
fn an_answer_brings_nothing_of_the_backends_connection_to_the_client() {
    let fields = [
        ("connection", "keep-alive, x-own"),
        ("x-own", "1"),
        ("keep-alive", "max=100, Timeout=5"),
        ("transfer-encoding", "chunked"),
        ("content-length", "7"),
        ("upgrade", "h2c"),
        ("trailer", "x-sum"),
        ("proxy-authenticate", "kept"),
        ("set-cookie", "a"),
        ("set-cookie", "b"),
    ];
    let (written, _) = answered("HTTP/1.1 200 Fine", &fields, KEPT);
    assert_eq!(written.line, "HTTP/1.1 200 Fine");
    let names: Vec<&str> = written.fields.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["trailer", "proxy-authenticate", "set-cookie", "set-cookie", "date", "transfer-encoding"];
    assert_eq!(names, expected);
    assert_eq!(written.values("set-cookie"), ["a", "b"]);
}

#[test]
fn an_answer_that_is_clean_stays_as_it_is() {
    let fields = [("content-length", "7"), ("ETag", "W/\"x\""), ("date", "then")];
    let (written, _) = answered("HTTP/1.1 200 OK", &fields, KEPT);
    assert_eq!(written.fields.len(), 3);
    assert_eq!(written.values("date"), ["then"]);
}

#[test]
fn a_client_is_told_where_an_answer_ends_in_the_way_it_understands() {
    let old = Delivery { old: true, close: true };
    let codings = |first, fields, delivery| {
        let (written, _) = answered(first, fields, delivery);
        let has = |name, value| written.values(name).contains(&value);
        (has("transfer-encoding", "chunked"), has("connection", "close"), has("connection", "keep-alive"))
    };
    let chunked = [("transfer-encoding", "chunked")];
    let length = [("content-length", "1")];
    assert_eq!(codings("HTTP/1.1 200 OK", &chunked, KEPT), (true, false, false));
    assert_eq!(
        codings("HTTP/1.0 200 OK", &[], KEPT),
        (true, false, false),
        "its end is that of a connection"
    );
    assert_eq!(codings("HTTP/1.1 200 OK", &chunked, old), (false, true, false));
    assert_eq!(codings("HTTP/1.1 200 OK", &length, KEPT), (false, false, false));
    let kept = Delivery { old: true, close: false };
    assert_eq!(codings("HTTP/1.1 200 OK", &length, kept), (false, false, true));
}

#[test]
fn an_answer_that_has_no_body_has_no_length_either_but_for_that_of_another() {
    let (written, length) = answered("HTTP/1.1 204 None", &[("content-length", "5")], KEPT);
    assert!(!written.has("content-length") && length == Length::Nothing);
    let (written, length) = answered("HTTP/1.1 304 Same", &[("content-length", "5")], KEPT);
    assert!(written.has("content-length") && length == Length::Nothing);
    let (written, length) =
        answered("HTTP/1.1 200 OK", &[("content-length", "5"), ("content-length", "5")], KEPT);
    assert_eq!((written.values("content-length"), length), (vec!["5"], Length::Exactly(5)));
}

#[test]
fn a_granted_upgrade_keeps_its_fields() {
    let fields = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "x")];
    let (written, _) = answered("HTTP/1.1 101 Switching", &fields, KEPT);
    assert_eq!(written.values("connection"), ["upgrade"]);
    assert_eq!(written.values("upgrade"), ["websocket"]);
    assert_eq!(written.values("sec-websocket-accept"), ["x"]);
}

#[test]
fn a_backend_that_is_told_the_epoch_is_told_it_by_ghostpin_alone() {
    let head = request("GET /", &[("Host", "a.example"), ("X-Ghostpin-Epoch", "999")]);
    let mut out = Vec::new();
    let told =
        Additions { peer: &peer(READER), fixed: &[], request_id: "id", epoch: Some(Epoch(7)), trace: None };
    write_request(&mut out, &head, &told);
    assert_eq!(Written::new(&out).values("x-ghostpin-epoch"), ["7"]);
}
