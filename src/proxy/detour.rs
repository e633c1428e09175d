//! Requests of other edges, for backends that those can't reach.
//!
//! Each has a connection of its own. It is let in under the epoch that the other edge says, or not at all: it never waits
//! here, for it has a lease there, and what waits with a lease keeps a fence from being complete.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::connection::Connection;
use super::flight::{Ended, Stage};
use super::http1::linger;
use super::link::{Handed, Link};
use super::tunnel;
use super::worker::Worker;
use crate::core::Address;
use crate::detour::{self, Errand, LINE_BYTES_MAX, REFUSED, TAKEN};
use crate::observe::metrics::Count;

/// Serves a connection of another edge to its end.
pub(super) async fn serve(worker: &Rc<Worker>, connection: &Rc<Connection>) {
    let Some(errand) = poll_fn(|cx| poll_errand(cx, worker, connection)).await else { return };
    let _active = connection.request_began();
    let Some(handed) = take(worker, connection, &errand).await else {
        let _ = write(connection, REFUSED).await;
        return linger(connection).await;
    };
    if write(connection, TAKEN).await {
        tunnel::relay(&connection.inbound, &connection.socket, handed).await;
    } else {
        drop(handed);
    }
    linger(connection).await;
}

/// What it comes for; `None` if it may not come, or has left.
fn poll_errand(cx: &mut Context<'_>, worker: &Worker, connection: &Connection) -> Poll<Option<Errand>> {
    let (mut inbound, mut socket) = (connection.inbound.borrow_mut(), connection.socket.borrow_mut());
    loop {
        let data = inbound.data();
        if let Some(end) = memchr::memchr(b'\n', data) {
            let errand = worker.detour.as_ref().and_then(|token| Errand::read(&data[..end], token));
            if errand.is_none() {
                tracing::warn!(from = %connection.sender().address(), "cluster.detour: a connection that is no edge's of this fleet was closed");
            }
            inbound.skip(end + 1);
            return Poll::Ready(errand.filter(|_| detour::prepare(&*socket).is_ok()));
        }
        if data.len() >= LINE_BYTES_MAX || connection.takes_no_more() {
            return Poll::Ready(None);
        }
        match ready!(inbound.poll_fill(cx, &mut *socket, LINE_BYTES_MAX)) {
            Ok(0) | Err(_) => return Poll::Ready(None),
            Ok(_) => {}
        }
    }
}

/// A lease under the epoch that is meant, and a connection to its backend.
async fn take(worker: &Rc<Worker>, connection: &Rc<Connection>, errand: &Errand) -> Option<Box<Handed>> {
    let site = worker.published(|published| published.routes.site(&errand.site).cloned())?;
    let lease = site.gate.enter()?;
    let pin = lease.pin().clone();
    let is_meant = pin.epoch == errand.epoch && matches!(pin.backend.address(), Address::Tcp(_));
    if !is_meant || lease.gate().detour().is_some() {
        return None;
    }
    let tracked = worker.flights.begin(connection, Some(lease), *site.config.upstream);
    tracked.flight.enter(Stage::Connecting);
    match tracked.flight.guard(Link::to(&pin.backend)).await {
        Ok(Ok(link)) if tracked.lease.as_ref().is_some_and(|lease| lease.may_hand_over()) => {
            worker.metrics.count(Count::DetoursGiven);
            return Some(Box::new(Handed { link: Some(link), tracked }));
        }
        Ok(Ok(_)) | Err(Ended::Cut) => {}
        // What it says about the backend it says to all.
        Ok(Err(error)) if crate::net::is_shortage_here(&error) => {}
        Ok(Err(error)) if error.kind() != std::io::ErrorKind::TimedOut => site.gate.suspect(pin.epoch),
        Ok(Err(_)) | Err(Ended::TimedOut(_)) => site.gate.doubt(pin.epoch),
    }
    None
}

/// Writes a word. Says whether it was taken.
async fn write(connection: &Connection, word: &[u8]) -> bool {
    let mut left = word;
    poll_fn(|cx| {
        while !left.is_empty() {
            match ready!(Pin::new(&mut *connection.socket.borrow_mut()).poll_write(cx, left)) {
                Ok(written @ 1..) => left = &left[written..],
                _ => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    })
    .await
}
