//! Whether a backend is well: rise and fall over what probes and real traffic say of it.

/// What is known of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was seen yet.
    #[default]
    Unknown,
    /// It answers as it should.
    Well,
    /// It doesn't.
    Unwell,
}

/// The health of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Health {
    state: State,
    /// Results in a row that contradict `state`; it turns when they reach `rise` or `fall`.
    against: u32,
}

impl Health {
    /// Takes in one result. `rise` and `fall` are at least 1.
    pub fn observe(&mut self, well: bool, rise: u32, fall: u32) {
        let (agrees, enough, turned) = match (self.state, well) {
            (State::Well, true) | (State::Unwell, false) => (true, 0, self.state),
            (State::Unknown | State::Unwell, true) => (false, rise, State::Well),
            (State::Unknown | State::Well, false) => (false, fall, State::Unwell),
        };
        if agrees {
            self.against = 0;
            return;
        }
        // An unknown backend has one counter for two directions; a change of direction starts it anew only by
        // reaching neither bound, which makes a flapping newcomer unwell. That is the careful side.
        self.against += 1;
        if self.against >= enough {
            *self = Self { state: turned, against: 0 };
        }
    }

    /// What is known.
    pub fn state(self) -> State {
        self.state
    }

    /// It answers as it should.
    pub fn is_well(self) -> bool {
        self.state == State::Well
    }

    /// It is known not to answer as it should.
    pub fn is_unwell(self) -> bool {
        self.state == State::Unwell
    }

    /// A result contradicted what is known, and the verdict is still out: look again soon.
    pub fn is_doubtful(self) -> bool {
        self.against > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(results: &[bool], rise: u32, fall: u32) -> Health {
        let mut health = Health::default();
        for &well in results {
            health.observe(well, rise, fall);
        }
        health
    }

    #[test]
    fn a_backend_falls_only_after_fall_failures_in_a_row() {
        assert!(after(&[true, false], 1, 2).is_well());
        assert!(after(&[true, false, true, false], 1, 2).is_well());
        assert!(after(&[true, false, false], 1, 2).is_unwell());
    }

    #[test]
    fn a_backend_rises_only_after_rise_successes_in_a_row() {
        assert!(after(&[false, false, true], 2, 2).is_unwell());
        assert!(after(&[false, false, true, true], 2, 2).is_well());
    }

    #[test]
    fn a_contradiction_asks_for_another_look() {
        assert!(after(&[true, false], 1, 2).is_doubtful());
        assert!(!after(&[true, false, true], 1, 2).is_doubtful());
    }
}
