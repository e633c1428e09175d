//! Requests: what they do at the gate, one atomic step at a time.

use ghostpin::core::Epoch;
use ghostpin::core::admission::{ONE_LEASE, Word};

use super::laws::Law;
use super::scenario::{Scenario, Shell};
use super::world::{Message, World, number};

/// A request, from its arrival to its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Request {
    NotYet,
    /// It was counted at a shut door, and has yet to take that back.
    Knocking,
    Held,
    /// Only in a broken shell: it has read the epoch, and is not counted yet.
    HasRead(Epoch),
    Leased(Epoch),
    /// It has shut the gate, and has yet to tell.
    Suspects(Epoch),
    HandedOver(Epoch),
    Answered(Epoch),
    Done,
}

impl Request {
    /// The epoch whose backend it may be using.
    pub(crate) fn active(self) -> Option<Epoch> {
        match self {
            Self::Leased(epoch) | Self::Suspects(epoch) | Self::HandedOver(epoch) | Self::Answered(epoch) => {
                Some(epoch)
            }
            _ => None,
        }
    }
}

impl World {
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Request> {
        let mut kinds = self.requests.clone();
        kinds.dedup();
        kinds.into_iter()
    }

    pub(crate) fn becomes(&mut self, from: Request, to: Request) {
        let at = self.requests.iter().position(|r| *r == from).expect("a request in that state");
        self.requests[at] = to;
        self.requests.sort_unstable();
    }

    pub(crate) fn goes_on(&self, request: Request) -> bool {
        match request {
            Request::Knocking | Request::HasRead(_) | Request::Leased(_) | Request::Suspects(_) => true,
            Request::Held => self.gate.releasing || self.gate.lets_in(),
            Request::HandedOver(epoch) | Request::Answered(epoch) => self.is_cut(epoch),
            Request::NotYet | Request::Done => false,
        }
    }

    pub(crate) fn is_cut(&self, epoch: Epoch) -> bool {
        self.gate.cut.is_some_and(|cut| epoch <= cut)
    }

    pub(crate) fn is_pinned_down(&self) -> bool {
        self.gate.pin.as_ref().is_some_and(|pin| !self.up[usize::from(number(&pin.backend))])
    }

    pub(crate) fn arrive(&mut self, scenario: &Scenario) {
        let to = match self.gate.epoch().filter(|_| self.gate.lets_in()) {
            Some(epoch) if scenario.shell == Shell::ReadThenCount => Request::HasRead(epoch),
            _ => self.gate.add_one().map_or(Request::Knocking, Request::Leased),
        };
        self.becomes(Request::NotYet, to);
    }

    pub(crate) fn go_on(&mut self, scenario: &Scenario, request: Request) {
        let to = match request {
            Request::Knocking => {
                let looking = self.gate.about_to_report;
                self.gate.take_one_off();
                if scenario.shell == Shell::SilentKnockers {
                    self.gate.about_to_report = looking;
                }
                Request::Held
            }
            Request::Held if self.gate.releasing => {
                Request::Leased(self.gate.let_one_go().expect("a gate that was opened has a pin"))
            }
            Request::Held => match self.gate.epoch() {
                Some(epoch) if scenario.shell == Shell::ReadThenCount => Request::HasRead(epoch),
                _ => self.gate.add_one().map_or(Request::Knocking, Request::Leased),
            },
            Request::HasRead(epoch) => {
                self.gate.word = Word(self.gate.word.0 + ONE_LEASE);
                Request::Leased(epoch)
            }
            Request::Leased(epoch) => {
                // The backend is read only now; that it is still the one the lease was counted for is a law.
                if self.gate.epoch() != Some(epoch) {
                    self.seen.breaks(Law::OneBackend);
                }
                Request::HandedOver(epoch)
            }
            Request::Suspects(epoch) => {
                if scenario.shell != Shell::TellsNobody {
                    self.post(Some(Message::Suspected(epoch)));
                }
                self.gate.take_one_off();
                Request::Held
            }
            Request::HandedOver(_) | Request::Answered(_) => {
                self.gate.take_one_off();
                Request::Done
            }
            Request::NotYet | Request::Done => unreachable!("{request:?} does nothing by itself"),
        };
        self.becomes(request, to);
    }
}
