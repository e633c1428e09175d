//! The words of an edge: what happens, and what is to be done.

use std::time::Duration;

use crate::core::fleet::{LeaseId, Moment, Partition, Record, Revision};
use crate::core::{Epoch, Pin, SiteName};

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// By so much the edge ends before its lease does: for clocks that differ, for the time that a cut takes, and for
    /// what the store itself may be wrong.
    pub margin: Duration,
    /// A cut that takes longer ends the process.
    pub cut_max: Duration,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The store has granted a lease.
    Granted {
        /// Which.
        lease: LeaseId,
        /// When it was asked for.
        sent: Moment,
        /// How long it goes.
        ttl: Duration,
    },
    /// The store has answered a keep-alive.
    Renewed {
        /// Of which lease.
        lease: LeaseId,
        /// When the one that was answered had been sent.
        sent: Moment,
        /// How long the lease goes; zero if it is over.
        ttl: Duration,
    },
    /// The key of this life is in the store, with watermark 0.
    Registered {
        /// The life.
        lease: LeaseId,
    },
    /// All sites, read from the store after that, and not from a member that lags.
    Listed {
        /// By which life.
        lease: LeaseId,
        /// As of when.
        revision: Revision,
        /// All of them.
        sites: Vec<(SiteName, Record)>,
    },
    /// What the watch has seen, whole revisions in their order.
    Changed {
        /// By which life.
        lease: LeaseId,
        /// The newest of them.
        revision: Revision,
        /// What changed; `None` is a record that was deleted.
        sites: Vec<(SiteName, Option<Record>)>,
    },
    /// The watch has ended, or has lost its place.
    WatchLost {
        /// Of which life.
        lease: LeaseId,
    },
    /// What was told last stands in the store.
    Told {
        /// By which life.
        lease: LeaseId,
    },
    /// After [`Effect::Shut`] of this generation, the last lease is gone.
    Left {
        /// Whose.
        site: SiteName,
        /// Of which shutting.
        generation: u64,
    },
    /// A worker has shut the gate, for the deadline had passed by its look at the clock.
    Expired {
        /// Whose.
        site: SiteName,
    },
    /// A request found that the backend refuses connections. The gate is shut.
    Suspected {
        /// Whose.
        site: SiteName,
        /// The epoch of that request's lease.
        epoch: Epoch,
    },
    /// It answers through another edge, and requests are going to go that way.
    Detour {
        /// Whose.
        site: SiteName,
        /// Under which epoch it was suspected.
        epoch: Epoch,
    },
    /// The backend answers this edge.
    Cleared {
        /// Whose.
        site: SiteName,
        /// Under which epoch it was suspected.
        epoch: Epoch,
    },
    /// A site is served here from now on.
    Added {
        /// Which.
        site: SiteName,
        /// What to do without a lease.
        partition: Partition,
        /// The newest pin that this edge knows of, from its disk.
        known: Option<Pin>,
    },
    /// A site is not served here any more.
    Removed {
        /// Which.
        site: SiteName,
    },
    /// The fleet is left: nothing is opened any more, and the key goes when everything is shut and empty.
    Leave,
    /// Nothing but time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Ask the store for a lease, and report [`Input::Granted`].
    Grant,
    /// Write the key of this life, bound to its lease, and report [`Input::Registered`].
    Register(LeaseId),
    /// Read all sites from the store, and report [`Input::Listed`].
    List(LeaseId),
    /// Watch all sites, and report [`Input::Changed`].
    Watch {
        /// For which life.
        lease: LeaseId,
        /// The first revision that was not seen.
        from: Revision,
    },
    /// Write this into the key of this life, and report [`Input::Told`].
    Tell {
        /// Which life.
        lease: LeaseId,
        /// Everything up to here is applied,
        watermark: Revision,
        /// but for these sites.
        pending: Vec<SiteName>,
    },
    /// Nothing is to be let in, handed over or delivered after this moment, unless a later one is said.
    Until(Moment),
    /// Let nobody in any more, and report [`Input::Left`].
    Shut {
        /// Where.
        site: SiteName,
        /// Goes into the report.
        generation: u64,
    },
    /// End the leases that are out.
    Cut {
        /// Where.
        site: SiteName,
    },
    /// Let requests in under this pin.
    Open {
        /// Where.
        site: SiteName,
        /// The pin.
        pin: Pin,
    },
    /// Keep this pin on disk: the store must never take this edge back behind it.
    Remember {
        /// Whose.
        site: SiteName,
        /// The pin.
        pin: Pin,
    },
    /// The store would take this edge back. Nothing is opened under what it says.
    Refuse {
        /// Where.
        site: SiteName,
        /// What is known.
        known: Pin,
        /// What the store says.
        stored: Option<Pin>,
    },
    /// The life is over, and everything is shut and empty: the store may forget the key.
    Revoke(LeaseId),
    /// A cut could not be finished in time: the process must end, and must not renew its lease.
    Die {
        /// Where.
        site: SiteName,
    },
    /// The fleet is left.
    HasLeft,
}

/// How far a life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// What the life before this one let in is still going.
    Ending,
    /// A lease was asked for.
    Granting,
    /// The key is being written.
    Registering(LeaseId),
    /// The sites are being read.
    Listing(LeaseId),
    /// All is known, and is followed.
    Following(LeaseId),
    /// The fleet is left for good.
    Left,
}
