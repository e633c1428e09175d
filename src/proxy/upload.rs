//! A request on its way to the backend: its head, and its body as it comes from the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::connection::Connection;
use super::flight::{Flight, Stage};
use super::inbound::BodyError;
use super::outbox::{Nothing, Outbox, Source, Stopped, WaitsFor};
use crate::http1::{Fields, Length};
use crate::net::Socket;

/// The body of a request, at the client's end.
#[derive(Debug)]
pub enum ClientBody {
    /// Next on a connection of HTTP/1.1.
    Http1(Rc<Connection>),
    /// A stream of an HTTP/2 connection.
    Http2 {
        /// hyper's end of it.
        incoming: Incoming,
        /// What was read of it and not taken.
        current: Bytes,
        /// What came behind it.
        trailers: Option<Fields>,
    },
}

impl Source for ClientBody {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        match self {
            Self::Http1(connection) => {
                let body =
                    connection.inbound.borrow_mut().poll_body(cx, &mut *connection.socket.borrow_mut());
                if body.is_pending() && connection.poll_continue(cx)?.is_pending() {
                    return Poll::Pending;
                }
                body
            }
            Self::Http2 { incoming, current, trailers } => loop {
                if !current.is_empty() {
                    return Poll::Ready(Ok(current.len()));
                }
                let Some(frame) = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx)?) else {
                    return Poll::Ready(Ok(0));
                };
                match frame.into_data().map_err(Frame::into_trailers) {
                    Ok(data) => *current = data,
                    Err(Ok(map)) => *trailers = super::http2::trailers(&map)?,
                    Err(Err(_)) => {}
                }
            },
        }
    }

    fn with_data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Http1(connection) => look(connection.inbound.borrow().data()),
            Self::Http2 { current, .. } => look(current),
        }
    }

    fn consume(&mut self, bytes: usize) {
        match self {
            Self::Http1(connection) => connection.inbound.borrow_mut().consume_body(bytes),
            Self::Http2 { current, .. } => current.advance(bytes),
        }
    }

    fn trailers(&mut self) -> Option<Fields> {
        match self {
            Self::Http1(connection) => connection.inbound.borrow_mut().take_trailers(),
            Self::Http2 { trailers, .. } => trailers.take(),
        }
    }
}

/// A body that leaves its traces in its flight.
struct Watched<'a> {
    body: &'a mut ClientBody,
    flight: &'a Flight,
}

impl Source for Watched<'_> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        self.body.poll_data(cx)
    }

    fn with_data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        self.body.with_data(look)
    }

    fn consume(&mut self, bytes: usize) {
        self.flight.touch();
        // The answer may have begun already: then its own deadlines count.
        if matches!(self.flight.stage(), Stage::Uploading | Stage::AwaitingHead) {
            self.flight.enter(Stage::AwaitingHead);
        }
        self.body.consume(bytes);
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.body.trailers()
    }
}

/// A request that is being written.
#[derive(Debug)]
pub struct Upload {
    outbox: Outbox,
    body: Option<ClientBody>,
}

impl Upload {
    /// `head`, and a body of this length.
    pub fn new(head: Vec<u8>, length: Length, body: Option<ClientBody>) -> Self {
        Self { outbox: Outbox::request(head, length), body }
    }

    /// Something of it was given to the backend.
    pub fn has_begun(&self) -> bool {
        self.outbox.has_begun()
    }

    /// The body, which can be given to another backend if nothing was taken of it.
    pub fn into_body(self, flight: &Flight) -> Option<ClientBody> {
        self.body.filter(|_| !flight.touched())
    }

    /// Writes as much as there is and the backend takes. Ready when all was written.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        flight: &Flight,
        socket: &mut Socket,
    ) -> Poll<Result<(), Stopped>> {
        let Some(body) = &mut self.body else { return self.outbox.poll_write(cx, &mut Nothing, socket) };
        let written = self.outbox.poll_write(cx, &mut Watched { body, flight }, socket);
        if written.is_pending() {
            match (self.outbox.waits_for(), flight.stage()) {
                (WaitsFor::Source, Stage::AwaitingHead) => flight.enter(Stage::Uploading),
                (WaitsFor::Sink, Stage::Uploading) => flight.enter(Stage::AwaitingHead),
                _ => {}
            }
        }
        written
    }
}
