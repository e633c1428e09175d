//! What a scenario measured, and which promises it found broken.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use ghostpin::demo::history::{Failures, Kind, Order, Record, Turns, Waits, failures, order};

/// The outcome of one scenario.
#[derive(Debug)]
pub struct Report {
    title: String,
    figures: Vec<(String, String)>,
    /// Each broken promise, and how often it was found broken.
    broken: BTreeMap<String, usize>,
}

impl Report {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), figures: Vec::new(), broken: BTreeMap::new() }
    }

    pub fn figure(&mut self, name: &str, value: impl Display) {
        self.figures.push((name.to_owned(), value.to_string()));
    }

    /// Notes whether a promise was kept.
    pub fn promise(&mut self, kept: bool, promise: impl Display) {
        if !kept {
            *self.broken.entry(promise.to_string()).or_default() += 1;
        }
    }

    /// Notes whether something took no longer than it may. A quick run only tells: it may be made on a machine where something
    /// else runs, and who sees it fail should have broken something.
    pub fn pace(&mut self, quick: bool, kept: bool, promise: impl Display) {
        match quick {
            true => self.figure(&format!("not judged: {promise}"), if kept { "so it is" } else { "NOT SO" }),
            false => self.promise(kept, promise),
        }
    }

    pub fn kept(&self) -> bool {
        self.broken.is_empty()
    }

    /// Adds what readers saw.
    pub fn seen(&mut self, seen: &Seen) {
        self.figure("failed GETs", &seen.reads);
        self.figure("failed POSTs", &seen.writes);
        self.figure("two-state reads", seen.order.two_state_reads.len());
        self.figure("old heads after the first new one", seen.order.late_heads.len());
        let percentile = |percent| millis(seen.waits.percentile(percent));
        let waits = format!("{} / {} / {}", percentile(50.0), percentile(99.0), millis(seen.waits.longest()));
        self.figure("wait p50 / p99 / longest", waits);
    }

    /// What holds in every scenario: nothing goes back.
    pub fn never_back(&mut self, seen: &Seen) {
        self.promise(seen.order.two_state_reads.is_empty(), "no reader sees two states");
        self.promise(seen.order.late_heads.is_empty(), "no old head is delivered after the first new one");
        self.promise(seen.order.epochs_fallen.is_empty(), "no epoch falls");
    }

    /// What holds where nothing was lost inside an instance: nothing fails.
    pub fn no_failure(&mut self, seen: &Seen) {
        self.promise(seen.reads.count() == 0, "no GET fails");
        self.promise(seen.writes.count() == 0, "no POST fails");
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for (name, value) in &self.figures {
            writeln!(f, "  {name:<40} {value}")?;
        }
        for (promise, times) in &self.broken {
            writeln!(f, "  BROKEN ({times} x): {promise}")?;
        }
        write!(f, "  {}", if self.kept() { "all promises kept" } else { "promises broken" })
    }
}

/// What readers saw of a run with two instances.
#[derive(Debug)]
pub struct Seen {
    pub reads: Failures,
    pub writes: Failures,
    pub order: Order,
    pub waits: Waits,
}

impl Seen {
    pub fn of(records: &[Record], turns: &Turns) -> Self {
        Self {
            reads: failures(records, Kind::Read),
            writes: failures(records, Kind::Write),
            order: order(records, turns),
            waits: Waits::of(records),
        }
    }
}

/// A time in milliseconds, for people.
pub fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
