//! Until when this process may act for its fleet: the one number that the control plane and all workers share about it.
//!
//! Alone, a process acts for ever. As one of many edges it acts until its lease in the store may be over, by a clock that
//! goes on while the machine sleeps. Those who let a request in, hand it over or deliver an answer look at it themselves:
//! a timer that is late must not keep a door open.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::broken::{Rule, awake, breaks};
use crate::core::fleet::Moment;

const FOR_EVER: u64 = u64::MAX;

/// A clock of one process.
type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// See the module's text.
pub struct Lifeline {
    until: AtomicU64,
    clock: Clock,
}

impl fmt::Debug for Lifeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifeline").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Lifeline {
    /// Of a process that is alone.
    pub fn for_ever() -> Self {
        Self { until: AtomicU64::new(FOR_EVER), clock: Arc::new(now) }
    }

    /// Of an edge that has no lease yet.
    pub fn over() -> Self {
        Self::over_by(now)
    }

    /// The same, by another clock than the machine's.
    pub fn over_by(clock: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self { until: AtomicU64::new(0), clock: Arc::new(clock) }
    }

    /// What time it is by the clock that this goes by.
    pub fn now(&self) -> Moment {
        (self.clock)()
    }

    /// From now on, until this moment.
    pub fn until(&self, moment: Moment) {
        let nanos = u64::try_from(moment.0.as_nanos()).unwrap_or(FOR_EVER - 1);
        self.until.store(nanos, Ordering::Release);
    }

    /// Whether that moment has passed.
    pub fn is_over(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != FOR_EVER && !breaks(Rule::TimerAlone) && self.now().0.as_nanos() >= u128::from(until)
    }
}

/// The time since the machine was started, sleep included.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let part = u32::try_from(time.tv_nsec).unwrap_or_default();
    awake(Moment(Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), part)))
}
