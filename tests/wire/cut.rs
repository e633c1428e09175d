//! What a handoff does to requests under way.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

#[test]
fn a_planned_handoff_lets_answers_end_and_gives_the_new_backend_nothing_before() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    a.does(move |_, conn| {
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nslo");
        wait.lock().unwrap().recv().unwrap();
        conn.send("wly");
    });
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    proxy.until_well(&b);
    let slow = proxy.get_meanwhile("/");
    until("it is under way", || proxy.in_flight() == 1);
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| proxy.handoff(&b));
        until("the gate is shut", || proxy.site("a")["phase"] == "draining");
        let held = proxy.get_meanwhile("/");
        until("it is held", || proxy.held() == 1);
        assert_eq!(b.count(), 0);
        go_on.send(()).unwrap();
        assert_eq!(slow.join().unwrap().text(), "slowly");
        assert_eq!(held.join().unwrap().text(), "B GET 0");
        assert_eq!(moving.join().unwrap().0, 200);
    });
}

#[test]
fn a_reader_that_takes_nothing_cannot_hold_up_a_handoff() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    a.does(|_, conn| {
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n");
        for _ in 0..200 {
            conn.send(vec![b'x'; 1_000_000]);
        }
    });
    let proxy = Proxy::start(&Config::of(&[&a, &b]).handoff("drain_timeout = '300ms'"));
    proxy.until_well(&b);
    let mut sleeper = proxy.client();
    sleeper.ask("GET", "a.test", "/");
    until("it is under way", || proxy.in_flight() == 1);
    let began = Instant::now();
    assert_eq!(proxy.handoff(&b).0, 200);
    println!("the handoff took {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_millis(300) + Duration::from_secs(3));
    assert_eq!(proxy.get("/").text(), "B GET 0");
    // What it finds when it wakes up is a broken answer of A, and nothing of B.
    let rest = sleeper.reader.rest();
    assert!(rest.len() < 200_000_000 && rest.starts_with(b"HTTP/1.1 200"));
    assert_eq!(rest.windows(5).filter(|window| window == b"HTTP/").count(), 1);
}

#[test]
fn a_whole_answer_that_its_reader_does_not_take_cannot_hold_up_a_handoff() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    // More than socket buffers take, and less than what is buffered on the way beside them: the backend is done.
    let page = "x".repeat(300_000);
    a.does(move |_, conn| conn.answer(200, &page));
    let proxy = Proxy::start(&Config::of(&[&a, &b]).handoff("drain_timeout = '300ms'"));
    proxy.until_well(&b);
    let mut sleeper = proxy.client();
    socket2::SockRef::from(&sleeper.stream).set_recv_buffer_size(4096).unwrap();
    let many = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(40);
    sleeper.send(many);
    until("answers have piled up", || a.count() > 3 && proxy.in_flight() > 0);
    assert_eq!(proxy.handoff(&b).0, 200);
    assert_eq!(proxy.get("/").text(), "B GET 0");
}

#[test]
fn gets_in_a_frozen_backend_are_answered_by_the_next_and_nothing_of_the_old_one_comes_after() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    proxy.until_well(&b);
    assert_eq!(proxy.get("/").text(), "A GET 0");
    a.freeze();
    let mut clients: Vec<_> = (0..10).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.ask("GET", "a.test", "/");
    }
    let mut upload = proxy.client();
    upload.post("a.test", "/", "frozen in");
    for client in &mut clients {
        assert_eq!(client.response().text(), "B GET 0");
    }
    assert_eq!(upload.response().status, 502, "nobody knows what became of it");
    until("its connections are closed while it is still frozen", || proxy.connections_to(&a) == 0);
    a.thaw();
    for client in &mut clients {
        assert_eq!(client.get("a.test", "/").text(), "B GET 0");
    }
    let status = proxy.admin("GET", "/v1/status", "").1;
    assert_eq!(status["late_answers"], 0);
    assert_eq!(proxy.epoch(), 2);
}

#[test]
fn a_backend_that_falls_ill_is_left_and_not_gone_back_to_when_it_is_well_again() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    proxy.until_well(&b);
    a.be_unwell(true);
    until("the pin has moved", || proxy.pinned() == b.address && proxy.site("a")["phase"] == "serving");
    a.be_unwell(false);
    proxy.until_well(&a);
    assert_eq!((proxy.get("/").text().as_str(), proxy.epoch()), ("B GET 0", 2));
    assert_eq!(a.count(), 0);
}

#[test]
fn an_upload_that_is_cut_sends_nothing_more_to_the_old_backend() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    // It takes the head and no more.
    a.does(move |_, conn| {
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        conn.close();
    });
    let proxy = Proxy::start(&Config::of(&[&a, &b]).handoff("drain_timeout = '200ms'"));
    proxy.until_well(&b);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n");
    let mut writer = client.stream.try_clone().unwrap();
    let uploading =
        std::thread::spawn(move || std::io::Write::write_all(&mut writer, &vec![b'x'; 50_000_000]));
    until("it is under way", || proxy.in_flight() == 1 && a.count() == 1);
    assert_eq!(proxy.handoff(&b).0, 200);
    until("the connection to the old backend is closed", || proxy.connections_to(&a) == 0);
    assert_eq!(client.response().status, 502);
    drop(client);
    let _ = uploading.join().unwrap();
    assert_eq!(b.count(), 0);
    go_on.send(()).unwrap();
}

#[test]
fn a_request_that_is_let_go_just_before_a_cut_is_cut_as_well() {
    // A has a page for probes and answers nobody else, so that whoever gets in there has to be cut.
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    a.does(|_, conn| drop(conn.reader.rest()));
    b.does(|head, conn| conn.answer(200, &format!("B {}", head.path())));
    let proxy = Proxy::start(&Config::of(&[&b, &a]).handoff("drain_timeout = '0s'"));
    proxy.until_well(&a);
    for round in 0..12 {
        proxy.hold();
        let answers: Vec<_> = (0..20).map(|n| proxy.get_meanwhile(&format!("/{n}"))).collect();
        until("they are held", || proxy.held() == 20);
        // Opens at A, which lets the first ones go, and is cut at once.
        assert_eq!(proxy.handoff(&a).0, 200, "round {round}");
        assert_eq!(proxy.handoff(&b).0, 200, "round {round}");
        for answer in answers {
            let response = answer.join().unwrap();
            assert!(response.status == 200 && response.text().starts_with("B "), "{response:?}");
        }
        until("no lease is left", || proxy.in_flight() == 0);
        until("it is well", || {
            proxy.until_well(&a);
            true
        });
    }
}
