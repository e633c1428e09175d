//! The door is shut, and the last ones are answered.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::dashboard::Watcher;
use super::*;

/// Longer than a test.
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn what_was_asked_is_answered_before_the_end() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let lease = edge.gate().enter().unwrap();
        let (client, to_b) = (edge.client.clone(), serde_json::from_str(&edge.to(1)).unwrap());
        let wished =
            tokio::task::spawn_local(async move { client.post("/v1/sites/blog/handoff", Some(to_b)).await });
        edge.until("drains", |site| site["phase"] == "draining").await;
        let ended = tokio::task::spawn_local(edge.serving.end(Duration::ZERO));
        drop(lease);
        let stands: Value = serde_json::from_slice(&wished.await.unwrap().expect("an answer")).unwrap();
        assert_eq!(stands["epoch"], 2);
        ended.await.unwrap();
    });
}

#[test]
fn who_has_connected_before_has_a_last_question() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let mut connection = TcpStream::connect(edge.client.place.to_string()).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut ask = move || {
            connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"ok\n") {
                let mut some = [0; 1024];
                let size = connection.read(&mut some).unwrap();
                assert_ne!(size, 0, "{}", String::from_utf8_lossy(&answer));
                answer.extend(&some[..size]);
            }
            String::from_utf8(answer).unwrap()
        };
        assert!(!ask().contains("connection: close"));
        let ended = tokio::task::spawn_local(edge.serving.end(LONG));
        tokio::task::yield_now().await;
        assert!(ask().contains("connection: close"), "the next one goes to whoever comes next");
        assert!(!ended.is_finished());
    });
}

#[test]
fn who_watches_is_sent_to_whoever_comes_next() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let mut watcher = Watcher::open(&edge, "?seconds=3600").await.unwrap();
        watcher.next().await.expect("how it is now");
        edge.serving.end(Duration::ZERO).await;
        while watcher.next().await.is_some() {}
    });
}
