//! The shell around the core: brings it messages, performs its effects, and dies with all but its store.

use ghostpin::core::handoff::{Effect, HookKind, Input, Site, Wish};
use ghostpin::core::{Backend, Epoch, Pin};

use super::elder::{Told, site_name};
use super::requests::Request;
use super::scenario::{Scenario, Shell, Wanted, backend};
use super::world::{Hook, Message, World, number};

impl World {
    pub(crate) fn post(&mut self, message: Option<Message>) {
        self.inbox.extend(message);
        self.inbox.sort_unstable();
    }

    /// What the gate of the process that decides has to say.
    pub(crate) fn report(&mut self, report: Option<Message>) {
        match &mut self.handing {
            Some(handing) => handing.reports.extend(report),
            None => self.post(report),
        }
    }

    pub(crate) fn deliver(&mut self, scenario: &Scenario, message: Message) {
        let at = self.inbox.iter().position(|m| *m == message).expect("a message under way");
        self.inbox.remove(at);
        let input = match message {
            Message::Left(generation) if !self.is_complete_without_elder(scenario.shell, generation) => {
                return;
            }
            Message::Left(generation) => Input::Left { generation },
            Message::Suspected(epoch) => Input::Suspected { epoch },
            Message::HookDone(generation, ok) => Input::HookDone { generation, ok },
            Message::Proved(generation) => Input::Proved { generation },
            Message::Committed(epoch) => Input::Committed { epoch },
            Message::CommitFailed(epoch) => Input::CommitFailed { epoch },
        };
        self.step(scenario, input);
    }

    pub(crate) fn probe_result(&self, of: u8) -> Input {
        Input::Probed { backend: backend(of), well: self.up[usize::from(of)] }
    }

    pub(crate) fn probe_matters(&self, of: u8) -> bool {
        self.matters(self.probe_result(of))
    }

    pub(crate) fn matters(&self, input: Input) -> bool {
        let mut site = self.site.clone();
        !site.step(input).is_empty() || site != self.site
    }

    pub(crate) fn probe(&mut self, scenario: &Scenario, of: u8) {
        self.step(scenario, self.probe_result(of));
        let elsewhere = self.site.pin().is_some_and(|pin| number(&pin.backend) != 0);
        if scenario.shell == Shell::FailBack && of == 0 && self.up[0] && elsewhere {
            let wish = Wish::Handoff { to: backend(0) };
            let effects = self.site.step(Input::Wished { id: u64::MAX, wish });
            self.perform(scenario, effects);
        }
    }

    pub(crate) fn wish(&mut self, scenario: &Scenario, wanted: Wanted) {
        self.left.wishes -= 1;
        let id = self.seen.wished();
        let wish = match wanted {
            Wanted::MoveTo(to) => Wish::Handoff { to: backend(to) },
            Wanted::Hold => Wish::Hold,
            Wanted::Release => Wish::Release,
        };
        self.step(scenario, Input::Wished { id, wish });
        self.seen.accepted(id, wanted);
    }

    pub(crate) fn step(&mut self, scenario: &Scenario, input: Input) {
        let effects = self.site.step(input);
        self.perform(scenario, effects);
    }

    pub(crate) fn perform(&mut self, scenario: &Scenario, effects: Vec<Effect>) {
        let candidates = self.site.candidates().iter().filter(|c| c.listed);
        let candidates: Vec<_> = candidates.map(|c| number(&c.backend)).collect();
        for effect in effects {
            let is_fenced = self.processes().all(|process| !process.has_leases());
            self.seen.wants(&effect, &candidates, is_fenced);
            match effect {
                Effect::Shut { generation } => {
                    if let Some(elder) = &mut self.elder {
                        elder.fences.shut(&site_name(), generation);
                        elder.tell(Told::Shut(generation));
                    }
                    let left = self.here.gate.shut(generation);
                    let too_early = (scenario.shell == Shell::ShutIsFenced).then_some(generation);
                    self.report(left.or(too_early).map(Message::Left));
                }
                Effect::Cut => {
                    self.elder.iter_mut().for_each(|elder| elder.tell(Told::Cut));
                    self.here.cut();
                    if scenario.shell == Shell::CutIsGone {
                        let generation = self.here.gate.leaving.take();
                        self.report(generation.map(Message::Left));
                    }
                }
                Effect::Open(pin) => {
                    self.seen.opens(scenario, &pin, &self.store);
                    if let Some(elder) = &mut self.elder
                        && elder.fences.opened(&site_name())
                        && scenario.shell != Shell::ElderStaysShut
                    {
                        elder.tell(Told::Open(pin.clone()));
                    }
                    self.here.open(pin);
                }
                Effect::Commit(pin) => {
                    if scenario.shell == Shell::OpenBeforeDurable {
                        self.post(Some(Message::Committed(pin.epoch)));
                    }
                    self.store.writing.push(pin);
                }
                Effect::RunHook { generation, hook, old, new, .. } => {
                    let of = if hook == HookKind::Start { Some(new) } else { old };
                    self.hooks.push(Hook { generation, kind: hook, of: of.as_ref().map(number) });
                }
                Effect::Prove { generation, backend } => self.proof = Some((generation, number(&backend))),
                Effect::ArmTimer { generation, .. } => self.timer = Some(generation),
                // The wish of the shell that fails back is nobody's.
                Effect::Answer { id, .. } if id == u64::MAX => {}
                Effect::Answer { id, .. } => self.seen.answered(id),
                Effect::Began(_)
                | Effect::Ended(_)
                | Effect::Conflict { .. }
                | Effect::WarmPromotion { .. } => {}
            }
        }
    }

    // What befalls the process.

    pub(crate) fn write(&mut self) -> Pin {
        let pin = self.store.writing.remove(0);
        self.seen.writes(&pin, &self.store);
        self.store.durable = Some(pin.clone());
        pin
    }

    pub(crate) fn crash(&mut self, scenario: &Scenario, written: usize) {
        self.left.crashes -= 1;
        for _ in 0..written {
            self.write();
        }
        self.store.writing.clear();
        self.seen.nobody_waits_for_answers();
        // Whoever decides is not outlived by an elder of his, nor by an heir who has yet to take over.
        (self.elder, self.handing) = (None, None);
        // Clients whose connection was cut come again.
        self.lose_all_but_the_store(|request| match request {
            Request::Done => Request::Done,
            _ => Request::NotYet,
        });
        match self.list {
            Some(list) => self.begin(scenario, scenario.candidates(list)),
            None => self.forgotten = true,
        }
    }

    pub(crate) fn lose_all_but_the_store(&mut self, becomes: impl Fn(Request) -> Request) {
        self.here.become_all(becomes);
        self.here.gate = super::gate::Gate::NEW;
        self.inbox.clear();
        self.hooks.clear();
        (self.proof, self.timer) = (None, None);
    }

    pub(crate) fn begin(&mut self, scenario: &Scenario, candidates: Vec<Backend>) {
        self.site = Site::new(scenario.policy.clone(), candidates, self.store.durable.clone(), Epoch(1));
        let effects = match &mut self.elder {
            Some(elder) => elder.fences.take_up(&site_name(), &mut self.site),
            None => self.site.begin(),
        };
        self.perform(scenario, effects);
    }
}
