//! The two ends of a connection that has no socket: what comes, in pieces and with pauses, and what takes as little as it
//! likes. Nothing waits for anything else here, so who is told to wait is simply asked again.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dice::Dice;

/// Polls of one thing before it is said to hang. hyper gives way now and then, and pauses are thrown by dice; neither
/// comes near it.
const POLLS_MAX: u32 = 10_000_000;

/// Asks until there is an answer.
pub(crate) fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(ready) = poll(&mut cx) {
            return ready;
        }
    }
    panic!("nothing has come of it after {POLLS_MAX} polls");
}

/// How bytes are handed over.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// As many at once as there is room for.
    Whole,
    /// In pieces of no more than so many bytes, with pauses.
    Pieces(usize, Dice),
}

impl Manner {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        let largest = *dice.pick(&[&1, &2, &7, &40, &400, &6000]);
        Self::Pieces(largest, Dice::new(dice.next()))
    }

    /// How many of `there` bytes, which are some, go now; `None` is a pause.
    pub(crate) fn portion(&mut self, there: usize) -> Option<usize> {
        match self {
            Self::Whole => Some(there),
            Self::Pieces(largest, dice) => {
                let pauses = dice.one_in(5);
                (!pauses).then(|| 1 + dice.roll((*largest).min(there)))
            }
        }
    }
}

/// What comes over a connection, and its end. What is written to it is nobody's concern.
pub(crate) struct Incoming<'a> {
    left: &'a [u8],
    manner: Manner,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(data: &'a [u8], manner: Manner) -> Self {
        Self { left: data, manner }
    }

    fn next(&mut self, room: usize) -> Poll<&'a [u8]> {
        if self.left.is_empty() || room == 0 {
            return Poll::Ready(&[]);
        }
        let Some(bytes) = self.manner.portion(self.left.len().min(room)) else { return Poll::Pending };
        let (piece, left) = self.left.split_at(bytes);
        self.left = left;
        Poll::Ready(piece)
    }
}

impl AsyncRead for Incoming<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.next(room.remaining()).map(|piece| {
            room.put_slice(piece);
            Ok(())
        })
    }
}

impl hyper::rt::Read for Incoming<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.next(room.remaining()).map(|piece| {
            room.put_slice(piece);
            Ok(())
        })
    }
}

impl hyper::rt::Write for Incoming<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What takes bytes, and keeps them.
pub(crate) struct Outgoing {
    pub(crate) taken: Vec<u8>,
    manner: Manner,
}

impl Outgoing {
    pub(crate) fn new(manner: Manner) -> Self {
        Self { taken: Vec::new(), manner }
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = parts.iter().flat_map(|part| part.iter().copied());
        let there: usize = parts.iter().map(|part| part.len()).sum();
        assert!(there > 0, "nothing was offered: a socket would say 0, and that is taken for its end");
        let Some(bytes) = this.manner.portion(there) else { return Poll::Pending };
        this.taken.extend(all.take(bytes));
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
