//! The store: one order of revisions, guarded writes, keys that go with their lease, and what is on the way to it.

use std::collections::BTreeMap;

use ghostpin::core::SiteName;
use ghostpin::core::fleet::ledger::{Change, EdgeSays, Written};
use ghostpin::core::fleet::{LeaseId, Record, Revision};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) revision: Revision,
    /// Records, and the revisions at which they were written.
    pub(crate) sites: BTreeMap<SiteName, (Record, Revision)>,
    pub(crate) edges: BTreeMap<LeaseId, EdgeSays>,
    /// Before when no lease ends. It may end at any time after that, or never: a new leader prolongs all of them.
    pub(crate) leases: BTreeMap<LeaseId, u64>,
    pub(crate) granted: i64,
    /// What somebody who watches has not seen yet.
    pub(crate) log: Vec<(Revision, Change)>,
    /// Writes of controllers on their way. They arrive in any order, and outlive who sent them.
    pub(crate) writes: Vec<Write>,
    /// What a member that lags would still say.
    pub(crate) lagging: Option<List>,
}

/// A record that is to replace the one that was written at `guard`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    /// Which controller waits for the answer, if any does.
    pub(crate) by: Option<u8>,
    pub(crate) site: SiteName,
    pub(crate) record: Option<Record>,
    pub(crate) guard: Revision,
}

/// All sites as of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct List {
    pub(crate) revision: Revision,
    pub(crate) sites: Vec<(SiteName, Record)>,
}

impl Store {
    pub(crate) fn new(sites: impl IntoIterator<Item = (SiteName, Record)>) -> Self {
        let revision = Revision(1);
        let sites = sites.into_iter().map(|(name, record)| (name, (record, revision))).collect();
        Self {
            revision,
            sites,
            edges: BTreeMap::new(),
            leases: BTreeMap::new(),
            granted: 0,
            log: vec![],
            writes: vec![],
            lagging: None,
        }
    }

    pub(crate) fn list(&self) -> List {
        let sites = self.sites.iter().map(|(name, (record, _))| (name.clone(), record.clone())).collect();
        List { revision: self.revision, sites }
    }

    pub(crate) fn at(&self, site: &SiteName) -> Revision {
        self.sites.get(site).map_or(Revision(0), |(_, at)| *at)
    }

    /// Writes a record; `None` deletes it.
    pub(crate) fn write(&mut self, write: &Write, guarded: bool) -> Written {
        if guarded && self.at(&write.site) != write.guard {
            return Written::Overtaken;
        }
        let revision = self.next();
        match &write.record {
            Some(record) => self.sites.insert(write.site.clone(), (record.clone(), revision)),
            None => self.sites.remove(&write.site),
        };
        self.log.push((revision, Change::Site(write.site.clone(), write.record.clone(), revision)));
        Written::At(revision)
    }

    /// Writes the key of an edge; `None` deletes it.
    pub(crate) fn put_edge(&mut self, lease: LeaseId, says: Option<EdgeSays>) {
        let revision = self.next();
        match &says {
            Some(says) => self.edges.insert(lease, says.clone()),
            None => self.edges.remove(&lease),
        };
        self.log.push((revision, Change::Edge(lease, says)));
    }

    /// Ends a lease, and with it its key.
    pub(crate) fn end_lease(&mut self, lease: LeaseId) {
        if self.leases.remove(&lease).is_some() && self.edges.contains_key(&lease) {
            self.put_edge(lease, None);
        }
    }

    fn next(&mut self) -> Revision {
        self.revision.0 += 1;
        self.revision
    }

    /// The first change from a revision on, of sites alone or of everything.
    pub(crate) fn change_since(&self, from: Revision, sites_alone: bool) -> Option<&(Revision, Change)> {
        let counts = |change: &Change| !sites_alone || matches!(change, Change::Site(..));
        self.log.iter().find(|(revision, change)| *revision >= from && counts(change))
    }
}
