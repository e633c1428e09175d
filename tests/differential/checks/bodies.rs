//! Bodies: the same whatever pieces they come in and go out in.

use std::task::{Context, Poll};

use ghostpin::http1::body::Step;
use ghostpin::http1::{BadBody, Decoder, Fields, Length};
use ghostpin::proxy::inbound::BodyError;
use ghostpin::proxy::outbox::{Outbox, Source, Stopped};

use super::dice::Dice;
use super::pipe::{Manner, Outgoing, wait};

/// A body, where its bytes end in what came, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) body: Vec<u8>,
    pub(crate) end: Result<usize, BadBody>,
    pub(crate) trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a body that comes in pieces which end at `ends`, and then the rest.
pub(crate) fn read(length: Length, text: &[u8], ends: impl IntoIterator<Item = usize>) -> Read {
    let mut ends = ends.into_iter();
    let (mut decoder, mut at, mut there) = (Decoder::new(length), 0, 0);
    let mut read = Read { body: Vec::new(), end: Ok(0), trailers: Vec::new() };
    read.end = loop {
        match decoder.step(&text[at..there]) {
            Ok(Step::Data(bytes)) => {
                assert!(0 < bytes && bytes <= there - at, "{bytes} bytes of a body where {} are", there - at);
                // Whoever takes bytes may take a part of them.
                let bytes = bytes.div_ceil(2);
                read.body.extend_from_slice(&text[at..at + bytes]);
                decoder.consume(bytes);
                at += bytes;
            }
            Ok(Step::Skip(bytes)) => {
                assert!(0 < bytes && bytes <= there - at, "{bytes} bytes skipped where {} are", there - at);
                at += bytes;
            }
            Ok(Step::End) => break Ok(at),
            Ok(Step::More) if there < text.len() => {
                there = ends.next().unwrap_or(text.len()).clamp(there + 1, text.len());
            }
            Ok(Step::More) => {
                if let Err(why) = decoder.connection_ended() {
                    break Err(why);
                }
            }
            Err(why) => break Err(why),
        }
    };
    read.trailers = pairs(decoder.trailers.as_ref());
    read
}

pub(crate) fn pairs(fields: Option<&Fields>) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .into_iter()
        .flat_map(Fields::iter)
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect()
}

/// A body as it is read must not depend on the pieces it comes in; `ends` are some.
pub(crate) fn check_splits(length: Length, text: &[u8], ends: &[usize]) -> Result<Read, String> {
    let whole = read(length, text, []);
    for (how, pieces) in [
        (format!("in pieces that end at {ends:?}"), read(length, text, ends.iter().copied())),
        ("byte by byte".to_owned(), read(length, text, 1..text.len())),
    ] {
        if pieces != whole {
            return Err(format!("{length:?} {how} is {pieces:?}\nand whole it is {whole:?}"));
        }
    }
    if let Ok(end) = whole.end {
        let short = read(length, &text[..end], []);
        if short != whole {
            return Err(format!("{length:?} without what follows it is {short:?}\nand with it {whole:?}"));
        }
    }
    Ok(whole)
}

/// A body that comes in pieces, with pauses.
pub(crate) struct Given<'a> {
    left: &'a [u8],
    /// Behind the body there may be something else already.
    bytes: usize,
    there: usize,
    trailers: Option<Fields>,
    manner: Manner,
}

impl<'a> Given<'a> {
    /// The first `bytes` of `text`.
    pub(crate) fn new(text: &'a [u8], bytes: usize, trailers: Option<Fields>, manner: Manner) -> Self {
        Self { left: text, bytes, there: 0, trailers, manner }
    }
}

impl Source for Given<'_> {
    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        // More may have come since somebody was told what there is, and has not taken it.
        let coming = self.bytes - self.there;
        if coming > 0 {
            match self.manner.portion(coming) {
                Some(bytes) => self.there += bytes,
                None if self.there == 0 => return Poll::Pending,
                None => {}
            }
        }
        Poll::Ready(Ok(self.there))
    }

    fn with_data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(self.left)
    }

    fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.there, "{bytes} bytes taken of {}", self.there);
        self.left = &self.left[bytes..];
        self.there -= bytes;
        self.bytes -= bytes;
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }
}

/// What comes out of an outbox.
pub(crate) fn send(
    mut outbox: Outbox,
    source: &mut impl Source,
    manner: Manner,
) -> (Vec<u8>, Result<(), Stopped>) {
    let mut sink = Outgoing::new(manner);
    let sent = wait(|cx| outbox.poll_write(cx, source, &mut sink));
    (sink.taken, sent)
}

/// What an outbox writes is read as the body that its source has had, and as no more than was announced.
pub(crate) fn check_outbox(body: &[u8], trailers: Option<&Fields>, dice: &mut Dice) -> Result<(), String> {
    const HEAD: &[u8] = b"the head\r\n\r\n";
    const BEHIND: &[u8] = b"GET /behind HTTP/1.1\r\n";
    let text = [body, BEHIND].concat();
    let exactly = if body.is_empty() { Length::Nothing } else { Length::Exactly(body.len() as u64) };
    for length in [Length::Chunked, exactly, Length::UntilClose] {
        let outbox = if dice.one_in(2) { Outbox::request } else { Outbox::answer };
        let outbox = outbox(HEAD.to_vec(), length);
        let mut source = Given::new(&text, body.len(), trailers.cloned(), Manner::any(dice));
        let (written, sent) = send(outbox, &mut source, Manner::any(dice));
        let Some(coded) = written.strip_prefix(HEAD).filter(|_| sent.is_ok()) else {
            return Err(format!("{length:?}: {sent:?} after {}", written.escape_ascii()));
        };
        let read = read(length, coded, []);
        let trailers = if length == Length::Chunked { pairs(trailers) } else { Vec::new() };
        let expected = Read { body: body.to_vec(), end: Ok(coded.len()), trailers };
        if read != expected {
            return Err(format!("{length:?}: {} is {read:?}, not {expected:?}", coded.escape_ascii()));
        }
    }
    // A source that does not keep to what was announced.
    let announced = 1 + dice.roll(body.len() + 2);
    if announced != body.len() {
        let mut source = Given::new(&text, body.len(), None, Manner::any(dice));
        let outbox = Outbox::answer(Vec::new(), Length::Exactly(announced as u64));
        let (written, sent) = send(outbox, &mut source, Manner::any(dice));
        let is_prefix = body.starts_with(&written) && written.len() <= announced;
        if !is_prefix || sent.is_ok() != (written.len() == announced) {
            let of = body.escape_ascii();
            return Err(format!("{announced} announced, {sent:?}: {} of {of}", written.escape_ascii()));
        }
    }
    Ok(())
}
