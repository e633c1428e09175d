//! One client connection: its bytes, its deadlines, and the switch that ends it.
//!
//! Deadlines cost nothing on the way of a request: reading and writing leave coarse time stamps here, and the
//! worker's rounds ([`super::rounds`]) look at them a few times a second.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::flight::Tracked;
use super::headers::Peer;
use super::worker::Counted;
use crate::clock::{Clock, Tick};
use crate::config::Limits;

/// See the module's text.
pub struct Connection {
    peer: Peer,
    socket: Arc<Socket>,
    /// Requests being served.
    active: Cell<u32>,
    /// It speaks HTTP/2: what is read between requests is not the beginning of a request head.
    is_h2: Cell<bool>,
    /// No request has come yet.
    is_new: Cell<bool>,
    /// Answers that were handed over whole, but may not have been written yet: their leases end with the next flush.
    unflushed: RefCell<Vec<Tracked>>,
    ending: Cell<Ending>,
    /// Its driver is gone: nothing is going to be flushed any more.
    gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Until nothing refers to the connection any more: after an upgrade, that is the tunnel.
    _counted: Counted,
}

/// The socket, and what reading and writing it leave behind. hyper wants it to be fit for another thread, since an
/// upgrade might take it there; it never goes, so that its lock is always free.
struct Socket {
    io: Mutex<TokioIo<TcpStream>>,
    clock: Clock,
    /// Something was read since the last request.
    has_read: AtomicBool,
    /// Since when the client owes a request head: when it began one, or when the last answer was done.
    waiting_since: AtomicU32,
    /// Since when the client does not take what is written to it; 0 if it does.
    blocked_since: AtomicU32,
    /// All that hyper was given has left this process.
    flushed: AtomicBool,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    GoesOn,
    /// No further request; those under way are answered.
    Graceful,
    /// At once.
    Killed,
}

impl Connection {
    /// A connection just accepted, and its bytes.
    pub fn new(stream: TcpStream, peer: Peer, clock: Clock, counted: Counted) -> (Rc<Self>, ClientIo) {
        let socket = Arc::new(Socket {
            io: Mutex::new(TokioIo::new(stream)),
            has_read: AtomicBool::new(false),
            waiting_since: AtomicU32::new(clock.now().0),
            blocked_since: AtomicU32::new(0),
            flushed: AtomicBool::new(true),
            clock,
        });
        let io = ClientIo(socket.clone());
        let connection = Self {
            peer,
            socket,
            active: Cell::new(0),
            is_h2: Cell::new(false),
            is_new: Cell::new(true),
            unflushed: RefCell::default(),
            ending: Cell::new(Ending::GoesOn),
            gone: Cell::new(false),
            waker: RefCell::default(),
            _counted: counted,
        };
        (Rc::new(connection), io)
    }

    /// The client, as it is named to backends.
    pub fn sender(&self) -> &Peer {
        &self.peer
    }

    /// Ends the connection at once, whatever is under way.
    pub fn kill(&self) {
        self.end(Ending::Killed);
    }

    /// Lets the connection end after the requests under way.
    pub fn end_gracefully(&self) {
        if self.ending.get() == Ending::GoesOn {
            self.end(Ending::Graceful);
        }
    }

    fn end(&self, ending: Ending) {
        self.ending.set(ending);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// A request begins to be served, and is until the guard is dropped: when the last byte of its answer was handed
    /// over, or when nobody wants one any more.
    pub fn request_began(self: &Rc<Self>, is_h2: bool) -> Active {
        self.active.set(self.active.get() + 1);
        self.is_h2.set(is_h2);
        self.is_new.set(false);
        Active(self.clone())
    }

    /// Keeps a lease until what was written so far has left this process.
    pub fn release_when_flushed(&self, tracked: Tracked) {
        if !self.gone.get() {
            self.socket.flushed.store(false, Ordering::Relaxed);
            self.unflushed.borrow_mut().push(tracked);
        }
    }

    /// Nothing is going to be flushed any more: answers that never were are gone, and so are their leases.
    pub fn give_up(&self) {
        self.gone.set(true);
        let undelivered = std::mem::take(&mut *self.unflushed.borrow_mut());
        drop(undelivered);
    }

    fn release_if_flushed(&self) {
        // HTTP/2 flushes in the middle of what it has to write as well: then the next write is waiting.
        let is_through = self.socket.flushed.load(Ordering::Relaxed)
            && self.socket.blocked_since.load(Ordering::Relaxed) == 0;
        if is_through && !self.unflushed.borrow().is_empty() {
            let delivered = std::mem::take(&mut *self.unflushed.borrow_mut());
            drop(delivered);
        }
    }

    /// Another handle on the socket, to watch it while hyper doesn't.
    pub fn watch(&self) -> io::Result<OwnedFd> {
        self.socket.io().inner().as_fd().try_clone_to_owned()
    }

    /// Ends the connection if a deadline has passed. Returns which one, for the count of refusals.
    pub fn look(&self, now: Tick, limits: &Limits) -> Option<&'static str> {
        let blocked_since = Tick(self.socket.blocked_since.load(Ordering::Relaxed));
        let why = if blocked_since.0 != 0 && now.is_past(blocked_since, limits.write_timeout) {
            "slow_reader"
        } else if self.active.get() > 0 {
            return None;
        } else {
            let owes_head =
                self.is_new.get() || self.socket.has_read.load(Ordering::Relaxed) && !self.is_h2.get();
            let since = Tick(self.socket.waiting_since.load(Ordering::Relaxed));
            let (timeout, why) = if owes_head {
                (limits.head_timeout, "slow_head")
            } else {
                (limits.keep_alive_timeout, "idle")
            };
            if !now.is_past(since, timeout) {
                return None;
            }
            if why == "idle" && self.ending.get() == Ending::GoesOn {
                // A request may just be coming in, and HTTP/2 has a word for the end. It has its time to be said.
                self.end_gracefully();
                self.socket.waiting_since.store(now.0, Ordering::Relaxed);
                return None;
            }
            why
        };
        self.kill();
        Some(why)
    }
}

/// A request that is being served. Meanwhile its connection is not idle.
pub struct Active(Rc<Connection>);

impl Drop for Active {
    fn drop(&mut self) {
        let Connection { active, socket, .. } = &*self.0;
        active.set(active.get() - 1);
        socket.has_read.store(false, Ordering::Relaxed);
        socket.waiting_since.store(socket.clock.now().0, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Socket {
    fn io(&self) -> MutexGuard<'_, TokioIo<TcpStream>> {
        self.io.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn note_written<T>(&self, written: &Poll<T>) {
        let since = if written.is_ready() { 0 } else { self.clock.now().0 };
        let known = self.blocked_since.load(Ordering::Relaxed);
        if (known == 0) != (since == 0) {
            self.blocked_since.store(since, Ordering::Relaxed);
        }
    }
}

/// The bytes of a connection, as hyper reads and writes them.
pub struct ClientIo(Arc<Socket>);

impl Read for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let socket = &self.0;
        let read = Pin::new(&mut *socket.io()).poll_read(cx, buf);
        if read.is_ready() && !socket.has_read.load(Ordering::Relaxed) {
            socket.has_read.store(true, Ordering::Relaxed);
            socket.waiting_since.store(socket.clock.now().0, Ordering::Relaxed);
        }
        read
    }
}

impl Write for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.io()).poll_write(cx, buf);
        self.0.note_written(&written);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes only when its own buffer is empty: all that was handed over has left this process.
        let flushed = Pin::new(&mut *self.0.io()).poll_flush(cx);
        if flushed.is_ready() {
            self.0.flushed.store(true, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.io()).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.io()).poll_write_vectored(cx, bufs);
        self.0.note_written(&written);
        written
    }
}

/// What a connection's driver can be asked to do; hyper's connections can.
pub trait Graceful {
    /// No further request.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// Drives a connection until it ends by itself or is ended.
pub async fn drive<C>(connection: &Connection, driver: C)
where
    C: Future + Graceful,
{
    let mut driver = pin!(driver);
    let mut told = false;
    std::future::poll_fn(|cx| {
        match connection.ending.get() {
            Ending::GoesOn => {}
            Ending::Graceful if told => {}
            Ending::Graceful => {
                told = true;
                driver.as_mut().graceful_shutdown();
            }
            Ending::Killed => return Poll::Ready(()),
        }
        // How a client's connection ended says nothing that its requests have not said already.
        if driver.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        connection.release_if_flushed();
        let mut waker = connection.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}
