//! The words of ghostpin, and every decision it takes.
//!
//! Nothing here reads a clock, starts a task, takes a lock, opens a socket or writes a log line. Each part takes
//! an input and returns what is to be done; the rooms around it do that and report back. So the same code is
//! run in production, explored by a model checker and replayed from a seed.

// The words above, enforced: clippy.toml lists what is meant.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admission;
pub mod fleet;
pub mod handoff;
pub mod health;
pub mod names;
pub mod orders;
pub mod release;
pub mod retry;
pub mod swarm;
pub mod table;
pub mod turns;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

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

/// Where an instance of the application listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// One instance of the application, by its address.
///
/// Its text is what operators see and what pins are stored as: `127.0.0.1:2368`, `unix:/run/ghost.sock`, or, for
/// an instance that was found by resolving a name, `ghost-a:2368@10.0.0.5:2368`. Two backends are the same if
/// their texts are: a name that resolves elsewhere is another backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    text: Arc<str>,
    address: Address,
}

impl Backend {
    /// The instance that `name` (`host:port` as configured) resolved to.
    pub fn resolved(name: &str, address: SocketAddr) -> Self {
        Self { text: format!("{name}@{address}").into(), address: Address::Tcp(address) }
    }

    /// The text that stands for this backend in pins, logs and answers.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name that it was resolved from, as configured.
    pub fn name(&self) -> Option<&str> {
        match self.address {
            Address::Tcp(_) => self.text.rsplit_once('@').map(|(name, _)| name),
            Address::Unix(_) => None,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a backend: write `IP:port`, `[IPv6]:port` or `unix:/path/of/the/socket`")]
pub struct NotABackend(String);

impl FromStr for Backend {
    type Err = NotABackend;

    fn from_str(text: &str) -> Result<Self, NotABackend> {
        let error = || NotABackend(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            if !path.is_absolute() {
                return Err(error());
            }
            return Ok(Self { text: text.into(), address: Address::Unix(path.to_owned()) });
        }
        let address = text.rsplit_once('@').map_or(text, |(_, address)| address);
        let address: SocketAddr = address.parse().map_err(|_| error())?;
        Ok(Self { text: text.into(), address: Address::Tcp(address) })
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
