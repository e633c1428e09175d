//! Rules of the fleet that a build with the feature `broken` breaks on purpose: whether the runs under faults would
//! notice is found out that way. In every other build, no rule can be broken, and nothing of this is left. A thread can be
//! made to stand still in every build with debug assertions, as tests have; in a release nothing is left of that either.

use crate::core::fleet::Moment;

/// A rule, named by what a process does that breaks it. The same mistakes are made in the shells of `tests/fleet_model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rule {
    /// The controller takes an edge's word that nothing is pending for any fence, whatever the edge has applied.
    IgnoresWatermarks,
    /// The edge tells what it has applied, and not which sites still have leases.
    TellsNoPending,
    /// A lease is counted from when the answer came.
    CountsFromTheAnswer,
    /// Any answer is taken for the one to the last keep-alive that was sent.
    CountsAnyAnswer,
    /// The controller's writes replace whatever stands.
    NoGuard,
    /// The list is read before the key is written.
    ListsFirst,
    /// A fence is judged by the edges that were known before it was written.
    JudgesByAnOlderView,
    /// A list from a member that lags is taken for a new one.
    ListsFromALaggard,
    /// What is past the deadline is stopped by a timer alone.
    TimerAlone,
    /// A head is delivered without another look at the clock and the gate.
    HeadUnchecked,
    /// The clock stands still while the machine sleeps.
    ClockStops,
    /// A new life takes the key of the one before for its own.
    ReusesTheKey,
    /// A record is deleted with its site.
    ForgetsTheEpoch,
    /// An answer to a keep-alive is waited for, however late it is. No mistake by itself: it takes away what stops another.
    WaitsForTheAnswer,
}

#[cfg(feature = "broken")]
pub use chosen::{awake, breaks};

/// Whether this process breaks it: no.
#[cfg(not(feature = "broken"))]
#[inline(always)]
pub const fn breaks(_: Rule) -> bool {
    false
}

/// What time it is, sleep included.
#[cfg(not(feature = "broken"))]
#[inline(always)]
pub const fn awake(now: Moment) -> Moment {
    now
}

/// Stands still, with the whole thread, at a request for `/stall`, for as long as the file is there that
/// `GHOSTPIN_STALL` names. Builds for tests alone can do so.
#[cfg(debug_assertions)]
pub fn stall(path: &str) {
    static FILE: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("GHOSTPIN_STALL").map(Into::into));
    if let Some(file) = file.as_ref().filter(|_| path == "/stall") {
        while file.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn stall(_: &str) {}

#[cfg(feature = "broken")]
mod chosen {
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use clap::ValueEnum;

    use super::{Moment, Rule};

    /// The variable that names the rules, with commas between them.
    const CHOICE: &str = "GHOSTPIN_BROKEN";
    /// Nobody has asked for the time for so long: then the process slept. A fleet's edge asks ten times a second.
    const SLEEP: Duration = Duration::from_millis(700);

    /// Whether this process breaks it.
    pub fn breaks(rule: Rule) -> bool {
        static CHOSEN: OnceLock<Vec<Rule>> = OnceLock::new();
        let choose = || {
            let chosen = std::env::var(CHOICE).unwrap_or_default();
            let rules = chosen.split(',').filter(|name| !name.is_empty());
            let rules: Result<Vec<Rule>, String> = rules.map(|name| Rule::from_str(name, false)).collect();
            let rules = rules.unwrap_or_else(|name| panic!("{CHOICE}: no rule is called `{name}`"));
            tracing::error!(?rules, "this build is for tests: it breaks rules on purpose");
            rules
        };
        CHOSEN.get_or_init(choose).contains(&rule)
    }

    /// What time it is by a clock that stands still while the machine sleeps, if that rule is broken. No test can have its
    /// machine sleep: a process that is stopped (SIGSTOP) stands for it, and this clock doesn't count what it was stopped
    /// for.
    pub fn awake(now: Moment) -> Moment {
        /// When the time was asked for last, and how much was slept.
        static LAST: Mutex<(Moment, Duration)> = Mutex::new((Moment(Duration::ZERO), Duration::ZERO));
        if !breaks(Rule::ClockStops) {
            return now;
        }
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, slept) = &mut *last;
        let gone = now.since(*before);
        if gone >= SLEEP && *before > Moment::default() {
            *slept += gone;
        }
        *before = now.max(*before);
        now.minus(*slept)
    }
}
