//! What a request has at a gate: a lease, or a place among those who wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Gate, Ticket};
use crate::alike::{Likeness, Rooms, Shared};
use crate::broken::{Rule, breaks};
use crate::core::Pin;

/// The right to be answered by the backend of one epoch, and the duty to be counted until the last byte is through.
#[derive(Debug)]
pub struct Lease {
    pub(super) gate: Arc<Gate>,
    pub(super) pin: Arc<Pin>,
    /// Which opening of the gate it was given out by.
    pub(super) opened: u64,
    pub(super) paced: Option<Paced>,
    pub(super) counts: bool,
}

/// This lease was given out by a release, which waits to hear how it went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paced {
    pub(super) release: u64,
    pub(super) since: Instant,
}

impl Lease {
    /// Who answers, and under which epoch.
    pub fn pin(&self) -> &Arc<Pin> {
        &self.pin
    }

    /// The gate that gave it out.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The backend has answered (`well`), or failed to, or was too busy to. A release goes on accordingly.
    pub fn answered(&mut self, well: bool) {
        if let Some(paced) = self.paced.take() {
            self.gate.paced_done(paced, Some(well));
        }
    }

    /// Whether leases like this one were told to end before it was used.
    pub fn is_cut(&self) -> bool {
        self.gate.cut.load(Ordering::Acquire) >= self.opened
    }

    /// Whether a request under this lease may still be handed to the backend.
    pub fn may_hand_over(&self) -> bool {
        !self.is_cut() && !self.gate.is_over()
    }

    /// Whether an answer under this lease may still be given to a client. While the lease is out, its epoch can't be
    /// over; this looks at the gate all the same, for it is the last place where a mistake can be stopped.
    pub fn may_deliver(&self) -> bool {
        if breaks(Rule::HeadUnchecked) {
            return true;
        }
        let current = self.gate.word().is_of(self.pin.epoch);
        if !current {
            self.gate.late.fetch_add(1, Ordering::Relaxed);
            self.gate.around.late.fetch_add(1, Ordering::Relaxed);
        }
        current && !self.gate.is_over()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        if let Some(paced) = self.paced.take() {
            self.gate.paced_done(paced, None);
        }
        self.gate.leave();
    }
}

/// What one that waited is given.
#[derive(Debug)]
pub struct Turn {
    /// The right to be answered, by whomever it is.
    pub lease: Lease,
    /// Who asks the backend.
    pub part: Part,
}

/// Who asks the backend, for a request that waited.
#[derive(Debug)]
pub enum Part {
    /// It does, for itself.
    Alone,
    /// It does, and others that are alike wait for the answer.
    Leads(Leads),
    /// One that is alike did, after this one had come.
    Follows(Arc<Shared>),
}

impl Turn {
    /// It was given to nobody.
    pub(super) fn forget(mut self) {
        self.lease.counts = false;
        if let Part::Leads(leads) = &mut self.part {
            leads.is_done = true;
        }
    }
}

/// The duty to say what has become of the request that others wait for. Dropping it says that there is no answer, and
/// another one is let go in its place.
#[derive(Debug)]
pub struct Leads {
    gate: Arc<Gate>,
    release: u64,
    like: Arc<Likeness>,
    is_done: bool,
}

impl Leads {
    pub(super) fn new(gate: &Arc<Gate>, release: u64, like: &Arc<Likeness>) -> Self {
        Self { gate: gate.clone(), release, like: like.clone(), is_done: false }
    }

    /// Where answers are kept that do for more than one.
    pub fn rooms(&self) -> &Arc<Rooms> {
        self.gate.rooms()
    }

    /// The answer does for all.
    pub fn shares(mut self, answer: &Arc<Shared>) {
        self.is_done = true;
        self.gate.shared(self.release, &self.like, answer);
    }

    /// The answer is for this one alone, and the others' will be for them.
    pub fn is_apart(mut self) {
        self.is_done = true;
        self.gate.apart(self.release, &self.like, true);
    }
}

impl Drop for Leads {
    fn drop(&mut self) {
        if !self.is_done {
            self.gate.apart(self.release, &self.like, false);
        }
    }
}

/// A request that waits at a gate. Dropping it gives up its place at once.
#[derive(Debug)]
pub struct Held {
    pub(super) gate: Arc<Gate>,
    pub(super) ticket: Ticket,
    pub(super) turn: oneshot::Receiver<Turn>,
}

impl Held {
    /// Its place, to come back with.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Waits for its turn; `None` if the site is no longer configured.
    pub async fn turn(&mut self) -> Option<Turn> {
        (&mut self.turn).await.ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.around.budget.give_back();
        let mut queue = self.gate.queue();
        let Some(crowd) = &mut queue.crowd else { return };
        if let Some(waiting) = crowd.waiting.remove(&self.ticket) {
            crowd.turns.leave(self.ticket, waiting.like.as_ref());
            crowd.tally.given_up += 1;
            // It may have been the last one that a release waited for.
            self.gate.let_go(&mut queue);
        }
    }
}
