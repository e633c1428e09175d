//! What the two sides of a connection of HTTP/1.1 may expect of a proxy between them.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

#[test]
fn interim_answers_of_a_backend_end_nothing() {
    let backend = Backend::with("A", |_, conn| {
        conn.send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
        conn.answer(200, "the real one");
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.get("a.test", "/").text(), "the real one");
    }
}

#[test]
fn a_client_that_leaves_does_not_keep_its_backend_busy() {
    let (gone, noticed) = mpsc::channel();
    let gone = Mutex::new(gone);
    let backend = Backend::with("A", move |head, conn| {
        if head.path() == "/streams" {
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        }
        // It would take for ever, and sees the end of its connection instead.
        conn.reader.rest();
        gone.lock().unwrap().send(head.path().to_owned()).unwrap();
        conn.close();
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    for path in ["/thinks", "/streams"] {
        let mut client = proxy.client();
        client.ask("GET", "a.test", path);
        until("the backend has it", || proxy.in_flight() == 1);
        client.leave();
        assert_eq!(noticed.recv_timeout(PATIENCE).as_deref(), Ok(path));
    }
    until("no lease is left", || proxy.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_upload_blames_nobody() {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhalf of it");
    until("the backend has it", || backend.count() == 1);
    client.leave();
    proxy.until_logged("\"left\"");
    until("no lease is left", || proxy.in_flight() == 0);
    assert_eq!(proxy.epoch(), 1);
    assert_eq!(proxy.get("/").text(), "A GET 0");
}

#[test]
fn a_refusal_costs_the_connection_only_if_more_of_its_body_would_come() {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    client.post("nobody.test", "/", "all of it has come");
    assert_eq!(client.response().status, 404);
    assert_eq!(client.get("a.test", "/").text(), "A GET 0", "the connection goes on");

    client.send("POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 100\r\n\r\nsome of it");
    let response = client.response();
    assert_eq!((response.status, response.field("connection")), (404, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn a_refused_client_can_read_why_although_it_goes_on_sending() {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    for _ in 0..20 {
        let mut client = proxy.client();
        let head = "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 3000000\r\n\r\n";
        client.send(head);
        let mut writer = client.stream.try_clone().unwrap();
        let uploading = std::thread::spawn(move || {
            use std::io::Write;
            let _ = writer.write_all(&[b'x'; 1_000_000]);
        });
        assert_eq!(client.response().status, 404);
        drop(client);
        uploading.join().unwrap();
    }
}

#[test]
fn a_client_of_http_1_0_gets_what_it_understands() {
    let backend = Backend::with("A", |head, conn| match head.path() {
        "/chunked" => conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        _ => conn.answer(200, "known"),
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    let ask = |path: &str| format!("GET {path} HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
    client.send(ask("/known"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("known", Some("keep-alive")));
    client.send(ask("/chunked"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("transfer-encoding")), ("abc", None));
    assert!(client.is_closed(), "its end is that of the connection");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().text(), "known");
    assert!(client.is_closed(), "it did not ask for more");
}

#[test]
fn names_arrive_in_the_spelling_they_were_sent_in() {
    let backend = Backend::with("A", |_, conn| conn.answer_with(200, "X-CamelCase: yes\r\n", ""));
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhOsT: a.test\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(client.reader.rest()).unwrap();
    assert!(text.contains("\r\nX-CamelCase: yes\r\n"), "{text}");
}

#[test]
fn who_wants_no_more_is_not_listened_to_after_its_answer() {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    // It stays open at this side. Who is listened to is so for two seconds.
    let (mut client, began) = (proxy.client(), Instant::now());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().status, 200);
    until("it is closed", || proxy.metric("ghostpin_connections_ended_total") == 1);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn who_says_more_than_it_said_it_would_reads_its_answer_to_the_end() {
    const LENGTH: usize = 300_000;
    let backend = Backend::with("A", |_, conn| conn.answer(200, &"x".repeat(LENGTH)));
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    let more = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(1_000);
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n{more}"));
    assert_eq!(client.response().body.len(), LENGTH);
    assert!(client.is_closed(), "what came behind it is not answered");
}

#[test]
fn an_answer_has_a_date_even_if_its_backend_has_no_clock() {
    let backend = Backend::with("A", |head, conn| match head.path() {
        "/dated" => conn.answer_with(200, "date: then\r\n", ""),
        _ => conn.answer(200, ""),
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    assert!(client.get("a.test", "/").field("date").unwrap().ends_with(" GMT"));
    assert_eq!(client.get("a.test", "/dated").field("date"), Some("then"));
    assert!(client.get("nobody.test", "/").field("date").unwrap().ends_with(" GMT"));
}

#[test]
fn what_is_no_http_is_told_so_at_once() {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    for (sent, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], 400),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/3.0\r\n", 505),
        (b"GET / HTTP/1.1\r\nbroken\r\n", 400),
    ] {
        let mut client = proxy.client();
        client.send(sent);
        assert_eq!(client.response().status, status, "{sent:?}");
        assert!(client.is_closed());
    }
}

#[test]
fn a_head_beyond_its_limits_is_431() {
    let backend = Backend::named("A");
    let mut config = Config::of(&[&backend]);
    config.limits = "max_head = '8KiB'\nmax_headers = 20".into();
    let proxy = Proxy::start(&config);
    let large = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "X: 1\r\n".repeat(20));
    for head in [large, many] {
        let mut client = proxy.client();
        client.send(head);
        assert_eq!(client.response().status, 431);
        assert!(client.is_closed());
    }
    assert_eq!(backend.count(), 0);
}
