//! What happened in the whole fleet, in one order: what the laws are judged by.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    /// Where, if it was an edge.
    pub(crate) edge: Option<usize>,
    pub(crate) what: What,
}

/// An epoch of a site, and who answers in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Under {
    pub(crate) site: String,
    pub(crate) epoch: u64,
    pub(crate) backend: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A site's record was written.
    Written { under: Under, serves: bool },
    /// A gate lets in under this.
    Opened(Under),
    /// Requests are out under this epoch; `None`: no more, or the edge is over and can do nothing with them.
    Out { site: String, epoch: Option<u64> },
    /// A request was given to a backend.
    Handed(Under),
    /// It was given to the backend by another edge than the one that it came to.
    Carried(Under),
    /// The answer that comes next was asked for at that moment by another reader than the one who gets it.
    Shared { made: Duration, asked: Duration },
    /// Its answer was given to a reader, who had asked at that moment.
    Delivered { under: Under, asked: Duration },
    /// etcd has ended a lease.
    LeaseOver(i64),
    /// Something was done to the fleet on purpose.
    Fault(String),
    /// All faults are over: from here on, each of these edges is to serve each of these sites.
    Rest { edges: usize, sites: BTreeSet<String> },
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct History {
    start: Instant,
    events: RefCell<Vec<Event>>,
}

/// A site's record, as far as the laws look at it.
#[derive(Deserialize)]
struct Record {
    epoch: u64,
    backend: String,
    phase: String,
}

impl History {
    pub(crate) fn begin() -> Self {
        Self { start: Instant::now(), events: RefCell::default() }
    }

    /// Time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn tell(&self, edge: Option<usize>, what: What) {
        self.events.borrow_mut().push(Event { at: self.now(), edge, what });
    }

    /// A key was written, or deleted.
    pub(crate) fn tell_written(&self, key: &[u8], value: Option<&Vec<u8>>) {
        let Some(site) = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix("/ghostpin/sites/"))
        else {
            return;
        };
        let value = value.expect("a site's record is never deleted");
        let Record { epoch, backend, phase } = serde_json::from_slice(value).expect("a record");
        let under = Under { site: site.to_owned(), epoch, backend };
        self.tell(None, What::Written { under, serves: phase == "serve" });
    }

    pub(crate) fn take(&self) -> Vec<Event> {
        self.events.take()
    }

    /// Looks at all of it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&[Event]) -> T) -> T {
        look(&self.events.borrow())
    }
}
