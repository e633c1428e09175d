//! What is kept of answers that do for many, in all: readers who take nothing can't have ghostpin keep more and more of them.

use std::time::Duration;

use bytes::Bytes;
use ghostpin::alike::BODY_BYTES_MAX;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::task::JoinHandle;

use crate::harness::{Backend, Config, Proxy};
use crate::http2::{self, Body};
use crate::shared::PUBLIC;

/// Answers that there is room for, if they are as long as may be.
const ROOM: u64 = 64;
/// Half as many again: different ones, each asked for by two.
const PAGES: u64 = 96;
/// Memory beside what is kept of them, in KiB, for the buffers of all their streams.
const OTHER_KIB_MAX: u64 = 40 * 1024;

/// One who has asked: the answer is kept open, and its body is there if it was taken.
type Asked = Vec<JoinHandle<(Option<Response<Incoming>>, Bytes)>>;

/// Has one reader ask for each page, and returns when all are held. Who does not take the body gets the head, and no more.
async fn ask(proxy: &Proxy, sender: &SendRequest<Body>, takes_body: bool) -> Asked {
    let before = proxy.held();
    let asked = (0..PAGES).map(|page| {
        let answer = sender.clone().send_request(http2::get(&format!("/{page}")));
        tokio::spawn(async move {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            match takes_body {
                true => (None, answer.into_body().collect().await.unwrap().to_bytes()),
                false => (Some(answer), Bytes::new()),
            }
        })
    });
    let asked = asked.collect();
    while proxy.held() < before + PAGES {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    asked
}

/// Waits until all of them have what they want.
async fn all(asked: Asked) -> (Vec<Option<Response<Incoming>>>, Vec<Bytes>) {
    let mut all = (Vec::new(), Vec::new());
    for one in asked {
        let (open, body) = one.await.unwrap();
        all.0.push(open);
        all.1.push(body);
    }
    all
}

fn on_hold(backend: &Backend) -> Proxy {
    let proxy = Proxy::start(&Config::of(&[backend]));
    proxy.hold();
    proxy
}

#[test]
fn no_more_than_64_mib_of_answers_for_many_are_kept_whoever_takes_nothing() {
    for first_takes_it in [false, true] {
        let a = Backend::named("A");
        let page = "x".repeat(BODY_BYTES_MAX);
        a.does(move |_, conn| conn.answer_with(200, PUBLIC, &page));
        let proxy = on_hold(&a);
        http2::run(async {
            let sleeper = http2::connect_with_window(proxy.address, 1000).await;
            let (quick, _) = http2::connect_at(proxy.address).await;
            let (first, second) = if first_takes_it { (&quick, &sleeper) } else { (&sleeper, &quick) };
            let first = ask(&proxy, first, first_takes_it).await;
            let second = ask(&proxy, second, !first_takes_it).await;
            let memory = proxy.resident_kib();
            proxy.release();
            let (first, second) = (all(first).await, all(second).await);
            let taken = if first_takes_it { &first.1 } else { &second.1 };
            assert!(taken.iter().all(|body| body.len() == BODY_BYTES_MAX));
            let shared = proxy.metric("ghostpin_answers_shared_total");
            let more = proxy.resident_kib() - memory;
            assert!(
                (1..=ROOM).contains(&shared),
                "{shared} are shared; the first one takes it: {first_takes_it}"
            );
            assert!(
                more < ROOM * 1024 + OTHER_KIB_MAX,
                "{more} KiB; the first one takes it: {first_takes_it}"
            );
        });
    }
}

#[test]
fn what_was_read_of_an_answer_that_is_too_long_for_many_counts_as_kept() {
    let a = Backend::named("A");
    a.does(move |_, conn| {
        conn.send(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{PUBLIC}\r\n"));
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        (0..2 * BODY_BYTES_MAX / 0x10000).for_each(|_| conn.send(&chunk));
        conn.send("0\r\n\r\n");
    });
    let proxy = on_hold(&a);
    http2::run(async {
        let first = http2::connect_with_window(proxy.address, 1000).await;
        let second = http2::connect_with_window(proxy.address, 1000).await;
        let (first, second) = (ask(&proxy, &first, false).await, ask(&proxy, &second, false).await);
        let memory = proxy.resident_kib();
        proxy.release();
        let _open = (all(first).await, all(second).await);
        let more = proxy.resident_kib() - memory;
        assert!(more < ROOM * 1024 + OTHER_KIB_MAX, "{more} KiB");
    });
}
