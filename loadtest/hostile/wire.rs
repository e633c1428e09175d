//! Frames of HTTP/2, written and read by hand.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// SETTINGS_INITIAL_WINDOW_SIZE of 0: no answer's body may be sent.
pub const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a client says first, with these settings.
pub fn hello(settings: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, settings)].concat()
}

/// Takes a whole frame: its kind and its payload.
pub fn take(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let head = bytes.get(..9)?;
    let end = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let kind = head[3];
    let payload = bytes.get(9..end)?.to_vec();
    bytes.drain(..end);
    Some((kind, payload))
}

/// A request for this path, in HPACK without compression and without a memory.
pub fn request(method: &str, host: &str, path: &str) -> Vec<u8> {
    // GET and POST have numbers, and so has the scheme http.
    let mut block = vec![if method == "GET" { 0x82 } else { 0x83 }, 0x86];
    for (name, value) in [(0x01, host), (0x04, path)] {
        block.push(name);
        integer(&mut block, 7, 0, value.len());
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// A field without compression; with `is_kept`, one that the other side has to remember.
pub fn field(block: &mut Vec<u8>, name: &[u8], value: &[u8], is_kept: bool) {
    block.push(if is_kept { 0x40 } else { 0x00 });
    for text in [name, value] {
        integer(block, 7, 0, text.len());
        block.extend_from_slice(text);
    }
}

/// RFC 7541, 5.1.
fn integer(block: &mut Vec<u8>, prefix: u8, flags: u8, value: usize) {
    let most = (1 << prefix) - 1;
    let Some(mut left) = value.checked_sub(most) else {
        block.push(flags | u8::try_from(value).expect("less than a prefix"));
        return;
    };
    block.push(flags | u8::try_from(most).expect("a prefix of bits"));
    while left >= 128 {
        block.push(0x80 | u8::try_from(left % 128).expect("seven bits"));
        left /= 128;
    }
    block.push(u8::try_from(left).expect("seven bits"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_the_standard_shows_them() {
        let written = |prefix, value| {
            let mut block = Vec::new();
            integer(&mut block, prefix, 0, value);
            block
        };
        assert_eq!(written(5, 10), [10]);
        assert_eq!(written(5, 1337), [31, 154, 10]);
        assert_eq!(written(7, 127), [127, 0]);
    }

    #[test]
    fn a_frame_is_taken_when_it_is_whole() {
        let whole = frame(PING, 0, 0, &[7; 8]);
        let mut bytes = whole[..16].to_vec();
        assert_eq!(take(&mut bytes), None);
        bytes.push(7);
        assert_eq!(take(&mut bytes), Some((PING, vec![7; 8])));
        assert!(bytes.is_empty());
    }
}
