//! What a [`Glance`] finds.

use std::cmp::Reverse;

use super::*;
use crate::control::glance::{COMPARED_MAX, Glance, Look, Now, SiteLine, TroublesView};
use crate::observe::journal::Entry;

impl Reconciler {
    pub(super) fn glance(&self, look: &Look) -> Glance {
        let lines = look.names.iter().filter_map(|name| self.by_name.get(name));
        let site = look.site.as_ref().and_then(|name| self.sites.get(self.by_name.get(name)?));
        let mut site = site.map(|entry| entry.view(self.last_entries(entry.name())));
        let mut entries = site.as_mut().map_or_else(Vec::new, |site| std::mem::take(&mut site.handoffs));
        let newest = self.journal.newest(&Filter { site: None, kind: None, count: look.entries_max });
        entries.extend(newest);
        entries.sort_by_key(|entry| Reverse(entry.id));
        entries.dedup_by_key(|entry| entry.id);
        Glance {
            now: self.now(),
            troubles: self.troubles_view(look.troubles_max),
            lines: self.lines(lines.copied()),
            site,
            entries,
        }
    }

    /// The newest of a site.
    pub(super) fn last_entries(&self, name: &SiteName) -> Vec<Entry> {
        self.journal.newest(&Filter::of_site(name, LAST_HANDOFFS))
    }

    fn lines(&self, keys: impl Iterator<Item = SiteKey>) -> Vec<SiteLine> {
        keys.filter_map(|key| self.sites.get(&key)).map(|entry| entry.line()).collect()
    }

    fn now(&self) -> Now {
        Now {
            version: env!("CARGO_PKG_VERSION"),
            sites: self.by_name.len(),
            phases: self.troubles.phases(self.sites.len()),
            held: self.gates.budget.held(),
            held_max: self.config.hold_total.max_requests,
            conflicts: self.troubles.conflicts(),
            handoffs: self.counts.handoffs.values().sum(),
            late_answers: self.gates.late(),
            commits_failed: self.counts.commits_failed,
            refused_update: self.refused_update.clone(),
            waiting_updates: self.guarded.waiting(),
            fleet: self.fleet_status(),
        }
    }

    fn troubles_view(&self, most: usize) -> TroublesView {
        let shut = self.troubles.shut().take(COMPARED_MAX);
        let mut held: Vec<(usize, SiteKey)> = shut
            .filter(|key| !self.troubles.is_in_conflict(*key))
            .filter_map(|key| Some((self.sites.get(&key)?.gate.held(), key)))
            .collect();
        held.sort_by_key(|(held, key)| (Reverse(*held), *key));
        let suspicions = self.fleet.as_ref().map(|fleet| fleet.edge.suspicions());
        let unreached = suspicions.iter().flat_map(|all| all.all().keys());
        let unreached = unreached.filter_map(|name| self.by_name.get(name)).copied();
        TroublesView {
            in_conflict: self.troubles.sites_in_conflict(),
            conflicts: self.lines(self.troubles.in_conflict().take(most)),
            shut: self.troubles.sites_shut(),
            held: self.lines(held.iter().map(|(_, key)| *key).take(most)),
            unreachable: suspicions.map_or(0, |all| all.all().len()),
            unreached: self.lines(unreached.take(most)),
        }
    }
}
