//! TLS on the side of the clients: a name, the certificate for it, and a handshake. The rest is rustls's.
//!
//! Who says no name, or one that there is no certificate for, is told so by an alert and counted, before any key is
//! touched.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, ClientHello, WantsServerCert};
use rustls::sign::SingleCertAndKey;
use rustls::{CipherSuite, ConfigBuilder, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::acme::{Authority, Challenges};
use crate::certs::{Certificate, Certificates};
use crate::core::table::{HOST_BYTES_MAX, as_name};
use crate::net::Socket;
use crate::observe::metrics::Count;

/// What is offered for the protocol inside, the best first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// What is offered by who looks whether a name leads here.
const ACME_PROTOCOL: &[u8] = b"acme-tls/1";
/// The alert `missing_extension` (RFC 8446, 9.2) in a record of its own.
const WITHOUT_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 109];
/// The alert `unrecognized_name` (RFC 6066, 3).
const UNKNOWN_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Tickets for each handshake: whoever comes back with one gets the next.
const TICKETS: usize = 1;

/// What all workers make handshakes with: certificates, and keys of tickets that change by themselves.
#[derive(Clone, Debug)]
pub struct Tls {
    /// With the cipher that is cheapest where there is hardware for AES.
    config: Arc<ServerConfig>,
    /// With the one that the client likes best, if it has no such hardware.
    as_they_like: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    ordering: Option<Ordering>,
    /// The port that clients reach it at.
    pub port: u16,
}

/// Certificates that aren't there yet, and who has them made.
#[derive(Clone, Debug)]
pub struct Ordering {
    /// Who has them made.
    pub authority: Authority,
    /// What those are shown who look whether a name leads here.
    pub challenges: Challenges,
    /// How long a handshake waits for its certificate.
    pub wait: Duration,
}

/// A handshake that is through.
pub struct Accepted {
    /// The connection.
    pub stream: Box<TlsStream<Socket>>,
    /// What the client was shown.
    pub certificate: Arc<Certificate>,
}

/// Why there is no connection after a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTls {
    /// The client did not say whom it wants.
    WithoutName,
    /// There is no certificate for whom it wants.
    UnknownName,
    /// It spoke something else, or nothing that both sides know, or left.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was a question whether a name leads here, and was answered.
    Challenge,
}

impl NoTls {
    /// Where it is counted.
    pub fn counted(self) -> Option<Count> {
        match self {
            Self::WithoutName => Some(Count::HandshakesWithoutName),
            Self::UnknownName => Some(Count::HandshakesForUnknownNames),
            Self::Failed => Some(Count::HandshakesFailed),
            Self::TimedOut => Some(Count::HandshakesTimedOut),
            Self::Challenge => None,
        }
    }
}

impl Tls {
    /// With these certificates, at this port for clients. TLS 1.2 and 1.3, with what rustls thinks safe.
    ///
    /// # Errors
    /// No random numbers are to be had.
    pub fn new(
        certificates: Arc<Certificates>,
        ordering: Option<Ordering>,
        port: u16,
    ) -> Result<Self, rustls::Error> {
        let mut config = builder()?.with_cert_resolver(certificates.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = TICKETS;
        let as_they_like = Arc::new(config.clone());
        config.ignore_client_order = true;
        Ok(Self { config: Arc::new(config), as_they_like, certificates, ordering, port })
    }

    /// Whether a handshake for this host would be made: it has a certificate that is valid.
    pub fn is_ready_for(&self, host: &str) -> bool {
        as_name(host, &mut [0; HOST_BYTES_MAX]).is_some_and(|name| self.certificates.has(name))
    }

    /// Whether certificates are made for hosts that have none.
    pub fn orders(&self) -> bool {
        self.ordering.is_some()
    }

    /// Has a certificate made for a host that has been seen. Nobody waits for it.
    pub fn order(&self, host: &str) {
        if let Some(ordering) = &self.ordering
            && let Some(name) = as_name(host, &mut [0; HOST_BYTES_MAX])
        {
            drop(ordering.authority.want(name));
        }
    }

    /// Makes a handshake. Each step of it may take as long as `patience`, but for the making of a certificate.
    /// `is_served` says whether a name is one of a site.
    ///
    /// # Errors
    /// There is no connection, and the client knows.
    pub async fn accept(
        &self,
        stream: Socket,
        patience: Duration,
        is_served: impl Fn(&str) -> bool,
    ) -> Result<Accepted, NoTls> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let hello = within(patience, hello).await?.map_err(|_| NoTls::Failed)?;
        let Some(name) = hello.client_hello().server_name().map(str::to_ascii_lowercase) else {
            refuse(hello.io, &WITHOUT_NAME).await;
            return Err(NoTls::WithoutName);
        };
        if let Some(config) = self.challenge(&hello.client_hello(), &name) {
            let answered = within(patience, hello.into_stream(config)).await?;
            let _ = within(patience, answered.map_err(|_| NoTls::Failed)?.shutdown()).await?;
            return Err(NoTls::Challenge);
        }
        let mut found = within(patience, self.certificates.find(&name)).await?;
        if let Some(ordering) = &self.ordering
            && found.is_none()
            && is_served(&name)
        {
            // Whatever has come of it: in the meantime there may be one from elsewhere.
            let _ = within(ordering.wait, ordering.authority.want(&name)).await;
            found = within(patience, self.certificates.find(&name)).await?;
        }
        let Some(certificate) = found else {
            refuse(hello.io, &UNKNOWN_NAME).await;
            return Err(NoTls::UnknownName);
        };
        let config = if likes_chacha(&hello.client_hello()) { &self.as_they_like } else { &self.config };
        let stream = within(patience, hello.into_stream(config.clone())).await?;
        Ok(Accepted { stream: Box::new(stream.map_err(|_| NoTls::Failed)?), certificate })
    }

    /// What to answer to a question whether this name leads here, if it is one (RFC 8737).
    fn challenge(&self, hello: &ClientHello<'_>, name: &str) -> Option<Arc<ServerConfig>> {
        let challenges = &self.ordering.as_ref()?.challenges;
        if !hello.alpn()?.any(|protocol| protocol == ACME_PROTOCOL) {
            return None;
        }
        let shown = challenges.tls_alpn01(name)?;
        let mut config = builder().ok()?.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = vec![ACME_PROTOCOL.to_vec()];
        Some(Arc::new(config))
    }
}

/// What rustls thinks safe, with AES-128 before AES-256: few machines have hardware for SHA-384, which comes with the latter.
fn builder() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, rustls::Error> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    Ok(builder.with_safe_default_protocol_versions()?.with_no_client_auth())
}

fn is_aes_128(suite: CipherSuite) -> bool {
    use CipherSuite as C;
    matches!(
        suite,
        C::TLS13_AES_128_GCM_SHA256
            | C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Whether the client names ChaCha20 before it names AES: it has no hardware for the latter.
fn likes_chacha(hello: &ClientHello<'_>) -> bool {
    use CipherSuite as C;
    // There are others, some of them there to be passed over (RFC 8701).
    let mut known = hello.cipher_suites().iter().filter_map(|suite| match *suite {
        C::TLS13_CHACHA20_POLY1305_SHA256
        | C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some(true),
        suite if is_aes_128(suite) => Some(false),
        C::TLS13_AES_256_GCM_SHA384
        | C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(false),
        _ => None,
    });
    known.next() == Some(true)
}

async fn within<T>(patience: Duration, step: impl Future<Output = T>) -> Result<T, NoTls> {
    tokio::time::timeout(patience, step).await.map_err(|_| NoTls::TimedOut)
}

/// Says why, and closes.
async fn refuse(mut stream: Socket, alert: &[u8]) {
    if stream.write_all(alert).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
