//! One connection to the proxy for one case: sends what the case says, and writes down all that comes back.

use std::io::{ErrorKind, Read, Write};

use super::case::{Case, expand};
use super::parse::{self, Answer, Stop};
use super::road::Way;

/// How the bytes are handed over. Each case is sent both ways: a reader of heads has other states in the middle of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Whole,
    Pieces,
}

/// What came back over a connection.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) interim: Vec<u16>,
    /// But for the answer to the last request.
    pub(crate) answers: Vec<Answer>,
    /// To the request that is sent behind each case, to see whether the proxy still goes on, and where.
    pub(crate) last: Option<Answer>,
    pub(crate) end: End,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The last request was answered.
    Open,
    Closed,
    /// TLS was ended without its own word for it.
    CutOff,
    /// Nothing came for [`PATIENCE`](super::harness::PATIENCE).
    Silent,
    Garbled(String),
}

/// The target of the request that is sent behind a case.
pub(crate) fn last_target(token: &str) -> String {
    format!("/{token}-last")
}

/// Sends the case, and reads to the end or to the answer of the last request.
pub(crate) fn talk(stream: Way, case: &Case, token: &str, manner: Manner) -> Talk {
    let mut line = Line { stream, ahead: Vec::new(), at_end: false, to_head: case.send.starts_with("HEAD ") };
    let talk = Talk { interim: Vec::new(), answers: Vec::new(), last: None, end: End::Open };
    line.talk(case, token, manner, talk)
}

struct Line {
    stream: Way,
    ahead: Vec<u8>,
    at_end: bool,
    to_head: bool,
}

impl Line {
    fn talk(&mut self, case: &Case, token: &str, manner: Manner, mut talk: Talk) -> Talk {
        self.send(&expand(&case.send, token), manner);
        if case.close_after_send {
            self.stream.end();
        }
        if let Some(then) = &case.then {
            match self.answer() {
                Ok(answer) if answer.status == 100 => {
                    talk.interim.push(100);
                    self.send(&expand(then, token), manner);
                }
                Ok(answer) => talk.answers.push(answer),
                Err(end) => return Talk { end, ..talk },
            }
        }
        let expected = case.requests + usize::from(!case.next_answer.is_empty());
        let target = last_target(token);
        let mut has_sent_last = case.close_after_send;
        loop {
            // An answer of the proxy's own may be the last one whatever was hoped for.
            let is_through =
                talk.answers.len() >= expected || talk.answers.last().is_some_and(|one| one.saw.is_none());
            if is_through && !has_sent_last {
                self.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes(), Manner::Whole);
                has_sent_last = true;
            }
            match self.answer() {
                Ok(answer) if matches!(answer.status, 100 | 102..=199) => talk.interim.push(answer.status),
                Ok(answer) if answer.saw.as_deref() == Some(&format!("GET {target}")) => {
                    return Talk { last: Some(answer), ..talk };
                }
                Ok(answer) => talk.answers.push(answer),
                // Who has left in the middle of its request, and is told nothing, has been cut off by nobody.
                Err(End::CutOff) if case.close_after_send && talk.answers.is_empty() => {
                    return Talk { end: End::Closed, ..talk };
                }
                Err(end) => return Talk { end, ..talk },
            }
        }
    }

    /// A proxy that has had enough doesn't read the rest, which is no failure: its answer tells.
    fn send(&mut self, bytes: &[u8], manner: Manner) {
        let size = match manner {
            Manner::Whole => bytes.len().max(1),
            Manner::Pieces if bytes.len() < 2000 => 1,
            Manner::Pieces => 997,
        };
        for piece in bytes.chunks(size) {
            if self.stream.write_all(piece).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self) -> Result<Answer, End> {
        loop {
            match parse::answer(&self.ahead, self.to_head, self.at_end) {
                Ok((length, answer)) => {
                    self.ahead.drain(..length);
                    self.to_head &= answer.status < 200;
                    return Ok(answer);
                }
                Err(Stop::Broken(why)) => return Err(End::Garbled(why)),
                Err(Stop::More) if self.at_end && self.ahead.is_empty() => return Err(End::Closed),
                Err(Stop::More) if self.at_end => {
                    return Err(End::Garbled(format!("cut: {}", self.ahead.escape_ascii())));
                }
                Err(Stop::More) => self.more()?,
            }
        }
    }

    fn more(&mut self) -> Result<(), End> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.at_end = true,
            Ok(read) => self.ahead.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(End::Silent);
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(End::CutOff),
            // Bytes that the proxy didn't want turn its close into a reset.
            Err(_) => self.at_end = true,
        }
        Ok(())
    }
}
