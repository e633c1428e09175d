//! What gates tell the reconciler of themselves.

use std::time::Duration;

use super::SiteKey;
use crate::core::Epoch;

/// What gates tell the reconciler.
#[derive(Debug)]
pub enum Report {
    /// After the shutting of this generation, the last lease is gone.
    Left {
        /// Which site.
        site: SiteKey,
        /// Of [`Gate::shut`].
        generation: u64,
    },
    /// A request shut the gate, for the backend of this epoch refuses connections.
    Suspected {
        /// Which site.
        site: SiteKey,
        /// The epoch of that request's lease.
        epoch: Epoch,
    },
    /// Something went wrong with the backend of this epoch: look at it soon.
    Doubted {
        /// Which site.
        site: SiteKey,
        /// The epoch of the lease under which it went wrong.
        epoch: Epoch,
    },
    /// A worker shut the gate, for the time of this process was over by its look at the clock.
    Expired {
        /// Which site.
        site: SiteKey,
    },
    /// The last held request has been let go.
    Emptied {
        /// Which site.
        site: SiteKey,
        /// What became of the requests held since the shutting.
        tally: Tally,
    },
}

/// What became of the requests at a gate since it was shut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Held.
    pub held: u64,
    /// Let go.
    pub released: u64,
    /// Of those, given an answer that another one had asked for.
    pub shared: u64,
    /// Refused for want of room.
    pub shed: u64,
    /// Given up: at their deadline, or because the client left.
    pub given_up: u64,
    /// The longest wait of one that was let go.
    pub longest_wait: Duration,
}
