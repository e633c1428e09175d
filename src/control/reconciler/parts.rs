//! What the reconciler is made from, and what it is sent.

use super::retiring::Lent;
use super::*;
use crate::upgrade::ToHeir;

/// What the reconciler is sent.
#[derive(Debug)]
pub enum Message {
    /// By the admin API or a reload.
    Ask(Ask),
    /// By a probe.
    Probed {
        /// Whose candidate.
        target: Target,
        /// What it saw.
        seen: Seen,
        /// How long it took.
        took: Duration,
        /// It was a proof as well, and this is since when the site was vacant.
        proves: Option<u64>,
    },
    /// By a proof, each time it has asked.
    Proof {
        /// Whose.
        site: SiteKey,
        /// Of [`Effect::Prove`].
        generation: u64,
        /// The target.
        backend: Backend,
        /// What it saw.
        seen: Seen,
    },
    /// By the controller itself: other edges have said something since it couldn't reach this.
    Doubtful {
        /// The site.
        site: SiteName,
        /// Its backend.
        backend: Backend,
    },
    /// By a look at a backend through another edge.
    LookedThrough(Look, Seen),
    /// By looks at the sites that an update is tried with.
    Tried {
        /// The number of the trial.
        trial: u64,
        /// Those that answered,
        answering: usize,
        /// and those that didn't.
        silent: Vec<SiteName>,
    },
    /// By a hook.
    HookDone {
        /// Whose.
        site: SiteKey,
        /// Of [`Effect::RunHook`].
        generation: u64,
        /// `fence` or `start`.
        hook: &'static str,
        /// What became of it.
        result: Result<(), String>,
    },
    /// By a timer.
    TimerFired {
        /// Whose.
        site: SiteKey,
        /// Of [`Effect::ArmTimer`].
        generation: u64,
    },
    /// By the pin writer.
    Committed(Vec<Committed>),
    /// By the fleet's store.
    Fleet(News),
    /// By whoever has started a heir.
    HandOver(HandOver),
    /// By whoever has lent the disk to a heir.
    Lent(Lent),
    /// By the elder; `None` when it has ended.
    Elder(Option<ToHeir>),
    /// By a timer: the elder has had time enough to answer, if it hasn't.
    ElderSilent {
        /// What it was asked.
        ask: u64,
    },
    /// By whoever looks after a name.
    Looked {
        /// The name.
        host: String,
        /// What the look has come to.
        looked: Looked,
    },
}

/// What the reconciler is made from.
pub struct Parts {
    /// The configuration to begin with.
    pub config: Config,
    /// The pins that the store has.
    pub pins: BTreeMap<SiteName, Pin>,
    /// The epoch of a site's first pin.
    pub first_epoch: Epoch,
    /// The way to the store.
    pub writer: Writer,
    /// The workers.
    pub workers: Workers,
    /// The route table.
    pub publisher: Publisher,
    /// The coarse clock.
    pub clock: Clock,
    /// What all gates may hold.
    pub budget: Arc<HoldBudget>,
    /// Given to new gates.
    pub reports: mpsc::UnboundedSender<Report>,
    /// Who asks backends how they are.
    pub outside: Rc<dyn Outside>,
    /// Seed of the probes' jitter.
    pub seed: u64,
    /// This process is one of many edges.
    pub fleet: Option<FleetParts>,
    /// The process that this one takes over from.
    pub elder: Option<ElderParts>,
}
