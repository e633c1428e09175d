//! The dashboard's page, its windows and its stream.

use std::io::{Read, Write};

use axum::http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::*;
use crate::admin::dashboard::WATCHERS_MAX;

/// One who watches.
pub(super) struct Watcher {
    body: Incoming,
    said: String,
}

impl Watcher {
    pub(super) async fn open(edge: &Edge, query: &str) -> Result<Self, StatusCode> {
        let stream = tokio::net::TcpStream::connect(edge.client.place.to_string()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<bytes::Bytes>>(TokioIo::new(stream))
                .await
                .unwrap();
        tokio::task::spawn_local(connection);
        let request = edge.client.request("GET".parse().unwrap(), &format!("/v1/live{query}"), "".into());
        let response = sender.send_request(request).await.unwrap();
        match response.status() {
            StatusCode::OK => Ok(Self { body: response.into_body(), said: String::new() }),
            refused => Err(refused),
        }
    }

    /// The next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.said.split_once("\n\n") {
                let data = event.strip_prefix("data: ").map(|data| serde_json::from_str(data).unwrap());
                self.said = rest.to_owned();
                match data {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame =
                tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("something is said")?;
            self.said += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
    }

    /// The next one with this in it.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream has ended before {what}"));
            if is_so(&event) {
                return event;
            }
        }
    }
}

#[test]
fn the_page_comes_without_the_token_and_tells_nothing() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"\ntoken = \"s3cret\"").await;
        let without = Client { token: None, ..edge.client.clone() };
        let get = |path: String| {
            let request = without.request("GET".parse().unwrap(), &path, "".into());
            let without = without.clone();
            async move { without.send(request).await.unwrap() }
        };
        let page = get("/".to_owned()).await;
        assert_eq!(page.status, 200);
        let html = String::from_utf8(page.body.to_vec()).unwrap();
        let named: Vec<_> = html.split('"').filter(|text| text.starts_with("/dashboard/")).collect();
        assert!(named.len() >= 3, "a style, a script and an icon: {named:?}");
        for path in named {
            assert_eq!(get(path.to_owned()).await.status, 200, "{path}");
        }
        assert!(!html.contains("blog"), "{html}");
        for path in ["/v1/search", "/v1/live?seconds=0", "/v1/sites/blog"] {
            assert_eq!(get(path.to_owned()).await.status, 401, "{path}");
        }
    });
}

#[test]
fn the_page_runs_nothing_but_its_own_files() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        for path in ["/", "/dashboard/main.js", "/dashboard/style.css"] {
            let reply = edge.send("GET", path, "").await;
            let policy = reply.headers["content-security-policy"].to_str().unwrap();
            let parts: Vec<_> = policy.split("; ").collect();
            for part in
                ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
            {
                assert!(parts.contains(&part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(reply.headers["x-content-type-options"], "nosniff");
            let text = String::from_utf8(reply.body.to_vec()).unwrap();
            for inline in ["<script>", "style=\"", "onclick=", "http://", "https://", "innerHTML"] {
                assert!(!text.contains(inline), "{path} has {inline}");
            }
        }
    });
}

#[test]
fn a_watcher_is_told_all_of_it_first_and_then_what_has_changed() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let mut watcher = Watcher::open(&edge, "?text=BLOG&site=blog").await.unwrap();
        let first = watcher.next().await.unwrap();
        assert_eq!(first["window"], json!({"total": 1, "from": 0, "names": ["blog"]}));
        let now = &first["now"];
        assert_eq!(now["phases"]["serving"], 1);
        for count in ["stalled_workers", "late_answers", "commits_failed"] {
            assert_eq!(now[count], 0, "{count}");
        }
        assert_eq!(now["waiting_updates"], json!([]));
        assert_eq!(first["lines"][0]["host"], "blog.example");
        assert_eq!(first["lines"][0]["health"], json!(["well", "well", "well"]));
        assert_eq!(first["site"]["candidates"].as_array().unwrap().len(), 3);
        assert_eq!(first["entries"][0]["site"], "blog");
        let troubles = &first["troubles"];
        assert_eq!((&troubles["in_conflict"], &troubles["shut"]), (&json!(1), &json!(0)), "B and C answer");
        assert_eq!(troubles["conflicts"][0]["name"], "blog");

        edge.client.post("/v1/sites/blog/hold", None).await.unwrap();
        let held = watcher.until("the hold", |event| event["lines"][0]["on_hold"] == true).await;
        assert_eq!(held["window"], Value::Null, "the sites of the window are the same");
        assert_eq!(held["lines"].as_array().unwrap().len(), 1);
        assert_eq!((&held["now"]["phases"]["draining"], &held["troubles"]["shut"]), (&json!(1), &json!(1)));
        assert_eq!(held["site"]["under_way"]["cause"], "hold");

        edge.client.post("/v1/sites/blog/release", None).await.unwrap();
        let ended = watcher.until("the end", |event| event["entries"][0]["cause"] == "hold").await;
        assert_eq!(ended["entries"][0]["outcome"], "reopened");
        assert_eq!(ended["entries"].as_array().unwrap().len(), 1, "the others are known");
    });
}

#[test]
fn a_watcher_is_told_of_sites_that_a_reload_adds() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let mut watcher = Watcher::open(&edge, "").await.unwrap();
        assert_eq!(watcher.next().await.unwrap()["window"]["total"], 1);
        let shop = "[[site]]\nname = \"a-shop\"\nhosts = [\"shop.example\"]\nbackends = [\"127.0.0.1:1\"]\n";
        fs::write(&edge.config, fs::read_to_string(&edge.config).unwrap() + shop).unwrap();
        edge.client.post("/v1/reload", None).await.unwrap();
        let event = watcher.until("the shop", |event| event["window"]["total"] == 2).await;
        assert_eq!(event["window"]["names"], json!(["a-shop", "blog"]));
    });
}

#[test]
fn who_leaves_gives_back_the_place_of_a_watcher() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let mut watchers = Vec::new();
        for _ in 0..WATCHERS_MAX {
            watchers.push(Watcher::open(&edge, "").await.unwrap_or_else(|status| panic!("{status}")));
        }
        assert_eq!(Watcher::open(&edge, "").await.err(), Some(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(edge.send("GET", "/v1/search", "").await.status, 200, "looking once takes no place");
        watchers.pop();
        let began = Instant::now();
        while Watcher::open(&edge, "?seconds=0").await.is_err() {
            assert!(began.elapsed() < PATIENCE, "the place is never free");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_stream_ends_when_its_time_is_over() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let mut watcher = Watcher::open(&edge, "?seconds=0&site=nobody").await.unwrap();
        let only = watcher.next().await.unwrap();
        assert_eq!(only.get("site"), Some(&Value::Null), "there is none of that name");
        assert_eq!(watcher.next().await, None);
    });
}

/// What is answered to somebody who asks from elsewhere, while this thread waits.
fn asked_meanwhile(edge: &Edge, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(edge.client.place.to_string()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let asking = std::thread::spawn(move || {
        stream.set_read_timeout(Some(PATIENCE / 3)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    asking.join().unwrap().unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn who_looks_is_told_that_the_control_plane_does_not_answer() {
    run(async {
        let edge = Edge::start("listen = \"127.0.0.1:0\"").await;
        let mut watcher = Watcher::open(&edge, "").await.unwrap();
        watcher.next().await.unwrap();
        // The reconciler is on this thread, and stands still as long as it waits.
        for path in ["/v1/search", "/v1/live"] {
            let answer = asked_meanwhile(&edge, path);
            assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
            assert!(answer.contains("the control plane has not answered"), "{path}: {answer}");
        }
        let end = tokio::time::timeout(Duration::from_secs(5), watcher.next()).await;
        assert_eq!(end, Ok(None), "who watched asks again, and is told the same");
    });
}
