//! An instance of the application, by where it listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Where an instance of the application listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address<'a> {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(&'a Path),
}

/// One instance of the application, by its address.
///
/// Its text is what operators see and what pins are stored as: `127.0.0.1:2368`, `unix:/run/ghost.sock`, or, for
/// an instance that was found by resolving a name, `ghost-a:2368@10.0.0.5:2368`. Two backends are the same if
/// their texts are: a name that resolves elsewhere is another backend.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend(Kind);

/// There may be millions, each in many places, and nearly all are plain addresses: those take no memory of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// Its text is how the address is written.
    Plain(SocketAddrV4),
    Other(Arc<Other>),
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Other {
    text: Box<str>,
    /// `None` for a Unix socket, whose path is in the text.
    address: Option<SocketAddr>,
}

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

impl Backend {
    /// The instance that `name` (`host:port` as configured) resolved to.
    pub fn resolved(name: &str, address: SocketAddr) -> Self {
        Self::other(&format!("{name}@{address}"), Some(address))
    }

    fn other(text: &str, address: Option<SocketAddr>) -> Self {
        Self(Kind::Other(Arc::new(Other { text: text.into(), address })))
    }

    /// The name that it was resolved from, as configured.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Other(other) => {
                other.address.and_then(|_| other.text.rsplit_once('@')).map(|(name, _)| name)
            }
        }
    }

    /// The machine that it is on, as far as its address says.
    pub fn machine(&self) -> Option<IpAddr> {
        match self.address() {
            Address::Tcp(address) => Some(address.ip()),
            Address::Unix(_) => None,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> Address<'_> {
        match &self.0 {
            Kind::Plain(address) => Address::Tcp((*address).into()),
            Kind::Other(other) => match other.address {
                Some(address) => Address::Tcp(address),
                None => Address::Unix(Path::new(other.text.strip_prefix(UNIX).unwrap_or_default())),
            },
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Plain(address) => address.fmt(f),
            Kind::Other(other) => f.write_str(&other.text),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
        if let Some(path) = text.strip_prefix(UNIX) {
            return if Path::new(path).is_absolute() { Ok(Self::other(text, None)) } else { Err(error()) };
        }
        let address = text.rsplit_once('@').map_or(text, |(_, address)| address);
        Ok(match address.parse().map_err(|_| error())? {
            SocketAddr::V4(address) if address.to_string() == text => Self(Kind::Plain(address)),
            address => Self::other(text, Some(address)),
        })
    }
}
