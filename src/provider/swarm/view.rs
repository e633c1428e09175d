//! The swarm as operators see it.

use serde::{Deserialize, Serialize};

use crate::provider::merge::ServiceView;

/// What is known of the swarm, and from whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwarmView {
    /// The managers, in the order of the configuration.
    pub managers: Vec<ManagerView>,
    /// The newest index of what is believed; 0 before the first answer.
    pub index: u64,
    /// How old the last answer is that was believed, in milliseconds; `None` before the first one.
    pub age_ms: Option<u64>,
    /// Why what is wanted was not put in force, if it wasn't.
    pub error: Option<String>,
    /// Turns that ended with an answer that was believed.
    pub answers: u64,
    /// Answers that were not believed, for they were old or their manager was cut off.
    pub refused: u64,
    /// Managers that did not answer, each time that they were asked.
    pub failures: u64,
    /// The services with labels for ghostpin, those first that were created first.
    pub services: Vec<ServiceView>,
}

/// One manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManagerView {
    /// As configured.
    pub address: String,
    /// `answers`, `refused` (it answers, and is not believed), `fails`, or `unknown` before it was asked.
    pub state: String,
    /// Why, if it doesn't simply answer.
    pub why: String,
    /// How long ago it was asked last, in milliseconds; `None` if it never was.
    pub asked_ms: Option<u64>,
}

impl SwarmView {
    /// Somebody has answered and is believed, as far as the last turn tells; or nobody has been asked yet.
    pub fn is_heard(&self) -> bool {
        let are = |state: &str| self.managers.iter().filter(|manager| manager.state == state).count();
        are("answers") > 0 || are("unknown") == self.managers.len()
    }

    /// Services that have a site; that have none, or whose task can't be reached; in conflict.
    pub fn counts(&self) -> [usize; 3] {
        let count = |is: fn(&&ServiceView) -> bool| self.services.iter().filter(is).count();
        [
            count(|one| !one.site.is_empty()),
            count(|one| !one.problems.is_empty()),
            count(|one| !one.rivals.is_empty()),
        ]
    }
}
