//! Bodies on their way through: read only as fast as the other side takes them, and never kept.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::connection::{Active, Connection};
use super::flight::{Flight, Stage, Tracked};
use super::pool::Line;
use super::worker::Worker;
use crate::core::Epoch;
use crate::observe::access::Record;

/// A request's body, on its way to the backend.
pub enum RequestBody {
    /// There is none.
    Empty,
    /// What the client sends.
    Upload {
        /// hyper's end of it.
        incoming: Incoming,
        /// The attempt that reads it.
        flight: Rc<Flight>,
    },
}

impl RequestBody {
    /// The body back, if it was never read.
    pub fn into_untouched(self) -> Option<Incoming> {
        match self {
            Self::Upload { incoming, flight } if !flight.touched() => Some(incoming),
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
        let Self::Upload { incoming, flight } = self.get_mut() else { return Poll::Ready(None) };
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
            Self::Upload { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload { incoming, .. } => incoming.size_hint(),
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
    /// hyper's end of the connection.
    pub sender: SendRequest<RequestBody>,
    /// Where it belongs.
    pub line: Line,
    /// The epoch that it was made under.
    pub epoch: Epoch,
    /// How long the backend keeps it.
    pub keep_alive: Duration,
}

/// A body that is being relayed, and all that ends with it.
pub struct Relayed {
    /// Taken when the body is dropped, before the lease is: that cuts the backend's connection.
    incoming: Option<Incoming>,
    tracked: Option<Tracked>,
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
        tracked: Tracked,
        way_back: WayBack,
        connection: Rc<Connection>,
        worker: Rc<Worker>,
    ) -> Self {
        tracked.flight.enter(Stage::Delivering);
        let (incoming, tracked, way_back) = (Some(incoming), Some(tracked), Some(way_back));
        let (record, active) = (None, None);
        Self { incoming, tracked, way_back, record, active, connection, worker, through: false }
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
            Self::Relayed(relayed) => relayed.incoming.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Relayed(relayed) => relayed.incoming.as_ref().map_or_else(SizeHint::new, Body::size_hint),
        }
    }
}

impl Relayed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (Some(incoming), Some(tracked)) = (&mut self.incoming, &self.tracked) else {
            return Poll::Ready(None);
        };
        let flight = &tracked.flight;
        if let Some(why) = flight.ended() {
            return Poll::Ready(Some(Err(BodyError::Ended(why))));
        }
        match Pin::new(incoming).poll_frame(cx) {
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
        let (Some(incoming), Some(tracked)) = (self.incoming.take(), self.tracked.take()) else { return };
        // hyper stops asking when the length it announced is reached.
        let through = (self.through || incoming.is_end_stream()) && tracked.flight.ended().is_none();
        if let Some(mut record) = self.record.take() {
            record.broken_off = !through;
            record.write();
        }
        if !through {
            // Dropping hyper's end of the body ends the backend's connection; only then is the lease given back.
            drop(incoming);
            self.way_back = None;
            return drop(tracked);
        }
        if let Some(WayBack { sender, line, epoch, keep_alive }) = self.way_back.take()
            && !sender.is_closed()
        {
            self.worker.pool.put(line, epoch, self.worker.now(), sender, keep_alive);
        }
        self.connection.release_when_flushed(tracked);
    }
}
