use super::*;

fn request(fields: &str) -> RequestHead {
    request_for("GET / HTTP/1.1", fields)
}

fn request_for(line: &str, fields: &str) -> RequestHead {
    let head = format!("{line}\r\nhost: blog.example\r\n{fields}\r\n");
    RequestHead::parse(head.as_bytes(), 20).unwrap()
}

fn of(head: &RequestHead) -> Option<Likeness> {
    Likeness::of(head, true, |cookie| cookie == b"_ga")
}

fn answer(status: u16, fields: &str) -> ResponseHead {
    ResponseHead::parse(format!("HTTP/1.1 {status} X\r\n{fields}\r\n").as_bytes()).unwrap()
}

#[test]
fn who_asks_for_the_same_page_in_the_same_form_is_alike() {
    let plain = of(&request("")).unwrap();
    for fields in [
        "user-agent: one\r\n",
        "user-agent: another\r\naccept-language: de\r\n",
        "cookie: _ga=GA1.2.3; _ga=4\r\n",
        "cookie: \r\n",
        "cache-control: max-age=0\r\n",
        "x-forwarded-for: 192.0.2.7\r\n",
        "Sec-CH-UA: \"Chromium\"\r\nsec-fetch-site: none\r\nupgrade-insecure-requests: 1\r\n",
    ] {
        assert_eq!(of(&request(fields)), Some(plain.clone()), "{fields}");
    }
    assert_eq!(of(&request_for("GET http://Blog.Example/ HTTP/1.1", "")), Some(plain));
}

#[test]
fn who_wants_something_else_is_not_alike() {
    let requests = [
        request(""),
        request("accept: text/html\r\n"),
        request("accept-encoding: gzip\r\n"),
        request("accept-encoding: br\r\n"),
        request("if-none-match: W/\"1\"\r\n"),
        request("if-modified-since: Thu, 26 Nov 2026 00:00:00 GMT\r\n"),
        request("origin: https://other.example\r\n"),
        request("x-forwarded-host: other.example\r\n"),
        request("x-forwarded-proto: http\r\n"),
        request_for("GET /about HTTP/1.1", ""),
        request_for("GET /?page=2 HTTP/1.1", ""),
        RequestHead::parse(b"GET / HTTP/1.1\r\nhost: other.example\r\n\r\n", 1).unwrap(),
    ];
    let mut all: Vec<_> = requests.iter().map(of).collect();
    all.push(Likeness::of(&requests[0], false, |_| false));
    for (at, one) in all.iter().enumerate() {
        assert!(one.is_some(), "{at}");
        assert!(!all[..at].contains(one), "{at}");
    }
}

#[test]
fn who_may_have_an_answer_of_its_own_is_like_nobody() {
    for fields in [
        "authorization: Basic eA==\r\n",
        "Range: bytes=0-\r\n",
        "if-range: \"1\"\r\n",
        "if-match: \"1\"\r\n",
        "pragma: no-cache\r\n",
        "cache-control: no-cache\r\n",
        "cache-control: max-age=0, no-store\r\n",
        "cookie: ghost-members-ssr=reader@mail.example\r\n",
        "cookie: _ga=1; connect.sid=2\r\n",
        "cookie: _ga=1\r\ncookie: ghost-private=2\r\n",
        "cookie: nameless\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\n",
        "content-length: 1\r\n",
        "x-original-url: /admin\r\n",
        "x-http-method-override: POST\r\n",
        "sec-websocket-key: x\r\n",
        "expect: 100-continue\r\n",
    ] {
        assert_eq!(of(&request(fields)), None, "{fields}");
    }
    for line in ["HEAD / HTTP/1.1", "POST / HTTP/1.1", "OPTIONS * HTTP/1.1"] {
        assert_eq!(of(&request_for(line, "")), None, "{line}");
    }
}

#[test]
fn what_ghost_says_of_a_public_page_is_for_all() {
    for (status, fields) in [
        (200, "cache-control: public, max-age=0\r\nvary: Accept-Encoding\r\netag: W/\"1\"\r\n"),
        (304, "cache-control: public, max-age=0\r\n"),
        (301, "cache-control: public, max-age=31536000\r\n"),
        (404, "Cache-Control: PUBLIC\r\nVary: accept, Origin\r\n"),
    ] {
        assert!(is_for_all(&answer(status, fields)), "{status} {fields}");
    }
}

#[test]
fn what_is_not_said_to_be_for_all_is_for_one() {
    for (status, fields) in [
        (200, ""),
        (200, "cache-control: max-age=60\r\n"),
        (200, "cache-control: private, no-store\r\n"),
        (200, "cache-control: public, private=\"x\"\r\n"),
        (200, "cache-control: public\r\ncache-control: no-cache\r\n"),
        (200, "cache-control: public, max-age=0, must-revalidate\r\n"),
        (200, "cache-control: public\r\nset-cookie: a=b\r\n"),
        (200, "cache-control: public\r\nvary: Cookie\r\n"),
        (200, "cache-control: public\r\nvary: accept-encoding\r\nvary: *\r\n"),
        (200, "cache-control: public\r\npragma: no-cache\r\n"),
        (200, "cache-control: public, max-age=60\r\nage: 7\r\n"),
        (206, "cache-control: public\r\ncontent-range: bytes 0-1/2\r\n"),
        (302, "cache-control: public\r\n"),
        (500, "cache-control: public\r\n"),
        (503, "cache-control: public\r\n"),
    ] {
        assert!(!is_for_all(&answer(status, fields)), "{status} {fields}");
    }
}

#[test]
fn only_so_many_answers_are_kept_at_once() {
    let rooms = Arc::new(Rooms::default());
    let mut taken: Vec<Room> = std::iter::from_fn(|| rooms.take()).collect();
    assert_eq!(taken.len(), Rooms::BYTES_MAX / BODY_BYTES_MAX);
    let kept = taken.remove(0).keep(vec![0; 7]);
    assert!(rooms.take().is_none());
    drop(taken);
    let last_of_it = kept.slice(6..);
    drop(kept);
    assert_eq!(rooms.taken.load(Ordering::Relaxed), 7);
    assert!(rooms.take().is_some());
    drop(last_of_it);
    assert_eq!(rooms.taken.load(Ordering::Relaxed), 0);
}
