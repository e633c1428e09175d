//! What is explored: how much may go wrong, and with which shell around the core.

use std::time::Duration;

use ghostpin::core::Backend;
use ghostpin::core::handoff::{HookPolicy, Policy, WarmStandby};

/// One bounded world. The budgets are of what the world does by itself; what the proxy does has no budget.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    /// The list of candidates on a first start, by number; then those that a reload may bring.
    pub(crate) lists: Vec<Vec<u8>>,
    /// Which backends are well at the beginning.
    pub(crate) well: Vec<bool>,
    pub(crate) requests: usize,
    /// Those that come to a process which takes over.
    pub(crate) requests_of_heir: usize,
    pub(crate) wishes: Vec<Wanted>,
    pub(crate) budget: Budget,
    /// Instances only run if a hook has started them, so never two of them.
    pub(crate) alone: bool,
    pub(crate) shell: Shell,
}

/// What may be wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    MoveTo(u8),
    Hold,
    Release,
}

/// How often something may still happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// A backend dies, or is there again, by itself.
    pub(crate) turns: u8,
    /// A backend that is down refuses a connection, rather than leaving it hanging.
    pub(crate) refusals: u8,
    pub(crate) wishes: u8,
    pub(crate) crashes: u8,
    pub(crate) commits_failing: u8,
    pub(crate) hooks_failing: u8,
    /// A timer runs out although something else could still happen before it.
    pub(crate) early_timers: u8,
    /// The site is configured anew (with the next list), or retired.
    pub(crate) reloads: u8,
    pub(crate) retirements: u8,
    /// Another process takes over,
    pub(crate) upgrades: u8,
    /// or is found to be no good when it should.
    pub(crate) failing_heirs: u8,
}

/// The shell around the core: the right one, or one with a well-known mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Right,
    /// A request reads the backend in one step and is counted in another.
    ReadThenCount,
    /// The gate is taken for fenced as soon as it is shut.
    ShutIsFenced,
    /// Leases are taken for gone as soon as they are told to end.
    CutIsGone,
    /// The gate is opened while the pin is still on its way to the disk.
    OpenBeforeDurable,
    /// Who leaves last reports the generation that it finds, without a second look at the door.
    NoSecondLook,
    /// Who was counted at a shut door takes it back in silence, as if he had never been the last to leave.
    SilentKnockers,
    /// A request shuts the gate for a refused connection, and tells nobody.
    TellsNobody,
    /// The first in the list gets the pin again whenever it is well.
    FailBack,
    /// A fence is taken for complete when the heir's own leases are gone.
    ElderIsForgotten,
    /// An elder that has ended is waited for.
    WaitsForTheDead,
    /// The elder's gate is not opened again.
    ElderStaysShut,
    /// A process hands over with reports of its gate that it has not taken in.
    HandsOverInTheMiddle,
}

/// A policy with nothing special about it.
pub(crate) fn plain() -> Policy {
    Policy {
        auto: true,
        warm_standby: WarmStandby::Allow,
        single_instance: true,
        fence_hook: None,
        start_hook: None,
        rise: 1,
        fall: 1,
        drain_timeout: Duration::from_secs(30),
        prove_timeout: Duration::from_secs(60),
    }
}

pub(crate) const REQUIRED: Option<HookPolicy> = Some(HookPolicy { required: true });

impl Scenario {
    /// Two backends, both well, and nothing happens.
    pub(crate) fn quiet(name: &'static str) -> Self {
        Self {
            name,
            policy: plain(),
            lists: vec![vec![0, 1]],
            well: vec![true, true],
            requests: 2,
            requests_of_heir: 1,
            wishes: vec![],
            budget: Budget::default(),
            alone: false,
            shell: Shell::Right,
        }
    }

    pub(crate) fn candidates(&self, list: usize) -> Vec<Backend> {
        self.lists[list].iter().copied().map(backend).collect()
    }

    pub(crate) fn with(mut self, shell: Shell) -> Self {
        self.shell = shell;
        self
    }
}

pub(crate) fn backend(number: u8) -> Backend {
    const TEXTS: [&str; 3] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
    TEXTS[usize::from(number)].parse().expect("an address")
}
