//! How fast held requests are let go: a backend that has just started is cold, and a herd would trample it.
//!
//! The window (requests let go and not yet answered) starts small and grows by one for each answer that comes
//! about as quickly as the best so far; it stands still while answers slow down, and is halved by a failure.

use std::time::Duration;

/// Requests let go at first, at least.
pub const WINDOW_AT_FIRST: u32 = 8;
/// Requests let go at first, at most.
const WINDOW_AT_FIRST_MAX: u32 = 64;
/// The largest window. Beyond this, pacing is no longer what protects a backend.
pub const WINDOW_MAX: u32 = 4096;
/// An answer slower than this many times the best one says that the backend is busy enough.
const SLOW: u32 = 3;
/// Answers faster than this are all the same: noise of the machine, not of the backend.
const NOISE: Duration = Duration::from_millis(5);

/// The window of one release.
#[derive(Clone, Debug)]
pub struct Pacer {
    window: u32,
    best: Option<Duration>,
}

impl Pacer {
    /// A window for a site that had `usual` requests under way when its gate was shut. Half of that is a fair guess at
    /// what it can bear: an application whose answers take long by nature needs many under way to serve its readers.
    pub fn new(usual: u32) -> Self {
        Self { window: (usual / 2).clamp(WINDOW_AT_FIRST, WINDOW_AT_FIRST_MAX), best: None }
    }

    /// Requests that may be under way at once.
    pub fn window(&self) -> u32 {
        self.window
    }

    /// A request was answered (its head came) after `took`.
    pub fn answered(&mut self, took: Duration) {
        let took = took.max(NOISE);
        let best = self.best.map_or(took, |best| best.min(took));
        self.best = Some(best);
        if took <= best * SLOW {
            self.window = (self.window + 1).min(WINDOW_MAX);
        }
    }

    /// A request failed, or was answered that the backend is too busy.
    pub fn failed(&mut self) {
        self.window = (self.window / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_window_grows_while_the_backend_keeps_up() {
        let mut pacer = Pacer::new(0);
        for _ in 0..100 {
            pacer.answered(20 * MS);
        }
        assert_eq!(pacer.window(), WINDOW_AT_FIRST + 100);
    }

    #[test]
    fn the_window_stands_still_when_answers_slow_down() {
        let mut pacer = Pacer::new(0);
        pacer.answered(20 * MS);
        for _ in 0..100 {
            pacer.answered(100 * MS);
        }
        assert_eq!(pacer.window(), WINDOW_AT_FIRST + 1);
    }

    #[test]
    fn a_site_with_many_requests_under_way_starts_with_a_larger_window() {
        assert_eq!(Pacer::new(0).window(), WINDOW_AT_FIRST);
        assert_eq!(Pacer::new(60).window(), 30);
        assert_eq!(Pacer::new(100_000).window(), WINDOW_AT_FIRST_MAX);
    }

    #[test]
    fn failures_halve_the_window_but_never_close_it() {
        let mut pacer = Pacer::new(0);
        for _ in 0..10 {
            pacer.failed();
        }
        assert_eq!(pacer.window(), 1);
    }
}
