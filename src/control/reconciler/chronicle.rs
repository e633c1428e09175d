//! What the reconciler writes into the journal, and when.

use super::*;

impl Reconciler {
    pub(super) fn handoff_began(&mut self, key: SiteKey, cause: Cause) {
        let Some(site) = self.sites.get_mut(&key) else { return };
        let mut entry = self.journal.begin(site.name(), "handoff");
        entry.cause = Some(cause.name());
        site.gate.tell_cause(cause);
        if matches!(cause, Cause::Planned | Cause::Hold) {
            entry.wished_by = site.wished_by.take().map(String::from);
        }
        entry.from = site.core.pin().map(PinText::from);
        // A suspicion that became a hold, or a hold that became a move, goes on under its new name.
        if let Some(before) = site.open.take() {
            let superseded = before.end("superseded");
            self.counts.handoff(&superseded);
            self.journal.write(superseded);
        }
        let Some(site) = self.sites.get_mut(&key) else { return };
        site.open = Some(Box::new(OpenEntry::new(entry, site.core.phase())));
    }

    pub(super) fn handoff_ended(&mut self, key: SiteKey, outcome: Outcome) {
        let Some(site) = self.sites.get_mut(&key) else { return };
        let Some(open) = site.open.take() else { return };
        let word = match outcome {
            Outcome::Switched => "switched",
            Outcome::Returned => "returned",
            Outcome::Reopened => "reopened",
            Outcome::Retired => "retired",
        };
        let mut entry = open.end(word);
        entry.to = site.core.pin().map(PinText::from);
        entry.add(&site.gate.take_tally());
        entry.late_answers = site.gate.late();
        site.last_entry = Some(entry.id);
        self.counts.handoff(&entry);
        self.journal.write(entry);
    }

    /// Another edge decides about the site, and has it in its log with its cause. What is kept here is what was seen of
    /// it, and how long requests waited at this edge.
    pub(super) fn handoff_followed(&mut self, key: SiteKey, before: Option<Pin>) {
        let Some(site) = self.sites.get_mut(&key) else { return };
        site.gate.tell_phase(site.core.phase());
        let serves = *site.core.phase() == Phase::Serving;
        match (site.open.take(), before) {
            (None, Some(before)) if !serves => {
                let mut entry = self.journal.begin(site.name(), "handoff");
                entry.from = Some(PinText::from(&before));
                entry.note = Some("decided by another edge".to_owned());
                site.open = Some(Box::new(OpenEntry::new(entry, site.core.phase())));
            }
            (Some(mut open), _) if serves => {
                let (from, to) = (open.entry_mut().from.clone(), site.core.pin().map(PinText::from));
                let outcome = match (&from, &to) {
                    (Some(from), Some(to)) if from.epoch == to.epoch => "reopened",
                    (Some(from), Some(to)) if from.backend == to.backend => "returned",
                    _ => "switched",
                };
                let mut entry = open.end(outcome);
                entry.to = to;
                entry.add(&site.gate.take_tally());
                entry.late_answers = site.gate.late();
                site.last_entry = Some(entry.id);
                self.journal.keep(entry);
            }
            (open, _) => site.open = open,
        }
    }

    pub(super) fn note(&mut self, site: SiteName, kind: &'static str, note: String) {
        let mut entry = self.journal.begin(&site, kind);
        entry.note = Some(note);
        self.journal.write(entry);
    }
}
