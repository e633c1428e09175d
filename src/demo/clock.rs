//! Moments that several processes on one machine agree on.
//!
//! Readers and stand-in applications are separate processes, and the question "did these two overlap?" needs one
//! clock for all of them: `CLOCK_MONOTONIC`. Nothing here is a time of day, and no moment means anything after
//! the machine has been restarted.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        Self(tv_sec.unsigned_abs() * 1_000_000_000 + tv_nsec.unsigned_abs())
    }

    /// The time from `earlier` to this moment; zero if `earlier` is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

/// Moments at a fixed rate, each told within some tens of microseconds of its being reached.
///
/// The runtime's own timers are rounded up to whole milliseconds, which would show up in every latency that is
/// counted from an intended moment; so a thread of its own sleeps.
#[derive(Debug)]
pub struct Pace(UnboundedReceiver<Moment>);

impl Pace {
    /// `count` moments, `rate` a second (at least 1), the first of them now.
    pub fn start(rate: u32, count: u64) -> Self {
        let (sender, receiver) = unbounded_channel();
        let first = Moment::now();
        std::thread::spawn(move || {
            for number in 0..count {
                let moment = first + Duration::from_secs(1).mul_f64(number as f64 / f64::from(rate.max(1)));
                std::thread::sleep(moment.since(Moment::now()));
                if sender.send(moment).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next moment, when it has been reached; none after the last.
    pub async fn next(&mut self) -> Option<Moment> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pace_is_never_early_and_leaves_nothing_out() {
        let mut pace = Pace::start(2_000, 20);
        let mut moments = Vec::new();
        while let Some(moment) = pace.next().await {
            assert!(Moment::now() >= moment);
            moments.push(moment);
        }
        assert_eq!(moments.len(), 20);
        assert!(moments.windows(2).all(|pair| pair[1].since(pair[0]) == Duration::from_micros(500)));
    }

    #[test]
    fn the_time_since_a_later_moment_is_zero() {
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(9).since(Moment(5)), Duration::from_nanos(4));
    }
}
