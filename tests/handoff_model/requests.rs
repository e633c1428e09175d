//! A process, as its requests see it: what they do at the gate, one atomic step at a time.

use ghostpin::core::Epoch;
use ghostpin::core::admission::{ONE_LEASE, Word};

use super::gate::Gate;
use super::laws::{Law, Seen};
use super::scenario::Shell;
use super::world::{Message, number};

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

/// A gate, and those who come to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) gate: Gate,
    /// Sorted, for they are all alike.
    pub(crate) requests: Vec<Request>,
}

/// What may happen at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    // What comes sooner or later, whatever the world does.
    /// The request takes its next step.
    GoesOn(Request),
    LooksAgain,
    OpensDoor,
    // What can't be counted on.
    Arrives,
    Refuses(Request),
    Answers(Request),
    Ends(Request),
}

impl Process {
    pub(crate) fn new(requests: usize) -> Self {
        Self { gate: Gate::NEW, requests: vec![Request::NotYet; requests] }
    }

    pub(crate) fn own_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend(self.kinds().filter(|request| self.goes_on(*request)).map(Step::GoesOn));
        if self.gate.about_to_report > 0 {
            steps.push(Step::LooksAgain);
        }
        if self.gate.releasing && !self.requests.contains(&Request::Held) {
            steps.push(Step::OpensDoor);
        }
        steps
    }

    /// `refuses`: the backends that are down may refuse a connection, rather than leaving it hanging.
    pub(crate) fn other_steps(&self, up: &[bool], refuses: bool) -> Vec<Step> {
        let pinned = self.gate.pin.as_ref().map(|pin| usize::from(number(&pin.backend)));
        let refuses = refuses && pinned.is_some_and(|pinned| !up[pinned]);
        let of = |request| match request {
            Request::NotYet => Some(Step::Arrives),
            Request::Leased(_) if refuses => Some(Step::Refuses(request)),
            Request::HandedOver(_) => Some(Step::Answers(request)),
            Request::Answered(epoch) if !self.is_cut(epoch) => Some(Step::Ends(request)),
            _ => None,
        };
        self.kinds().filter_map(of).collect()
    }

    /// Returns what is reported to whoever decides.
    pub(crate) fn takes(&mut self, step: Step, shell: Shell, seen: &mut Seen) -> Option<Message> {
        match step {
            Step::GoesOn(request) => return self.go_on(shell, request, seen),
            Step::LooksAgain => {
                self.gate.about_to_report -= 1;
                let report = match (shell, self.gate.leaving) {
                    (Shell::NoSecondLook, generation) => generation,
                    _ => self.gate.look_again(),
                };
                return report.map(Message::Left);
            }
            Step::OpensDoor => self.gate.open_door_behind_the_last(),
            Step::Arrives => self.arrive(shell),
            Step::Refuses(request) => {
                let Request::Leased(epoch) = request else { unreachable!() };
                // If somebody else has shut the gate, there is nothing to tell.
                if self.gate.suspect(epoch) {
                    self.becomes(request, Request::Suspects(epoch));
                } else {
                    self.gate.take_one_off();
                    self.becomes(request, Request::Held);
                }
            }
            Step::Answers(request) => {
                let Request::HandedOver(epoch) = request else { unreachable!() };
                seen.head(epoch);
                self.becomes(request, Request::Answered(epoch));
            }
            Step::Ends(request) => {
                self.gate.take_one_off();
                self.becomes(request, Request::Done);
            }
        }
        None
    }

    /// Under the gate's lock, with nobody in the way of those who are held.
    pub(crate) fn open(&mut self, pin: ghostpin::core::Pin) {
        self.gate.open(pin);
        if !self.requests.contains(&Request::Held) {
            self.gate.open_door_behind_the_last();
        }
    }

    pub(crate) fn cut(&mut self) {
        self.gate.cut = self.gate.epoch();
    }

    pub(crate) fn has_leases(&self) -> bool {
        self.requests.iter().any(|request| request.active().is_some())
    }

    pub(crate) fn become_all(&mut self, becomes: impl Fn(Request) -> Request) {
        for request in &mut self.requests {
            *request = becomes(*request);
        }
        self.requests.sort_unstable();
    }

    fn kinds(&self) -> impl Iterator<Item = Request> {
        let mut kinds = self.requests.clone();
        kinds.dedup();
        kinds.into_iter()
    }

    fn becomes(&mut self, from: Request, to: Request) {
        let at = self.requests.iter().position(|r| *r == from).expect("a request in that state");
        self.requests[at] = to;
        self.requests.sort_unstable();
    }

    fn goes_on(&self, request: Request) -> bool {
        match request {
            Request::Knocking | Request::HasRead(_) | Request::Leased(_) | Request::Suspects(_) => true,
            Request::Held => self.gate.releasing || self.gate.lets_in(),
            Request::HandedOver(epoch) | Request::Answered(epoch) => self.is_cut(epoch),
            Request::NotYet | Request::Done => false,
        }
    }

    fn is_cut(&self, epoch: Epoch) -> bool {
        self.gate.cut.is_some_and(|cut| epoch <= cut)
    }

    fn arrive(&mut self, shell: Shell) {
        let to = match self.gate.epoch().filter(|_| self.gate.lets_in()) {
            Some(epoch) if shell == Shell::ReadThenCount => Request::HasRead(epoch),
            _ => self.gate.add_one().map_or(Request::Knocking, Request::Leased),
        };
        self.becomes(Request::NotYet, to);
    }

    fn go_on(&mut self, shell: Shell, request: Request, seen: &mut Seen) -> Option<Message> {
        let mut report = None;
        let to = match request {
            Request::Knocking => {
                let looking = self.gate.about_to_report;
                self.gate.take_one_off();
                if shell == Shell::SilentKnockers {
                    self.gate.about_to_report = looking;
                }
                Request::Held
            }
            Request::Held if self.gate.releasing => {
                Request::Leased(self.gate.let_one_go().expect("a gate that was opened has a pin"))
            }
            Request::Held => match self.gate.epoch() {
                Some(epoch) if shell == Shell::ReadThenCount => Request::HasRead(epoch),
                _ => self.gate.add_one().map_or(Request::Knocking, Request::Leased),
            },
            Request::HasRead(epoch) => {
                self.gate.word = Word(self.gate.word.0 + ONE_LEASE);
                Request::Leased(epoch)
            }
            Request::Leased(epoch) => {
                // The backend is read only now; that it is still the one the lease was counted for is a law.
                if self.gate.epoch() != Some(epoch) {
                    seen.breaks(Law::OneBackend);
                }
                Request::HandedOver(epoch)
            }
            Request::Suspects(epoch) => {
                report = (shell != Shell::TellsNobody).then_some(Message::Suspected(epoch));
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
        report
    }
}
