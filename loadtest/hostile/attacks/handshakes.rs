//! TLS that doesn't come about. A ClientHello is made once and sent again and again: that costs the attacker nothing, and
//! the other side as much as it lets itself be made to do.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConnection;
use rustls_pki_types::ServerName;

use super::{Attacker, Pace};
use crate::link::Link;

const SILENT: usize = 2_000;
const SLOW: usize = 500;
/// Handshakes a second.
const RATE: u32 = 500;
/// Of those that make the other side sign.
const RATE_OF_SIGNED: u32 = 200;

/// The bytes of a ClientHello, with this name or without one.
fn hello(attacker: &Attacker, name: Option<&str>) -> Vec<u8> {
    let mut config = (*attacker.config).clone();
    config.enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or("a.example").to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("memory takes it");
    bytes
}

pub fn silent(attacker: &mut Attacker) -> Vec<Link> {
    let (mut links, mut opening) = (Vec::new(), Pace::of(1_000));
    while !attacker.is_over() {
        opening.next();
        if links.len() < SILENT {
            links.extend(attacker.open(None));
        }
    }
    links
}

pub fn slow(attacker: &mut Attacker) -> Vec<Link> {
    let (hello, host) = (hello(attacker, Some(&attacker.host.clone())), attacker.host.len());
    let (mut links, mut opening): (Vec<(Link, usize)>, _) = (Vec::new(), Pace::of(250));
    let mut byte = Pace::of(20);
    while !attacker.is_over() {
        if links.len() < SLOW
            && opening.is_due()
            && let Some(link) = attacker.open(None)
        {
            links.push((link, 0));
        }
        if byte.is_due() {
            for (link, sent) in &mut links {
                // Never all of it.
                if *sent + host < hello.len() {
                    link.send(&hello[*sent..=*sent], attacker.until);
                    *sent += 1;
                }
                link.receive();
            }
            let before = links.len();
            links.retain(|(link, _)| !link.has_ended);
            attacker.count("ended", (before - links.len()) as u64);
        }
        thread::sleep(Duration::from_millis(1));
    }
    links.into_iter().map(|(link, _)| link).collect()
}

/// Sends a ClientHello, waits for the first bytes of the answer, and leaves.
pub fn left(attacker: &mut Attacker, name: Option<&str>) -> Vec<Link> {
    let hello = hello(attacker, name);
    let is_signed = name == Some(attacker.host.as_str());
    let mut pace = Pace::of(if is_signed { RATE_OF_SIGNED } else { RATE });
    let mut waiting: Vec<Link> = Vec::new();
    while !attacker.is_over() {
        pace.next();
        if let Some(mut link) = attacker.open(None) {
            link.send(&hello, attacker.until);
            waiting.push(link);
        }
        for link in &mut waiting {
            link.receive();
            match link.inbox.as_slice() {
                [] => {}
                [21, _, _, _, _, _, alert, ..] => attacker.count(format!("alert {alert}"), 1),
                _ => attacker.count("handshakes begun", 1),
            }
        }
        waiting.retain(|link| link.inbox.is_empty() && !link.has_ended);
    }
    waiting
}
