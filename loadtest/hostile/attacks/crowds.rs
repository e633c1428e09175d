//! Connections that want nothing but to be there.

use super::{Attacker, Pace};
use crate::link::Link;

const RATE: u32 = 1_000;

pub fn crowd(attacker: &mut Attacker) -> Vec<Link> {
    let mut pace = Pace::of(RATE);
    let mut links: Vec<Link> = Vec::new();
    while !attacker.is_over() {
        pace.next();
        links.extend(attacker.open(None));
        if links.len().is_multiple_of(RATE as usize / 10) {
            links.iter_mut().for_each(Link::receive);
            let before = links.len();
            links.retain(|link| !link.has_ended);
            attacker.count("ended", (before - links.len()) as u64);
        }
    }
    links
}
