//! The life of one site: who is pinned, and how the pin moves.
//!
//! One path for everything, planned or not: hold, drain or cut, fence, prove, switch, release. [`Site::step`] takes
//! what happened and returns what is to be done. It never waits: what takes time is an [`Effect`], and its end
//! comes back as an [`Input`]. Reports carry the generation of what they report on, so a late one is told from the
//! one that is waited for by comparison.
//!
//! ```text
//!                          a planned handoff, a suspicion, an operator's hold
//!            +---------+ ------------------------------------------------------> +----------+
//!            | Serving | <------------------------------------------------------ | Draining |
//!            +---------+   it was well after all, or released: the same epoch    +----------+
//!              ^     |                                                                 |
//!    committed |     | unwell                                                 drained, |
//!    and open  |     v                                                     or too late |
//!         +---------+   target   +---------+   nobody is well   +--------+             |
//!         | Proving | <--------- | Fencing | -----------------> | Vacant |             |
//!         +---------+            +---------+                    +--------+             |
//!              ^                      ^-------------------------------|----------------+
//!              +------------------------------------------------------+
//! ```
//!
//! The gate is open in `Serving` only. Leases may be out in `Serving`, `Draining` and at the beginning of
//! `Fencing`; in `Vacant` and `Proving` none is.

use std::time::Duration;

use super::health::Health;
use super::{Backend, Epoch, Pin};

/// Wait before a required hook that failed is run again, and before cold candidates are started anew when none of
/// them could be proved.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Wait before a pin that could not be made durable is written again.
pub const COMMIT_RETRY_AFTER: Duration = Duration::from_secs(1);

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
        policy: Policy,
        /// The candidates from now on, in order of preference.
        candidates: Vec<Backend>,
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
}

/// One candidate, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Its address.
    pub backend: Backend,
    /// How it is.
    pub health: Health,
    /// It is a candidate. If not, it has the pin, or is about to have it, and is watched until the pin has moved on.
    pub listed: bool,
    /// It was already answering when the last fence was complete, and has not been seen unwell since.
    warm: bool,
    /// The alarm is raised for it.
    pub conflict: bool,
}

impl Candidate {
    fn new(backend: Backend) -> Self {
        Self { backend, health: Health::default(), listed: true, warm: false, conflict: false }
    }
}

/// A handoff under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Running {
    cause: Cause,
    wish: Option<WishId>,
    /// Why the wish can't be fulfilled any more; its target was given up.
    refused: Option<Refused>,
    /// Targets that could not be proved in this handoff.
    given_up: Vec<Backend>,
}

/// One site. See the module's text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    policy: Policy,
    /// Those that are listed, in order of preference, then those that are not.
    candidates: Vec<Candidate>,
    /// The newest durable pin.
    pin: Option<Pin>,
    /// The epoch of the first pin, if there is none yet.
    first_epoch: Epoch,
    /// Place of the pinned backend among the candidates when it was opened: its neighbours are next in order, and
    /// whoever stands in its place now is its successor.
    place: usize,
    phase: Phase,
    /// An operator holds the site.
    on_hold: bool,
    retired: bool,
    /// The instance to stop before another one is started or proved: the one that served last, or the one that the
    /// `start` hook was run for since.
    occupant: Option<Backend>,
    /// The last lease under the pin is gone and none can be given out.
    drained: bool,
    /// Generation of what is waited for; older reports are ignored.
    generation: u64,
    /// Generation of the last shutting.
    shut: u64,
    running: Option<Running>,
}

type Effects = Vec<Effect>;

impl Site {
    /// A site with the pin that the store has for it. Nothing is open yet; [`Self::begin`] goes on.
    pub fn new(policy: Policy, candidates: Vec<Backend>, stored: Option<Pin>, first_epoch: Epoch) -> Self {
        let place =
            stored.as_ref().and_then(|pin| candidates.iter().position(|c| *c == pin.backend)).unwrap_or(0);
        Self {
            policy,
            candidates: candidates.into_iter().map(Candidate::new).collect(),
            occupant: stored.as_ref().map(|pin| pin.backend.clone()),
            pin: stored,
            first_epoch,
            place,
            phase: Phase::Vacant,
            on_hold: false,
            retired: false,
            drained: true,
            generation: 0,
            shut: 0,
            running: None,
        }
    }

    /// Takes up the work: opens under the stored pin, or pins the first candidate.
    pub fn begin(&mut self) -> Effects {
        let mut out = Effects::new();
        match (&self.pin, self.candidates.first()) {
            (Some(pin), _) if self.is_candidate(&pin.backend) => {
                // It is durable, and whatever was in flight under it died with the process that let it in.
                out.push(Effect::Open(pin.clone()));
                self.drained = false;
                self.phase = Phase::Serving;
            }
            (Some(_), _) => {
                self.start_handoff(Cause::Removed, None, &mut out);
                self.settle(&mut out);
            }
            (None, Some(first)) => {
                // The first backend is pinned without a proof: there is no older state that it could contradict,
                // and probes and traffic will say soon enough if it is dead.
                let target = first.backend.clone();
                self.start_handoff(Cause::First, None, &mut out);
                self.commit(target, &mut out);
            }
            (None, None) => {}
        }
        self.review_conflicts(&mut out);
        out
    }

    /// Takes in what happened and returns what is to be done, in this order.
    pub fn step(&mut self, input: Input) -> Effects {
        let mut out = Effects::new();
        match input {
            Input::Probed { backend, well } => self.probed(&backend, well, &mut out),
            Input::Suspected { epoch } => self.suspected(epoch, &mut out),
            Input::Left { generation } => self.left(generation, &mut out),
            Input::HookDone { generation, ok } => self.hook_done(generation, ok, &mut out),
            Input::Proved { generation } => self.proved(generation, &mut out),
            Input::Committed { epoch } => self.committed(epoch, &mut out),
            Input::CommitFailed { epoch } => self.commit_failed(epoch, &mut out),
            Input::TimerFired { generation } => self.timer_fired(generation, &mut out),
            Input::Wished { id, wish } => self.wished(id, wish, &mut out),
            Input::Reconfigured { policy, candidates } => self.reconfigured(policy, candidates, &mut out),
            Input::Retired => self.retire(&mut out),
        }
        self.review_conflicts(&mut out);
        out
    }

    // What others may look at.

    /// The newest durable pin.
    pub fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// Where the site is in its life.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The candidates in order of preference, and at the end the pinned backend if it is none any more.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// An operator holds the site.
    pub fn is_on_hold(&self) -> bool {
        self.on_hold
    }

    /// The site is no longer configured, none of its leases is out, and its pin is known: it can be forgotten.
    pub fn is_gone(&self) -> bool {
        self.retired && self.drained && !matches!(self.phase, Phase::Proving { .. })
    }

    /// Whether `backend` is to be probed as often as possible: a verdict or a candidate is waited for.
    pub fn is_urgent(&self, backend: &Backend) -> bool {
        if self.retired || self.on_hold {
            return false;
        }
        match &self.phase {
            Phase::Serving => {
                self.is_pinned(backend) && self.known_pinned().is_some_and(|c| c.health.is_doubtful())
            }
            Phase::Draining(Draining::Suspicion) | Phase::Vacant | Phase::Fencing { .. } => {
                self.is_candidate(backend)
            }
            Phase::Draining(_) | Phase::Proving { .. } => false,
        }
    }

    // ## Serving => (Draining | Fencing)

    fn suspected(&mut self, epoch: Epoch, out: &mut Effects) {
        if self.phase != Phase::Serving || self.pin.as_ref().is_none_or(|pin| pin.epoch != epoch) {
            return;
        }
        self.start_handoff(Cause::Suspicion, None, out);
        self.shut(out);
        self.phase = Phase::Draining(Draining::Suspicion);
        let pinned = self.pinned_candidate();
        if pinned.is_none_or(|c| c.health.is_unwell()) {
            self.fail_over(Cause::Unwell, out);
        }
    }

    /// Moves the pin from a backend that is no candidate any more, as soon as there is somewhere to go.
    fn leave_removed(&mut self, out: &mut Effects) {
        if self.phase != Phase::Serving || self.pinned_candidate().is_some() {
            return;
        }
        let target = match self.successor() {
            // Its name has moved. It serves on until the instance that is meant now is well, and nobody else takes over.
            Some(meant) => meant.health.is_well().then(|| meant.backend.clone()),
            None => self.choose(true),
        };
        if let Some(target) = target {
            self.start_handoff(Cause::Removed, None, out);
            self.drain_towards(target, out);
        }
    }

    fn drain_towards(&mut self, target: Backend, out: &mut Effects) {
        if self.phase == Phase::Serving {
            self.shut(out);
        }
        self.phase = Phase::Draining(Draining::Move { target });
        if self.drained {
            self.fenced(out);
        } else {
            self.arm(self.policy.drain_timeout, out);
        }
    }

    fn fail_over(&mut self, cause: Cause, out: &mut Effects) {
        match &mut self.running {
            Some(running) if running.cause == Cause::Suspicion || running.cause == Cause::Hold => {
                running.cause = cause;
            }
            Some(_) => {}
            None => self.start_handoff(cause, None, out),
        }
        let target = match &self.phase {
            Phase::Draining(Draining::Move { target }) if self.is_candidate(target) => Some(target.clone()),
            _ => None,
        };
        if self.phase == Phase::Serving {
            self.shut(out);
        }
        self.cut(target, out);
    }

    // ## Draining => (Serving | Fencing)

    fn reopen(&mut self, out: &mut Effects) {
        let pin = self.pin.clone().expect("a gate that drains was open under a pin");
        self.drained = false;
        self.phase = Phase::Serving;
        out.push(Effect::Open(pin));
        self.end_handoff(Outcome::Reopened, out);
    }

    fn cut(&mut self, target: Option<Backend>, out: &mut Effects) {
        self.bump();
        self.phase = Phase::Fencing { target, step: Fencing::Cutting };
        if self.drained {
            self.fenced(out);
        } else {
            out.push(Effect::Cut);
        }
    }

    // ## (Draining | Fencing) => (Fencing | Proving | Vacant)

    fn left(&mut self, generation: u64, out: &mut Effects) {
        // A gate that was opened again since has leases again: only the last shutting counts.
        if generation != self.shut || self.phase == Phase::Serving {
            return;
        }
        self.drained = true;
        match self.phase {
            Phase::Draining(Draining::Move { .. }) | Phase::Fencing { step: Fencing::Cutting, .. } => {
                self.fenced(out);
            }
            _ => {}
        }
    }

    /// The epoch is fenced: its leases are gone, and none can be given out any more.
    fn fenced(&mut self, out: &mut Effects) {
        debug_assert!(self.drained);
        self.occupant = self.pin.as_ref().map(|pin| pin.backend.clone());
        for candidate in &mut self.candidates {
            candidate.warm = candidate.health.is_well();
        }
        match &self.phase {
            Phase::Draining(Draining::Move { target }) | Phase::Fencing { target: Some(target), .. } => {
                let target = target.clone();
                self.approach(target, out);
            }
            _ => self.settle(out),
        }
    }

    /// Nobody serves and nobody is chosen: choose, or wait.
    fn settle(&mut self, out: &mut Effects) {
        self.bump();
        if self.on_hold || self.retired {
            self.phase = Phase::Vacant;
            return;
        }
        match self.choose(false) {
            Some(target) => {
                if self.running.is_none() {
                    let cause = if self.pin.is_some() { Cause::Unwell } else { Cause::First };
                    self.start_handoff(cause, None, out);
                }
                self.approach(target, out);
            }
            None => {
                self.phase = Phase::Vacant;
                let running = self.running.as_mut();
                if running.is_some_and(|running| !std::mem::take(&mut running.given_up).is_empty()) {
                    self.arm(RETRY_AFTER, out);
                }
            }
        }
    }

    /// Goes for a target: stops whoever else may be running first, if there is a hook for that.
    fn approach(&mut self, target: Backend, out: &mut Effects) {
        let is_taken = self.occupant.as_ref().is_some_and(|occupant| *occupant != target);
        if is_taken && self.policy.fence_hook.is_some() {
            self.phase = Phase::Fencing { target: Some(target.clone()), step: Fencing::Stopping };
            self.run_hook(HookKind::Fence, target, out);
        } else {
            self.prove(target, out);
        }
    }

    fn hook_done(&mut self, generation: u64, ok: bool, out: &mut Effects) {
        if generation != self.generation {
            return;
        }
        match self.phase.clone() {
            Phase::Fencing { target: Some(target), step: Fencing::Stopping } => {
                if ok || !self.policy.fence_hook.is_some_and(|hook| hook.required) {
                    self.occupant_stopped(ok);
                    self.prove(target, out);
                } else if self.is_wished() {
                    self.go_back(Refused::FenceFailed, target, out);
                } else {
                    self.phase = Phase::Fencing { target: Some(target), step: Fencing::Waiting };
                    self.arm(RETRY_AFTER, out);
                }
            }
            Phase::Proving { target, step: Proving::Starting } => {
                if ok || !self.policy.start_hook.is_some_and(|hook| hook.required) {
                    self.ask(target, out);
                } else {
                    self.give_up(target, out);
                }
            }
            _ => {}
        }
    }

    /// What was known of an instance that has been stopped is no longer so: it can't be gone back to as it is.
    fn occupant_stopped(&mut self, for_certain: bool) {
        let stopped = self.occupant.take();
        let candidate =
            self.candidates.iter_mut().find(|c| for_certain && Some(&c.backend) == stopped.as_ref());
        if let Some(candidate) = candidate {
            candidate.health = Health::default();
            candidate.warm = false;
        }
    }

    // ## Proving => (Serving | Proving | Vacant)

    fn prove(&mut self, target: Backend, out: &mut Effects) {
        let (is_well, is_warm) =
            self.candidate(&target).map_or((false, false), |c| (c.health.is_well(), c.warm));
        let moves = !self.is_pinned(&target);
        let restart = moves && is_warm && self.policy.warm_standby == WarmStandby::Restart;
        if self.policy.start_hook.is_some() && (!is_well || restart) {
            self.phase = Phase::Proving { target: target.clone(), step: Proving::Starting };
            self.occupant = Some(target.clone());
            self.run_hook(HookKind::Start, target, out);
        } else {
            if moves && is_warm && self.policy.single_instance {
                out.push(Effect::WarmPromotion { backend: target.clone() });
            }
            self.ask(target, out);
        }
    }

    fn ask(&mut self, target: Backend, out: &mut Effects) {
        self.phase = Phase::Proving { target: target.clone(), step: Proving::Asking };
        self.arm(self.policy.prove_timeout, out);
        out.push(Effect::Prove { generation: self.generation, backend: target });
    }

    fn proved(&mut self, generation: u64, out: &mut Effects) {
        if generation != self.generation {
            return;
        }
        if let Phase::Proving { target, step: Proving::Asking } = self.phase.clone() {
            self.commit(target, out);
        }
    }

    fn commit(&mut self, target: Backend, out: &mut Effects) {
        self.bump();
        let pin = Pin { epoch: self.next_epoch(), backend: target.clone() };
        self.phase = Phase::Proving { target, step: Proving::Committing };
        out.push(Effect::Commit(pin));
    }

    fn committed(&mut self, epoch: Epoch, out: &mut Effects) {
        let Phase::Proving { target, step: Proving::Committing } = self.phase.clone() else { return };
        if epoch != self.next_epoch() {
            return;
        }
        self.bump();
        let returned = self.is_pinned(&target);
        let pin = Pin { epoch, backend: target };
        self.place = self.position(&pin.backend).unwrap_or(self.place);
        self.candidates.retain(|c| c.listed || c.backend == pin.backend);
        self.pin = Some(pin.clone());
        self.occupant = Some(pin.backend.clone());
        if self.retired {
            // Nobody is to be let in, and the pin is kept: a site made anew goes on from it.
            self.phase = Phase::Vacant;
            return self.end_handoff(Outcome::Retired, out);
        }
        self.drained = false;
        self.phase = Phase::Serving;
        out.push(Effect::Open(pin));
        self.end_handoff(if returned { Outcome::Returned } else { Outcome::Switched }, out);
        self.leave_removed(out);
    }

    fn commit_failed(&mut self, epoch: Epoch, out: &mut Effects) {
        if matches!(self.phase, Phase::Proving { step: Proving::Committing, .. })
            && epoch == self.next_epoch()
        {
            self.arm(COMMIT_RETRY_AFTER, out);
        }
    }

    /// The target could not be proved.
    fn give_up(&mut self, target: Backend, out: &mut Effects) {
        if let Some(running) = &mut self.running
            && !running.given_up.contains(&target)
        {
            running.given_up.push(target.clone());
        }
        if self.is_wished() { self.go_back(Refused::NotProved, target, out) } else { self.settle(out) }
    }

    /// A wish failed: back to the old backend, under a new epoch; if that is what failed, to whoever is well.
    fn go_back(&mut self, why: Refused, failed: Backend, out: &mut Effects) {
        let old = self.pinned_candidate().map(|c| c.backend.clone());
        let running = self.running.as_mut().expect("a wish that failed belongs to a handoff");
        match old {
            Some(old) if old != failed && running.refused.is_none() => {
                running.refused = Some(why);
                self.approach(old, out);
            }
            _ => {
                if let Some(id) = running.wish.take() {
                    out.push(Effect::Answer { id, result: Err(Refused::NobodyProved) });
                }
                self.settle(out);
            }
        }
    }

    // ## What comes from outside, in any phase

    fn probed(&mut self, backend: &Backend, well: bool, out: &mut Effects) {
        let (rise, fall) = (self.policy.rise, self.policy.fall);
        let Some(candidate) = self.candidates.iter_mut().find(|c| c.backend == *backend) else { return };
        candidate.health.observe(well, rise, fall);
        candidate.warm &= well;
        let (well, is_well) = (well && candidate.listed, candidate.health.is_well() && candidate.listed);
        let is_unwell = candidate.health.is_unwell();
        let is_pinned = self.is_pinned(backend);
        match &self.phase {
            Phase::Serving if is_pinned && is_unwell => self.fail_over(Cause::Unwell, out),
            Phase::Serving => self.leave_removed(out),
            Phase::Draining(Draining::Suspicion) if is_pinned && well => self.reopen(out),
            Phase::Draining(Draining::Suspicion | Draining::Move { .. }) if is_pinned && is_unwell => {
                self.fail_over(Cause::Unwell, out);
            }
            Phase::Fencing { step: Fencing::Waiting, .. }
                if is_well && self.occupant.as_ref() == Some(backend) =>
            {
                // The old instance can't be stopped, and it is well: it may go on.
                self.prove(backend.clone(), out);
            }
            Phase::Vacant if is_well => self.settle_if_chosen(out),
            _ => {}
        }
    }

    fn settle_if_chosen(&mut self, out: &mut Effects) {
        if !self.on_hold && !self.retired && self.choose(false).is_some() {
            self.settle(out);
        }
    }

    fn timer_fired(&mut self, generation: u64, out: &mut Effects) {
        if generation != self.generation {
            return;
        }
        match self.phase.clone() {
            Phase::Draining(Draining::Move { target }) => self.cut(Some(target), out),
            Phase::Fencing { target: Some(target), step: Fencing::Waiting } => self.approach(target, out),
            Phase::Proving { target, step: Proving::Asking } => self.give_up(target, out),
            Phase::Proving { target, step: Proving::Committing } => self.commit(target, out),
            Phase::Vacant => self.settle_if_chosen(out),
            _ => {}
        }
    }

    fn wished(&mut self, id: WishId, wish: Wish, out: &mut Effects) {
        let done = match wish {
            _ if self.retired => Err(Refused::Retired),
            Wish::Handoff { to } => match self.may_move(&to) {
                Ok(()) => return self.begin_move(id, to, out),
                Err(refused) => Err(refused),
            },
            Wish::Hold => self.hold(out),
            Wish::Release => self.release(out),
        };
        out.push(Effect::Answer { id, result: done.map(|()| self.pin.clone()) });
    }

    fn may_move(&self, to: &Backend) -> Result<(), Refused> {
        let candidate = self.candidate(to).ok_or(Refused::NoCandidate)?;
        match self.phase {
            Phase::Serving | Phase::Draining(Draining::Suspicion | Draining::Hold) => {
                if self.is_pinned(to) {
                    return Err(Refused::AlreadyThere);
                }
            }
            Phase::Vacant | Phase::Fencing { step: Fencing::Waiting, .. } => {}
            _ => return Err(Refused::Busy),
        }
        if !candidate.health.is_well() && self.policy.start_hook.is_none() {
            return Err(Refused::NotWell);
        }
        let refuses = self.policy.warm_standby == WarmStandby::Refuse;
        if refuses && candidate.health.is_well() && !self.is_pinned(to) {
            return Err(Refused::Warm);
        }
        Ok(())
    }

    fn begin_move(&mut self, id: WishId, to: Backend, out: &mut Effects) {
        self.on_hold = false;
        self.start_handoff(Cause::Planned, Some(id), out);
        match self.phase {
            Phase::Serving | Phase::Draining(_) => self.drain_towards(to, out),
            _ => self.approach(to, out),
        }
    }

    fn hold(&mut self, out: &mut Effects) -> Result<(), Refused> {
        match self.phase {
            Phase::Serving => {
                self.start_handoff(Cause::Hold, None, out);
                self.shut(out);
                self.phase = Phase::Draining(Draining::Hold);
            }
            Phase::Draining(Draining::Suspicion) => {
                self.start_handoff(Cause::Hold, None, out);
                self.phase = Phase::Draining(Draining::Hold);
            }
            Phase::Vacant | Phase::Draining(Draining::Hold) => {}
            _ => return Err(Refused::Busy),
        }
        self.on_hold = true;
        Ok(())
    }

    fn release(&mut self, out: &mut Effects) -> Result<(), Refused> {
        if !std::mem::take(&mut self.on_hold) {
            return Err(Refused::NotHeld);
        }
        match self.phase {
            Phase::Draining(Draining::Hold) => self.resume(out),
            _ => self.settle(out),
        }
        Ok(())
    }

    /// Ends a hold under the same epoch, unless the backend has fallen ill or was removed meanwhile.
    fn resume(&mut self, out: &mut Effects) {
        if self.known_pinned().is_some_and(|pinned| pinned.health.is_unwell()) {
            return self.fail_over(Cause::Unwell, out);
        }
        self.reopen(out);
        self.leave_removed(out);
    }

    fn reconfigured(&mut self, policy: Policy, candidates: Vec<Backend>, out: &mut Effects) {
        let mut known = std::mem::take(&mut self.candidates);
        self.policy = policy;
        self.candidates = candidates
            .into_iter()
            .map(|backend| match known.iter().position(|c| c.backend == backend) {
                Some(at) => Candidate { listed: true, ..known.swap_remove(at) },
                None => Candidate::new(backend),
            })
            .collect();
        // Whoever has the pin is watched as long as it serves: an old instance may die before the new one is there.
        let watched = known.extract_if(.., |c| self.is_occupied_by(&c.backend));
        let watched: Vec<Candidate> = watched.map(|c| Candidate { listed: false, ..c }).collect();
        self.candidates.extend(watched);
        for gone in known.into_iter().filter(|c| c.conflict) {
            out.push(Effect::Conflict { backend: gone.backend, raised: false });
        }
        self.place = self.pin.as_ref().and_then(|pin| self.position(&pin.backend)).unwrap_or(self.place);
        if std::mem::take(&mut self.retired) {
            return self.come_back(out);
        }
        match self.phase.clone() {
            Phase::Serving => self.leave_removed(out),
            Phase::Draining(Draining::Suspicion) if self.pinned_candidate().is_none() => {
                self.fail_over(Cause::Removed, out);
            }
            Phase::Draining(Draining::Move { target }) if !self.is_candidate(&target) => {
                self.answer_wish(Err(Refused::NoCandidate), out);
                self.resume(out);
            }
            Phase::Fencing { target: Some(target), step } if !self.is_candidate(&target) => {
                self.answer_wish(Err(Refused::NoCandidate), out);
                if step == Fencing::Cutting {
                    self.phase = Phase::Fencing { target: None, step };
                } else {
                    self.settle(out);
                }
            }
            Phase::Proving { target, step } if step != Proving::Committing && !self.is_candidate(&target) => {
                self.answer_wish(Err(Refused::NoCandidate), out);
                self.settle(out);
            }
            Phase::Vacant if self.pin.is_none() && !self.on_hold => out.extend(self.begin()),
            Phase::Vacant => self.settle_if_chosen(out),
            _ => {}
        }
    }

    fn retire(&mut self, out: &mut Effects) {
        self.retired = true;
        self.on_hold = false;
        self.answer_wish(Err(Refused::Retired), out);
        match &self.phase {
            Phase::Serving => {
                self.shut(out);
                self.phase = Phase::Draining(Draining::Retired);
            }
            Phase::Draining(_) => self.phase = Phase::Draining(Draining::Retired),
            // The pin may be on its way to the disk: wait for it, so that it is known.
            Phase::Proving { step: Proving::Committing, .. } => return,
            Phase::Fencing { step: Fencing::Cutting, .. } => {
                self.phase = Phase::Fencing { target: None, step: Fencing::Cutting };
            }
            _ => {
                self.bump();
                self.phase = Phase::Vacant;
            }
        }
        self.end_handoff(Outcome::Retired, out);
    }

    /// The site is configured again before, or after, its last lease was gone.
    fn come_back(&mut self, out: &mut Effects) {
        match &self.phase {
            Phase::Draining(_) => self.resume(out),
            Phase::Vacant if self.pin.is_none() => out.extend(self.begin()),
            Phase::Vacant => self.settle(out),
            _ => {}
        }
    }

    // ## Small things

    /// The target of the next promotion. The pinned backend comes first, for it may be well again; then those
    /// that follow it in the list, round to its beginning: nobody has a privilege for being first.
    ///
    /// `leaving`: the pinned backend is no candidate any more, so moving is the operator's wish in any mode.
    fn choose(&self, leaving: bool) -> Option<Backend> {
        let given_up = self.running.as_ref().map_or(&[][..], |running| &running.given_up);
        let in_order = || {
            let (listed, count) = (self.listed(), self.listed().len());
            (0..count).map(move |step| &listed[(self.place.min(count - 1) + step) % count])
        };
        // Without being told, a pin follows the pinned instance's name, or leaves a backend that was removed.
        let follows = |c: &Candidate| self.successor().is_none_or(|meant| meant.backend == c.backend);
        let eligible = |c: &&Candidate| {
            let is_pinned = self.is_pinned(&c.backend);
            let may_move = self.policy.auto || leaving || self.pinned_candidate().is_none() && follows(c);
            is_pinned || may_move && !(c.warm && self.policy.warm_standby == WarmStandby::Refuse)
        };
        let well = in_order().filter(eligible).find(|c| c.health.is_well() && !given_up.contains(&c.backend));
        let cold = || {
            // Somebody else first: the pinned one has just failed.
            let others = in_order().filter(|c| !self.is_pinned(&c.backend));
            let pinned = in_order().filter(|c| self.is_pinned(&c.backend));
            let startable = |c: &&Candidate| !c.health.is_well() && !given_up.contains(&c.backend);
            others.chain(pinned).filter(eligible).find(startable)
        };
        let chosen = well.or_else(|| if self.policy.start_hook.is_some() { cold() } else { None });
        chosen.map(|c| c.backend.clone())
    }

    fn review_conflicts(&mut self, out: &mut Effects) {
        if self.phase != Phase::Serving {
            return;
        }
        let pinned = self.pin.as_ref().map(|pin| &pin.backend);
        for candidate in &mut self.candidates {
            let answers = candidate.health.is_well() && Some(&candidate.backend) != pinned;
            let conflict = self.policy.single_instance && answers;
            if conflict != candidate.conflict {
                candidate.conflict = conflict;
                out.push(Effect::Conflict { backend: candidate.backend.clone(), raised: conflict });
            }
        }
    }

    fn start_handoff(&mut self, cause: Cause, wish: Option<WishId>, out: &mut Effects) {
        self.running = Some(Running { cause, wish, refused: None, given_up: Vec::new() });
        out.push(Effect::Began(cause));
    }

    fn end_handoff(&mut self, outcome: Outcome, out: &mut Effects) {
        let Some(running) = self.running.take() else { return };
        if let Some(id) = running.wish {
            let result = running.refused.map_or_else(|| Ok(self.pin.clone()), Err);
            out.push(Effect::Answer { id, result });
        }
        out.push(Effect::Ended(outcome));
    }

    fn answer_wish(&mut self, result: Result<Option<Pin>, Refused>, out: &mut Effects) {
        if let Some(id) = self.running.as_mut().and_then(|running| running.wish.take()) {
            out.push(Effect::Answer { id, result });
        }
    }

    fn shut(&mut self, out: &mut Effects) {
        self.bump();
        self.shut = self.generation;
        self.drained = false;
        out.push(Effect::Shut { generation: self.shut });
    }

    fn run_hook(&mut self, hook: HookKind, new: Backend, out: &mut Effects) {
        self.bump();
        let old = match hook {
            HookKind::Fence => self.occupant.clone(),
            HookKind::Start => self.pin.as_ref().map(|pin| pin.backend.clone()),
        };
        out.push(Effect::RunHook { generation: self.generation, hook, epoch: self.next_epoch(), old, new });
    }

    fn arm(&mut self, after: Duration, out: &mut Effects) {
        self.bump();
        out.push(Effect::ArmTimer { generation: self.generation, after });
    }

    fn bump(&mut self) {
        self.generation += 1;
    }

    fn next_epoch(&self) -> Epoch {
        self.pin.as_ref().map_or(self.first_epoch, |pin| pin.epoch.next())
    }

    fn is_wished(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.wish.is_some())
    }

    fn is_pinned(&self, backend: &Backend) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.backend == *backend)
    }

    /// It has the pin, or is about to have it.
    fn is_occupied_by(&self, backend: &Backend) -> bool {
        let committing = match &self.phase {
            Phase::Proving { target, step: Proving::Committing } => Some(target),
            _ => None,
        };
        self.is_pinned(backend) || committing == Some(backend)
    }

    fn listed(&self) -> &[Candidate] {
        let count = self.candidates.iter().take_while(|c| c.listed).count();
        &self.candidates[..count]
    }

    fn position(&self, backend: &Backend) -> Option<usize> {
        self.listed().iter().position(|c| c.backend == *backend)
    }

    fn candidate(&self, backend: &Backend) -> Option<&Candidate> {
        self.listed().iter().find(|c| c.backend == *backend)
    }

    /// The candidate under the name that the pinned backend was resolved from: the instance that is meant now.
    fn successor(&self) -> Option<&Candidate> {
        let name = self.pin.as_ref()?.backend.name()?;
        self.listed().iter().find(|c| c.backend.name() == Some(name))
    }

    /// The pinned backend, be it a candidate or not.
    fn known_pinned(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|c| self.is_pinned(&c.backend))
    }

    fn is_candidate(&self, backend: &Backend) -> bool {
        self.candidate(backend).is_some()
    }

    fn pinned_candidate(&self) -> Option<&Candidate> {
        self.pin.as_ref().and_then(|pin| self.candidate(&pin.backend))
    }
}
