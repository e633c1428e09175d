//! Bytes go through as they come, framed anew where the two sides differ.

use std::sync::Mutex;
use std::sync::mpsc;

use crate::harness::{Backend, Config, Proxy, until};

/// A step that one side waits for until the other side allows it.
fn signal() -> (mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>) {
    let (sender, receiver) = mpsc::channel();
    (sender, Mutex::new(receiver))
}

#[test]
fn an_answer_is_passed_on_as_it_comes() {
    let (go_on, wait) = signal();
    let backend = Backend::with("A", move |_, conn| {
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        wait.lock().unwrap().recv().unwrap();
        conn.send("3\r\ntwo\r\n0\r\n\r\n");
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    client.ask("GET", "a.test", "/");
    client.head();
    assert_eq!(client.reader.chunk().unwrap(), b"one");
    go_on.send(()).unwrap();
    assert_eq!(client.reader.chunk().unwrap(), b"two");
    assert_eq!(client.reader.chunk().unwrap(), b"");
}

#[test]
fn an_upload_is_passed_on_as_it_comes() {
    let (seen, arrived) = mpsc::channel();
    let seen = Mutex::new(seen);
    let backend = Backend::with("A", move |_, conn| {
        loop {
            let chunk = conn.reader.chunk().unwrap();
            seen.lock().unwrap().send(chunk.clone()).unwrap();
            if chunk.is_empty() {
                conn.reader.trailers().unwrap();
                return conn.answer(200, "thanks");
            }
        }
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in ["first", "second"] {
        client.send(format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        assert_eq!(arrived.recv().unwrap(), chunk.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), "thanks");
}

#[test]
fn the_answer_to_head_has_the_length_and_no_body() {
    let backend = Backend::with("A", |_, conn| conn.send("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n"));
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    for _ in 0..2 {
        client.ask("HEAD", "a.test", "/");
        assert_eq!(client.head().field("content-length"), Some("12345"));
    }
    assert_eq!(backend.count(), 2);
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let backend = Backend::with("A", |head, conn| match head.path() {
        "/204" => conn.send("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => conn.send("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 99\r\n\r\n"),
        _ => conn.answer(200, "body"),
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    for _ in 0..2 {
        let empty = client.get("a.test", "/204");
        assert_eq!((empty.status, empty.field("transfer-encoding")), (204, None));
        let unchanged = client.get("a.test", "/304");
        assert_eq!((unchanged.status, unchanged.field("etag")), (304, Some("\"x\"")));
        assert_eq!(client.get("a.test", "/").text(), "body");
    }
}

#[test]
fn trailers_pass_both_ways() {
    let backend = Backend::with("A", |_, conn| {
        let (body, trailers) = conn.reader.chunked().unwrap();
        assert_eq!(body, b"up");
        let sent = trailers.iter().find(|(name, _)| name == "x-sum").map(|(_, value)| value.clone());
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-echo\r\n\r\n4\r\ndown\r\n");
        conn.send(format!("0\r\nx-echo: {}\r\n\r\n", sent.unwrap_or_default()));
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: te\r\nTrailer: x-sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\nx-sum: 42\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.text(), "down");
    assert_eq!(response.trailers, [("x-echo".to_owned(), "42".to_owned())]);
}

#[test]
fn a_held_upload_gets_its_one_100_when_it_is_let_in() {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    proxy.hold();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    until("it is held", || proxy.held() == 1);
    client.stream.set_nonblocking(true).unwrap();
    assert!(client.reader.head().is_err(), "nothing is sent to a client that is held");
    client.stream.set_nonblocking(false).unwrap();
    proxy.release();
    assert_eq!(client.head().line, "HTTP/1.1 100 Continue");
    client.send("body");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "A POST 4"));
    assert_eq!(backend.only_request().field("expect"), None);
}

#[test]
fn an_early_answer_to_an_upload_reaches_the_client() {
    let backend = Backend::with("A", |head, conn| {
        conn.answer_with(413, "connection: close\r\n", "too much");
        if head.path() == "/closes" {
            conn.close();
        }
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    for path in ["/stays", "/closes"] {
        let mut client = proxy.client();
        let length = 30 << 20;
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n"));
        client.send([b'x'; 1000]);
        let mut writer = client.stream.try_clone().unwrap();
        // It goes on sending, as most clients do, and looks for the answer only then.
        let uploading = std::thread::spawn(move || {
            use std::io::Write;
            let _ = writer.write_all(&vec![b'x'; length - 1000]);
        });
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (413, "too much"), "{path}");
        drop(client);
        uploading.join().unwrap();
    }
    until("no lease is left", || proxy.in_flight() == 0);
}

#[test]
fn an_upload_ends_with_its_early_answer() {
    let (done, finished) = mpsc::channel();
    let done = Mutex::new(done);
    let backend = Backend::with("A", move |head, conn| {
        if head.method() == "POST" {
            conn.answer(200, "early");
            // What else comes on this connection belongs to an upload that nobody waits for.
            let rest = conn.reader.rest();
            done.lock().unwrap().send(rest.len()).unwrap();
            return conn.close();
        }
        conn.answer(200, "other");
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nbegun");
    assert_eq!(client.response().text(), "early");
    // The client stands still in the middle of its upload. Nobody else waits for it, and no lease does.
    finished.recv_timeout(crate::harness::PATIENCE).expect("the backend's connection ends with the answer");
    until("the lease is given back", || proxy.in_flight() == 0);
    assert_eq!(proxy.get("/").text(), "other");
}

#[test]
fn a_client_of_http_1_1_is_served_as_one_by_a_backend_of_http_1_0() {
    let backend = Backend::with("A", |_, conn| {
        conn.send("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end");
        conn.close();
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    for _ in 0..3 {
        let response = client.get("a.test", "/");
        assert_eq!(
            (response.head.line.as_str(), response.text().as_str()),
            ("HTTP/1.1 200 OK", "until the end")
        );
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn safe_requests_share_a_connection_and_unsafe_ones_get_a_fresh_one() {
    let backend = Backend::with("A", |head, conn| {
        conn.body(head);
        let number = conn.number.to_string();
        conn.answer(200, &number);
    });
    let mut config = Config::of(&[&backend]);
    config.server = "threads = 1".into();
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let numbers: Vec<String> = (0..5).map(|_| client.get("a.test", "/").text()).collect();
    assert_eq!(numbers, ["1"; 5]);
    for expected in ["2", "3"] {
        client.post("a.test", "/", "x");
        assert_eq!(client.response().text(), expected);
    }
}

#[test]
fn a_connection_is_not_used_for_longer_than_the_backend_says() {
    let backend = Backend::with("A", |_, conn| {
        let number = conn.number.to_string();
        conn.answer_with(200, "connection: keep-alive\r\nkeep-alive: timeout=1\r\n", &number);
    });
    let mut config = Config::of(&[&backend]).upstream("keep_alive = '60s'");
    config.server = "threads = 1".into();
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let first = client.get("a.test", "/");
    assert_eq!((first.text().as_str(), first.field("keep-alive")), ("1", None));
    // Within that second, with a margin, the proxy gives the connection up by itself.
    until("the connection is closed", || proxy.connections_to(&backend) == 0);
    assert_eq!(client.get("a.test", "/").text(), "2");
}

#[test]
fn a_get_survives_a_pooled_connection_that_closes_at_that_moment() {
    // Every connection carries one request, and closes a moment after it was said to be kept.
    let backend = Backend::with("A", |head, conn| {
        conn.answer(200, "fine");
        let pause: u64 = head.path()[1..].parse().unwrap_or(0);
        std::thread::sleep(std::time::Duration::from_micros(pause * 10));
        conn.close();
    });
    let mut config = Config::of(&[&backend]);
    config.server = "threads = 1".into();
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for round in 0..300 {
        let response = client.get("a.test", &format!("/{}", round % 60));
        assert_eq!((response.status, response.text().as_str()), (200, "fine"), "round {round}");
    }
    assert_eq!(proxy.epoch(), 1, "nobody was blamed for it");
}

#[test]
fn an_answer_waits_for_nothing_that_the_client_sends_behind_its_request() {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    // The first half of the next request comes along with this one.
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTT");
    assert_eq!(client.response().text(), "A GET 0");
    until("the lease is given back", || proxy.in_flight() == 0);
    client.send("P/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().text(), "A GET 0");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::with("A", |head, conn| {
        let path = head.path().to_owned();
        conn.answer(200, &path);
    });
    let proxy = Proxy::start(&Config::of(&[&backend]));
    let mut client = proxy.client();
    let requests: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..20 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
}
