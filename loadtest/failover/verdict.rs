//! What was seen of one proxy in one scenario, judged guarantee by guarantee.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ghostpin::demo::clock::Moment;
use ghostpin::demo::deeds::{Deeds, handed_over_twice, overlapping};
use ghostpin::demo::history::{Kind, Record, Turns, Waits, order};
use serde_json::{Value, json};

use crate::scenarios::{History, Scenario};

/// Counts; all of the first five are 0 for a proxy that keeps its promises.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Requests that A still had, or was given, when B was given its first: only where nothing befell A.
    pub both_at_once: usize,
    /// Answers of A to requests that began after any reader had an answer of B.
    pub two_state_reads: usize,
    /// POSTs that were handed to an instance more than once.
    pub posts_twice: usize,
    /// Reads that failed.
    pub failed_reads: usize,
    /// POSTs that failed, but for those that no proxy could save.
    pub failed_posts: usize,
    /// What was not counted against it: POSTs inside an instance that fell silent, answers that broke off in the middle, requests
    /// while the proxy was not there. Their numbers.
    pub excused: BTreeSet<u64>,
    pub requests: usize,
    pub waits: Waits,
    /// What was seen of those that failed and were counted.
    pub reasons: BTreeMap<String, usize>,
}

impl Verdict {
    pub fn of(scenario: &Scenario, history: &History) -> io::Result<Self> {
        let History { records, pair, given_to_a, .. } = history;
        let (a, b) = (pair.a.deeds()?, pair.b.deeds()?);
        let order = order(records, &Turns::once_each(&["A", "B"]));
        let mut verdict = Self {
            both_at_once: if scenario.name == "planned" { overlapping(&a, &b) } else { 0 },
            two_state_reads: order.late_heads.len(),
            posts_twice: posts_twice(given_to_a, &a, &b),
            requests: records.len(),
            waits: Waits::of(records),
            ..Self::default()
        };
        for record in records.iter().filter(|record| !record.succeeded()) {
            let is_read = record.kind == Kind::Read;
            let is_half = record.failure().is_some_and(|why| why.contains("broke off"));
            let is_lost = !is_read && scenario.excuses.lost_posts && given_to_a.contains(&record.number);
            if scenario.excuses.half_answers && is_half
                || is_lost
                || history.away.is_some_and(|away| is_within(record, away))
            {
                verdict.excused.insert(record.number);
                continue;
            }
            *(if is_read { &mut verdict.failed_reads } else { &mut verdict.failed_posts }) += 1;
            *verdict.reasons.entry(record.failure().unwrap_or_default()).or_default() += 1;
        }
        Ok(verdict)
    }

    /// Nothing is counted against it.
    pub fn is_clean(&self) -> bool {
        self.both_at_once + self.two_state_reads + self.posts_twice + self.failed_reads + self.failed_posts
            == 0
    }

    pub fn json(&self) -> Value {
        let millis = |percent| self.waits.percentile(percent).as_secs_f64() * 1e3;
        json!({
            "both_at_once": self.both_at_once, "two_state_reads": self.two_state_reads,
            "posts_twice": self.posts_twice, "failed_reads": self.failed_reads,
            "failed_posts": self.failed_posts, "excused": self.excused.len(), "requests": self.requests, "reasons": self.reasons,
            "wait_ms": {"p50": millis(50.0), "p99": millis(99.0), "longest": millis(100.0)},
        })
    }
}

/// POSTs that both were given, or one of them twice; A may not have lived to see them.
fn posts_twice(given_to_a: &BTreeSet<u64>, a: &Deeds, b: &Deeds) -> usize {
    let posts = b.from_readers().filter(|deed| deed.method == "POST");
    let both = posts.filter_map(|deed| deed.reader).filter(|reader| given_to_a.contains(reader));
    let twice: BTreeSet<u64> = both.chain(handed_over_twice([a, b])).collect();
    twice.len()
}

/// Whether a request was under way while the proxy was not there.
fn is_within(record: &Record, [from, to]: [Moment; 2]) -> bool {
    record.started <= to && record.ended >= from
}
