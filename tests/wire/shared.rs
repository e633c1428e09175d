//! Held requests for the same page, and one answer for all of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::harness::{Backend, Client, Config, PATIENCE, Proxy, until};

pub(crate) const PUBLIC: &str = "cache-control: public, max-age=0\r\nvary: accept-encoding\r\n";

/// Answers with a number of its own each time, after telling and being told so.
struct Stepped {
    asked: mpsc::Receiver<usize>,
    go_on: mpsc::Sender<()>,
}

fn stepped(backend: &Backend, fields: &'static str) -> Stepped {
    let ((tell, asked), (go_on, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let (count, tell, wait) = (AtomicUsize::new(0), Mutex::new(tell), Mutex::new(wait));
    backend.does(move |_, conn| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = tell.lock().unwrap().send(number);
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        conn.answer_with(200, fields, &format!("answer {number}"));
    });
    Stepped { asked, go_on }
}

impl Stepped {
    #[track_caller]
    fn is_asked(&self) -> usize {
        self.asked.recv_timeout(PATIENCE).expect("the backend is asked")
    }

    fn goes_on(&self) {
        self.go_on.send(()).unwrap();
    }
}

/// A site on hold.
fn on_hold() -> (Backend, Proxy) {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]));
    proxy.hold();
    (backend, proxy)
}

/// A reader who is held.
fn reader(proxy: &Proxy, fields: &str) -> Client {
    let before = proxy.held();
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
    until("it is held", || proxy.held() == before + 1);
    client
}

#[test]
fn readers_who_wait_for_one_page_cost_the_backend_one_request() {
    let (a, proxy) = on_hold();
    a.does(|_, conn| conn.answer_with(200, PUBLIC, "the page"));
    let mut readers: Vec<Client> =
        (0..40).map(|number| reader(&proxy, &format!("user-agent: reader {number}\r\n"))).collect();
    proxy.release();
    for (number, reader) in readers.iter_mut().enumerate() {
        let answer = reader.response();
        assert_eq!((answer.status, answer.text()), (200, "the page".to_owned()));
        assert_eq!(answer.field("age"), (number > 0).then_some("0"), "{number}");
        // The connection is as good as any.
        assert_eq!(reader.get("a.test", "/again").status, 200);
    }
    assert_eq!(a.requests().iter().filter(|head| head.path() == "/").count(), 1);
    assert_eq!(proxy.metric("ghostpin_answers_shared_total"), 39);
    until("no lease is left", || (proxy.in_flight(), proxy.held()) == (0, 0));
}

#[test]
fn what_is_not_for_all_is_asked_for_by_each_in_the_order_of_arrival() {
    for fields in ["", "cache-control: private\r\n", "cache-control: public\r\nset-cookie: a=b\r\n"] {
        let (a, proxy) = on_hold();
        a.does(move |head, conn| conn.answer_with(200, fields, head.field("user-agent").unwrap()));
        let mut readers: Vec<Client> =
            (0..20).map(|number| reader(&proxy, &format!("user-agent: {number}\r\n"))).collect();
        proxy.release();
        for (number, reader) in readers.iter_mut().enumerate() {
            assert_eq!(reader.response().text(), number.to_string(), "{fields}");
        }
        assert_eq!(a.count(), 20);
        assert_eq!(a.requests()[0].field("user-agent"), Some("0"));
    }
}

#[test]
fn a_member_and_who_wants_another_form_have_answers_of_their_own() {
    let (a, proxy) = on_hold();
    a.does(|head, conn| {
        let whose = head.field("cookie").or(head.field("accept-encoding")).unwrap_or("anybody's");
        conn.answer_with(200, PUBLIC, whose);
    });
    let fields =
        ["", "cookie: ghost-members-ssr=1\r\n", "accept-encoding: br\r\n", "", "accept-encoding: br\r\n"];
    let mut readers: Vec<Client> = fields.iter().map(|fields| reader(&proxy, fields)).collect();
    proxy.release();
    let answers: Vec<String> = readers.iter_mut().map(|reader| reader.response().text()).collect();
    assert_eq!(answers, ["anybody's", "ghost-members-ssr=1", "br", "anybody's", "br"]);
    assert_eq!(a.count(), 3);
}

#[test]
fn nobody_is_given_an_answer_that_was_asked_for_before_it_came() {
    let (a, proxy) = on_hold();
    let backend = stepped(&a, PUBLIC);
    let mut early = [reader(&proxy, ""), reader(&proxy, "")];
    // Keeps the queue from being empty, so that whoever comes has to wait.
    let mut other: Vec<Client> = (0..20).map(|_| reader(&proxy, "authorization: x\r\n")).collect();
    proxy.release();
    assert_eq!(backend.is_asked(), 1);
    let mut late = reader(&proxy, "");
    let mut latest = reader(&proxy, "");
    (0..22).for_each(|_| backend.goes_on());
    let first = early.each_mut().map(|reader| reader.response().text());
    assert_eq!(first[0], first[1]);
    let second = [late.response().text(), latest.response().text()];
    assert_eq!(second[0], second[1]);
    assert_ne!(first, second);
    other.iter_mut().for_each(|reader| assert_eq!(reader.response().status, 200));
    assert_eq!(a.count(), 22);
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again_and_nobody_gets_half_of_it() {
    let (a, proxy) = on_hold();
    a.does(|_, conn| {
        if conn.number == 1 {
            conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n{PUBLIC}\r\nthe "));
            return conn.close();
        }
        conn.answer_with(200, PUBLIC, "the page");
    });
    let mut readers: Vec<Client> = (0..5).map(|_| reader(&proxy, "")).collect();
    proxy.release();
    readers.iter_mut().for_each(|reader| assert_eq!(reader.response().text(), "the page"));
    assert!(a.count() <= 3, "{}", a.count());
}

#[test]
fn a_reader_who_leaves_before_the_answer_takes_nobody_along() {
    let (a, proxy) = on_hold();
    let backend = stepped(&a, PUBLIC);
    let first = reader(&proxy, "");
    let mut others = [reader(&proxy, ""), reader(&proxy, "")];
    proxy.release();
    assert_eq!(backend.is_asked(), 1);
    first.leave();
    assert_eq!(backend.is_asked(), 2);
    backend.goes_on();
    backend.goes_on();
    others.iter_mut().for_each(|reader| assert_eq!(reader.response().status, 200));
    assert_eq!(a.count(), 2);
    until("no lease is left", || proxy.in_flight() == 0);
}

#[test]
fn a_request_that_the_backend_has_lost_keeps_nobody_waiting_for_long() {
    let (a, proxy) = on_hold();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let is_first = AtomicBool::new(true);
    a.does(move |_, conn| {
        if is_first.swap(false, Ordering::SeqCst) {
            let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        }
        conn.answer_with(200, PUBLIC, "the page");
    });
    let mut lost = reader(&proxy, "");
    let mut others: Vec<Client> = (0..5).map(|_| reader(&proxy, "")).collect();
    proxy.release();
    others.iter_mut().for_each(|reader| assert_eq!(reader.response().text(), "the page"));
    assert_eq!(a.count(), 2);
    go_on.send(()).unwrap();
    assert_eq!(lost.response().text(), "the page");
}

#[test]
fn an_answer_that_stands_still_in_the_middle_keeps_nobody_waiting_for_long() {
    let (a, proxy) = on_hold();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    a.does(move |_, conn| {
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n{PUBLIC}\r\nthe "));
        if conn.number == 1 {
            let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        }
        conn.send("page");
    });
    let mut stuck = reader(&proxy, "");
    let mut others: Vec<Client> = (0..5).map(|_| reader(&proxy, "")).collect();
    proxy.release();
    others.iter_mut().for_each(|reader| assert_eq!(reader.response().text(), "the page"));
    go_on.send(()).unwrap();
    assert_eq!(stuck.response().text(), "the page");
}

#[test]
fn a_reader_who_takes_nothing_keeps_nobody_waiting() {
    let (a, proxy) = on_hold();
    // Less than is kept, and more than sockets take.
    let page = "x".repeat(ghostpin::alike::BODY_BYTES_MAX);
    a.does(move |_, conn| conn.answer_with(200, PUBLIC, &page));
    let idle = reader(&proxy, "");
    let mut others: Vec<Client> = (0..5).map(|_| reader(&proxy, "")).collect();
    proxy.release();
    for reader in &mut others {
        assert_eq!(reader.response().body.len(), ghostpin::alike::BODY_BYTES_MAX);
    }
    assert_eq!(a.count(), 1);
    drop(idle);
    until("no lease is left", || proxy.in_flight() == 0);
}

#[test]
fn a_handoff_cuts_who_is_slowly_given_the_answer_of_another() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let page = "x".repeat(ghostpin::alike::BODY_BYTES_MAX);
    a.does(move |_, conn| conn.answer_with(200, PUBLIC, &page));
    let proxy = Proxy::start(&Config::of(&[&a, &b]).handoff("drain_timeout = '300ms'"));
    proxy.until_well(&b);
    proxy.hold();
    let mut leads = reader(&proxy, "");
    crate::http2::run(async {
        // It takes so much and no more.
        let mut sleeper = crate::http2::connect_with_window(proxy.address, 1000).await;
        let asking = tokio::spawn(sleeper.send_request(crate::http2::get("/")));
        let is_so = async |what: &dyn Fn() -> bool| {
            while !what() {
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
        };
        is_so(&|| proxy.held() == 2).await;
        proxy.release();
        let answer = asking.await.unwrap().unwrap();
        assert_eq!(leads.response().body.len(), ghostpin::alike::BODY_BYTES_MAX);
        is_so(&|| proxy.in_flight() == 1).await;
        assert_eq!((a.count(), proxy.metric("ghostpin_answers_shared_total")), (1, 1));
        let (status, _) = proxy.handoff(&b);
        assert_eq!((status, proxy.in_flight()), (200, 0));
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.is_err(), "it is whole");
    });
    assert_eq!(proxy.get("/").text(), "B GET 0");
}

#[test]
fn an_answer_that_is_too_long_to_be_kept_is_whole_for_each() {
    const LENGTH: usize = 3 * ghostpin::alike::BODY_BYTES_MAX;
    for is_chunked in [false, true] {
        let (a, proxy) = on_hold();
        a.does(move |_, conn| {
            if !is_chunked {
                return conn.answer_with(200, PUBLIC, &"x".repeat(LENGTH));
            }
            conn.send(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{PUBLIC}\r\n"));
            (0..LENGTH / 4096).for_each(|_| conn.send(format!("1000\r\n{}\r\n", "x".repeat(4096))));
            conn.send("0\r\n\r\n");
        });
        let mut readers: Vec<Client> = (0..3).map(|_| reader(&proxy, "")).collect();
        proxy.release();
        for reader in &mut readers {
            let body = reader.response().body;
            assert!(body.len() == LENGTH && body.iter().all(|&byte| byte == b'x'));
        }
        assert_eq!(a.count(), 3);
    }
}

#[test]
fn a_shared_answer_in_chunks_is_whole_for_each_in_the_form_that_it_can_read() {
    let (a, proxy) = on_hold();
    a.does(|_, conn| {
        conn.send(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{PUBLIC}\r\n"));
        conn.send("4\r\nthe \r\n4\r\npage\r\n0\r\n\r\n");
    });
    let mut readers = [reader(&proxy, ""), reader(&proxy, "")];
    let mut old = proxy.client();
    old.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    until("it is held", || proxy.held() == 3);
    proxy.release();
    readers.iter_mut().for_each(|reader| assert_eq!(reader.response().text(), "the page"));
    let answer = old.response();
    assert_eq!((answer.text().as_str(), answer.field("transfer-encoding")), ("the page", None));
    assert_eq!(a.count(), 1);
}

#[test]
fn streams_of_http_2_and_connections_of_http_1_share_what_is_unchanged() {
    let (a, proxy) = on_hold();
    a.does(|_, conn| conn.send(format!("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n{PUBLIC}\r\n")));
    let mut first = reader(&proxy, "if-none-match: \"1\"\r\n");
    crate::http2::run(async {
        let (sender, _) = crate::http2::connect_at(proxy.address).await;
        let streams: Vec<_> = (0..9)
            .map(|_| {
                let mut request = crate::http2::get("/");
                request.headers_mut().insert("if-none-match", "\"1\"".parse().unwrap());
                tokio::spawn(sender.clone().send_request(request))
            })
            .collect();
        while proxy.held() < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        proxy.release();
        for stream in streams {
            let response = stream.await.unwrap().unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["etag"]),
                (304, &"\"1\"".parse().unwrap())
            );
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), Bytes::new());
        }
    });
    assert_eq!(first.response().status, 304);
    assert_eq!(a.count(), 1);
}

#[test]
fn a_site_that_shares_nothing_shares_nothing() {
    let a = Backend::named("A");
    a.does(|_, conn| conn.answer_with(200, PUBLIC, "the page"));
    let proxy = Proxy::start(&Config::of(&[&a]).hold("share_answers = false"));
    proxy.hold();
    let mut readers: Vec<Client> = (0..5).map(|_| reader(&proxy, "")).collect();
    proxy.release();
    readers.iter_mut().for_each(|reader| assert_eq!(reader.response().text(), "the page"));
    assert_eq!(a.count(), 5);
}
