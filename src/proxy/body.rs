//! Bodies on their way through: read only as fast as the other side takes them, and never kept.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::{Active, Connection};
use super::flight::{Flight, Stage};
use super::forward::Handed;
use super::pool::Line;
use super::worker::Worker;
use crate::core::Epoch;
use crate::observe::access::Record;

/// A request's body, on its way to the backend.
pub enum RequestBody {
    /// There is none.
    Empty,
    /// What the client sends.
    Upload(Upload),
}

/// A request's body that is being read.
pub struct Upload {
    /// hyper's end of it, until it is taken back.
    incoming: Option<Incoming>,
    flight: Rc<Flight>,
}

impl Upload {
    /// To be read by the attempt of this flight.
    pub fn new(incoming: Incoming, flight: Rc<Flight>) -> Self {
        flight.uploading(true);
        Self { incoming: Some(incoming), flight }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.flight.uploading(false);
    }
}

impl RequestBody {
    /// The body back, if it was never read.
    pub fn into_untouched(self) -> Option<Incoming> {
        match self {
            Self::Upload(mut upload) if !upload.flight.touched() => upload.incoming.take(),
            _ => None,
        }
    }
}

/// A body that broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// hyper says why.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// The flight was ended.
    #[error("the request was ended by the proxy: {0:?}")]
    Ended(super::flight::Ended),
}

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Upload(upload) = self.get_mut() else { return Poll::Ready(None) };
        let (Some(incoming), flight) = (&mut upload.incoming, &upload.flight) else {
            return Poll::Ready(None);
        };
        if let Some(why) = flight.ended() {
            return Poll::Ready(Some(Err(BodyError::Ended(why))));
        }
        flight.touch();
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Pending => {
                // The answer may have begun already: then its own deadlines count.
                if flight.stage() == Stage::AwaitingHead {
                    flight.enter(Stage::Uploading);
                }
                Poll::Pending
            }
            Poll::Ready(frame) => {
                if matches!(flight.stage(), Stage::Uploading | Stage::AwaitingHead) {
                    flight.enter(Stage::AwaitingHead);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upload(upload) => upload.incoming.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload(upload) => upload.incoming.as_ref().map_or_else(SizeHint::new, Body::size_hint),
        }
    }
}

/// An answer's body, on its way to the client.
pub enum ResponseBody {
    /// One that ghostpin made.
    Whole(Option<Bytes>),
    /// What the backend sends.
    Relayed(Box<Relayed>),
}

impl ResponseBody {
    /// A body made here.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole(if bytes.is_empty() { None } else { Some(bytes) })
    }
}

/// The way back of a connection into the pool, once its answer is through.
pub struct WayBack {
    /// Where it belongs.
    pub line: Line,
    /// The epoch that it was made under.
    pub epoch: Epoch,
    /// How long the backend keeps it.
    pub keep_alive: Duration,
}

/// A body that is being relayed, and all that ends with it.
pub struct Relayed {
    incoming: Incoming,
    flight: Rc<Flight>,
    handed: Option<Handed>,
    way_back: Option<WayBack>,
    record: Option<Record>,
    active: Option<Active>,
    connection: Rc<Connection>,
    worker: Rc<Worker>,
    through: bool,
}

impl Relayed {
    /// Begins to relay.
    pub fn new(
        incoming: Incoming,
        mut handed: Handed,
        way_back: WayBack,
        connection: Rc<Connection>,
        worker: Rc<Worker>,
    ) -> Self {
        let flight = handed.tracked().flight.clone();
        flight.enter(Stage::Delivering);
        let (handed, way_back) = (Some(handed), Some(way_back));
        let (record, active) = (None, None);
        Self { incoming, flight, handed, way_back, record, active, connection, worker, through: false }
    }

    /// This line is written when the body is through, or is not going to be.
    pub fn record_at_end(&mut self, record: Record) {
        self.record = Some(record);
    }

    /// The request is being served until the body is through, or is not going to be.
    pub fn active_to_its_end(&mut self, active: Active) {
        self.active = Some(active);
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Relayed(relayed) => relayed.incoming.size_hint(),
        }
    }
}

impl Relayed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let flight = &self.flight;
        if let Some(why) = flight.ended() {
            return Poll::Ready(Some(Err(BodyError::Ended(why))));
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => {
                if flight.stage() == Stage::Delivering {
                    flight.enter(Stage::AwaitingBody);
                }
                flight.wake_when_ended(cx.waker());
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                flight.enter(Stage::Delivering);
                if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
                    record.bytes += data.len() as u64;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.through = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        // hyper stops asking when the length it announced is reached.
        let through = (self.through || self.incoming.is_end_stream()) && self.flight.ended().is_none();
        if let Some(mut record) = self.record.take() {
            record.broken_off = !through;
            record.write();
        }
        let (Some(handed), Some(WayBack { line, epoch, keep_alive })) =
            (self.handed.take(), self.way_back.take())
        else {
            return;
        };
        // Half an answer can't be followed by another one, nor an answer that came before its request was through.
        if !through || self.flight.is_uploading() {
            return drop(handed);
        }
        let (tracked, link) = handed.take_apart();
        if let Some(link) = link.filter(|link| !link.sender.is_closed()) {
            self.worker.pool.put(line, epoch, self.worker.now(), link, keep_alive);
        }
        self.connection.release_when_flushed(tracked);
    }
}
