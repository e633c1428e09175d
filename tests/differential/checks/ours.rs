//! A connection as ghostpin reads it: the loop of `proxy::http1`, without an application behind it.

use std::task::{Context, Poll, ready};

use ghostpin::http1::{self, BadBody, BadRequest, Fields, RequestHead};
use ghostpin::proxy::inbound::{BodyError, Inbound};

use super::pipe::{Incoming, Manner, wait};

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) head_bytes: usize,
    pub(crate) fields: usize,
}

/// What a configuration has if it says nothing else.
pub(crate) const USUAL: Limits = Limits { head_bytes: 32 * 1024, fields: 100 };
/// Enough for what ghostpin adds to a request that was as large as it may be.
pub(crate) const ROOMY: Limits = Limits { head_bytes: 64 * 1024, fields: 200 };

/// A request whose head was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) head: RequestHead,
    /// As far as it came.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Fields>,
    /// All of it came.
    pub(crate) is_whole: bool,
}

/// Why no further request was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing more came, or not all of what had begun.
    Closed,
    /// The last request said that it is the last.
    Last,
    Refused,
}

#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) requests: Vec<Accepted>,
    pub(crate) end: End,
}

pub(crate) fn read(data: &[u8], manner: Manner, limits: Limits) -> Reading {
    let mut consumes = manner.clone();
    let (mut from, mut inbound) = (Incoming::new(data, manner), Inbound::default());
    let mut requests = Vec::new();
    loop {
        let head = match wait(|cx| next_head(cx, &mut inbound, &mut from, limits)) {
            None => return Reading { requests, end: End::Closed },
            Some(Err(_)) => return Reading { requests, end: End::Refused },
            Some(Ok(head)) => head,
        };
        inbound.begin_body(head.length);
        let mut body = Vec::new();
        let ended = loop {
            match wait(|cx| inbound.poll_body(cx, &mut from)) {
                Ok(0) => break Ok(()),
                Ok(bytes) => {
                    let bytes = consumes.portion(bytes).unwrap_or(bytes);
                    body.extend_from_slice(&inbound.data()[..bytes]);
                    inbound.consume_body(bytes);
                }
                Err(BodyError::Bad(BadBody::BrokeOff)) => break Err(End::Closed),
                Err(_) => break Err(End::Refused),
            }
        };
        let keeps_alive = head.keeps_alive();
        let trailers = inbound.take_trailers();
        requests.push(Accepted { head, body, trailers, is_whole: ended.is_ok() });
        match ended {
            Err(end) => return Reading { requests, end },
            Ok(()) if !keeps_alive => return Reading { requests, end: End::Last },
            Ok(()) => inbound.rest(),
        }
    }
}

fn next_head(
    cx: &mut Context<'_>,
    inbound: &mut Inbound,
    from: &mut Incoming<'_>,
    limits: Limits,
) -> Poll<Option<Result<RequestHead, BadRequest>>> {
    loop {
        inbound.skip(http1::empty_lines(inbound.data()));
        if let Some(head) = inbound.head(|head| parse(head, limits)) {
            return Poll::Ready(Some(head));
        }
        let data = inbound.data();
        if data.len() >= limits.head_bytes {
            return Poll::Ready(Some(Err(BadRequest::TooLarge)));
        }
        if let Err(reason) = RequestHead::may_become(data) {
            return Poll::Ready(Some(Err(reason)));
        }
        if let Ok(0) | Err(_) = ready!(inbound.poll_fill(cx, from, limits.head_bytes)) {
            return Poll::Ready(None);
        }
    }
}

fn parse(head: &[u8], limits: Limits) -> Result<RequestHead, BadRequest> {
    if head.len() > limits.head_bytes {
        return Err(BadRequest::TooLarge);
    }
    RequestHead::parse(head, limits.fields)
}

/// What two readings must have in common, as text.
fn gist(reading: &Reading) -> String {
    let told = |request: &Accepted| {
        let Accepted { head, body, trailers, is_whole } = request;
        let fields = |fields: &Fields| {
            let line = |field: http1::Field<'_>| {
                format!("{}={}", field.name.escape_ascii(), field.value.escape_ascii())
            };
            fields.iter().map(line).collect::<Vec<_>>().join("; ")
        };
        format!(
            "{} {} for {} ({:?}) [{}] {} then [{}], whole: {is_whole}\n",
            head.method,
            head.path_and_query(),
            head.host(),
            head.length,
            fields(&head.fields),
            body.escape_ascii(),
            trailers.as_ref().map(fields).unwrap_or_default()
        )
    };
    let requests: String = reading.requests.iter().map(told).collect();
    format!("{requests}{:?}", reading.end)
}

/// The same bytes are the same requests in whatever pieces they come.
pub(crate) fn check_pieces(data: &[u8], whole: &Reading, manner: Manner) -> Result<(), String> {
    let how = format!("{manner:?}");
    let (whole, pieces) = (gist(whole), gist(&read(data, manner, USUAL)));
    if whole == pieces {
        return Ok(());
    }
    Err(format!("read in another way in pieces ({how}):\n{pieces}\nand not as\n{whole}"))
}
