//! Bodies: where their bytes lie in what comes over the wire, and where they end.
//!
//! A [`Decoder`] is given what was read so far and says what its beginning is; it keeps nothing but its place. Chunked
//! bodies are read to the letter of RFC 9112, 7.1: hexadecimal digits, extensions that are passed over, CRLF.

use super::fields::{Fields, Known};
use super::{Length, head_end};

/// Longest line with the size of a chunk and its extensions, in bytes.
const SIZE_LINE_MAX: usize = 1024;
/// Bytes of extensions and size lines that one body may have beyond four for each chunk.
const OVERHEAD_MAX: u32 = 64 * 1024;
/// Largest trailers, in bytes.
const TRAILERS_MAX: usize = 16 * 1024;
/// Most trailer fields.
const TRAILER_FIELDS_MAX: usize = 64;

/// Why a body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// The connection ended before the body did.
    #[error("it broke off")]
    BrokeOff,
    /// The size of a chunk, or what follows it, is not what it should be.
    #[error("a chunk of it is not well-formed")]
    Chunk,
    /// The trailers are no fields, or too large.
    #[error("its trailers are not well-formed")]
    Trailers,
}

/// What the beginning of the bytes at hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of the body; tell [`Decoder::consume`] how many were taken.
    Data(usize),
    /// So many bytes that are not of the body. They are to be dropped.
    Skip(usize),
    /// Too few to tell.
    More,
    /// What follows the body.
    End,
}

/// Reads one body.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    place: Place,
    /// The body's trailers, once it has ended.
    pub trailers: Option<Fields>,
    overhead: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Ended,
    /// In a body, or a chunk, of which so much is left; not 0.
    Exactly(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
}

impl Decoder {
    /// At the beginning of a body of this length.
    pub fn new(length: Length) -> Self {
        let place = match length {
            Length::Nothing => Place::Ended,
            Length::Exactly(bytes) => Place::Exactly(bytes),
            Length::Chunked => Place::ChunkSize,
            Length::UntilClose => Place::UntilClose,
        };
        Self { place, ..Self::default() }
    }

    /// Nothing of the body is to come any more.
    pub fn has_ended(&self) -> bool {
        self.place == Place::Ended
    }

    /// What `data` begins with.
    ///
    /// # Errors
    /// The body is none.
    pub fn step(&mut self, data: &[u8]) -> Result<Step, BadBody> {
        match self.place {
            Place::Ended => return Ok(Step::End),
            _ if data.is_empty() => return Ok(Step::More),
            Place::Exactly(left) | Place::Chunk(left) => {
                return Ok(Step::Data(usize::try_from(left).unwrap_or(usize::MAX).min(data.len())));
            }
            Place::UntilClose => return Ok(Step::Data(data.len())),
            Place::ChunkSize | Place::ChunkEnd | Place::Trailers => {}
        }
        match self.place {
            Place::ChunkEnd => match data {
                [b'\r', b'\n', ..] => {
                    self.place = Place::ChunkSize;
                    Ok(Step::Skip(2))
                }
                [b'\r'] => Ok(Step::More),
                _ => Err(BadBody::Chunk),
            },
            Place::Trailers => self.trailers(data),
            _ => self.chunk_size(data),
        }
    }

    fn chunk_size(&mut self, data: &[u8]) -> Result<Step, BadBody> {
        let Some(end) = memchr::memchr(b'\n', data) else {
            // A size that can't become one is not waited for.
            let digits = data.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let hopeless = digits == 0 || digits > 16 || data.len() > SIZE_LINE_MAX;
            return if hopeless { Err(BadBody::Chunk) } else { Ok(Step::More) };
        };
        if end > SIZE_LINE_MAX {
            return Err(BadBody::Chunk);
        }
        let line = data[..end].strip_suffix(b"\r").ok_or(BadBody::Chunk)?;
        let size = chunk_size(line).ok_or(BadBody::Chunk)?;
        self.overhead += u32::try_from(line.len()).unwrap_or(u32::MAX).saturating_sub(4);
        if self.overhead > OVERHEAD_MAX {
            return Err(BadBody::Chunk);
        }
        self.place = if size == 0 { Place::Trailers } else { Place::Chunk(size) };
        Ok(Step::Skip(end + 1))
    }

    fn trailers(&mut self, data: &[u8]) -> Result<Step, BadBody> {
        if data.starts_with(b"\r\n") {
            self.place = Place::Ended;
            return Ok(Step::Skip(2));
        }
        let Some(end) = head_end(data, 0) else {
            return if data.len() > TRAILERS_MAX { Err(BadBody::Trailers) } else { Ok(Step::More) };
        };
        let text = &data[..end];
        let bare = |at: usize| at == 0 || text[at - 1] != b'\r';
        if end > TRAILERS_MAX || memchr::memchr_iter(b'\n', text).any(bare) {
            return Err(BadBody::Trailers);
        }
        let mut room = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
        let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(text, &mut room) else {
            return Err(BadBody::Trailers);
        };
        let mut trailers = Fields::default();
        // What frames, routes or attributes a message has no place behind it (RFC 9110, 6.5.1).
        for field in parsed.iter().filter(|field| Known::of(field.name.as_bytes()) == Known::Other) {
            trailers.push(field.name, field.value);
        }
        self.trailers = (!trailers.is_empty()).then_some(trailers);
        self.place = Place::Ended;
        Ok(Step::Skip(end))
    }

    /// So many bytes of the body were taken.
    pub fn consume(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.place = match self.place {
            Place::Exactly(left) if left == bytes => Place::Ended,
            Place::Exactly(left) => Place::Exactly(left - bytes),
            Place::Chunk(left) if left == bytes => Place::ChunkEnd,
            Place::Chunk(left) => Place::Chunk(left - bytes),
            place => place,
        };
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The body had not.
    pub fn connection_ended(&mut self) -> Result<(), BadBody> {
        match self.place {
            Place::Ended | Place::UntilClose => {
                self.place = Place::Ended;
                Ok(())
            }
            _ => Err(BadBody::BrokeOff),
        }
    }
}

/// The size in a line, without its end: hexadecimal digits, and extensions behind a semicolon.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let rest = &rest[rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()..];
    let is_extension =
        rest.first() == Some(&b';') && rest.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
    if digits == 0 || digits > 16 || !(line.len() == digits || is_extension) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

/// Writes what comes before the bytes of a chunk.
pub fn write_chunk_size(out: &mut Vec<u8>, bytes: usize) {
    let mut digits = [0; 16];
    let (mut at, mut left) = (digits.len(), bytes);
    while {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left % 16];
        left /= 16;
        left > 0
    } {}
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk, and the trailers.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    for field in trailers.iter().flat_map(|trailers| trailers.iter()) {
        field.write(out);
    }
    out.extend_from_slice(b"\r\n");
}
