use std::time::Duration;

use http::{Method, Version};

use super::body::Step;
use super::*;

fn parse(head: &str) -> Result<RequestHead, BadRequest> {
    RequestHead::parse(head.as_bytes(), 100)
}

/// A request with a host and these fields.
fn with(line: &str, fields: &str) -> Result<RequestHead, BadRequest> {
    parse(&format!("{line} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused() {
    use BadRequest::*;
    for (line, fields, reason) in [
        ("GET /", "Host: a.example\r\n", TwoHosts),
        ("GET /", "Host: b.example\r\n", TwoHosts),
        ("GET http://b.example/", "", ContradictingHosts),
        ("GET http://a.example:81/", "", ContradictingHosts),
        ("CONNECT a.example:443", "", NotATarget),
        ("GET a.example", "", NotATarget),
        ("GET *", "", NotATarget),
        ("GET ftp://a.example/", "", NotATarget),
        ("GET /#x", "", NotHttp),
        ("POST /", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", LengthAndCoding),
        ("POST /", "Content-Length: 3\r\nContent-Length: 3\r\n", NotALength),
        ("POST /", "Content-Length: +3\r\n", NotALength),
        ("POST /", "Content-Length: 3, 3\r\n", NotALength),
        ("POST /", "Content-Length: \r\n", NotALength),
        ("POST /", "Content-Length: 18446744073709551616\r\n", NotALength),
        ("POST /", "Transfer-Encoding: gzip, chunked\r\n", UnknownCoding),
        ("POST /", "Transfer-Encoding: xchunked\r\n", UnknownCoding),
        ("POST /", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", UnknownCoding),
        ("GET /", "X : 1\r\n", NotHttp),
        ("GET /", "X: 1\r\n folded\r\n", NotHttp),
        ("GET /", "X: 1\n", BareLineFeed),
    ] {
        assert_eq!(with(line, fields).err(), Some(reason), "{line} {fields:?}");
    }
    for (head, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", NoHost),
        ("GET http://a.example/ HTTP/1.1\r\n\r\n", NoHost),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", NotAHost),
        ("GET / HTTP/1.1\r\nHost: a.example/b\r\n\r\n", NotAHost),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", NotAHost),
        ("GET / HTTP/1.1\r\nHost: x@a\r\n\r\n", NotAHost),
        ("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", NotAHost),
        ("GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", NotAHost),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", UnknownCoding),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        ("GET /\r\n\r\n", NotHttp),
    ] {
        assert_eq!(parse(head).err(), Some(reason), "{head:?}");
    }
    assert_eq!(RequestHead::parse(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n", 1).err(), Some(TooManyFields));
}

#[test]
fn a_head_that_is_only_unusual_is_not_refused() {
    for (head, host, path) in [
        ("GET http://A.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", "A.example", "/x"),
        ("GET http://a.example?q HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "/"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "*"),
        ("OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "*"),
        ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", "[2001:db8::1]:8080", "/"),
        ("GET //x/../y%2f HTTP/1.0\r\nhOsT:\tA.b. \r\n\r\n", "A.b.", "//x/../y%2f"),
        ("purge /é HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/é"),
    ] {
        let parsed = parse(head).unwrap_or_else(|reason| panic!("{head:?}: {reason:?}"));
        assert_eq!((parsed.host(), parsed.path()), (host, path), "{head:?}");
    }
}

#[test]
fn a_request_of_http_2_says_the_same_as_one_of_http_1_1() {
    let parts = |uri: &str, fields: &[(&str, &str)]| {
        let mut builder = http::Request::builder().uri(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    };
    let length = |uri, fields: &[(&str, &str)], has_body| {
        RequestHead::from_http2(&parts(uri, fields), has_body, 100).map(|head| head.length)
    };
    let uri = "https://a.example/x?y";
    assert_eq!(length(uri, &[], false), Ok(Length::Nothing));
    assert_eq!(length(uri, &[], true), Ok(Length::Chunked));
    assert_eq!(length(uri, &[("content-length", "5")], true), Ok(Length::Exactly(5)));
    assert_eq!(length(uri, &[("content-length", "0")], true), Ok(Length::Nothing));
    assert_eq!(length(uri, &[("content-length", "5")], false), Err(BadRequest::NotALength));
    assert_eq!(length(uri, &[("transfer-encoding", "chunked")], true), Err(BadRequest::UnknownCoding));
    assert_eq!(length(uri, &[("host", "b.example")], false), Err(BadRequest::ContradictingHosts));
    assert_eq!(length("/x", &[], false), Err(BadRequest::NoHost));
    for unfit in [("x", " 1"), ("x", "1\t")] {
        assert_eq!(length(uri, &[unfit], false), Err(BadRequest::NotHttp));
    }
    let mut parts = parts(uri, &[]);
    // Such a name only comes out of HTTP/2.
    let quoted = http::HeaderName::from_lowercase(b"x\"a").unwrap();
    parts.headers.insert(quoted, http::HeaderValue::from_static("1"));
    assert_eq!(RequestHead::from_http2(&parts, false, 100).map(drop), Err(BadRequest::NotHttp));
}

#[test]
fn a_request_of_http_2_has_as_many_fields_as_one_of_http_1_1() {
    let read = |name: &'static str, count: usize| {
        let mut request = http::Request::builder().uri("http://a.example/").header("x-a", "1");
        for _ in 0..count {
            request = request.header(name, "1");
        }
        RequestHead::from_http2(&request.body(()).unwrap().into_parts().0, false, 20).map(drop)
    };
    assert_eq!(read("x-b", 19), Ok(()));
    assert_eq!(read("x-b", 20), Err(BadRequest::TooManyFields));
    // Browsers send a field for each pair of a cookie, and they become one.
    assert_eq!(read("cookie", 200), Ok(()));
}

#[test]
fn a_websocket_of_http_2_has_one_key() {
    let request = http::Request::builder().uri("http://a.example/").header("sec-websocket-key", "theirs");
    let parts = request.body(()).unwrap().into_parts().0;
    let head = RequestHead::from_http2_websocket(&parts, "ours", 100).unwrap();
    let keys = head.fields.iter().filter(|field| field.name == b"sec-websocket-key");
    assert_eq!(keys.map(|field| field.value).collect::<Vec<_>>(), [b"ours"]);
}

#[test]
fn the_end_of_a_head_is_found_wherever_the_pieces_of_it_end() {
    let text = b"GET / HTTP/1.1\r\nA: 1\r\n\r\nrest";
    let end = text.len() - 4;
    for seen in 0..text.len() {
        let found = head_end(&text[..seen], 0);
        assert_eq!(found, (seen >= end).then_some(end), "{seen}");
        if found.is_none() {
            assert_eq!(head_end(text, seen), Some(end), "{seen}");
        }
    }
    assert_eq!(head_end(b"GET / HTTP/1.1\nA: 1\n\nrest", 0), Some(21));
    assert_eq!(empty_lines(b"\r\n\r\nGET"), 4);
    assert_eq!(empty_lines(b"\n\r\nGET"), 0);
}

/// What a body is, what follows it, and its trailers.
type Read = (Vec<u8>, Vec<u8>, Option<Fields>);

/// Reads a body that comes in pieces of `piece` bytes.
fn read(length: Length, text: &[u8], piece: usize) -> Result<Read, BadBody> {
    let mut decoder = Decoder::new(length);
    let (mut buffer, mut coming, mut body) = (Vec::new(), text.chunks(piece), Vec::new());
    loop {
        match decoder.step(&buffer)? {
            Step::Data(bytes) => {
                let bytes = bytes.min(3);
                body.extend(buffer.drain(..bytes));
                decoder.consume(bytes);
            }
            Step::Skip(bytes) => drop(buffer.drain(..bytes)),
            Step::End => {
                buffer.extend(coming.flatten());
                return Ok((body, buffer, decoder.trailers.take()));
            }
            Step::More => match coming.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => decoder.connection_ended()?,
            },
        }
    }
}

#[test]
fn a_body_is_the_same_in_whatever_pieces_it_comes() {
    let chunked = b"4\r\nabcd\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nSum: 1\r\nHost: b\r\n\r\nnext";
    for piece in 1..chunked.len() {
        let (body, rest, trailers) = read(Length::Chunked, chunked, piece).unwrap();
        assert_eq!((body.as_slice(), rest.as_slice()), (&b"abcd0123456789"[..], &b"next"[..]), "{piece}");
        let trailers = trailers.unwrap();
        let names: Vec<&[u8]> = trailers.iter().map(|field| field.name).collect();
        assert_eq!(names, [b"Sum"], "what routes a request has no place behind it");

        let (body, rest, _) = read(Length::Exactly(5), b"abcdenext", piece).unwrap();
        assert_eq!((body.as_slice(), rest.as_slice()), (&b"abcde"[..], &b"next"[..]));
        assert_eq!(read(Length::UntilClose, b"abcde", piece).unwrap().0, b"abcde");
    }
}

#[test]
fn a_body_that_breaks_off_is_told_from_one_that_ends() {
    for (length, text) in [
        (Length::Exactly(5), &b"abcd"[..]),
        (Length::Chunked, b"4\r\nabcd\r\n"),
        (Length::Chunked, b"4\r\nab"),
        (Length::Chunked, b"4\r\nabcd\r\n0\r\n"),
    ] {
        assert_eq!(read(length, text, 2).err(), Some(BadBody::BrokeOff), "{text:?}");
    }
}

#[test]
fn a_chunk_that_is_not_to_the_letter_is_refused() {
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+5\r\n",
        "0x5\r\n",
        "5 \r\n",
        "5\n",
        "5\rx\r\n",
        "5;a\nb\r\n",
        "5;\0\r\n",
        "5;\x7f\r\n",
        "11111111111111111\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "5 x\r\n",
    ] {
        assert_eq!(read(Length::Chunked, text.as_bytes(), 64).err(), Some(BadBody::Chunk), "{text:?}");
    }
    for text in ["0\r\nX: 1\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\nno colon\r\n\r\n", "0\r\n X: 1\r\n\r\n"] {
        assert_eq!(read(Length::Chunked, text.as_bytes(), 64).err(), Some(BadBody::Trailers), "{text:?}");
    }
    let long = format!("1;{}\r\na\r\n", "x".repeat(2000));
    assert_eq!(read(Length::Chunked, long.as_bytes(), 100).err(), Some(BadBody::Chunk));
    let wasteful = format!("1;{}\r\na\r\n", "x".repeat(900)).repeat(100);
    assert_eq!(read(Length::Chunked, wasteful.as_bytes(), 4096).err(), Some(BadBody::Chunk));
}

#[test]
fn what_is_written_as_chunks_is_read_as_the_same_body() {
    for bytes in [1, 9, 10, 15, 16, 255, 256, 65_536, 1_000_000] {
        let (mut text, body) = (Vec::new(), vec![7; bytes]);
        body::write_chunk_size(&mut text, bytes);
        text.extend_from_slice(&body);
        text.extend_from_slice(b"\r\n");
        body::write_last_chunk(&mut text, None);
        assert_eq!(read(Length::Chunked, &text, 10_000).unwrap().0, body, "{bytes}");
    }
}

fn answer(first: &str, fields: &str) -> ResponseHead {
    ResponseHead::parse(format!("{first}\r\n{fields}\r\n").as_bytes()).unwrap()
}

#[test]
fn the_length_of_an_answer_is_told_by_the_rules() {
    let length = |fields: &str, asked| answer("HTTP/1.1 200 OK", fields).length(&asked);
    assert_eq!(length("Content-Length: 5\r\n", Method::GET), Ok(Length::Exactly(5)));
    assert_eq!(length("Content-Length: 5\r\n", Method::HEAD), Ok(Length::Nothing));
    assert_eq!(length("", Method::GET), Ok(Length::UntilClose));
    assert_eq!(
        length("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Method::GET),
        Ok(Length::Chunked)
    );
    assert_eq!(length("Transfer-Encoding: gzip\r\n", Method::GET), Err(BadAnswer::UnknownCoding));
    assert_eq!(length("Content-Length: 5\r\nContent-Length: 6\r\n", Method::GET), Err(BadAnswer::NotALength));
    assert_eq!(length("Content-Length: x\r\n", Method::GET), Err(BadAnswer::NotALength));
    for status in [101, 204, 304] {
        let head = answer(&format!("HTTP/1.1 {status} X"), "Content-Length: 5\r\n");
        assert_eq!(head.length(&Method::GET), Ok(Length::Nothing), "{status}");
    }
}

#[test]
fn a_backend_says_whether_it_takes_another_request_and_for_how_long() {
    for (first, fields, keeps) in [
        ("HTTP/1.1 200 OK", "", true),
        ("HTTP/1.1 200 OK", "Connection: Close\r\n", false),
        ("HTTP/1.0 200 OK", "", false),
        ("HTTP/1.0 200 OK", "Connection: keep-alive\r\n", true),
        ("HTTP/1.0 200 OK", "Connection: keep-alive, close\r\n", false),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", false),
    ] {
        assert_eq!(answer(first, fields).keeps_alive(), keeps, "{first} {fields}");
    }
    let timeout = |value: &str| answer("HTTP/1.1 200 OK", &format!("Keep-Alive: {value}\r\n")).idle_timeout();
    assert_eq!(timeout("max=100, Timeout=5"), Some(Duration::from_secs(5)));
    for odd in ["timeout", "timeout=", "timeout=x", "timeout=-1", "max=3"] {
        assert_eq!(timeout(odd), None, "{odd}");
    }
}

#[test]
fn a_client_that_says_close_sends_no_further_request_whatever_else_it_says() {
    for (version, connection, keeps) in [
        ("1.1", "x", true),
        ("1.1", "keep-alive, Close", false),
        ("1.0", "x", false),
        ("1.0", "Keep-Alive", true),
        ("1.0", "keep-alive, close", false),
        ("1.0", "close\r\nConnection: keep-alive", false),
    ] {
        let head = parse(&format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n"));
        assert_eq!(head.unwrap().keeps_alive(), keeps, "{version} {connection:?}");
    }
}

#[test]
fn names_are_known_in_any_case() {
    for (name, known) in [
        ("CONTENT-length", Known::ContentLength),
        ("transfer-encoding", Known::TransferEncoding),
        ("X-Forwarded-Proto", Known::XForwardedProto),
        ("X-Real-IP", Known::XRealIp),
        ("content_length", Known::Other),
        ("hosts", Known::Other),
    ] {
        assert_eq!(Known::of(name.as_bytes()), known, "{name}");
    }
}
