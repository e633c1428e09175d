//! Inputs made from the grammar, mostly right: combinations that nobody thought of writing down.

use super::checks::dice::Dice;

fn any(dice: &mut Dice, all: &[&str]) -> String {
    dice.pick(all).to_owned()
}

/// The end of a line, which is nearly always what it should be.
fn end(dice: &mut Dice) -> &'static str {
    if dice.one_in(200) { "\n" } else { "\r\n" }
}

/// A connection with a few requests.
pub(crate) fn requests(dice: &mut Dice) -> Vec<u8> {
    let mut data = Vec::new();
    for number in 0..1 + dice.roll(4) {
        for _ in 0..dice.roll(8).saturating_sub(5) {
            data.extend_from_slice(end(dice).as_bytes());
        }
        request(&mut data, number, dice);
    }
    data
}

fn request(data: &mut Vec<u8>, number: usize, dice: &mut Dice) {
    const METHODS: [&str; 12] = [
        "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "OPTIONS", "DELETE", "PURGE", "M-SEARCH",
        "CONNECT",
    ];
    const TARGETS: [&str; 16] = [
        "/",
        "/a?b=c",
        "//x/../y",
        "/%2e%2E/%zz",
        "/é?ü",
        "/<a>",
        "/a`b",
        "/\"{}|^\\",
        "*",
        "http://a.test",
        "http://a.test/x",
        "HTTP://A.test?q",
        "https://a.test:443/",
        "http://b.test/",
        "a.test:80",
        "/?",
    ];
    const HOSTS: [&str; 8] =
        ["a.test", "a.test", "a.test", "A.TEST", "a.test:443", "[::1]:80", "a_b~c", "a b"];
    let (method, target) = (any(dice, &METHODS), any(dice, &TARGETS));
    let version = if dice.one_in(5) { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut head = vec![format!("{method} {target} {version}"), format!("Host: {}", any(dice, &HOSTS))];
    for _ in 0..dice.roll(5) {
        head.push(field(dice));
    }
    let body = body(number, dice, &mut head);
    if dice.one_in(30) {
        head.remove(1);
    }
    if head.len() > 2 && dice.one_in(3) {
        head.swap(1, 2);
    }
    for line in head {
        data.extend_from_slice(line.as_bytes());
        data.extend_from_slice(end(dice).as_bytes());
    }
    data.extend_from_slice(b"\r\n");
    data.extend_from_slice(&body);
}

fn field(dice: &mut Dice) -> String {
    const NAMES: [&str; 24] = [
        "Connection",
        "Connection",
        "connection",
        "Keep-Alive",
        "TE",
        "Upgrade",
        "Upgrade",
        "Expect",
        "Cookie",
        "cookie",
        "Accept",
        "Date",
        "X-A",
        "x-a",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Request-ID",
        "Proxy-Connection",
        "X-Site-ID",
        "X_A",
        "Trailer",
        "Host",
        "Content-Type",
    ];
    const VALUES: [&str; 26] = [
        "close",
        "keep-alive",
        "Keep-Alive, close",
        "close, keep-alive",
        "keep-alive, é",
        "x-a",
        "X-A, te",
        "upgrade",
        "te",
        "trailers",
        "gzip, trailers;q=1",
        "websocket",
        "h2c",
        "websocket, h2c",
        "100-continue",
        "a=b",
        "a=b; c=d",
        "1.1.1.1",
        "a.test",
        "",
        "\t",
        "a,,b",
        "timeout=5",
        "\"quoted, close\"",
        "é",
        "host, content-length, cookie",
    ];
    let space = any(dice, &[" ", " ", " ", "", "\t", "  "]);
    let name = any(dice, &NAMES);
    format!("{name}:{space}{}{}", any(dice, &VALUES), any(dice, &["", "", "", " ", "\t "]))
}

/// A body, framed in `head` by one of the ways that there are, or by none, or by two.
fn body(number: usize, dice: &mut Dice, head: &mut Vec<String>) -> Vec<u8> {
    let text: Vec<u8> = (0..dice.roll(60)).map(|at| b"0\r\nGET / ab"[(at + number) % 11]).collect();
    match dice.roll(10) {
        0..4 => Vec::new(),
        4..6 => {
            let wrong = dice.one_in(20);
            head.push(format!("Content-Length: {}", text.len() + usize::from(wrong)));
            text
        }
        6 if dice.one_in(4) => {
            head.push(format!("Content-Length: {}", text.len()));
            head.push(any(
                dice,
                &["Content-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: x"],
            ));
            text
        }
        _ => {
            let coding =
                any(dice, &["chunked", "chunked", "chunked", "Chunked", "CHUNKED\t", "gzip, chunked"]);
            head.push(format!("Transfer-Encoding: {coding}"));
            chunks(&text, dice)
        }
    }
}

/// The same bytes as chunks, mostly well-formed.
pub(crate) fn chunks(mut text: &[u8], dice: &mut Dice) -> Vec<u8> {
    const EXTENSIONS: [&str; 8] = ["", "", "", "", ";a", " ;a=\"b\"", ";\t;", ";é"];
    let mut data = Vec::new();
    while !text.is_empty() {
        let (chunk, rest) = text.split_at(1 + dice.roll(text.len()));
        let zeros = "0".repeat(dice.roll(20).saturating_sub(16));
        let size = match dice.roll(60) {
            0 => format!("{:X}", chunk.len() + 1),
            1 => format!("+{:x}", chunk.len()),
            2 => format!("{:x} ", chunk.len()),
            3..30 => format!("{:X}", chunk.len()),
            _ => format!("{:x}", chunk.len()),
        };
        data.extend_from_slice(format!("{zeros}{size}{}{}", any(dice, &EXTENSIONS), end(dice)).as_bytes());
        data.extend_from_slice(chunk);
        data.extend_from_slice(end(dice).as_bytes());
        text = rest;
    }
    data.extend_from_slice(b"0\r\n");
    for _ in 0..dice.roll(6).saturating_sub(3) {
        let trailer = any(
            dice,
            &["X-Sum: 1", "x-sum:2", "Host: b", "Content-Length: 3", "X: é", "X : 1", "none", " x: 1"],
        );
        data.extend_from_slice(format!("{trailer}{}", end(dice)).as_bytes());
    }
    data.extend_from_slice(b"\r\n");
    data
}

/// What a backend may say to one request.
pub(crate) fn answer(dice: &mut Dice) -> Vec<u8> {
    const LINES: [&str; 14] = [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200",
        "HTTP/1.1 200 ",
        "HTTP/1.0 200 Fine\tand so",
        "HTTP/1.1 204 No",
        "HTTP/1.1 304 Same",
        "HTTP/1.1 101 Switching",
        "HTTP/1.1 999 é",
        "HTTP/1.1 100 Go on",
        "HTTP/1.1 103 Early",
        "HTTP/1.1 205 Reset",
        "HTTP/1.1 099 Low",
        "HTTP/2.0 200 OK",
    ];
    let mut data = Vec::new();
    while dice.one_in(8) {
        data.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let mut head = vec![any(dice, &LINES)];
    for _ in 0..dice.roll(5) {
        head.push(field(dice));
    }
    let body = body(0, dice, &mut head);
    for line in head {
        data.extend_from_slice(line.as_bytes());
        data.extend_from_slice(end(dice).as_bytes());
    }
    data.extend_from_slice(b"\r\n");
    data.extend_from_slice(&body);
    data
}
