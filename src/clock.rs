//! The coarse clock: good enough for deadlines of seconds, and free on the way of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two looks at the clock, and between two rounds of a worker.
pub const ROUND: Duration = Duration::from_millis(100);

/// A point in time, in tenths of a second since the process began; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Tick {
    /// Whether at least `timeout` has gone by since `earlier`.
    pub fn is_past(self, earlier: Self, timeout: Duration) -> bool {
        self >= earlier.and(timeout)
    }

    /// The first tick at which `timeout` has gone by since this one.
    pub fn and(self, timeout: Duration) -> Self {
        // One round is added, for this tick may have been almost over: a deadline is never early.
        let rounds = timeout.as_millis().div_ceil(ROUND.as_millis()) + 1;
        Self(self.0.saturating_add(u32::try_from(rounds).unwrap_or(u32::MAX)))
    }
}

/// What time it is, as of the last round. One a process: all its parts agree.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    now: Arc<AtomicU32>,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { start: Instant::now(), now: Arc::new(AtomicU32::new(1)) }
    }

    /// The time, as of the last [`Self::look`].
    pub fn now(&self) -> Tick {
        Tick(self.now.load(Ordering::Relaxed))
    }

    /// Looks at the real clock.
    pub fn look(&self) -> Tick {
        let rounds = u32::try_from(self.start.elapsed().as_millis() / ROUND.as_millis()).unwrap_or(u32::MAX);
        let now = rounds.saturating_add(1);
        self.now.fetch_max(now, Ordering::Relaxed);
        self.now()
    }
}
