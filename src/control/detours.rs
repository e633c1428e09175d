//! Which edges take requests for this one, and which of them are being tried.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::core::{Epoch, SiteName};
use crate::detour::Detour;
use crate::gate::SiteKey;

/// Looks through other edges at a time: when a machine dies, all its sites are suspected at once, and no edge reaches it.
const LOOKS_MAX: usize = 16;

/// Sites that are considered at a time.
const CONSIDERED_MAX: usize = 256;

/// A look at a site's backend through another edge.
#[derive(Debug)]
pub struct Look {
    /// Which site.
    pub site: SiteKey,
    /// The epoch under which it is suspected here.
    pub epoch: Epoch,
    /// Through whom.
    pub detour: Arc<Detour>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Detours {
    known: Vec<Arc<Detour>>,
    /// Sites that are being looked at.
    under_way: BTreeMap<SiteKey, Epoch>,
    /// Whose turn it is: whoever failed comes last.
    next: usize,
    /// The site that was considered last.
    considered: Option<SiteName>,
}

impl Detours {
    /// These take requests now.
    pub fn know(&mut self, detours: Vec<Arc<Detour>>) {
        self.known = detours;
    }

    /// Some of the sites that are suspected: others each time, and all of them in turn. None if there are no other edges.
    pub fn some_of(&mut self, suspected: &BTreeMap<SiteName, Epoch>) -> Vec<SiteName> {
        if self.known.is_empty() || self.under_way.len() >= LOOKS_MAX {
            return Vec::new();
        }
        let after = self.considered.take().map_or(Bound::Unbounded, Bound::Excluded);
        let before = suspected.range::<SiteName, _>((Bound::Unbounded, until(&after)));
        let in_turn = suspected.range((after.clone(), Bound::Unbounded)).chain(before);
        let some: Vec<SiteName> = in_turn.take(CONSIDERED_MAX).map(|(site, _)| site.clone()).collect();
        self.considered = some.last().cloned();
        some
    }

    /// Begins to look, if there is somebody to look through, and nobody does it already.
    pub fn begin(&mut self, site: SiteKey, epoch: Epoch) -> Option<Look> {
        if self.under_way.len() >= LOOKS_MAX || self.under_way.contains_key(&site) {
            return None;
        }
        let detour = self.known.get(self.next % self.known.len().max(1))?.clone();
        self.under_way.insert(site, epoch);
        Some(Look { site, epoch, detour })
    }

    /// It has come to an end.
    pub fn ended(&mut self, look: &Look, well: bool) {
        self.under_way.remove(&look.site);
        if !well {
            self.failed(&look.detour);
        }
    }

    /// Nothing goes through this one: the others have their turn first.
    pub fn failed(&mut self, detour: &Detour) {
        if self.known.get(self.next % self.known.len().max(1)).is_some_and(|next| **next == *detour) {
            self.next += 1;
        }
    }
}

/// Up to where it was begun.
fn until(after: &Bound<SiteName>) -> Bound<SiteName> {
    match after {
        Bound::Excluded(site) => Bound::Included(site.clone()),
        // All of them come after the beginning.
        _ => Bound::Excluded(SiteName::from("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn detours(count: u16) -> Detours {
        let mut detours = Detours::default();
        detours.know(
            (1..=count)
                .map(|port| {
                    Arc::new(Detour {
                        edge: format!("edge-{port}"),
                        address: ([127, 0, 0, 1], port).into(),
                        token: Secret::new(String::new()),
                    })
                })
                .collect(),
        );
        detours
    }

    #[test]
    fn one_after_the_other_is_tried_and_who_works_is_kept() {
        let mut detours = detours(3);
        let mut tried = Vec::new();
        for well in [false, true, true, false, false, true] {
            let look = detours.begin(SiteKey(1), Epoch(1)).unwrap();
            tried.push(look.detour.address.port());
            detours.ended(&look, well);
        }
        assert_eq!(tried, [1, 2, 2, 2, 3, 1]);
    }

    #[test]
    fn a_site_is_looked_at_once_at_a_time_and_not_too_many_are() {
        let mut detours = detours(1);
        let looks: Vec<Look> = (0..100).filter_map(|site| detours.begin(SiteKey(site), Epoch(1))).collect();
        assert_eq!(looks.len(), LOOKS_MAX);
        assert!(detours.begin(SiteKey(0), Epoch(1)).is_none());
        detours.ended(&looks[0], false);
        assert!(detours.begin(SiteKey(0), Epoch(1)).is_some());
    }

    #[test]
    fn every_suspected_site_has_its_turn() {
        let mut detours = detours(1);
        let all: BTreeMap<SiteName, Epoch> =
            (0..600).map(|n| (SiteName::from(format!("s{n:03}").as_str()), Epoch(1))).collect();
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.extend(detours.some_of(&all));
        }
        assert_eq!(seen.len(), 3 * CONSIDERED_MAX);
        assert!(all.keys().all(|site| seen.contains(site)));
        let few: BTreeMap<SiteName, Epoch> = all.into_iter().take(2).collect();
        for _ in 0..3 {
            assert_eq!(detours.some_of(&few).len(), 2, "each once");
        }
    }

    #[test]
    fn without_other_edges_there_is_no_detour() {
        assert!(Detours::default().begin(SiteKey(1), Epoch(1)).is_none());
    }
}
