//! Counters of the data plane. Each worker has its own and is the only one to write them, so that counting is a
//! plain store; they are added up when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::catalogue::{ANSWERS, COUNTS, HEAD_SECONDS, HELD_SECONDS, REFUSALS};
use super::text::Text;

/// What is counted. Names are given in [`COUNTS`], in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Client connections accepted.
    ConnectionsAccepted,
    /// Client connections refused, for there were too many.
    ConnectionsRefused,
    /// Client connections refused, for their client had too many.
    ConnectionsOfOneRefused,
    /// Connections that should have begun with a PROXY header and did not.
    ProxyHeadersRefused,
    /// TLS handshakes in which the client did not say whom it wants.
    HandshakesWithoutName,
    /// TLS handshakes for names that there is no certificate for.
    HandshakesForUnknownNames,
    /// TLS handshakes that came to nothing otherwise.
    HandshakesFailed,
    /// TLS handshakes that took too long.
    HandshakesTimedOut,
    /// Client connections that ended.
    ConnectionsEnded,
    /// Client connections ended because the client was too slow with a request head.
    SlowHeads,
    /// Client connections ended because the client did not read its answer.
    SlowReaders,
    /// Requests that had to wait at a gate.
    Held,
    /// Requests that waited, and were given the answer of another one.
    Shared,
    /// Attempts that ended without an answer and went back to the gate.
    Retries,
    /// Connections made to backends.
    BackendConnects,
    /// Requests that were cut by a handoff.
    Cut,
    /// Connections made to backends through another edge, one for each request.
    DetoursTaken,
    /// Connections made to backends for other edges.
    DetoursGiven,
}

/// Upper bounds of the histograms' buckets, in seconds.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The metrics of one worker.
#[derive(Debug)]
pub struct WorkerMetrics {
    counts: [AtomicU64; COUNTS.len()],
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    /// Answers that ghostpin made itself, by their label's place in the list below.
    refusals: Box<[AtomicU64]>,
    refusal_labels: Vec<&'static str>,
    /// Those of them with a status from 500 on.
    own_errors: AtomicU64,
    /// From a request's coming to its answer's head.
    head: Histogram,
    /// Time spent at a gate, of those that had to wait.
    held: Histogram,
}

/// Times in buckets.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// One writer, so that no addition on the bus is needed.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        add(&self.buckets[bucket], 1);
        add(&self.micros, took.as_micros() as u64);
    }
}

impl WorkerMetrics {
    /// All zero. Refusals are counted by their place in `refusal_labels`.
    pub fn new(refusal_labels: Vec<&'static str>) -> Self {
        Self {
            counts: Default::default(),
            answers: Default::default(),
            refusals: refusal_labels.iter().map(|_| AtomicU64::new(0)).collect(),
            refusal_labels,
            own_errors: AtomicU64::new(0),
            head: Histogram::default(),
            held: Histogram::default(),
        }
    }

    /// One more.
    pub fn count(&self, what: Count) {
        add(&self.counts[what as usize], 1);
    }

    /// A request was answered; `refusal` is the label, if ghostpin answered itself.
    pub fn answered(&self, status: StatusCode, took: Duration, refusal: Option<&'static str>) {
        add(&self.answers[usize::from(status.as_u16() / 100).min(5)], 1);
        self.head.observe(took);
        if refusal.is_some() && status.is_server_error() {
            add(&self.own_errors, 1);
        }
        if let Some(place) =
            refusal.and_then(|label| self.refusal_labels.iter().position(|known| *known == label))
        {
            add(&self.refusals[place], 1);
        }
    }

    /// A request had to wait.
    pub fn held(&self, waited: Duration) {
        self.held.observe(waited);
    }
}

/// Answers of all workers since the start.
pub fn answers(workers: &[std::sync::Arc<WorkerMetrics>]) -> u64 {
    let of_one = |worker: &std::sync::Arc<WorkerMetrics>| -> u64 {
        worker.answers.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    };
    workers.iter().map(of_one).sum()
}

/// Answers of ghostpin's own with a status from 500 on, of all workers since the start.
pub fn own_errors(workers: &[std::sync::Arc<WorkerMetrics>]) -> u64 {
    workers.iter().map(|worker| worker.own_errors.load(Ordering::Relaxed)).sum()
}

/// Writes the sum over all workers.
pub fn render(workers: &[std::sync::Arc<WorkerMetrics>], text: &mut Text) {
    let sum = |pick: &dyn Fn(&WorkerMetrics) -> &AtomicU64| {
        workers.iter().map(|worker| pick(worker).load(Ordering::Relaxed)).sum::<u64>()
    };
    for (place, family) in COUNTS.iter().enumerate() {
        text.one(family, sum(&|worker| &worker.counts[place]));
    }
    let mut answers = text.family(&ANSWERS);
    for class in 1..6 {
        answers.add(&[&format!("{class}xx")], sum(&|worker| &worker.answers[class]));
    }
    let mut refusals = text.family(&REFUSALS);
    for (place, label) in
        workers.first().into_iter().flat_map(|first| first.refusal_labels.iter().enumerate())
    {
        refusals.add(&[label], sum(&|worker| &worker.refusals[place]));
    }
    let mut histogram = |family, pick: fn(&WorkerMetrics) -> &Histogram| {
        let buckets: Vec<u64> =
            (0..=BOUNDS.len()).map(|place| sum(&|worker| &pick(worker).buckets[place])).collect();
        let seconds = sum(&|worker| &pick(worker).micros) as f64 / 1e6;
        text.histogram(family, &BOUNDS, &buckets, seconds);
    };
    histogram(&HEAD_SECONDS, |worker| &worker.head);
    histogram(&HELD_SECONDS, |worker| &worker.held);
}
