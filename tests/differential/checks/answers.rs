//! What is written to a client: one answer whose end every client finds, whatever the backend has sent.

use ghostpin::http1::response::HEAD_BYTES_MAX;
use ghostpin::http1::{self, Length, ResponseHead};
use ghostpin::proxy::headers::{Delivery, write_answer};
use ghostpin::proxy::outbox::Outbox;
use http::{HeaderValue, Method, StatusCode};

use super::bodies::{self, Given, Read, pairs, send};
use super::dice::Dice;
use super::parse;
use super::pipe::Manner;
use super::requests::OF_CONNECTION;

/// A backend's connection as it is read after a request of the method `asked`, and what of it goes to clients.
/// Returns whether there was an answer.
pub(crate) fn check_answer(data: &[u8], asked: &Method, dice: &mut Dice) -> Result<bool, String> {
    let Some((head, rest)) = final_head(data) else { return Ok(false) };
    let length = if head.status == StatusCode::SWITCHING_PROTOCOLS {
        Length::Nothing
    } else {
        let Ok(length) = head.length(asked) else { return Ok(false) };
        length
    };
    let read = bodies::read(length, rest, []);
    for old in [false, true] {
        for close in [false, true] {
            let said = written(&head, asked, length, &read, Delivery { old, close }, dice);
            said.map_err(|why| {
                format!("to {asked}, for a client of HTTP/1.{}, close {close}: {why}", !old as u8)
            })?;
        }
    }
    Ok(true)
}

/// As `forward` looks for it.
fn final_head(mut data: &[u8]) -> Option<(ResponseHead, &[u8])> {
    loop {
        let end = http1::head_end(data, 0).filter(|end| *end <= HEAD_BYTES_MAX)?;
        let (head, rest) = data.split_at(end);
        let head = ResponseHead::parse(head).ok()?;
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Some((head, rest));
        }
        data = rest;
    }
}

/// Writes as `proxy::http1` delivers, and reads it as a client does.
fn written(
    head: &ResponseHead,
    asked: &Method,
    length: Length,
    read: &Read,
    mut delivery: Delivery,
    dice: &mut Dice,
) -> Result<(), String> {
    let ends_with_close = delivery.old && matches!(length, Length::Chunked | Length::UntilClose);
    delivery.close |= ends_with_close;
    let mut text = Vec::new();
    write_answer(&mut text, head, length, delivery, || HeaderValue::from_static("now"));
    let coding = match length {
        _ if ends_with_close => Length::UntilClose,
        Length::UntilClose => Length::Chunked,
        known => known,
    };
    let bytes = text.len();
    let (fields, all) = if read.end.is_ok() {
        let body = &read.body;
        let mut trailers = http1::Fields::default();
        for (name, value) in &read.trailers {
            trailers.push(std::str::from_utf8(name).unwrap_or_default(), value);
        }
        let trailers = (!trailers.is_empty()).then_some(trailers);
        let mut source = Given::new(body, body.len(), trailers, Manner::any(dice));
        let (all, sent) = send(Outbox::answer(text, coding), &mut source, Manner::any(dice));
        let fail = |why: String| format!("{why}\nwritten: {}", all.escape_ascii());
        sent.map_err(|stopped| fail(format!("a whole body is not written whole: {stopped:?}")))?;
        let to_head = *asked == Method::HEAD;
        let (end, status, fields, seen) = parse::whole_answer(&all, to_head, delivery.close)
            .map_err(|why| fail(format!("what is written is no answer: {why:?}")))?;
        if end != all.len() || status != head.status.as_u16() || seen != *body {
            return Err(fail(format!("read as {status}, {end} bytes, {}", seen.escape_ascii())));
        }
        if coding == Length::Chunked {
            let again = bodies::read(coding, &all[bytes..], []);
            if again.trailers != read.trailers {
                return Err(fail(format!("the trailers are {:?}", again.trailers)));
            }
        }
        (fields, all)
    } else {
        let (_, _, fields, _) = parse::whole_answer(&text, true, true)
            .map_err(|why| format!("what is written is no head: {why:?}: {}", text.escape_ascii()))?;
        (fields, text)
    };
    check_head(head, &fields, &all, delivery, coding)
        .map_err(|why| format!("{why}\nwritten: {}", all.escape_ascii()))
}

fn check_head(
    head: &ResponseHead,
    fields: &parse::Fields,
    all: &[u8],
    delivery: Delivery,
    coding: Length,
) -> Result<(), String> {
    let values = |name: &str| parse::values(fields, name).collect::<Vec<_>>();
    let line = all.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err("there is a control in the reason".into());
    }
    let found = OF_CONNECTION.map(values);
    let [connection, keep_alive, proxy_connection, te, transfer, upgrade] = &found;
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let said: &[&[u8]] = match delivery {
        _ if switches => &[b"upgrade"],
        Delivery { close: true, .. } => &[b"close"],
        Delivery { old: true, .. } => &[b"keep-alive"],
        _ => &[],
    };
    let chunks: &[&[u8]] = if coding == Length::Chunked { &[b"chunked"] } else { &[] };
    let none = [keep_alive, proxy_connection, te].iter().all(|values| values.is_empty());
    if connection != said || !none || transfer != chunks || upgrade.len() != usize::from(switches) {
        return Err("something of the backend's connection is written to the client's".into());
    }
    let lengths = values("content-length");
    if lengths.len() > 1 || !chunks.is_empty() && !lengths.is_empty() {
        return Err("there is more than one framing".into());
    }
    let named = list(head, "connection");
    if values("date").is_empty() && !named.contains(&b"date".to_vec()) {
        return Err("there is no date".into());
    }
    // What is of no concern to a proxy passes as it came.
    for (name, value) in pairs(Some(&head.fields)) {
        let name = name.to_ascii_lowercase();
        let known = [OF_CONNECTION.as_slice(), &["content-length"]].concat();
        if known.iter().any(|known| known.as_bytes() == name) || named.contains(&name) {
            continue;
        }
        let is_there = fields.iter().any(|(other, seen)| *other == name && *seen == value);
        if !is_there {
            return Err(format!("{} does not come as it was sent", name.escape_ascii()));
        }
    }
    Ok(())
}

/// A list in lower case, read without ghostpin's help.
fn list(head: &ResponseHead, name: &str) -> Vec<Vec<u8>> {
    let fields = pairs(Some(&head.fields));
    let values = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
    let texts = values.map(|(_, value)| String::from_utf8_lossy(value).to_ascii_lowercase());
    let members = |text: String| -> Vec<Vec<u8>> {
        text.split(',').map(|member| member.trim_matches([' ', '\t']).as_bytes().to_vec()).collect()
    };
    texts.flat_map(members).collect()
}
