//! The names that sites have: the only ones that are ever ordered.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest name that a certificate may have, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// Longest part of it, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// How a name is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// A site has it among its hosts.
    Exact,
    /// A site has every name below a domain, and this is one.
    Wildcard,
}

/// The hosts of all sites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    exact: BTreeSet<Arc<str>>,
    /// Domains without their `*.`.
    below: BTreeSet<Arc<str>>,
}

impl Served {
    /// From exact hosts, and from wildcard hosts with or without their `*.`, all in lower case.
    pub fn new<T: AsRef<str>>(
        exact: impl IntoIterator<Item = T>,
        wildcards: impl IntoIterator<Item = T>,
    ) -> Self {
        let domain = |host: &str| Arc::from(host.strip_prefix("*.").unwrap_or(host));
        Self {
            exact: exact.into_iter().map(|host| Arc::from(host.as_ref())).collect(),
            below: wildcards.into_iter().map(|host| domain(host.as_ref())).collect(),
        }
    }

    /// How `name`, in lower case, is served, if it is.
    pub fn coverage(&self, name: &str) -> Option<Coverage> {
        if self.exact.contains(name) {
            return Some(Coverage::Exact);
        }
        if self.below.is_empty() {
            return None;
        }
        let domains = name.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| &name[at + 1..]);
        let mut served = domains.filter(|domain| self.below.contains(*domain));
        served.next().map(|_| Coverage::Wildcard)
    }

    /// All exact hosts.
    pub(super) fn exact(&self) -> impl Iterator<Item = &Arc<str>> {
        self.exact.iter()
    }
}

/// Whether an authority could take this for a name: to ask for `localhost` or an address costs an order and gets nothing.
pub fn is_orderable(name: &str) -> bool {
    let fits = |label: &str| {
        let ends = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = label.as_bytes();
        bytes.len() <= LABEL_BYTES_MAX
            && bytes.first().is_some_and(|byte| ends(*byte))
            && bytes.last().is_some_and(|byte| ends(*byte))
            && bytes.iter().all(|byte| ends(*byte) || *byte == b'-')
    };
    let top = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_BYTES_MAX
        && name.contains('.')
        && name.split('.').all(fits)
        && !top.bytes().all(|byte| byte.is_ascii_digit())
}
