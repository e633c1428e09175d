//! Backends that one edge can't reach, and what it makes of that: it lets nobody in, unless another edge takes its requests.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::{Epoch, SiteName};

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Suspicions {
    /// Sites whose backend refused a connection under this epoch, which is the store's, and has not answered since.
    suspected: BTreeMap<SiteName, Epoch>,
    /// Those of them whose requests reach the backend through another edge.
    detours: BTreeSet<SiteName>,
}

impl Suspicions {
    /// All of them, and under which epoch.
    pub fn all(&self) -> &BTreeMap<SiteName, Epoch> {
        &self.suspected
    }

    /// The epoch under which the site's backend is suspected.
    pub fn of(&self, site: &SiteName) -> Option<Epoch> {
        self.suspected.get(site).copied()
    }

    /// It is suspected, and its requests reach it through another edge.
    pub fn takes_detour(&self, site: &SiteName) -> bool {
        self.detours.contains(site)
    }

    /// How many sites that goes for.
    pub fn detours(&self) -> usize {
        self.detours.len()
    }

    /// Requests can be brought to the backend, one way or the other.
    pub(super) fn let_in(&self, site: &SiteName) -> bool {
        !self.suspected.contains_key(site) || self.takes_detour(site)
    }

    /// It refused a connection; if that was made through another edge, then that one doesn't reach it either, or is gone.
    pub(super) fn suspect(&mut self, site: &SiteName, epoch: Epoch) {
        self.suspected.insert(site.clone(), epoch);
        self.detours.remove(site);
    }

    /// It answers through another edge. Only of those that are suspected.
    pub(super) fn take_detour(&mut self, site: &SiteName) {
        self.detours.insert(site.clone());
    }

    /// It answers, or is not meant any more.
    pub(super) fn clear(&mut self, site: &SiteName) {
        self.suspected.remove(site);
        self.detours.remove(site);
    }

    /// Keeps those of these sites.
    pub(super) fn retain(&mut self, keeps: impl Fn(&SiteName) -> bool) {
        self.suspected.retain(|site, _| keeps(site));
        self.detours.retain(keeps);
    }
}
