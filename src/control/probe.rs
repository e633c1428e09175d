//! Asking a backend how it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::outside::{Outside, Way};
use crate::config::{Health, Site};
use crate::core::{Address, Backend};

/// A proof reads the whole page, for a page that breaks off proves nothing; but not more than this of it.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a probe came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It answered as it should.
    Well,
    /// It answered with a status that does not mean well.
    Status(u16),
    /// The connection was refused.
    Refused,
    /// It took too long.
    TimedOut,
    /// Anything else.
    Broken(String),
    /// It could not be asked, for want of something on this side: that says nothing about it.
    NotAsked(String),
}

impl Seen {
    /// It answered as it should.
    pub fn is_well(&self) -> bool {
        *self == Self::Well
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Well => f.write_str("well"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Broken(why) => f.write_str(why),
            Self::NotAsked(why) => write!(f, "not asked: {why}"),
        }
    }
}

/// Which question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Does the process answer? Its status is enough.
    Liveness,
    /// Does the application work? A page that needs all of it, read to its end.
    Proof,
}

impl Question {
    /// How long an answer may take.
    pub fn patience(self, health: &Health) -> Duration {
        match self {
            Self::Liveness => health.timeout,
            // A page that has to be rendered for the first time may take longer than a probe.
            Self::Proof => health.timeout.max(PROOF_PATIENCE),
        }
    }
}

/// Asks once.
pub async fn probe(way: &Way, site: &Site, question: Question) -> Seen {
    match tokio::time::timeout(question.patience(&site.health), ask(way, site, question)).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => error,
        Err(_) => Seen::TimedOut,
    }
}

async fn ask(way: &Way, site: &Site, question: Question) -> Result<Seen, Seen> {
    let backend = match way {
        Way::To(backend) => backend,
        Way::Through(detour, errand) => {
            let stream = detour.take(errand).await.map_err(connecting)?;
            return converse(TokioIo::new(stream), site, question).await;
        }
    };
    match backend.address() {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(connecting)?;
            let _ = stream.set_nodelay(true);
            converse(TokioIo::new(stream), site, question).await
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(connecting)?;
            converse(TokioIo::new(stream), site, question).await
        }
    }
}

fn connecting(error: std::io::Error) -> Seen {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, TimedOut};
    if crate::net::is_shortage_here(&error) {
        return Seen::NotAsked(error.to_string());
    }
    match error.kind() {
        ConnectionRefused | NotFound => Seen::Refused,
        TimedOut => Seen::TimedOut,
        _ => Seen::Broken(error.to_string()),
    }
}

async fn converse<I>(io: I, site: &Site, question: Question) -> Result<Seen, Seen>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let broken = |error: hyper::Error| Seen::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    let health = &site.health;
    let path = match question {
        Question::Liveness => &health.path,
        Question::Proof => &health.proof_path,
    };
    let request = Request::get(path.as_str())
        .header(header::HOST, site.probe_host())
        .header("x-forwarded-proto", &health.forwarded_proto)
        .header(header::USER_AGENT, concat!("ghostpin/", env!("CARGO_PKG_VERSION"), " (probe)"))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Seen::Broken(error.to_string()))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        if !health.expect.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
            return Ok(Seen::Status(status));
        }
        if question == Question::Proof {
            let page = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await;
            page.map_err(|error| Seen::Broken(format!("the page broke off: {error}")))?;
        }
        Ok(Seen::Well)
    };
    // Both ends of the conversation, until the answer is in; then the connection is dropped.
    tokio::pin!(talk, connection);
    tokio::select! {
        biased;
        seen = &mut talk => seen,
        ended = &mut connection => {
            ended.map_err(broken)?;
            talk.await
        }
    }
}

/// Asks for the proof until it is given. Ends only by being dropped, otherwise.
pub async fn prove(
    outside: &dyn Outside,
    backend: Backend,
    site: &Arc<Site>,
    mut told: impl FnMut(&Seen),
) -> Duration {
    let (way, began) = (Way::To(backend), tokio::time::Instant::now());
    loop {
        let next = tokio::time::Instant::now() + site.health.held_interval;
        let seen = outside.ask(&way, site, Question::Proof).await;
        told(&seen);
        if seen.is_well() {
            return began.elapsed();
        }
        tokio::time::sleep_until(next).await;
    }
}

/// Least time that one proof may take: a cold application renders its first page slowly.
const PROOF_PATIENCE: Duration = Duration::from_secs(5);
