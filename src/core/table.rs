//! Which site a host belongs to.
//!
//! A [`RouteTable`] never changes: a reload makes another one out of it, which has most in common with the one before.
//! It knows nothing about what a site is beyond its name and hosts, and it refuses to be made if two sites claim the same
//! host, because then the order of the file would decide who answers.
//!
//! There may be a million hosts. Each is kept once, with its site; what is looked through leads there by numbers.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use self::slots::Slots;
use super::SiteName;

mod slots;

/// Longest host that can be in a table, in bytes: the longest name that DNS allows.
pub const HOST_BYTES_MAX: usize = 255;

/// What a table leads to.
pub trait Hosted: Clone {
    /// Its name; unique.
    fn name(&self) -> &SiteName;

    /// Its hosts, lower case, without port and trailing dot; `*.domain` for every name below a domain.
    fn hosts(&self) -> &[Box<str>];
}

/// Host to site.
#[derive(Clone, Debug)]
pub struct RouteTable<S> {
    sites: Slots<S>,
    /// Only looked up, as the next two are, so that their order decides nothing.
    names: HashTable<u32>,
    exact: HashTable<Place>,
    /// Domains, without the `*.`.
    below: HashTable<Place>,
    hasher: RandomState,
}

/// A host: the number of its site, and its own among those of the site.
#[derive(Clone, Copy, Debug)]
struct Place {
    site: u32,
    host: u32,
}

impl<S> Default for RouteTable<S> {
    fn default() -> Self {
        Self {
            sites: Slots::default(),
            names: HashTable::new(),
            exact: HashTable::new(),
            below: HashTable::new(),
            hasher: RandomState::default(),
        }
    }
}

/// Why a table could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two sites claim one host.
    #[error("host `{host}` belongs to site `{first}` already; site `{second}` can't have it too")]
    Conflict {
        /// The host, as the table knows it.
        host: String,
        /// The site that came first.
        first: SiteName,
        /// The site that came later.
        second: SiteName,
    },
    /// A text that no request could ever ask for.
    #[error("site `{site}`: `{host}` is not a host: write `name.example` or `*.name.example`, in lower case")]
    NotAHost {
        /// The site.
        site: SiteName,
        /// The text.
        host: String,
    },
}

impl<S: Hosted> RouteTable<S> {
    /// The table of these sites.
    ///
    /// # Errors
    /// The first host that two sites claim, or that is no host.
    pub fn build(sites: impl IntoIterator<Item = S>) -> Result<Self, TableError> {
        Self::default().with(&[], sites)
    }

    /// This table without the sites `gone`, and with `put`, each in place of the one of its name, if there is one.
    ///
    /// # Errors
    /// The first host that two sites claim, or that is no host.
    pub fn with(&self, gone: &[SiteName], put: impl IntoIterator<Item = S>) -> Result<Self, TableError> {
        let mut table = self.clone();
        for name in gone {
            if let Some(number) = table.number(name) {
                table.take_out(number);
                if let Ok(entry) = table.names.find_entry(self.hasher.hash_one(name), |at| *at == number) {
                    entry.remove();
                }
                table.sites.clear(number);
            }
        }
        // All old hosts go before any new one comes: a host may move from one site to another.
        let put: Vec<(u32, S)> = put.into_iter().map(|site| (table.take_in(&site), site)).collect();
        for (number, site) in &put {
            table.take_out(*number);
            table.sites.set(*number, site.clone());
        }
        for (number, site) in &put {
            for (index, host) in site.hosts().iter().enumerate() {
                table.put_in(host, Place { site: *number, host: index as u32 }, site)?;
            }
        }
        Ok(table)
    }

    /// The site of a host as a request names it: any case, with or without a port or a trailing dot.
    ///
    /// An exact host wins over a wildcard, a longer wildcard over a shorter one. `*.domain` stands for every name
    /// below the domain, at any depth, and not for the domain itself. Allocates nothing.
    pub fn lookup(&self, host: &str) -> Option<&S> {
        self.find(as_name(host, &mut [0; HOST_BYTES_MAX])?)
    }

    /// The site of this name.
    pub fn site(&self, name: &SiteName) -> Option<&S> {
        self.sites.get(self.number(name)?)
    }

    /// All sites.
    pub fn sites(&self) -> impl Iterator<Item = &S> {
        self.sites.iter()
    }

    fn find(&self, host: &str) -> Option<&S> {
        let place = self.find_in(&self.exact, host).or_else(|| {
            if self.below.is_empty() {
                return None;
            }
            // From the longest suffix to the shortest. An empty first label names nothing below a domain.
            let dots = host.bytes().enumerate().filter(|&(at, byte)| byte == b'.' && at > 0);
            dots.map(|(at, _)| &host[at + 1..]).find_map(|domain| self.find_in(&self.below, domain))
        })?;
        self.sites.get(place.site)
    }

    fn find_in<'t>(&self, table: &'t HashTable<Place>, host: &str) -> Option<&'t Place> {
        table.find(self.hasher.hash_one(host), |place| host_at(&self.sites, *place) == Some(host))
    }

    fn number(&self, name: &SiteName) -> Option<u32> {
        let is_it = |number: &u32| self.sites.get(*number).is_some_and(|site| site.name() == name);
        self.names.find(self.hasher.hash_one(name), is_it).copied()
    }

    /// The number of a site that comes, or is there.
    fn take_in(&mut self, site: &S) -> u32 {
        self.number(site.name()).unwrap_or_else(|| {
            let number = self.sites.add(site.clone());
            let hash = self.hasher.hash_one(site.name());
            let (sites, hasher) = (&self.sites, &self.hasher);
            let hash_of = |number: &u32| sites.get(*number).map_or(0, |site| hasher.hash_one(site.name()));
            self.names.insert_unique(hash, number, hash_of);
            number
        })
    }

    /// Forgets the hosts of a site.
    fn take_out(&mut self, number: u32) {
        let Self { sites, exact, below, hasher, .. } = self;
        let Some(site) = sites.get(number) else { return };
        for (index, host) in site.hosts().iter().enumerate() {
            let (table, host) = match host.strip_prefix(WILDCARD) {
                Some(domain) => (&mut *below, domain),
                None => (&mut *exact, &**host),
            };
            let is_it = |place: &Place| (place.site, place.host) == (number, index as u32);
            if let Ok(entry) = table.find_entry(hasher.hash_one(host), is_it) {
                entry.remove();
            }
        }
    }

    fn put_in(&mut self, host: &str, place: Place, site: &S) -> Result<(), TableError> {
        let Self { sites, exact, below, hasher, .. } = self;
        let (table, name) = match host.strip_prefix(WILDCARD) {
            Some(domain) => (below, domain),
            None => (exact, host),
        };
        if !is_normal(name) {
            return Err(TableError::NotAHost { site: site.name().clone(), host: host.to_owned() });
        }
        let hash_of = |place: &Place| host_at(sites, *place).map_or(0, |host| hasher.hash_one(host));
        match table.entry(hasher.hash_one(name), |place| host_at(sites, *place) == Some(name), hash_of) {
            Entry::Vacant(free) => {
                free.insert(place);
                Ok(())
            }
            // Written twice in one site: no contradiction.
            Entry::Occupied(taken) if taken.get().site == place.site => Ok(()),
            Entry::Occupied(taken) => Err(TableError::Conflict {
                host: host.to_owned(),
                first: sites.get(taken.get().site).unwrap_or(site).name().clone(),
                second: site.name().clone(),
            }),
        }
    }
}

/// The host at a place, without the `*.`.
fn host_at<S: Hosted>(sites: &Slots<S>, place: Place) -> Option<&str> {
    let host = sites.get(place.site)?.hosts().get(place.host as usize)?;
    Some(host.strip_prefix(WILDCARD).unwrap_or(host))
}

/// What stands before a domain for every name below it.
const WILDCARD: &str = "*.";

/// A host as a request names it, in the form that names are kept in: lower case, without port and trailing dot; `None` if
/// it can't be a name. `space` is for a copy, if there has to be one.
pub fn as_name<'a>(host: &'a str, space: &'a mut [u8; HOST_BYTES_MAX]) -> Option<&'a str> {
    let host = bare(host)?;
    // Browsers send lower case, so the copy is the exception.
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(host);
    }
    let lower = &mut space[..host.len()];
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

/// The host without its port and trailing dot; `None` if it can't be in any table.
fn bare(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        // An IPv6 address keeps its brackets; `end` was counted behind the first one.
        Some(end) => host.split_at(end + 2),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && name.len() <= HOST_BYTES_MAX).then_some(name)
}

/// Whether a configured host is written as it is looked for.
fn is_normal(host: &str) -> bool {
    bare(host) == Some(host)
        && !host.starts_with('.')
        && !host.bytes().any(|byte| byte == b'*' || byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests;
