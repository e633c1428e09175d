//! Asking the operator's own service whether a name may be ordered.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Connecting, asking and the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `GET url?domain=NAME`; only a 2xx is a yes. The error says what else it was.
pub(super) async fn may_be_ordered(url: &Uri, name: &str) -> Result<(), String> {
    match tokio::time::timeout(TIMEOUT, ask(url, name)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{url} took longer than {TIMEOUT:?}")),
    }
}

async fn ask(url: &Uri, name: &str) -> Result<(), String> {
    let authority = url.authority().ok_or("the URL has no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| format!("{authority}: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{authority}: {error}"))?;
    let connection = tokio::task::spawn_local(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let joint = if path.contains('?') { '&' } else { '?' };
    // A name that can be ordered has nothing in it that would have to be escaped.
    let request = Request::get(format!("{path}{joint}domain={name}"))
        .header(header::HOST, authority.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| format!("{url}: {error}"));
    connection.abort();
    let status = answer?.status();
    if status.is_success() { Ok(()) } else { Err(format!("{url} answered {status} for `{name}`")) }
}
