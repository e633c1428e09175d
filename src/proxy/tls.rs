//! TLS on the side of the clients: a name, the certificate for it, and a handshake. The rest is rustls's.
//!
//! Who says no name, or one that there is no certificate for, is told so by an alert and counted, before any key is
//! touched.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certs::{Certificate, Certificates};
use crate::core::table::{HOST_BYTES_MAX, as_name};
use crate::net::Socket;
use crate::observe::metrics::Count;

/// What is offered for the protocol inside, the best first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The alert `missing_extension` (RFC 8446, 9.2) in a record of its own.
const WITHOUT_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 109];
/// The alert `unrecognized_name` (RFC 6066, 3).
const UNKNOWN_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What all workers make handshakes with: certificates, and keys of tickets that change by themselves.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    /// The port that clients reach it at.
    pub port: u16,
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTls {
    /// The client did not say whom it wants.
    WithoutName,
    /// There is no certificate for whom it wants.
    UnknownName,
    /// It spoke something else, or nothing that both sides know, or left.
    Failed,
}

impl NoTls {
    /// Where it is counted.
    pub fn counted(self) -> Count {
        match self {
            Self::WithoutName => Count::HandshakesWithoutName,
            Self::UnknownName => Count::HandshakesForUnknownNames,
            Self::Failed => Count::HandshakesFailed,
        }
    }
}

impl Tls {
    /// With these certificates, at this port for clients. TLS 1.2 and 1.3, with what rustls thinks safe.
    ///
    /// # Errors
    /// No random numbers are to be had.
    pub fn new(certificates: Arc<Certificates>, port: u16) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self { config: Arc::new(config), certificates, port })
    }

    /// Whether a handshake for this host would be made: it has a certificate that is valid.
    pub fn is_ready_for(&self, host: &str) -> bool {
        as_name(host, &mut [0; HOST_BYTES_MAX]).is_some_and(|name| self.certificates.has(name))
    }

    /// Makes a handshake. Returns the certificate that the client was shown as well.
    ///
    /// # Errors
    /// It came to nothing, and the client knows.
    pub async fn accept(&self, stream: Socket) -> Result<(Box<TlsStream<Socket>>, Arc<Certificate>), NoTls> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(|_| NoTls::Failed)?;
        let Some(name) = hello.client_hello().server_name().map(str::to_ascii_lowercase) else {
            refuse(hello.io, &WITHOUT_NAME).await;
            return Err(NoTls::WithoutName);
        };
        let Some(certificate) = self.certificates.find(&name).await else {
            refuse(hello.io, &UNKNOWN_NAME).await;
            return Err(NoTls::UnknownName);
        };
        let stream = hello.into_stream(self.config.clone()).await.map_err(|_| NoTls::Failed)?;
        Ok((Box::new(stream), certificate))
    }
}

/// Says why, and closes.
async fn refuse(mut stream: Socket, alert: &[u8]) {
    if stream.write_all(alert).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
