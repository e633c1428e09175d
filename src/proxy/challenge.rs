//! The one request that ghostpin answers itself: a certificate authority looks whether a name leads here (RFC 8555, 8.3).
//!
//! Only for tokens of orders that are under way. All else below the path is the site's, which may have an ACME client of
//! its own.

use http::{Method, StatusCode};

use super::{Answer, Body};
use crate::acme::{CHALLENGE_PATH, Challenges};
use crate::http1::{RequestHead, ResponseHead};

/// The answer, if the request is for a token that is known. All other requests cost a look at their first bytes.
pub(super) fn answer(challenges: &Challenges, head: &RequestHead) -> Option<Answer> {
    let token = head.path_and_query_bytes().strip_prefix(CHALLENGE_PATH.as_bytes())?;
    if head.method != Method::GET && head.method != Method::HEAD {
        return None;
    }
    let body = challenges.http01(std::str::from_utf8(token).ok()?)?;
    let mut answer = ResponseHead::new(StatusCode::OK);
    answer.fields.push("content-type", b"application/octet-stream");
    answer.fields.push("cache-control", b"no-store");
    answer.fields.push("content-length", body.len().to_string().as_bytes());
    let body = if head.method == Method::HEAD { Vec::new() } else { body.as_bytes().to_vec() };
    Some(Answer { head: answer, body: Body::Whole(body), close: false })
}
