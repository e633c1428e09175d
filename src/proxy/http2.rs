//! One client connection of HTTP/2: hyper speaks the protocol, and each of its streams is a request like any other.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;

use super::connection::{Active, Connection};
use super::inbound::BodyError;
use super::link::Handed;
use super::outbox::Source;
use super::relay::Relay;
use super::turn::Turn;
use super::upload::ClientBody;
use super::worker::Worker;
use super::{Answer, Body, headers};
use crate::http1::request::is_writable;
use crate::http1::{BadBody, Fields, Known, Length, RequestHead};
use crate::net::Socket;
use crate::observe::pulse::Named;

/// What a client of HTTP/2 says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams of one connection at a time.
pub const STREAMS_MAX: u32 = 128;
/// So many requests of one connection are served before the next one lets others go first.
const STREAMS_A_TURN: u32 = 16;
/// Bytes of one stream that the client may send ahead. Held uploads wait with the client, not here.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of one connection that the client may send ahead.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers of one stream that wait here for the client.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of an answer that are handed to hyper at a time.
const PIECE_MAX: usize = 16 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(worker: &Rc<Worker>, connection: &Rc<Connection>) {
    let limits = worker.limits(connection);
    let mut http = http2::Builder::new(LocalExecutor);
    http.max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .enable_connect_protocol()
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX));
    let service = service_fn(|request| {
        // Hyper and the runtime pass what serves a request from hand to hand, and would copy some kilobytes each time.
        Box::pin(serve_request(worker.clone(), connection.clone(), request))
    });
    // From now on its silence is that of an idle connection.
    drop(connection.request_began());
    let mut driver = pin!(http.serve_connection(Io::new(connection), service));
    let mut told = false;
    poll_fn(|cx| {
        if connection.is_ending() && !told {
            told = true;
            driver.as_mut().graceful_shutdown();
        }
        // How a client's connection ended says nothing that its requests have not said already.
        let ended = driver.as_mut().poll(cx).map(drop);
        connection.release_if_flushed();
        ended
    })
    .await;
}

async fn serve_request(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<NamedBody>, Infallible> {
    let (worker, connection) = (&worker, &connection);
    let named = worker.places.take();
    let answered = named.drive(pin!(answer_request(worker, connection, request, &named))).await;
    Ok(answered.map(|body| NamedBody { body, named }))
}

async fn answer_request(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    mut request: Request<Incoming>,
    named: &Named,
) -> Response<StreamBody> {
    let active = connection.request_began();
    // Who asks for much at once waits for the sockets of others to be looked at, and longer the more it is.
    for _ in 0..(connection.active() - 1) / STREAMS_A_TURN {
        tokio::task::yield_now().await;
    }
    let websocket = is_websocket(&request).then(|| hyper::upgrade::on(&mut request));
    let is_websocket = websocket.is_some();
    let (parts, incoming) = request.into_parts();
    let has_body = !is_websocket && !incoming.is_end_stream();
    let fields_max = worker.limits(connection).max_headers;
    let head = match &websocket {
        None => RequestHead::from_http2(&parts, has_body, fields_max),
        Some(_) => RequestHead::from_http2_websocket(&parts, &worker.nonce(), fields_max),
    };
    let answer = match head {
        Ok(head) => {
            let body =
                has_body.then(|| ClientBody::Http2 { incoming, current: Bytes::new(), trailers: None });
            super::serve(worker, connection, head, body, named).await
        }
        Err(reason) => super::refuse(worker, connection, Version::HTTP_2, reason),
    };
    let Answer { head, body, .. } = answer;
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = head.status;
    parts.headers.reserve(head.fields.len());
    for field in headers::passed_back(&head) {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value))
        {
            parts.headers.append(name, value);
        }
    }
    let body = match body {
        Body::Whole(bytes) => StreamBody::Whole(Bytes::from(bytes), active),
        Body::Relayed(..) if is_websocket && parts.status.is_success() => {
            // A page and not a WebSocket. A success would be taken for one (RFC 8441, 5).
            parts.status = StatusCode::NOT_IMPLEMENTED;
            parts.headers.remove(CONTENT_LENGTH);
            StreamBody::Whole(Bytes::new(), active)
        }
        Body::Relayed(mut relay, length) => {
            relay.released_by_flush(connection.clone(), active);
            StreamBody::Relayed(relay, length)
        }
        Body::Tunnel(handed) => {
            // That it was granted is said by a success here, and the key was between the backend and this process.
            parts.status = StatusCode::OK;
            parts.headers.remove("sec-websocket-accept");
            tokio::task::spawn_local(tunnel(websocket, handed, active));
            return Response::from_parts(parts, StreamBody::Tunnelled);
        }
    };
    Response::from_parts(parts, body)
}

/// Whether a request asks for its stream to become a WebSocket.
fn is_websocket(request: &Request<Incoming>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    request.method() == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Relays a stream that has become a WebSocket. It counts as a request being served until it ends.
async fn tunnel(stream: Option<OnUpgrade>, handed: Box<Handed>, active: Active) {
    let flight = handed.tracked.flight.clone();
    let upgraded = async { stream?.await.ok() };
    if let Ok(Some(stream)) = flight.guard(upgraded).await {
        super::tunnel::relay(&RefCell::default(), &RefCell::new(TokioIo::new(stream)), handed).await;
    }
    drop(active);
}

/// The trailers of a request, for HTTP/1.1. What frames, routes or attributes a message has no place behind it, there as
/// here (RFC 9110, 6.5.1).
pub(super) fn trailers(map: &HeaderMap) -> Result<Option<Fields>, BadBody> {
    let mut fields = Fields::default();
    for (name, value) in map {
        if !is_writable(name, value) {
            return Err(BadBody::Trailers);
        }
        if Known::of(name.as_str().as_bytes()) == Known::Other {
            fields.push(name.as_str(), value.as_bytes());
        }
    }
    Ok((!fields.is_empty()).then_some(fields))
}

/// The body of an answer, as hyper asks for it.
enum StreamBody {
    /// One that ghostpin made. The request is being served until it was handed over.
    Whole(Bytes, #[expect(dead_code, reason = "dropping it is what it is for")] Active),
    /// What the backend sends.
    Relayed(Box<Relay>, Length),
    /// None: the stream speaks another protocol now.
    Tunnelled,
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (relay, length) = match self.get_mut() {
            Self::Whole(bytes, _) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes, _) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Relayed(relay, length) => (relay, length),
            Self::Tunnelled => return Poll::Ready(None),
        };
        relay.poll_upload(cx);
        let there = ready!(relay.poll_data(cx))?;
        if there == 0 {
            relay.through();
            let trailers = relay.trailers().map(|fields| Ok(Frame::trailers(map_of(&fields))));
            return Poll::Ready(trailers);
        }
        let data = relay.with_data(|data| Bytes::copy_from_slice(&data[..there.min(PIECE_MAX)]));
        relay.consume(data.len());
        if let Length::Exactly(left) = length {
            *left -= data.len() as u64;
            if *left == 0 {
                relay.through();
                *length = Length::Nothing;
            }
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes, _) => bytes.is_empty(),
            Self::Relayed(_, length) => *length == Length::Nothing,
            Self::Tunnelled => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            Self::Relayed(_, Length::Exactly(left)) => SizeHint::with_exact(*left),
            Self::Relayed(_, Length::Nothing) => SizeHint::with_exact(0),
            Self::Relayed(..) | Self::Tunnelled => SizeHint::default(),
        }
    }
}

/// A body that has its turns as its request has had.
struct NamedBody {
    body: StreamBody,
    named: Named,
}

impl http_body::Body for NamedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, named } = self.get_mut();
        named.turn(|| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn map_of(fields: &Fields) -> HeaderMap {
    let pairs = fields.iter().filter_map(|field| {
        Some((HeaderName::from_bytes(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?))
    });
    pairs.collect()
}

/// The bytes of a connection, as hyper reads and writes them.
struct Io {
    connection: Rc<Connection>,
    turn: Turn,
}

impl Io {
    fn new(connection: &Rc<Connection>) -> Self {
        Self { connection: connection.clone(), turn: Turn::default() }
    }

    /// Writes, if it is the connection's turn. Who waits for that waits for a write: what comes before it has not left.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Socket>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = match self.turn.poll(cx) {
            Poll::Ready(()) => write(Pin::new(&mut *self.connection.socket.borrow_mut()), cx),
            Poll::Pending => Poll::Pending,
        };
        if let Poll::Ready(Ok(bytes)) = &written {
            self.turn.wrote(*bytes);
        }
        self.connection.note_written(written)
    }
}

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut space: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &*self.connection;
        let inbound = &mut *connection.inbound.borrow_mut();
        if inbound.data().is_empty() {
            ready!(inbound.poll_fill(cx, &mut *connection.socket.borrow_mut(), CONNECTION_WINDOW as usize))?;
        }
        let bytes = inbound.data().len().min(space.remaining());
        space.put_slice(&inbound.data()[..bytes]);
        inbound.skip(bytes);
        inbound.rest();
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, |socket, cx| socket.poll_write(cx, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, |socket, cx| socket.poll_write_vectored(cx, data))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *self.connection.socket.borrow_mut()).poll_flush(cx);
        if flushed.is_ready() {
            self.connection.note_flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.connection.socket.borrow_mut()).poll_shutdown(cx)
    }
}

/// Spawns hyper's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
