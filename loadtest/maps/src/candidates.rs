//! The maps, each behind the same three verbs: build, look up, replace one.
//!
//! A lookup clones the `Arc` of what it found, because a request outlives every guard. All but chashmap, which takes
//! no hasher of ours, hash with foldhash.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use ghostpin::core::SiteName;
use ghostpin::core::table::{Hosted, RouteTable};

/// A host as the table keeps it.
pub(crate) type Host = Arc<str>;

/// What a host leads to. Only its address matters here, but for the product's own table, which reads the host there.
pub(crate) struct Site {
    pub(crate) number: usize,
    name: SiteName,
    hosts: Arc<[Box<str>]>,
}

impl Site {
    /// A site that has this host.
    pub(crate) fn new(number: usize, host: &str) -> Self {
        Self { number, name: host.into(), hosts: [host.into()].into() }
    }

    /// One that is the same, at another address.
    pub(crate) fn again(&self) -> Self {
        Self { number: self.number, name: self.name.clone(), hosts: self.hosts.clone() }
    }
}

/// A map that can stand in for the route table.
pub(crate) trait Candidate: Send + Sync + Sized {
    /// How the table of results names it.
    const NAME: &'static str;
    /// All entries at once, as after reading a configuration.
    fn build(entries: &[(Host, Arc<Site>)]) -> Self;
    /// What a request does.
    fn get(&self, host: &str) -> Option<Arc<Site>>;
    /// What a change of one entry does.
    fn replace(&self, host: Host, site: Arc<Site>);
}

/// No map: the host is hashed, and the hash picks one of a few sites. What the loop around the maps costs.
pub(crate) struct Floor(RandomState, Vec<Arc<Site>>);

impl Candidate for Floor {
    const NAME: &'static str = "(floor: hash the host, no map)";
    fn build(entries: &[(Host, Arc<Site>)]) -> Self {
        Self(RandomState::default(), entries.iter().take(1024).map(|(_, site)| Arc::clone(site)).collect())
    }
    fn get(&self, host: &str) -> Option<Arc<Site>> {
        Some(Arc::clone(&self.1[self.0.hash_one(host) as usize % self.1.len()]))
    }
    fn replace(&self, _: Host, _: Arc<Site>) {}
}

/// The product's own: numbers that lead to sites in shared blocks, behind one pointer; a change copies the numbers and a block.
pub(crate) struct Routes(ArcSwap<RouteTable<Row>>);

/// A site, as that table wants it.
#[derive(Clone)]
pub(crate) struct Row(Arc<Site>);

impl Hosted for Row {
    fn name(&self) -> &SiteName {
        &self.0.name
    }

    fn hosts(&self) -> &[Box<str>] {
        &self.0.hosts
    }
}

impl Candidate for Routes {
    const NAME: &'static str = "`ArcSwap` of ghostpin's `RouteTable`";
    fn build(entries: &[(Host, Arc<Site>)]) -> Self {
        let rows = entries.iter().map(|(_, site)| Row(Arc::clone(site)));
        Self(ArcSwap::from_pointee(RouteTable::build(rows).expect("hosts are different")))
    }
    fn get(&self, host: &str) -> Option<Arc<Site>> {
        self.0.load().lookup(host).map(|row| Arc::clone(&row.0))
    }
    fn replace(&self, _: Host, site: Arc<Site>) {
        let table = self.0.load().with(&[], [Row(site)]).expect("it replaces the one of its host");
        self.0.store(Arc::new(table));
    }
}

/// An immutable map behind one pointer; a change copies it.
pub(crate) struct Snapshot(ArcSwap<HashMap<Host, Arc<Site>, RandomState>>);

impl Candidate for Snapshot {
    const NAME: &'static str = "`ArcSwap` of an immutable `HashMap`";
    fn build(entries: &[(Host, Arc<Site>)]) -> Self {
        let mut map = HashMap::with_capacity_and_hasher(entries.len(), RandomState::default());
        map.extend(entries.iter().cloned());
        Self(ArcSwap::from_pointee(map))
    }
    fn get(&self, host: &str) -> Option<Arc<Site>> {
        self.0.load().get(host).cloned()
    }
    fn replace(&self, host: Host, site: Arc<Site>) {
        let mut map = HashMap::clone(&self.0.load());
        map.insert(host, site);
        self.0.store(Arc::new(map));
    }
}

/// A persistent map behind one pointer; a change copies a path of it.
pub(crate) struct Persistent(ArcSwap<rpds::HashTrieMapSync<Host, Arc<Site>, RandomState>>);

impl Candidate for Persistent {
    const NAME: &'static str = "`ArcSwap` of an rpds `HashTrieMapSync`";
    fn build(entries: &[(Host, Arc<Site>)]) -> Self {
        let mut map = rpds::HashTrieMapSync::new_with_hasher_and_ptr_kind(RandomState::default());
        for (host, site) in entries {
            map.insert_mut(Arc::clone(host), Arc::clone(site));
        }
        Self(ArcSwap::from_pointee(map))
    }
    fn get(&self, host: &str) -> Option<Arc<Site>> {
        self.0.load().get(host).cloned()
    }
    fn replace(&self, host: Host, site: Arc<Site>) {
        let map = self.0.load().insert(host, site);
        self.0.store(Arc::new(map));
    }
}

/// Shards, each with a lock.
pub(crate) struct Dash(dashmap::DashMap<Host, Arc<Site>, RandomState>);

impl Candidate for Dash {
    const NAME: &'static str = "dashmap";
    fn build(entries: &[(Host, Arc<Site>)]) -> Self {
        let map = dashmap::DashMap::with_capacity_and_hasher(entries.len(), RandomState::default());
        for (host, site) in entries {
            map.insert(Arc::clone(host), Arc::clone(site));
        }
        Self(map)
    }
    fn get(&self, host: &str) -> Option<Arc<Site>> {
        self.0.get(host).map(|entry| Arc::clone(&entry))
    }
    fn replace(&self, host: Host, site: Arc<Site>) {
        self.0.insert(host, site);
    }
}

/// Lock-free, with deferred reclamation.
pub(crate) struct Papaya(papaya::HashMap<Host, Arc<Site>, RandomState>);

impl Candidate for Papaya {
    const NAME: &'static str = "papaya";
    fn build(entries: &[(Host, Arc<Site>)]) -> Self {
        let map = papaya::HashMap::with_capacity_and_hasher(entries.len(), RandomState::default());
        for (host, site) in entries {
            map.pin().insert(Arc::clone(host), Arc::clone(site));
        }
        Self(map)
    }
    fn get(&self, host: &str) -> Option<Arc<Site>> {
        self.0.pin().get(host).cloned()
    }
    fn replace(&self, host: Host, site: Arc<Site>) {
        self.0.pin().insert(host, site);
    }
}

/// A lock for the table and one for each bucket.
pub(crate) struct CHash(chashmap::CHashMap<Host, Arc<Site>>);

impl Candidate for CHash {
    const NAME: &'static str = "chashmap 2.2.2 (SipHash)";
    fn build(entries: &[(Host, Arc<Site>)]) -> Self {
        let map = chashmap::CHashMap::with_capacity(entries.len());
        for (host, site) in entries {
            map.insert(Arc::clone(host), Arc::clone(site));
        }
        Self(map)
    }
    fn get(&self, host: &str) -> Option<Arc<Site>> {
        self.0.get(host).map(|site| Arc::clone(&site))
    }
    fn replace(&self, host: Host, site: Arc<Site>) {
        self.0.insert(host, site);
    }
}
