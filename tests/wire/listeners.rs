//! Where readers come in.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use crate::harness::{Backend, Client, Config, Proxy};

/// The whole answer to a GET over a connection that is closed behind it.
fn get_at(path: &std::path::Path, before: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("it listens");
    let request = format!("{before}GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

#[test]
fn a_unix_socket_is_a_way_in_and_a_balancer_there_says_whose_connections_it_brings() {
    let a = Backend::named("A");
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("front");
    let listen = |more: &str| Config {
        listen: more.to_owned(),
        http: format!("'127.0.0.1:0', '{}'", path.display()),
        ..Config::of(&[&a])
    };
    {
        let proxy = Proxy::start(&listen(""));
        assert!(get_at(&path, "").starts_with("HTTP/1.1 200"));
        assert_eq!(a.only_request().field("x-forwarded-for"), Some("127.0.0.1"));
        drop(proxy);
    }
    // What a killed one has left behind is in nobody's way.
    assert!(path.exists());
    let _proxy = Proxy::start(&listen("proxy_protocol = { from = ['127.0.0.1'] }"));
    assert!(get_at(&path, "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n").starts_with("HTTP/1.1 200"));
    assert_eq!(a.requests()[1].field("x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn ipv6_is_a_way_in_and_its_unspecified_address_is_both() {
    let a = Backend::named("A");
    let config = Config { http: "'[::]:0'".to_owned(), ..Config::of(&[&a]) };
    let proxy = Proxy::start(&config);
    let port = proxy.address.port();
    for address in [format!("[::1]:{port}"), format!("127.0.0.1:{port}")] {
        let address = address.parse().expect("an address");
        assert_eq!(Client::to(address).get("a.test", "/").status, 200);
    }
    let seen: Vec<_> =
        a.requests().iter().map(|head| head.field("x-forwarded-for").map(str::to_owned)).collect();
    assert_eq!(seen, [Some("::1".to_owned()), Some("127.0.0.1".to_owned())]);
}

#[test]
fn each_listener_has_limits_of_its_own_and_they_follow_a_reload() {
    let a = Backend::named("A");
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("front");
    let config = |limits: &str| Config {
        http: format!("'127.0.0.1:0', {{ address = '{}', limits = {{ {limits} }} }}", path.display()),
        ..Config::of(&[&a])
    };
    let proxy = Proxy::start(&config("max_headers = 16"));
    let many = "X-A: 1\r\n".repeat(20);
    let ask = || {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{many}\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer.split(' ').nth(1).map(str::to_owned)
    };
    assert_eq!(ask().as_deref(), Some("431"));
    let mut other = proxy.client();
    other.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{many}\r\n"));
    assert_eq!(other.response().status, 200);
    proxy.reload(&config("max_headers = 30"));
    assert_eq!(ask().as_deref(), Some("200"));
}

#[test]
fn a_socket_that_systemd_has_bound_is_taken_and_not_bound_again() {
    let a = Backend::named("A");
    // Nobody else can listen there as long as it is open.
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let config = Config { http: format!("'{address}'"), ..Config::of(&[&a]) };
    let proxy = Proxy::start_with_socket(&config, socket);
    assert_eq!(proxy.address, address);
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "A GET 0", "by whichever of the workers");
    }
}
