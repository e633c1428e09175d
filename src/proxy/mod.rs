//! The data plane: what happens to a request, from its head to the last byte of its answer.
//!
//! [`serve`] is that way: look up the site, enter its gate or wait at it, forward, and either answer or go back to the
//! gate. It never remembers a backend: who answers is what the lease says, each time anew.

pub mod answer;
pub mod body;
pub mod connection;
pub mod flight;
pub mod forward;
pub mod headers;
pub mod listener;
pub mod pool;
pub mod tunnel;
pub mod wait;
pub mod worker;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::UPGRADE;
use http::{Request, Response, StatusCode, request};
use hyper::body::{Body, Incoming};

use answer::{Asker, Refusal};
use body::ResponseBody;
use connection::Connection;
use forward::{Failed, Fault, Outgoing, Target};
use wait::Waited;
use worker::Worker;

use crate::core::retry::{self, Answer, Attempt, Outcome, Unsent, Verdict};
use crate::core::{Epoch, Pin};
use crate::gate::Lease;
use crate::observe::access::Record;
use crate::observe::metrics::Count;
use crate::published::PublishedSite;

/// What the access log says of a request that nobody waits for any more. No client ever sees it.
const LEFT: u16 = 499;

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
    request_id: http::HeaderValue,
    /// What the access log says of the request, if there is one.
    line: Option<Line>,
}

struct Line {
    method: http::Method,
    host: Box<str>,
    path: Box<str>,
}

/// Serves one request.
pub async fn serve(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let active = connection.request_began(request.version() == http::Version::HTTP_2);
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    let asker = Asker::of(&head.method, head.version, &head.headers);
    let request_id = worker.request_ids.borrow_mut().of(&head.headers, connection.sender());
    let mut journey = Journey::new(&worker, &connection, &head, request_id.clone());
    let answer = match prepare(&worker, &mut journey, &mut head, request_id) {
        Ok((site, may_upgrade)) => {
            let mut outgoing = Outgoing {
                upgrade: upgrade.filter(|_| may_upgrade),
                safe: retry::is_safe(&head.method),
                wants_fresh: false,
                body: (!body.is_end_stream()).then_some(body),
                head,
            };
            journey.go_where_the_host_is(site, &mut outgoing).await
        }
        Err(refusal) => Err(refusal),
    };
    let mut response = journey.end(answer, asker);
    if let ResponseBody::Relayed(relayed) = response.body_mut() {
        relayed.active_to_its_end(active);
    }
    response
}

/// Checks the head, finds its site, and makes it fit for a backend. Says whether it asks for an upgrade.
fn prepare(
    worker: &Worker,
    journey: &mut Journey,
    head: &mut request::Parts,
    request_id: http::HeaderValue,
) -> Result<(Arc<PublishedSite>, bool), Refusal> {
    let seen = headers::check(head)?;
    let site = worker.published(|published| published.routes.lookup(headers::host(head)).cloned());
    let site = site.ok_or(Refusal::UnknownHost)?;
    journey.site = Some(site.clone());
    let upgrade =
        headers::to_backend(head, seen, journey.connection.sender(), &site.config.headers, request_id);
    Ok((site, upgrade.is_some()))
}

type Answered = Result<Response<ResponseBody>, Refusal>;

impl Journey {
    fn new(
        worker: &Rc<Worker>,
        connection: &Rc<Connection>,
        head: &request::Parts,
        request_id: http::HeaderValue,
    ) -> Self {
        let line = worker.published(|published| published.access_log).then(|| Line {
            method: head.method.clone(),
            host: headers::host(head).into(),
            path: head.uri.path().into(),
        });
        Self {
            request_id,
            line,
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
    async fn go_where_the_host_is(
        &mut self,
        mut site: Arc<PublishedSite>,
        outgoing: &mut Outgoing,
    ) -> Answered {
        loop {
            let answer = self.go(&site, outgoing).await;
            if !matches!(answer, Err(Refusal::SiteRemoved)) {
                return answer;
            }
            let host = headers::host(&outgoing.head);
            let next = self.worker.published(|published| published.routes.lookup(host).cloned());
            let Some(next) = next.filter(|next| !Arc::ptr_eq(&next.gate, &site.gate)) else { return answer };
            headers::change_site(&mut outgoing.head, &site.config.headers, &next.config.headers);
            self.waited.elsewhere();
            self.site = Some(next.clone());
            site = next;
        }
    }

    /// The way of a request that belongs to a site.
    async fn go(&mut self, site: &Arc<PublishedSite>, outgoing: &mut Outgoing) -> Answered {
        let path = outgoing.head.uri.path();
        if let Some(route) = site.config.routes.iter().find(|route| route.matches(path)) {
            return self.go_aside(site, route.upstream.clone(), outgoing).await;
        }
        let had_body = outgoing.body.is_some();
        loop {
            let lease = match site.gate.enter() {
                Some(lease) => lease,
                None => {
                    self.worker.metrics.count(Count::Held);
                    self.waited.at(&self.worker, site, &self.connection, outgoing).await?
                }
            };
            let pin = lease.pin().clone();
            self.pin = Some(pin.clone());
            let gate = site.gate.clone();
            let target = Target {
                backend: &pin.backend,
                line: pool::Line::Pinned(gate.site()),
                epoch: pin.epoch,
                upstream: &site.config.upstream,
            };
            let failed = match self.attempt(target, outgoing, Some(lease)).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            if failed.fault == Fault::Client {
                return Err(Refusal::BodyTimeout);
            }
            // Who goes back waits for a verdict on the backend, lest it come here again at once.
            match (failed.fault, failed.outcome) {
                (Fault::Handoff, _) => self.worker.metrics.count(Count::Cut),
                (Fault::Client | Fault::Ours, _) => {}
                (Fault::Backend, Outcome::NothingSent(Unsent::ConnectTimeout)) => gate.doubt(pin.epoch),
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
        upstream: crate::core::Backend,
        outgoing: &mut Outgoing,
    ) -> Answered {
        let had_body = outgoing.body.is_some();
        loop {
            let target = Target {
                backend: &upstream,
                line: pool::Line::Route(upstream.clone()),
                epoch: Epoch(0),
                upstream: &site.config.upstream,
            };
            let failed = match self.attempt(target, outgoing, None).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            if failed.fault == Fault::Client {
                return Err(Refusal::BodyTimeout);
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
    ) -> Result<Response<ResponseBody>, Failed> {
        self.attempts += 1;
        let tracked = self.worker.flights.begin(&self.connection, lease, *target.upstream);
        let answer = forward::attempt(&self.worker, &self.connection, target, outgoing, tracked).await;
        if let Err(failed) = &answer {
            self.handed += u32::from(matches!(failed.outcome, Outcome::NoAnswer { .. }));
            tracing::debug!(attempt = self.attempts, why = failed.why, "an attempt has failed");
        }
        answer
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
            Verdict::Answer(Answer::OutcomeUnknown) if self.comes_again(outgoing) => {
                Some(Refusal::OutcomeUnknownWillRepeat)
            }
            Verdict::Answer(answer) => Some(answer.into()),
        }
    }

    /// The application's own timer sends such a request again after a 503, and never again after a 502.
    fn comes_again(&self, outgoing: &Outgoing) -> bool {
        let path = outgoing.head.uri.path();
        self.site.as_ref().is_some_and(|site| site.config.hold.is_never_held(path))
    }

    /// Counts, logs, and hands over.
    fn end(mut self, answered: Answered, asker: Asker) -> Response<ResponseBody> {
        let held = self.waited.total();
        if !held.is_zero() {
            self.worker.metrics.held(held);
        }
        let (mut response, refusal) = match answered {
            Ok(response) => (response, None),
            Err(refusal) => {
                let id = self.request_id.to_str().unwrap_or_default();
                let answer = self.worker.published(|published| refusal.answer(asker, &published.pages, id));
                (answer.map(ResponseBody::whole), Some(refusal.words().label))
            }
        };
        self.worker.metrics.answered(response.status(), self.began.elapsed(), refusal);
        if let Some(record) = self.record(response.status(), refusal) {
            match response.body_mut() {
                ResponseBody::Relayed(relayed) => relayed.record_at_end(record),
                ResponseBody::Whole(_) => record.write(),
            }
        }
        response
    }

    /// The line about the request, once.
    fn record(&mut self, status: StatusCode, refusal: Option<&'static str>) -> Option<Record> {
        let line = self.line.take()?;
        Some(Record {
            client: self.connection.sender().address(),
            method: line.method,
            host: line.host,
            path: line.path,
            request_id: self.request_id.clone(),
            site: self.site.as_ref().map(|site| site.name.clone()),
            pin: self.pin.take(),
            status,
            refusal,
            bytes: 0,
            began: self.began,
            held: self.waited.total(),
            attempts: self.attempts,
            broken_off: false,
        })
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        // It has no answer, for nobody waits for one: the client has left, or this process ends.
        let status = StatusCode::from_u16(LEFT).expect("a status");
        if let Some(record) = self.record(status, Some("left")) {
            record.write();
        }
    }
}
