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

mod choice;
mod outside;
mod taken_over;
mod words;

use std::sync::Arc;
use std::time::Duration;

pub use self::taken_over::Found;
pub use self::words::*;
use super::health::Health;
use super::{Backend, Epoch, Pin};

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
    /// Its machine is down, as those say who look after it.
    lost: bool,
}

impl Candidate {
    fn new(backend: Backend) -> Self {
        Self { backend, health: Health::default(), listed: true, warm: false, conflict: false, lost: false }
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

/// One site. See the module's text. There may be a million: what they have in common is kept once, and what few of them
/// need stands apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    policy: Arc<Policy>,
    /// Those that are listed, in order of preference, then those that are not.
    candidates: Box<[Candidate]>,
    /// The newest durable pin.
    pin: Option<Pin>,
    /// The epoch of the first pin, if there is none yet.
    first_epoch: Epoch,
    /// Place of the pinned backend among the candidates when it was opened: its neighbours are next in order, and
    /// whoever stands in its place now is its successor.
    place: u32,
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
    running: Option<Box<Running>>,
}

type Effects = Vec<Effect>;

impl Site {
    /// A site with the pin that the store has for it. Nothing is open yet; [`Self::begin`] goes on.
    pub fn new(
        policy: impl Into<Arc<Policy>>,
        candidates: Vec<Backend>,
        stored: Option<Pin>,
        first_epoch: Epoch,
    ) -> Self {
        let place =
            stored.as_ref().and_then(|pin| candidates.iter().position(|c| *c == pin.backend)).unwrap_or(0)
                as u32;
        Self {
            policy: policy.into(),
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
            Input::Reconfigured { policy, candidates, lost } => {
                self.reconfigured(policy, candidates, &lost, &mut out);
            }
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

    /// While nobody serves and nobody is on the way: a number that stays as long as nobody is let in.
    pub fn vacant_since(&self) -> Option<u64> {
        (self.phase == Phase::Vacant && !self.on_hold && !self.retired).then_some(self.generation)
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
            self.arm_drain(out);
        }
    }

    fn arm_drain(&mut self, out: &mut Effects) {
        let is_lost = self.known_pinned().is_some_and(|pinned| pinned.lost);
        let most = if is_lost { DRAIN_OF_THE_LOST } else { Duration::MAX };
        self.arm(self.policy.drain_timeout.min(most), out);
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
        self.occupant = Some(pin.backend.clone());
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
        let watches = |c: &Candidate| c.listed || c.backend == pin.backend;
        if !self.candidates.iter().all(watches) {
            let all = std::mem::take(&mut self.candidates).into_iter();
            self.candidates = all.filter(watches).collect();
        }
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
}
