//! Two processes for a while: the heir decides, the elder lets its last requests end and does what it is told. The line
//! between them keeps the order, and may take as long as it likes.

use ghostpin::core::handoff::{Found, Input};
use ghostpin::core::heir::Fences;
use ghostpin::core::{Pin, SiteName};

use super::laws::Law;
use super::requests::{Process, Request, Step};
use super::scenario::{Scenario, Shell};
use super::world::{Event, Message, World};

/// The process that has handed over, and what the heir has to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Elder {
    /// `None` if it has ended, which the heir may not have heard yet.
    pub(crate) process: Option<Process>,
    /// The site was configured when it handed over.
    knows: bool,
    /// The heir's.
    pub(crate) fences: Fences,
    /// On their way to it,
    told: Vec<Told>,
    /// and from it.
    says: Vec<Says>,
}

/// What the heir says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Shut(u64),
    Cut,
    Open(Pin),
}

/// What the elder says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Says {
    Reports(Message),
    /// The line is closed.
    Ended,
}

/// A process that decides nothing any more, until it hears what has become of the one that is to take over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HandingOver {
    found: Found,
    /// What its gate has reported meanwhile, in this order.
    pub(crate) reports: Vec<Message>,
}

pub(crate) fn site_name() -> SiteName {
    SiteName::from("site")
}

impl Elder {
    pub(crate) fn tell(&mut self, told: Told) {
        if self.process.is_some() {
            self.told.push(told);
        }
    }
}

impl World {
    pub(crate) fn may_hand_over(&self, shell: Shell) -> bool {
        // What has come in is taken in first, and no hook runs.
        let waits = |message: &Message| match message {
            Message::Left(_) | Message::Suspected(_) => shell != Shell::HandsOverInTheMiddle,
            Message::HookDone(..) => true,
            _ => false,
        };
        let is_alone = self.elder.is_none() && self.handing.is_none();
        self.left.upgrades > 0 && is_alone && self.hooks.is_empty() && !self.inbox.iter().any(waits)
    }

    /// The store is closed, with so much of what is on its way to it written.
    pub(crate) fn hand_over(&mut self, written: usize) {
        self.left.upgrades -= 1;
        for _ in 0..written {
            let pin = self.write();
            self.post(Some(Message::Committed(pin.epoch)));
        }
        for pin in std::mem::take(&mut self.store.writing) {
            self.left.commits_failing -= 1;
            self.post(Some(Message::CommitFailed(pin.epoch)));
        }
        let is_report = |message: &Message| matches!(message, Message::Left(_) | Message::Suspected(_));
        let found = if self.forgotten { Found::Serving } else { self.site.found() };
        let reports = self.inbox.extract_if(.., |message| is_report(message)).collect();
        self.handing = Some(HandingOver { found, reports });
    }

    /// The heir is no good: the process goes on, and takes in what has come.
    pub(crate) fn go_on_alone(&mut self) {
        let HandingOver { reports, .. } = self.handing.take().expect("a process that hands over");
        reports.into_iter().for_each(|report| self.post(Some(report)));
    }

    pub(crate) fn take_over(&mut self, scenario: &Scenario) {
        let HandingOver { found, reports } = self.handing.take().expect("a process that hands over");
        let mut process = std::mem::replace(&mut self.here, Process::new(scenario.requests_of_heir));
        if self.list.is_none() {
            // Who waits for a site that is not configured any more was told so.
            process.become_all(|request| match request {
                Request::NotYet | Request::Held => Request::Done,
                other => other,
            });
            process.gate.word = process.gate.word.shut();
        }
        let unsettled = (found != Found::Serving).then(|| (site_name(), found));
        self.elder = Some(Elder {
            process: Some(process),
            knows: !self.forgotten,
            fences: Fences::new(unsettled.into_iter().collect()),
            told: Vec::new(),
            says: reports.into_iter().map(Says::Reports).collect(),
        });
        self.inbox.clear();
        (self.proof, self.timer) = (None, None);
        self.seen.nobody_waits_for_answers();
        match self.list {
            Some(list) => self.begin(scenario, scenario.candidates(list)),
            None => self.forgotten = true,
        }
    }

    /// What goes on between both by itself.
    pub(crate) fn own_events_of_two(&self, events: &mut Vec<Event>) {
        if self.handing.is_some() {
            events.push(Event::TakesOver);
        }
        let Some(elder) = &self.elder else { return };
        let steps = elder.process.iter().flat_map(Process::own_steps);
        events.extend(steps.map(Event::AtElder));
        if !elder.told.is_empty() {
            events.push(Event::ElderHears);
        }
        if !elder.says.is_empty() {
            events.push(Event::HeirHears);
        }
    }

    pub(crate) fn other_events_of_two(&self, scenario: &Scenario, events: &mut Vec<Event>) {
        if self.may_hand_over(scenario.shell) {
            let failing = self.store.writing.len().min(self.left.commits_failing.into());
            let all = self.store.writing.len();
            events.extend((all - failing..=all).map(|written| Event::HandsOver { written }));
        }
        if self.handing.is_some() && self.left.failing_heirs > 0 {
            events.push(Event::HeirFails);
        }
        let Some(Elder { process: Some(process), says, .. }) = &self.elder else { return };
        let steps = process.other_steps(&self.up, self.left.refusals > 0);
        events.extend(steps.into_iter().map(Event::AtElder));
        events.extend((0..=says.len()).map(|heard| Event::ElderEnds { heard }));
    }

    pub(crate) fn step_at_elder(&mut self, scenario: &Scenario, step: Step) {
        self.left.refusals -= u8::from(matches!(step, Step::Refuses(_)));
        let Some(Elder { process: Some(process), says, .. }) = &mut self.elder else { unreachable!() };
        let report = process.takes(step, scenario.shell, &mut self.seen);
        says.extend(report.map(Says::Reports));
    }

    pub(crate) fn elder_hears(&mut self) {
        let Some(Elder { process: Some(process), knows, told, says, .. }) = &mut self.elder else {
            unreachable!()
        };
        match told.remove(0) {
            Told::Shut(generation) => {
                let left = if *knows { process.gate.shut(generation) } else { Some(generation) };
                says.extend(left.map(|generation| Says::Reports(Message::Left(generation))));
            }
            Told::Cut => process.cut(),
            Told::Open(pin) if *knows => {
                if self.site.pin() != Some(&pin) {
                    self.seen.breaks(Law::ElderFollows);
                }
                process.open(pin);
            }
            Told::Open(_) => {}
        }
    }

    pub(crate) fn heir_hears(&mut self, scenario: &Scenario) {
        let elder = self.elder.as_mut().expect("an elder that has said something");
        match elder.says.remove(0) {
            Says::Reports(Message::Left(generation)) => {
                if elder.fences.left_there(&site_name(), generation) {
                    self.step(scenario, Input::Left { generation });
                }
            }
            Says::Reports(Message::Suspected(epoch)) => {
                elder.fences.shut_there(&site_name());
                if !self.forgotten {
                    self.step(scenario, Input::Suspected { epoch });
                }
            }
            Says::Reports(other) => unreachable!("no gate reports {other:?}"),
            Says::Ended => {
                let Some(elder) = self.elder.take() else { unreachable!() };
                if scenario.shell != Shell::WaitsForTheDead {
                    for (_, generation) in elder.fences.elder_gone() {
                        self.step(scenario, Input::Left { generation });
                    }
                }
            }
        }
    }

    /// Its requests end with it, and of what it was saying, so much was heard.
    pub(crate) fn elder_ends(&mut self, heard: usize) {
        let elder = self.elder.as_mut().expect("an elder");
        elder.process = None;
        elder.told.clear();
        elder.says.truncate(heard);
        elder.says.push(Says::Ended);
    }

    /// The heir's own last lease is gone: whether the fence is complete.
    pub(crate) fn is_complete_without_elder(&mut self, shell: Shell, generation: u64) -> bool {
        let Some(elder) = &mut self.elder else { return true };
        elder.fences.left_here(&site_name(), generation) || shell == Shell::ElderIsForgotten
    }
}
