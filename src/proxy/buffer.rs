//! Memory for what was read and not yet passed on. An idle connection has none.
//!
//! Each thread keeps a few buffers for the next who needs one, so that a request allocates none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of a buffer: more than nearly every head, and most pages.
const USUAL: usize = 16 * 1024;
/// Bytes of a buffer in which a little waits for more: a slow client keeps no more memory than that.
const LITTLE: usize = 1024;
/// Bytes of a buffer through which a large body runs: what the kernel has by then is taken in one step.
const LARGE: usize = 64 * 1024;
/// Buffers of these sizes that a thread keeps: 2 MiB at most. A new one would have to be cleared, which takes longer than
/// sending a page.
const SPARE_USUAL_MAX: usize = 64;
const SPARE_LARGE_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { usual: Vec::new(), large: Vec::new() }) };
}

struct Spare {
    usual: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
}

impl Spare {
    /// Those of a size that is kept, and how many of them at most.
    fn of(&mut self, bytes: usize) -> Option<(&mut Vec<Box<[u8]>>, usize)> {
        match bytes {
            USUAL => Some((&mut self.usual, SPARE_USUAL_MAX)),
            LARGE => Some((&mut self.large, SPARE_LARGE_MAX)),
            _ => None,
        }
    }
}

/// Bytes read, from the first that was not taken yet.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Empty if nothing is in it: it is fetched when something is about to be. Small while little of a client waits for
    /// the rest.
    room: Box<[u8]>,
    start: usize,
    end: usize,
    /// The last read has filled it: if this goes on, more room pays. What nobody takes is given none.
    was_filled: bool,
}

impl Buffer {
    /// What is in it.
    pub fn data(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// So many bytes of it were taken.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once, and returns how many bytes came: 0 at the end. It never holds more than `max` bytes or a little more;
    /// who calls it when it does has a limit of his own to enforce.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        max: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room(max);
        let mut space = ReadBuf::new(&mut self.room[self.end..]);
        let read = Pin::new(from).poll_read(cx, &mut space);
        let filled = space.filled().len();
        self.was_filled = space.remaining() == 0;
        self.end += filled;
        if self.is_empty() {
            self.give_back();
        } else if read.is_pending() && self.room.len() == USUAL && self.data().len() <= LITTLE {
            self.resize(LITTLE);
        }
        read.map_ok(|()| filled)
    }

    fn make_room(&mut self, max: usize) {
        if self.room.is_empty() {
            self.room = room_of(USUAL);
        } else if self.room.len() < USUAL {
            self.resize(USUAL);
        } else if self.was_filled && self.room.len() < LARGE && max >= LARGE {
            self.resize(LARGE);
        } else if self.end == self.room.len() {
            if self.start > 0 {
                self.room.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.resize((self.room.len() * 2).min(max.max(self.room.len() + USUAL)));
            }
        }
    }

    /// Moves what is in it to a buffer of so many bytes.
    fn resize(&mut self, bytes: usize) {
        let mut room = room_of(bytes);
        let data = self.end - self.start;
        room[..data].copy_from_slice(self.data());
        self.give_back();
        (self.room, self.end) = (room, data);
    }

    /// Gives the memory to the next who needs some.
    fn give_back(&mut self) {
        let room = std::mem::take(&mut self.room);
        (self.start, self.end) = (0, 0);
        // A thread that ends keeps nothing.
        let _ = SPARE.try_with(|spare| match spare.borrow_mut().of(room.len()) {
            Some((kept, max)) if kept.len() < max => kept.push(room),
            _ => drop(room),
        });
    }

    /// Its memory goes to the next who needs some, if nothing is in it.
    pub fn rest(&mut self) {
        if self.is_empty() {
            self.give_back();
        }
    }
}

/// Memory of so many bytes, used before if there is some.
fn room_of(bytes: usize) -> Box<[u8]> {
    let used = SPARE.with_borrow_mut(|spare| spare.of(bytes).and_then(|(kept, _)| kept.pop()));
    used.unwrap_or_else(|| vec![0; bytes].into())
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, mut from: &[u8], max: usize) -> usize {
        match buffer.poll_fill(&mut Context::from_waker(std::task::Waker::noop()), &mut from, max) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    /// Nothing comes, and nothing ends.
    struct Never;

    impl AsyncRead for Never {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn what_is_read_comes_out_in_order_whatever_was_taken_before() {
        let mut buffer = Buffer::default();
        let sent: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        let (mut sent_at, mut taken) = (0, Vec::new());
        while taken.len() < sent.len() {
            sent_at += fill(&mut buffer, &sent[sent_at..(sent_at + 10_007).min(sent.len())], LARGE);
            let take = (buffer.data().len() / 2).max(1).min(buffer.data().len());
            taken.extend_from_slice(&buffer.data()[..take]);
            buffer.consume(take);
        }
        assert_eq!(taken, sent);
    }

    #[test]
    fn an_empty_buffer_has_no_memory() {
        let mut buffer = Buffer::default();
        assert_eq!(fill(&mut buffer, b"", USUAL), 0);
        assert!(buffer.room.is_empty());
        assert_eq!(fill(&mut buffer, b"abc", USUAL), 3);
        buffer.consume(3);
        buffer.rest();
        assert!(buffer.room.is_empty());
    }

    #[test]
    fn what_waits_for_more_keeps_little_memory_and_loses_nothing() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut buffer, mut sent) = (Buffer::default(), Vec::new());
        // Never ready for long, like a client that sends a little now and then.
        for size in [1, 300, 700, 300, 20_000, 1] {
            let piece = vec![u8::try_from(sent.len() % 251).unwrap(); size];
            let mut from = piece.as_slice();
            while !from.is_empty() {
                let read = fill(&mut buffer, from, LARGE);
                from = &from[read..];
            }
            sent.extend_from_slice(&piece);
            let mut nothing = Never;
            assert!(buffer.poll_fill(&mut cx, &mut nothing, LARGE).is_pending());
            assert_eq!(buffer.data(), sent);
            assert_eq!(buffer.room.len() <= LITTLE, sent.len() <= LITTLE, "{} bytes", sent.len());
        }
    }

    #[test]
    fn more_room_is_given_when_more_is_taken() {
        let (mut buffer, sent) = (Buffer::default(), vec![1; 10 * LARGE]);
        assert_eq!(fill(&mut buffer, &sent, LARGE), USUAL);
        assert_eq!(buffer.room.len(), USUAL, "nobody has taken any of it yet");
        buffer.consume(USUAL);
        assert_eq!(fill(&mut buffer, &sent, LARGE), LARGE);
    }

    #[test]
    fn memory_is_used_again_and_a_thread_keeps_no_more_than_2_mib() {
        for bytes in [USUAL, LARGE] {
            let mut one = Buffer { room: room_of(bytes), ..Buffer::default() };
            let at = one.room.as_ptr();
            one.give_back();
            let next = room_of(bytes);
            assert_eq!(next.as_ptr(), at);
        }
        for bytes in [USUAL, LARGE, LITTLE, 3 * USUAL] {
            let many: Vec<Buffer> =
                (0..100).map(|_| Buffer { room: room_of(bytes), ..Buffer::default() }).collect();
            drop(many);
        }
        let kept: usize =
            SPARE.with_borrow(|spare| spare.usual.iter().chain(&spare.large).map(|room| room.len()).sum());
        assert_eq!(kept, 2 << 20);
    }

    #[test]
    fn it_grows_no_further_than_it_is_let() {
        let mut buffer = Buffer::default();
        let sent = vec![1; 10 * LARGE];
        while buffer.data().len() < 2 * LARGE {
            assert!(fill(&mut buffer, &sent, 2 * LARGE) > 0);
        }
        assert!(buffer.room.len() <= 2 * LARGE + USUAL, "{}", buffer.room.len());
    }
}
