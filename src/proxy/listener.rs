//! Where connections come in: binding, accepting, and hyper's side of serving them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::{ClientIo, Connection, Graceful, drive};
use super::worker::Worker;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;
/// Wait after a failed accept: the usual reason is that file descriptors have run out, and only time gives them back.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Streams of one HTTP/2 connection at a time.
const H2_STREAMS_MAX: u32 = 128;
/// Bytes of one HTTP/2 stream that the client may send ahead. Held uploads wait with the client, not here.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of one HTTP/2 connection that the client may send ahead.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers of one HTTP/2 stream that wait here for the client.
const H2_SEND_BUFFER: usize = 64 * 1024;

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
pub(super) async fn accept_all(worker: Rc<Worker>, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener can't be used"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are written whole; waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(worker.clone().serve_connection(stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2, to its end.
pub(super) async fn serve(worker: Rc<Worker>, connection: Rc<Connection>, io: ClientIo) {
    let limits = worker.limits();
    let mut http = auto::Builder::new(LocalExecutor);
    http.http1().max_buf_size(limits.max_head_bytes.max(8192)).max_headers(limits.max_headers);
    http.http2()
        .max_concurrent_streams(H2_STREAMS_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX));
    let service = service_fn(|request| {
        let (worker, connection) = (worker.clone(), connection.clone());
        async move { Ok::<_, Infallible>(super::serve(worker, connection, request).await) }
    });
    let driver = http.serve_connection_with_upgrades(io, service);
    drive(&connection, driver).await;
}

impl<S, E> Graceful for auto::UpgradeableConnection<'_, ClientIo, S, E>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = super::body::ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper_util::server::conn::auto::HttpServerConnExec<S::Future, super::body::ResponseBody>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        auto::UpgradeableConnection::graceful_shutdown(self);
    }
}

/// Spawns hyper's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}
