//! What the access log says of a request that is known as soon as it has come.

use std::borrow::Cow;

use http::{Method, Version};

use super::worker::Worker;
use crate::config::Share;
use crate::http1::RequestHead;

/// See the module's text. The line itself is a [`Record`](crate::observe::access::Record).
pub(super) struct Line {
    pub(super) method: Method,
    pub(super) host: Box<str>,
    pub(super) path: Box<str>,
    pub(super) version: Version,
    pub(super) referer: Option<Box<str>>,
    pub(super) user_agent: Option<Box<str>>,
    pub(super) share: Share,
}

impl Line {
    /// `None` if no request leaves a line.
    pub(super) fn of(worker: &Worker, head: &RequestHead) -> Option<Self> {
        let more = |name| worker.access.tells_more().then(|| said(head, name)).flatten();
        worker.published(|published| published.access_log).map(|share| Self {
            method: head.method.clone(),
            host: head.host().into(),
            path: head.path().into(),
            version: head.version,
            // Its query may hold as much as that of the request's own address.
            referer: more("referer").and_then(|url| url.split(['?', '#']).next().map(Into::into)),
            user_agent: more("user-agent").map(Into::into),
            share,
        })
    }
}

/// What a field says.
pub(super) fn said<'h>(head: &'h RequestHead, name: &str) -> Option<Cow<'h, str>> {
    let field = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(String::from_utf8_lossy(field.value))
}
