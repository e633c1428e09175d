//! Lists of sites: of a million, only those that are asked for become text.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::control::view::{Order, SiteSummary, SitesWanted};

/// Smaller ones come first: troubled, many held, many in flight.
type Rank = (bool, Reverse<usize>, Reverse<u32>);

impl Reconciler {
    /// Those sites that are wanted, in the order that is wanted.
    pub(super) fn list(&self, wanted: &SitesWanted) -> Vec<SiteSummary> {
        let search = wanted.search.to_ascii_lowercase();
        let limit = wanted.limit.unwrap_or(usize::MAX);
        let all = self.by_name.values().filter_map(|key| self.sites.get(key)).map(|entry| &**entry);
        let fits = |entry: &&SiteEntry| (!wanted.troubled || entry.is_troubled()) && is_found(entry, &search);
        let fitting = all.filter(fits);
        match wanted.order {
            Order::Name => fitting.take(limit).map(SiteEntry::summary).collect(),
            Order::Trouble => {
                first(limit, fitting, |entry| rank(entry)).into_iter().map(SiteEntry::summary).collect()
            }
        }
    }
}

fn rank(entry: &SiteEntry) -> Rank {
    (!entry.is_troubled(), Reverse(entry.gate.held()), Reverse(entry.gate.in_flight()))
}

/// `search` is in lower case.
fn is_found(entry: &SiteEntry, search: &str) -> bool {
    let has = |text: &str| text.to_ascii_lowercase().contains(search);
    search.is_empty() || has(entry.name().as_str()) || entry.config.hosts.iter().any(|host| has(host))
}

/// The `limit` items that come first, in order; among equals those that came earlier. Never keeps more than those.
fn first<T, R: Ord + Copy>(limit: usize, items: impl Iterator<Item = T>, rank: impl Fn(&T) -> R) -> Vec<T> {
    let mut kept: BinaryHeap<(R, usize)> = BinaryHeap::new();
    let mut by_place = BTreeMap::new();
    for (place, item) in items.enumerate() {
        let rank = (rank(&item), place);
        if kept.len() == limit && kept.peek().is_none_or(|last| *last < rank) {
            continue;
        }
        kept.push(rank);
        by_place.insert(place, item);
        if kept.len() > limit
            && let Some((_, last)) = kept.pop()
        {
            by_place.remove(&last);
        }
    }
    kept.into_sorted_vec().into_iter().filter_map(|(_, place)| by_place.remove(&place)).collect()
}

#[cfg(test)]
mod tests {
    use super::first;

    #[test]
    fn the_first_of_many_are_those_that_sorting_all_would_put_there() {
        let mut seed = 7_u64;
        let numbers: Vec<u64> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 60
        })
        .take(200)
        .collect();
        let items: Vec<(usize, u64)> = numbers.into_iter().enumerate().collect();
        let mut sorted = items.clone();
        sorted.sort_by_key(|(_, number)| *number);
        for limit in [0, 1, 7, 199, 200, 500] {
            let found = first(limit, items.iter().copied(), |(_, number)| *number);
            assert_eq!(found, sorted[..limit.min(sorted.len())], "limit {limit}");
        }
    }
}
