//! Idle connections to backends: one stack a site, valid for one epoch.
//!
//! A connection that was made under an epoch is never used under another, and those of a fenced epoch are dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use super::link::Link;
use super::relay::WayBack;
use crate::clock::Tick;
use crate::core::{Backend, Epoch};
use crate::gate::SiteKey;
use foldhash::fast::RandomState;

/// Idle connections kept for one site in one worker.
const IDLE_MAX: usize = 256;

/// Whose connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// Those of a site's pinned backend.
    Pinned(SiteKey),
    /// Those of an upstream that is never pinned.
    Route(Backend),
}

/// What a connection can carry, and until when.
pub struct Idle {
    link: Link,
    since: Tick,
    /// The backend closes it after this time, less a margin; the configured time if it did not say.
    keep_alive: Duration,
}

#[derive(Default)]
struct Stack {
    epoch: Epoch,
    idle: Vec<Idle>,
}

/// The pool of one worker.
#[derive(Default)]
pub struct Pool {
    lines: RefCell<HashMap<Line, Stack, RandomState>>,
}

impl Pool {
    /// The connection that was used last and should still be good.
    pub fn take(&self, line: &Line, epoch: Epoch, now: Tick) -> Option<Link> {
        let mut lines = self.lines.borrow_mut();
        let stack = lines.get_mut(line).filter(|stack| stack.epoch == epoch)?;
        while let Some(mut idle) = stack.idle.pop() {
            if idle.is_good(now) {
                return Some(idle.link);
            }
        }
        None
    }

    /// Keeps a connection for later.
    pub fn put(&self, way_back: WayBack, now: Tick, link: Link) {
        let WayBack { line, epoch, keep_alive } = way_back;
        let mut lines = self.lines.borrow_mut();
        let stack = lines.entry(line).or_default();
        if stack.epoch < epoch {
            *stack = Stack { epoch, idle: Vec::new() };
        }
        if stack.epoch == epoch && stack.idle.len() < IDLE_MAX {
            stack.idle.push(Idle { link, since: now, keep_alive });
        }
    }

    /// Drops the connections of a site.
    pub fn purge(&self, site: SiteKey) {
        self.lines.borrow_mut().remove(&Line::Pinned(site));
    }

    /// Drops what is no longer good.
    pub fn sweep(&self, now: Tick) {
        self.lines.borrow_mut().retain(|_, stack| {
            stack.idle.retain_mut(|idle| idle.is_good(now));
            !stack.idle.is_empty()
        });
    }
}

impl Idle {
    fn is_good(&mut self, now: Tick) -> bool {
        !now.is_past(self.since, self.keep_alive) && self.link.is_idle()
    }
}
