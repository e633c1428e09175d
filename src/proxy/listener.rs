//! Where connections come in: binding, accepting, and telling which protocol a client speaks.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::connection::Connection;
use super::worker::{Way, Worker};
use super::{http1, http2};
use crate::config::ListenAddress;
use crate::net::{self, bind_unix};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;
/// Connections that are accepted before those that are there have their turn. Each costs some system calls, and a crowd
/// at the door must not keep waiting who is inside.
const ACCEPTED_A_TURN: u32 = 8;
/// Wait after a failed accept: the usual reason is that file descriptors have run out, and only time gives them back.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Bytes that are read of a client before it is known what it speaks.
const FIRST_BYTES: usize = 16 * 1024;

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub bound: Bound,
    /// Which one it is of all that are configured: what its settings are found by.
    pub number: usize,
    /// Who comes there.
    pub kind: Kind,
}

/// Who comes in by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Clients, in clear text.
    Http,
    /// Clients, who begin with a TLS handshake.
    Https,
    /// Other edges, with requests for backends that they can't reach.
    Edges,
}

/// A socket that listens, or is to.
#[derive(Debug)]
pub enum Bound {
    /// At an address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

impl Bound {
    /// The same socket once more.
    ///
    /// # Errors
    /// There are no file descriptors to be had.
    pub fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }

    /// From now on, connections come here. Of one that listens already, nothing changes but how many may wait.
    ///
    /// # Errors
    /// Somebody else listens at the address, and doesn't share it.
    pub fn listen(&self) -> io::Result<()> {
        Ok(rustix::net::listen(self, BACKLOG)?)
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Binds `address` once for each of `count` workers, and says what it has become: port 0 is any port. The kernel spreads
/// connections over them, as soon as they [listen](Bound::listen): until then it brings none, however well the address fits.
///
/// # Errors
/// The address is in use, or can't be had.
pub fn bind(address: &ListenAddress, count: usize) -> io::Result<(ListenAddress, Vec<Bound>)> {
    match address {
        ListenAddress::Tcp(address) => {
            let bound = bind_tcp(*address, count, true)?;
            let address = bound[0].local_addr()?;
            Ok((ListenAddress::Tcp(address), bound.into_iter().map(Bound::Tcp).collect()))
        }
        ListenAddress::Unix(path) => {
            let listener = bind_unix(path)?;
            let bound = (0..count).map(|_| Ok(Bound::Unix(listener.try_clone()?)));
            Ok((address.clone(), bound.collect::<io::Result<_>>()?))
        }
    }
}

/// The same once, and shared with nobody: no other process can listen there beside this one.
///
/// # Errors
/// See [`bind`].
pub fn bind_alone(address: &ListenAddress) -> io::Result<Bound> {
    match address {
        ListenAddress::Tcp(address) => Ok(Bound::Tcp(bind_tcp(*address, 1, false)?.swap_remove(0))),
        ListenAddress::Unix(path) => Ok(Bound::Unix(bind_unix(path)?)),
    }
}

fn bind_tcp(address: SocketAddr, count: usize, shared: bool) -> io::Result<Vec<TcpListener>> {
    let mut bound = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let listener = TcpListener::from(socket);
        // The same port for all workers.
        address = listener.local_addr()?;
        bound.push(listener);
    }
    Ok(bound)
}

/// A listening socket of the worker's runtime.
enum Listening {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listening {
    fn new(bound: Bound) -> io::Result<Self> {
        Ok(match bound {
            Bound::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Self::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }

    /// The next connection, and where it is from. Who comes by a path is on this machine.
    async fn accept(&self) -> io::Result<(net::Socket, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Answers are written whole; waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                Ok((net::Socket::Tcp(stream), from.ip()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((net::Socket::Unix(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}

/// Accepts connections until the task is aborted.
pub(super) async fn accept_all(worker: Rc<Worker>, listener: Listener) {
    let Listener { bound, number, kind } = listener;
    let listener = match Listening::new(bound) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener can't be used"),
    };
    let mut accepted = 0;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                tokio::task::spawn_local(worker.clone().serve_connection(
                    stream,
                    from,
                    Way { listener: number, kind },
                ));
                accepted = (accepted + 1) % ACCEPTED_A_TURN;
                if accepted == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Serves one connection, HTTP/1.x or HTTP/2, to its end.
pub(super) async fn serve(worker: &Rc<Worker>, connection: &Rc<Connection>) {
    let serving = pin!(async {
        match is_http2(connection).await {
            Some(true) => http2::serve(worker, connection).await,
            Some(false) => http1::serve(worker, connection).await,
            None => {}
        }
    });
    connection.until_killed(serving).await;
}

/// Which protocol the client speaks, as soon as it can be told; `None` if it leaves before.
async fn is_http2(connection: &Connection) -> Option<bool> {
    poll_fn(|cx| {
        let inbound = &mut *connection.inbound.borrow_mut();
        loop {
            let data = inbound.data();
            let known = data.len().min(http2::PREFACE.len());
            if data[..known] != http2::PREFACE[..known] {
                return Poll::Ready(Some(false));
            }
            if known == http2::PREFACE.len() {
                return Poll::Ready(Some(true));
            }
            if connection.takes_no_more() {
                return Poll::Ready(None);
            }
            match ready!(inbound.poll_fill(cx, &mut *connection.socket.borrow_mut(), FIRST_BYTES)) {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(_) => {}
            }
        }
    })
    .await
}
