//! The instances behind the edges: each is up, slow, closed or frozen, and may be out of reach of an edge.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use super::changing::Changing;
use super::dice::Dice;

/// How an instance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Up,
    /// It takes its time.
    Slow,
    /// Nobody listens there.
    Closed,
    /// Its connections are taken by the kernel, and nobody answers.
    Frozen,
}

/// It refuses connections, or has closed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// See the module's text.
pub(crate) struct Backends {
    /// Those of which there is anything to say.
    states: RefCell<BTreeMap<String, State>>,
    unreachable: RefCell<BTreeSet<(usize, String)>>,
    changes: Changing<u64>,
    dice: RefCell<Dice>,
}

/// The machine that an instance is on.
fn machine(backend: &str) -> &str {
    backend.split_once(':').map_or(backend, |(machine, _)| machine)
}

impl Backends {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            states: RefCell::default(),
            unreachable: RefCell::default(),
            changes: Changing::new(0),
            dice: RefCell::new(dice),
        }
    }

    pub(crate) fn set(&self, backend: &str, state: State) {
        self.states.borrow_mut().insert(backend.to_owned(), state);
        self.changes.set(self.changes.get() + 1);
    }

    pub(crate) fn set_reach(&self, edge: usize, machine: &str, reaches: bool) {
        let pair = (edge, machine.to_owned());
        match reaches {
            true => self.unreachable.borrow_mut().remove(&pair),
            false => self.unreachable.borrow_mut().insert(pair),
        };
        self.changes.set(self.changes.get() + 1);
    }

    pub(crate) fn heal(&self) {
        self.states.borrow_mut().clear();
        self.unreachable.borrow_mut().clear();
        self.changes.set(self.changes.get() + 1);
    }

    /// `None`: nothing comes back from there.
    fn state(&self, edge: usize, backend: &str) -> Option<State> {
        let is_cut = self.unreachable.borrow().contains(&(edge, machine(backend).to_owned()));
        (!is_cut).then(|| self.states.borrow().get(backend).copied().unwrap_or_default())
    }

    fn roll(&self, milliseconds: usize) -> Duration {
        Duration::from_millis(self.dice.borrow_mut().roll(milliseconds) as u64)
    }

    /// Connects; takes as long as the instance is out of reach.
    pub(crate) async fn connect(&self, edge: usize, backend: &str) -> Result<(), Refused> {
        loop {
            sleep(self.roll(3)).await;
            let seen = self.changes.get();
            match self.state(edge, backend) {
                Some(State::Closed) => return Err(Refused),
                Some(_) => return Ok(()),
                None => self.changes.differs_from(seen).await,
            }
        }
    }

    /// Waits for the answer to what it was asked.
    pub(crate) async fn answer(&self, edge: usize, backend: &str) -> Result<(), Refused> {
        let usual = if self.state(edge, backend) == Some(State::Slow) { 800 } else { 60 };
        sleep(self.roll(usual)).await;
        loop {
            let seen = self.changes.get();
            match self.state(edge, backend) {
                Some(State::Up | State::Slow) => return Ok(()),
                Some(State::Closed) => return Err(Refused),
                Some(State::Frozen) | None => self.changes.differs_from(seen).await,
            }
        }
    }
}
