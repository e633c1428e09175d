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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &str) -> RequestHead {
        RequestHead::parse(format!("{request} HTTP/1.1\r\nhost: a.example\r\n\r\n").as_bytes(), 10).unwrap()
    }

    #[test]
    fn only_known_tokens_are_answered() {
        let challenges = Challenges::default();
        let _answering = challenges.answer_http01("token", "token.thumb");
        let answered = |request: &str| answer(&challenges, &asked(request)).map(|answer| answer.body);
        let body = answered("GET /.well-known/acme-challenge/token");
        assert!(matches!(body, Some(Body::Whole(bytes)) if bytes == b"token.thumb"));
        assert!(
            matches!(answered("HEAD /.well-known/acme-challenge/token"), Some(Body::Whole(bytes)) if bytes.is_empty())
        );
        for other in [
            "GET /",
            "GET /.well-known/acme-challenge/",
            "GET /.well-known/acme-challenge/other",
            "POST /.well-known/acme-challenge/token",
            "GET /blog/.well-known/acme-challenge/token",
        ] {
            assert!(answered(other).is_none(), "{other}");
        }
    }
}
