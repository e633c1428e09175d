//! The line from those who decide to the worker threads. Workers answer through the gates: a lease that is gone.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::gate::SiteKey;

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End all requests of a site whose gate is shut.
    Cut(SiteKey),
    /// Drop the idle connections to a site's backend: its epoch is over.
    Purge(SiteKey),
    /// A stop is near: each connection's next answer is its last one, so that clients come again elsewhere before the
    /// door is shut.
    Farewell,
    /// Take no more connections, let those there are end, and return when they have, or after this time.
    Stop {
        /// That.
        timeout: Duration,
        /// How long gates are still waited for.
        held: Duration,
    },
}

/// All workers.
#[derive(Clone, Debug)]
pub struct Workers(Vec<mpsc::UnboundedSender<Order>>);

impl Workers {
    /// The workers at the other ends.
    pub fn new(orders: Vec<mpsc::UnboundedSender<Order>>) -> Self {
        Self(orders)
    }

    /// Tells all of them.
    pub fn tell(&self, order: Order) {
        for worker in &self.0 {
            // One that has ended has nothing left to be told about.
            let _ = worker.send(order);
        }
    }
}
