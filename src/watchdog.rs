//! Who watches the workers: a thread that has stopped turning its loop is told of, with the request that it is at.
//!
//! A worker beats ten times a second, however busy it is. It is asked four times a second; one that has been silent for a
//! second is stalled. It ends nothing by itself unless it was told to: a thread can't be ended, only the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Watchdog;
use crate::core::SiteName;
use crate::observe::logging::Logs;
use crate::observe::pulse::{Pulse, Request};
use crate::published::Reader;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Who is silent for so long is stalled: ten rounds.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// What is known of stalls, for metrics and `/readyz`.
#[derive(Debug, Default)]
pub struct Stalls {
    total: AtomicU64,
    now: AtomicU64,
}

impl Stalls {
    /// Workers that are stalled now.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Stalls since the process began.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// Something for the journal: its site, its kind, and what it says.
pub type Tell = Box<dyn Fn(SiteName, &'static str, String) + Send>;

/// Watches these workers on a thread of its own, as long as the process lives.
///
/// # Errors
/// No thread can be had.
pub fn start(
    pulses: Vec<Arc<Pulse>>,
    reader: Reader,
    policy: Watchdog,
    tell: Tell,
    logs: Logs,
) -> std::io::Result<Arc<Stalls>> {
    let stalls = Arc::new(Stalls::default());
    let dog = Dog { reader, policy, tell, logs, stalls: stalls.clone() };
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || dog.watch(&pulses))?;
    Ok(stalls)
}

/// One worker, as it was seen last.
#[derive(Clone, Debug, Default)]
struct Watched {
    beats: u64,
    silent: Duration,
    stalled: bool,
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// All is well, or nothing is new.
    Nothing,
    /// It has just been found stalled.
    Stalled,
    /// It is stalled as before.
    StillStalled,
    /// It goes on, and was silent for so long.
    GoesOn(Duration),
}

impl Watched {
    /// `gone` is the time since the last look.
    fn look(&mut self, beats: Option<u64>, gone: Duration) -> Seen {
        // One that has ended as it should is silent for good.
        if beats != Some(self.beats) {
            let silent = std::mem::take(&mut self.silent);
            self.beats = beats.unwrap_or(self.beats);
            return if std::mem::take(&mut self.stalled) { Seen::GoesOn(silent) } else { Seen::Nothing };
        }
        // When the whole machine has slept, or was too busy for anybody, this thread was silent too.
        self.silent += gone.min(2 * LOOK);
        match self.silent >= SILENCE_MAX {
            true if std::mem::replace(&mut self.stalled, true) => Seen::StillStalled,
            true => Seen::Stalled,
            false => Seen::Nothing,
        }
    }
}

struct Dog {
    reader: Reader,
    policy: Watchdog,
    tell: Tell,
    logs: Logs,
    stalls: Arc<Stalls>,
}

impl Dog {
    fn watch(mut self, pulses: &[Arc<Pulse>]) {
        let mut watched = vec![Watched::default(); pulses.len()];
        let mut last = Instant::now();
        loop {
            thread::sleep(LOOK);
            let gone = last.elapsed();
            last = Instant::now();
            for (number, (watched, pulse)) in watched.iter_mut().zip(pulses).enumerate() {
                match watched.look(pulse.beats(), gone) {
                    Seen::Nothing => {}
                    Seen::Stalled => {
                        self.stalls.total.fetch_add(1, Ordering::Relaxed);
                        self.stalls.now.fetch_add(1, Ordering::Relaxed);
                        self.report(number, watched.silent, pulse.request());
                    }
                    Seen::StillStalled => {}
                    Seen::GoesOn(silent) => {
                        self.stalls.now.fetch_sub(1, Ordering::Relaxed);
                        self.goes_on(number, silent);
                    }
                }
                if let Some(limit) = self.policy.restart_after.filter(|_| watched.stalled)
                    && watched.silent >= limit
                {
                    self.give_up(number, watched.silent);
                }
            }
        }
    }

    fn report(&mut self, worker: usize, silent: Duration, request: Option<Request>) {
        let ms = silent.as_millis() as u64;
        let Some(Request { method, host, path, id }) = request else {
            (self.tell)(
                SiteName::from("-"),
                "worker_stalled",
                format!("worker {worker} has stood still for {ms} ms, between requests"),
            );
            return tracing::error!(worker, stalled_ms = ms, "a worker stands still, between requests");
        };
        let site = self.reader.load().routes.lookup(&host).map(|site| site.name().clone());
        let site = site.unwrap_or_else(|| SiteName::from("-"));
        let note =
            format!("worker {worker} has stood still for {ms} ms, at {method} {host}{path}, request {id}");
        tracing::error!(
            worker,
            stalled_ms = ms,
            %method,
            %host,
            %path,
            site = site.as_str(),
            request_id = %id,
            "a worker stands still, and with it all of its connections"
        );
        (self.tell)(site, "worker_stalled", note);
    }

    fn goes_on(&self, worker: usize, silent: Duration) {
        let ms = silent.as_millis() as u64;
        tracing::warn!(worker, stalled_ms = ms, "a worker that stood still goes on");
        let note = format!("worker {worker} goes on after {ms} ms");
        (self.tell)(SiteName::from("-"), "worker_goes_on", note);
    }

    /// Ends the process in a way that whoever supervises it takes for a failure. Nothing can be tidied up but the logs: the
    /// thread that stands still may hold whatever that would need.
    fn give_up(&self, worker: usize, silent: Duration) -> ! {
        tracing::error!(
            worker,
            stalled_ms = silent.as_millis() as u64,
            "server.watchdog = \"restart\": a worker has stood still for longer than server.watchdog_limit; this process aborts"
        );
        self.logs.end();
        std::process::abort()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_beats_is_never_stalled() {
        let mut watched = Watched::default();
        for beats in 1..1_000 {
            assert_eq!(watched.look(Some(beats), LOOK), Seen::Nothing);
        }
    }

    #[test]
    fn a_stall_is_seen_once_within_two_seconds_and_its_end_is_told() {
        let mut watched = Watched::default();
        watched.look(Some(7), LOOK);
        let mut silent = LOOK;
        while watched.look(Some(7), LOOK) != Seen::Stalled {
            silent += LOOK;
        }
        // The last beat may have come just after a look.
        assert!(silent + 2 * LOOK < Duration::from_secs(2), "{silent:?}");
        assert_eq!(watched.look(Some(7), LOOK), Seen::StillStalled);
        assert_eq!(watched.look(Some(8), LOOK), Seen::GoesOn(silent + LOOK));
        assert_eq!(watched.look(Some(9), LOOK), Seen::Nothing);
    }

    #[test]
    fn a_machine_that_slept_has_stalled_nobody() {
        let mut watched = Watched::default();
        watched.look(Some(7), LOOK);
        assert_eq!(watched.look(Some(7), Duration::from_secs(3_600)), Seen::Nothing);
        assert_eq!(watched.look(Some(8), LOOK), Seen::Nothing);
    }

    #[test]
    fn a_worker_that_has_ended_is_not_waited_for() {
        let mut watched = Watched::default();
        watched.look(Some(7), LOOK);
        for _ in 0..100 {
            assert_eq!(watched.look(None, LOOK), Seen::Nothing);
        }
    }
}
