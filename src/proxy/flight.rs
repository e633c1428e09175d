//! Requests under way in one worker: each can be ended, by a cut of its epoch or by a deadline.
//!
//! A worker is one thread, so ending is free of races here: once a flight is marked as ended, no part of it hands
//! anything over any more, and its lease is given back as soon as those parts have looked.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use slab::Slab;

use super::connection::Connection;
use crate::clock::{Clock, Tick};
use crate::config::{Limits, Upstream};
use crate::gate::{Lease, SiteKey};

/// What a flight waits for, with a deadline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A connection to the backend.
    Connecting,
    /// More of the request's body, from the client.
    Uploading,
    /// The head of the answer.
    AwaitingHead,
    /// More of the answer's body, from the backend.
    AwaitingBody,
    /// The client, to take what was read.
    Delivering,
    /// Either side of an upgraded connection.
    Tunnel,
}

/// Why a flight was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its epoch was cut.
    Cut,
    /// It waited too long, in this stage.
    TimedOut(Stage),
}

/// One request under way.
#[derive(Debug)]
pub struct Flight {
    site: Option<SiteKey>,
    connection: Rc<Connection>,
    deadlines: Upstream,
    stage: Cell<Stage>,
    since: Cell<Tick>,
    ended: Cell<Option<Ended>>,
    /// A round has seen it ended.
    overdue: Cell<bool>,
    /// Some of the request's body was read: it can't be sent from its beginning any more.
    touched: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    clock: Clock,
}

impl Flight {
    /// Some of the request's body was taken from the client.
    pub fn touch(&self) {
        self.touched.set(true);
    }

    /// Some of the request's body was read.
    pub fn touched(&self) -> bool {
        self.touched.get()
    }

    /// What it waits for.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// It waits for this from now on.
    pub fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        self.since.set(self.clock.now());
    }

    /// Why it was ended, if it was. Whoever sees that hands nothing over any more.
    pub fn ended(&self) -> Option<Ended> {
        self.ended.get()
    }

    /// Has the task woken when the flight is ended.
    pub fn wake_when_ended(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Drives `work` until it is done or the flight is ended, which drops it.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if let Some(why) = self.ended() {
                return Poll::Ready(Err(why));
            }
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                self.wake_when_ended(cx.waker());
            }
            done.map(Ok)
        })
        .await
    }

    fn end(&self, why: Ended) {
        if self.ended.get().is_none() {
            self.ended.set(Some(why));
            self.since.set(self.clock.now());
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Ends the flight if its deadline has passed. Returns in which stage it was then.
    fn look(
        &self,
        now: Tick,
        client_body_timeout: std::time::Duration,
        client_write_timeout: std::time::Duration,
    ) -> Option<Stage> {
        if self.ended.get().is_some() {
            // It was told, and a whole round later something still holds on to it: a client that takes nothing, most
            // likely. Its connection goes, and all that belongs to it. One look is not enough: on a busy worker it
            // may come before the tasks that were just woken have had their turn.
            if self.overdue.replace(true) {
                self.connection.kill();
            }
            return None;
        }
        let stage = self.stage.get();
        let timeout = match stage {
            Stage::Connecting => self.deadlines.connect_timeout,
            Stage::Uploading => client_body_timeout,
            Stage::AwaitingHead => self.deadlines.first_byte_timeout,
            Stage::AwaitingBody => self.deadlines.body_timeout,
            Stage::Delivering => client_write_timeout,
            Stage::Tunnel => self.deadlines.tunnel_timeout,
        };
        let is_late = now.is_past(self.since.get(), timeout);
        if is_late {
            self.end(Ended::TimedOut(stage));
        }
        is_late.then_some(stage)
    }
}

/// All flights of a worker.
#[derive(Debug)]
pub struct Flights {
    slab: RefCell<Slab<Rc<Flight>>>,
    clock: Clock,
}

impl Flights {
    /// None yet.
    pub fn new(clock: Clock) -> Rc<Self> {
        Rc::new(Self { slab: RefCell::default(), clock })
    }

    /// Begins a flight. `lease` is `None` for paths that go to an upstream which is never pinned.
    pub fn begin(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        lease: Option<Lease>,
        deadlines: Upstream,
    ) -> Tracked {
        let flight = Rc::new(Flight {
            site: lease.as_ref().map(|lease| lease.gate().site()),
            connection: connection.clone(),
            deadlines,
            stage: Cell::new(Stage::Connecting),
            since: Cell::new(self.clock.now()),
            // A held request gets its lease from another thread. A cut may come in between, and finds no flight.
            ended: Cell::new(lease.as_ref().is_some_and(Lease::is_cut).then_some(Ended::Cut)),
            overdue: Cell::new(false),
            touched: Cell::new(false),
            waker: RefCell::default(),
            clock: self.clock.clone(),
        });
        let slot = self.slab.borrow_mut().insert(flight.clone());
        Tracked { lease, flight, flights: self.clone(), slot }
    }

    /// Ends all flights of a site.
    ///
    /// A gate is cut only while it is shut, so all of them belong to the epoch that is being fenced.
    pub fn cut(&self, site: SiteKey) {
        for (_, flight) in &*self.slab.borrow() {
            if flight.site == Some(site) {
                flight.end(Ended::Cut);
            }
        }
    }

    /// Looks at all deadlines. Returns how many clients did not take their answer.
    pub fn look(&self, limits_of: impl Fn(&Connection) -> Limits) -> usize {
        let now = self.clock.now();
        let flights = &*self.slab.borrow();
        let late = flights.iter().filter_map(|(_, flight)| {
            let limits = limits_of(&flight.connection);
            flight.look(now, limits.body_timeout, limits.write_timeout)
        });
        late.filter(|stage| *stage == Stage::Delivering).count()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slab.borrow().len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A flight, and the lease it flies under. Dropping it ends both.
#[derive(Debug)]
pub struct Tracked {
    /// What it flies under.
    pub lease: Option<Lease>,
    /// The flight.
    pub flight: Rc<Flight>,
    flights: Rc<Flights>,
    slot: usize,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.flights.slab.borrow_mut().remove(self.slot);
    }
}
