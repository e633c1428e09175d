//! Readers who don't speak HTTP/1.1: over HTTP/2, with TLS or without, and in a WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use ghostpin::demo::clock::Moment;
use ghostpin::demo::history::{Answer, Kind};
use ghostpin::demo::readers::{Load, Way, of_kind, reason, whole};
use ghostpin::demo::websocket;
use http::Request;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http_body_util::{Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Connections of each: a request has others beside it on its own, and waits for none of them.
const CONNECTIONS: usize = 4;
/// Each asks one thing after the other, as a page does that is open.
const PAGES: usize = 16;

/// Requests beside each other on few connections.
pub struct Http2 {
    /// `None` for those who speak it in clear text.
    tls: Option<Arc<rustls::ClientConfig>>,
    connections: [Mutex<Option<http2::SendRequest<Full<Bytes>>>>; CONNECTIONS],
}

impl Http2 {
    /// As a balancer does that knows who is there.
    pub fn in_clear_text() -> Self {
        Self { tls: None, connections: Default::default() }
    }

    /// Trusts the authority of these certificates (PEM).
    pub fn new(roots: &str) -> Result<Self, rustls::Error> {
        use rustls_pki_types::pem::PemObject;
        let mut store = rustls::RootCertStore::empty();
        for root in rustls_pki_types::CertificateDer::pem_slice_iter(roots.as_bytes()).flatten() {
            store.add(root)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { tls: Some(Arc::new(tls)), connections: Default::default() })
    }

    async fn connect(&self, load: &Load, host: &str) -> Result<http2::SendRequest<Full<Bytes>>, String> {
        let stream = connect(load.target).await?;
        let Some(tls) = &self.tls else { return speak(stream).await };
        let name =
            rustls_pki_types::ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(tls.clone());
        let stream =
            connector.connect(name, stream).await.map_err(|error| format!("handshake: {}", error.kind()))?;
        speak(stream).await
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<http2::SendRequest<Full<Bytes>>, String> {
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, driver) = handshake.await.map_err(|error| reason(&error))?;
    tokio::spawn(driver);
    Ok(sender)
}

impl Way for Http2 {
    async fn ask(&self, load: &Load, number: u64, kind: Kind) -> Result<Answer, String> {
        let host = load.host(number);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut request =
            of_kind(Request::builder().uri(format!("{scheme}://{host}{}", load.path)), number, kind)?;
        loop {
            let mut slot = self.connections[number as usize % CONNECTIONS].lock().await;
            let mut sender = match slot.take() {
                Some(sender) if !sender.is_closed() => sender,
                _ => self.connect(load, host).await?,
            };
            *slot = Some(sender.clone());
            drop(slot);
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return whole(response).await,
                // The connection was going: nothing was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(reason(&error.into_error())),
                },
            }
        }
    }
}

/// Open pages: each has a WebSocket, says something now and then, and is told who has got it. A page whose connection breaks off
/// opens another, and says it again, as long as it is given one.
#[derive(Default)]
pub struct WebSockets {
    pages: [Mutex<Option<TokioIo<Upgraded>>>; PAGES],
}

impl Way for WebSockets {
    async fn ask(&self, load: &Load, number: u64, _: Kind) -> Result<Answer, String> {
        let mut page = self.pages[number as usize % PAGES].lock().await;
        let text = number.to_string();
        loop {
            // One that is not given back is not used again.
            let mut stream = match page.take() {
                Some(stream) => stream,
                None => open_websocket(load.target, load.host(number)).await?,
            };
            let said = websocket::write(&mut stream, &text, Some([1, 2, 3, 4])).await;
            let Ok(Some(heard)) = (match said {
                Ok(()) => websocket::read(&mut stream).await,
                Err(error) => Err(error),
            }) else {
                continue;
            };
            let head = Moment::now();
            let Some(instance) = heard.strip_suffix(&text).map(str::trim_end) else {
                return Err(format!("not an answer to what was said: {heard}"));
            };
            *page = Some(stream);
            return Ok(Answer {
                head,
                status: 200,
                instance: Some(instance.to_owned()),
                epoch: None,
                retry_after: None,
                complaint: String::new(),
            });
        }
    }
}

/// Opens a WebSocket at this host, by way of `target`.
///
/// # Errors
/// In a few words, what has come instead.
pub async fn open_websocket(target: SocketAddr, host: &str) -> Result<TokioIo<Upgraded>, String> {
    let stream = connect(target).await?;
    let (mut sender, driver) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| reason(&error))?;
    tokio::spawn(driver.with_upgrades());
    let request = Request::builder()
        .uri("/live")
        .header(HOST, host)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, websocket::KEY)
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("not a request: {error}"))?;
    let response = sender.send_request(request).await.map_err(|error| reason(&error))?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("status {} to a WebSocket", response.status().as_u16()));
    }
    hyper::upgrade::on(response).await.map(TokioIo::new).map_err(|error| reason(&error))
}

async fn connect(target: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(target).await.map_err(|error| format!("connect: {}", error.kind()))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
