//! A site that was somebody else's to decide about, and may be in the middle of a handoff.

use super::{Backend, Candidate, Cause, Draining, Effects, Fencing, Phase, Pin, Site};

/// How a new controller finds a site that is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// Gates may be open under the pin.
    Serving,
    /// Gates were told to shut, and the pin may stay where it is: probes of its backend decide.
    Shut,
    /// Gates were told to shut; leases may still be out.
    Fenced {
        /// Where the pin was to go, if that was said.
        to: Option<Backend>,
        /// An operator holds the site.
        hold: bool,
        /// Who was started meanwhile, without having got the pin: it is the one to stop before anybody else is started.
        started: Option<Backend>,
    },
}

impl Site {
    /// Takes up the work where another controller left it. To be called once, in the place of [`Self::begin`], on a site
    /// that is pinned.
    pub fn take_over(&mut self, found: Found) -> Effects {
        let mut out = Effects::new();
        let Pin { epoch, backend: pinned } = self.pin.clone().expect("a site that was somebody's is pinned");
        self.occupant = match &found {
            Found::Fenced { started: Some(started), .. } => Some(started.clone()),
            _ => Some(pinned.clone()),
        };
        if !self.is_candidate(&pinned) {
            let watched = Candidate { listed: false, ..Candidate::new(pinned) };
            self.candidates = std::mem::take(&mut self.candidates).into_iter().chain([watched]).collect();
        }
        self.drained = false;
        self.phase = Phase::Serving;
        match found {
            Found::Serving => self.leave_removed(&mut out),
            Found::Shut => self.suspected(epoch, &mut out),
            Found::Fenced { hold: true, .. } => {
                self.start_handoff(Cause::Hold, None, &mut out);
                self.shut(&mut out);
                self.phase = Phase::Draining(Draining::Hold);
                self.on_hold = true;
            }
            Found::Fenced { to: Some(target), .. } if self.is_candidate(&target) => {
                self.start_handoff(Cause::Planned, None, &mut out);
                self.drain_towards(target, &mut out);
            }
            Found::Fenced { .. } => {
                self.start_handoff(Cause::Unwell, None, &mut out);
                self.shut(&mut out);
                self.cut(None, &mut out);
            }
        }
        self.review_conflicts(&mut out);
        out
    }

    /// How whoever decides from now on finds the site.
    pub fn found(&self) -> Found {
        let to = match &self.phase {
            Phase::Serving => return Found::Serving,
            Phase::Draining(Draining::Suspicion | Draining::Retired) => return Found::Shut,
            Phase::Draining(Draining::Move { target }) | Phase::Proving { target, .. } => Some(target),
            Phase::Fencing { target, .. } => target.as_ref(),
            Phase::Draining(Draining::Hold) | Phase::Vacant => None,
        };
        let started = self.occupant.clone().filter(|occupant| !self.is_pinned(occupant));
        Found::Fenced { to: to.cloned(), hold: self.on_hold, started }
    }

    /// The same, with reports that go on counting where those of `before` have ended: a late one is of nobody.
    pub fn after(self, before: &Self) -> Self {
        Self { generation: before.generation + 1, shut: before.generation + 1, ..self }
    }

    /// Shows what another controller does with the site. Nothing is decided until [`Self::take_over`].
    pub fn follow(&mut self, pin: Pin, serves: bool) {
        self.phase = match serves {
            true => Phase::Serving,
            false => Phase::Fencing { target: None, step: Fencing::Cutting },
        };
        self.drained = false;
        self.pin = Some(pin);
    }
}
