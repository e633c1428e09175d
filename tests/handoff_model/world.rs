//! The world around the core, as a state machine: requests, a gate, a store, backends, hooks, timers, messages.
//!
//! Every step is one atomic step of the real thing. Messages to the core are a bag: they arrive in any order, which
//! is weaker than any channel. Hung requests are allowed to hang for ever: an answer is never something that the
//! proxy may count on.

use ghostpin::core::handoff::{HookKind, Input, Site};
use ghostpin::core::{Backend, Epoch, Pin};

use super::elder::{Elder, HandingOver};
use super::laws::{self, Seen};
use super::requests::{Process, Request, Step};
use super::scenario::{Budget, Scenario, Wanted};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) site: Site,
    /// The process that decides.
    pub(crate) here: Process,
    /// It is about to be another one.
    pub(crate) handing: Option<HandingOver>,
    /// The one that has decided before.
    pub(crate) elder: Option<Elder>,
    /// Which backends are up.
    pub(crate) up: Vec<bool>,
    /// On their way to the core, sorted.
    pub(crate) inbox: Vec<Message>,
    pub(crate) store: Store,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) proof: Option<(u64, u8)>,
    pub(crate) timer: Option<u64>,
    /// Which of the lists of candidates is in force; `None` if the site is not configured.
    pub(crate) list: Option<usize>,
    /// Nothing of the site is left but its pin in the store.
    pub(crate) forgotten: bool,
    pub(crate) left: Budget,
    pub(crate) seen: Seen,
}

/// A message on its way to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Left(u64),
    Suspected(Epoch),
    HookDone(u64, bool),
    Proved(u64),
    Committed(Epoch),
    CommitFailed(Epoch),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) durable: Option<Pin>,
    pub(crate) writing: Vec<Pin>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hook {
    pub(crate) generation: u64,
    pub(crate) kind: HookKind,
    /// Whom it stops or starts.
    pub(crate) of: Option<u8>,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    // What the proxy does, sooner or later, whatever the world does.
    Deliver(Message),
    /// At the gate of the process that decides, with what can't be counted on among it,
    AtGate(Step),
    /// and at the elder's.
    AtElder(Step),
    ElderHears,
    HeirHears,
    TakesOver,
    IsWritten,
    Probe(u8),
    AnswersProof,
    HookEnds {
        at: usize,
        ok: bool,
    },
    TimerFires,
    // What it can't count on.
    Turns(u8),
    WriteFails {
        but_is_there: bool,
    },
    Wished(Wanted),
    Reloads(usize),
    Retires,
    Forgets,
    /// The process dies and is started again; of what it was writing, this many made it.
    Crashes {
        written: usize,
    },
    /// The process closes its store and lets another one decide; of what it was writing, this many made it.
    HandsOver {
        written: usize,
    },
    HeirFails,
    /// The elder has ended, or died: of what it was saying, so much is heard.
    ElderEnds {
        heard: usize,
    },
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut world = Self {
            site: Site::new(scenario.policy.clone(), vec![], None, Epoch(1)),
            here: Process::new(scenario.requests),
            handing: None,
            elder: None,
            up: scenario.well.clone(),
            inbox: vec![],
            store: Store { durable: None, writing: vec![] },
            hooks: vec![],
            proof: None,
            timer: None,
            list: Some(0),
            forgotten: false,
            left: scenario.budget.clone(),
            seen: Seen::default(),
        };
        world.begin(scenario, scenario.candidates(0));
        world
    }

    /// All that there are.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.here).chain(self.elder.iter().filter_map(|elder| elder.process.as_ref()))
    }

    /// What the proxy will do by itself. Timers are not among it: they come when nothing else does.
    pub(crate) fn own_events(&self, scenario: &Scenario) -> Vec<Event> {
        let mut events = Vec::new();
        self.own_events_of_two(&mut events);
        if self.forgotten {
            return events;
        }
        events.extend(self.here.own_steps().into_iter().map(Event::AtGate));
        if self.handing.is_some() {
            return events;
        }
        events.extend(self.inbox.iter().copied().map(Event::Deliver));
        events.dedup();
        if !self.store.writing.is_empty() {
            events.push(Event::IsWritten);
        }
        if self.proof.is_some_and(|(_, backend)| self.up[usize::from(backend)]) {
            events.push(Event::AnswersProof);
        }
        events.extend((0..self.hooks.len()).map(|at| Event::HookEnds { at, ok: true }));
        let probed = self.list.map_or(&[][..], |list| &scenario.lists[list]);
        events.extend(probed.iter().copied().filter(|b| self.probe_matters(*b)).map(Event::Probe));
        events
    }

    /// What the world may do, as far as the budgets go.
    pub(crate) fn other_events(&self, scenario: &Scenario, events: &mut Vec<Event>) {
        let left = &self.left;
        self.other_events_of_two(scenario, events);
        if !self.forgotten {
            let steps = self.here.other_steps(&self.up, left.refusals > 0);
            events.extend(steps.into_iter().map(Event::AtGate));
        }
        if left.turns > 0 {
            // Who runs alone is started by hooks only.
            let turns = |b: &usize| !scenario.alone || self.up[*b];
            events.extend((0..self.up.len()).filter(turns).map(|b| Event::Turns(b as u8)));
        }
        if self.handing.is_some() {
            return;
        }
        if left.commits_failing > 0 && !self.store.writing.is_empty() {
            events.extend([true, false].map(|but_is_there| Event::WriteFails { but_is_there }));
        }
        if left.hooks_failing > 0 {
            events.extend((0..self.hooks.len()).map(|at| Event::HookEnds { at, ok: false }));
        }
        if left.wishes > 0 {
            events.extend(scenario.wishes.iter().copied().map(Event::Wished));
        }
        if left.reloads > 0 {
            events.extend((0..scenario.lists.len()).filter(|l| self.list != Some(*l)).map(Event::Reloads));
        }
        if left.retirements > 0 && self.list.is_some() {
            events.push(Event::Retires);
        }
        if self.list.is_none() && self.site.is_gone() && !self.forgotten {
            events.push(Event::Forgets);
        }
        if left.crashes > 0 {
            events.extend((0..=self.store.writing.len()).map(|written| Event::Crashes { written }));
        }
    }

    /// A timer that has not been overtaken.
    pub(crate) fn timer_matters(&self) -> bool {
        let decides = self.handing.is_none();
        decides && self.timer.is_some_and(|generation| self.matters(Input::TimerFired { generation }))
    }

    pub(crate) fn happens(&mut self, scenario: &Scenario, event: Event) {
        match event {
            Event::Deliver(message) => self.deliver(scenario, message),
            Event::AtGate(step) => {
                self.left.refusals -= u8::from(matches!(step, Step::Refuses(_)));
                let report = self.here.takes(step, scenario.shell, &mut self.seen);
                self.report(report);
            }
            Event::AtElder(step) => self.step_at_elder(scenario, step),
            Event::ElderHears => self.elder_hears(),
            Event::HeirHears => self.heir_hears(scenario),
            Event::TakesOver => self.take_over(scenario),
            Event::HandsOver { written } => self.hand_over(written),
            Event::HeirFails => {
                self.left.failing_heirs -= 1;
                self.go_on_alone();
            }
            Event::ElderEnds { heard } => self.elder_ends(heard),
            Event::IsWritten => {
                let pin = self.write();
                self.post(Some(Message::Committed(pin.epoch)));
            }
            Event::Probe(number) => self.probe(scenario, number),
            Event::AnswersProof => {
                let proof = self.proof.take();
                self.post(proof.map(|(generation, _)| Message::Proved(generation)));
            }
            Event::HookEnds { at, ok } => {
                let hook = self.hooks.remove(at);
                self.left.hooks_failing -= u8::from(!ok);
                if let Some(of) = hook.of.filter(|_| ok) {
                    self.up[usize::from(of)] = hook.kind == HookKind::Start;
                }
                self.post(Some(Message::HookDone(hook.generation, ok)));
            }
            Event::TimerFires => {
                let generation = self.timer.take().expect("an armed timer");
                self.step(scenario, Input::TimerFired { generation });
            }
            Event::Turns(number) => {
                self.left.turns -= 1;
                self.up[usize::from(number)] ^= true;
            }
            Event::WriteFails { but_is_there } => {
                self.left.commits_failing -= 1;
                let pin = if but_is_there { self.write() } else { self.store.writing.remove(0) };
                self.post(Some(Message::CommitFailed(pin.epoch)));
            }
            Event::Wished(wanted) => self.wish(scenario, wanted),
            Event::Reloads(list) => {
                self.left.reloads -= 1;
                self.list = Some(list);
                let (policy, candidates) = (scenario.policy.clone(), scenario.candidates(list));
                if std::mem::take(&mut self.forgotten) {
                    self.begin(scenario, candidates);
                } else {
                    self.step(
                        scenario,
                        Input::Reconfigured { policy: policy.into(), candidates, lost: Vec::new() },
                    );
                }
            }
            Event::Retires => {
                self.left.retirements -= 1;
                self.list = None;
                self.step(scenario, Input::Retired);
            }
            Event::Forgets => {
                // Who is held is told so.
                self.lose_all_but_the_store(|request| match request {
                    Request::NotYet => Request::NotYet,
                    _ => Request::Done,
                });
                self.forgotten = true;
            }
            Event::Crashes { written } => self.crash(scenario, written),
        }
        laws::look(self, scenario);
    }
}

pub(crate) fn number(backend: &Backend) -> u8 {
    match backend.address() {
        ghostpin::core::Address::Tcp(address) => (address.port() - 1) as u8,
        ghostpin::core::Address::Unix(_) => unreachable!("the model has no sockets"),
    }
}
