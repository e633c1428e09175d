//! The words of ghostpin, and every decision it takes.
//!
//! Nothing here reads a clock, starts a task, takes a lock, opens a socket or writes a log line. Each part takes
//! an input and returns what is to be done; the rooms around it do that and report back. So the same code is
//! run in production, explored by a model checker and replayed from a seed.

// The words above, enforced: clippy.toml lists what is meant.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admission;
mod backend;
pub mod canary;
pub mod fleet;
pub mod guard;
pub mod handoff;
pub mod health;
pub mod heir;
pub mod names;
pub mod orders;
pub mod release;
pub mod retry;
pub mod swarm;
pub mod table;
pub mod turns;

use std::fmt;
use std::sync::Arc;

pub use backend::{Address, Backend, NotABackend};

/// The name of a site: a set of hostnames served by one application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(Arc<str>);

impl SiteName {
    /// The name as the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SiteName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number of a site that only grows; every pin has its own. It is the fencing token of the site.
///
/// 0 stands for "never pinned".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that follows this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who answers for a site, and since which epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pin {
    /// The epoch of this pin.
    pub epoch: Epoch,
    /// The one backend that is given requests under it.
    pub backend: Backend,
}
