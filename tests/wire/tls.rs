//! TLS: who is shown which certificate, and that everything else is as it is in clear text.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::{CipherSuite, ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use tokio::io::AsyncReadExt;

use crate::harness::secure::{Authority, handshake};
use crate::harness::{Backend, Client, Config, PATIENCE, Proxy, Reader, until};
use crate::{http2, tunnel};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The certificate's serial number stands for it: the text of the whole would do as well.
fn shown(stream: &Stream) -> Vec<u8> {
    stream.conn.peer_certificates().expect("certificates")[0].to_vec()
}

fn ask(stream: &mut Stream, host: &str) -> (u16, String) {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("written");
    let mut reader = Reader::new(stream);
    let head = reader.head().expect("a head").expect("before the end");
    let status = head.line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length = head.field("content-length").and_then(|length| length.parse().ok()).expect("a length");
    (status, String::from_utf8(reader.exactly(length).expect("a body")).expect("text"))
}

#[test]
fn each_host_is_shown_its_own_certificate_and_the_backend_is_told_https() {
    let a = Backend::with("A", |head, conn| {
        let scheme = head.field("x-forwarded-proto").unwrap_or("none").to_owned();
        conn.answer(200, &scheme);
    });
    let authority = Authority::new();
    authority.certify("one.pem", &["a.test", "www.a.test"]);
    authority.certify("all.pem", &["*.b.test"]);
    let config = Config::of(&[&a]).site("b", &[&a], "app = 'generic'");
    let config = authority.secured(config);
    let proxy = Proxy::start(&config);
    let (to, client) = (proxy.https(), Arc::new(authority.client(&["http/1.1"])));
    // The client verifies that the certificate is for the host.
    let mut one = handshake(to, "a.test", &client).expect("a certificate");
    assert_eq!(one.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(ask(&mut one, "a.test"), (200, "https".to_owned()));
    let www = handshake(to, "www.a.test", &client).expect("a certificate");
    assert_eq!(shown(&one), shown(&www));
    let other = handshake(to, "x.b.test", &client).expect("a certificate");
    assert_ne!(shown(&one), shown(&other));
}

#[test]
fn who_names_no_host_or_an_unknown_one_gets_an_alert_and_is_counted() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a])));
    let to = proxy.https();
    let client = authority.client(&[]);
    let said = |name, client: &ClientConfig| {
        handshake(to, name, &Arc::new(client.clone())).expect_err("refused").to_string()
    };
    assert_eq!(said("unknown.test", &client), "received fatal alert: UnrecognisedName");
    let mut nameless = client.clone();
    nameless.enable_sni = false;
    assert_eq!(said("a.test", &nameless), "received fatal alert: MissingExtension");
    let mut plain = TcpStream::connect(to).expect("it listens");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("written");
    let _ = plain.read_to_end(&mut Vec::new());
    until("all are counted", || {
        let names = [
            "ghostpin_tls_unknown_name_total",
            "ghostpin_tls_without_name_total",
            "ghostpin_tls_failed_total",
            "ghostpin_connections_ended_total",
        ];
        names.map(|name| proxy.metric(name)) == [1, 1, 1, 3]
    });
    assert!(handshake(to, "a.test", &Arc::new(client)).is_ok());
}

#[test]
fn an_idle_connection_is_told_that_it_ends() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.pem", &["a.test"]);
    let config = Config::of(&[&a]).limits("keep_alive_timeout = '200ms'");
    let proxy = Proxy::start(&authority.secured(config));
    let mut stream =
        handshake(proxy.https(), "a.test", &Arc::new(authority.client(&[]))).expect("a certificate");
    assert_eq!(ask(&mut stream, "a.test").0, 200);
    // An end without TLS's own word for it is an error here.
    assert_eq!(stream.read(&mut [0; 16]).expect("an end that is one"), 0);
}

#[test]
fn a_host_that_the_certificate_is_not_for_is_misdirected_whoever_it_belongs_to() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let authority = Authority::new();
    authority.certify("a.pem", &["a.test", "b.test"]);
    let config = Config::of(&[&a]).site("b", &[&b], "app = 'generic'").site("c", &[&b], "app = 'generic'");
    let proxy = Proxy::start(&authority.secured(config));
    let mut stream =
        handshake(proxy.https(), "a.test", &Arc::new(authority.client(&[]))).expect("a certificate");
    assert_eq!(ask(&mut stream, "c.test").0, 421);
    assert_eq!(ask(&mut stream, "B.test:443"), (200, "B GET 0".to_owned()));
    assert_eq!(ask(&mut stream, "A.TEST."), (200, "A GET 0".to_owned()));
    assert_eq!(ask(&mut stream, "unknown.test").0, 421);
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_open_connections_go_on() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let config = authority.secured(Config::of(&[&a]));
    let proxy = Proxy::start(&config);
    // Each time a new configuration of the client: another one would resume its session.
    let open =
        || handshake(proxy.https(), "a.test", &Arc::new(authority.client(&[]))).expect("a certificate");
    let mut before = open();
    authority.certify("a.test.pem", &["a.test"]);
    proxy.hang_up();
    let mut after = open();
    assert_ne!(shown(&before), shown(&after));
    authority.write("a.test.pem", "what a full disk has left of it");
    proxy.hang_up();
    assert_eq!(shown(&after), shown(&open()), "the last good one stays");
    let (_, certificates) = proxy.admin("GET", "/v1/certificates?problems=true", "");
    assert_eq!(
        (certificates[0]["serving"].as_bool(), certificates[0]["names"][0].as_str()),
        (Some(true), Some("a.test"))
    );
    assert!(certificates[0]["problem"].as_str().expect("a text").contains("no certificate in it"));
    proxy.until_logged("a.test.pem");
    for stream in [&mut before, &mut after] {
        assert_eq!(ask(stream, "a.test"), (200, "A GET 0".to_owned()));
    }
}

#[test]
fn a_session_is_resumed_by_its_ticket() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a])));
    let client = Arc::new(authority.client(&[]));
    let mut first = handshake(proxy.https(), "a.test", &client).expect("a certificate");
    assert_eq!(ask(&mut first, "a.test").0, 200);
    assert_eq!(first.conn.handshake_kind(), Some(HandshakeKind::Full));
    let mut second = handshake(proxy.https(), "a.test", &client).expect("a ticket");
    assert_eq!(ask(&mut second, "a.test").0, 200);
    assert_eq!(second.conn.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_client_gets_the_cheapest_cipher_or_the_one_that_he_has_hardware_for() {
    use CipherSuite as C;
    const OLD_256: CipherSuite = C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    const OLD_128: CipherSuite = C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    const OLD_CHACHA: CipherSuite = C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let (aes_256, aes_128) = (C::TLS13_AES_256_GCM_SHA384, C::TLS13_AES_128_GCM_SHA256);
    let chacha = C::TLS13_CHACHA20_POLY1305_SHA256;
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a])));
    for (offers, gets) in [
        (&[aes_256, chacha, aes_128][..], aes_128),
        (&[aes_128, aes_256, chacha], aes_128),
        (&[chacha, aes_128, aes_256], chacha),
        (&[chacha, aes_256], chacha),
        (&[aes_256, chacha], aes_256),
        (&[aes_256], aes_256),
        (&[OLD_256, OLD_128, OLD_CHACHA], OLD_128),
        (&[OLD_CHACHA, OLD_256, OLD_128], OLD_CHACHA),
        (&[OLD_256], OLD_256),
    ] {
        let client = Arc::new(authority.client_with(offers));
        let mut stream = handshake(proxy.https(), "a.test", &client).expect("a certificate");
        assert_eq!(ask(&mut stream, "a.test").0, 200);
        let suite = stream.conn.negotiated_cipher_suite().expect("a cipher").suite();
        assert_eq!(suite, gets, "of {offers:?}");
    }
}

#[test]
fn a_slow_reader_gets_all_of_a_large_answer_and_its_lease_ends_with_it() {
    const LENGTH: usize = 8_000_000;
    let a = Backend::with("A", |_, conn| conn.answer(200, &"x".repeat(LENGTH)));
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a])));
    let mut stream =
        handshake(proxy.https(), "a.test", &Arc::new(authority.client(&[]))).expect("a certificate");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("written");
    let mut reader = Reader::new(&mut stream);
    assert_eq!(
        reader.head().expect("a head").expect("before the end").field("content-length"),
        Some("8000000")
    );
    // All that fits between the two is on its way: the lease is out as long as the rest is not.
    assert_eq!(proxy.in_flight(), 1);
    assert!(reader.exactly(LENGTH).expect("all of it").iter().all(|byte| *byte == b'x'));
    until("the lease is given back", || proxy.in_flight() == 0);
}

#[test]
fn a_handshake_that_stands_still_is_ended_and_counted() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let config = authority.secured(Config::of(&[&a]).limits("head_timeout = '200ms'"));
    let proxy = Proxy::start(&config);
    let mut silent = TcpStream::connect(proxy.https()).expect("it listens");
    let mut half = silent.try_clone().expect("a descriptor");
    half.write_all(&[22, 3, 1, 2, 0, 1]).expect("written");
    silent.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    assert_eq!(
        silent
            .read(&mut [0; 16])
            .or_else(|error| match error.kind() {
                io::ErrorKind::ConnectionReset => Ok(0),
                _ => Err(error),
            })
            .expect("an end"),
        0
    );
    until("it is counted", || proxy.metric("ghostpin_tls_slow_total") == 1);
}

#[test]
fn a_websocket_over_tls_is_cut_by_a_handoff_and_comes_back_to_the_new_backend() {
    let (a, b) = (Backend::with("A", tunnel::echo), Backend::with("B", tunnel::echo));
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let config = authority.secured(Config::of(&[&a, &b]).handoff("drain_timeout = '100ms'"));
    let proxy = Proxy::start(&config);
    proxy.until_well(&b);
    let bridge = authority.bridge(proxy.https(), "a.test", "http/1.1");
    let mut client = Client::to(bridge);
    tunnel::upgrade(&mut client);
    client.send("hello");
    assert_eq!(client.reader.exactly(5).expect("an echo"), b"HELLO");
    assert_eq!(proxy.handoff(&b).0, 200);
    assert!(client.is_closed());
    let mut again = Client::to(bridge);
    tunnel::upgrade(&mut again);
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[test]
fn a_kept_connection_follows_a_handoff_with_its_next_request() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a, &b])));
    proxy.until_well(&b);
    let mut stream =
        handshake(proxy.https(), "a.test", &Arc::new(authority.client(&[]))).expect("a certificate");
    assert_eq!(ask(&mut stream, "a.test").1, "A GET 0");
    assert_eq!(proxy.handoff(&b).0, 200);
    assert_eq!(ask(&mut stream, "a.test").1, "B GET 0");
}

#[test]
fn clear_text_is_sent_to_tls_where_there_is_a_certificate_and_nobody_said_otherwise() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("all.pem", &["a.test", "stays.test", "behind.test"]);
    let config = Config::of(&[&a])
        .site("without", &[&a], "app = 'generic'")
        .site("stays", &[&a], "app = 'generic'\nhttps.redirect = false")
        .site("always", &[&a], "app = 'generic'\nhttps.redirect = true");
    let proxy = Proxy::start(&authority.secured(config));
    let port = proxy.https().port();
    until("all certificates are known", || proxy.metric("ghostpin_certificates") == 1);
    let mut client = proxy.client();
    let mut sent_to = |host: &str, path: &str| {
        let answer = client.get(host, path);
        (answer.status, answer.field("location").unwrap_or_default().to_owned())
    };
    let there = |host: &str, path: &str| (301, format!("https://{host}:{port}{path}"));
    let here = || (200, String::new());
    assert_eq!(sent_to("a.test", "/page?x=1"), there("a.test", "/page?x=1"));
    assert_eq!(sent_to("always.test", "/"), there("always.test", "/"));
    assert_eq!(sent_to("without.test", "/"), here());
    assert_eq!(sent_to("stays.test", "/"), here());
    assert_eq!(sent_to("a.test", "/.well-known/acme-challenge/token"), here());
    // A form is not lost.
    client.post("a.test", "/form", "name=value");
    assert_eq!((client.response().status, a.count()), (308, 3));
}

#[test]
fn what_a_trusted_proxy_says_came_over_tls_is_not_sent_there_again() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let config = Config::of(&[&a]).site("b", &[&a], "app = 'generic'\nhttps.hsts = '1h'");
    let mut config = authority.secured(config);
    let claim = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\n\r\n";
    let status = |proxy: &Proxy| {
        let mut client = proxy.client();
        client.send(claim);
        client.response().status
    };
    let proxy = Proxy::start(&config);
    until("the certificate is known", || proxy.metric("ghostpin_certificates") == 1);
    assert_eq!(status(&proxy), 301, "anybody may say so");
    config.server += "\ntrusted_proxies = ['127.0.0.1']";
    let proxy = Proxy::start(&config);
    until("the certificate is known", || proxy.metric("ghostpin_certificates") == 1);
    assert_eq!(status(&proxy), 200);
}

#[test]
fn browsers_are_told_to_stay_with_tls_over_tls_only_and_only_where_it_is_wanted() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("all.pem", &["a.test", "b.test"]);
    let told = "app = 'generic'\nhttps = { redirect = false, hsts = '365d', hsts_subdomains = true }";
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a]).site("b", &[&a], told)));
    assert_eq!(proxy.client().get("b.test", "/").field("strict-transport-security"), None);
    let mut secure = Client::to(authority.bridge(proxy.https(), "a.test", "http/1.1"));
    let hsts = secure.get("b.test", "/");
    assert_eq!(hsts.field("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
    assert_eq!(secure.get("a.test", "/").field("strict-transport-security"), None);
}

#[test]
fn a_connection_of_http_2_stays_over_reloads_and_follows_a_handoff_with_its_next_request() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a, &b])));
    proxy.until_well(&b);
    let bridge = authority.bridge(proxy.https(), "a.test", "h2");
    http2::run(async {
        let (mut sender, connection) = http2::connect_at(bridge).await;
        let mut ask =
            async || http2::text(sender.send_request(http2::get("/")).await.expect("an answer")).await;
        assert_eq!(ask().await, "A GET 0");
        authority.certify("a.test.pem", &["a.test"]);
        proxy.hang_up();
        assert_eq!(ask().await, "A GET 0");
        assert_eq!(proxy.handoff(&b).0, 200);
        assert_eq!(ask().await, "B GET 0");
        assert!(!connection.is_finished());
    });
    assert_eq!(proxy.metric("ghostpin_connections_accepted_total"), 1);
}

#[test]
fn a_websocket_in_a_stream_over_tls_is_cut_by_a_handoff_and_streams_of_other_sites_go_on() {
    let (a, b) = (Backend::with("A", tunnel::echo), Backend::with("B", tunnel::echo));
    let other = Backend::with("O", tunnel::echo);
    let authority = Authority::new();
    authority.certify("both.pem", &["a.test", "o.test"]);
    let config =
        Config::of(&[&a, &b]).site("o", &[&other], "app = 'generic'").handoff("drain_timeout = '100ms'");
    let proxy = Proxy::start(&authority.secured(config));
    proxy.until_well(&b);
    let bridge = authority.bridge(proxy.https(), "a.test", "h2");
    http2::run(async {
        let (mut sender, _connection) = http2::connect_at(bridge).await;
        let mut streams = Vec::new();
        for host in ["a.test", "o.test"] {
            let answer = sender.send_request(http2::websocket(host)).await.expect("an answer");
            assert_eq!(answer.status().as_u16(), 200);
            streams.push(TokioIo::new(hyper::upgrade::on(answer).await.expect("a stream")));
        }
        let [cut, stays] = &mut streams[..] else { unreachable!("two were made") };
        assert_eq!(http2::say(cut, "hello").await, "HELLO");
        assert_eq!(proxy.handoff(&b).0, 200);
        assert_eq!(cut.read(&mut [0; 16]).await.unwrap_or(0), 0);
        assert_eq!(http2::say(stays, "still").await, "STILL");
        let again = sender.send_request(http2::websocket("a.test")).await.expect("an answer");
        assert_eq!((again.status().as_u16(), b.count()), (200, 1));
    });
}

#[test]
fn streams_of_one_connection_share_it() {
    const LARGE: usize = 64 << 20;
    let a = Backend::with("A", |head, conn| match head.path() {
        "/large" => conn.answer(200, &"x".repeat(LARGE)),
        _ => conn.answer(200, "small"),
    });
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    let proxy = Proxy::start(&authority.secured(Config::of(&[&a])));
    let bridge = authority.bridge(proxy.https(), "a.test", "h2");
    http2::run(async {
        let (sender, _connection) = http2::connect_at(bridge).await;
        let ask = |path| {
            let mut sender = sender.clone();
            async move { sender.send_request(http2::get(path)).await.expect("an answer").into_body() }
        };
        let mut large = ask("/large").await;
        let mut taken = 0;
        // Whoever waits for the large one to end would be seen here: it is never further than the next small one.
        for _ in 0..20 {
            let small = ask("/small").await.collect();
            let mut small = std::pin::pin!(small);
            let small = loop {
                tokio::select! {
                    biased;
                    small = &mut small => break small.expect("a body"),
                    frame = large.frame() => {
                        taken += frame.expect("more").expect("a frame").into_data().map_or(0, |data| data.len());
                    }
                }
            };
            assert_eq!(small.to_bytes(), "small");
        }
        assert!(taken < LARGE, "all of the large one came first");
        assert_eq!(taken + large.collect().await.expect("the rest").to_bytes().len(), LARGE);
    });
}
