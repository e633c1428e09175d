//! What the controller writes, and when a fence is complete.
//!
//! The handoff core says what is wanted of a site; the ledger brings the store there, one guarded write a site at a
//! time, and tells the core what has come of it. It follows the store in the order of its revisions: sites and edges
//! alike, from one list and one watch.
//!
//! A fence at revision R is complete when everything up to R has been seen (so that every edge that could have been let
//! in before it is known), and each edge that is left says that it has applied R, and has none of the site's leases.
//! An edge that registers after R reads the fence before it opens anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fence, LeaseId, Record, RecordPhase, Revision};
use crate::core::{Epoch, Pin, SiteName};

/// What an edge says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EdgeSays {
    /// Everything up to here is applied,
    pub watermark: Revision,
    /// but for these sites: they still have leases of an epoch that is fenced.
    pub pending: BTreeSet<SiteName>,
}

/// What has changed in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A site's record; `None` if it was deleted. The revision is the one at which this was written.
    Site(SiteName, Option<Record>, Revision),
    /// An edge's key; `None` if it is gone.
    Edge(LeaseId, Option<EdgeSays>),
}

/// What the handoff core wants of a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// That no edge lets anybody in. [`Effect::Left`] tells when no lease is left.
    Shut {
        /// Goes into the report.
        generation: u64,
        /// The pin that is fenced: the newest that is known.
        pin: Pin,
        /// Why and how.
        fence: Fence,
    },
    /// That the fence says this, too: leases are to end now, or an operator's hold has begun or is over. A controller that
    /// comes after this one goes by it.
    Fence {
        /// The pin that is fenced.
        pin: Pin,
        /// Why and how. Leases that were told to end stay so.
        fence: Fence,
    },
    /// That edges serve under this pin, which is the one that was fenced.
    Open(Pin),
    /// That edges serve under this pin, which is new. [`Effect::Committed`] tells when it stands.
    Commit(Pin),
    /// That the record says that the site is gone, and what its newest pin was.
    Retire(Pin),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// It stands.
    At(Revision),
    /// Somebody else has written since.
    Overtaken,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Write this record in the place of the one at revision `guard` (0: there is none), and report what became of it.
    Write {
        /// Whose.
        site: SiteName,
        /// The record.
        record: Record,
        /// The revision of what it replaces.
        guard: Revision,
    },
    /// No lease of the site is left in any edge since the fence of this generation.
    Left {
        /// Whose.
        site: SiteName,
        /// Of which [`Wanted::Shut`].
        generation: u64,
    },
    /// The pin stands in the store.
    Committed {
        /// Whose.
        site: SiteName,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Somebody else writes this site's record: another edge is the controller.
    Deposed {
        /// Whose record told.
        site: SiteName,
    },
}

/// One site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Entry {
    /// What stands in the store, and since which revision; revision 0 if nothing does.
    stored: Option<Record>,
    at: Revision,
    /// What is to stand there.
    wanted: Option<Record>,
    /// What is being written.
    writing: Option<Record>,
    /// Generation of the shutting whose end is waited for.
    shut: Option<u64>,
    /// Epoch of the pin whose commit is waited for.
    commit: Option<Epoch>,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// Everything up to here was seen.
    seen: Revision,
    sites: BTreeMap<SiteName, Entry>,
    edges: BTreeMap<LeaseId, EdgeSays>,
    /// How many edges have a site pending.
    pending: BTreeMap<SiteName, usize>,
    /// Fences that stand and are not complete, by their revision.
    waiting: BTreeSet<(Revision, SiteName)>,
}

type Effects = Vec<Effect>;

impl Ledger {
    /// From a list of everything, as of `revision`.
    pub fn new(
        revision: Revision,
        sites: impl IntoIterator<Item = (SiteName, Record, Revision)>,
        edges: impl IntoIterator<Item = (LeaseId, EdgeSays)>,
    ) -> Self {
        let mut ledger = Self { seen: revision, ..Self::default() };
        for (name, record, at) in sites {
            ledger.sites.insert(name, Entry { stored: Some(record), at, ..Entry::default() });
        }
        for (lease, says) in edges {
            ledger.edge(lease, Some(says));
        }
        ledger
    }

    /// What stands in the store for a site, as far as it was seen.
    pub fn stored(&self, site: &SiteName) -> Option<&Record> {
        self.sites.get(site)?.stored.as_ref()
    }

    /// What is wanted of a site stands in the store.
    pub fn is_settled(&self, site: &SiteName) -> bool {
        let Some(entry) = self.sites.get(site) else { return true };
        entry.writing.is_none() && (entry.wanted.is_none() || entry.wanted == entry.stored)
    }

    /// All records, those of sites that nobody has configured too.
    pub fn records(&self) -> impl Iterator<Item = (&SiteName, &Record)> {
        self.sites.iter().filter_map(|(name, entry)| Some((name, entry.stored.as_ref()?)))
    }

    /// The edges, as far as they were seen.
    pub fn edges(&self) -> &BTreeMap<LeaseId, EdgeSays> {
        &self.edges
    }

    /// Takes in what the core wants.
    pub fn wants(&mut self, site: &SiteName, wanted: Wanted) -> Effects {
        let mut out = Effects::new();
        let entry = self.sites.entry(site.clone()).or_default();
        let (pin, phase) = match wanted {
            Wanted::Shut { generation, pin, fence } => {
                entry.shut = Some(generation);
                self.waiting.insert((entry.at, site.clone()));
                (pin, RecordPhase::Fence(fence))
            }
            Wanted::Fence { pin, fence } => {
                let said = match entry.wanted.as_ref().map(|record| &record.phase) {
                    Some(RecordPhase::Fence(said)) => said,
                    _ => return out,
                };
                let cut = fence.cut || said.cut;
                if cut == said.cut && fence.hold == said.hold {
                    return out;
                }
                (pin, RecordPhase::Fence(Fence { cut, ..fence }))
            }
            Wanted::Open(pin) => {
                entry.shut = None;
                (pin, RecordPhase::Serve)
            }
            Wanted::Commit(pin) => {
                entry.commit = Some(pin.epoch);
                (pin, RecordPhase::Serve)
            }
            Wanted::Retire(pin) => (pin, RecordPhase::Gone),
        };
        entry.wanted = Some(Record { pin, phase });
        self.bring_there(site, &mut out);
        self.complete(site, &mut out);
        out
    }

    /// Takes in what became of a write. One whose fate isn't known is to be found out first.
    pub fn written(&mut self, site: &SiteName, written: Written) -> Effects {
        let mut out = Effects::new();
        let Some(entry) = self.sites.get_mut(site) else { return out };
        let Some(record) = entry.writing.take() else { return out };
        match written {
            Written::At(revision) => self.stands(site, Some(record), revision),
            Written::Overtaken => {
                out.push(Effect::Deposed { site: site.clone() });
                return out;
            }
        }
        self.bring_there(site, &mut out);
        self.complete(site, &mut out);
        out
    }

    /// Takes in what the watch has seen, everything up to `revision`.
    pub fn changed(&mut self, revision: Revision, changes: Vec<Change>) -> Effects {
        let mut out = Effects::new();
        for change in changes {
            match change {
                Change::Edge(lease, says) => self.edge(lease, says),
                Change::Site(site, record, at) => self.site(site, record, at, &mut out),
            }
        }
        self.seen = self.seen.max(revision);
        let up_to = self.applied_by_all();
        let applied = self.waiting.iter().take_while(|(at, _)| *at <= up_to);
        for site in applied.map(|(_, site)| site.clone()).collect::<Vec<_>>() {
            self.complete(&site, &mut out);
        }
        out
    }

    // The store.

    fn site(&mut self, site: SiteName, record: Option<Record>, at: Revision, out: &mut Effects) {
        let entry = self.sites.entry(site.clone()).or_default();
        // What was written here is known from its answer, which may be earlier than the watch.
        if at <= entry.at {
            return;
        }
        let is_ours = entry.writing.is_some() && entry.writing == record;
        if !is_ours {
            out.push(Effect::Deposed { site: site.clone() });
        }
        self.stands(&site, record, at);
    }

    fn stands(&mut self, site: &SiteName, record: Option<Record>, at: Revision) {
        let entry = self.sites.get_mut(site).expect("a site of the ledger");
        if at <= entry.at {
            return;
        }
        self.waiting.remove(&(entry.at, site.clone()));
        entry.stored = record;
        entry.at = at;
        if entry.stored.as_ref().is_some_and(|record| record.serves().is_none()) {
            self.waiting.insert((at, site.clone()));
        }
    }

    fn edge(&mut self, lease: LeaseId, says: Option<EdgeSays>) {
        if let Some(before) = self.edges.remove(&lease) {
            for site in &before.pending {
                if let Some(count) = self.pending.get_mut(site) {
                    *count -= 1;
                    if *count == 0 {
                        self.pending.remove(site);
                    }
                }
            }
        }
        if let Some(says) = says {
            for site in &says.pending {
                *self.pending.entry(site.clone()).or_default() += 1;
            }
            self.edges.insert(lease, says);
        }
    }

    fn bring_there(&mut self, site: &SiteName, out: &mut Effects) {
        let entry = self.sites.get_mut(site).expect("a site of the ledger");
        if let Some(wanted) = &entry.wanted
            && entry.writing.is_none()
            && entry.stored.as_ref() != Some(wanted)
        {
            entry.writing = Some(wanted.clone());
            let guard = if entry.stored.is_some() { entry.at } else { Revision(0) };
            out.push(Effect::Write { site: site.clone(), record: wanted.clone(), guard });
        }
        let stands = entry.wanted.is_some() && entry.stored == entry.wanted;
        if stands && let Some(epoch) = entry.commit.take() {
            entry.shut = None;
            out.push(Effect::Committed { site: site.clone(), epoch });
        }
    }

    /// Every edge says that it has applied everything up to here, and no edge can have come meanwhile.
    fn applied_by_all(&self) -> Revision {
        let lowest = self.edges.values().map(|says| says.watermark).min();
        lowest.map_or(self.seen, |lowest| lowest.min(self.seen))
    }

    /// Tells of a site's fence if it is complete now.
    fn complete(&mut self, site: &SiteName, out: &mut Effects) {
        let up_to = self.applied_by_all();
        let entry = self.sites.get_mut(site).expect("a site of the ledger");
        let waits = (entry.at, site.clone());
        if entry.at > up_to || self.pending.contains_key(site) || !self.waiting.contains(&waits) {
            return;
        }
        // Only the fence that is wanted now counts, and only if no write is under way that may already have given it up.
        let stands = entry.stored.is_some() && entry.stored == entry.wanted;
        if stands && (entry.writing.is_none() || entry.writing == entry.stored) {
            self.waiting.remove(&waits);
            if let Some(generation) = entry.shut.take() {
                out.push(Effect::Left { site: site.clone(), generation });
            }
        }
    }
}

#[cfg(test)]
mod tests;
