//! What goes out over one connection of HTTP/1.1: a head and a body, as fast as the other side takes them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::inbound::BodyError;
use super::turn::Turn;
use crate::http1::{Fields, Length, body};

/// Bytes of a body that are copied behind what is to be written anyway. Copying them costs less than the longer way
/// of a vectored write.
const COPIED_MAX: usize = 4 * 1024;

/// Where a body comes from.
pub trait Source {
    /// Waits for more: how many bytes are there, 0 at the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>>;
    /// Lets `look` look at what is there.
    fn with_data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T;
    /// So many bytes were taken.
    fn consume(&mut self, bytes: usize);
    /// What came behind the body, at its end.
    fn trailers(&mut self) -> Option<Fields>;
}

/// No body.
pub struct Nothing;

impl Source for Nothing {
    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        Poll::Ready(Ok(0))
    }

    fn with_data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&[])
    }

    fn consume(&mut self, _: usize) {}

    fn trailers(&mut self) -> Option<Fields> {
        None
    }
}

/// Why writing came to no end.
#[derive(Debug)]
pub enum Stopped {
    /// The body broke off.
    Source(BodyError),
    /// The connection broke.
    Sink(io::Error),
}

/// Whom writing waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// More of the body.
    Source,
    /// The other side, to take what is there.
    Sink,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// As it is, and so many bytes of it are left.
    Exactly(u64),
    /// As it is.
    UntilClose,
    /// In chunks. Of the one begun, so many bytes are left.
    Chunked(usize),
}

/// The writing side of a connection, for one message.
#[derive(Debug)]
pub struct Outbox {
    /// What is to be written before anything else.
    text: Vec<u8>,
    written: usize,
    coding: Coding,
    source_ended: bool,
    /// Why the source ended too early. What came before is written all the same.
    broken: Option<BodyError>,
    may_copy: bool,
    has_begun: bool,
    waits_for: WaitsFor,
    turn: Turn,
}

impl Outbox {
    /// For an answer: `head`, and a body of this length.
    pub fn answer(head: Vec<u8>, length: Length) -> Self {
        let coding = match length {
            Length::Nothing => Coding::Exactly(0),
            Length::Exactly(bytes) => Coding::Exactly(bytes),
            Length::Chunked => Coding::Chunked(0),
            Length::UntilClose => Coding::UntilClose,
        };
        Self {
            text: head,
            written: 0,
            coding,
            source_ended: length == Length::Nothing,
            broken: None,
            may_copy: true,
            has_begun: false,
            waits_for: WaitsFor::Sink,
            turn: Turn::default(),
        }
    }

    /// For a request. Until something was written, nothing of the body is taken from its source: it can be written to
    /// another connection.
    pub fn request(head: Vec<u8>, length: Length) -> Self {
        Self { may_copy: false, ..Self::answer(head, length) }
    }

    /// Something was written.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whom it waits for, if it does.
    pub fn waits_for(&self) -> WaitsFor {
        self.waits_for
    }

    /// Writes as much as there is and the other side takes, and no more than is fair in one turn. Ready when all was written.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Stopped>> {
        loop {
            ready!(self.turn.poll(cx));
            let offered = match self.poll_offer(cx, source) {
                Poll::Ready(Ok(offered)) => offered,
                Poll::Ready(Err(error @ BodyError::Ended(_))) => {
                    return Poll::Ready(Err(Stopped::Source(error)));
                }
                Poll::Ready(Err(error)) => {
                    self.broken = Some(error);
                    0
                }
                Poll::Pending => 0,
            };
            let text = &self.text[self.written..];
            if text.is_empty() && offered == 0 {
                // TLS keeps back what the other side did not take at once. Who waits for more of the body must not wait
                // with that; and it is only when nothing is kept back that all was written.
                self.waits_for = WaitsFor::Sink;
                let flushed = Pin::new(&mut *sink).poll_flush(cx).map_err(Stopped::Sink)?;
                if let Some(error) = self.broken.take() {
                    return Poll::Ready(Err(Stopped::Source(error)));
                }
                ready!(flushed);
                if self.source_ended {
                    return Poll::Ready(Ok(()));
                }
                self.waits_for = WaitsFor::Source;
                return Poll::Pending;
            }
            self.waits_for = WaitsFor::Sink;
            let written = if offered == 0 {
                Pin::new(&mut *sink).poll_write(cx, text)
            } else {
                source.with_data(|data| {
                    let parts = [IoSlice::new(text), IoSlice::new(&data[..offered])];
                    Pin::new(&mut *sink).poll_write_vectored(cx, &parts)
                })
            };
            let mut written = ready!(written).map_err(Stopped::Sink)?;
            if written == 0 {
                return Poll::Ready(Err(Stopped::Sink(io::ErrorKind::WriteZero.into())));
            }
            self.turn.wrote(written);
            (self.has_begun, self.may_copy) = (true, true);
            let of_text = written.min(text.len());
            self.written += of_text;
            written -= of_text;
            if self.written == self.text.len() {
                self.text.clear();
                self.written = 0;
            }
            if written > 0 {
                self.take(source, written);
            }
        }
    }

    /// Bytes of the source to be written behind the text, once it is known what there is; 0 if there are none.
    fn poll_offer(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
    ) -> Poll<Result<usize, BodyError>> {
        while !self.source_ended && self.broken.is_none() {
            let there = ready!(source.poll_data(cx))?;
            let offered = match &mut self.coding {
                Coding::Exactly(left) => {
                    if there as u64 > *left || there == 0 && *left > 0 {
                        return Poll::Ready(Err(BodyError::Length));
                    }
                    there
                }
                Coding::UntilClose => there,
                Coding::Chunked(_) if there == 0 => {
                    let trailers = source.trailers();
                    body::write_last_chunk(&mut self.text, trailers.as_ref());
                    0
                }
                Coding::Chunked(left) => {
                    if *left == 0 {
                        body::write_chunk_size(&mut self.text, there);
                        *left = there;
                    }
                    there.min(*left)
                }
            };
            if offered == 0 {
                self.source_ended = true;
            } else if self.may_copy && self.text.len() - self.written + offered <= COPIED_MAX {
                let text = &mut self.text;
                source.with_data(|data| text.extend_from_slice(&data[..offered]));
                self.take(source, offered);
            } else {
                return Poll::Ready(Ok(offered));
            }
        }
        Poll::Ready(Ok(0))
    }

    /// So many bytes of the source are through, or copied.
    fn take(&mut self, source: &mut impl Source, bytes: usize) {
        source.consume(bytes);
        match &mut self.coding {
            Coding::Exactly(left) => {
                *left -= bytes as u64;
                // Nothing is to be expected of the source any more, and so it isn't asked.
                self.source_ended = *left == 0;
            }
            Coding::UntilClose => {}
            Coding::Chunked(left) => {
                *left -= bytes;
                if *left == 0 {
                    self.text.extend_from_slice(b"\r\n");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::turn::BYTES_A_TURN;
    use super::*;

    /// A body of which there is more as soon as some was taken.
    struct Large;

    impl Source for Large {
        fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
            Poll::Ready(Ok(64 * 1024))
        }

        fn with_data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
            look(&[b'x'; 64 * 1024])
        }

        fn consume(&mut self, _: usize) {}

        fn trailers(&mut self) -> Option<Fields> {
            None
        }
    }

    #[test]
    fn who_takes_a_large_answer_as_fast_as_it_comes_lets_others_go_in_between() {
        const TURNS: usize = 4;
        let mut cx = Context::from_waker(Waker::noop());
        let mut outbox = Outbox::answer(Vec::new(), Length::Exactly((TURNS * BYTES_A_TURN) as u64));
        let mut taken = Vec::new();
        for turn in 1..=TURNS {
            assert!(outbox.poll_write(&mut cx, &mut Large, &mut taken).is_pending(), "{turn}");
            assert_eq!(taken.len(), turn * BYTES_A_TURN);
        }
        assert!(outbox.poll_write(&mut cx, &mut Large, &mut taken).is_ready());
    }
}
