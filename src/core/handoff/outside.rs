//! What comes from outside, in any phase: probes, timers, wishes, another configuration.

use std::sync::Arc;

use super::{
    Backend, Candidate, Cause, Draining, Effect, Effects, Fencing, Outcome, Phase, Policy, Proving, Refused,
    Site, WarmStandby, Wish, WishId,
};

impl Site {
    pub(super) fn probed(&mut self, backend: &Backend, well: bool, out: &mut Effects) {
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

    pub(super) fn settle_if_chosen(&mut self, out: &mut Effects) {
        if !self.on_hold && !self.retired && self.choose(false).is_some() {
            self.settle(out);
        }
    }

    pub(super) fn timer_fired(&mut self, generation: u64, out: &mut Effects) {
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

    pub(super) fn wished(&mut self, id: WishId, wish: Wish, out: &mut Effects) {
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

    pub(super) fn may_move(&self, to: &Backend) -> Result<(), Refused> {
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

    pub(super) fn begin_move(&mut self, id: WishId, to: Backend, out: &mut Effects) {
        self.on_hold = false;
        self.start_handoff(Cause::Planned, Some(id), out);
        match self.phase {
            Phase::Serving | Phase::Draining(_) => self.drain_towards(to, out),
            _ => self.approach(to, out),
        }
    }

    pub(super) fn hold(&mut self, out: &mut Effects) -> Result<(), Refused> {
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

    pub(super) fn release(&mut self, out: &mut Effects) -> Result<(), Refused> {
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
    pub(super) fn resume(&mut self, out: &mut Effects) {
        if self.known_pinned().is_some_and(|pinned| pinned.health.is_unwell()) {
            return self.fail_over(Cause::Unwell, out);
        }
        self.reopen(out);
        self.leave_removed(out);
    }

    pub(super) fn reconfigured(
        &mut self,
        policy: Arc<Policy>,
        candidates: Vec<Backend>,
        lost: &[Backend],
        out: &mut Effects,
    ) {
        let was_lost = self.known_pinned().is_some_and(|pinned| pinned.lost);
        let mut known = std::mem::take(&mut self.candidates).into_vec();
        self.policy = policy;
        let mut now: Vec<Candidate> = candidates
            .into_iter()
            .map(|backend| match known.iter().position(|c| c.backend == backend) {
                Some(at) => Candidate { listed: true, ..known.swap_remove(at) },
                None => Candidate::new(backend),
            })
            .collect();
        // Whoever has the pin is watched as long as it serves: an old instance may die before the new one is there.
        let watched = known.extract_if(.., |c| self.is_occupied_by(&c.backend));
        now.extend(watched.map(|c| Candidate { listed: false, ..c }));
        for candidate in &mut now {
            candidate.lost = lost.contains(&candidate.backend);
        }
        self.candidates = now.into();
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
            Phase::Draining(Draining::Move { .. })
                if !was_lost && self.known_pinned().is_some_and(|pinned| pinned.lost) =>
            {
                self.arm_drain(out);
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

    pub(super) fn retire(&mut self, out: &mut Effects) {
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
    pub(super) fn come_back(&mut self, out: &mut Effects) {
        match &self.phase {
            Phase::Draining(_) => self.resume(out),
            Phase::Vacant if self.pin.is_none() => out.extend(self.begin()),
            Phase::Vacant => self.settle(out),
            _ => {}
        }
    }
}
