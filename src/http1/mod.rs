//! HTTP/1.1 as text: heads and bodies, taken apart and put together. It reads strictly and writes plainly.
//!
//! No socket, no task and no clock in here: bytes in, meaning out. A request that two parties could read in two ways
//! is refused (RFC 9112, 11.2: request smuggling lives of what one of them tolerates). Answers come from backends
//! that the operator has chosen; they are read as strictly where it is about their length, and more kindly elsewhere.
//! The grammar of heads is [`httparse`]'s, which is widely used and fuzzed; what it tolerates beyond the standard
//! is refused here.

pub mod body;
pub mod fields;
pub mod length;
pub mod request;
pub mod response;

pub use body::{BadBody, Decoder};
pub use fields::{Field, Fields, Known};
pub use length::Length;
pub use request::{BadRequest, RequestHead};
pub use response::{BadAnswer, ResponseHead};

/// Where the head ends that `data` begins with: its length, empty line included. `searched` bytes of it were looked
/// at before, in vain.
///
/// A line feed without a carriage return ends a line here as well, so that such a head is seen, and refused, at once.
pub fn head_end(data: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(2);
    memchr::memchr_iter(b'\n', &data[from..]).find_map(|at| match data[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// Bytes of the empty lines that `data` begins with: a client may send one before a request (RFC 9112, 2.2).
pub fn empty_lines(data: &[u8]) -> usize {
    data.chunks_exact(2).take_while(|line| line == b"\r\n").count() * 2
}

#[cfg(test)]
mod tests;
