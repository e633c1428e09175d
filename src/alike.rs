//! Requests that are alike, and answers that do for all of them.
//!
//! An application that has just started makes some fifty pages a second, and a thousand readers wait for the same one.
//! Where a shared cache might give each of them one and the same answer (RFC 9111, 3 and 4), and every request of the
//! application's own would have got that, they are given it here: made after the last of them had come, and kept for
//! nobody who comes later. This file decides which requests and answers those are; [`crate::core::turns`], who goes
//! for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::http1::fields::members;
use crate::http1::{Known, Length, RequestHead, ResponseHead};

/// Most bytes of the body of an answer that does for more than one request. Pages are smaller, and what is larger would be
/// kept in memory for the slowest of its readers.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Fields of a request that an answer may depend on. They are part of what makes requests alike.
const TOLD_APART_BY: [&str; 10] = [
    "accept",
    "accept-encoding",
    "cf-ipcountry",
    "cf-visitor",
    "forwarded",
    "if-modified-since",
    "if-none-match",
    "origin",
    "x-forwarded-host",
    "x-forwarded-proto",
];
/// Fields that say something of the reader or of the way to here, and that no public answer depends on: what browsers send, and
/// balancers add. A request with any other is like nobody. Else whoever knows of one that the application heeds in secret
/// could have everybody be given what he has asked for.
const OF_NO_MATTER: [&str; 19] = [
    "accept-language",
    "cdn-loop",
    "cf-connecting-ip",
    "cf-ray",
    "connection",
    "dnt",
    "host",
    "keep-alive",
    "priority",
    "proxy-connection",
    "referer",
    "save-data",
    "te",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];
/// How others begin that browsers send.
const OF_BROWSERS: [&str; 2] = ["sec-ch-", "sec-fetch-"];
/// What an answer says that must not be given to another request, or not without asking again.
const NOT_FOR_ALL: [&str; 5] = ["no-cache", "no-store", "private", "must-revalidate", "proxy-revalidate"];
/// Answers that may be kept unless they say otherwise (RFC 9110, 15.1), without those of which only a part is there.
const STATUSES: [StatusCode; 7] = [
    StatusCode::OK,
    StatusCode::NO_CONTENT,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::NOT_MODIFIED,
    StatusCode::PERMANENT_REDIRECT,
    StatusCode::NOT_FOUND,
    StatusCode::GONE,
];

/// What makes requests of one site alike: the same page, wanted in the same form, by nobody in particular.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Likeness(Box<[u8]>);

impl Likeness {
    /// `None` if this request can have no answer but its own. `is_harmless` knows the names of cookies that no page
    /// depends on.
    pub fn of(head: &RequestHead, is_secure: bool, is_harmless: impl Fn(&[u8]) -> bool) -> Option<Self> {
        if head.method != Method::GET || head.length != Length::Nothing {
            return None;
        }
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(if is_secure { b"https\n" } else { b"http\n" });
        text.extend(head.host_bytes().iter().map(u8::to_ascii_lowercase));
        text.push(b'\n');
        text.extend_from_slice(head.path_and_query_bytes());
        for field in head.fields.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
            if let Some(name) = TOLD_APART_BY.into_iter().find(|name| is(name)) {
                text.push(b'\n');
                text.extend_from_slice(name.as_bytes());
                text.push(b' ');
                text.extend_from_slice(field.value);
                continue;
            }
            let begins = |name: &str| {
                field.name.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name.as_bytes()))
            };
            let is_of_no_matter = match field.known {
                Known::Cookie => cookies(field.value).all(&is_harmless),
                // A page that is loaded again by hand. What is asked for was made after that.
                _ if is("cache-control") => {
                    members(field.value).all(|wish| wish.eq_ignore_ascii_case("max-age=0"))
                }
                _ => OF_NO_MATTER.into_iter().any(is) || OF_BROWSERS.into_iter().any(begins),
            };
            if !is_of_no_matter {
                return None;
            }
        }
        Some(Self(text.into()))
    }
}

/// The names of the cookies in one field.
fn cookies(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split(|&byte| byte == b'=').next().unwrap_or(pair).trim_ascii_end())
}

/// Whether an answer does for all requests that are alike.
pub fn is_for_all(answer: &ResponseHead) -> bool {
    let (mut is_public, mut is_for_one) = (false, !STATUSES.contains(&answer.status));
    for field in answer.fields.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        if is("cache-control") {
            for directive in members(field.value) {
                let name = directive.split('=').next().unwrap_or(directive).trim_end();
                is_public |= name.eq_ignore_ascii_case("public");
                is_for_one |= NOT_FOR_ALL.iter().any(|no| name.eq_ignore_ascii_case(no));
            }
        } else if is("vary") {
            let is_told_apart =
                |named: &str| TOLD_APART_BY.iter().any(|name| named.eq_ignore_ascii_case(name));
            is_for_one |= !members(field.value).all(is_told_apart);
        }
        // With an age, it was made before it was asked for: a cache behind this proxy had it.
        is_for_one |= ["set-cookie", "content-range", "pragma", "age"].into_iter().any(is);
    }
    is_public && !is_for_one
}

/// An answer that does for all. It is kept as long as one of its readers has not had all of it.
#[derive(Debug)]
pub struct Shared {
    /// Status and fields.
    pub head: ResponseHead,
    /// How its length was told.
    pub length: Length,
    /// All of its body, kept in a [`Room`].
    pub body: Bytes,
}

impl Shared {
    /// For others than the one that it was made for.
    pub fn new(mut head: ResponseHead, length: Length, body: Bytes) -> Self {
        // It was asked for after all of them had come (RFC 9111, 5.1).
        head.fields.push("age", b"0");
        Self { head, length, body }
    }
}

/// Bytes of answers that may be kept at once, and how many are.
#[derive(Debug, Default)]
pub struct Rooms {
    taken: AtomicUsize,
}

/// A part of it, given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    of: Arc<Rooms>,
    bytes: usize,
}

impl Rooms {
    /// For all answers together.
    const BYTES_MAX: usize = 64 * BODY_BYTES_MAX;

    /// Room for one more answer, as large as any may be.
    pub fn take(self: &Arc<Self>) -> Option<Room> {
        let before = self.taken.fetch_add(BODY_BYTES_MAX, Ordering::Relaxed);
        let room = Room { of: self.clone(), bytes: BODY_BYTES_MAX };
        (before + BODY_BYTES_MAX <= Self::BYTES_MAX).then_some(room)
    }
}

impl Room {
    /// How many bytes there is room for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps these, which are no more than there is room for, and gives back the rest. Whoever has some of them keeps them
    /// there, be it the one who asked or one of those who are given the same.
    pub fn keep(mut self, kept: Vec<u8>) -> Bytes {
        debug_assert!(kept.len() <= self.bytes);
        let rest = self.bytes.saturating_sub(kept.len());
        self.of.taken.fetch_sub(rest, Ordering::Relaxed);
        self.bytes -= rest;
        Bytes::from_owner(Kept { bytes: kept.into_boxed_slice(), _room: self })
    }
}

/// What is kept, and where.
struct Kept {
    bytes: Box<[u8]>,
    _room: Room,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
