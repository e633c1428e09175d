//! One client connection of HTTP/1.x: requests one after the other, each answered before the next is looked at.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use http::Version;
use tokio::io::AsyncWrite;

use super::connection::{Connection, Phase};
use super::headers::{self, Delivery};
use super::link::Handed;
use super::outbox::{Nothing, Outbox};
use super::relay::Relay;
use super::upload::ClientBody;
use super::worker::Worker;
use super::{Answer, Body, tunnel};
use crate::config::Limits;
use crate::http1::{self, BadRequest, Known, Length, RequestHead};

/// Bytes of an unwanted body that are read for the sake of the connection.
const DRAINED_MAX: usize = 64 * 1024;
/// Room for the head of an answer, in bytes: enough for most.
const HEAD_BYTES_USUAL: usize = 1024;

/// Serves a connection to its end.
pub(super) async fn serve(worker: &Rc<Worker>, connection: &Rc<Connection>) {
    while let Some(head) = next_head(worker, connection).await {
        let goes_on = match head {
            Ok(head) => serve_request(worker, connection, head).await,
            Err(reason) => {
                let delivery = Delivery { old: false, close: true };
                deliver(
                    worker,
                    connection,
                    super::refuse(worker, connection, Version::HTTP_11, reason),
                    delivery,
                )
                .await;
                linger(connection).await;
                false
            }
        };
        if !goes_on {
            return;
        }
    }
    // Nothing was cut short, and over TLS that has to be said: an end without a word may be anybody's.
    shut(connection).await;
}

/// The head of the next request, or what is wrong with it; `None` at the end of the connection.
async fn next_head(worker: &Worker, connection: &Connection) -> Option<Result<RequestHead, BadRequest>> {
    let limits = worker.limits(connection);
    poll_fn(|cx| {
        let inbound = &mut *connection.inbound.borrow_mut();
        loop {
            inbound.skip(http1::empty_lines(inbound.data()));
            if let Some(head) = inbound.head(|head| parse(head, &limits)) {
                return Poll::Ready(Some(head));
            }
            let data = inbound.data();
            if data.len() >= limits.max_head_bytes {
                return Poll::Ready(Some(Err(BadRequest::TooLarge)));
            }
            if let Err(reason) = RequestHead::may_become(data) {
                return Poll::Ready(Some(Err(reason)));
            }
            if data.is_empty() {
                if connection.takes_no_more() {
                    return Poll::Ready(None);
                }
            } else if connection.phase() == Phase::Idle {
                connection.enter(Phase::Head);
            }
            match ready!(inbound.poll_fill(cx, &mut *connection.socket.borrow_mut(), limits.max_head_bytes)) {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(_) => {}
            }
        }
    })
    .await
}

fn parse(head: &[u8], limits: &Limits) -> Result<RequestHead, BadRequest> {
    if head.len() > limits.max_head_bytes {
        return Err(BadRequest::TooLarge);
    }
    RequestHead::parse(head, limits.max_headers)
}

/// Whether the connection can be used again afterwards.
async fn serve_request(worker: &Rc<Worker>, connection: &Rc<Connection>, head: RequestHead) -> bool {
    connection.inbound.borrow_mut().begin_body(head.length);
    let has_body = head.length != Length::Nothing;
    connection.owe_continue(
        has_body && head.version == Version::HTTP_11 && head.fields.lists(Known::Expect, "100-continue"),
    );
    let delivery = Delivery { old: head.version == Version::HTTP_10, close: !head.keeps_alive() };
    let body = has_body.then(|| ClientBody::Http1(connection.clone()));
    let active = connection.request_began();
    let named = worker.places.take();
    let request = pin!(async {
        let answer = super::serve(worker, connection, head, body, &named).await;
        deliver(worker, connection, answer, delivery).await
    });
    let delivered = named.drive(pin!(connection.unless_left(request))).await;
    if let Some(Delivered::Tunnel(handed)) = delivered {
        named.drive(pin!(tunnel::relay(&connection.inbound, &connection.socket, handed))).await;
        return false;
    }
    drop(active);
    match delivered {
        Some(Delivered::GoesOn) => {
            connection.inbound.borrow_mut().rest();
            true
        }
        Some(Delivered::Last { wished: true }) if is_silent(connection) => {
            shut(connection).await;
            false
        }
        Some(Delivered::Last { .. }) => {
            linger(connection).await;
            false
        }
        _ => false,
    }
}

/// What has become of an answer.
enum Delivered {
    /// All of it was written; another request may follow.
    GoesOn,
    /// All of it was written, and nothing is to follow.
    Last {
        /// The client has said that nothing would, and sent its request to the end.
        wished: bool,
    },
    /// All of it was written, and what follows is another protocol.
    Tunnel(Box<Handed>),
    /// The connection can't be used any more.
    BrokeOff,
}

/// Writes an answer. Its lease is given back when the last byte of it has left this process.
async fn deliver(
    worker: &Worker,
    connection: &Rc<Connection>,
    answer: Answer,
    mut delivery: Delivery,
) -> Delivered {
    let Answer { head, body, close } = answer;
    let length = match &body {
        Body::Whole(_) => {
            drain(connection);
            Length::Nothing
        }
        Body::Relayed(_, length) => *length,
        Body::Tunnel(_) => Length::Nothing,
    };
    let ends_with_close = delivery.old && matches!(length, Length::Chunked | Length::UntilClose);
    // Who has not sent all of its body when the answer comes can't be told where its next request begins.
    let is_read = connection.inbound.borrow().body_has_ended();
    let wished = delivery.close && is_read;
    delivery.close |= close || ends_with_close || connection.is_ending() || !is_read;
    let mut text = Vec::with_capacity(HEAD_BYTES_USUAL);
    text.extend_from_slice(connection.take_continue());
    headers::write_answer(&mut text, &head, length, delivery, || worker.date());
    let is_written = match body {
        Body::Whole(bytes) => {
            text.extend_from_slice(&bytes);
            write(connection, text).await
        }
        Body::Relayed(relay, _) => {
            let length = match length {
                _ if ends_with_close => Length::UntilClose,
                Length::UntilClose => Length::Chunked,
                known => known,
            };
            pass_on(connection, text, relay, length).await
        }
        Body::Tunnel(handed) => {
            return if write(connection, text).await {
                Delivered::Tunnel(handed)
            } else {
                Delivered::BrokeOff
            };
        }
    };
    match is_written {
        true if delivery.close => Delivered::Last { wished },
        true => Delivered::GoesOn,
        false => Delivered::BrokeOff,
    }
}

/// Writes what is known whole. Says whether it was taken.
async fn write(connection: &Connection, text: Vec<u8>) -> bool {
    let mut outbox = Outbox::answer(text, Length::Nothing);
    let written = poll_fn(|cx| {
        let socket = &mut *connection.socket.borrow_mut();
        connection.note_written(outbox.poll_write(cx, &mut Nothing, socket))
    });
    written.await.is_ok()
}

/// Writes a head, and the body behind it as it comes. Says whether all of it was taken.
async fn pass_on(connection: &Connection, head: Vec<u8>, mut relay: Box<Relay>, length: Length) -> bool {
    let mut outbox = Outbox::answer(head, length);
    let is_written = poll_fn(|cx| {
        if relay.is_ended() {
            return Poll::Ready(false);
        }
        relay.poll_upload(cx);
        let written = outbox.poll_write(cx, &mut *relay, &mut *connection.socket.borrow_mut());
        written.map(|written| written.is_ok())
    })
    .await;
    if is_written {
        relay.through();
    }
    is_written
}

/// Throws away what is left of a request's body, as far as it has come already: if that is all, another request may
/// follow.
fn drain(connection: &Rc<Connection>) {
    let mut inbound = connection.inbound.borrow_mut();
    let mut drained = 0;
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(bytes @ 1..)) = inbound.poll_body(&mut cx, &mut *connection.socket.borrow_mut())
    {
        inbound.consume_body(bytes);
        drained += bytes;
        if drained > DRAINED_MAX {
            return;
        }
    }
}

/// Nothing has come that was not asked for. Then a connection whose client wants no more can be closed at once: there is nothing
/// unread that would reset it, and nothing is to come.
fn is_silent(connection: &Connection) -> bool {
    let inbound = &mut *connection.inbound.borrow_mut();
    let mut cx = Context::from_waker(Waker::noop());
    let socket = &mut *connection.socket.borrow_mut();
    inbound.data().is_empty() && inbound.poll_fill(&mut cx, socket, DRAINED_MAX).is_pending()
}

/// Closes the connection in a way that lets the client read its last answer: a socket that is closed with unread data
/// in it resets the connection, and what was on its way is lost.
pub(super) async fn linger(connection: &Connection) {
    connection.enter(Phase::Lingering);
    if !shut(connection).await {
        return;
    }
    poll_fn(|cx| {
        let inbound = &mut *connection.inbound.borrow_mut();
        loop {
            inbound.skip(inbound.data().len());
            match ready!(inbound.poll_fill(cx, &mut *connection.socket.borrow_mut(), DRAINED_MAX)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    })
    .await;
}

/// Says that nothing more is to come. Whether the client can have heard it.
async fn shut(connection: &Connection) -> bool {
    let shut = poll_fn(|cx| {
        let socket = &mut *connection.socket.borrow_mut();
        Pin::new(socket).poll_shutdown(cx)
    });
    shut.await.is_ok()
}
