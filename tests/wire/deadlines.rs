//! Nobody who is slow occupies more than his own connection, and that not for ever.

use std::time::{Duration, Instant};

use crate::harness::{Backend, Client, Config, Proxy, until};

#[test]
fn a_head_that_dribbles_in_is_given_up() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("head_timeout = '400ms'"));
    let mut client = proxy.client();
    let began = Instant::now();
    for byte in "GET / HTTP/1.1\r\nHost: a.test\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x')) {
        if client.try_send([byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < Duration::from_secs(10), "it goes on and on");
    }
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(proxy.metric("ghostpin_slow_heads_total"), 1);
    assert_eq!(a.count(), 0);
}

#[test]
fn a_connection_that_never_says_anything_is_closed() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("head_timeout = '300ms'\nkeep_alive_timeout = '1m'"));
    assert!(proxy.client().is_closed());
}

#[test]
fn the_second_head_of_a_connection_has_the_same_deadline() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("head_timeout = '300ms'\nkeep_alive_timeout = '1m'"));
    let mut client = proxy.client();
    client.get("a.test", "/");
    client.send("GET / HT");
    assert!(client.is_closed());
    assert_eq!(proxy.metric("ghostpin_slow_heads_total"), 1);
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("keep_alive_timeout = '300ms'"));
    let mut client = proxy.client();
    client.get("a.test", "/");
    let began = Instant::now();
    assert!(client.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}

#[test]
fn an_answer_may_take_longer_than_an_idle_connection() {
    let a = Backend::with("A", |_, conn| {
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n");
        for _ in 0..12 {
            std::thread::sleep(Duration::from_millis(100));
            conn.send("x");
        }
    });
    let limits = "keep_alive_timeout = '200ms'\nhead_timeout = '200ms'\nwrite_timeout = '400ms'";
    let proxy = Proxy::start(&Config::of(&[&a]).limits(limits));
    assert_eq!(proxy.get("/").text(), "xxxxxxxxxxxx");
}

#[test]
fn an_upload_that_stands_still_is_given_up_and_nobody_else_is_blamed() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("body_timeout = '300ms'"));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nbegun");
    let response = client.response();
    assert_eq!((response.status, response.field("connection")), (408, Some("close")));
    assert!(client.is_closed());
    until("the lease is given back", || proxy.in_flight() == 0);
    assert_eq!(proxy.epoch(), 1);
}

#[test]
fn an_upload_may_be_slow_as_long_as_it_goes_on() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("body_timeout = '400ms'\nhead_timeout = '200ms'"));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 12\r\n\r\n");
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(100));
        client.send("x");
    }
    assert_eq!(client.response().text(), "A POST 12");
}

#[test]
fn a_reader_that_takes_nothing_is_given_up() {
    let a = Backend::with("A", |_, conn| {
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n");
        for _ in 0..200 {
            conn.send(vec![b'x'; 1_000_000]);
        }
        conn.close();
    });
    let proxy = Proxy::start(&Config::of(&[&a]).limits("write_timeout = '300ms'"));
    let mut client = proxy.client();
    client.ask("GET", "a.test", "/");
    until("it is under way", || proxy.in_flight() == 1);
    until("the lease is given back", || proxy.in_flight() == 0);
    assert_eq!(proxy.metric("ghostpin_slow_readers_total"), 1);
    assert!(client.reader.rest().len() < 200_000_000);
    until("the backend's connection is closed", || proxy.connections_to(&a) == 0);
}

#[test]
fn a_first_byte_that_does_not_come_is_504_with_the_backend_well() {
    let a = Backend::with("A", |head, conn| match head.path() {
        "/slow" => drop(conn.reader.rest()),
        _ => conn.answer(200, "well"),
    });
    let proxy = Proxy::start(&Config::of(&[&a]).upstream("first_byte_timeout = '300ms'"));
    assert_eq!(proxy.get("/slow").status, 504);
    assert_eq!(a.count(), 1, "a slow page is not asked for again");
    assert_eq!((proxy.get("/").text().as_str(), proxy.epoch()), ("well", 1));
    let mut client = proxy.client();
    client.post("a.test", "/slow", "x");
    assert_eq!(client.response().status, 502, "the outcome of an unsafe one is unknown");
}

#[test]
fn an_answer_that_stands_still_is_cut_off() {
    let a = Backend::with("A", |_, conn| {
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf!");
        conn.reader.rest();
    });
    let proxy = Proxy::start(&Config::of(&[&a]).upstream("body_timeout = '300ms'"));
    let mut client = proxy.client();
    client.ask("GET", "a.test", "/");
    client.head();
    assert_eq!(client.reader.rest(), b"half!");
    until("the lease is given back", || proxy.in_flight() == 0);
}

#[test]
fn a_connection_that_is_not_made_in_time_sends_the_request_back_to_the_gate() {
    // A listener whose backlog is full answers no further SYN.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    loop {
        match std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => filling.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                break;
            }
        }
    }
    let mut full = Backend::absent("A");
    full.address = address.to_string();
    let b = Backend::named("B");
    let proxy = Proxy::start_unready(&Config::of(&[&full, &b]).upstream("connect_timeout = '200ms'"));
    assert_eq!(proxy.get("/").text(), "B GET 0");
    assert_eq!(proxy.epoch(), 2);
}

#[test]
fn connections_above_the_limit_are_refused_and_the_others_go_on() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("max_connections = 3"));
    let mut within: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut within {
        assert_eq!(client.get("a.test", "/").status, 200);
    }
    let mut above = proxy.client();
    let _ = above.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let said = String::from_utf8(above.reader.rest()).unwrap();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503"), "{said}");
    assert_eq!(proxy.metric("ghostpin_connections_refused_total"), 1);
    for client in &mut within {
        assert_eq!(client.get("a.test", "/").status, 200);
    }
    within.pop().unwrap().leave();
    until("there is room again", || {
        let mut client = proxy.client();
        client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").is_ok()
            && client.reader.head().is_ok_and(|head| head.is_some_and(|head| head.line.contains("200")))
    });
}

#[test]
fn there_is_room_for_all_connections_from_the_start() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).limits("max_connections = 400"));
    // It would begin with 64, and all that is served would wait each time that it is doubled.
    let size = proxy.status("FDSize");
    assert!(size.parse::<usize>().unwrap() > 2 * 400, "{size}");
}

#[test]
fn nobody_waits_for_huge_pages_to_be_cleared() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    assert_eq!(proxy.status("THP_enabled"), "0");
}

#[test]
fn an_upgraded_connection_counts_as_one() {
    let a = Backend::with("A", crate::tunnel::echo);
    let proxy = Proxy::start(&Config::of(&[&a]).limits("max_connections = 1"));
    let mut client = proxy.client();
    crate::tunnel::upgrade(&mut client);
    let mut above = proxy.client();
    let _ = above.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let said = String::from_utf8(above.reader.rest()).unwrap();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503"), "{said}");
}

#[test]
fn one_client_has_its_share_of_the_connections_and_a_trusted_proxy_more() {
    let a = Backend::named("A");
    let config = Config::of(&[&a]).limits("max_connections_per_client = 2");
    let proxy = Proxy::start(&config);
    let mut open: Vec<Client> = (0..2).map(|_| proxy.client()).collect();
    for client in &mut open {
        assert_eq!(client.get("a.test", "/").status, 200);
    }
    assert!(proxy.client().is_closed(), "its third connection is one too many");
    assert_eq!(proxy.metric("ghostpin_connections_of_one_client_refused_total"), 1);
    open.pop().unwrap().leave();
    until("it may come again", || {
        let mut client = proxy.client();
        client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").is_ok()
            && matches!(client.reader.head(), Ok(Some(head)) if head.line.contains(" 200 "))
    });
    let mut config = config;
    config.server.push_str("\ntrusted_proxies = ['127.0.0.0/8']");
    let proxy = Proxy::start(&config);
    let mut open: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    assert!(open.iter_mut().all(|client| client.get("a.test", "/").status == 200));
}
