//! One worker: one thread, one runtime, its own listeners, connections to backends, and requests under way.
//!
//! Workers share nothing on the way of a request but the gate of its site and the pointer to the route table.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::HeaderValue;
use slab::Slab;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::answer::Refusal;
use super::census::Census;
use super::connection::Connection;
use super::detour;
use super::flight::Flights;
use super::headers::{Peer, RequestIds};
use super::listener::{self, Kind, Listener};
use super::pool::Pool;
use super::proxied;
use super::tls::Tls;
use super::wheel::Wheel;
use crate::acme::Challenges;
use crate::clock::{Clock, ROUND, Tick};
use crate::config::{Limits, ListenerSettings, Secret};
use crate::net::Socket;
use crate::observe::access::AccessLog;
use crate::observe::metrics::{Count, WorkerMetrics};
use crate::observe::pulse::{Places, Pulse};
use crate::observe::trace::Tracer;
use crate::published::{Published, Reader};
use crate::workers::Order;

/// Rounds between two looks for idle backend connections that are no longer good.
const ROUNDS_PER_SWEEP: u32 = 5;

/// Connections that are looked at before requests have their turn. Most have to be fetched from memory, one by one.
const LOOKS_A_TURN: usize = 512;
/// So many looks is what ending a connection costs: it is some system calls, and when many came at once, their deadlines
/// pass at once.
const LOOKS_AN_END: usize = 32;

/// Once no connection is taken any more, how long those that are there may send one more request: it may be on its way.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Hosts without a certificate that are remembered until the next sweep.
const SEEN_MAX: usize = 100;

/// What all workers are made from.
#[derive(Clone)]
pub struct Common {
    /// The coarse clock.
    pub clock: Clock,
    /// Route table and settings.
    pub reader: Reader,
    /// Client connections of all workers.
    pub census: Arc<Census>,
    /// For listeners of TLS.
    pub tls: Option<Tls>,
    /// Answers for certificate authorities.
    pub challenges: Challenges,
    /// Who knows this may bring requests of other edges.
    pub detour: Option<Secret>,
    /// Where lines about requests go.
    pub access: AccessLog,
    /// Begins traces.
    pub tracer: Tracer,
    /// Makes request ids differ from those of other processes.
    pub seed: u64,
}

/// The way by which a connection came in.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The number of its listener.
    pub listener: usize,
    /// Who comes by it.
    pub kind: Kind,
}

/// A running worker, as the rest of the process sees it.
#[derive(Debug)]
pub struct Handle {
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Whether it turns its loop, and what it is at.
    pub pulse: Arc<Pulse>,
    thread: thread::JoinHandle<()>,
}

impl Handle {
    /// Waits for the end of a worker that was told to stop.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a worker thread has panicked");
        }
    }
}

/// The worker's own state.
pub struct Worker {
    /// Idle connections to backends.
    pub pool: Pool,
    /// Requests under way.
    pub flights: Rc<Flights>,
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Makes ids for requests that have none.
    pub request_ids: RefCell<RequestIds>,
    /// Where lines about requests go.
    pub access: AccessLog,
    /// Begins traces.
    pub tracer: Tracer,
    /// What tells which request has its turn.
    pub places: Rc<Places>,
    clock: Clock,
    /// The time of day, and when it was written down.
    date: RefCell<(Tick, HeaderValue)>,
    reader: RefCell<Reader>,
    connections: RefCell<Slab<Kept>>,
    /// When each of them is to be looked at.
    wheel: RefCell<Wheel>,
    /// Those that are to be looked at in this round, by slot, with the time at which they were due.
    unlooked: RefCell<VecDeque<(usize, Tick)>>,
    census: Arc<Census>,
    /// For listeners of TLS.
    pub tls: Option<Tls>,
    challenges: Challenges,
    /// Who knows this may bring requests of other edges.
    pub detour: Option<Secret>,
    /// Hosts that were seen in clear text lately, and that a certificate has been ordered for.
    seen: RefCell<HashSet<Box<str>>>,
    /// A stop is near: each connection's next answer is its last one.
    farewell: Cell<bool>,
    /// Since it was told to stop: until when gates are waited for.
    stopping: watch::Sender<Option<Instant>>,
}

/// A connection in the worker's list.
struct Kept {
    connection: Rc<Connection>,
    /// When it is due on the wheel. What else the wheel has under its slot was somebody else's.
    due: Tick,
}

/// A worker's counters, before anything is counted.
pub fn metrics() -> Arc<WorkerMetrics> {
    Arc::new(WorkerMetrics::new(Refusal::all().map(|refusal| refusal.words().label).collect()))
}

/// Starts a worker's thread on these listeners. From then on, requests are served by what is published.
pub fn spawn(
    number: usize,
    listeners: Vec<Listener>,
    received: mpsc::UnboundedReceiver<Order>,
    metrics: Arc<WorkerMetrics>,
    common: Common,
) -> std::io::Result<Handle> {
    let pulse = Arc::new(Pulse::default());
    let for_thread = (metrics.clone(), pulse.clone());
    let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Looking at the sockets less often than at the tasks saves system calls; more often is fairer.
            .event_interval(61)
            .build()
            .expect("a runtime needs only a few file descriptors");
        let (metrics, pulse) = for_thread;
        let worker = Rc::new(Worker::new(number, metrics, Places::new(pulse.clone()), common));
        let local = LocalSet::new();
        local.block_on(&runtime, worker.run(listeners, received));
        // What is left is dropped, which may take its time.
        pulse.end();
    })?;
    Ok(Handle { metrics, pulse, thread })
}

impl Worker {
    fn new(number: usize, metrics: Arc<WorkerMetrics>, places: Rc<Places>, common: Common) -> Self {
        Self {
            pool: Pool::default(),
            flights: Flights::new(common.clock.clone()),
            metrics,
            access: common.access,
            tracer: common.tracer,
            places,
            request_ids: RefCell::new(RequestIds::new(common.seed ^ number as u64)),
            wheel: RefCell::new(Wheel::new(common.clock.now())),
            unlooked: RefCell::default(),
            clock: common.clock,
            date: RefCell::new((Tick(0), HeaderValue::from_static(""))),
            reader: RefCell::new(common.reader),
            connections: RefCell::default(),
            census: common.census,
            tls: common.tls,
            challenges: common.challenges,
            detour: common.detour,
            seen: RefCell::default(),
            farewell: Cell::new(false),
            stopping: watch::Sender::new(None),
        }
    }

    async fn run(self: Rc<Self>, listeners: Vec<Listener>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::task::spawn_local(listener::accept_all(self.clone(), listener)))
            .collect();
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0_u32;
        let (mut stop_at, mut no_more_at) = (None, None);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Cut(site)) => {
                        self.flights.cut(site);
                        self.pool.purge(site);
                    }
                    Some(Order::Purge(site)) => self.pool.purge(site),
                    Some(Order::Farewell) => self.bid_farewell(),
                    Some(Order::Stop { timeout, held }) => {
                        accepting.iter().for_each(|task| task.abort());
                        self.stopping.send_replace(Some(Instant::now() + held));
                        self.bid_farewell();
                        stop_at = Some(Instant::now() + timeout);
                        let last_requests = (Instant::now() + LAST_REQUESTS).min(Instant::now() + timeout);
                        no_more_at.get_or_insert(last_requests);
                    }
                    None => return,
                },
                () = tokio::task::yield_now(), if !self.unlooked.borrow().is_empty() => {
                    self.look_at_connections();
                }
                _ = rounds.tick() => {
                    count = count.wrapping_add(1);
                    self.round(count);
                    self.look_at_connections();
                    if no_more_at.take_if(|at| Instant::now() >= *at).is_some() {
                        self.connections.borrow().iter().for_each(|(_, kept)| kept.connection.end_gracefully());
                    }
                    if stop_at.is_some_and(|at| self.is_idle() || Instant::now() >= at) {
                        return;
                    }
                }
            }
        }
    }

    /// From now on, the next answer of each connection is its last one.
    fn bid_farewell(&self) {
        self.farewell.set(true);
        self.connections.borrow().iter().for_each(|(_, kept)| kept.connection.end_after_one_more());
    }

    /// Looks at all that has a deadline, but the connections.
    fn round(&self, count: u32) {
        self.places.beat();
        let now = self.clock.look();
        for _ in 0..self.flights.look(|connection| self.limits(connection)) {
            self.metrics.count(Count::SlowReaders);
        }
        self.unlooked.borrow_mut().extend(self.wheel.borrow_mut().take(now));
        if count.is_multiple_of(ROUNDS_PER_SWEEP) {
            self.pool.sweep(now);
            self.seen.borrow_mut().clear();
        }
    }

    /// Looks at connections that are due, until it is the turn of others.
    fn look_at_connections(&self) {
        let now = self.clock.now();
        let (mut connections, mut unlooked) = (self.connections.borrow_mut(), self.unlooked.borrow_mut());
        let mut looks = 0;
        while looks < LOOKS_A_TURN
            && let Some((slot, due)) = unlooked.pop_front()
        {
            let Some(kept) = connections.get_mut(slot).filter(|kept| kept.due == due) else { continue };
            looks += 1;
            let again = kept.connection.look(now, &self.limits(&kept.connection)).unwrap_or_else(|why| {
                looks += LOOKS_AN_END;
                match why {
                    "slow_head" => self.metrics.count(Count::SlowHeads),
                    "slow_reader" => self.metrics.count(Count::SlowReaders),
                    _ => {}
                }
                now
            });
            kept.due = self.wheel.borrow_mut().put(slot, again);
        }
    }

    fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.connections.borrow().is_empty()
    }

    /// The coarse time.
    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// The coarse clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The limits in force for a connection.
    pub fn limits(&self, connection: &Connection) -> Limits {
        self.reader.borrow_mut().load().listeners[connection.listener].limits
    }

    /// Looks something up in what is published now.
    pub fn published<T>(&self, look: impl FnOnce(&Published) -> T) -> T {
        look(self.reader.borrow_mut().load())
    }

    /// Answers for certificate authorities.
    pub fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// A host was asked for in clear text, and has no certificate: whoever has them made is told of it, now and then.
    pub fn seen_in_clear_text(&self, host: &str) {
        let mut seen = self.seen.borrow_mut();
        if let Some(tls) = self.tls.as_ref().filter(|tls| tls.orders())
            && seen.len() < SEEN_MAX
            && !seen.contains(host)
        {
            seen.insert(host.into());
            tls.order(host);
        }
    }

    /// The time of day, as it is written in answers.
    pub fn date(&self) -> HeaderValue {
        let (written_at, text) = &mut *self.date.borrow_mut();
        let now = self.now();
        if *written_at != now {
            let date = httpdate::fmt_http_date(std::time::SystemTime::now());
            (*written_at, *text) = (now, HeaderValue::try_from(date).expect("a date is visible ASCII"));
        }
        text.clone()
    }

    /// Another one each time: 16 bytes in Base64, as a WebSocket handshake wants them. It only tells a backend's answer
    /// from one that was kept for somebody else (RFC 6455, 10.3).
    pub fn nonce(&self) -> String {
        let id = self.request_ids.borrow_mut().own();
        // Hexadecimal digits are digits of Base64 too: 21 of them and an `A` are 128 bits.
        format!("{}A==", &id.as_str()[11..])
    }

    /// Returns when gates are not waited for any more, for the process is about to end.
    pub async fn holds_nobody(&self) {
        let mut stopping = self.stopping.subscribe();
        // The other end is the worker itself.
        let until = stopping.wait_for(Option::is_some).await.ok().and_then(|until| *until);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Serves one connection to its end.
    pub async fn serve_connection(self: Rc<Self>, mut stream: Socket, from: IpAddr, way: Way) {
        let Way { listener: number, kind } = way;
        let settings = |published: &Published| published.listeners[number].clone();
        let ListenerSettings { limits, proxy_protocol_from } = self.published(settings);
        let Ok(mut counted) = self.census.count(limits.max_connections) else {
            return self.metrics.count(Count::ConnectionsRefused);
        };
        let mut client = from;
        if proxied::is_expected(from, &proxy_protocol_from) {
            let header = tokio::time::timeout(limits.head_timeout, proxied::client(&mut stream)).await;
            match header.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
                Ok(named) => client = named.unwrap_or(client),
                Err(error) => {
                    tracing::warn!(%from, %error, "no PROXY header came; [listen] proxy_protocol expects one");
                    return self.metrics.count(Count::ProxyHeadersRefused);
                }
            }
        }
        let peer =
            self.published(|published| Peer::new(client, kind == Kind::Https, &published.trusted_proxies));
        // Many clients come by way of a trusted proxy, or of another edge, and those have limits of their own.
        if !peer.is_trusted()
            && kind != Kind::Edges
            && counted.belongs_to(peer.address(), limits.max_connections_per_client).is_err()
        {
            return self.metrics.count(Count::ConnectionsOfOneRefused);
        }
        self.metrics.count(Count::ConnectionsAccepted);
        let (socket, certificate) = match &self.tls {
            Some(tls) if kind == Kind::Https => {
                let is_served =
                    |name: &str| self.published(|published| published.routes.lookup(name).is_some());
                match tls.accept(stream, limits.head_timeout, is_served).await {
                    Ok(accepted) => (Socket::Tls(accepted.stream), Some(accepted.certificate)),
                    Err(why) => {
                        why.counted().into_iter().for_each(|what| self.metrics.count(what));
                        return self.metrics.count(Count::ConnectionsEnded);
                    }
                }
            }
            _ => (stream, None),
        };
        let connection = Connection::new(socket, number, certificate, peer, self.clock.clone(), counted);
        let _open = self.clone().keep(connection.clone());
        if self.farewell.get() {
            connection.end_after_one_more();
        }
        match kind {
            Kind::Edges => detour::serve(&self, &connection).await,
            Kind::Http | Kind::Https => listener::serve(&self, &connection).await,
        }
    }

    fn keep(self: Rc<Self>, connection: Rc<Connection>) -> Open {
        let mut connections = self.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let slot = entry.key();
        // It is looked at in the next round, and that finds out when it has to be again.
        let due = self.wheel.borrow_mut().put(slot, self.now());
        entry.insert(Kept { connection, due });
        drop(connections);
        Open { worker: self, slot }
    }
}

/// A connection in the worker's list. A panic in one of its requests ends it like anything else.
struct Open {
    worker: Rc<Worker>,
    slot: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        let Kept { connection, .. } = self.worker.connections.borrow_mut().remove(self.slot);
        connection.give_up();
        self.worker.metrics.count(Count::ConnectionsEnded);
    }
}

#[cfg(test)]
mod tests;
