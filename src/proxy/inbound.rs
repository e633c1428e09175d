//! What comes in over one connection of HTTP/1.1: heads, and bodies as far as they have come.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncRead;

use super::buffer::Buffer;
use crate::http1::{self, BadBody, Decoder, Fields, Length, body::Step};

/// Bytes of a body that are read ahead of the other side.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The reading side of a connection.
#[derive(Debug, Default)]
pub struct Inbound {
    buffer: Buffer,
    /// Bytes of the buffer in which no end of a head was found.
    searched: usize,
    body: Decoder,
}

/// A body that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no body.
    #[error(transparent)]
    Bad(#[from] BadBody),
    /// hyper says why.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// It was longer or shorter than was said before.
    #[error("its length is not the one that was announced")]
    Length,
    /// The flight was ended.
    #[error("it was ended by the proxy: {0:?}")]
    Ended(super::flight::Ended),
}

impl Inbound {
    /// What was read and not taken.
    pub fn data(&self) -> &[u8] {
        self.buffer.data()
    }

    /// So many bytes were taken that were no part of a head or a body.
    pub fn skip(&mut self, bytes: usize) {
        self.searched = self.searched.saturating_sub(bytes);
        self.buffer.consume(bytes);
    }

    /// Takes the head that is in whole at the beginning, if there is one, and lets `read` read it.
    pub fn head<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let Some(end) = http1::head_end(self.buffer.data(), self.searched) else {
            self.searched = self.buffer.data().len();
            return None;
        };
        let head = read(&self.buffer.data()[..end]);
        self.searched = 0;
        self.buffer.consume(end);
        Some(head)
    }

    /// Reads once more: how many bytes came, 0 at the end. It holds no more than about `max`.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        max: usize,
    ) -> Poll<io::Result<usize>> {
        self.buffer.poll_fill(cx, from, max)
    }

    /// After a head, a body of this length begins.
    pub fn begin_body(&mut self, length: Length) {
        self.body = Decoder::new(length);
    }

    /// Nothing of a body is to come.
    pub fn body_has_ended(&self) -> bool {
        self.body.has_ended()
    }

    /// Waits for more of the body: how many bytes of it [`Self::data`] begins with, 0 at its end.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<Result<usize, BodyError>> {
        loop {
            match self.body.step(self.buffer.data())? {
                Step::Data(bytes) => return Poll::Ready(Ok(bytes)),
                Step::Skip(bytes) => self.buffer.consume(bytes),
                Step::End => return Poll::Ready(Ok(0)),
                Step::More => {
                    if ready!(self.buffer.poll_fill(cx, from, BODY_BYTES_MAX))? == 0 {
                        self.body.connection_ended()?;
                    }
                }
            }
        }
    }

    /// So many bytes of the body were taken.
    pub fn consume_body(&mut self, bytes: usize) {
        self.buffer.consume(bytes);
        self.body.consume(bytes);
    }

    /// The trailers of the body that has ended.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.body.trailers.take()
    }

    /// Keeps no memory while nothing is there.
    pub fn rest(&mut self) {
        self.buffer.rest();
    }
}
