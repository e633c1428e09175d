//! A site that is led by the real handoff core, over the real ledger: what the core hears, and what becomes of its effects.

use ghostpin::core::fleet::{Record, RecordPhase, leading};
use ghostpin::core::handoff::{Effect, Input, Phase, Site, Wish};
use ghostpin::core::{Backend, Epoch, Pin};

use super::scenario::{Scenario, Shell, backend, name};
use super::world::World;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Led {
    pub(crate) core: Site,
    /// The newest pin that an edge has told of, if the store takes that edge back.
    known: Option<Pin>,
    /// The target that is asked for its proof, and the generation of the question.
    proof: Option<(u64, Backend)>,
    /// Of the newest timer: those before it have been overtaken.
    timer: Option<u64>,
}

/// What a core hears of, other than from its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// How a backend is.
    Probed(u8),
    Proved,
    TimerFired,
    Wished(Wanted),
}

/// What may be wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    MoveTo(u8),
    Hold,
    Release,
}

impl Led {
    fn input(&self, heard: Heard, up: [bool; 2]) -> Option<Input> {
        Some(match heard {
            Heard::Probed(number) => {
                Input::Probed { backend: backend(number), well: up[usize::from(number)] }
            }
            Heard::Proved => {
                let (generation, target) = self.proof.clone()?;
                (0..2).find(|number| backend(*number) == target && up[usize::from(*number)])?;
                Input::Proved { generation }
            }
            Heard::TimerFired => Input::TimerFired { generation: self.timer? },
            Heard::Wished(Wanted::MoveTo(number)) => {
                Input::Wished { id: 0, wish: Wish::Handoff { to: backend(number) } }
            }
            Heard::Wished(Wanted::Hold) => Input::Wished { id: 0, wish: Wish::Hold },
            Heard::Wished(Wanted::Release) => Input::Wished { id: 0, wish: Wish::Release },
        })
    }

    /// The core becomes another by it, or has something to be done. A wish that is refused changes nothing.
    pub(crate) fn matters(&self, heard: Heard, up: [bool; 2]) -> bool {
        let Some(input) = self.input(heard, up) else { return false };
        let mut core = self.core.clone();
        let effects = core.step(input);
        core != self.core || effects.iter().any(|effect| !matches!(effect, Effect::Answer { .. }))
    }

    /// What it hears of sooner or later, whatever befalls it. Timers are not among it: they come when nothing else does.
    pub(crate) fn own(&self, up: [bool; 2]) -> impl Iterator<Item = Heard> {
        [Heard::Probed(0), Heard::Probed(1), Heard::Proved].into_iter().filter(move |h| self.matters(*h, up))
    }
}

impl World {
    pub(crate) fn led(&mut self, controller: u8, site: u8) -> Option<&mut Led> {
        self.leader(controller)?.led.get_mut(&site)
    }

    /// Goes on with a site from what the ledger says of it.
    pub(crate) fn takes_site_over(&mut self, scenario: &Scenario, controller: u8, site: u8) {
        let Some(policy) = scenario.policy.clone() else { return };
        let known = self.newer_pin(site);
        let Some(leader) = self.leader(controller) else { return };
        let mut stored = leader.ledger.stored(&name(site)).cloned();
        if scenario.shell == Shell::TakesFencesForServing {
            stored = stored.map(|record| Record { phase: RecordPhase::Serve, ..record });
        }
        let newest = leading::newest(known.as_ref(), stored.as_ref()).cloned();
        let candidates = vec![backend(1), backend(0)];
        let core = Site::new(policy, candidates, newest, Epoch(1));
        let core = match leader.led.get(&site) {
            Some(before) => core.after(&before.core),
            None => core,
        };
        let mut led = Led { core, known, proof: None, timer: None };
        let effects = leading::take_over(&mut led.core, led.known.as_ref(), stored.as_ref());
        leader.led.insert(site, led);
        self.perform_for_fleet(scenario, controller, site, effects);
    }

    /// The newest pin of a site that an edge refuses to go back behind.
    fn newer_pin(&self, site: u8) -> Option<Pin> {
        let refusing = self.edges.iter().filter_map(|edge| edge.core.refuses(&name(site)));
        refusing.max_by_key(|pin| pin.epoch).cloned()
    }

    /// An edge has told of a newer pin than what this controller goes by.
    pub(crate) fn is_to_raise(&self, site: u8, led: &Led) -> bool {
        let newer = self.newer_pin(site).map(|pin| pin.epoch);
        newer > led.known.as_ref().map(|pin| pin.epoch)
    }

    pub(crate) fn hears(&mut self, scenario: &Scenario, controller: u8, site: u8, heard: Heard) {
        let up = self.up;
        let Some(led) = self.led(controller, site) else { return };
        let Some(input) = led.input(heard, up) else { return };
        match heard {
            Heard::TimerFired => led.timer = None,
            Heard::Proved => led.proof = None,
            Heard::Probed(_) | Heard::Wished(_) => {}
        }
        let pinned = led.core.pin().map(|pin| pin.backend.clone());
        match heard {
            Heard::Probed(of) if !up[usize::from(of)] && pinned == Some(backend(of)) => {
                self.seen.has_reason(site);
            }
            Heard::Wished(Wanted::MoveTo(_)) => self.seen.has_reason(site),
            _ => {}
        }
        self.core_hears(scenario, controller, site, input);
    }

    pub(crate) fn core_hears(&mut self, scenario: &Scenario, controller: u8, site: u8, input: Input) {
        let Some(led) = self.led(controller, site) else { return };
        let effects = led.core.step(input);
        self.perform_for_fleet(scenario, controller, site, effects);
    }

    fn perform_for_fleet(&mut self, scenario: &Scenario, controller: u8, site: u8, effects: Vec<Effect>) {
        let Some(led) = self.led(controller, site) else { return };
        let (of_the_fleet, others) = leading::wanted(&led.core, effects);
        for wanted in of_the_fleet {
            self.want(scenario, controller, site, wanted);
        }
        let Some(led) = self.led(controller, site) else { return };
        for effect in others {
            match effect {
                Effect::Prove { generation, backend } => led.proof = Some((generation, backend)),
                Effect::ArmTimer { generation, .. } => led.timer = led.timer.max(Some(generation)),
                _ => {}
            }
        }
        if !matches!(led.core.phase(), Phase::Proving { .. } | Phase::Fencing { .. }) {
            led.proof = None;
        }
    }
}
