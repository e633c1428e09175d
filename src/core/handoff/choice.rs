//! Who is promoted next, who is in conflict, and the bookkeeping of a handoff.

use std::time::Duration;

use super::{
    Backend, Candidate, Cause, Effect, Effects, Epoch, HookKind, Outcome, Phase, Pin, Proving, Refused,
    Running, Site, WarmStandby, WishId,
};

impl Site {
    /// The target of the next promotion. The pinned backend comes first, for it may be well again; then those
    /// that follow it in the list, round to its beginning: nobody has a privilege for being first.
    ///
    /// `leaving`: the pinned backend is no candidate any more, so moving is the operator's wish in any mode.
    pub(super) fn choose(&self, leaving: bool) -> Option<Backend> {
        let given_up = self.running.as_ref().map_or(&[][..], |running| &running.given_up);
        let in_order = || {
            let (listed, count) = (self.listed(), self.listed().len());
            (0..count).map(move |step| &listed[((self.place as usize).min(count - 1) + step) % count])
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

    pub(super) fn review_conflicts(&mut self, out: &mut Effects) {
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

    pub(super) fn start_handoff(&mut self, cause: Cause, wish: Option<WishId>, out: &mut Effects) {
        self.running = Some(Box::new(Running { cause, wish, refused: None, given_up: Vec::new() }));
        out.push(Effect::Began(cause));
    }

    pub(super) fn end_handoff(&mut self, outcome: Outcome, out: &mut Effects) {
        let Some(running) = self.running.take() else { return };
        if let Some(id) = running.wish {
            let result = running.refused.map_or_else(|| Ok(self.pin.clone()), Err);
            out.push(Effect::Answer { id, result });
        }
        out.push(Effect::Ended(outcome));
    }

    pub(super) fn answer_wish(&mut self, result: Result<Option<Pin>, Refused>, out: &mut Effects) {
        if let Some(id) = self.running.as_mut().and_then(|running| running.wish.take()) {
            out.push(Effect::Answer { id, result });
        }
    }

    pub(super) fn shut(&mut self, out: &mut Effects) {
        self.bump();
        self.shut = self.generation;
        self.drained = false;
        out.push(Effect::Shut { generation: self.shut });
    }

    pub(super) fn run_hook(&mut self, hook: HookKind, new: Backend, out: &mut Effects) {
        self.bump();
        let old = match hook {
            HookKind::Fence => self.occupant.clone(),
            HookKind::Start => self.pin.as_ref().map(|pin| pin.backend.clone()),
        };
        out.push(Effect::RunHook { generation: self.generation, hook, epoch: self.next_epoch(), old, new });
    }

    pub(super) fn arm(&mut self, after: Duration, out: &mut Effects) {
        self.bump();
        out.push(Effect::ArmTimer { generation: self.generation, after });
    }

    pub(super) fn bump(&mut self) {
        self.generation += 1;
    }

    pub(super) fn next_epoch(&self) -> Epoch {
        self.pin.as_ref().map_or(self.first_epoch, |pin| pin.epoch.next())
    }

    pub(super) fn is_wished(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.wish.is_some())
    }

    pub(super) fn is_pinned(&self, backend: &Backend) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.backend == *backend)
    }

    /// It has the pin, or is about to have it.
    pub(super) fn is_occupied_by(&self, backend: &Backend) -> bool {
        let committing = match &self.phase {
            Phase::Proving { target, step: Proving::Committing } => Some(target),
            _ => None,
        };
        self.is_pinned(backend) || committing == Some(backend)
    }

    pub(super) fn listed(&self) -> &[Candidate] {
        let count = self.candidates.iter().take_while(|c| c.listed).count();
        &self.candidates[..count]
    }

    pub(super) fn position(&self, backend: &Backend) -> Option<u32> {
        self.listed().iter().position(|c| c.backend == *backend).map(|place| place as u32)
    }

    pub(super) fn candidate(&self, backend: &Backend) -> Option<&Candidate> {
        self.listed().iter().find(|c| c.backend == *backend)
    }

    /// The candidate under the name that the pinned backend was resolved from: the instance that is meant now.
    pub(super) fn successor(&self) -> Option<&Candidate> {
        let name = self.pin.as_ref()?.backend.name()?;
        self.listed().iter().find(|c| c.backend.name() == Some(name))
    }

    /// The pinned backend, be it a candidate or not.
    pub(super) fn known_pinned(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|c| self.is_pinned(&c.backend))
    }

    pub(super) fn is_candidate(&self, backend: &Backend) -> bool {
        self.candidate(backend).is_some()
    }

    pub(super) fn pinned_candidate(&self) -> Option<&Candidate> {
        self.pin.as_ref().and_then(|pin| self.candidate(&pin.backend))
    }
}
