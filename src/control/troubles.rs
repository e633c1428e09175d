//! Which sites are not as they should be, kept as they change: of a million, few are in trouble, and looking through all
//! of them each time that somebody asks would hold up handoffs.

use std::collections::BTreeMap;

use super::view::Phases;
use crate::gate::SiteKey;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Troubles {
    /// Those that are not open, and the phase of each.
    shut: BTreeMap<SiteKey, &'static str>,
    /// How many of them there are by phase.
    phases: Phases,
    /// Those in conflict, and how many conflicts each has.
    in_conflict: BTreeMap<SiteKey, usize>,
    /// Conflicts of all of them.
    conflicts: usize,
}

impl Troubles {
    /// A site is in this phase now, with so many conflicts.
    pub fn note(&mut self, key: SiteKey, phase: &'static str, conflicts: usize) {
        self.forget(key);
        if phase != "serving" {
            *self.phases.of(phase) += 1;
            self.shut.insert(key, phase);
        }
        if conflicts > 0 {
            self.conflicts += conflicts;
            self.in_conflict.insert(key, conflicts);
        }
    }

    /// A site is no longer there.
    pub fn forget(&mut self, key: SiteKey) {
        if let Some(phase) = self.shut.remove(&key) {
            *self.phases.of(phase) -= 1;
        }
        if let Some(conflicts) = self.in_conflict.remove(&key) {
            self.conflicts -= conflicts;
        }
    }

    /// Those that are not open.
    pub fn shut(&self) -> impl Iterator<Item = SiteKey> {
        self.shut.keys().copied()
    }

    /// How many sites are not open.
    pub fn sites_shut(&self) -> usize {
        self.shut.len()
    }

    /// Those in conflict.
    pub fn in_conflict(&self) -> impl Iterator<Item = SiteKey> {
        self.in_conflict.keys().copied()
    }

    /// How many sites are in conflict.
    pub fn sites_in_conflict(&self) -> usize {
        self.in_conflict.len()
    }

    /// Whether this one is in conflict.
    pub fn is_in_conflict(&self, key: SiteKey) -> bool {
        self.in_conflict.contains_key(&key)
    }

    /// Conflicts over all sites.
    pub fn conflicts(&self) -> usize {
        self.conflicts
    }

    /// Of so many sites, those in each phase.
    pub fn phases(&self, sites: usize) -> Phases {
        Phases { serving: sites - self.shut.len(), ..self.phases }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_all_sites_is_what_was_last_noted_of_each() {
        let mut troubles = Troubles::default();
        let all = |troubles: &Troubles| {
            let Phases { vacant, proving, serving, draining, fencing } = troubles.phases(4);
            let keys = |found: Vec<SiteKey>| found.into_iter().map(|key| key.0).collect::<Vec<_>>();
            let (shut, in_conflict) =
                (keys(troubles.shut().collect()), keys(troubles.in_conflict().collect()));
            ([vacant, proving, serving, draining, fencing], shut, in_conflict, troubles.conflicts())
        };
        for (key, phase, conflicts) in
            [(1, "vacant", 0), (2, "serving", 2), (3, "draining", 1), (4, "proving", 0), (1, "vacant", 0)]
        {
            troubles.note(SiteKey(key), phase, conflicts);
        }
        assert_eq!(all(&troubles), ([1, 1, 1, 1, 0], vec![1, 3, 4], vec![2, 3], 3));
        troubles.note(SiteKey(3), "fencing", 0);
        troubles.note(SiteKey(4), "serving", 0);
        assert_eq!(all(&troubles), ([1, 0, 2, 0, 1], vec![1, 3], vec![2], 2));
        troubles.forget(SiteKey(3));
        troubles.forget(SiteKey(2));
        assert_eq!(all(&troubles), ([1, 0, 3, 0, 0], vec![1], vec![], 0));
    }
}
