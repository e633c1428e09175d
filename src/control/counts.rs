//! What the reconciler counts.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::view::HandoffCount;
use crate::observe::journal::Entry;

/// Since the start of the process.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By cause and outcome.
    pub(super) handoffs: BTreeMap<(&'static str, &'static str), u64>,
    /// Of backends.
    pub(super) probes: u64,
    /// Pins that could not be made durable.
    pub(super) commits_failed: u64,
    /// Configurations put in force.
    pub(super) reloads: u64,
    /// When that was.
    pub(super) last_reload: Option<SystemTime>,
    /// When one was refused.
    pub(super) last_refused_update: Option<SystemTime>,
}

impl Counts {
    /// This handoff has ended.
    pub(super) fn handoff(&mut self, entry: &Entry) {
        let of_its_kind = (entry.cause.unwrap_or_default(), entry.outcome.unwrap_or_default());
        *self.handoffs.entry(of_its_kind).or_default() += 1;
    }

    /// For the view.
    pub(super) fn handoffs_by(&self) -> Vec<HandoffCount> {
        let count = |((cause, outcome), count): (&(&'static str, &'static str), &u64)| HandoffCount {
            cause: (*cause).to_owned(),
            outcome: (*outcome).to_owned(),
            count: *count,
        };
        self.handoffs.iter().map(count).collect()
    }
}

/// In milliseconds since 1970 (UTC), as the journal has it.
pub(super) fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
