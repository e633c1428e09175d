//! A connection to a backend, and what it has been given.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use super::flight::Tracked;
use super::inbound::Inbound;
use crate::core::{Address, Backend};
use crate::detour::{Detour, Errand};
use crate::net::Socket;

/// A connection to a backend. Dropping it closes it, with whatever is under way on it.
#[derive(Debug)]
pub struct Link {
    /// The socket.
    pub socket: Socket,
    /// What has come in over it.
    pub inbound: Inbound,
    /// It goes through another edge, which has a lease as long as it lasts: it is for one request.
    pub is_detour: bool,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// The backend can't be reached.
    pub async fn to(backend: &Backend) -> io::Result<Self> {
        let socket = match backend.address() {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        };
        Ok(Self { socket, inbound: Inbound::default(), is_detour: false })
    }

    /// Connects through another edge.
    ///
    /// # Errors
    /// The edge can't be reached, or doesn't reach the backend either.
    pub async fn through(detour: &Detour, errand: &Errand) -> io::Result<Self> {
        let socket = Socket::Tcp(detour.take(errand).await?);
        Ok(Self { socket, inbound: Inbound::default(), is_detour: true })
    }

    /// Nothing is under way on it, and the backend has not closed it.
    pub fn is_idle(&mut self) -> bool {
        self.inbound.data().is_empty() && self.socket.is_quiet()
    }
}

/// A request that was handed to a backend, or is about to be, and the lease that it was handed over under. Dropping it
/// closes the connection first, and then gives the lease back: so the order of the fields.
#[derive(Debug)]
pub struct Handed {
    /// The connection, once there is one.
    pub link: Option<Link>,
    /// The flight, and what it flies under.
    pub tracked: Tracked,
}
