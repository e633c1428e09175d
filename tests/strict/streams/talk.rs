//! One connection of HTTP/2 for one case: its stream, and another behind it.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::harness::PATIENCE;
use super::super::talk::{Manner, last_target};
use super::case::StreamCase;
use super::wire::{self, Frame, List};

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered {
        status: u16,
        body: Vec<u8>,
    },
    /// With this error code.
    Reset(u32),
    /// The whole connection was ended, with this error code.
    GoAway(u32),
    /// Without a word.
    Closed,
    /// Nothing came for [`PATIENCE`].
    Silent,
    Garbled(String),
}

/// What came back over a connection.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) case: Outcome,
    /// Of the request behind the case; there is none if the connection has ended.
    pub(crate) last: Option<Outcome>,
}

const FIRST: u32 = 1;
const SECOND: u32 = 3;

/// Sends the case and then the last request.
pub(super) async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    case: &StreamCase,
    token: &str,
    manner: Manner,
) -> Talk {
    let sent = case.sent(token);
    let frames = if manner == Manner::Whole { 1 } else { 3 };
    let mut bytes = wire::hello();
    bytes.extend(wire::head(FIRST, &sent.head, sent.data.is_empty() && sent.trailers.is_none(), frames));
    for (number, data) in sent.data.iter().enumerate() {
        let is_end = number + 1 == sent.data.len() && sent.trailers.is_none();
        bytes.extend(wire::frame(wire::DATA, u8::from(is_end) * wire::END_STREAM, FIRST, data));
    }
    if let Some(trailers) = &sent.trailers {
        bytes.extend(wire::head(FIRST, trailers, true, frames));
    }
    let mut line = Line { stream, ahead: Vec::new() };
    line.send(&bytes, manner).await;
    let case = line.outcome(FIRST).await;
    if !matches!(case, Outcome::Answered { .. } | Outcome::Reset(_)) {
        return Talk { case, last: None };
    }
    let last: List =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", &last_target(token))]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    line.send(&wire::head(SECOND, &last, true, 1), Manner::Whole).await;
    Talk { case, last: Some(line.outcome(SECOND).await) }
}

struct Line<S> {
    stream: S,
    ahead: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// A proxy that has had enough doesn't read the rest, which is no failure: what it says tells.
    async fn send(&mut self, bytes: &[u8], manner: Manner) {
        let size = if manner == Manner::Whole || bytes.len() > 2000 { bytes.len() } else { 5 };
        for piece in bytes.chunks(size) {
            if self.stream.write_all(piece).await.is_err() || self.stream.flush().await.is_err() {
                return;
            }
        }
    }

    async fn outcome(&mut self, stream: u32) -> Outcome {
        let (mut status, mut body) = (None, Vec::new());
        loop {
            let frame = match self.frame().await {
                Ok(frame) => frame,
                Err(outcome) => return outcome,
            };
            let Frame { kind, flags, payload, .. } = frame;
            match kind {
                wire::SETTINGS | wire::PING if flags & wire::ACK == 0 => {
                    let back = if kind == wire::PING { payload.as_slice() } else { &[] };
                    self.send(&wire::frame(kind, wire::ACK, 0, back), Manner::Whole).await;
                }
                wire::GOAWAY => return Outcome::GoAway(code(&payload[4..])),
                wire::RST_STREAM if frame.stream == stream => return Outcome::Reset(code(&payload)),
                // Trailers have none, and an interim answer comes before the real one.
                wire::HEADERS if frame.stream == stream => match wire::status(&payload) {
                    Some(100..=199) => {}
                    Some(known) => status = Some(known),
                    None if status.is_none() => {
                        return Outcome::Garbled(format!("no status in {}", payload.escape_ascii()));
                    }
                    None => {}
                },
                wire::DATA if frame.stream == stream => body.extend_from_slice(&payload),
                _ => continue,
            }
            let is_end = matches!(kind, wire::HEADERS | wire::DATA) && frame.stream == stream;
            if let Some(status) = status
                && is_end
                && flags & wire::END_STREAM != 0
            {
                return Outcome::Answered { status, body };
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, Outcome> {
        loop {
            if let Some(frame) = wire::take(&mut self.ahead) {
                return Ok(frame);
            }
            match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.ahead)).await {
                Ok(Ok(1..)) => {}
                Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(Outcome::Garbled(error.to_string()));
                }
                // Bytes that the proxy didn't want turn its close into a reset.
                Ok(Ok(0) | Err(_)) => return Err(Outcome::Closed),
                Err(_) => return Err(Outcome::Silent),
            }
        }
    }
}

fn code(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes))
}
