use std::time::Duration;

use super::*;
use crate::core::fleet::Revision;
use crate::core::fleet::ledger::{self, Ledger, Written};
use crate::core::handoff::{Input, Policy, WarmStandby, Wish};
use crate::core::{Backend, Epoch, SiteName};

fn blog() -> SiteName {
    "blog".into()
}

fn backend(number: u8) -> Backend {
    format!("10.0.0.{number}:80").parse().unwrap()
}

fn pin() -> Pin {
    Pin { epoch: Epoch(1), backend: backend(1) }
}

/// With two candidates.
fn site(pin: Option<Pin>) -> Site {
    let policy = Policy {
        auto: true,
        warm_standby: WarmStandby::Allow,
        single_instance: false,
        fence_hook: None,
        start_hook: None,
        rise: 1,
        fall: 1,
        drain_timeout: Duration::from_secs(30),
        prove_timeout: Duration::from_secs(60),
    };
    Site::new(policy, vec![backend(1), backend(2)], pin, Epoch(1))
}

/// A controller in a fleet without an edge.
struct Controller {
    core: Site,
    ledger: Ledger,
    revision: u64,
}

impl Controller {
    fn finds(record: &Record) -> Self {
        let pin = newest(None, Some(record)).cloned();
        let core = site(pin);
        let ledger = Ledger::new(Revision(1), [(blog(), record.clone(), Revision(1))], []);
        let mut this = Self { core, ledger, revision: 1 };
        let effects = take_over(&mut this.core, None, Some(record));
        this.perform(effects);
        this
    }

    fn hears(&mut self, input: Input) {
        let effects = self.core.step(input);
        self.perform(effects);
    }

    fn probes(&mut self, number: u8, well: bool) {
        self.hears(Input::Probed { backend: backend(number), well });
    }

    fn wished(&mut self, wish: Wish) {
        self.hears(Input::Wished { id: 1, wish });
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let (wanted, _) = super::wanted(&self.core, effects);
        for wanted in wanted {
            let effects = self.ledger.wants(&blog(), wanted);
            self.follow(effects);
        }
    }

    /// Everything is written as soon as it is wanted.
    fn follow(&mut self, effects: Vec<ledger::Effect>) {
        for effect in effects {
            match effect {
                ledger::Effect::Write { .. } => {
                    self.revision += 1;
                    let mut effects = self.ledger.written(&blog(), Written::At(Revision(self.revision)));
                    effects.extend(self.ledger.changed(Revision(self.revision), vec![]));
                    self.follow(effects);
                }
                ledger::Effect::Left { generation, .. } => self.hears(Input::Left { generation }),
                ledger::Effect::Committed { epoch, .. } => self.hears(Input::Committed { epoch }),
                ledger::Effect::Deposed { .. } => panic!("nobody else writes"),
            }
        }
    }

    fn fence(&self) -> Option<&Fence> {
        match &self.ledger.stored(&blog())?.phase {
            RecordPhase::Fence(fence) => Some(fence),
            _ => None,
        }
    }
}

fn serving() -> Controller {
    let mut controller = Controller::finds(&Record { pin: pin(), phase: RecordPhase::Serve });
    controller.probes(1, true);
    controller.probes(2, true);
    controller
}

#[test]
fn a_hold_that_a_handoff_ends_is_over_for_the_next_controller_too() {
    let mut controller = serving();
    controller.wished(Wish::Hold);
    assert!(controller.fence().unwrap().hold);
    controller.wished(Wish::Handoff { to: backend(2) });
    assert_eq!(controller.fence(), Some(&Fence { cut: false, to: Some(backend(2)), hold: false }));
}

#[test]
fn a_hold_that_was_released_is_over_for_the_next_controller_too() {
    let mut controller = serving();
    controller.wished(Wish::Hold);
    controller.probes(1, false);
    controller.probes(2, false);
    controller.wished(Wish::Release);
    assert_eq!(controller.fence(), Some(&Fence { cut: false, to: None, hold: false }));
}

#[test]
fn a_site_that_nobody_serves_is_held_under_the_next_controller_too() {
    let mut controller = serving();
    controller.probes(2, false);
    controller.probes(1, false);
    controller.wished(Wish::Hold);
    let fence = controller.fence().cloned();
    assert_eq!(fence, Some(Fence { cut: true, to: None, hold: true }));
    let record = Record { pin: pin(), phase: RecordPhase::Fence(fence.unwrap()) };
    assert!(Controller::finds(&record).core.is_on_hold());
}

#[test]
fn a_record_of_an_older_pin_is_fenced_and_goes_on_from_the_newest() {
    let stored = Record { pin: pin(), phase: RecordPhase::Serve };
    let known = Pin { epoch: Epoch(3), backend: backend(2) };
    assert_eq!(newest(Some(&known), Some(&stored)), Some(&known));
    let mut core = site(Some(known.clone()));
    let effects = take_over(&mut core, Some(&known), Some(&stored));
    let (wanted, _) = super::wanted(&core, effects);
    assert!(matches!(&wanted[0], Wanted::Shut { pin, fence, .. } if *pin == known && fence.cut));
}
