//! Every answer that ghostpin gives by itself: refusals and failures, in one list.
//!
//! One match says for each of them its status, when to come again, and its words for people, metrics and logs. The
//! body is made for who asked: a page for a browser, which reloads itself if it may, and a problem document
//! (RFC 9457) for everybody else. None of them may be kept in a cache, and none says more of a backend than that
//! there is one.

use std::borrow::Cow;

use http::{Method, StatusCode};
use serde::Serialize;

use super::{Answer, Body};
use crate::config::Pages;
use crate::core::retry;
use crate::http1::{BadRequest, Known, RequestHead, ResponseHead};

/// Why a request is not answered by a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No site has this host.
    UnknownHost,
    /// The site was removed while the request waited for it, and no other has its host.
    SiteRemoved,
    /// The request was held until its deadline.
    HeldTooLong,
    /// As many requests are held as may be.
    TooManyHeld,
    /// The gate is shut, and requests like this one are never held.
    GateShut,
    /// Nothing of the request could be given to a backend, however often it was tried.
    NoBackend,
    /// The request may change something, and may have: the backend was given it, and gave no answer.
    OutcomeUnknown,
    /// The same, for a request that the application sends again by itself if it is told 503, and never again if it is
    /// told 502.
    OutcomeUnknownWillRepeat,
    /// The backend broke off, or what it sent was no answer.
    BackendBroken,
    /// The backend did not begin to answer in time.
    FirstByteTimeout,
    /// The client's body stood still for too long.
    BodyTimeout,
    /// The host is none of those that the connection's certificate is for.
    Misdirected,
    /// The head of the request can't be accepted.
    BadRequest(BadRequest),
    /// This process is about to end.
    Stopping,
}

/// What there is to say about one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its label in metrics and its word in the access log.
    pub label: &'static str,
    /// When to come again, in seconds.
    pub retry_after_s: Option<u32>,
    /// Whether the connection should not be used any more.
    pub close: bool,
    title: &'static str,
    message: &'static str,
}

impl Refusal {
    /// All there are but bad requests.
    const OTHERS: [Self; 13] = [
        Self::UnknownHost,
        Self::SiteRemoved,
        Self::HeldTooLong,
        Self::TooManyHeld,
        Self::GateShut,
        Self::NoBackend,
        Self::OutcomeUnknown,
        Self::OutcomeUnknownWillRepeat,
        Self::BackendBroken,
        Self::FirstByteTimeout,
        Self::BodyTimeout,
        Self::Misdirected,
        Self::Stopping,
    ];

    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OTHERS.into_iter().chain(BadRequest::ALL.map(Self::BadRequest))
    }

    /// The one list.
    pub fn words(self) -> Words {
        let words = |status, label, title, message| Words {
            status,
            label,
            retry_after_s: None,
            close: false,
            title,
            message,
        };
        // Nothing of such a request was given to a backend, so it may come again.
        let again = |retry_after_s, label, title, message| Words {
            retry_after_s: Some(retry_after_s),
            ..words(StatusCode::SERVICE_UNAVAILABLE, label, title, message)
        };
        let closing = |words| Words { close: true, ..words };
        const MOMENT: &str = "One moment, please";
        const BROKEN: &str = "The site did not answer properly";
        match self {
            Self::UnknownHost => words(
                StatusCode::NOT_FOUND,
                "unknown_host",
                "No such site",
                "There is no site with this name here.",
            ),
            Self::SiteRemoved => words(
                StatusCode::NOT_FOUND,
                "site_removed",
                "No such site",
                "There is no site with this name here any more. Your request was not carried out.",
            ),
            Self::HeldTooLong => again(
                5,
                "held_too_long",
                MOMENT,
                "The site is being restarted, and this takes longer than usual. Your request was not carried out.",
            ),
            Self::TooManyHeld => again(
                5,
                "too_many_held",
                MOMENT,
                "The site is being restarted, and many are waiting for it. Your request was not carried out.",
            ),
            Self::GateShut => again(
                5,
                "gate_shut",
                MOMENT,
                "The site is being restarted. Your request was not carried out; please send it again.",
            ),
            Self::NoBackend => again(
                5,
                "no_backend",
                MOMENT,
                "The site can't be reached right now. Your request was not carried out.",
            ),
            Self::OutcomeUnknown => words(
                StatusCode::BAD_GATEWAY,
                "outcome_unknown",
                "The outcome is unknown",
                "The site was given your request and stopped before it answered. The request may or may not have \
                 taken effect: please look before you send it again.",
            ),
            Self::OutcomeUnknownWillRepeat => again(
                5,
                "outcome_unknown_will_repeat",
                "The outcome is unknown",
                "The site was given your request and stopped before it answered. The request may or may not have \
                 taken effect; it is one that can be sent again.",
            ),
            Self::BackendBroken => words(
                StatusCode::BAD_GATEWAY,
                "backend_broken",
                BROKEN,
                "The site broke off before it answered. Please try again.",
            ),
            Self::FirstByteTimeout => words(
                StatusCode::GATEWAY_TIMEOUT,
                "first_byte_timeout",
                BROKEN,
                "The site did not begin to answer in time. Please try again later.",
            ),
            Self::BodyTimeout => closing(words(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "The request did not arrive",
                "The rest of the request did not arrive in time.",
            )),
            Self::Misdirected => words(
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "This connection is for another site",
                "The certificate of this connection is not for this name. Please use another connection.",
            ),
            Self::BadRequest(reason) => closing(Words {
                message: reason.message(),
                ..words(reason.status(), reason.label(), "The request can't be accepted", "")
            }),
            Self::Stopping => closing(again(
                1,
                "stopping",
                MOMENT,
                "The server is being restarted. Your request was not carried out.",
            )),
        }
    }

    /// The whole answer, for who asked.
    pub fn answer(self, asker: Asker, pages: &Pages, request_id: &str) -> Answer {
        let words = self.words();
        let (body, content_type) = match asker.html {
            true => (page(&words, asker, template(self, pages), request_id), "text/html; charset=utf-8"),
            false => (problem(&words, request_id), "application/problem+json"),
        };
        let mut head = ResponseHead::new(words.status);
        head.fields.push("content-type", content_type.as_bytes());
        head.fields.push("cache-control", b"no-store");
        head.fields.push("content-length", body.len().to_string().as_bytes());
        if let Some(seconds) = words.retry_after_s {
            head.fields.push("retry-after", seconds.to_string().as_bytes());
        }
        let body = if asker.head { Body::Whole(Vec::new()) } else { Body::Whole(body.into_bytes()) };
        Answer { head, body, close: words.close }
    }
}

impl From<BadRequest> for Refusal {
    fn from(reason: BadRequest) -> Self {
        Self::BadRequest(reason)
    }
}

impl From<retry::Answer> for Refusal {
    fn from(answer: retry::Answer) -> Self {
        match answer {
            retry::Answer::NoBackend => Self::NoBackend,
            retry::Answer::OutcomeUnknown => Self::OutcomeUnknown,
            retry::Answer::BackendBroken => Self::BackendBroken,
            retry::Answer::FirstByteTimeout => Self::FirstByteTimeout,
        }
    }
}

/// What of a request decides the form of an answer. Small, to be kept when the request itself has gone on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    html: bool,
    head: bool,
    safe: bool,
}

impl Asker {
    /// Who sends such a request.
    pub fn of(head: &RequestHead) -> Self {
        Self {
            html: head.fields.members(Known::Accept).any(is_html),
            head: head.method == Method::HEAD,
            safe: retry::is_safe(&head.method),
        }
    }

    /// Who sends something that is no request.
    pub fn unknown() -> Self {
        Self { html: false, head: false, safe: false }
    }
}

/// Whether one entry of `Accept` names HTML. `*/*` does not: every script sends it.
fn is_html(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    let refused = |parameter: &str| {
        let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
    };
    named && !parts.any(refused)
}

/// The operator's page for this refusal, if there is one.
fn template(refusal: Refusal, pages: &Pages) -> Option<&str> {
    match refusal {
        Refusal::UnknownHost | Refusal::SiteRemoved => pages.unknown_host.as_deref(),
        Refusal::BackendBroken | Refusal::FirstByteTimeout => pages.bad_gateway.as_deref(),
        // Who may have changed something must be told so: by a page that prints the message, or by ours.
        Refusal::OutcomeUnknown => pages.bad_gateway.as_deref().filter(|page| page.contains("{{message}}")),
        Refusal::OutcomeUnknownWillRepeat
        | Refusal::Misdirected
        | Refusal::BadRequest(_)
        | Refusal::BodyTimeout => None,
        Refusal::HeldTooLong
        | Refusal::TooManyHeld
        | Refusal::GateShut
        | Refusal::NoBackend
        | Refusal::Stopping => pages.unavailable.as_deref(),
    }
}

/// A problem document (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    request_id: &'a str,
}

fn problem(words: &Words, request_id: &str) -> String {
    let problem = Problem {
        r#type: "about:blank",
        title: words.title,
        status: words.status.as_u16(),
        detail: words.message,
        code: words.label,
        retry_after: words.retry_after_s,
        request_id,
    };
    serde_json::to_string(&problem).expect("texts and numbers")
}

/// The built-in page. Beside the placeholders of all templates it has `{{reload}}` and `{{again}}`, which are HTML.
const PAGE: &str = include_str!("answer/page.html");
const TRY_NOW: &str = "<p>This page loads again by itself. <a href=\"\">Try now</a></p>";
const SEND_AGAIN: &str = "<p>Please go back and send it again in a moment.</p>";

fn page(words: &Words, asker: Asker, template: Option<&str>, request_id: &str) -> String {
    let seconds = words.retry_after_s.map(|seconds| seconds.to_string()).unwrap_or_default();
    // A form that was not carried out must not turn into a look at its address by itself.
    let (reload, again) = match words.retry_after_s {
        Some(after) if asker.safe => (reload(after), TRY_NOW),
        Some(_) => (String::new(), SEND_AGAIN),
        None => (String::new(), ""),
    };
    render(template.unwrap_or(PAGE), |placeholder| match placeholder {
        "title" => Some(escape(words.title)),
        "message" => Some(escape(words.message)),
        "retry_after" => Some(escape(&seconds)),
        "request_id" => Some(escape(request_id)),
        "reload" if template.is_none() => Some(Cow::Borrowed(reload.as_str())),
        "again" if template.is_none() => Some(Cow::Borrowed(again)),
        _ => None,
    })
}

/// Loads the page again. The script is for browsers that were told to ignore the field, and comes a little later at
/// random, so that those who were sent away together don't all come back together.
fn reload(after_s: u32) -> String {
    format!(
        "<meta http-equiv=\"refresh\" content=\"{after_s}\">\n\
         <script>setTimeout(function () {{ location.reload() }}, {after_s}000 * (1.2 + Math.random()))</script>"
    )
}

/// Fills the placeholders of a template, in one pass: what is filled in is never looked at for placeholders. Unknown
/// ones stay as they are.
fn render<'a>(template: &str, value: impl Fn(&str) -> Option<Cow<'a, str>>) -> String {
    let mut page = String::with_capacity(template.len() + 512);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let filled = after.split_once("}}").and_then(|(name, after)| Some((value(name.trim())?, after)));
        rest = match filled {
            Some((value, after)) => {
                page.push_str(&value);
                after
            }
            None => {
                page.push_str("{{");
                after
            }
        };
    }
    page.push_str(rest);
    page
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests;
