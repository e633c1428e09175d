//! G3: a request that may change something is handed over at most once; others may be sent again until their answer
//! begins.

use std::sync::Mutex;
use std::sync::mpsc;

use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

#[test]
fn a_post_whose_backend_dies_over_it_is_handed_over_once_and_its_outcome_is_said_to_be_unknown() {
    let a = Backend::with("A", |head, conn| {
        conn.body(head);
        conn.close();
    });
    let b = Backend::named("B");
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    let mut client = proxy.client();
    client.post("a.test", "/", "money");
    let response = client.response();
    assert_eq!(response.status, 502);
    assert!(response.text().contains("may or may not have taken effect"), "{}", response.text());
    assert_eq!((a.count(), b.count()), (1, 0));
}

#[test]
fn a_post_to_a_refused_connection_waits_and_is_handed_over_whole_and_once() {
    let mut a = Backend::named("A");
    let mut b = Backend::absent("B");
    let (got, body) = mpsc::channel();
    let got = Mutex::new(got);
    b.does(move |head, conn| {
        got.lock().unwrap().send(conn.body(head)).unwrap();
        conn.answer(200, "B");
    });
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    a.stop();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", sent.len()));
    let mut writer = client.stream.try_clone().unwrap();
    let copy = sent.clone();
    let uploading = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &copy).unwrap());
    until("it is held", || proxy.held() == 1);
    b.start();
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "B"));
    uploading.join().unwrap();
    assert!(body.recv_timeout(PATIENCE).unwrap() == sent, "the body is intact");
    assert_eq!((a.count(), b.count()), (0, 1));
    assert_eq!(proxy.epoch(), 2);
}

#[test]
fn a_get_whose_backend_dies_before_the_answer_is_answered_by_the_next() {
    let mut a = Backend::named("A");
    let (arrived, wait) = mpsc::channel();
    let arrived = Mutex::new(arrived);
    a.does(move |_, conn| {
        arrived.lock().unwrap().send(()).unwrap();
        conn.reader.rest();
        conn.close();
    });
    let b = Backend::named("B");
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    proxy.until_well(&b);
    let answer = proxy.get_meanwhile("/");
    wait.recv_timeout(PATIENCE).unwrap();
    a.stop();
    let response = answer.join().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "B GET 0"));
}

#[test]
fn half_an_answer_is_cut_off_and_never_glued_to_another() {
    for kind in ["content-length: 10", "transfer-encoding: chunked"] {
        let a = Backend::with("A", move |_, conn| {
            let half = if kind.contains("chunked") { "5\r\nhalf!\r\n" } else { "half!" };
            conn.send(format!("HTTP/1.1 200 OK\r\n{kind}\r\n\r\n{half}"));
            conn.close();
        });
        let b = Backend::named("B");
        let proxy = Proxy::start(&Config::of(&[&a, &b]));
        let mut client = proxy.client();
        client.ask("GET", "a.test", "/");
        client.head();
        let rest = String::from_utf8(client.reader.rest()).unwrap();
        assert!(rest.ends_with("half!") || rest.ends_with("half!\r\n"), "{rest:?}");
        assert_eq!((a.count(), b.count()), (1, 0));
    }
}

#[test]
fn a_get_that_ends_every_backend_is_not_walked_through_all_of_them_for_ever() {
    let a = Backend::with("A", |_, conn| conn.close());
    let proxy = Proxy::start(&Config::of(&[&a]));
    let response = proxy.get("/");
    assert_eq!(response.status, 502);
    assert!(a.count() <= 4, "{}", a.count());
}

#[test]
fn a_post_that_was_not_let_in_is_safe_to_send_again() {
    let a = Backend::absent("A");
    let proxy = Proxy::start_unready(&Config::of(&[&a]).hold("timeout = '200ms'"));
    let mut client = proxy.client();
    client.post("a.test", "/", "x");
    let response = client.response();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    assert!(response.text().contains("not carried out"));
}
