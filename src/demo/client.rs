//! Single requests to loopback addresses: the admin API, a proxy, a stand-in. One connection each, no retry.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// The longest that any single request may take; a handoff answers when it has ended.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: http::HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What the admin API tells about a site, as far as it is of use here.
#[derive(Clone, Debug, Deserialize)]
pub struct SiteView {
    /// The site's name.
    pub name: String,
    /// The epoch of its pin.
    pub epoch: u64,
    /// The backend that it is pinned to.
    pub backend: Option<String>,
    /// Requests that are held at its gate now.
    pub held: u64,
    /// Requests that its backend has in hand now.
    pub in_flight: u64,
}

/// GETs a path; `host` is what the request asks for.
///
/// # Errors
/// If no whole answer comes.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<Reply> {
    send(address, host, Method::GET, path, None).await
}

/// POSTs JSON to a path.
///
/// # Errors
/// If no whole answer comes.
pub async fn post(
    address: SocketAddr,
    host: &str,
    path: &str,
    json: &serde_json::Value,
) -> io::Result<Reply> {
    send(address, host, Method::POST, path, Some(json)).await
}

/// Asks the admin API about a site.
///
/// # Errors
/// If no whole answer comes, or not one that describes a site.
pub async fn site(admin: SocketAddr, name: &str) -> io::Result<SiteView> {
    let reply = get(admin, &admin.to_string(), &format!("/v1/sites/{name}")).await?;
    if reply.status != StatusCode::OK {
        return Err(io::Error::other(format!("site {name}: status {}", reply.status)));
    }
    serde_json::from_slice(&reply.body).map_err(io::Error::from)
}

async fn send(
    address: SocketAddr,
    host: &str,
    method: Method,
    path: &str,
    json: Option<&serde_json::Value>,
) -> io::Result<Reply> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, host);
    if json.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = json.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
    let request = request.body(Full::new(body)).map_err(io::Error::other)?;
    tokio::time::timeout(TIMEOUT, exchange(address, request)).await?
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> io::Result<Reply> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(driver);
    let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Reply { status: head.status, headers: head.headers, body })
}
