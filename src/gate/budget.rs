//! What requests at all gates together may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::alike::Rooms;

/// How many requests may be held at all gates together, and how many are.
#[derive(Debug, Default)]
pub struct HoldBudget {
    held: AtomicUsize,
    max: AtomicUsize,
    /// For answers that do for more than one of them.
    rooms: Arc<Rooms>,
}

impl HoldBudget {
    /// A budget of `max` requests.
    pub fn new(max: usize) -> Self {
        Self { max: AtomicUsize::new(max), ..Self::default() }
    }

    /// From now on, `max` requests. Those held stay held.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Requests held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Where answers are kept that do for more than one of them.
    pub fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    pub(super) fn take(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let taken = self.held.fetch_add(1, Ordering::Relaxed) < max;
        if !taken {
            self.give_back();
        }
        taken
    }

    pub(super) fn give_back(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}
