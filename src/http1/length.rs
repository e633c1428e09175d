//! How long a body is: the rules of RFC 9112, 6.3, in one place for both directions.

use http::{Method, StatusCode, Version};

use super::fields::{Fields, Known};
use super::request::BadRequest;
use super::response::BadAnswer;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    Nothing,
    /// This many bytes; not 0.
    Exactly(u64),
    /// It says so itself, in chunks.
    Chunked,
    /// It ends with the connection. Only answers do.
    UntilClose,
}

/// How long the body of a request with these fields is.
pub(super) fn of_request(fields: &Fields, version: Version) -> Result<Length, BadRequest> {
    if fields.has(Known::TransferEncoding) {
        let chunked =
            fields.get(Known::TransferEncoding).is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !chunked || fields.has_several(Known::TransferEncoding) || version != Version::HTTP_11 {
            return Err(BadRequest::UnknownCoding);
        }
        // Whoever sends both may have sent them for two different readers.
        if fields.has(Known::ContentLength) {
            return Err(BadRequest::LengthAndCoding);
        }
        return Ok(Length::Chunked);
    }
    let Some(value) = fields.get(Known::ContentLength) else { return Ok(Length::Nothing) };
    if fields.has_several(Known::ContentLength) {
        return Err(BadRequest::NotALength);
    }
    number(value).map(Length::of).ok_or(BadRequest::NotALength)
}

/// How long the body of an answer with these fields is.
pub(super) fn of_answer(
    fields: &Fields,
    version: Version,
    status: StatusCode,
    asked: &Method,
) -> Result<Length, BadAnswer> {
    let never = status.is_informational() || matches!(status.as_u16(), 204 | 304);
    if never || *asked == Method::HEAD {
        return Ok(Length::Nothing);
    }
    if fields.has(Known::TransferEncoding) {
        let chunked =
            fields.get(Known::TransferEncoding).is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !chunked || fields.has_several(Known::TransferEncoding) || version != Version::HTTP_11 {
            return Err(BadAnswer::UnknownCoding);
        }
        // The coding rules; a length beside it is that of something else.
        return Ok(Length::Chunked);
    }
    let mut lengths = fields.all(Known::ContentLength).map(number);
    let Some(first) = lengths.next() else { return Ok(Length::UntilClose) };
    let same = lengths.all(|other| other == first);
    first.filter(|_| same).map(Length::of).ok_or(BadAnswer::NotALength)
}

impl Length {
    fn of(bytes: u64) -> Self {
        if bytes == 0 { Self::Nothing } else { Self::Exactly(bytes) }
    }
}

/// A number of digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
