//! Why a gate is shut, in the words that operators see. Only for those who tell of it: nothing hangs on it.

use std::sync::atomic::{AtomicU8, Ordering};

use super::Gate;
use crate::core::handoff::{Cause, Phase};

/// The phase that a site is in, and why its last handoff began.
#[derive(Debug, Default)]
pub(super) struct Reason {
    phase: AtomicU8,
    cause: AtomicU8,
}

/// The same, in words; before the first handoff there is no cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// `vacant`, `proving`, `serving`, `draining` or `fencing`.
    pub phase: &'static str,
    /// `first`, `planned`, `unwell`, `removed`, `suspicion` or `hold`.
    pub cause: Option<&'static str>,
}

impl Reason {
    pub(super) fn phase(&self, phase: &Phase) {
        let place = Phase::NAMES.iter().position(|name| *name == phase.name()).unwrap_or_default();
        self.phase.store(place as u8, Ordering::Relaxed);
    }

    pub(super) fn cause(&self, cause: Cause) {
        let place = Cause::ALL.iter().position(|other| *other == cause).unwrap_or_default();
        self.cause.store(place as u8 + 1, Ordering::Relaxed);
    }

    pub(super) fn words(&self) -> Words {
        let phase = usize::from(self.phase.load(Ordering::Relaxed));
        let cause = usize::from(self.cause.load(Ordering::Relaxed));
        let cause = cause.checked_sub(1).and_then(|place| Cause::ALL.get(place));
        Words { phase: Phase::NAMES[phase], cause: cause.map(|cause| cause.name()) }
    }
}

impl Gate {
    /// In which phase the site is, and why its last handoff began.
    pub fn reason(&self) -> Words {
        self.reason.words()
    }

    /// The site is in this phase now.
    pub fn tell_phase(&self, phase: &Phase) {
        self.reason.phase(phase);
    }

    /// A handoff begins.
    pub fn tell_cause(&self, cause: Cause) {
        self.reason.cause(cause);
    }
}
