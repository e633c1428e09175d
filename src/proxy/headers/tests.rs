use std::sync::Arc;

use ipnet::IpNet;

use super::*;

const PROXY: &str = "10.0.0.1";
const READER: &str = "192.0.2.7";

fn peer(address: &str) -> Peer {
    let trusted: Arc<[IpNet]> = ["10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().unwrap()).into();
    Peer::new(address.parse().unwrap(), false, &trusted)
}

fn request(line: &str, fields: &[(&str, &str)]) -> request::Parts {
    let (method, target) = line.split_once(' ').unwrap();
    let mut builder = http::Request::builder().method(method).uri(target);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

/// Through both steps, as a request goes.
fn forwarded(mut parts: request::Parts, peer: &Peer) -> (request::Parts, Option<HeaderValue>) {
    let seen = check(&parts).unwrap();
    let upgrade = to_backend(&mut parts, seen, peer, &[], HeaderValue::from_static("id"));
    (parts, upgrade)
}

fn answered(status: u16, fields: &[(&str, &str)]) -> (response::Parts, Option<Duration>) {
    let mut builder = http::Response::builder().status(status).version(Version::HTTP_10);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    let mut parts = builder.body(()).unwrap().into_parts().0;
    let keep_alive = from_backend(&mut parts);
    (parts, keep_alive)
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused() {
    use BadRequest::*;
    let host = ("host", "a.example");
    let refused = |line: &str, fields: &[(&str, &str)], reason: BadRequest| {
        assert_eq!(check(&request(line, fields)), Err(reason), "{line} {fields:?}");
    };
    refused("GET /", &[], NoHost);
    refused("GET http://a.example/", &[], NoHost);
    refused("GET /", &[host, host], TwoHosts);
    refused("GET /", &[host, ("host", "b.example")], TwoHosts);
    refused("GET http://b.example/", &[host], ContradictingHosts);
    refused("GET http://a.example:81/", &[host], ContradictingHosts);
    refused("GET http://x@a.example/", &[("host", "x@a.example")], NotAHost);
    refused("GET /", &[("host", "")], NotAHost);
    refused("GET /", &[("host", "a.example/b")], NotAHost);
    refused("GET /", &[("host", "a.example, b.example")], NotAHost);
    refused("GET /", &[("host", "a.example\"")], NotAHost);
    refused("CONNECT a.example:443", &[("host", "a.example:443")], NotATarget);
    refused("GET a.example", &[host], NotATarget);
    refused("GET *", &[host], NotATarget);
    refused("POST /", &[host, ("content-length", "3"), ("transfer-encoding", "chunked")], LengthAndCoding);
    refused("POST /", &[host, ("content-length", "3"), ("content-length", "3")], NotALength);
    refused("POST /", &[host, ("content-length", "+3")], NotALength);
    refused("POST /", &[host, ("content-length", "3, 3")], NotALength);
    refused("POST /", &[host, ("content-length", "")], NotALength);
    refused("POST /", &[host, ("transfer-encoding", "gzip, chunked")], UnknownCoding);
    refused("POST /", &[host, ("transfer-encoding", "xchunked")], UnknownCoding);
    let chunked = ("transfer-encoding", "chunked");
    refused("POST /", &[host, chunked, chunked], UnknownCoding);
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let mut parts = request("POST http://a.example/", &[host, ("transfer-encoding", "chunked")]);
        parts.version = version;
        assert_eq!(check(&parts), Err(UnknownCoding));
    }
}

#[test]
fn a_head_that_is_only_unusual_is_not_refused() {
    let host = ("host", "a.example");
    for (line, fields) in [
        ("GET http://A.example/x", vec![host]),
        ("OPTIONS *", vec![host]),
        ("GET /", vec![("host", "[2001:db8::1]:8080")]),
        ("GET /", vec![("host", "xn--bcher-kva.example.")]),
        ("POST /", vec![host, ("transfer-encoding", "Chunked")]),
        ("POST /", vec![host, ("content-length", "0")]),
        ("PURGE /", vec![host]),
    ] {
        assert!(check(&request(line, &fields)).is_ok(), "{line} {fields:?}");
    }
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let mut parts = request("GET http://a.example/x", &[]);
        parts.version = version;
        assert!(check(&parts).is_ok(), "{version:?}");
    }
}

#[test]
fn a_request_without_anything_to_remove_arrives_as_it_was_sent() {
    let fields =
        [("host", "a.example:8080"), ("accept", "*/*"), ("cookie", "a=1"), ("traceparent", "00-0-0-00")];
    let mut sent = request("POST /x?y=%20", &fields);
    sent.headers.append("trailer", HeaderValue::from_static("x-sum"));
    let (parts, upgrade) = forwarded(sent, &peer(READER));
    assert_eq!((upgrade, parts.uri.to_string().as_str()), (None, "/x?y=%20"));
    for (name, value) in fields.iter().chain(&[("trailer", "x-sum")]) {
        assert_eq!(values(&parts.headers, name), [*value]);
    }
    assert_eq!(parts.headers.len(), fields.len() + 1 + 4);
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let fields = [
        ("host", "a.example"),
        ("connection", "close, X-Own ,\tx-two"),
        ("connection", "x-three, host, content-length, X-Forwarded-For, keep-alive"),
        ("x-own", "1"),
        ("x-own", "1"),
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
    let (parts, upgrade) = forwarded(request("POST /", &fields), &peer(READER));
    assert_eq!(upgrade, None, "no Connection named the upgrade");
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
        assert!(!parts.headers.contains_key(gone), "{gone}");
    }
    for (name, value) in [
        ("host", "a.example"),
        ("content-length", "3"),
        ("x-forwarded-for", READER),
        ("proxy-authorization", "kept"),
    ] {
        assert_eq!(values(&parts.headers, name), [value]);
    }
    let (parts, _) = forwarded(
        request("POST /", &[("host", "a.example"), ("transfer-encoding", "chunked")]),
        &peer(READER),
    );
    assert!(!parts.headers.contains_key("transfer-encoding"));
}

#[test]
fn a_client_that_takes_trailers_says_so_to_the_backend() {
    let fields = [("host", "a.example"), ("te", "gzip;q=0.5, Trailers"), ("connection", "te")];
    let (parts, _) = forwarded(request("GET /", &fields), &peer(READER));
    assert_eq!(values(&parts.headers, "te"), ["trailers"]);
    assert_eq!(values(&parts.headers, "connection"), ["te"]);
}

#[test]
fn an_upgrade_goes_through_if_it_is_one_that_a_backend_may_grant() {
    let ask = |fields: &[(&str, &str)], version| {
        let mut parts = request("GET /", &[&[("host", "a.example")], fields].concat());
        parts.version = version;
        forwarded(parts, &peer(READER))
    };
    let socket = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
    let (parts, upgrade) = ask(&socket, Version::HTTP_11);
    assert_eq!(upgrade.unwrap(), "websocket");
    assert_eq!(values(&parts.headers, "connection"), ["upgrade"]);
    assert_eq!(values(&parts.headers, "upgrade"), ["websocket"]);

    let h2c = [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
    let two = [("connection", "upgrade"), ("upgrade", "websocket, H2C")];
    let body = [socket[0], socket[1], ("content-length", "5")];
    for (fields, version) in [
        (&socket[..], Version::HTTP_10),
        (&h2c[..], Version::HTTP_11),
        (&two[..], Version::HTTP_11),
        (&body[..], Version::HTTP_11),
        (&socket[1..], Version::HTTP_11),
        (&socket[..1], Version::HTTP_11),
    ] {
        let (parts, upgrade) = ask(fields, version);
        assert_eq!(upgrade, None, "{fields:?}");
        for gone in ["connection", "upgrade", "http2-settings"] {
            assert!(!parts.headers.contains_key(gone), "{gone} of {fields:?}");
        }
    }
}

#[test]
fn the_backend_gets_one_host_and_a_path() {
    let mut parts =
        request("GET https://A.example:8443/x?y", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
    parts.version = Version::HTTP_2;
    assert_eq!(host(&parts), "A.example:8443");
    let (parts, _) = forwarded(parts, &peer(READER));
    assert_eq!(values(&parts.headers, "host"), ["A.example:8443"]);
    assert_eq!(values(&parts.headers, "x-forwarded-host"), ["A.example:8443"]);
    assert_eq!(values(&parts.headers, "cookie"), ["a=1; b=2; c=3"]);
    assert_eq!((parts.uri.to_string().as_str(), parts.version), ("/x?y", Version::HTTP_11));

    let (parts, _) = forwarded(request("GET http://A.example?q", &[("host", "a.example")]), &peer(READER));
    assert_eq!((parts.uri.to_string().as_str(), host(&parts)), ("/?q", "A.example"));
    let (parts, _) = forwarded(request("OPTIONS *", &[("host", "a.example")]), &peer(READER));
    assert_eq!((parts.uri.to_string().as_str(), host(&parts)), ("*", "a.example"));
}

#[test]
fn a_stranger_can_say_nothing_of_who_asks() {
    let lies = [
        ("host", "a.example"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=1.1.1.1"),
        ("x-request-id", "mine"),
    ];
    for (address, text) in [(READER, READER), ("::ffff:192.0.2.7", READER), ("2001:db8::7", "2001:db8::7")] {
        let peer = peer(address);
        assert!(!peer.is_trusted() && peer.address().to_string() == text);
        let (parts, _) = forwarded(request("GET /", &lies), &peer);
        assert_eq!(values(&parts.headers, "x-forwarded-for"), [text]);
        assert_eq!(values(&parts.headers, "x-forwarded-proto"), ["http"]);
        assert_eq!(values(&parts.headers, "x-forwarded-host"), ["a.example"]);
        assert_eq!(values(&parts.headers, "x-request-id"), ["id"]);
        assert!(!parts.headers.contains_key("forwarded"));
    }
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
        let mut parts = request("GET /", &[("host", "a.example")]);
        for line in chain {
            parts.headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let (parts, _) = forwarded(parts, &peer(PROXY));
        assert_eq!(values(&parts.headers, "x-forwarded-for"), [expected], "{chain:?}");
        assert_eq!(values(&parts.headers, "x-forwarded-proto"), ["http"]);
        assert_eq!(values(&parts.headers, "x-forwarded-host"), ["a.example"]);
        assert!(!parts.headers.contains_key("forwarded"));
    }
    let fields = [
        ("host", "a.example:81"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b.example"),
        ("forwarded", "for=192.0.2.7"),
    ];
    let (parts, _) = forwarded(request("GET /", &fields), &peer(PROXY));
    assert_eq!(values(&parts.headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&parts.headers, "x-forwarded-host"), ["b.example"]);
    assert_eq!(
        values(&parts.headers, "forwarded"),
        ["for=192.0.2.7", "for=10.0.0.1;host=\"a.example:81\";proto=http"]
    );
    let (parts, _) = forwarded(request("GET /", &fields), &peer("2001:db8:1::9"));
    let element = "for=\"[2001:db8:1::9]\";host=\"a.example:81\";proto=http";
    assert_eq!(values(&parts.headers, "forwarded"), ["for=192.0.2.7", element]);
}

#[test]
fn the_fields_of_a_site_replace_what_was_sent() {
    let mut parts = request("GET /", &[("host", "a.example"), ("x-site-id", "1"), ("x-site-id", "2")]);
    let fixed = [
        (HeaderName::from_static("x-site-id"), HeaderValue::from_static("42")),
        (HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https")),
    ];
    let seen = check(&parts).unwrap();
    to_backend(&mut parts, seen, &peer(READER), &fixed, HeaderValue::from_static("id"));
    assert_eq!(values(&parts.headers, "x-site-id"), ["42"]);
    assert_eq!(values(&parts.headers, "x-forwarded-proto"), ["https"]);
}

#[test]
fn an_answer_brings_nothing_of_the_backends_connection_to_the_client() {
    let (parts, keep_alive) = answered(
        200,
        &[
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
        ],
    );
    assert_eq!(keep_alive, Some(Duration::from_secs(5)));
    assert_eq!(parts.version, Version::HTTP_11);
    let mut names: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["proxy-authenticate", "set-cookie", "trailer"]);
    assert_eq!(values(&parts.headers, "set-cookie"), ["a", "b"]);
}

#[test]
fn an_answer_that_is_clean_stays_as_it_is() {
    let (parts, keep_alive) = answered(200, &[("content-length", "7"), ("etag", "W/\"x\"")]);
    assert_eq!((keep_alive, parts.version, parts.headers.len()), (None, Version::HTTP_11, 2));
    for odd in ["timeout", "timeout=", "timeout=x", "timeout=-1", "max=3"] {
        assert_eq!(answered(200, &[("keep-alive", odd)]).1, None, "{odd}");
    }
}

#[test]
fn a_granted_upgrade_keeps_its_fields() {
    let (parts, _) =
        answered(101, &[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "x")]);
    assert_eq!(values(&parts.headers, "connection"), ["upgrade"]);
    assert_eq!(values(&parts.headers, "upgrade"), ["websocket"]);
    assert_eq!(values(&parts.headers, "sec-websocket-accept"), ["x"]);
}
