//! Asking a running ghostpin: one connection a question, no retry.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::failure::Failure;
use crate::admin::peer::ACTOR;
use crate::admin::problem::Problem;
use crate::config::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A ghostpin that is well answers a question at once. So long it may say nothing: before its answer, and within it.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// A wish is answered when it is fulfilled: a handoff when it has ended, with its hooks, which may take minutes.
const WISH_PATIENCE: Duration = Duration::from_secs(3600);
/// 100,000 sites take about 20 MB.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Where an admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `host:port`
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err(format!("`{text}`: the admin API is not over TLS: write host:port"));
        }
        let (text, is_url) = match text.strip_prefix("http://") {
            Some(rest) => (rest.strip_suffix('/').unwrap_or(rest), true),
            None => (text, false),
        };
        match text.strip_prefix("unix:") {
            Some(path) => return Ok(Self::Unix(path.into())),
            None if text.contains('/') && !is_url => return Ok(Self::Unix(text.into())),
            None => {}
        }
        let is_address =
            text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        match is_address {
            true => Ok(Self::Tcp(text.to_owned())),
            false => Err(format!(
                "`{text}` is no host:port: add a port, such as 9180; the path of a Unix socket has a `/`"
            )),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The way to a ghostpin.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it is.
    pub place: Place,
    /// Who said so, for those who wonder.
    pub told_by: String,
    /// Sent along, if there is one.
    pub token: Option<Secret>,
    /// Who asks, for the journal.
    pub actor: String,
    /// How long an answer to a question may be silent; wishes have longer.
    pub patience: Duration,
}

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nobody was there, or nothing was to be done.
    #[error("no ghostpin answers at {0}")]
    Unreachable(String),
    /// A wish was sent, and may have been fulfilled.
    #[error("the ghostpin was asked, and has not answered, at {0}")]
    Open(String),
}

/// A problem document. Those for readers have a code, so that none of them is taken for a word of the admin API.
#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(flatten)]
    problem: Problem,
    code: Option<IgnoredAny>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body, if the answer is a good one.
    ///
    /// # Errors
    /// What ghostpin says against it.
    pub fn good(self) -> Result<Bytes, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let refusal = serde_json::from_slice(&self.body).ok();
        let why =
            match refusal.filter(|refusal: &Refusal| refusal.code.is_none()).map(|refusal| refusal.problem) {
                Some(problem) if self.status == StatusCode::UNAUTHORIZED => {
                    format!("{}: give it with --token, --token-file or GHOSTPIN_TOKEN", problem.title)
                }
                Some(problem) if self.status == StatusCode::NOT_FOUND => {
                    return Err(Failure::Absent(format!("{}: {}", problem.title, problem.detail)));
                }
                Some(problem) if self.status == StatusCode::SERVICE_UNAVAILABLE => {
                    return Err(Failure::Busy(format!("{}: {}", problem.title, problem.detail)));
                }
                Some(problem) => format!("{}: {}", problem.title, problem.detail),
                None => format!("the answer has status {}; is this a ghostpin's admin API?", self.status),
            };
        Err(Failure::Refused(why))
    }
}

impl Client {
    /// GETs a path.
    ///
    /// # Errors
    /// Nobody answers, or ghostpin refuses.
    pub async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        self.send(self.request(Method::GET, path, Bytes::new())).await?.good()
    }

    /// POSTs JSON to a path, or nothing.
    ///
    /// # Errors
    /// Nobody answers, or ghostpin refuses.
    pub async fn post(&self, path: &str, body: Option<serde_json::Value>) -> Result<Bytes, Failure> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        self.send(self.request(Method::POST, path, body)).await?.good()
    }

    /// A request to this ghostpin.
    pub fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let host = match &self.place {
            Place::Tcp(address) => address.as_str(),
            Place::Unix(_) => "localhost",
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("paths are made of encoded parts");
        let mut set = |name, value: &str| {
            // A text that can't be a header field can't be a host, a name or a token either.
            if let Ok(value) = value.parse() {
                request.headers_mut().insert(name, value);
            }
        };
        set(header::HOST, host);
        set(header::CONTENT_TYPE, "application/json");
        set(header::HeaderName::from_static(ACTOR), &self.actor);
        if let Some(token) = &self.token {
            set(header::AUTHORIZATION, &format!("Bearer {}", token.expose()));
        }
        request
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, Unanswered> {
        let is_wish = request.method() != Method::GET;
        let patience = if is_wish { WISH_PATIENCE } else { self.patience };
        let here = |why: String| format!("{} ({}): {why}", self.place, self.told_by);
        let connecting = async {
            Ok(match &self.place {
                Place::Tcp(address) => Io::Tcp(TcpStream::connect(address).await?),
                Place::Unix(path) => Io::Unix(UnixStream::connect(path).await?),
            })
        };
        let io: std::io::Result<Io> =
            timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|late| Err(late.into()));
        let replied = match io.map_err(|error| Unanswered::Unreachable(here(error.to_string())))? {
            Io::Tcp(stream) => converse(TokioIo::new(stream), request, patience).await,
            Io::Unix(stream) => converse(TokioIo::new(stream), request, patience).await,
        };
        replied.map_err(|why| match is_wish {
            true => Unanswered::Open(here(why)),
            false => Unanswered::Unreachable(here(why)),
        })
    }
}

enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn converse<I>(io: I, request: Request<Full<Bytes>>, patience: Duration) -> Result<Reply, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let in_words = |error: hyper::Error| error.to_string();
    let silent = |_| format!("connected, but it doesn't answer: not a word for {} s", patience.as_secs());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(in_words)?;
    // Dropped with the request: whoever stops waiting closes the connection.
    let talk = async {
        let head = timeout(patience, sender.send_request(request)).await.map_err(silent)?;
        let (head, body) = head.map_err(in_words)?.into_parts();
        let (mut body, mut read) = (Limited::new(body, ANSWER_BYTES_MAX), BytesMut::new());
        while let Some(piece) = timeout(patience, body.frame()).await.map_err(silent)? {
            // What is no data is a trailer, which ghostpin has none of.
            if let Ok(data) = piece.map_err(|error| error.to_string())?.into_data() {
                read.extend_from_slice(&data);
            }
        }
        Ok(Reply { status: head.status, headers: head.headers, body: read.freeze() })
    };
    tokio::pin!(talk, connection);
    tokio::select! {
        biased;
        reply = &mut talk => reply,
        ended = &mut connection => {
            ended.map_err(in_words)?;
            talk.await
        }
    }
}

/// A text as a part of a path or a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => encoded.push(char::from(byte)),
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

/// The JSON of an answer.
///
/// # Errors
/// It has another form than this version of the program knows.
pub fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::Refused(format!("the answer is not what this version of ghostpin knows: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;

    /// What becomes of an answer that comes in these pieces, each after this time.
    async fn asked(pieces: &'static [(u64, &'static str)]) -> Result<Bytes, String> {
        let (here, mut there) = duplex(1024);
        let answering = async move {
            let mut request = [0; 1024];
            let _ = there.read(&mut request).await.unwrap();
            for (after, piece) in pieces {
                sleep(Duration::from_secs(*after)).await;
                if there.write_all(piece.as_bytes()).await.is_err() {
                    return;
                }
            }
        };
        let asking = converse(TokioIo::new(here), Request::new(Full::default()), Duration::from_secs(10));
        tokio::join!(asking, answering).0.map(|reply| reply.body)
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";

    #[test]
    fn a_place_is_an_address_or_a_path_and_whatever_else_is_refused_with_words() {
        let place = |text: &str| text.parse::<Place>();
        for address in ["127.0.0.1:9180", "http://127.0.0.1:9180", "http://127.0.0.1:9180/"] {
            assert_eq!(place(address), Ok(Place::Tcp("127.0.0.1:9180".to_owned())));
        }
        assert_eq!(place("[::1]:9180"), Ok(Place::Tcp("[::1]:9180".to_owned())));
        for path in ["./admin.sock", "/run/x.sock", "unix:admin.sock"] {
            assert_eq!(place(path), Ok(Place::Unix(path.trim_start_matches("unix:").into())));
        }
        for wrong in ["localhost", "http://localhost/", "http://h:1/v1", "h:99999", ":1", ""] {
            let why = place(wrong).unwrap_err();
            assert!(why.contains("add a port"), "{wrong}: {why}");
        }
        assert!(place("https://h:1").unwrap_err().contains("not over TLS"));
    }

    #[test]
    fn who_does_not_answer_at_the_moment_may_be_asked_again() {
        let problem =
            br#"{"type":"about:blank","title":"no answer","status":503,"detail":"etcd does not answer"}"#;
        let reply =
            |status| Reply { status, headers: HeaderMap::new(), body: Bytes::from_static(problem) }.good();
        assert!(matches!(reply(StatusCode::SERVICE_UNAVAILABLE), Err(Failure::Busy(_))));
        assert!(matches!(reply(StatusCode::CONFLICT), Err(Failure::Refused(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_long_but_not_be_silent_for_long() {
        assert_eq!(asked(&[(9, HEAD), (9, "a"), (9, "b"), (9, "cd")]).await.unwrap(), "abcd");
        for silent in [&[(11, HEAD), (0, "abcd")][..], &[(9, HEAD), (9, "a"), (11, "bcd")]] {
            let why = asked(silent).await.unwrap_err();
            assert!(why.starts_with("connected, but it doesn't answer"), "{why}");
        }
    }
}
