//! The data plane: what happens to a request, from its head to the last byte of its answer.
//!
//! [`serve`] is that way: look up the site, enter its gate or wait at it, forward, and either answer or go back to the
//! gate. It never remembers a backend: who answers is what the lease says, each time anew.

pub mod answer;
pub mod buffer;
pub mod census;
mod challenge;
mod collapse;
pub mod connection;
mod detour;
pub mod flight;
pub mod forward;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod inbound;
mod line;
pub mod link;
pub mod listener;
pub mod outbox;
pub mod pool;
pub mod proxied;
pub mod redirect;
pub mod relay;
pub mod tls;
mod traced;
pub mod tunnel;
pub mod turn;
pub mod upload;
pub mod wait;
pub mod wheel;
pub mod worker;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{StatusCode, Version};

use answer::{Asker, Refusal};
use connection::Connection;
use forward::{Failed, Fault, Outgoing, Target};
use headers::{Additions, RequestId};
use line::Line;
use link::Handed;
use relay::Relay;
use traced::Traced;
use upload::ClientBody;
use wait::Waited;
use worker::Worker;

use crate::alike::{Likeness, Shared};
use crate::broken;
use crate::core::retry::{self, Attempt, Outcome, Unsent, Verdict};
use crate::core::{Backend, Epoch, Pin};
use crate::gate::{Leads, Lease, Part, Turn};
use crate::http1::{BadRequest, Length, RequestHead, ResponseHead};
use crate::observe::access::Record;
use crate::observe::metrics::Count;
use crate::observe::pulse::Named;
use crate::published::PublishedSite;

/// What the access log says of a request that nobody waits for any more. No client ever sees it.
const LEFT: u16 = 499;

/// An answer, whoever gives it.
pub struct Answer {
    /// Status and fields.
    pub head: ResponseHead,
    /// What follows.
    pub body: Body,
    /// The connection should not be used any more.
    pub close: bool,
}

/// The body of an answer.
pub enum Body {
    /// One that ghostpin made; the head has its length.
    Whole(Vec<u8>),
    /// What the backend sends.
    Relayed(Box<Relay>, Length),
    /// None: the connection belongs to another protocol now, spoken by the backend at the other end of this.
    Tunnel(Box<Handed>),
}

/// A request on its way, and what is to be known of it afterwards.
struct Journey {
    connection: Rc<Connection>,
    worker: Rc<Worker>,
    began: Instant,
    waited: Waited,
    attempts: u32,
    /// Of the attempts, those of which the backend may have seen something.
    handed: u32,
    pin: Option<Arc<Pin>>,
    site: Option<Arc<PublishedSite>>,
    request_id: RequestId,
    /// The request came over TLS.
    is_secure: bool,
    /// What the access log says of the request, if there is one.
    line: Option<Line>,
    /// What its trace says, if it has one.
    traced: Option<Box<Traced>>,
}

/// Serves one request, which is to have its turns as what it is `named`.
pub async fn serve(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    head: RequestHead,
    body: Option<ClientBody>,
    named: &Named,
) -> Answer {
    let asker = Asker::of(&head);
    let mut journey = Journey::new(worker, connection, &head);
    named.is(head.method.as_str(), head.host(), head.path(), journey.request_id.as_str());
    broken::stall(head.path());
    let safe = retry::is_safe(&head.method);
    let mut outgoing = Outgoing { safe, wants_fresh: false, body, head };
    let answer = journey.go_where_the_host_is(&mut outgoing).await;
    journey.end(answer, asker)
}

/// Answers a request that was refused before it could be read. It leaves a line like all others that ghostpin answers itself:
/// the client is told the id by which that is found.
pub fn refuse(worker: &Worker, connection: &Connection, version: Version, reason: BadRequest) -> Answer {
    let refusal = Refusal::BadRequest(reason);
    let id = worker.request_ids.borrow_mut().own();
    let answer =
        worker.published(|published| refusal.answer(Asker::unknown(), &published.pages, id.as_str()));
    let label = Some(refusal.words().label);
    worker.metrics.answered(answer.head.status, Duration::ZERO, label);
    if let Some(line) = Line::of_none(worker, version) {
        let record = line.record(connection.sender().address(), id.as_str(), answer.head.status, label);
        worker.access.write(&record);
    }
    answer
}

type Answered = Result<Answer, Refusal>;

impl Journey {
    fn new(worker: &Rc<Worker>, connection: &Rc<Connection>, head: &RequestHead) -> Self {
        Self {
            request_id: worker.request_ids.borrow_mut().of(&head.fields, connection.sender()),
            line: Line::of(worker, head),
            traced: Traced::begin(&worker.tracer, head, connection.sender()),
            is_secure: connection.sender().is_secure(head),
            connection: connection.clone(),
            worker: worker.clone(),
            began: Instant::now(),
            waited: Waited::default(),
            attempts: 0,
            handed: 0,
            pin: None,
            site: None,
        }
    }

    /// The way of a request whose site may be removed while it waits, and whose host may belong to another one then.
    async fn go_where_the_host_is(&mut self, outgoing: &mut Outgoing) -> Answered {
        if !self.connection.may_ask_for(outgoing.head.host()) {
            return Err(Refusal::Misdirected);
        }
        // A certificate authority asks about a name, and not the site that has it.
        if let Some(answer) = challenge::answer(self.worker.challenges(), &outgoing.head) {
            return Ok(answer);
        }
        let mut before: Option<Arc<PublishedSite>> = None;
        loop {
            let site =
                self.worker.published(|published| published.routes.lookup(outgoing.head.host()).cloned());
            let site = match (site, &before) {
                (Some(site), Some(before)) if Arc::ptr_eq(&site.gate, &before.gate) => None,
                (site, _) => site,
            };
            let Some(site) = site else {
                return Err(if before.is_some() { Refusal::SiteRemoved } else { Refusal::UnknownHost });
            };
            self.site = Some(site.clone());
            if let Some(answer) = self.redirect(&site, &outgoing.head) {
                return Ok(answer);
            }
            let answer = self.go(&site, outgoing).await;
            if !matches!(answer, Err(Refusal::SiteRemoved)) {
                return answer;
            }
            self.waited.elsewhere();
            before = Some(site);
        }
    }

    /// To TLS, if the site's readers are to use that.
    fn redirect(&self, site: &PublishedSite, head: &RequestHead) -> Option<Answer> {
        if self.is_secure || !redirect::is_for_readers(head.path()) {
            return None;
        }
        let tls = self.worker.tls.as_ref()?;
        let is_ready = || {
            let is_ready = tls.is_ready_for(head.host());
            if !is_ready {
                self.worker.seen_in_clear_text(head.host());
            }
            is_ready
        };
        let is_wanted = site.config.https.redirect.unwrap_or_else(is_ready);
        is_wanted.then(|| redirect::answer(head, tls.port))
    }

    /// The way of a request that belongs to a site.
    async fn go(&mut self, site: &Arc<PublishedSite>, outgoing: &mut Outgoing) -> Answered {
        let path = outgoing.head.path();
        if let Some(route) = site.config.routes.iter().find(|route| route.matches(path)) {
            return self.go_aside(site, &route.upstream, outgoing).await;
        }
        let had_body = outgoing.body.is_some();
        loop {
            let Turn { lease, part } = match site.gate.enter() {
                Some(lease) => Turn { lease, part: Part::Alone },
                None => {
                    self.worker.metrics.count(Count::Held);
                    let like = self.likeness(site, outgoing);
                    let began = self.traced.as_ref().map(|_| (Instant::now(), site.gate.reason()));
                    let turn = self.waited.at(&self.worker, site, &self.connection, outgoing, like).await;
                    if let (Some(traced), Some((began, before))) = (&self.traced, began) {
                        let failed = turn.as_ref().err().map(|refusal| refusal.words().label);
                        traced.held(began, before, site.gate.reason(), failed);
                    }
                    turn?
                }
            };
            let pin = lease.pin().clone();
            self.pin = Some(pin.clone());
            let leads = match part {
                Part::Alone => None,
                Part::Leads(leads) => Some(leads),
                Part::Follows(answer) => match self.follow(site, lease, answer) {
                    Some(answer) => return Ok(answer),
                    None => continue,
                },
            };
            let gate = site.gate.clone();
            let target = Target {
                backend: &pin.backend,
                line: pool::Line::Pinned(gate.site()),
                epoch: pin.epoch,
                site: &site.config,
            };
            let failed = match self.attempt(target, outgoing, Some(lease), leads).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if let Some(refusal) = failed.fault.is_told_as() {
                return Err(refusal);
            }
            // Who goes back waits for a verdict on the backend, lest it come here again at once.
            match (failed.fault, failed.outcome) {
                (Fault::Handoff, _) => self.worker.metrics.count(Count::Cut),
                (Fault::SlowClient | Fault::BadClient | Fault::GoneClient | Fault::Ours, _) => {}
                // Looking at the backend from here says nothing about an edge that was to bring a request there.
                (Fault::Backend, Outcome::NothingSent(Unsent::ConnectTimeout)) if gate.detour().is_none() => {
                    gate.doubt(pin.epoch);
                }
                (Fault::Backend, Outcome::NothingSent(_)) => gate.suspect(pin.epoch),
                (Fault::Backend, Outcome::NoAnswer { .. }) => gate.doubt(pin.epoch),
            }
            if let Some(refusal) = self.decide(outgoing, had_body, &failed) {
                return Err(refusal);
            }
        }
    }

    /// The way of a request to an upstream that is never pinned: one attempt, without a lease.
    async fn go_aside(
        &mut self,
        site: &PublishedSite,
        upstream: &Backend,
        outgoing: &mut Outgoing,
    ) -> Answered {
        let had_body = outgoing.body.is_some();
        loop {
            let target = Target {
                backend: upstream,
                line: pool::Line::Route(upstream.clone()),
                epoch: Epoch(0),
                site: &site.config,
            };
            let failed = match self.attempt(target, outgoing, None, None).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if let Some(refusal) = failed.fault.is_told_as() {
                return Err(refusal);
            }
            // Nobody holds requests for it, so that there is nothing to wait for.
            let is_certain = matches!(failed.outcome, Outcome::NothingSent(_));
            let refusal =
                if is_certain { Some(Refusal::NoBackend) } else { self.decide(outgoing, had_body, &failed) };
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
        }
    }

    async fn attempt(
        &mut self,
        target: Target<'_>,
        outgoing: &mut Outgoing,
        lease: Option<Lease>,
        leads: Option<Leads>,
    ) -> Result<Answer, Failed> {
        self.attempts += 1;
        let epoch = lease.as_ref().filter(|_| target.site.tell_epoch).map(|lease| lease.pin().epoch);
        let tracked = self.worker.flights.begin(&self.connection, lease, *target.site.upstream);
        let additions = Additions {
            peer: self.connection.sender(),
            fixed: &target.site.headers,
            request_id: self.request_id.as_str(),
            epoch,
            trace: self.traced.as_ref().map(|traced| &*traced.trace),
        };
        let began = self.traced.as_ref().map(|traced| {
            traced.trace.attempt_begins();
            (Instant::now(), target.backend.to_string())
        });
        let worker = &self.worker;
        let answer = match leads {
            None => forward::attempt(worker, target, additions, outgoing, tracked).await,
            // In a box: all others would have to make room for what few requests do.
            Some(leads) => {
                let attempt = forward::attempt(worker, target, additions, outgoing, tracked);
                Box::pin(collapse::for_others(leads, attempt)).await
            }
        };
        if let (Some(traced), Some((began, backend))) = (&self.traced, began) {
            let failed = answer.as_ref().err().map(|failed| failed.why.as_str());
            traced.attempted(began, self.attempts, backend, failed);
        }
        if let Err(failed) = &answer {
            if failed.fault == Fault::GoneClient {
                // Nobody is there to read an answer: this request goes with the connection.
                self.connection.kill();
                return std::future::pending().await;
            }
            self.handed += u32::from(matches!(failed.outcome, Outcome::NoAnswer { .. }));
            tracing::debug!(attempt = self.attempts, why = failed.why, "an attempt has failed");
        }
        answer
    }

    /// What a request is like that is about to wait, if others may have its answer.
    fn likeness(&self, site: &PublishedSite, outgoing: &Outgoing) -> Option<Likeness> {
        let hold = &site.config.hold;
        let may_share = hold.share_answers && site.gate.may_share() && outgoing.body.is_none();
        may_share.then(|| Likeness::of(&outgoing.head, self.is_secure, |cookie| hold.is_harmless(cookie)))?
    }

    /// The answer that another one asked for, unless its epoch has ended meanwhile.
    fn follow(&self, site: &PublishedSite, lease: Lease, answer: Arc<Shared>) -> Option<Answer> {
        let tracked = self.worker.flights.begin(&self.connection, Some(lease), *site.config.upstream);
        let may_deliver = tracked.lease.as_ref().is_some_and(Lease::may_deliver);
        if tracked.flight.ended().is_some() || !may_deliver {
            return None;
        }
        self.worker.metrics.count(Count::Shared);
        let (head, length) = (answer.head.clone(), answer.length);
        let relay = Relay::of_another(answer, tracked, self.worker.clone());
        Some(Answer { head, body: Body::Relayed(Box::new(relay), length), close: false })
    }

    /// Back to the gate (`None`), or an answer.
    fn decide(&self, outgoing: &Outgoing, had_body: bool, failed: &Failed) -> Option<Refusal> {
        let attempt = Attempt {
            safe: outgoing.safe,
            body_untouched: outgoing.is_whole(had_body),
            lease_good: failed.fault != Fault::Handoff,
            attempts: self.attempts,
            handed: self.handed,
        };
        match retry::decide(&attempt, failed.outcome) {
            Verdict::ToTheGate => {
                self.worker.metrics.count(Count::Retries);
                None
            }
            Verdict::Answer(retry::Answer::OutcomeUnknown) if self.comes_again(outgoing) => {
                Some(Refusal::OutcomeUnknownWillRepeat)
            }
            Verdict::Answer(answer) => Some(answer.into()),
        }
    }

    /// The application's own timer sends such a request again after a 503, and never again after a 502.
    fn comes_again(&self, outgoing: &Outgoing) -> bool {
        let path = outgoing.head.path();
        self.site.as_ref().is_some_and(|site| site.config.hold.is_never_held(path))
    }

    /// Counts, logs, and hands over.
    fn end(mut self, answered: Answered, asker: Asker) -> Answer {
        let held = self.waited.total();
        if !held.is_zero() {
            self.worker.metrics.held(held);
        }
        let (mut answer, refusal) = match answered {
            Ok(answer) => (answer, None),
            Err(refusal) => {
                let id = self.request_id.as_str();
                let answer = self.worker.published(|published| refusal.answer(asker, &published.pages, id));
                (answer, Some(refusal.words().label))
            }
        };
        let hsts = self.site.as_ref().and_then(|site| site.config.https.hsts.as_deref());
        if let Some(hsts) = hsts.filter(|_| self.is_secure) {
            answer.head.fields.push("strict-transport-security", hsts.as_bytes());
        }
        self.worker.metrics.answered(answer.head.status, self.began.elapsed(), refusal);
        if let Some(traced) = self.traced(answer.head.status, refusal) {
            match &mut answer.body {
                Body::Relayed(relay, _) => relay.trace_to_end(traced),
                Body::Whole(_) | Body::Tunnel(_) => traced.end(false),
            }
        }
        if let Some(record) = self.record(answer.head.status, refusal) {
            match &mut answer.body {
                Body::Relayed(relay, _) => relay.record_at_end(record),
                Body::Whole(_) | Body::Tunnel(_) => self.worker.access.write(&record),
            }
        }
        answer
    }

    /// Its trace, once, with all but its end.
    fn traced(&mut self, status: StatusCode, refusal: Option<&'static str>) -> Option<Box<Traced>> {
        let mut traced = self.traced.take()?;
        traced.answered(status, refusal, self.waited.total());
        let site = self.site.as_ref().map(|site| site.name().as_str());
        traced.belongs_to(self.request_id.as_str(), site, self.pin.as_deref());
        Some(traced)
    }

    /// The line about the request, once.
    fn record(&mut self, status: StatusCode, refusal: Option<&'static str>) -> Option<Record> {
        let line = self.line.take()?;
        let client = self.connection.sender().address();
        Some(Record {
            site: self.site.as_ref().map(|site| site.name().clone()),
            pin: self.pin.take(),
            began: self.began,
            held: self.waited.total(),
            attempts: self.attempts,
            ..line.record(client, self.request_id.as_str(), status, refusal)
        })
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        // It has no answer, for nobody waits for one: the client has left, or this process ends.
        let status = StatusCode::from_u16(LEFT).expect("a status");
        if let Some(traced) = self.traced(status, Some("left")) {
            traced.end(true);
        }
        if let Some(record) = self.record(status, Some("left")) {
            self.worker.access.write(&record);
        }
    }
}
