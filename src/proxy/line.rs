//! What the access log says of a request that is known as soon as it has come.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Version};

use super::worker::Worker;
use crate::config::Share;
use crate::http1::RequestHead;
use crate::observe::access::Record;

/// See the module's text. The line itself is a [`Record`].
pub(super) struct Line {
    method: Method,
    host: Box<str>,
    path: Box<str>,
    version: Version,
    referer: Option<Box<str>>,
    user_agent: Option<Box<str>>,
    share: Share,
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

    /// Of something that is no request.
    pub(super) fn of_none(worker: &Worker, version: Version) -> Option<Self> {
        worker.published(|published| published.access_log).map(|share| Self {
            method: Method::from_bytes(b"-").expect("a token"),
            host: Box::default(),
            path: "-".into(),
            version,
            referer: None,
            user_agent: None,
            share,
        })
    }

    /// The whole of it, of something that was answered at once and by ghostpin itself.
    pub(super) fn record(
        self,
        client: IpAddr,
        request_id: &str,
        status: StatusCode,
        refusal: Option<&'static str>,
    ) -> Record {
        Record {
            client,
            method: self.method,
            host: self.host,
            path: self.path,
            version: self.version,
            referer: self.referer,
            user_agent: self.user_agent,
            request_id: request_id.into(),
            site: None,
            pin: None,
            status,
            refusal,
            bytes: 0,
            began: Instant::now(),
            held: Duration::ZERO,
            attempts: 0,
            broken_off: false,
            share: self.share,
        }
    }
}

/// What a field says.
pub(super) fn said<'h>(head: &'h RequestHead, name: &str) -> Option<Cow<'h, str>> {
    let field = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(String::from_utf8_lossy(field.value))
}
