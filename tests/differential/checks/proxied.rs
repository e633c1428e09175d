//! The header of the PROXY protocol, in whatever pieces it comes, beside a second reading of it that shares no code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ghostpin::proxy::proxied::{HEADER_BYTES_MAX, parse};

use super::dice::Dice;

/// Length of the header and whom it names; or that these bytes are none, or not all of one.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Header(usize, Option<IpAddr>),
    Refused,
    More,
}

fn read(data: &[u8], mut next: impl FnMut(usize) -> usize) -> Read {
    let mut there = 0;
    while there < data.len() {
        there += next(data.len() - there);
        match parse(&data[..there]) {
            Ok(None) => {}
            Ok(Some((length, client))) => return Read::Header(length, client),
            Err(_) => return Read::Refused,
        }
    }
    Read::More
}

/// Whether there was a header.
pub(crate) fn check(data: &[u8], dice: &mut Dice) -> Result<bool, String> {
    // No more is ever looked at.
    let data = &data[..data.len().min(HEADER_BYTES_MAX)];
    let whole = read(data, |left| left);
    for most in [1, 2 + dice.roll(30), 1 + data.len()] {
        let pieces = read(data, |left| 1 + dice.roll(most.min(left)));
        if pieces != whole {
            return Err(format!("in pieces of {most} it is {pieces:?}, and {whole:?} at once"));
        }
    }
    let Read::Header(length, client) = whole else { return Ok(false) };
    let expected = if data.starts_with(b"PROXY ") { as_text(data) } else { as_binary(data) };
    if expected != Some((length, client)) {
        return Err(format!("it is read as {length} bytes for {client:?}, and means {expected:?}"));
    }
    Ok(true)
}

fn as_text(data: &[u8]) -> Option<(usize, Option<IpAddr>)> {
    let end = data.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&data[..end]).ok()?;
    let client = match line.split(' ').collect::<Vec<_>>().as_slice() {
        [_, "UNKNOWN", ..] => None,
        [_, "TCP4", source, _, _, _] => Some(IpAddr::V4(source.parse().ok()?)),
        [_, "TCP6", source, _, _, _] => Some(IpAddr::V6(source.parse().ok()?)),
        _ => return None,
    };
    Some((end + 2, client))
}

fn as_binary(data: &[u8]) -> Option<(usize, Option<IpAddr>)> {
    let [kind, family, high, low] = *data.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let addresses = data.get(16..16 + length)?;
    let client = match (kind, family >> 4) {
        (0x21, 1) => Some(IpAddr::V4(Ipv4Addr::from(*addresses.first_chunk::<4>()?))),
        (0x21, 2) => Some(IpAddr::V6(Ipv6Addr::from(*addresses.first_chunk::<16>()?))),
        (0x20 | 0x21, _) => None,
        _ => return None,
    };
    Some((16 + length, client))
}
