//! Inputs that are nearly right: what somebody wrote, with a few things changed.

use super::checks::dice::Dice;

/// What readers quarrel about. One of these in the right place is worth many random bytes.
const ODD: [&[u8]; 32] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\n\r\n",
    b"\0",
    b"\x7f",
    b"\x0b",
    b"\x80",
    "é".as_bytes(),
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"#",
    b"?",
    b"<",
    b"@",
    b"*",
    b"0",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b.test\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.0",
    b"http://a.test",
    b"chunked",
];

/// Sizes beyond this only make a run slow.
const BYTES_MAX: usize = 200_000;

/// Changes a few things in one of `seeds`.
pub(crate) fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut data = seeds[dice.roll(seeds.len())].clone();
    let times = [0, 1, 1, 1, 2, 2, 3, 5][dice.roll(8)];
    for _ in 0..times {
        change(&mut data, seeds, dice);
    }
    data.truncate(BYTES_MAX);
    data
}

fn change(data: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.roll(data.len() + 1);
    let end = (at + dice.roll(20)).min(data.len());
    match dice.roll(13) {
        0 if at < data.len() => data[at] ^= 1 << dice.roll(8),
        1 if at < data.len() => data[at] = dice.next() as u8,
        2 | 3 => drop(data.splice(at..at, ODD[dice.roll(ODD.len())].iter().copied())),
        4 if at < data.len() => drop(data.splice(at..=at, ODD[dice.roll(ODD.len())].iter().copied())),
        5 => drop(data.drain(at..end)),
        6 => {
            let copy = data[at..end].to_vec();
            drop(data.splice(at..at, copy));
        }
        7 => with_lines(data, dice, |lines, dice| {
            let (a, b) = (dice.roll(lines.len()), dice.roll(lines.len()));
            lines.swap(a, b);
        }),
        8 => with_lines(data, dice, |lines, dice| {
            let (a, b) = (dice.roll(lines.len()), dice.roll(lines.len()));
            lines.insert(a, lines[b].clone());
        }),
        9 => with_lines(data, dice, |lines, dice| drop(lines.remove(dice.roll(lines.len())))),
        10 => {
            // The beginning of one, and the end of another.
            let other = &seeds[dice.roll(seeds.len())];
            data.truncate(at);
            data.extend_from_slice(&other[dice.roll(other.len() + 1)..]);
        }
        11 => number(data, at, dice),
        _ => {
            for byte in &mut data[at..end] {
                *byte = if byte.is_ascii_uppercase() {
                    byte.to_ascii_lowercase()
                } else {
                    byte.to_ascii_uppercase()
                };
            }
        }
    }
}

/// Lines with their ends, whatever these are.
fn with_lines(data: &mut Vec<u8>, dice: &mut Dice, change: impl FnOnce(&mut Vec<Vec<u8>>, &mut Dice)) {
    let mut lines: Vec<Vec<u8>> = data.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if !lines.is_empty() {
        change(&mut lines, dice);
    }
    *data = lines.concat();
}

/// Puts another number in the place of the next one behind `at`.
fn number(data: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(start) = data[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let digits = data[start..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let old =
        std::str::from_utf8(&data[start..start + digits]).ok().and_then(|text| text.parse::<u64>().ok());
    let old = old.unwrap_or(16);
    let new = match dice.roll(8) {
        0 => old.wrapping_add(1).to_string(),
        1 => old.wrapping_sub(1).to_string(),
        2 => format!("0{old}"),
        3 => format!("+{old}"),
        4 => format!("{old:x}"),
        5 => (u64::MAX - dice.roll(3) as u64).to_string(),
        6 => format!("{:x}", u64::MAX - dice.roll(3) as u64),
        _ => dice.roll(100).to_string(),
    };
    drop(data.splice(start..start + digits, new.into_bytes()));
}
