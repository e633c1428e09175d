//! Many edges that serve every site from one backend, at every moment, all of them together.
//!
//! The pins stand in a store that all edges see, in one order of revisions. A handoff is a `fence` in the store, a wait
//! until no edge has a lease of the fenced epoch, and a `serve` under the next epoch. Each decision is given
//! to one owner:
//!
//! - [`edge`]: what one edge may do with its gates, from what it has seen of the store and how long its lease goes;
//! - [`ledger`]: what the controller writes, and when a fence is complete: no edge is left that could serve under it;
//! - [`leading`]: how a controller goes on from a record, and what a step of a handoff asks of the fleet;
//! - [`opinion`]: whether a backend that the controller can't reach is unwell;
//! - [`handoff`](super::handoff): when and where to a pin moves, the same as with one edge.
//!
//! Which edge is the controller, or that two believe it, is a question of progress and never of safety: every write is
//! guarded by the revision of what it replaces.

pub mod doubts;
pub mod edge;
pub mod leading;
pub mod ledger;
pub mod opinion;

use std::fmt;
use std::time::Duration;

use super::Pin;

/// A point in the order of all that was ever written to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The lease of one life of an edge in the store. No two lives have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A moment by a clock that goes on while the machine sleeps: the time since the machine was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// So much later.
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// So much earlier; not before the machine was started.
    pub fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }

    /// The time since then; none if that is yet to come.
    pub fn since(self, then: Self) -> Duration {
        self.0.saturating_sub(then.0)
    }
}

/// What the store says of a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The newest pin, whether it may serve or not.
    pub pin: Pin,
    /// Whether it may.
    pub phase: RecordPhase,
}

/// What a [`Record`] asks of every edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordPhase {
    /// To serve under the pin.
    Serve,
    /// To let nobody in any more.
    Fence(Fence),
    /// The same, for the site is no longer configured. The record stays, so that a site made anew goes on counting.
    Gone,
}

/// Why and how a site is fenced. A controller that comes after this one goes on from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Leases that are still out are to end now.
    pub cut: bool,
    /// Where the pin is to go, if that was said.
    pub to: Option<super::Backend>,
    /// An operator holds the site.
    pub hold: bool,
}

impl Record {
    /// The pin, if edges may serve under it.
    pub fn serves(&self) -> Option<&Pin> {
        (self.phase == RecordPhase::Serve).then_some(&self.pin)
    }

    /// Whether leases of its epoch are to end by themselves no more.
    fn cuts(&self) -> bool {
        match &self.phase {
            RecordPhase::Serve => false,
            RecordPhase::Fence(fence) => fence.cut,
            RecordPhase::Gone => true,
        }
    }
}

/// What an edge does with a site while it can't renew its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Partition {
    /// It holds the site's requests: never two states.
    #[default]
    Fence,
    /// It goes on with the pin that it knows: two states are possible until it is back.
    Serve,
}

/// Whether `stored` would take an edge back that knows of `known`: an older epoch, or the same one with another backend.
pub fn goes_back(known: Option<&Pin>, stored: Option<&Pin>) -> bool {
    let Some(known) = known else { return false };
    stored.is_none_or(|stored| {
        stored.epoch < known.epoch || stored.epoch == known.epoch && stored.backend != known.backend
    })
}
