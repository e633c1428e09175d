//! Frames of HTTP/2, written and read by hand, and as much HPACK as that takes: libraries refuse to send what these cases
//! are about. Nothing is checked of what is written.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
pub(super) const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Larger ones need a setting of the other side.
const PAYLOAD_MAX: usize = 16 * 1024;

/// Names and values, as bytes.
pub(super) type List = Vec<(Vec<u8>, Vec<u8>)>;

/// What a client says first. Without a table the other side writes each field in full, which is easy to read.
pub(super) fn hello() -> Vec<u8> {
    let no_table = [0, 1, 0, 0, 0, 0];
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &no_table)].concat()
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A list of fields, in at least so many frames.
pub(super) fn head(stream: u32, list: &List, is_end: bool, frames: usize) -> Vec<u8> {
    let block: Vec<u8> = list.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let size = block.len().div_ceil(frames).clamp(1, PAYLOAD_MAX);
    // A block without a field is a frame as well.
    let pieces: Vec<&[u8]> = if block.is_empty() { vec![&[]] } else { block.chunks(size).collect() };
    let frames = pieces.iter().enumerate().map(|(number, piece)| {
        let is_last = number + 1 == pieces.len();
        let (kind, end) = if number == 0 { (HEADERS, u8::from(is_end)) } else { (CONTINUATION, 0) };
        frame(kind, end | if is_last { END_HEADERS } else { 0 }, stream, piece)
    });
    frames.flatten().collect()
}

/// A field in full, which no table is to remember (RFC 7541, 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        match text.len() {
            length @ 0..127 => bytes.push(length as u8),
            length => {
                bytes.push(127);
                let mut left = length - 127;
                while left >= 128 {
                    bytes.push((left % 128) as u8 | 128);
                    left /= 128;
                }
                bytes.push(left as u8);
            }
        }
        bytes.extend_from_slice(text);
    }
    bytes
}

/// The status that the block of an answer begins with.
pub(super) fn status(block: &[u8]) -> Option<u16> {
    match block {
        // The table is set to no size, as it was asked for.
        [0x20, rest @ ..] => status(rest),
        // Out of the static table.
        [indexed @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
        [0x08 | 0x18 | 0x48, length, rest @ ..] => {
            let text = rest.get(..usize::from(length & 127))?;
            let digits = if length & 128 == 0 { text.to_vec() } else { huffman_digits(text)? };
            std::str::from_utf8(&digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Three digits in the code of HPACK: 0 to 2 have 5 bits, the others 6 (RFC 7541, appendix B).
fn huffman_digits(text: &[u8]) -> Option<Vec<u8>> {
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let mut left = bits.as_slice();
    let mut digits = Vec::new();
    for _ in 0..3 {
        let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
        let (digit, length) = match number(left.get(..5)?) {
            short @ 0..3 => (short, 5),
            _ => (number(left.get(..6)?).checked_sub(0b011_001 - 3)?, 6),
        };
        digits.push(b'0' + digit);
        left = &left[length..];
    }
    digits.iter().all(u8::is_ascii_digit).then_some(digits)
}

/// A frame as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// Takes the frame that `bytes` begin with, if it is there.
pub(super) fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<9>()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = bytes.get(9..9 + length)?.to_vec();
    bytes.drain(..9 + length);
    Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

#[test]
fn a_status_is_read_in_every_form_that_it_may_have() {
    assert_eq!(status(b"\x88rest"), Some(200));
    assert_eq!(status(b"\x20\x8c"), Some(400));
    assert_eq!(status(b"\x08\x03421rest"), Some(421));
    // RFC 7541, appendix C.6.
    assert_eq!(status(b"\x48\x82\x64\x02rest"), Some(302));
    assert_eq!(status(b"\x48\x83\x64\x0e\xffrest"), Some(307));
    assert_eq!(status(b"\xbe"), None);
}
