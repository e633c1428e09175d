//! Upgraded connections (WebSocket and others): bytes both ways, under the lease that the upgrade was made with.
//!
//! A client may close its half and go on listening. A backend that closes its half has gone, and that is the end.

use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::flight::{Flight, Stage, Tracked};

const BUFFER_BYTES: usize = 16 * 1024;

/// Relays between the two sides until the backend is done, one breaks, nothing moves for too long, or the epoch is cut.
pub async fn relay(client: OnUpgrade, backend: OnUpgrade, tracked: Tracked) {
    let flight = tracked.flight.clone();
    flight.enter(Stage::Tunnel);
    let both = async {
        let (client, backend) = tokio::try_join!(client, backend).ok()?;
        let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
        let (from_backend, to_backend) = tokio::io::split(TokioIo::new(backend));
        tokio::select! {
            ended = copy(from_backend, to_client, &flight) => ended.ok(),
            Err(_) = copy(from_client, to_backend, &flight) => None,
        }
    };
    // Being ended drops both sides, and only then is the lease given back.
    let _ = flight.guard(both).await;
    drop(tracked);
}

async fn copy<R, W>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, flight: &Rc<Flight>) -> std::io::Result<()>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        flight.enter(Stage::Tunnel);
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}
