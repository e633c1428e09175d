//! Who believes that he leads: the real ledger, with decisions that may fall in any way that the handoff core allows.

use std::collections::BTreeMap;

use ghostpin::core::fleet::ledger::{Change, EdgeSays, Effect, Ledger, Wanted, Written};
use ghostpin::core::fleet::{Fence, Record, RecordPhase, Revision};
use ghostpin::core::handoff::Input;
use ghostpin::core::{Epoch, Pin, SiteName};

use super::laws;
use super::led::Led;
use super::scenario::{Scenario, Shell, name, number, pin};
use super::store::Write;
use super::world::World;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Controller {
    Idle,
    /// It believes that it leads.
    Leading(Box<Leader>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    pub(crate) ledger: Ledger,
    /// The first revision that its watch has not seen.
    pub(crate) next: Revision,
    pub(crate) phases: BTreeMap<u8, Phase>,
    /// In the place of phases, where the real handoff core leads.
    pub(crate) led: BTreeMap<u8, Led>,
    generation: u64,
    /// What it has written, and has not heard of.
    pub(crate) writing: BTreeMap<SiteName, Write>,
    /// Answers on their way.
    pub(crate) answers: Vec<(SiteName, Written)>,
}

/// How far a site is, as the handoff core would know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Vacant,
    Serving(Pin),
    /// It is shut; the last lease is waited for.
    Draining {
        pin: Pin,
        generation: u64,
        cut: bool,
    },
    /// No lease is left.
    Fenced(Pin),
    Committing(Pin),
    /// It is no longer configured; when it comes back, no lease can be left if none was when it went.
    Retired {
        pin: Pin,
        drained: bool,
    },
}

/// What a controller may decide of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Shut,
    Cut,
    /// The same epoch again.
    Reopen,
    /// The next epoch, or the first.
    Commit,
    Retire,
    /// Made anew.
    ComeBack,
}

impl World {
    pub(crate) fn leader(&mut self, controller: u8) -> Option<&mut Leader> {
        match &mut self.controllers[usize::from(controller)] {
            Controller::Leading(leader) => Some(leader),
            _ => None,
        }
    }

    /// Reads everything, and goes on from what it finds: a fence is adopted, and waited for anew. How old the view becomes
    /// on its way makes no difference, for its watch may be as late.
    pub(crate) fn takes_over(&mut self, scenario: &Scenario, controller: u8) {
        let found = self.store.sites.clone();
        let sites = found.iter().map(|(site, (record, at))| (site.clone(), record.clone(), *at));
        let edges = self.store.edges.iter();
        let edges = edges.map(|(lease, says)| (*lease, believed(scenario, says.clone())));
        let leader = Leader {
            ledger: Ledger::new(self.store.revision, sites, edges),
            next: Revision(self.store.revision.0 + 1),
            phases: BTreeMap::new(),
            led: BTreeMap::new(),
            generation: 0,
            writing: BTreeMap::new(),
            answers: vec![],
        };
        self.controllers[usize::from(controller)] = Controller::Leading(Box::new(leader));
        for site in 0..scenario.sites {
            if scenario.policy.is_some() {
                self.takes_site_over(scenario, controller, site);
                continue;
            }
            let record = found.get(&name(site)).map(|(record, _)| record.clone());
            let phase = match &record {
                None => Phase::Vacant,
                Some(Record { pin, phase: RecordPhase::Gone }) => {
                    Phase::Retired { pin: pin.clone(), drained: false }
                }
                Some(Record { pin, .. }) => Phase::Serving(pin.clone()),
            };
            let Some(leader) = self.leader(controller) else { return };
            leader.phases.insert(site, phase);
            if let Some(Record { pin, phase: RecordPhase::Fence(fence) }) = record {
                self.shut(scenario, controller, site, pin, fence);
            }
        }
    }

    fn shut(&mut self, scenario: &Scenario, controller: u8, site: u8, pin: Pin, fence: Fence) {
        let Some(leader) = self.leader(controller) else { return };
        leader.generation += 1;
        let generation = leader.generation;
        leader.phases.insert(site, Phase::Draining { pin: pin.clone(), generation, cut: fence.cut });
        self.want(scenario, controller, site, Wanted::Shut { generation, pin, fence });
    }

    pub(crate) fn want(&mut self, scenario: &Scenario, controller: u8, site: u8, wanted: Wanted) {
        let Some(leader) = self.leader(controller) else { return };
        let effects = leader.ledger.wants(&name(site), wanted);
        self.perform_writes(scenario, controller, effects);
    }

    pub(crate) fn decides(&mut self, scenario: &Scenario, controller: u8, site: u8, decision: Decision) {
        let Some(leader) = self.leader(controller) else { return };
        let phase = leader.phases[&site].clone();
        let (next, wanted) = match (decision, phase) {
            (Decision::Shut, Phase::Serving(pin))
            | (Decision::ComeBack, Phase::Retired { pin, drained: false }) => {
                return self.shut(scenario, controller, site, pin, Fence::default());
            }
            (Decision::Cut, Phase::Draining { pin, generation, .. }) => {
                let fence = Fence { cut: true, ..Fence::default() };
                let next = Phase::Draining { pin: pin.clone(), generation, cut: true };
                (next, Wanted::Fence { pin, fence })
            }
            (Decision::Reopen, Phase::Draining { pin, .. } | Phase::Fenced(pin)) => {
                (Phase::Serving(pin.clone()), Wanted::Open(pin))
            }
            (Decision::Commit, Phase::Fenced(before))
            | (Decision::ComeBack, Phase::Retired { pin: before, drained: true }) => {
                let next = pin(before.epoch.next(), controller);
                (Phase::Committing(next.clone()), Wanted::Commit(next))
            }
            (Decision::Commit, Phase::Vacant) => {
                let first = pin(Epoch(1), controller);
                (Phase::Committing(first.clone()), Wanted::Commit(first))
            }
            (Decision::Retire, Phase::Serving(pin) | Phase::Draining { pin, .. }) => {
                (Phase::Retired { pin: pin.clone(), drained: false }, Wanted::Retire(pin))
            }
            (Decision::Retire, Phase::Fenced(pin)) => {
                (Phase::Retired { pin: pin.clone(), drained: true }, Wanted::Retire(pin))
            }
            (decision, phase) => unreachable!("{decision:?} in {phase:?}"),
        };
        leader.phases.insert(site, next);
        self.want(scenario, controller, site, wanted);
    }

    fn perform_writes(&mut self, scenario: &Scenario, controller: u8, effects: Vec<Effect>) {
        for effect in effects {
            let Some(leader) = self.leader(controller) else { return };
            match effect {
                Effect::Write { site, record, guard } => {
                    let forgets =
                        scenario.shell == Shell::ForgetsTheEpoch && record.phase == RecordPhase::Gone;
                    let record = (!forgets).then_some(record);
                    let write = Write { by: Some(controller), site: site.clone(), record, guard };
                    leader.writing.insert(site, write.clone());
                    self.store.writes.push(write);
                }
                Effect::Left { site, generation } if scenario.policy.is_some() => {
                    self.core_hears(scenario, controller, number(&site), Input::Left { generation });
                }
                Effect::Committed { site, epoch } if scenario.policy.is_some() => {
                    self.core_hears(scenario, controller, number(&site), Input::Committed { epoch });
                }
                Effect::Left { site, generation } => {
                    let phase = leader.phases.get_mut(&number(&site)).expect("a site that is led");
                    match phase {
                        Phase::Draining { pin, generation: current, .. } if *current == generation => {
                            *phase = Phase::Fenced(pin.clone());
                        }
                        _ => {}
                    }
                }
                Effect::Committed { site, epoch } => {
                    let phase = leader.phases.get_mut(&number(&site)).expect("a site that is led");
                    match phase {
                        Phase::Committing(pin) if pin.epoch == epoch => *phase = Phase::Serving(pin.clone()),
                        _ => {}
                    }
                }
                Effect::Deposed { .. } if scenario.shell == Shell::IgnoresDeposition => {}
                Effect::Deposed { .. } => self.steps_down(controller),
            }
        }
    }

    /// What it has written may still arrive.
    pub(crate) fn steps_down(&mut self, controller: u8) {
        self.controllers[usize::from(controller)] = Controller::Idle;
        for write in self.store.writes.iter_mut().filter(|write| write.by == Some(controller)) {
            write.by = None;
        }
    }

    pub(crate) fn write_arrives(&mut self, scenario: &Scenario, at: usize) {
        let write = self.store.writes.remove(at);
        if scenario.shell == Shell::ListsFromALaggard {
            self.store.lagging = Some(self.store.list());
        }
        let written = self.store.write(&write, scenario.shell != Shell::NoGuard);
        if let Written::At(_) = written {
            laws::look_at_a_write(self, scenario, number(&write.site), &write);
        }
        if let Some(leader) = write.by.and_then(|controller| self.leader(controller)) {
            leader.answers.push((write.site, written));
        }
    }

    pub(crate) fn hears_of_write(&mut self, scenario: &Scenario, controller: u8) {
        let Some(leader) = self.leader(controller) else { return };
        let (site, written) = leader.answers.remove(0);
        leader.writing.remove(&site);
        let mut effects = leader.ledger.written(&site, written);
        if let Written::At(revision) = written
            && scenario.shell == Shell::JudgesByAnOlderView
        {
            effects.extend(leader.ledger.changed(revision, vec![]));
        }
        self.perform_writes(scenario, controller, effects);
    }

    /// No answer has come. The record is read back: it is what was written, or what it was to replace, and then it is
    /// written again, or neither.
    pub(crate) fn finds_out(&mut self, controller: u8, site: &SiteName) {
        let at = self.store.at(site);
        let stands = self.store.sites.get(site).map(|(record, _)| record.clone());
        for write in &mut self.store.writes {
            if write.by == Some(controller) && write.site == *site {
                write.by = None;
            }
        }
        let Some(leader) = self.leader(controller) else { return };
        leader.answers.retain(|(of, _)| of != site);
        let write = leader.writing[site].clone();
        if at == write.guard {
            self.store.writes.push(write);
        } else if stands == write.record {
            leader.answers.push((site.clone(), Written::At(at)));
        } else {
            leader.answers.push((site.clone(), Written::Overtaken));
        }
    }

    pub(crate) fn controller_sees(&mut self, scenario: &Scenario, controller: u8) {
        let next = self.leader(controller).expect("who leads watches").next;
        let (revision, change) = self.store.change_since(next, false).expect("something to see").clone();
        let leader = self.leader(controller).expect("who leads watches");
        leader.next = Revision(revision.0 + 1);
        let change = match change {
            Change::Edge(lease, says) => Change::Edge(lease, says.map(|says| believed(scenario, says))),
            site => site,
        };
        let effects = leader.ledger.changed(revision, vec![change]);
        self.perform_writes(scenario, controller, effects);
    }
}

/// What the ledger is told that an edge says.
fn believed(scenario: &Scenario, says: EdgeSays) -> EdgeSays {
    match scenario.shell {
        Shell::IgnoresWatermarks => EdgeSays { watermark: Revision(u64::MAX), ..says },
        _ => says,
    }
}
