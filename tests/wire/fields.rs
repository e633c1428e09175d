//! Whom a request is for, who asks, and which fields belong to one connection only.

use crate::harness::{Backend, Client, Config, Proxy};

fn ask(client: &mut Client, fields: &str) {
    client.send(format!("GET /x?y=z HTTP/1.1\r\nHost: A.Test:8080\r\n{fields}\r\n"));
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_stranger_does_not_say_who_asks() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    ask(
        &mut proxy.client(),
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n\
         Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\n",
    );
    let seen = a.only_request();
    assert_eq!(seen.path(), "/x?y=z");
    assert_eq!(seen.field("host"), Some("A.Test:8080"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("A.Test:8080"));
    assert_eq!(seen.field("forwarded"), None);
    assert_eq!(seen.field("x-real-ip"), None);
    assert_eq!(seen.field("x-request-id").unwrap().len(), 32);
}

#[test]
fn a_trusted_proxy_is_believed() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]);
    config.server = "trusted_proxies = ['127.0.0.0/8']".into();
    let proxy = Proxy::start(&config);
    ask(
        &mut proxy.client(),
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: front.test\r\nX-Real-IP: 1.2.3.4\r\n\
         X-Request-Id: mine-1\r\n",
    );
    let seen = a.only_request();
    assert_eq!(seen.field("x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-host"), Some("front.test"));
    assert_eq!(seen.field("x-real-ip"), Some("1.2.3.4"));
    assert_eq!(seen.field("x-request-id"), Some("mine-1"));
}

#[test]
fn a_balancer_says_whose_connection_it_passes_on_and_nobody_else_does() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]);
    config.listen = "proxy_protocol = { from = ['127.0.0.1/32'] }".into();
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send("PROXY TCP4 192.0.2.7 127.0.0.1 1000 80\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.get("a.test", "/").status, 200, "the header is that of a connection, not of a request");
    for seen in a.requests() {
        assert_eq!(seen.field("x-forwarded-for"), Some("192.0.2.7"));
    }
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(client.is_closed(), "whose connection is it?");
    assert_eq!(proxy.metric("ghostpin_proxy_headers_refused_total"), 1);

    config.listen = "proxy_protocol = { from = ['10.0.0.0/8'] }".into();
    proxy.reload(&config);
    let mut client = proxy.client();
    client.send("PROXY TCP4 192.0.2.7 127.0.0.1 1000 80\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(client.response().status >= 400, "anybody could say that");
    assert_eq!(a.count(), 2);
}

#[test]
fn what_belongs_to_one_connection_stays_on_it() {
    let a = Backend::with("A", |_, conn| {
        conn.answer_with(
            200,
            "connection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\nproxy-connection: close\r\nx-end: 1\r\n",
            "x",
        );
    });
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 300\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nX-End: 1\r\n\r\n",
    );
    let response = client.response();
    for gone in ["connection", "keep-alive", "x-hop", "proxy-connection"] {
        assert_eq!(response.field(gone), None, "{gone}");
    }
    assert_eq!(response.field("x-end"), Some("1"));
    let seen = a.only_request();
    for gone in ["connection", "x-mine", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    assert_eq!(seen.field("x-end"), Some("1"));
}

#[test]
fn a_trace_context_and_a_sites_own_fields_reach_the_backend() {
    let a = Backend::named("A");
    let lines = "app = 'generic'\n[site.headers]\nX-Site-Id = '42'";
    let proxy = Proxy::start(&Config::new().site("a", &[&a], lines));
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    ask(&mut proxy.client(), &format!("traceparent: {context}\r\ntracestate: a=b\r\nX-Site-Id: forged\r\n"));
    let seen = a.only_request();
    assert_eq!((seen.field("traceparent"), seen.field("tracestate")), (Some(context), Some("a=b")));
    assert_eq!((seen.field("x-site-id"), seen.count("x-site-id")), (Some("42"), 1));
}

#[test]
fn a_path_with_an_upstream_of_its_own_goes_there_and_is_never_held() {
    let (a, side) = (Backend::named("A"), Backend::named("side"));
    let route = format!(
        "app = 'generic'\n[[site.route]]\npath = '/.ghost/activitypub'\nupstream = '{}'",
        side.address
    );
    let proxy = Proxy::start(&Config::new().site("a", &[&a], &route));
    assert_eq!(proxy.get("/.ghost/activitypub/inbox").text(), "side GET 0");
    proxy.hold();
    assert_eq!(proxy.get("/.ghost/activitypub").text(), "side GET 0");
    let mut client = proxy.client();
    client.post("a.test", "/.ghost/activitypub/inbox", "note");
    assert_eq!(client.response().text(), "side POST 4");
    assert_eq!((a.count(), proxy.held(), proxy.in_flight()), (0, 0, 0));
    proxy.release();
    assert_eq!(proxy.get("/.ghost/activitypubx").text(), "A GET 0", "a prefix is one of whole segments");
}

#[test]
fn an_upstream_of_a_path_that_is_not_there_is_503_at_once() {
    let (a, side) = (Backend::named("A"), Backend::absent("side"));
    let route = format!("app = 'generic'\n[[site.route]]\npath = '/side'\nupstream = '{}'", side.address);
    let proxy = Proxy::start(&Config::new().site("a", &[&a], &route));
    assert_eq!(proxy.get("/side").status, 503);
    assert_eq!((proxy.get("/").text().as_str(), proxy.epoch()), ("A GET 0", 1));
}

#[test]
fn a_host_of_nobody_is_404_with_a_plain_page() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: other.test\r\nAccept: text/html\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 404);
    assert!(response.field("content-type").unwrap().starts_with("text/html"));
    assert_eq!(client.get("a.test", "/").text(), "A GET 0", "the connection goes on");
    assert_eq!(a.count(), 1);
}

#[test]
fn a_head_that_can_be_read_in_two_ways_is_400_and_ends_the_connection() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    let heads = [
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nbroken\r\n\r\n",
    ];
    for head in heads {
        let mut client = proxy.client();
        client.send(head);
        assert_eq!(client.response().status, 400, "{head}");
        assert!(client.is_closed(), "{head}");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn a_length_beside_a_coding_never_reaches_a_backend() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    for fields in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n2\r\nxx\r\n0\r\n\r\n"));
        client.response();
    }
    for seen in a.requests() {
        assert_eq!((seen.field("content-length"), seen.field("transfer-encoding")), (None, Some("chunked")));
    }
}

#[test]
fn a_backend_at_a_unix_socket_is_served_and_failed_over_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut a = Backend::at("A", &folder.path().join("a.sock"));
    let b = Backend::named("B");
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    let mut client = proxy.client();
    assert_eq!(client.get("a.test", "/").text(), "A");
    assert_eq!(client.get("a.test", "/").text(), "A");
    a.stop();
    std::fs::remove_file(folder.path().join("a.sock")).unwrap();
    assert_eq!(client.get("a.test", "/").text(), "B GET 0");
    assert_eq!(proxy.pinned(), b.address);
}
