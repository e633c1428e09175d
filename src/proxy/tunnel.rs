//! Upgraded connections (WebSocket and others): bytes both ways, under the lease that the upgrade was made with.
//!
//! A client may close its half and go on listening. A backend that closes its half has gone, and that is the end. Bytes
//! are handed on under the same condition as a request and its answer: a process that was stopped for longer than its
//! lease hands on nothing when it goes on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::flight::{Flight, Stage};
use super::inbound::Inbound;
use super::link::Handed;

/// Bytes that wait for one side.
const AHEAD_BYTES_MAX: usize = 16 * 1024;

/// Relays between the two sides until the backend is done, one breaks, nothing moves for too long, or the epoch is cut.
/// The lease is given back when that is over.
pub async fn relay<C>(inbound: &RefCell<Inbound>, client: &RefCell<C>, handed: Box<Handed>)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let Handed { link: Some(mut link), tracked } = *handed else { return };
    let flight = &*tracked.flight;
    flight.enter(Stage::Tunnel);
    let mut client_closed = false;
    let both = poll_fn(|cx| {
        if tracked.lease.as_ref().is_some_and(|lease| !lease.may_hand_over()) {
            return Poll::Ready(Ok(()));
        }
        let (inbound, client) = (&mut *inbound.borrow_mut(), &mut *client.borrow_mut());
        if poll_copy(cx, flight, &mut link.inbound, &mut link.socket, client)?.is_ready() {
            return Poll::Ready(Ok::<(), io::Error>(()));
        }
        if !client_closed && poll_copy(cx, flight, inbound, client, &mut link.socket)?.is_ready() {
            client_closed = true;
            // A socket's half is closed at once.
            let _ = Pin::new(&mut link.socket).poll_shutdown(cx)?;
        }
        Poll::Pending
    });
    // How it ended is of no interest to anybody: either side has seen it.
    let _ = flight.guard(both).await;
    drop(link);
    drop(tracked);
}

/// Copies one way until `from` has closed and all was written.
fn poll_copy(
    cx: &mut Context<'_>,
    flight: &Flight,
    inbound: &mut Inbound,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Poll<io::Result<()>> {
    loop {
        while !inbound.data().is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, inbound.data()))?;
            inbound.skip(written);
            flight.enter(Stage::Tunnel);
        }
        // Some streams keep back what they took until they are told.
        let _ = Pin::new(&mut *to).poll_flush(cx)?;
        if ready!(inbound.poll_fill(cx, from, AHEAD_BYTES_MAX))? == 0 {
            return Poll::Ready(Ok(()));
        }
    }
}
