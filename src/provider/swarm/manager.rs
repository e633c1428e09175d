//! The way to one manager: a connection that is kept, over a Unix socket, TCP, or TCP with a client's certificate.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;

use super::api::{Answers, INFO, NODES, SERVICES, TASKS, message};
use crate::config::provider::{ClientTls, Manager};

/// 10,000 tasks are 25 MiB.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// See the module's text.
pub(super) struct Api {
    pub(super) address: Manager,
    tls: Option<ClientTls>,
    kept: RefCell<Option<Link>>,
}

/// A connection, and who works for it.
struct Link {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What a connection is made of.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Api {
    pub(super) fn new(address: Manager, tls: Option<ClientTls>) -> Self {
        Self { address, tls, kept: RefCell::new(None) }
    }

    /// Asks for everything. Who gives up waiting drops the future, and the connection with it.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn look(&self) -> Result<Answers, String> {
        let kept = self.kept.take();
        let (mut link, is_new) = match kept {
            Some(link) => (link, false),
            None => (self.connect().await?, true),
        };
        let info = match get(&mut link, INFO).await {
            Ok(info) => info,
            // It has been closed meanwhile, which is nobody's fault.
            Err(Failure::Broken(_)) if !is_new => {
                link = self.connect().await?;
                get(&mut link, INFO).await?
            }
            Err(failure) => return Err(failure.into()),
        };
        let services = get(&mut link, SERVICES).await?;
        let tasks = get(&mut link, TASKS).await?;
        let nodes = get(&mut link, NODES).await?;
        self.kept.replace(Some(link));
        Ok(Answers { info, services, tasks, nodes })
    }

    /// Calls `happened` for each piece of an answer that doesn't end, and returns when it has ended.
    pub(super) async fn listen(&self, path: &str, happened: impl Fn()) -> Result<(), String> {
        let mut link = self.connect().await?;
        let mut body = request(&mut link, path).await?;
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| error.to_string())?;
            happened();
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Link, String> {
        let stream: Box<dyn Stream> = match &self.address {
            Manager::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(in_words)?),
            Manager::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(in_words)?;
                stream.set_nodelay(true).map_err(in_words)?;
                match &self.tls {
                    Some(tls) => Box::new(secure(stream, host, tls).await?),
                    None => Box::new(stream),
                }
            }
        };
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driver = tokio::task::spawn_local(async move {
            // How it ends is told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Link { sender, driver: driver.abort_handle() })
    }
}

fn in_words(error: io::Error) -> String {
    format!("can't be reached: {error}")
}

async fn secure(
    stream: TcpStream,
    host: &str,
    files: &ClientTls,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("`{host}`: {error}"))?;
    let config = client(files)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
}

/// Trusts the one authority, and nobody whom the system trusts besides.
fn client(files: &ClientTls) -> Result<rustls::ClientConfig, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let of = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let chain = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        let text = read(path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(of(path, &"has no certificate in it")),
            Err(error) => Err(of(path, &error)),
        }
    };
    let mut roots = RootCertStore::empty();
    for root in chain(&files.ca)? {
        roots.add(root).map_err(|error| of(&files.ca, &error))?;
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|error| of(&files.key, &error))?;
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(&files.cert)?, key)
        .map_err(|error| of(&files.key, &error))
}

/// Why a request had no good answer.
enum Failure {
    /// The connection.
    Broken(String),
    /// Anything else.
    Other(String),
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Broken(why) | Failure::Other(why) => why,
        }
    }
}

async fn request(link: &mut Link, path: &str) -> Result<Incoming, Failure> {
    let broken = |error: hyper::Error| Failure::Broken(format!("{path}: {error}"));
    link.sender.ready().await.map_err(broken)?;
    let request = Request::get(path).header(http::header::HOST, "docker").body(Empty::new());
    let request = request.map_err(|error| Failure::Other(error.to_string()))?;
    let answer = link.sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(answer.into_body());
    }
    let said = collect(answer.into_body()).await.map(|body| message(&body)).unwrap_or_default();
    Err(Failure::Other(format!("answers {}: {}", status.as_u16(), said.trim())))
}

async fn get(link: &mut Link, path: &str) -> Result<Vec<u8>, Failure> {
    let body = request(link, path).await?;
    collect(body).await.map_err(|error| Failure::Broken(format!("{path}: {error}")))
}

async fn collect(body: Incoming) -> Result<Vec<u8>, String> {
    let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    Ok(whole.to_bytes().to_vec())
}
