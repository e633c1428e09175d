//! One client connection: its socket, its deadlines, and the switch that ends it.
//!
//! Deadlines cost nothing on the way of a request: whoever reads and writes leaves coarse time stamps here, and the
//! worker looks at them when one could have passed.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;

use super::census::Counted;
use super::flight::Tracked;
use super::headers::Peer;
use super::inbound::Inbound;
use crate::certs::Certificate;
use crate::clock::{Clock, Tick};
use crate::config::Limits;
use crate::core::table::{HOST_BYTES_MAX, as_name};
use crate::net::Socket;

/// Bytes of further requests that are taken in while one is being served. What is more waits with the client.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// How long what a client goes on sending is thrown away after its last answer, so that it can read that answer.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
/// What a client that asked for it is told before it sends its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// See the module's text.
pub struct Connection {
    peer: Peer,
    /// The number of the listener that it came in by.
    pub listener: usize,
    /// What the client was shown, if the connection is one of TLS.
    certificate: Option<Arc<Certificate>>,
    /// The socket.
    pub socket: RefCell<Socket>,
    /// What has come in over it.
    pub inbound: RefCell<Inbound>,
    phase: Cell<Phase>,
    /// When the phase began.
    since: Cell<Tick>,
    /// Since when the client does not take what is written to it.
    blocked_since: Cell<Option<Tick>>,
    /// What is left to be written of a 100 that the client waits for.
    owed_continue: Cell<&'static [u8]>,
    /// Requests being served.
    active: Cell<u32>,
    /// Answers that were handed over whole, but may not have been written yet: their leases end with the next flush.
    unflushed: RefCell<Vec<Tracked>>,
    /// All that was handed over has left this process.
    is_flushed: Cell<bool>,
    ending: Cell<Ending>,
    /// Its driver is gone: nothing is going to be flushed any more.
    gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    clock: Clock,
    /// Until nothing refers to the connection any more.
    _counted: Counted,
}

/// What a client is expected to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To begin, or to go on with, the head of a request; the very first one is due at once.
    Head,
    /// To wait for answers. Those have deadlines of their own.
    Served,
    /// To send another request, or to leave.
    Idle,
    /// To read its last answer, and to leave.
    Lingering,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    GoesOn,
    /// One more request, which may be on its way, and whose answer says that it was the last.
    OneMore,
    /// No further request; those under way are answered.
    Graceful,
    /// At once.
    Killed,
}

impl Connection {
    /// A connection just accepted.
    pub fn new(
        socket: Socket,
        listener: usize,
        certificate: Option<Arc<Certificate>>,
        peer: Peer,
        clock: Clock,
        counted: Counted,
    ) -> Rc<Self> {
        Rc::new(Self {
            peer,
            listener,
            certificate,
            socket: RefCell::new(socket),
            inbound: RefCell::default(),
            phase: Cell::new(Phase::Head),
            since: Cell::new(clock.now()),
            blocked_since: Cell::default(),
            owed_continue: Cell::default(),
            active: Cell::new(0),
            unflushed: RefCell::default(),
            is_flushed: Cell::new(true),
            ending: Cell::new(Ending::GoesOn),
            gone: Cell::new(false),
            waker: RefCell::default(),
            clock,
            _counted: counted,
        })
    }

    /// The client, as it is named to backends.
    pub fn sender(&self) -> &Peer {
        &self.peer
    }

    /// Whether a request for this host may come this way: over TLS, only for names in the certificate.
    pub fn may_ask_for(&self, host: &str) -> bool {
        self.certificate.as_ref().is_none_or(|certificate| {
            as_name(host, &mut [0; HOST_BYTES_MAX]).is_some_and(|name| certificate.covers(name))
        })
    }

    // How it ends.

    /// Ends the connection at once, whatever is under way.
    pub fn kill(&self) {
        self.end(Ending::Killed);
    }

    /// Lets the connection end after one more request. Its client may just be sending that, and whoever closes then leaves
    /// it without an answer.
    pub fn end_after_one_more(&self) {
        if self.ending.get() == Ending::GoesOn {
            self.end(Ending::OneMore);
        }
    }

    /// Lets the connection end after the requests under way.
    pub fn end_gracefully(&self) {
        if !self.takes_no_more() {
            self.end(Ending::Graceful);
        }
    }

    fn end(&self, ending: Ending) {
        self.ending.set(ending);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// An answer is to say that it is the last one.
    pub fn is_ending(&self) -> bool {
        self.ending.get() != Ending::GoesOn
    }

    /// No further request is to be taken.
    pub fn takes_no_more(&self) -> bool {
        matches!(self.ending.get(), Ending::Graceful | Ending::Killed)
    }

    /// Drives `work` until it is done or the connection is killed, which drops it. `work` is polled when the connection
    /// is told to end.
    ///
    /// What is driven comes pinned: a future that is passed by value is kept in each function it passes through.
    pub async fn until_killed(&self, mut work: Pin<&mut impl Future<Output = ()>>) {
        poll_fn(|cx| {
            if self.ending.get() == Ending::Killed || work.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Another handle on the socket, to watch it while nobody reads from it.
    pub fn watch(&self) -> io::Result<OwnedFd> {
        self.socket.borrow().as_fd().try_clone_to_owned()
    }

    /// Drives `work` as long as the client is there; `None` if it has left. Looks only while nothing of a request's body
    /// is to be read: whoever reads that sees the end himself.
    pub async fn unless_left<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_left(cx).map(|()| None),
        })
        .await
    }

    fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (Ok(mut inbound), Ok(mut socket)) = (self.inbound.try_borrow_mut(), self.socket.try_borrow_mut())
        else {
            return Poll::Pending;
        };
        while inbound.body_has_ended() && inbound.data().len() < AHEAD_BYTES_MAX {
            match ready!(inbound.poll_fill(cx, &mut *socket, AHEAD_BYTES_MAX)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    // What a client waits for before it sends a body.

    /// The client waits for a 100 before it sends the body of its request, or does not.
    pub fn owe_continue(&self, owed: bool) {
        self.owed_continue.set(if owed { CONTINUE } else { &[] });
    }

    /// The body is wanted: the client is told to go on, if it waits for that.
    pub fn poll_continue(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.owed_continue.get().is_empty() {
            let left = self.owed_continue.get();
            let written = ready!(Pin::new(&mut *self.socket.borrow_mut()).poll_write(cx, left))?;
            self.owed_continue.set(&left[written..]);
        }
        Pin::new(&mut *self.socket.borrow_mut()).poll_flush(cx)
    }

    /// An answer begins: no 100 comes any more. What is left of one that was begun comes first.
    pub fn take_continue(&self) -> &'static [u8] {
        let left = self.owed_continue.take();
        if left.len() == CONTINUE.len() { &[] } else { left }
    }

    // When it is too late.

    /// What the client is expected to do next.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// From now on, the client is expected to do this.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.clock.now());
    }

    /// A request begins to be served, and is until the guard is dropped: when the last byte of its answer was handed
    /// over, or when nobody wants one any more.
    pub fn request_began(self: &Rc<Self>) -> Active {
        self.active.set(self.active.get() + 1);
        self.enter(Phase::Served);
        Active(self.clone())
    }

    /// How many requests are being served.
    pub fn active(&self) -> u32 {
        self.active.get()
    }

    /// Notes whether the client takes what is written to it.
    pub fn note_written<T>(&self, written: Poll<T>) -> Poll<T> {
        if written.is_ready() {
            self.blocked_since.set(None);
        } else if self.blocked_since.get().is_none() {
            self.blocked_since.set(Some(self.clock.now()));
        }
        written
    }

    /// Ends the connection if a deadline has passed, and says which one, or else when to look again: no deadline passes
    /// before that, whatever happens until then.
    pub fn look(&self, now: Tick, limits: &Limits) -> Result<Tick, &'static str> {
        let Limits { head_timeout, keep_alive_timeout, write_timeout, .. } = *limits;
        let blocked = self.blocked_since.get().map(|since| (since.and(write_timeout), "slow_reader"));
        let since = self.since.get();
        let expected = match self.phase.get() {
            Phase::Served => None,
            Phase::Head => Some((since.and(head_timeout), "slow_head")),
            Phase::Idle => Some((since.and(keep_alive_timeout), "idle")),
            Phase::Lingering => Some((since.and(LINGER), "lingering")),
        };
        let deadlines = || blocked.into_iter().chain(expected);
        let Some((_, why)) = deadlines().find(|(at, _)| *at <= now) else {
            // The soonest that anything can be late that has not even begun.
            let soonest = now.and(head_timeout.min(keep_alive_timeout).min(write_timeout).min(LINGER));
            return Ok(deadlines().map(|(at, _)| at).fold(soonest, Ord::min));
        };
        if why == "idle" && !self.takes_no_more() {
            // A request may just be coming in, and HTTP/2 has a word for the end. It has its time to be said.
            self.end_gracefully();
            self.since.set(now);
        } else {
            self.kill();
        }
        Err(why)
    }

    // Leases of answers that are on their way out.

    /// Keeps a lease until what was handed over so far has left this process; for protocols that write by themselves.
    pub fn release_when_flushed(&self, tracked: Tracked) {
        if !self.gone.get() {
            self.is_flushed.set(false);
            self.unflushed.borrow_mut().push(tracked);
        }
    }

    /// All that was handed over has left this process, as far as one knows in the middle of writing.
    pub fn note_flushed(&self) {
        self.is_flushed.set(true);
    }

    /// Gives back the leases of what has left this process.
    pub fn release_if_flushed(&self) {
        // HTTP/2 flushes in the middle of what it has to write as well: then the next write is waiting.
        let is_through = self.is_flushed.get() && self.blocked_since.get().is_none();
        if is_through && !self.unflushed.borrow().is_empty() {
            let delivered = std::mem::take(&mut *self.unflushed.borrow_mut());
            drop(delivered);
        }
    }

    /// Nothing is going to be flushed any more: answers that never were are gone, and so are their leases.
    pub fn give_up(&self) {
        self.gone.set(true);
        let undelivered = std::mem::take(&mut *self.unflushed.borrow_mut());
        drop(undelivered);
    }
}

/// A request that is being served. Meanwhile its connection is not idle.
pub struct Active(Rc<Connection>);

impl Drop for Active {
    fn drop(&mut self) {
        let connection = &*self.0;
        connection.active.set(connection.active.get() - 1);
        if connection.active.get() == 0 {
            connection.enter(Phase::Idle);
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}
