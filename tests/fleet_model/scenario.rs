//! What is explored: how much may happen, and with which shell around the cores.

use std::time::Duration;

use ghostpin::core::fleet::Partition;
use ghostpin::core::fleet::edge::Terms;
use ghostpin::core::handoff::{Policy, WarmStandby};
use ghostpin::core::{Backend, Epoch, Pin, SiteName};

use super::led::Wanted;

/// From the sending of a keep-alive to the end of an edge, by its own clock.
const LIFE: u64 = 1;

/// One bounded world. The budgets are of what happens to it; what edges and controllers do by themselves has none.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) edges: usize,
    /// How many of them live at the beginning. The others join at some time.
    pub(crate) living: usize,
    /// To how many of them, the first ones, something happens: crashes, leaves, lost watches, drifts, reloads. Where edges
    /// are alike, it makes no difference to whom.
    pub(crate) struck: usize,
    /// How many leases the store grants, so that there is an end to dying and joining anew.
    pub(crate) lives: i64,
    /// How many may believe that they lead. The first does at the beginning.
    pub(crate) controllers: u8,
    pub(crate) sites: u8,
    /// What edges do with them without the store.
    pub(crate) partition: Partition,
    /// How many edges have the first site not in their configuration at the beginning: the last ones.
    pub(crate) without: usize,
    /// With which the real handoff core leads. Without one, whatever a core could decide may be decided at any time.
    pub(crate) policy: Option<Policy>,
    pub(crate) wishes: Vec<Wanted>,
    /// How many come to each edge.
    pub(crate) requests: Vec<usize>,
    /// Whether an edge may hear late that the last lease of a gate is gone, when it is no longer so.
    pub(crate) late_reports: bool,
    /// Time that may pass between a look at the clock and what is done upon it. The margin is longer by one, by which an
    /// edge's clock may fall behind the store's.
    pub(crate) lag: u64,
    pub(crate) budget: Budget,
    /// Whether it is looked at from every state how it ends if it is left alone; that takes a while.
    pub(crate) ends: bool,
    pub(crate) shell: Shell,
}

/// How often something may still happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// The clock moves on.
    pub(crate) ticks: u8,
    /// The same, but an edge's own clock stands still meanwhile, or goes twice as fast.
    pub(crate) drifts: u8,
    /// An edge renews its lease.
    pub(crate) keep_alives: u8,
    /// A site is fenced, to be moved.
    pub(crate) moves: u8,
    /// A fenced site serves on under the same epoch.
    pub(crate) reopenings: u8,
    pub(crate) cuts: u8,
    /// A site is no longer configured, or is again.
    pub(crate) retirements: u8,
    /// Somebody believes that he leads, whoever else does.
    pub(crate) elections: u8,
    /// The fate of a controller's write isn't known.
    pub(crate) timeouts: u8,
    /// A watch has lost its place: an edge's, or a controller's.
    pub(crate) watches_lost: u8,
    /// An edge's process ends at any point, and is started again.
    pub(crate) crashes: u8,
    /// An edge leaves the fleet, and comes back.
    pub(crate) leaves: u8,
    /// A site is added at an edge, or removed.
    pub(crate) reloads: u8,
    /// A backend refuses a connection.
    pub(crate) suspicions: u8,
    /// Another edge takes requests for one that can't reach a backend.
    pub(crate) detours: u8,
    /// The store is brought back to what it was at the beginning.
    pub(crate) restores: u8,
    /// A backend dies, or is there again.
    pub(crate) turns: u8,
    pub(crate) wishes: u8,
    /// A timer of the handoff core's runs out although something else could still happen before it.
    pub(crate) early_timers: u8,
}

/// The shell around the cores: the right one, or one with a well-known mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Right,
    /// The controller takes an edge's word that nothing is pending for any fence, whatever the edge has applied.
    IgnoresWatermarks,
    /// The edge tells what it has applied, and not which sites still have leases.
    TellsNoPending,
    /// A lease is counted from when the answer came.
    CountsFromTheAnswer,
    /// Any answer is taken for the one to the last keep-alive that was sent.
    CountsAnyAnswer,
    /// The controller's writes replace whatever stands.
    NoGuard,
    /// The list is read while the key is still on its way.
    ListsFirst,
    /// A fence is judged by the edges that were known before it was written.
    JudgesByAnOlderView,
    /// A list from a member that lags is taken for a new one.
    ListsFromALaggard,
    /// What is past the deadline is stopped by a timer alone.
    TimerAlone,
    /// A head is delivered without another look at the clock and the gate.
    HeadUnchecked,
    /// A new life takes the key of the one before for its own.
    ReusesTheKey,
    /// A record is deleted with its site.
    ForgetsTheEpoch,
    /// A gate is opened while its pin is still on its way to the disk.
    OpensBeforeRemembered,
    /// Who leaves gives up the key at once.
    LeavesInHaste,
    /// A word that was given up as lost is written after a newer one.
    OldWordsArrive,
    /// Who was deposed goes on.
    IgnoresDeposition,
    /// A site that is removed takes with it what is known of its requests.
    ForgetsWithTheSite,
    /// A site is added as if this edge had never known it.
    AddsWithoutMemory,
    /// What is cut goes on where the site is to serve without the store.
    CutsNothing,
    /// A new controller goes on as if no handoff had been under way.
    TakesFencesForServing,
}

impl Scenario {
    /// Two edges and a controller, with a request each, and nothing happens.
    pub(crate) fn quiet(name: &'static str) -> Self {
        Self {
            name,
            edges: 2,
            living: 2,
            struck: usize::MAX,
            lives: i64::MAX,
            controllers: 1,
            sites: 1,
            partition: Partition::Fence,
            without: 0,
            policy: None,
            wishes: vec![],
            requests: vec![1; 3],
            late_reports: false,
            lag: 0,
            budget: Budget::default(),
            ends: true,
            shell: Shell::Right,
        }
    }

    /// As many edges, all of them living.
    pub(crate) fn of(edges: u8, name: &'static str) -> Self {
        Self { edges: edges.into(), living: edges.into(), ..Self::quiet(name) }
    }

    pub(crate) fn with(mut self, shell: Shell) -> Self {
        self.shell = shell;
        self
    }

    fn margin(&self) -> u64 {
        self.lag + 1
    }

    /// How long a lease goes in the store.
    pub(crate) fn ttl(&self) -> u64 {
        LIFE + self.margin()
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms { margin: seconds(self.margin()), cut_max: seconds(2) }
    }
}

pub(crate) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(crate) fn name(site: u8) -> SiteName {
    ["blog", "shop"][usize::from(site)].into()
}

pub(crate) fn number(site: &SiteName) -> u8 {
    u8::from(*site == name(1))
}

pub(crate) fn backend(number: u8) -> Backend {
    ["127.0.0.1:1", "127.0.0.1:2"][usize::from(number)].parse().expect("an address")
}

/// A policy with nothing special about it.
pub(crate) fn plain() -> Policy {
    Policy {
        auto: true,
        warm_standby: WarmStandby::Allow,
        single_instance: true,
        fence_hook: None,
        start_hook: None,
        rise: 1,
        fall: 1,
        drain_timeout: seconds(30),
        prove_timeout: seconds(60),
    }
}

/// Each epoch has the other of two backends, by the will of one controller; the other controller wants it the other way
/// round, so that no two of them ever want the same pin.
pub(crate) fn pin(epoch: Epoch, controller: u8) -> Pin {
    Pin { epoch, backend: backend(((epoch.0 + u64::from(controller)) % 2) as u8) }
}
