//! The way to an authority: https, with a deadline for each request and a limit for each answer.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A request and its whole answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A chain of certificates has some kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Of what an authority says beside a status, so much is kept for the log.
const SAID_CHARS_MAX: usize = 300;

/// The authority takes no requests now, ours or anybody's.
#[derive(Debug, thiserror::Error)]
#[error("it answered {status}: {said}")]
pub(super) struct TurnedAway {
    pub(super) status: StatusCode,
    /// In so many seconds it may.
    pub(super) retry_after: Option<u64>,
    said: String,
}

/// See the [module](self).
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Http {
    /// Trusts these roots (PEM), or those of the system.
    pub(super) fn new(roots: Option<&str>) -> Result<Self, String> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match roots {
            Some(pem) => {
                let mut roots = rustls::RootCertStore::empty();
                for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let root = root.map_err(|error| format!("acme.ca_file: {error}"))?;
                    roots.add(root).map_err(|error| format!("acme.ca_file: {error}"))?;
                }
                builder.with_root_certificates(roots)
            }
            None => builder.try_with_platform_verifier().map_err(|error| error.to_string())?,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(builder.with_no_client_auth())
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Ok(Self(client))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        const WHO: &str = concat!("ghostpin/", env!("CARGO_PKG_VERSION"), " instant-acme");
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(WHO));
        let sending = self.0.request(request);
        Box::pin(async move {
            let answering = async {
                let (parts, body) =
                    sending.await.map_err(|error| Error::Other(chain(&error).into()))?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Other)?;
                Ok::<_, Error>((parts, body.to_bytes()))
            };
            let (parts, body) = tokio::time::timeout(REQUEST_TIMEOUT, answering)
                .await
                .map_err(|_| Error::Other(format!("no answer within {REQUEST_TIMEOUT:?}").into()))??;
            if parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS {
                let said = String::from_utf8_lossy(&body).chars().take(SAID_CHARS_MAX).collect();
                let retry_after = retry_after(&parts.headers);
                return Err(Error::Other(Box::new(TurnedAway { status: parts.status, retry_after, said })));
            }
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// An error with all that it comes from: hyper's own words leave out the reason.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// `Retry-After`, in seconds from now.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    value.parse().ok().or_else(|| {
        let at = httpdate::parse_http_date(value).ok()?;
        Some(at.duration_since(SystemTime::now()).map_or(0, |wait| wait.as_secs() + 1))
    })
}
