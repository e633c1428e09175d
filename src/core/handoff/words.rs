//! The words of a handoff: what happens, what is to be done, and why.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Backend, Epoch, Pin};

/// Wait before a required hook that failed is run again, and before cold candidates are started anew when none of
/// them could be proved.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Wait before a pin that could not be made durable is written again.
pub const COMMIT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long leases may end by themselves when their backend's machine is said to be down: long enough for one that is
/// only cut off from those who say so.
pub const DRAIN_OF_THE_LOST: Duration = Duration::from_millis(250);

/// What the operator wants of a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Promote the next well candidate without being told.
    pub auto: bool,
    /// What to do with a target that was already running before the fence.
    pub warm_standby: WarmStandby,
    /// A second instance that answers is a conflict.
    pub single_instance: bool,
    /// There is a hook that stops the old instance.
    pub fence_hook: Option<HookPolicy>,
    /// There is a hook that starts the new one.
    pub start_hook: Option<HookPolicy>,
    /// Successes in a row that make a backend well; at least 1.
    pub rise: u32,
    /// Failures in a row that make it unwell; at least 1.
    pub fall: u32,
    /// How long leases may end by themselves in a planned handoff.
    pub drain_timeout: Duration,
    /// How long a target may take to be proved.
    pub prove_timeout: Duration,
}

/// What to do about a target that was already running before the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WarmStandby {
    /// Promote it.
    Allow,
    /// Run the `start` hook first.
    Restart,
    /// Don't promote it before it was seen unwell.
    Refuse,
}

/// What the decisions need to know of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HookPolicy {
    /// The handoff may not go on if it fails.
    pub required: bool,
}

/// Which hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// Stops the old instance.
    Fence,
    /// Starts the new one.
    Start,
}

/// Tells one operator's wish from another.
pub type WishId = u64;

/// What an operator (or a control plane) asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Move the pin.
    Handoff {
        /// The candidate to move it to.
        to: Backend,
    },
    /// Shut the gate until told otherwise.
    Hold,
    /// End a hold.
    Release,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A probe, or real traffic, said how a backend is.
    Probed {
        /// Which one.
        backend: Backend,
        /// How it is.
        well: bool,
    },
    /// A request found that the pinned backend refuses connections, and shut the gate.
    Suspected {
        /// The epoch of that request's lease.
        epoch: Epoch,
    },
    /// After [`Effect::Shut`] of this generation, the last lease is gone.
    Left {
        /// The generation of the shutting.
        generation: u64,
    },
    /// A hook has ended.
    HookDone {
        /// The generation of its [`Effect::RunHook`].
        generation: u64,
        /// It did what it should.
        ok: bool,
    },
    /// The target has answered the proof.
    Proved {
        /// The generation of its [`Effect::Prove`].
        generation: u64,
    },
    /// The pin of this epoch is durable.
    Committed {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The pin of this epoch could not be made durable.
    CommitFailed {
        /// Its epoch.
        epoch: Epoch,
    },
    /// A timer has run out.
    TimerFired {
        /// The generation of its [`Effect::ArmTimer`].
        generation: u64,
    },
    /// Somebody asks for something.
    Wished {
        /// Goes back with the answer.
        id: WishId,
        /// What.
        wish: Wish,
    },
    /// The configuration of the site has changed, or a name resolves to another instance.
    Reconfigured {
        /// The policy from now on.
        policy: Arc<Policy>,
        /// The candidates from now on, in order of preference.
        candidates: Vec<Backend>,
        /// Instances whose machine is down, as those say who look after it.
        lost: Vec<Backend>,
    },
    /// The site is no longer configured. `Reconfigured` takes that back.
    Retired,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Let nobody in any more, and report [`Input::Left`] when the last lease is gone.
    Shut {
        /// Goes into the report.
        generation: u64,
    },
    /// End the leases that are still out.
    Cut,
    /// Let requests in under this pin, those held first.
    Open(Pin),
    /// Make this pin durable.
    Commit(Pin),
    /// Run a hook, and report [`Input::HookDone`].
    RunHook {
        /// Goes into the report.
        generation: u64,
        /// Which one.
        hook: HookKind,
        /// The epoch that the handoff leads to.
        epoch: Epoch,
        /// The backend that is left. It is the one to stop: the pinned one, or a target that was started in vain.
        old: Option<Backend>,
        /// The backend that is to be promoted.
        new: Backend,
    },
    /// Ask the target for the proof again and again, and report [`Input::Proved`] once it has answered.
    Prove {
        /// Goes into the report.
        generation: u64,
        /// The target.
        backend: Backend,
    },
    /// Report [`Input::TimerFired`] after this time.
    ArmTimer {
        /// Goes into the report.
        generation: u64,
        /// The time.
        after: Duration,
    },
    /// Answer a wish.
    Answer {
        /// Which one.
        id: WishId,
        /// The pin that stands, or why it could not be done.
        result: Result<Option<Pin>, Refused>,
    },
    /// For the journal: a handoff has begun.
    Began(Cause),
    /// For the journal: a handoff has ended.
    Ended(Outcome),
    /// An alarm is raised or taken back: an instance answers while the pin is elsewhere.
    Conflict {
        /// Which instance.
        backend: Backend,
        /// Raised, or taken back.
        raised: bool,
    },
    /// A backend is promoted that was already running before the fence.
    WarmPromotion {
        /// Which one.
        backend: Backend,
    },
}

/// Why a handoff began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The site has never been pinned.
    First,
    /// Somebody wished it.
    Planned,
    /// The pinned backend is unwell.
    Unwell,
    /// The pinned backend is no candidate any more.
    Removed,
    /// The pinned backend refused connections, and the verdict is not yet in.
    Suspicion,
    /// An operator holds the site.
    Hold,
}

impl Cause {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::First, Self::Planned, Self::Unwell, Self::Removed, Self::Suspicion, Self::Hold];

    /// The word that operators see.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Planned => "planned",
            Self::Unwell => "unwell",
            Self::Removed => "removed",
            Self::Suspicion => "suspicion",
            Self::Hold => "hold",
        }
    }
}

/// How a handoff ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The pin has moved.
    Switched,
    /// The same backend serves on under a new epoch.
    Returned,
    /// The same backend serves on under the same epoch.
    Reopened,
    /// The site is no longer configured.
    Retired,
}

/// Why a wish was not fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// No such candidate.
    #[error("that backend is no candidate of this site")]
    NoCandidate,
    /// It has the pin.
    #[error("that backend has the pin already")]
    AlreadyThere,
    /// It is not well, and there is no hook to start it.
    #[error(
        "that backend is not well, and the site has no `start` hook to start it with: nothing was changed"
    )]
    NotWell,
    /// It runs already, and `warm_standby = "refuse"`.
    #[error("that backend is already running and `warm_standby` is \"refuse\": stop it first")]
    Warm,
    /// Another handoff is under way.
    #[error("another handoff of this site is under way")]
    Busy,
    /// There is no hold to release.
    #[error("the site is not on hold")]
    NotHeld,
    /// The required `fence` hook failed.
    #[error("the `fence` hook failed: the old backend has the pin again, under a new epoch")]
    FenceFailed,
    /// The target could not be proved in time.
    #[error("the target could not be proved in time: the old backend has the pin again, under a new epoch")]
    NotProved,
    /// Neither the target nor the old backend could be proved.
    #[error("neither the target nor the old backend could be proved in time: requests are held")]
    NobodyProved,
    /// The site is no longer configured.
    #[error("the site is no longer configured")]
    Retired,
}

/// Where a site is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nobody answers for the site, and nobody who could is known.
    Vacant,
    /// A target is started, proved, and made the durable pin.
    Proving {
        /// The target.
        target: Backend,
        /// How far it is.
        step: Proving,
    },
    /// The gate is open under the pin.
    Serving,
    /// The gate is shut, leases end by themselves.
    Draining(Draining),
    /// The gate is shut for good under this epoch.
    Fencing {
        /// The target, if one is known.
        target: Option<Backend>,
        /// How far it is.
        step: Fencing,
    },
}

/// Steps of [`Phase::Proving`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proving {
    /// The `start` hook runs.
    Starting,
    /// The proof is asked for.
    Asking,
    /// The pin is made durable.
    Committing,
}

/// Why a gate is shut while its epoch may still go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Draining {
    /// The backend refused a connection; probes decide.
    Suspicion,
    /// An operator's hold.
    Hold,
    /// A move of the pin.
    Move {
        /// Where to.
        target: Backend,
    },
    /// The site is no longer configured.
    Retired,
}

/// Steps of [`Phase::Fencing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fencing {
    /// Leases were cut; the last one is not gone yet.
    Cutting,
    /// The `fence` hook runs.
    Stopping,
    /// The required `fence` hook failed and is to be run again.
    Waiting,
}

impl Phase {
    /// The words for all there are.
    pub const NAMES: [&'static str; 5] = ["vacant", "proving", "serving", "draining", "fencing"];

    /// The word that operators see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vacant => "vacant",
            Self::Proving { .. } => "proving",
            Self::Serving => "serving",
            Self::Draining(_) => "draining",
            Self::Fencing { .. } => "fencing",
        }
    }

    /// The step of a handoff that it is, in the words of GUARANTEES.md; `start` is the hook's.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Vacant | Self::Draining(Draining::Suspicion | Draining::Hold) => "hold",
            Self::Draining(Draining::Move { .. } | Draining::Retired) => "drain",
            Self::Fencing { .. } => "fence",
            Self::Proving { step: Proving::Starting, .. } => "start",
            Self::Proving { step: Proving::Asking, .. } => "prove",
            Self::Proving { step: Proving::Committing, .. } => "switch",
            Self::Serving => "release",
        }
    }
}
