//! One attempt: one request, to one backend, under one lease.

use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::body::{Relayed, RequestBody, ResponseBody, Upload, WayBack};
use super::connection::Connection;
use super::flight::{Ended, Flight, Stage, Tracked};
use super::headers;
use super::pool::Line;
use super::tunnel;
use super::worker::Worker;
use crate::config::Upstream;
use crate::core::retry::{Lost, Outcome, Unsent};
use crate::core::{Address, Backend, Epoch};
use crate::observe::metrics::Count;

/// Where an attempt goes.
pub struct Target<'a> {
    /// Who answers.
    pub backend: &'a Backend,
    /// Whose connections are used.
    pub line: Line,
    /// The epoch of those connections.
    pub epoch: Epoch,
    /// Deadlines.
    pub upstream: &'a Upstream,
}

/// A request as it goes to the backend, ready to be sent more than once.
pub struct Outgoing {
    /// Method, path and fields.
    pub head: request::Parts,
    /// Its body, until it is handed over.
    pub body: Option<Incoming>,
    /// The client's side of an upgrade, if it asks for one.
    pub upgrade: Option<OnUpgrade>,
    /// The method promises to change nothing.
    pub safe: bool,
    /// A kept connection has ended under it: the next ones may be about to as well.
    pub wants_fresh: bool,
}

/// An attempt that ended without a response head.
#[derive(Debug)]
pub struct Failed {
    /// What is certain about it.
    pub outcome: Outcome,
    /// Whose doing it was.
    pub fault: Fault,
    /// For the log.
    pub why: String,
}

/// Whose doing it is that an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The backend's. The others say nothing about it.
    Backend,
    /// It was cut by a handoff.
    Handoff,
    /// The client has not sent the rest of its request.
    Client,
    /// This process has run out of something: file descriptors, most likely.
    Ours,
}

impl Outgoing {
    /// No byte of the body was read, so that it can be sent from its beginning.
    pub fn is_whole(&self, had_body: bool) -> bool {
        self.body.is_some() || !had_body
    }

    fn request(&mut self, flight: &Rc<Flight>) -> Request<RequestBody> {
        let body = match self.body.take() {
            Some(incoming) => RequestBody::Upload(Upload::new(incoming, flight.clone())),
            None => RequestBody::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        request
    }
}

/// A connection to a backend.
pub struct Link {
    /// hyper's end of it.
    pub sender: SendRequest<RequestBody>,
    sever: oneshot::Sender<Tracked>,
}

/// A request that was handed to a backend, or is about to be, and the lease that it was handed over under. Dropping it
/// severs the connection first, and gives the lease back when that is done.
pub struct Handed {
    tracked: Option<Tracked>,
    link: Option<Link>,
}

impl Handed {
    fn new(tracked: Tracked) -> Self {
        Self { tracked: Some(tracked), link: None }
    }

    /// The flight, and what it flies under.
    pub fn tracked(&mut self) -> &mut Tracked {
        self.tracked.as_mut().expect("only taking it apart takes it away")
    }

    /// All is well: the lease and the connection, each to go its own way.
    pub fn take_apart(mut self) -> (Tracked, Option<Link>) {
        (self.tracked.take().expect("only taking it apart takes it away"), self.link.take())
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let (Some(tracked), Some(link)) = (self.tracked.take(), self.link.take()) {
            // If the connection has ended by itself, the lease ends here.
            let _ = link.sever.send(tracked);
        }
    }
}

/// Sends the request to the target and returns the head of its answer, with the body on its way.
pub async fn attempt(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    target: Target<'_>,
    outgoing: &mut Outgoing,
    tracked: Tracked,
) -> Result<Response<ResponseBody>, Failed> {
    let mut handed = Handed::new(tracked);
    let sent = send(worker, &mut handed, &target, outgoing).await;
    let well = sent.as_ref().is_ok_and(|response| response.status() != StatusCode::SERVICE_UNAVAILABLE);
    let lease = &mut handed.tracked().lease;
    if let Some(lease) = lease {
        lease.answered(well);
        // The last place where an answer of an epoch that is over can be stopped.
        if sent.is_ok() && !lease.may_deliver() {
            return Err(lost_by_end(Ended::Cut, false));
        }
    }
    let mut response = sent?;
    if let Some(lease) = lease
        && !response.status().is_server_error()
    {
        lease.gate().note_well(worker.now().0);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = outgoing.upgrade.take() else {
            let why = "it switches protocols without having been asked to".to_owned();
            let outcome = Outcome::NoAnswer { lost: Lost::Closed, reused_connection: false };
            return Err(Failed { outcome, fault: Fault::Backend, why });
        };
        let backend = hyper::upgrade::on(&mut response);
        let (tracked, _) = handed.take_apart();
        tokio::task::spawn_local(tunnel::relay(client, backend, tracked));
        let (mut head, _) = response.into_parts();
        headers::from_backend(&mut head);
        return Ok(Response::from_parts(head, ResponseBody::Whole(None)));
    }
    let (mut head, incoming) = response.into_parts();
    let mut keep_alive = target.upstream.keep_alive;
    if let Some(said) = headers::from_backend(&mut head) {
        // Less a second, for what may be under way when it closes.
        keep_alive = keep_alive.min(said.saturating_sub(Duration::from_secs(1)));
    }
    let way_back = WayBack { line: target.line, epoch: target.epoch, keep_alive };
    let relayed = Relayed::new(incoming, handed, way_back, connection.clone(), worker.clone());
    Ok(Response::from_parts(head, ResponseBody::Relayed(Box::new(relayed))))
}

async fn send(
    worker: &Worker,
    handed: &mut Handed,
    target: &Target<'_>,
    outgoing: &mut Outgoing,
) -> Result<Response<Incoming>, Failed> {
    let flight = &handed.tracked().flight.clone();
    // An idle connection may just be closing. What can't be sent twice goes on a fresh one.
    let may_reuse =
        outgoing.safe && outgoing.body.is_none() && outgoing.upgrade.is_none() && !outgoing.wants_fresh;
    loop {
        let pooled = may_reuse.then(|| worker.pool.take(&target.line, target.epoch, worker.now())).flatten();
        let reused_connection = pooled.is_some();
        let link = match pooled {
            Some(mut link) => {
                // hyper wants to have seen the end of the last answer before it takes a new request.
                if !link.sender.is_ready() && !matches!(flight.guard(link.sender.ready()).await, Ok(Ok(()))) {
                    continue;
                }
                link
            }
            None => connect(worker, flight, target.backend).await?,
        };
        outgoing.wants_fresh = reused_connection;
        flight.enter(Stage::AwaitingHead);
        let request = outgoing.request(flight);
        let sender = &mut handed.link.insert(link).sender;
        let mut error = match flight.guard(sender.try_send_request(request)).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => error,
            Err(ended) => return Err(lost_by_end(ended, reused_connection)),
        };
        match error.take_message() {
            // hyper gives back what it has not begun to write.
            Some(unsent) => {
                outgoing.body = unsent.into_body().into_untouched();
                if !reused_connection {
                    return Err(unsent_because(Unsent::NotDispatched, &error.into_error()));
                }
            }
            None => return Err(lost(&error.into_error(), reused_connection)),
        }
    }
}

async fn connect(worker: &Worker, flight: &Rc<Flight>, backend: &Backend) -> Result<Link, Failed> {
    flight.enter(Stage::Connecting);
    let connecting = async {
        match backend.address() {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                handshake(TokioIo::new(stream)).await
            }
            Address::Unix(path) => handshake(TokioIo::new(UnixStream::connect(path).await?)).await,
        }
    };
    match flight.guard(connecting).await {
        Ok(Ok(link)) => {
            worker.metrics.count(Count::BackendConnects);
            Ok(link)
        }
        Ok(Err(error)) => {
            let fault = if crate::net::is_shortage_here(&error) { Fault::Ours } else { Fault::Backend };
            Err(Failed { fault, ..unsent_because(kind_of(&error), &error) })
        }
        Err(Ended::Cut) => Err(Failed {
            outcome: Outcome::NothingSent(Unsent::NotDispatched),
            fault: Fault::Handoff,
            why: "a handoff began before the connection was made".to_owned(),
        }),
        Err(Ended::TimedOut(_)) => Err(Failed {
            outcome: Outcome::NothingSent(Unsent::ConnectTimeout),
            fault: Fault::Backend,
            why: "the connection was not made in time".to_owned(),
        }),
    }
}

async fn handshake<I>(io: I) -> std::io::Result<Link>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, driver) = http1::Builder::new().handshake(io).await.map_err(std::io::Error::other)?;
    let (sever, severed) = oneshot::channel();
    let mut driver = Box::pin(driver.with_upgrades());
    tokio::task::spawn_local(async move {
        tokio::select! {
            biased;
            // By itself hyper would write what is in its buffer first, to a backend that may be frozen.
            Ok(tracked) = severed => {
                drop(driver);
                drop::<Tracked>(tracked);
            }
            // What goes wrong on the connection is told to the request on it; between requests it's of no interest.
            _ = &mut driver => {}
        }
    });
    Ok(Link { sender, sever })
}

fn kind_of(error: &std::io::Error) -> Unsent {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, TimedOut};
    match error.kind() {
        // A Unix socket whose file is gone is as closed as one that nobody listens on. A reset while connecting is a
        // listener that was closed with the connection in its backlog.
        ConnectionRefused | ConnectionReset | NotFound => Unsent::Refused,
        TimedOut => Unsent::ConnectTimeout,
        _ => Unsent::Unreachable,
    }
}

fn unsent_because(unsent: Unsent, error: &dyn std::error::Error) -> Failed {
    Failed { outcome: Outcome::NothingSent(unsent), fault: Fault::Backend, why: chain(error) }
}

fn lost(error: &hyper::Error, reused_connection: bool) -> Failed {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let reset = source.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset);
    let lost = if reset { Lost::Reset } else { Lost::Closed };
    let outcome = Outcome::NoAnswer { lost, reused_connection };
    // hyper's word for a body that could not be read.
    let fault = if error.is_user() { Fault::Client } else { Fault::Backend };
    Failed { outcome, fault, why: chain(error) }
}

fn lost_by_end(ended: Ended, reused_connection: bool) -> Failed {
    let (lost, fault, why) = match ended {
        Ended::Cut => (Lost::Cut, Fault::Handoff, "it was cut by a handoff"),
        Ended::TimedOut(Stage::Uploading) => {
            (Lost::TimedOut, Fault::Client, "the request's body stood still")
        }
        Ended::TimedOut(_) => (Lost::TimedOut, Fault::Backend, "the answer did not begin in time"),
    };
    let outcome = Outcome::NoAnswer { lost, reused_connection };
    Failed { outcome, fault, why: why.to_owned() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
