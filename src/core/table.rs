//! Which site a host belongs to.
//!
//! A [`RouteTable`] is built whole from the configuration and never changes: a reload builds another one. It knows
//! nothing about what a site is (`S` is whatever the caller wants to find), and it refuses to be built if two
//! sites claim the same host, because then the order of the file would decide who answers.

#![allow(clippy::disallowed_types, reason = "its hash maps are only looked up: their order decides nothing")]

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use super::SiteName;

/// Longest host that can be in a table, in bytes: the longest name that DNS allows.
pub const HOST_BYTES_MAX: usize = 255;

/// Host to site. `S` is kept once a site, however many hosts it has.
#[derive(Debug)]
pub struct RouteTable<S> {
    sites: Vec<S>,
    /// Host to its index in `sites`. Only ever looked up, so that its order decides nothing.
    exact: HashMap<Box<str>, usize, RandomState>,
    /// Domain, without the `*.`, to the site of every name below it.
    below: HashMap<Box<str>, usize, RandomState>,
}

impl<S> Default for RouteTable<S> {
    fn default() -> Self {
        Self { sites: Vec::new(), exact: HashMap::default(), below: HashMap::default() }
    }
}

/// Why a table could not be built.
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
    #[error("site `{site}`: `{host}` is not a host: write `name.example` or `*.name.example`")]
    NotAHost {
        /// The site.
        site: SiteName,
        /// The text.
        host: String,
    },
}

impl<S> RouteTable<S> {
    /// Builds the table of these sites: their names, their hosts, and what to find under them.
    ///
    /// # Errors
    /// The first host that two sites claim, or that is no host.
    pub fn build<'a>(sites: impl Iterator<Item = (SiteName, &'a [Box<str>], S)>) -> Result<Self, TableError> {
        let mut table = Self { sites: Vec::new(), exact: HashMap::default(), below: HashMap::default() };
        // Only to name both sides of a conflict; gone when the table is built.
        let mut names: Vec<SiteName> = Vec::new();
        for (name, hosts, site) in sites {
            let index = table.sites.len();
            for host in hosts {
                let (map, key) = match host.strip_prefix("*.") {
                    Some(domain) => (&mut table.below, normal(domain)),
                    None => (&mut table.exact, normal(host)),
                };
                let key =
                    key.ok_or_else(|| TableError::NotAHost { site: name.clone(), host: host.to_string() })?;
                match map.entry(key) {
                    Entry::Vacant(free) => {
                        free.insert(index);
                    }
                    // Written twice in one site: no contradiction.
                    Entry::Occupied(taken) if *taken.get() == index => {}
                    Entry::Occupied(taken) => {
                        return Err(TableError::Conflict {
                            host: host.to_ascii_lowercase(),
                            first: names[*taken.get()].clone(),
                            second: name,
                        });
                    }
                }
            }
            table.sites.push(site);
            names.push(name);
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

    /// What was given for each site, in the order of building.
    pub fn sites(&self) -> &[S] {
        &self.sites
    }

    fn find(&self, host: &str) -> Option<&S> {
        let index = self.exact.get(host).or_else(|| {
            if self.below.is_empty() {
                return None;
            }
            // From the longest suffix to the shortest. An empty first label names nothing below a domain.
            let dots = host.bytes().enumerate().filter(|&(at, byte)| byte == b'.' && at > 0);
            dots.map(|(at, _)| &host[at + 1..]).find_map(|domain| self.below.get(domain))
        })?;
        Some(&self.sites[*index])
    }
}

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

/// A configured host in the form that `find` looks for.
fn normal(host: &str) -> Option<Box<str>> {
    let name = bare(host)?;
    if name.contains('*') || name.starts_with('.') {
        return None;
    }
    Some(name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests;
