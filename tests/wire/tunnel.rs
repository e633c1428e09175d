//! Upgraded connections: WebSocket and others.

use std::time::{Duration, Instant};

use crate::harness::{Backend, Client, Config, Conn, Head, Proxy, until};

/// A backend that switches protocols and says everything back, in capitals.
pub(crate) fn echo(head: &Head, conn: &mut Conn) {
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("connection"), Some("upgrade"));
    conn.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n");
    while let Ok(byte) = conn.reader.exactly(1) {
        if byte == b"!" {
            break;
        }
        conn.send(byte.to_ascii_uppercase());
    }
    conn.close();
}

/// Asks for an upgrade and gets it.
#[track_caller]
pub(crate) fn upgrade(client: &mut Client) {
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(head.line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!((head.field("upgrade"), head.field("sec-websocket-accept")), (Some("websocket"), Some("x")));
}

fn say(client: &mut Client, text: &str) -> String {
    client.send(text);
    String::from_utf8(client.reader.exactly(text.len()).unwrap()).unwrap()
}

#[test]
fn bytes_pass_both_ways_after_an_upgrade_and_it_counts_as_in_flight() {
    let a = Backend::with("A", echo);
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    upgrade(&mut client);
    assert_eq!(say(&mut client, "hello"), "HELLO");
    assert_eq!(proxy.in_flight(), 1);
    let long = "abcdefgh".repeat(10_000);
    assert_eq!(say(&mut client, &long), long.to_uppercase());
    client.send("!");
    assert!(client.is_closed());
    until("the lease is given back", || proxy.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_its_upgraded_connection_gives_the_lease_back() {
    let a = Backend::with("A", echo);
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    upgrade(&mut client);
    client.leave_abruptly();
    until("the lease is given back", || proxy.in_flight() == 0);
}

#[test]
fn a_planned_handoff_waits_for_upgraded_connections_and_then_cuts_them() {
    let (a, b) = (Backend::with("A", echo), Backend::with("B", echo));
    let proxy = Proxy::start(&Config::of(&[&a, &b]).handoff("drain_timeout = '600ms'"));
    proxy.until_well(&b);
    let mut client = proxy.client();
    upgrade(&mut client);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| proxy.handoff(&b));
        until("the gate is shut", || proxy.site("a")["phase"] == "draining");
        assert_eq!(say(&mut client, "still"), "STILL");
        assert!(client.is_closed());
        assert_eq!(moving.join().unwrap().0, 200);
    });
    assert!(began.elapsed() >= Duration::from_millis(600));
    let mut again = proxy.client();
    upgrade(&mut again);
    assert_eq!((a.count(), b.count(), proxy.in_flight()), (1, 1, 1));
}

#[test]
fn an_upgraded_connection_on_which_nothing_moves_is_closed() {
    let a = Backend::with("A", echo);
    let proxy = Proxy::start(&Config::of(&[&a]).upstream("tunnel_timeout = '1s'"));
    let mut client = proxy.client();
    upgrade(&mut client);
    assert_eq!(say(&mut client, "hello"), "HELLO");
    let began = Instant::now();
    assert!(client.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    until("the lease is given back", || proxy.in_flight() == 0);
}

#[test]
fn an_upgrade_that_the_backend_declines_is_an_ordinary_answer() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response().text(), "A GET 0");
    assert_eq!(client.get("a.test", "/").text(), "A GET 0");
}

#[test]
fn nobody_is_led_past_the_proxy_by_an_upgrade_to_http_2() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    let seen = a.only_request();
    assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None));
}
