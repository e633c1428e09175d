//! Where connections come in: binding, accepting, and telling which protocol a client speaks.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::connection::Connection;
use super::worker::Worker;
use super::{http1, http2};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;
/// Wait after a failed accept: the usual reason is that file descriptors have run out, and only time gives them back.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Bytes that are read of a client before it is known what it speaks.
const FIRST_BYTES: usize = 16 * 1024;

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Clients begin with a TLS handshake.
    pub is_tls: bool,
}

/// Binds `address` once for each of `count` workers. The kernel spreads connections over them.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut bound = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        // Port 0 is any port, but the same one for all workers.
        address = listener.local_addr()?;
        bound.push(listener);
    }
    Ok(bound)
}

/// Accepts connections until the task is aborted.
pub(super) async fn accept_all(worker: Rc<Worker>, listener: Listener) {
    let Listener { socket, is_tls } = listener;
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener can't be used"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are written whole; waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(worker.clone().serve_connection(stream, peer, is_tls));
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
            if connection.is_ending() {
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
