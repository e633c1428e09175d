//! The ways to the proxy: clear text and TLS. A case says the same over both, and the same must come of it.
//!
//! Over TLS, an end that doesn't say that it is one is an error (`UnexpectedEof`): anybody on the way could have cut there.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::harness::PATIENCE;
use super::harness::secure::handshake;

/// The host that is named to TLS.
const NAME: &str = "a.test";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    ClearText,
    Tls,
}

impl Over {
    pub(crate) const BOTH: [Self; 2] = [Self::ClearText, Self::Tls];

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::ClearText => "http",
            Self::Tls => "https",
        }
    }
}

/// Where a way begins.
pub(crate) enum Road {
    ClearText(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
}

impl Road {
    pub(crate) fn tls(to: SocketAddr, config: ClientConfig) -> Self {
        Self::Tls(to, Arc::new(config))
    }

    /// One connection.
    pub(crate) fn walk(&self) -> Way {
        let way = match self {
            Self::ClearText(to) => Way::ClearText(TcpStream::connect(to).expect("the proxy listens")),
            Self::Tls(to, config) => {
                let stream = handshake(*to, NAME, config).expect("a handshake");
                assert_eq!(stream.conn.alpn_protocol(), config.alpn_protocols.first().map(Vec::as_slice));
                let (connection, socket) = stream.into_parts();
                Way::Tls(Box::new(connection), socket)
            }
        };
        let (Way::ClearText(socket) | Way::Tls(_, socket)) = &way;
        socket.set_nodelay(true).expect("a socket option");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        way
    }

    /// One connection for a task.
    pub(crate) async fn walk_async(&self) -> io::Result<Box<dyn Duplex>> {
        let (Self::ClearText(to) | Self::Tls(to, _)) = self;
        let socket = tokio::net::TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        let Self::Tls(_, config) = self else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config.clone()).connect(name, socket).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), config.alpn_protocols.first().map(Vec::as_slice));
        Ok(Box::new(stream))
    }
}

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// One connection. What was sent to it can be read even if nothing can be written any more.
pub(crate) enum Way {
    ClearText(TcpStream),
    Tls(Box<ClientConnection>, TcpStream),
}

impl Way {
    /// Says that nothing more is to come.
    pub(crate) fn end(&mut self) {
        match self {
            // Who has been closed already needs no word.
            Self::ClearText(socket) => drop(socket.shutdown(Shutdown::Write)),
            Self::Tls(connection, _) => {
                connection.send_close_notify();
                let _ = self.flush();
            }
        }
    }
}

impl Write for Way {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::ClearText(socket) => socket.write(bytes),
            Self::Tls(connection, _) => {
                let written = connection.writer().write(bytes)?;
                self.flush()?;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Self::Tls(connection, socket) = self else { return Ok(()) };
        while connection.wants_write() {
            connection.write_tls(socket)?;
        }
        Ok(())
    }
}

impl Read for Way {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let (connection, socket) = match self {
            Self::ClearText(socket) => return socket.read(space),
            Self::Tls(connection, socket) => (connection, socket),
        };
        loop {
            match connection.reader().read(space) {
                // Nothing yet; of the socket itself, the same word means that its patience has ended.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            connection.read_tls(socket)?;
            connection.process_new_packets().map_err(io::Error::other)?;
        }
    }
}
