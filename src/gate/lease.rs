//! What a request has at a gate: a lease, or a place among those who wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Gate, Ticket};
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

/// A request that waits at a gate. Dropping it gives up its place at once.
#[derive(Debug)]
pub struct Held {
    pub(super) gate: Arc<Gate>,
    pub(super) ticket: Ticket,
    pub(super) lease: oneshot::Receiver<Lease>,
}

impl Held {
    /// Its place, to come back with.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Waits for the lease; `None` if the site is no longer configured.
    pub async fn lease(&mut self) -> Option<Lease> {
        (&mut self.lease).await.ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.budget.give_back();
        let mut queue = self.gate.queue();
        if queue.waiting.remove(&self.ticket).is_some() {
            queue.tally.given_up += 1;
            // It may have been the last one that a release waited for.
            self.gate.let_go(&mut queue);
        }
    }
}
