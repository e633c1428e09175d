//! How the demo tells what readers see: a line a second, and a summary.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::clock::Moment;
use super::history::{Failures, Record, Turns, order};

/// An answer that took longer than this has been waiting at the gate.
const HELD: Duration = Duration::from_millis(100);

/// The heading of the lines.
pub(super) const HEADING: &str =
    "  time   answers by A   by B   held now   released   failed   two-state reads";

/// What readers saw within one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Second {
    by_instance: BTreeMap<String, usize>,
    released: usize,
    failed: usize,
    two_state_reads: usize,
}

impl Second {
    /// The requests that ended from `from` (inclusive) to `to` (exclusive).
    pub(super) fn of(records: &[Record], turns: &Turns, from: Moment, to: Moment) -> Self {
        let mut second = Self::default();
        let ended = |record: &&Record| from <= record.ended && record.ended < to;
        for record in records.iter().filter(ended) {
            if !record.succeeded() {
                second.failed += 1;
                continue;
            }
            if let Some(instance) = record.answer().and_then(|answer| answer.instance.clone()) {
                *second.by_instance.entry(instance).or_default() += 1;
            }
            second.released += usize::from(record.wait() > HELD);
        }
        second.two_state_reads = order(records, turns).two_state_reads.len();
        second
    }

    /// One line, under [`HEADING`]. `held` is what the proxy says; unknown if it does not answer.
    pub(super) fn line(&self, time: u64, held: Option<u64>) -> String {
        let by = |instance| self.by_instance.get(instance).copied().unwrap_or_default();
        let held = held.map_or("?".into(), |held| held.to_string());
        let Self { released, failed, two_state_reads, .. } = self;
        let (a, b) = (by("A"), by("B"));
        format!(
            "{time:>4} s   {a:>12}   {b:>4}   {held:>8}   {released:>8}   {failed:>6}   {two_state_reads:>15}"
        )
    }
}

/// What the whole run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// GETs that failed.
    pub failed_reads: Failures,
    /// POSTs that failed.
    pub failed_writes: Failures,
    /// Answers of A to readers that began after somebody had an answer of B.
    pub two_state_reads: usize,
    /// POSTs that were handed to the application twice.
    pub handed_over_twice: usize,
    /// The longest wait for an answer's head.
    pub longest_wait: Duration,
    /// From the moment at which B listened to its first answer; none if there was none.
    pub first_answer: Option<Duration>,
}

impl Verdict {
    /// Whether readers noticed a pause and nothing else.
    pub fn ok(&self) -> bool {
        self.failed_reads.count() == 0
            && self.failed_writes.count() == 0
            && self.two_state_reads == 0
            && self.handed_over_twice == 0
            && self.first_answer.is_some()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  failed GETs               {}", self.failed_reads)?;
        writeln!(f, "  failed POSTs              {}", self.failed_writes)?;
        writeln!(f, "  POSTs carried out twice   {}", self.handed_over_twice)?;
        writeln!(f, "  two-state reads           {}", self.two_state_reads)?;
        writeln!(f, "  longest wait              {:.2} s", self.longest_wait.as_secs_f64())?;
        match self.first_answer {
            Some(time) => {
                write!(f, "  first answer of B         {:.1} ms after it listened", time.as_secs_f64() * 1e3)
            }
            None => write!(f, "  first answer of B         never came"),
        }
    }
}
