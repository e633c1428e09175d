//! The journal: what every handoff did, when, and to whom. The newest are kept in memory; all go to the log.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::core::SiteName;
use crate::core::handoff::Phase;
use crate::gate::Tally;

/// Entries kept in memory.
pub const ENTRIES_MAX: usize = 1000;

/// The step in which held requests are let go, after the pin has moved.
const RELEASE: &str = "release";

/// Number of an entry; they only grow.
pub type EntryId = NonZeroU64;

/// One handoff, or another thing worth knowing afterwards.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its number.
    pub id: EntryId,
    /// The site.
    pub site: String,
    /// When it began, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// What it is: `handoff`, `conflict`, `conflict_over`, `warm_promotion`, `late_answer`, ...
    pub kind: &'static str,
    /// Why it began: `first`, `planned`, `unwell`, `removed`, `suspicion`, `hold`.
    pub cause: Option<&'static str>,
    /// Who wished it.
    pub wished_by: Option<String>,
    /// The backend and epoch before.
    pub from: Option<PinText>,
    /// The backend and epoch after.
    pub to: Option<PinText>,
    /// How it ended: `switched`, `returned`, `reopened`, `retired`; `None` while it goes on.
    pub outcome: Option<&'static str>,
    /// The phases it went through, with the time spent in each.
    pub phases: Vec<PhaseTime>,
    /// The same time in the steps of a handoff, and how long it took then to let go those that were held.
    pub steps: Vec<StepTime>,
    /// When it ended: letting go begins there.
    #[serde(skip)]
    pub ended: Option<Instant>,
    /// Requests held, released, shed, given up, and the longest wait of a released one.
    pub held: u64,
    /// Let go to the new backend.
    pub released: u64,
    /// Of those, given an answer that another one had asked for.
    pub shared: u64,
    /// Refused, for the queue was full.
    pub shed: u64,
    /// Gone before they could be let go: at their deadline, or because the client left.
    pub given_up: u64,
    /// Requests in flight that were cut.
    pub cut: u64,
    /// The longest wait of a request that was released, in milliseconds.
    pub longest_wait_ms: u64,
    /// Answers of the old backend that were kept from clients after the switch. They are 0 while G1 holds.
    pub late_answers: u64,
    /// More, in words.
    pub note: Option<String>,
}

/// A pin, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinText {
    /// Its epoch.
    pub epoch: u64,
    /// Its backend.
    pub backend: String,
}

impl From<&crate::core::Pin> for PinText {
    fn from(pin: &crate::core::Pin) -> Self {
        Self { epoch: pin.epoch.0, backend: pin.backend.to_string() }
    }
}

/// Time spent in one phase.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseTime {
    /// Its name.
    pub phase: &'static str,
    /// The time, in milliseconds.
    pub ms: f64,
}

/// Time spent in one step of a handoff, in the order of the steps.
#[derive(Clone, Debug, Serialize)]
pub struct StepTime {
    /// Its name; see [`Phase::step`].
    pub step: &'static str,
    /// The time, in milliseconds.
    pub ms: f64,
}

/// A handoff that goes on: its entry, and since when it is in its phase and its step.
#[derive(Debug)]
pub struct OpenEntry {
    entry: Entry,
    began: Instant,
    phase: (&'static str, Instant),
    step: (&'static str, Instant),
}

/// From then until now, in milliseconds.
fn millis_since(then: Instant) -> f64 {
    then.elapsed().as_secs_f64() * 1e3
}

/// Which entries are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Of this site only.
    pub site: Option<String>,
    /// Of this kind only.
    pub kind: Option<String>,
    /// So many at most.
    pub count: usize,
}

impl Filter {
    /// The newest `count` of one site.
    pub fn of_site(site: &SiteName, count: usize) -> Self {
        Self { site: Some(site.to_string()), kind: None, count }
    }
}

/// The newest entries.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    last_id: u64,
}

impl Journal {
    /// An entry about `site`, not yet written.
    pub fn begin(&mut self, site: &SiteName, kind: &'static str) -> Entry {
        self.last_id += 1;
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Entry {
            id: NonZeroU64::new(self.last_id).expect("one was added"),
            site: site.to_string(),
            at_ms: at.as_millis() as u64,
            kind,
            cause: None,
            wished_by: None,
            from: None,
            to: None,
            outcome: None,
            phases: Vec::new(),
            steps: Vec::new(),
            ended: None,
            held: 0,
            released: 0,
            shared: 0,
            shed: 0,
            given_up: 0,
            cut: 0,
            longest_wait_ms: 0,
            late_answers: 0,
            note: None,
        }
    }

    /// Keeps an entry that another edge writes to its log.
    pub fn keep(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        if self.entries.len() > ENTRIES_MAX {
            self.entries.pop_front();
        }
    }

    /// Writes an entry, here and to the log.
    pub fn write(&mut self, entry: Entry) {
        let text = serde_json::to_string(&entry).unwrap_or_default();
        match entry.kind {
            "conflict" | "warm_promotion" | "late_answer" | "commit_failed" | "hook_failed"
            | "refused_update" | "update_waits" => {
                tracing::warn!(target: "ghostpin::journal", site = entry.site, kind = entry.kind, entry = text);
            }
            _ => {
                tracing::info!(target: "ghostpin::journal", site = entry.site, kind = entry.kind, entry = text)
            }
        }
        self.keep(entry);
    }

    /// Adds what became of the held requests, now that the last of them has been let go.
    pub fn add_tally(&mut self, id: EntryId, tally: &Tally) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.id == id) {
            entry.add(tally);
            if let Some(ended) = entry.ended.take() {
                entry.steps.push(StepTime { step: RELEASE, ms: millis_since(ended) });
            }
        }
    }

    /// The newest entries that are asked for, newest first.
    pub fn newest(&self, filter: &Filter) -> Vec<Entry> {
        let wanted = |entry: &&Entry| {
            filter.site.as_ref().is_none_or(|site| entry.site == *site)
                && filter.kind.as_ref().is_none_or(|kind| entry.kind == kind)
        };
        self.entries.iter().rev().filter(wanted).take(filter.count).cloned().collect()
    }
}

impl Entry {
    /// Adds what became of held requests.
    pub fn add(&mut self, tally: &Tally) {
        self.held += tally.held;
        self.released += tally.released;
        self.shared += tally.shared;
        self.shed += tally.shed;
        self.given_up += tally.given_up;
        self.longest_wait_ms = self.longest_wait_ms.max(tally.longest_wait.as_millis() as u64);
    }
}

impl OpenEntry {
    /// The handoff has just begun, in this phase.
    pub fn new(entry: Entry, phase: &Phase) -> Self {
        let now = Instant::now();
        Self { entry, began: now, phase: (phase.name(), now), step: (phase.step(), now) }
    }

    /// For how long it has been going on.
    pub fn lasts(&self) -> Duration {
        self.began.elapsed()
    }

    /// It is in this phase now.
    pub fn enter(&mut self, phase: &Phase) {
        if self.step.0 == phase.step() && self.phase.0 == phase.name() {
            return;
        }
        let (now, before) = (Instant::now(), self.so_far());
        if self.phase.0 != phase.name() {
            self.entry.phases = before.phases;
            self.phase = (phase.name(), now);
        }
        if self.step.0 != phase.step() {
            self.entry.steps = before.steps;
            self.step = (phase.step(), now);
        }
    }

    /// Why it began, and how long it and its phase have taken until now.
    pub fn under_way(&self) -> (Option<&'static str>, Duration, Duration) {
        (self.entry.cause, self.began.elapsed(), self.phase.1.elapsed())
    }

    /// The entry, to be completed.
    pub fn entry_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }

    /// As it would be if its phase and its step ended now.
    pub fn so_far(&self) -> Entry {
        let mut entry = self.entry.clone();
        // What serves already has ended before it was in any phase.
        if self.step.0 != RELEASE {
            entry.phases.push(PhaseTime { phase: self.phase.0, ms: millis_since(self.phase.1) });
            entry.steps.push(StepTime { step: self.step.0, ms: millis_since(self.step.1) });
        }
        entry
    }

    /// It has ended.
    pub fn end(self, outcome: &'static str) -> Entry {
        Entry { outcome: Some(outcome), ended: Some(Instant::now()), ..self.so_far() }
    }
}
