//! Until when this process may act for its fleet: the one number that the control plane and all workers share about it.
//!
//! Alone, a process acts for ever. As one of many edges it acts until its lease in the store may be over, by a clock that
//! goes on while the machine sleeps. Those who let a request in, hand it over or deliver an answer look at it themselves:
//! a timer that is late must not keep a door open.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::broken::{Rule, awake, breaks};
use crate::core::fleet::Moment;

const FOR_EVER: u64 = u64::MAX;

/// See the module's text.
#[derive(Debug)]
pub struct Lifeline(AtomicU64);

impl Lifeline {
    /// Of a process that is alone.
    pub fn for_ever() -> Self {
        Self(AtomicU64::new(FOR_EVER))
    }

    /// Of an edge that has no lease yet.
    pub fn over() -> Self {
        Self(AtomicU64::new(0))
    }

    /// From now on, until this moment.
    pub fn until(&self, moment: Moment) {
        let nanos = u64::try_from(moment.0.as_nanos()).unwrap_or(FOR_EVER - 1);
        self.0.store(nanos, Ordering::Release);
    }

    /// Whether that moment has passed.
    pub fn is_over(&self) -> bool {
        let until = self.0.load(Ordering::Acquire);
        until != FOR_EVER && !breaks(Rule::TimerAlone) && now().0.as_nanos() >= u128::from(until)
    }
}

/// The time since the machine was started, sleep included.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let part = u32::try_from(time.tv_nsec).unwrap_or_default();
    awake(Moment(Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), part)))
}
