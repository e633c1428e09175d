//! The head of an answer.

use std::mem::MaybeUninit;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::fields::{Fields, Known, Span};
use super::length::{self, Length};

/// Most fields of an answer.
const FIELDS_MAX: usize = 128;

/// Why an answer of a backend is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is no HTTP.
    #[error("it is not well-formed HTTP: {0}")]
    NotHttp(httparse::Error),
    /// Its status is no status.
    #[error("its status is not one of three digits")]
    NotAStatus,
    /// Its head is larger than any that is accepted.
    #[error("its head is larger than {} KiB", super::response::HEAD_BYTES_MAX / 1024)]
    TooLarge,
    /// Its length is no number, or more than one.
    #[error("its Content-Length is not one number")]
    NotALength,
    /// A transfer coding other than `chunked`.
    #[error("its Transfer-Encoding is not chunked")]
    UnknownCoding,
}

/// Largest head of an answer, in bytes.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Its status.
    pub status: StatusCode,
    /// The version that the backend speaks.
    pub version: Version,
    /// Its fields.
    pub fields: Fields,
    reason: Option<Span>,
}

impl ResponseHead {
    /// A head made here, without fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, version: Version::HTTP_11, fields: Fields::default(), reason: None }
    }

    /// Reads a head: all of it, with its empty line.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(head: &[u8]) -> Result<Self, BadAnswer> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut parsed, head, &mut room)
            .map_err(BadAnswer::NotHttp)?;
        let code = parsed.code.ok_or(BadAnswer::NotAStatus)?;
        let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let reason = parsed.reason.filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| Span::of(reason.as_bytes(), head));
        let fields = Fields::parsed(head, parsed.headers);
        let status = StatusCode::from_u16(code).map_err(|_| BadAnswer::NotAStatus)?;
        Ok(Self { status, version, fields, reason })
    }

    /// The words after the status.
    pub fn reason(&self) -> &[u8] {
        match self.reason {
            Some(span) => self.fields.text(span),
            None => self.status.canonical_reason().unwrap_or_default().as_bytes(),
        }
    }

    /// How long the body is of this answer to a request of the method `asked`.
    ///
    /// # Errors
    /// It can't be told.
    pub fn length(&self, asked: &Method) -> Result<Length, BadAnswer> {
        length::of_answer(&self.fields, self.version, self.status, asked)
    }

    /// Whether the backend takes another request on the connection, as far as it says.
    pub fn keeps_alive(&self) -> bool {
        // `close` comes first: beside it, `keep-alive` says nothing (RFC 9112, 9.3).
        if self.fields.lists(Known::Connection, "close") {
            return false;
        }
        if self.version == Version::HTTP_10 {
            return self.fields.lists(Known::Connection, "keep-alive");
        }
        // A length beside a coding: nobody knows what follows such an answer (RFC 9112, 6.1).
        let doubtful = self.fields.has(Known::TransferEncoding) && self.fields.has(Known::ContentLength);
        !doubtful
    }

    /// How long the backend says that it keeps an idle connection: `timeout` of a `Keep-Alive` field, in whole seconds.
    pub fn idle_timeout(&self) -> Option<Duration> {
        let mut values = self.fields.members(Known::KeepAlive).filter_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse().ok()).flatten()
        });
        values.next().map(Duration::from_secs)
    }
}
