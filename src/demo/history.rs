//! What readers saw, and what must be true of it.
//!
//! [`Record`]s are collected by the recording client; the checks are functions of the finished list, with no
//! clock and no socket. They judge only what was delivered to readers. What was done inside a backend is
//! judged in [`super::deeds`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::Moment;

/// What a reader wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A GET: may be sent again while nothing of its answer was delivered.
    Read,
    /// A POST: handed to one backend at most once.
    Write,
}

/// One request, from the moment at which it was meant to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, from 0, in the order of the intended moments.
    pub number: u64,
    /// What it was.
    pub kind: Kind,
    /// When it was meant to be sent; waits are counted from here, so that a client that lags hides nothing.
    pub intended: Moment,
    /// When it really began.
    pub started: Moment,
    /// When it was over.
    pub ended: Moment,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a whole answer.
    Answered(Answer),
    /// Without one: why, in words.
    Failed(String),
}

/// What was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the head arrived.
    pub head: Moment,
    /// Its status.
    pub status: u16,
    /// The instance that it came from; none if the proxy answered by itself.
    pub instance: Option<String>,
    /// The epoch that the proxy named, if it names epochs.
    pub epoch: Option<u64>,
    /// `Retry-After`, as sent.
    pub retry_after: Option<String>,
    /// The beginning of the body of an answer that is no success.
    pub complaint: String,
}

impl Record {
    /// The answer, if there was one.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Failed(_) => None,
        }
    }

    /// Whether the reader got what it asked for.
    pub fn succeeded(&self) -> bool {
        self.answer().is_some_and(|answer| (200..300).contains(&answer.status))
    }

    /// From the intended moment to the head of the answer, or to the end without one.
    pub fn wait(&self) -> Duration {
        self.answer().map_or(self.ended, |answer| answer.head).since(self.intended)
    }

    /// What went wrong, in a few words that are the same for the same trouble.
    pub fn failure(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed(reason) => Some(reason.clone()),
            Outcome::Answered(_) if self.succeeded() => None,
            Outcome::Answered(answer) => Some(format!("status {}", answer.status)),
        }
    }

    /// A 502 whose body says that nobody knows whether the request was carried out.
    pub fn outcome_unknown_was_said(&self) -> bool {
        self.answer().is_some_and(|answer| {
            let complaint = answer.complaint.to_lowercase();
            answer.status == 502 && complaint.contains("outcome") && complaint.contains("unknown")
        })
    }
}

/// An instance's turn: from which moment its answers belong to this turn.
///
/// The moment is the one at which the turn was wished for (a handoff was asked for, the instance before it was
/// killed). An answer of the same instance before that moment belongs to an earlier turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The instance's name.
    pub instance: String,
    /// Since when.
    pub since: Moment,
}

/// The turns of a run in their order. Answers of an instance that has none are the oldest of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns(pub Vec<Turn>);

impl Turns {
    /// Instances that each have one turn only, so that the moments don't matter.
    pub fn once_each(instances: &[&str]) -> Self {
        let turn = |instance: &&str| Turn { instance: (*instance).to_owned(), since: Moment(0) };
        Self(instances.iter().map(turn).collect())
    }

    /// Which turn an answer belongs to, counted from 1; 0 for none.
    fn of(&self, answer: &Answer) -> Option<usize> {
        let instance = answer.instance.as_ref()?;
        let turn = |turn: &Turn| turn.instance == *instance && turn.since <= answer.head;
        Some(self.0.iter().rposition(turn).map_or(0, |index| index + 1))
    }
}

/// Answers that should not have been delivered. Each list holds the numbers of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Answered by an older turn although it began after some reader had an answer of a newer turn.
    pub two_state_reads: Vec<u64>,
    /// Its head, of an older turn, came after the first head of a newer turn. Includes all of the above.
    pub late_heads: Vec<u64>,
    /// Its epoch is lower than one that some reader had before it began.
    pub epochs_fallen: Vec<u64>,
}

/// Looks for answers that are out of order.
pub fn order(records: &[Record], turns: &Turns) -> Order {
    let mut order = Order::default();
    let mut heads: Vec<(&Record, &Answer)> =
        records.iter().filter_map(|record| Some((record, record.answer()?))).collect();
    heads.sort_by_key(|(_, answer)| answer.head);

    let mut turns_seen = Newest::default();
    let mut epochs_seen = Newest::default();
    for (record, answer) in heads {
        if let Some(turn) = turns.of(answer) {
            if turns_seen.before(record.started) > turn {
                order.two_state_reads.push(record.number);
            }
            if turns_seen.before(answer.head) > turn {
                order.late_heads.push(record.number);
            }
            turns_seen.saw(turn, answer.head);
        }
        if let Some(epoch) = answer.epoch {
            if epochs_seen.before(record.started) > epoch {
                order.epochs_fallen.push(record.number);
            }
            epochs_seen.saw(epoch, answer.head);
        }
    }
    order
}

/// The newest number that anyone had seen before a moment.
#[derive(Default)]
struct Newest<T>(BTreeMap<Moment, T>);

impl<T: Copy + Ord + Default> Newest<T> {
    /// Heads must come in their order.
    fn saw(&mut self, number: T, head: Moment) {
        if self.0.last_key_value().is_none_or(|(_, newest)| number > *newest) {
            self.0.insert(head, number);
        }
    }

    fn before(&self, moment: Moment) -> T {
        self.0.range(..moment).next_back().map(|(_, newest)| *newest).unwrap_or_default()
    }
}

/// How many requests of one kind failed, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// All requests of the kind.
    pub of: usize,
    /// Those that failed, by reason.
    pub reasons: BTreeMap<String, usize>,
}

impl Failures {
    /// How many failed.
    pub fn count(&self) -> usize {
        self.reasons.values().sum()
    }
}

impl std::fmt::Display for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.count(), self.of)?;
        let mut separator = " (";
        for (reason, count) in &self.reasons {
            write!(f, "{separator}{count} x {reason}")?;
            separator = ", ";
        }
        if self.reasons.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// The failures among the requests of one kind.
pub fn failures<'a>(records: impl IntoIterator<Item = &'a Record>, kind: Kind) -> Failures {
    let mut failures = Failures::default();
    for record in records.into_iter().filter(|record| record.kind == kind) {
        failures.of += 1;
        if let Some(reason) = record.failure() {
            *failures.reasons.entry(reason).or_default() += 1;
        }
    }
    failures
}

/// The waits of many requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(Vec<Duration>);

impl Waits {
    /// The waits of all records, failed ones too.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut waits: Vec<Duration> = records.into_iter().map(Record::wait).collect();
        waits.sort_unstable();
        Self(waits)
    }

    /// The longest; zero if there is none.
    pub fn longest(&self) -> Duration {
        self.percentile(100.0)
    }

    /// The smallest wait that at least `percent` of all did not exceed; zero if there is none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or_default()
    }
}

/// When the first success of an instance was delivered, not before `since`.
pub fn first_answer(records: &[Record], instance: &str, since: Moment) -> Option<Moment> {
    records
        .iter()
        .filter(|record| record.succeeded())
        .filter_map(Record::answer)
        .filter(|answer| answer.instance.as_deref() == Some(instance) && answer.head >= since)
        .map(|answer| answer.head)
        .min()
}

#[cfg(test)]
mod tests;
