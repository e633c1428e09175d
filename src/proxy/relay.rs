//! An answer's body on its way from the backend to the client, and all that ends with it.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, sleep_until};

use super::connection::{Active, Connection};
use super::flight::{Flight, Stage, Tracked};
use super::inbound::BodyError;
use super::link::{Handed, Link};
use super::outbox::Source;
use super::pool::Line;
use super::traced::Traced;
use super::upload::Upload;
use super::worker::Worker;
use crate::alike::{Room, Shared};
use crate::core::Epoch;
use crate::http1::Fields;
use crate::observe::access::Record;

/// The way back of a connection into the pool, once its answer is through.
pub struct WayBack {
    /// Where it belongs.
    pub line: Line,
    /// The epoch that it was made under.
    pub epoch: Epoch,
    /// How long the backend keeps it.
    pub keep_alive: Duration,
}

/// A body that is being relayed: read only as fast as the client takes it, and never kept.
pub struct Relay {
    /// The link first, and then the lease, whatever happens.
    handed: Option<Handed>,
    /// What of the body was read before anybody was given any of it, and comes first. Without a link, it is all there is.
    ahead: Bytes,
    /// Whose answer this is, if another one asked for it.
    of: Option<Arc<Shared>>,
    /// What is still to be sent of the request: some answers come before that.
    upload: Option<Upload>,
    /// `None` if the connection is not to be used again.
    way_back: Option<WayBack>,
    record: Option<Record>,
    trace: Option<Box<Traced>>,
    worker: Rc<Worker>,
    /// Protocols that write by themselves say when they have.
    flushes: Option<(Rc<Connection>, Active)>,
    is_through: bool,
}

impl Relay {
    /// Begins to relay.
    pub fn new(
        handed: Handed,
        upload: Option<Upload>,
        way_back: Option<WayBack>,
        worker: Rc<Worker>,
    ) -> Self {
        handed.tracked.flight.enter(Stage::Delivering);
        let handed = Some(handed);
        let (ahead, of) = (Bytes::new(), None);
        Self {
            handed,
            ahead,
            of,
            upload,
            way_back,
            record: None,
            trace: None,
            worker,
            flushes: None,
            is_through: false,
        }
    }

    /// An answer that another one asked for.
    pub fn of_another(answer: Arc<Shared>, tracked: Tracked, worker: Rc<Worker>) -> Self {
        let mut relay = Self::new(Handed { link: None, tracked }, None, None, worker);
        (relay.ahead, relay.of) = (answer.body.clone(), Some(answer));
        relay
    }

    /// Reads all of the body before anybody is given any of it. `None` if there is no room for it, or it is not there by the
    /// deadline: then what was read is relayed first.
    pub async fn read_ahead(&mut self, room: Room, deadline: Instant) -> Result<Option<Bytes>, BodyError> {
        let mut body = Vec::new();
        let mut is_over = pin!(sleep_until(deadline));
        let is_whole = poll_fn(|cx| {
            loop {
                let there = match self.poll_data(cx) {
                    Poll::Ready(there) => there?,
                    Poll::Pending => return is_over.as_mut().poll(cx).map(|()| Ok(false)),
                };
                if there == 0 {
                    return Poll::Ready(Ok::<_, BodyError>(true));
                }
                let taken = there.min(room.bytes() - body.len());
                if taken == 0 {
                    return Poll::Ready(Ok(false));
                }
                self.with_data(|data| body.extend_from_slice(&data[..taken]));
                self.consume(taken);
            }
        })
        .await?;
        self.ahead = room.keep(body);
        Ok(is_whole.then(|| self.ahead.clone()))
    }

    /// This line is written when the body is through, or is not going to be.
    pub fn record_at_end(&mut self, record: Record) {
        self.record = Some(record);
    }

    /// This trace ends when the body is through, or is not going to be.
    pub fn trace_to_end(&mut self, trace: Box<Traced>) {
        self.trace = Some(trace);
    }

    /// The lease is kept until the connection has been flushed, and the request is being served until the body was
    /// handed over.
    pub fn released_by_flush(&mut self, connection: Rc<Connection>, active: Active) {
        self.flushes = Some((connection, active));
    }

    /// The client has been given all of it.
    pub fn through(&mut self) {
        self.is_through = true;
    }

    /// Goes on with sending the request, if its answer has come before its end.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        let Some(mut upload) = self.upload.take() else { return };
        let (link, flight) = self.parts();
        match upload.poll(cx, flight, &mut link.socket) {
            Poll::Pending => self.upload = Some(upload),
            Poll::Ready(Ok(())) => {}
            // The backend may want no more of it, and has its answer heard all the same.
            Poll::Ready(Err(_)) => self.way_back = None,
        }
    }

    /// The flight was ended, and nothing more is to be given to the client.
    pub fn is_ended(&self) -> bool {
        self.handed.as_ref().is_none_or(|handed| handed.tracked.flight.ended().is_some())
    }

    fn parts(&mut self) -> (&mut Link, &Flight) {
        let handed = self.handed.as_mut().expect("only dropping takes it");
        let link = handed.link.as_mut().expect("an answer came over a link");
        (link, &handed.tracked.flight)
    }

    fn link(&self) -> &Link {
        let link = self.handed.as_ref().and_then(|handed| handed.link.as_ref());
        link.expect("only dropping takes it, and an answer came over a link")
    }
}

impl Source for Relay {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        if !self.ahead.is_empty() || self.of.is_some() {
            let handed = self.handed.as_ref().expect("only dropping takes it");
            let ended = handed.tracked.flight.ended();
            return Poll::Ready(ended.map_or(Ok(self.ahead.len()), |why| Err(BodyError::Ended(why))));
        }
        let (link, flight) = self.parts();
        if let Some(why) = flight.ended() {
            return Poll::Ready(Err(BodyError::Ended(why)));
        }
        let body = link.inbound.poll_body(cx, &mut link.socket);
        match &body {
            Poll::Pending => {
                if flight.stage() == Stage::Delivering {
                    flight.enter(Stage::AwaitingBody);
                }
                flight.wake_when_ended(cx.waker());
            }
            Poll::Ready(_) => {
                if flight.stage() == Stage::AwaitingBody {
                    flight.enter(Stage::Delivering);
                }
            }
        }
        body
    }

    fn with_data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        if self.ahead.is_empty() && self.of.is_none() {
            return look(self.link().inbound.data());
        }
        look(&self.ahead)
    }

    fn consume(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.bytes += bytes as u64;
        }
        if let Some(trace) = &mut self.trace {
            trace.bytes += bytes as u64;
        }
        if !self.ahead.is_empty() {
            self.ahead.advance(bytes);
            if self.ahead.is_empty() {
                // The rest may take long, and does without the room of what is through.
                self.ahead = Bytes::new();
            }
            let handed = self.handed.as_ref().expect("only dropping takes it");
            return handed.tracked.flight.enter(Stage::Delivering);
        }
        let (link, flight) = self.parts();
        flight.enter(Stage::Delivering);
        link.inbound.consume_body(bytes);
    }

    fn trailers(&mut self) -> Option<Fields> {
        if self.of.is_some() { None } else { self.parts().0.inbound.take_trailers() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let is_through = self.is_through && !self.is_ended();
        if let Some(mut record) = self.record.take() {
            record.broken_off = !is_through;
            self.worker.access.write(&record);
        }
        if let Some(trace) = self.trace.take() {
            trace.end(!is_through);
        }
        let Some(Handed { link, tracked }) = self.handed.take() else { return };
        // Half an answer can't be followed by another one, nor an answer that came before its request was through.
        if !is_through || self.upload.is_some() {
            drop(link);
            return drop(tracked);
        }
        if let (Some(way_back), Some(mut link)) = (self.way_back.take(), link)
            && link.inbound.body_has_ended()
            && link.inbound.data().is_empty()
        {
            link.inbound.rest();
            self.worker.pool.put(way_back, self.worker.now(), link);
        }
        match self.flushes.take() {
            Some((connection, _active)) => connection.release_when_flushed(tracked),
            None => drop(tracked),
        }
    }
}
