//! Certificates for hosts of a test, and clients that speak TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio_rustls::TlsConnector;

use super::{Config, PATIENCE};

/// An authority, and the folder that its certificates are in.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).expect("a root");
        let folder = tempfile::tempdir().expect("a folder");
        Self { issuer: Issuer::new(params, key), roots: roots.into(), folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// With a listener of TLS, and the certificates of this authority.
    pub(crate) fn secured(&self, config: Config) -> Config {
        let folder = self.folder().display();
        Config { listen: format!("https = ['127.0.0.1:0']\n[tls]\ncertificates = '{folder}'"), ..config }
    }

    /// Puts a certificate for these names where the proxy finds it, in place of the one before.
    pub(crate) fn certify(&self, file: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(file, &(certificate.pem() + &key.serialize_pem()));
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let aside = self.folder.path().join(".new");
        std::fs::write(&aside, text).expect("written");
        std::fs::rename(aside, self.folder.path().join(file)).expect("renamed");
    }

    /// Of a client that trusts this authority and offers these protocols.
    pub(crate) fn client(&self, protocols: &[&str]) -> ClientConfig {
        let mut config =
            ClientConfig::builder().with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// Of one that knows these ciphers, the best first.
    pub(crate) fn client_with(&self, ciphers: &[CipherSuite]) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        let all = std::mem::take(&mut provider.cipher_suites);
        let named = ciphers.iter().filter_map(|cipher| all.iter().find(|one| one.suite() == *cipher));
        provider.cipher_suites = named.copied().collect();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().expect("ciphers for each version");
        builder.with_root_certificates(self.roots.clone()).with_no_client_auth()
    }

    /// An address at which whatever is sent in clear text goes on over TLS, each connection over one of its own, to the
    /// host `name` at `to`. What is written by hand for the one can so be tried over the other.
    pub(crate) fn bridge(&self, to: SocketAddr, name: &'static str, protocol: &str) -> SocketAddr {
        let connector = TlsConnector::from(Arc::new(self.client(&[protocol])));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket option");
        let address = listener.local_addr().expect("an address");
        // It lives as long as the test's process, and does nothing by itself.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((mut near, _)) = listener.accept().await {
                    let connector = connector.clone();
                    tokio::spawn(async move {
                        let far = tokio::net::TcpStream::connect(to).await?;
                        let name = ServerName::try_from(name).expect("a name");
                        let mut far = connector.connect(name, far).await?;
                        copy_bidirectional(&mut near, &mut far).await
                    });
                }
            });
        });
        address
    }
}

/// Makes a handshake, and returns the connection or what was wrong with it.
pub(crate) fn handshake(
    to: SocketAddr,
    name: &'static str,
    config: &Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name).expect("a name");
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
