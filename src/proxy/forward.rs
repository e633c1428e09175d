//! One attempt: one request, to one backend, under one lease.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::StatusCode;

use super::answer::Refusal;
use super::flight::{Ended, Flight, Stage, Tracked};
use super::headers::{self, Additions};
use super::inbound::BodyError;
use super::link::{Handed, Link};
use super::outbox::Stopped;
use super::pool::Line;
use super::relay::{Relay, WayBack};
use super::upload::{ClientBody, Upload};
use super::worker::Worker;
use super::{Answer, Body};
use crate::alike::is_for_all;
use crate::config::Site;
use crate::core::retry::{Lost, Outcome, Unsent};
use crate::core::{Backend, Epoch};
use crate::detour::Errand;
use crate::http1::response::HEAD_BYTES_MAX;
use crate::http1::{BadAnswer, BadBody, BadRequest, RequestHead, ResponseHead};
use crate::observe::metrics::Count;
use crate::observe::trace::{Step, Trace};

/// Room for the head of a request, in bytes: enough for most.
const HEAD_BYTES_USUAL: usize = 1024;

/// Where an attempt goes.
pub struct Target<'a> {
    /// Who answers.
    pub backend: &'a Backend,
    /// Whose connections are used.
    pub line: Line,
    /// The epoch of those connections.
    pub epoch: Epoch,
    /// Deadlines, and the fields that are the site's own.
    pub site: &'a Site,
}

/// A request as it goes to the backend, ready to be sent more than once.
pub struct Outgoing {
    /// Method, path and fields.
    pub head: RequestHead,
    /// Its body, until it is handed over.
    pub body: Option<ClientBody>,
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
    /// The client has not sent the rest of its request in time.
    SlowClient,
    /// What the client sent as the body of its request is none.
    BadClient,
    /// The client left before the body of its request had come.
    GoneClient,
    /// This process has run out of something: file descriptors, most likely.
    Ours,
}

impl Fault {
    /// What the client is told if it was its own doing.
    pub fn is_told_as(self) -> Option<Refusal> {
        match self {
            Self::SlowClient => Some(Refusal::BodyTimeout),
            Self::BadClient => Some(Refusal::BadRequest(BadRequest::Body)),
            Self::Backend | Self::Handoff | Self::Ours | Self::GoneClient => None,
        }
    }
}

impl Outgoing {
    /// No byte of the body was taken, so that it can be sent from its beginning.
    pub fn is_whole(&self, had_body: bool) -> bool {
        self.body.is_some() || !had_body
    }
}

/// Sends the request to the target and returns the head of its answer, with the body on its way.
pub async fn attempt(
    worker: &Rc<Worker>,
    target: Target<'_>,
    additions: Additions<'_>,
    outgoing: &mut Outgoing,
    tracked: Tracked,
) -> Result<Answer, Failed> {
    let mut handed = Handed { link: None, tracked };
    let sent = send(worker, &mut handed, &target, &additions, outgoing).await;
    let well = sent.as_ref().is_ok_and(|(head, _)| head.status != StatusCode::SERVICE_UNAVAILABLE);
    let lease = &mut handed.tracked.lease;
    if let Some(lease) = lease {
        lease.answered(well);
        // The last place where an answer of an epoch that is over can be stopped.
        if sent.is_ok() && !lease.may_deliver() {
            return Err(lost_by_end(Ended::Cut, false));
        }
    }
    let (head, upload) = sent?;
    let Some(link) = &mut handed.link else { unreachable!("an answer came over a link") };
    if let Some(lease) = lease
        && !head.status.is_server_error()
        // Another edge reaches it: that says nothing about this one.
        && !link.is_detour
    {
        let is_sample = lease.gate().note_well(worker.now().0);
        if is_sample && head.status == StatusCode::OK {
            lease.gate().sample(is_for_all(&head));
        }
    }
    let broken = |why| {
        let outcome = Outcome::NoAnswer { lost: Lost::Closed, reused_connection: false };
        Failed { outcome, fault: Fault::Backend, why }
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        if headers::asked_upgrade(&outgoing.head).is_none() {
            return Err(broken("it switches protocols without having been asked to".to_owned()));
        }
        return Ok(Answer { head, body: Body::Tunnel(Box::new(handed)), close: false });
    }
    let length = head.length(&outgoing.head.method).map_err(|error| broken(chain(&error)))?;
    link.inbound.begin_body(length);
    let way_back = (head.keeps_alive() && !link.is_detour).then(|| {
        let configured = target.site.upstream.keep_alive;
        // Less a second, for what may be under way when it closes.
        let said = head.idle_timeout().map(|said| said.saturating_sub(Duration::from_secs(1)));
        let keep_alive = said.map_or(configured, |said| said.min(configured));
        WayBack { line: target.line, epoch: target.epoch, keep_alive }
    });
    let relay = Relay::new(handed, upload, way_back, worker.clone());
    Ok(Answer { head, body: Body::Relayed(Box::new(relay), length), close: false })
}

/// How an exchange came to no answer.
enum Broken {
    /// Nothing of the request was written.
    NotSent(io::Error),
    /// The client broke off.
    Client(BodyError),
    /// The backend closed the connection.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// What came is no answer.
    NoAnswer(BadAnswer),
}

/// The head of the answer, and what is still to be sent of the request.
type Sent = (ResponseHead, Option<Upload>);

async fn send(
    worker: &Worker,
    handed: &mut Handed,
    target: &Target<'_>,
    additions: &Additions<'_>,
    outgoing: &mut Outgoing,
) -> Result<Sent, Failed> {
    let Handed { link, tracked } = handed;
    let (tracked, flight) = (&*tracked, &*tracked.flight);
    // An idle connection may just be closing. What can't be sent twice goes on a fresh one.
    let may_reuse = outgoing.safe
        && outgoing.body.is_none()
        && headers::asked_upgrade(&outgoing.head).is_none()
        && !outgoing.wants_fresh;
    loop {
        let pooled = may_reuse.then(|| worker.pool.take(&target.line, target.epoch, worker.now())).flatten();
        let reused_connection = pooled.is_some();
        let link = link.insert(match pooled {
            Some(link) => link,
            None => {
                let began = additions.trace.map(|_| Instant::now());
                let connected = connect(worker, tracked, target).await;
                let failed = connected.as_ref().err().map(|failed| failed.why.as_str());
                note(additions.trace, Step::Connect, began, failed);
                connected?
            }
        });
        outgoing.wants_fresh = reused_connection;
        if tracked.lease.as_ref().is_some_and(|lease| !lease.may_hand_over()) {
            return Err(unsent_by_cut());
        }
        flight.enter(Stage::AwaitingHead);
        let mut head = Vec::with_capacity(HEAD_BYTES_USUAL);
        headers::write_request(&mut head, &outgoing.head, additions);
        let mut upload = Upload::new(head, outgoing.head.length, outgoing.body.take());
        let mut is_sent = false;
        let exchange = poll_fn(|cx| exchange(cx, flight, link, &mut upload, &mut is_sent));
        let began = additions.trace.map(|_| Instant::now());
        let exchanged = flight.guard(exchange).await;
        let failed = (!matches!(exchanged, Ok(Ok(_)))).then_some("no answer");
        note(additions.trace, Step::Wait, began, failed);
        let broken = match exchanged {
            Ok(Ok(head)) => return Ok((head, (!is_sent).then_some(upload))),
            Ok(Err(broken)) => broken,
            Err(Ended::Cut) if !upload.has_begun() => {
                outgoing.body = upload.into_body(flight);
                return Err(unsent_by_cut());
            }
            Err(ended) => return Err(lost_by_end(ended, reused_connection)),
        };
        outgoing.body = upload.into_body(flight);
        match broken {
            Broken::NotSent(_) if reused_connection => {}
            Broken::NotSent(error) => return Err(unsent_because(Unsent::NotDispatched, &error)),
            broken => return Err(lost(&broken, reused_connection)),
        }
    }
}

/// A step is over, of a request that is traced.
fn note(trace: Option<&Trace>, step: Step, began: Option<Instant>, failed: Option<&str>) {
    if let (Some(trace), Some(began)) = (trace, began) {
        trace.step(step, began, Vec::new(), failed);
    }
}

/// Writes the request and waits for the head of its answer, which may come before all was written.
fn exchange(
    cx: &mut Context<'_>,
    flight: &Flight,
    link: &mut Link,
    upload: &mut Upload,
    is_sent: &mut bool,
) -> Poll<Result<ResponseHead, Broken>> {
    if !*is_sent {
        match upload.poll(cx, flight, &mut link.socket) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                *is_sent = true;
                flight.enter(Stage::AwaitingHead);
            }
            Poll::Ready(Err(Stopped::Source(error))) => return Poll::Ready(Err(Broken::Client(error))),
            Poll::Ready(Err(Stopped::Sink(error))) if !upload.has_begun() => {
                return Poll::Ready(Err(Broken::NotSent(error)));
            }
            // It may have answered before it closed: reading tells.
            Poll::Ready(Err(Stopped::Sink(_))) => {}
        }
    }
    loop {
        match link.inbound.head(ResponseHead::parse) {
            Some(Ok(head)) if is_interim(head.status) => continue,
            Some(head) => return Poll::Ready(head.map_err(Broken::NoAnswer)),
            None if link.inbound.data().len() >= HEAD_BYTES_MAX => {
                return Poll::Ready(Err(Broken::NoAnswer(BadAnswer::TooLarge)));
            }
            None => {}
        }
        match ready!(link.inbound.poll_fill(cx, &mut link.socket, HEAD_BYTES_MAX)) {
            Ok(0) => return Poll::Ready(Err(Broken::Closed)),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Err(Broken::Io(error))),
        }
    }
}

/// The real answer follows such a one.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

async fn connect(worker: &Worker, tracked: &Tracked, target: &Target<'_>) -> Result<Link, Failed> {
    let flight = &*tracked.flight;
    flight.enter(Stage::Connecting);
    let detour = tracked.lease.as_ref().and_then(|lease| lease.gate().detour());
    let linking = async {
        match &detour {
            Some(detour) => {
                let errand = Errand { site: target.site.name.clone(), epoch: target.epoch };
                Link::through(detour, &errand).await
            }
            None => Link::to(target.backend).await,
        }
    };
    match flight.guard(linking).await {
        Ok(Ok(link)) => {
            let what = if link.is_detour { Count::DetoursTaken } else { Count::BackendConnects };
            worker.metrics.count(what);
            Ok(link)
        }
        Ok(Err(error)) => {
            let fault = if crate::net::is_shortage_here(&error) { Fault::Ours } else { Fault::Backend };
            Err(Failed { fault, ..unsent_because(kind_of(&error), &error) })
        }
        Err(Ended::Cut) => Err(unsent_by_cut()),
        Err(Ended::TimedOut(_)) => Err(Failed {
            outcome: Outcome::NothingSent(Unsent::ConnectTimeout),
            fault: Fault::Backend,
            why: "the connection was not made in time".to_owned(),
        }),
    }
}

fn kind_of(error: &io::Error) -> Unsent {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, TimedOut};
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

fn unsent_by_cut() -> Failed {
    Failed {
        outcome: Outcome::NothingSent(Unsent::NotDispatched),
        fault: Fault::Handoff,
        why: "a handoff began before it was sent".to_owned(),
    }
}

fn lost(broken: &Broken, reused_connection: bool) -> Failed {
    let (lost, fault, why) = match broken {
        Broken::Client(error) => {
            let gone = matches!(error, BodyError::Io(_) | BodyError::Bad(BadBody::BrokeOff));
            (Lost::Closed, if gone { Fault::GoneClient } else { Fault::BadClient }, chain(error))
        }
        Broken::Closed => (Lost::Closed, Fault::Backend, "it closed the connection".to_owned()),
        Broken::NotSent(error) | Broken::Io(error) => {
            let reset = error.kind() == io::ErrorKind::ConnectionReset;
            (if reset { Lost::Reset } else { Lost::Closed }, Fault::Backend, chain(error))
        }
        Broken::NoAnswer(error) => (Lost::Closed, Fault::Backend, chain(error)),
    };
    Failed { outcome: Outcome::NoAnswer { lost, reused_connection }, fault, why }
}

/// An answer that was to be read whole has broken off.
pub fn broke_off(error: &BodyError) -> Failed {
    match error {
        BodyError::Ended(ended) => lost_by_end(*ended, false),
        error => Failed { why: chain(error), ..lost(&Broken::Closed, false) },
    }
}

fn lost_by_end(ended: Ended, reused_connection: bool) -> Failed {
    let (lost, fault, why) = match ended {
        Ended::Cut => (Lost::Cut, Fault::Handoff, "it was cut by a handoff"),
        Ended::TimedOut(Stage::Uploading) => {
            (Lost::TimedOut, Fault::SlowClient, "the request's body stood still")
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
