//! A name that resolves elsewhere, in every phase that a site can be in.

use std::time::Duration;

use ghostpin::core::handoff::{
    Cause, Draining, Effect, HookKind, HookPolicy, Input, Outcome, Phase, Policy, Site, WarmStandby, Wish,
};
use ghostpin::core::{Backend, Epoch, Pin};

fn policy() -> Policy {
    Policy {
        auto: true,
        warm_standby: WarmStandby::Allow,
        single_instance: true,
        fence_hook: None,
        start_hook: None,
        rise: 1,
        fall: 1,
        drain_timeout: Duration::from_secs(30),
        prove_timeout: Duration::from_secs(60),
    }
}

/// The instance that the name stands for when it is at this address.
fn at(last: u8) -> Backend {
    Backend::resolved("ghost-a:2368", ([10, 0, 0, last], 2368).into())
}

/// A backend with a fixed address.
fn standby() -> Backend {
    "10.0.0.99:2368".parse().expect("an address")
}

fn pin(epoch: u64, backend: Backend) -> Pin {
    Pin { epoch: Epoch(epoch), backend }
}

/// A site whose pin is on 10.0.0.5, and what it wanted done last.
struct Script {
    policy: Policy,
    site: Site,
    wants: Vec<Effect>,
    shut: u64,
}

impl Script {
    fn serving(policy: Policy) -> Self {
        let mut site = Site::new(policy.clone(), vec![at(5), standby()], Some(pin(1, at(5))), Epoch(1));
        let wants = site.begin();
        Self { policy, site, wants, shut: 0 }
    }

    fn step(&mut self, input: Input) -> &mut Self {
        self.wants = self.site.step(input);
        for effect in &self.wants {
            if let Effect::Shut { generation } = effect {
                self.shut = *generation;
            }
        }
        self
    }

    /// The name is at this address now.
    fn moved(&mut self, last: u8) -> &mut Self {
        let policy = self.policy.clone();
        self.step(Input::Reconfigured {
            policy: policy.into(),
            candidates: vec![at(last), standby()],
            lost: Vec::new(),
        })
    }

    fn well(&mut self, backend: Backend) -> &mut Self {
        self.step(Input::Probed { backend, well: true })
    }

    fn unwell(&mut self, backend: Backend) -> &mut Self {
        self.step(Input::Probed { backend, well: false })
    }

    fn left(&mut self) -> &mut Self {
        let generation = self.shut;
        self.step(Input::Left { generation })
    }

    fn wished(&mut self, wish: Wish) -> &mut Self {
        self.step(Input::Wished { id: 1, wish })
    }

    fn find<T>(&self, which: impl FnMut(&Effect) -> Option<T>) -> T {
        self.wants.iter().find_map(which).unwrap_or_else(|| panic!("not among {:#?}", self.wants))
    }

    fn proof(&self) -> (u64, Backend) {
        self.find(|effect| match effect {
            Effect::Prove { generation, backend } => Some((*generation, backend.clone())),
            _ => None,
        })
    }

    #[track_caller]
    fn proves(&mut self, target: Backend) -> &mut Self {
        let (generation, backend) = self.proof();
        assert_eq!(backend, target);
        self.step(Input::Proved { generation })
    }

    #[track_caller]
    fn opens(&mut self, epoch: u64, backend: Backend) -> &mut Self {
        assert!(self.wants.contains(&Effect::Commit(pin(epoch, backend.clone()))), "{:#?}", self.wants);
        self.step(Input::Committed { epoch: Epoch(epoch) });
        assert!(self.wants.contains(&Effect::Open(pin(epoch, backend))), "{:#?}", self.wants);
        self
    }

    #[track_caller]
    fn wants(&mut self, effect: Effect) -> &mut Self {
        assert!(self.wants.contains(&effect), "no {effect:?} among {:#?}", self.wants);
        self
    }

    #[track_caller]
    fn wants_nothing(&mut self) -> &mut Self {
        assert_eq!(self.wants, []);
        self
    }

    #[track_caller]
    fn is(&mut self, phase: &str) -> &mut Self {
        assert_eq!(self.site.phase().name(), phase);
        self
    }
}

#[test]
fn serving_the_old_instance_serves_on_until_the_new_one_is_well() {
    let mut script = Script::serving(policy());
    script.moved(6).wants_nothing().unwell(at(6)).wants_nothing().well(at(5)).wants_nothing().is("serving");
    script.well(at(6)).wants(Effect::Began(Cause::Removed)).is("draining");
    script.left().proves(at(6)).opens(2, at(6)).wants(Effect::Ended(Outcome::Switched));
    let known: Vec<&Backend> = script.site.candidates().iter().map(|c| &c.backend).collect();
    assert_eq!(known, [&at(6), &standby()], "the old instance is not looked at any more");
}

#[test]
fn serving_no_standby_takes_the_place_of_the_new_instance() {
    let mut script = Script::serving(policy());
    script.moved(6).well(standby());
    script.is("serving").unwell(at(6)).is("serving");
    script.well(at(6)).left().proves(at(6)).opens(2, at(6));
}

#[test]
fn serving_a_name_that_flaps_cuts_nobody() {
    let mut script = Script::serving(policy());
    script.moved(6).wants_nothing().moved(5).wants_nothing().well(at(6)).wants_nothing().is("serving");
    script.moved(7).wants_nothing().well(at(6)).wants_nothing().moved(5).wants_nothing();
}

#[test]
fn serving_an_old_instance_that_dies_is_noticed_by_its_probes() {
    let mut script = Script::serving(Policy { fall: 2, ..policy() });
    script.moved(6).unwell(at(5)).is("serving");
    assert!(script.site.is_urgent(&at(5)), "it is looked at again at once");
    script.unwell(at(5)).wants(Effect::Began(Cause::Unwell)).is("fencing");
    script.left().is("vacant");
    assert!(script.site.is_urgent(&at(6)) && !script.site.is_urgent(&at(5)));
    script.well(at(5)).wants_nothing();
    script.well(at(6)).proves(at(6)).opens(2, at(6));
}

#[test]
fn serving_an_old_instance_that_refuses_connections_is_given_up_at_once() {
    let mut script = Script::serving(policy());
    script.moved(6).step(Input::Suspected { epoch: Epoch(1) }).is("fencing");
    // Its address may be somebody else's by now.
    script.well(at(5)).is("fencing").left().is("vacant");
    script.well(at(6)).proves(at(6)).opens(2, at(6));
}

#[test]
fn a_manual_site_follows_the_name_and_goes_nowhere_else() {
    let mut script = Script::serving(Policy { auto: false, ..policy() });
    script.well(standby()).moved(6).unwell(at(5)).left().is("vacant");
    script.well(standby()).wants_nothing();
    script.well(at(6)).proves(at(6)).opens(2, at(6));
}

#[test]
fn under_suspicion_the_old_instance_is_not_gone_back_to() {
    let mut script = Script::serving(policy());
    script.step(Input::Suspected { epoch: Epoch(1) }).is("draining").moved(6).is("fencing");
    script.well(at(5)).left().is("vacant").well(at(6)).proves(at(6)).opens(2, at(6));
}

#[test]
fn on_hold_nothing_moves_before_the_release() {
    let mut script = Script::serving(policy());
    script.wished(Wish::Hold).moved(6).wants_nothing().well(at(6)).wants_nothing();
    assert_eq!(*script.site.phase(), Phase::Draining(Draining::Hold));
    script.wished(Wish::Release).wants(Effect::Began(Cause::Removed)).is("draining");
    script.left().proves(at(6)).opens(2, at(6));
}

#[test]
fn on_hold_an_old_instance_that_died_is_not_opened_again() {
    let mut script = Script::serving(policy());
    script.wished(Wish::Hold).moved(6).unwell(at(5)).wished(Wish::Release).is("fencing");
    assert!(!script.wants.contains(&Effect::Open(pin(1, at(5)))));
    script.left().is("vacant").well(at(6)).proves(at(6)).opens(2, at(6));
}

#[test]
fn on_the_way_to_the_new_instance_a_name_that_moves_back_reopens_the_old_epoch() {
    let mut script = Script::serving(policy());
    script.moved(6).well(at(6)).is("draining");
    script.moved(5).wants(Effect::Open(pin(1, at(5)))).wants(Effect::Ended(Outcome::Reopened)).is("serving");
}

#[test]
fn on_the_way_to_the_new_instance_a_name_that_moves_on_lets_the_old_one_serve_until_the_third_is_well() {
    let mut script = Script::serving(policy());
    script.moved(6).well(at(6)).is("draining").moved(7).wants(Effect::Open(pin(1, at(5)))).is("serving");
    script.well(at(7)).left().proves(at(7)).opens(2, at(7));
}

#[test]
fn on_the_way_to_another_backend_the_wish_goes_on() {
    let mut script = Script::serving(policy());
    script.well(standby()).wished(Wish::Handoff { to: standby() }).moved(6).wants_nothing().is("draining");
    script.left().proves(standby()).opens(2, standby());
    assert!(script.site.candidates().iter().all(|c| c.backend != at(5)));
}

#[test]
fn while_the_last_requests_are_cut_the_new_instance_becomes_the_target() {
    let mut script = Script::serving(policy());
    script.unwell(at(5)).is("fencing").moved(6).well(at(6)).wants_nothing();
    script.left().proves(at(6)).opens(2, at(6));
}

#[test]
fn while_the_old_instance_is_stopped_a_name_that_moves_on_starts_the_choice_anew() {
    let hook = Some(HookPolicy { required: true });
    let mut script = Script::serving(Policy { fence_hook: hook, ..policy() });
    script.moved(6).well(at(6)).left().is("fencing");
    let stale = script.find(|effect| match effect {
        Effect::RunHook { generation, hook: HookKind::Fence, .. } => Some(*generation),
        _ => None,
    });
    script.moved(7).is("vacant").step(Input::HookDone { generation: stale, ok: true }).wants_nothing();
    let generation = script.well(at(7)).find(|effect| match effect {
        Effect::RunHook { generation, hook: HookKind::Fence, new, .. } if *new == at(7) => Some(*generation),
        _ => None,
    });
    script.step(Input::HookDone { generation, ok: true }).proves(at(7)).opens(2, at(7));
}

#[test]
fn while_a_required_fence_fails_an_old_instance_without_its_name_does_not_go_on() {
    let hook = Some(HookPolicy { required: true });
    let mut script = Script::serving(Policy { fence_hook: hook, ..policy() });
    script.moved(6).well(at(6)).left();
    let generation = script.find(|effect| match effect {
        Effect::RunHook { generation, .. } => Some(*generation),
        _ => None,
    });
    script.step(Input::HookDone { generation, ok: false }).is("fencing").well(at(5)).wants_nothing();
    script.moved(5).proves(at(5)).opens(2, at(5)).wants(Effect::Ended(Outcome::Returned));
}

#[test]
fn while_it_is_proved_a_target_that_is_meant_no_more_is_left_alone() {
    let mut script = Script::serving(policy());
    script.moved(6).well(at(6)).left();
    let (late, target) = script.proof();
    assert_eq!(target, at(6));
    script.moved(7).is("vacant").step(Input::Proved { generation: late }).wants_nothing();
    script.well(at(7)).proves(at(7)).opens(2, at(7));
}

#[test]
fn while_its_pin_is_written_a_target_is_opened_and_left_when_the_next_is_well() {
    let mut script = Script::serving(policy());
    script.moved(6).well(at(6)).left().proves(at(6));
    let pin_on_its_way = Effect::Commit(pin(2, at(6)));
    assert!(script.wants.contains(&pin_on_its_way), "{:#?}", script.wants);
    script.moved(7).wants_nothing().step(Input::Committed { epoch: Epoch(2) });
    script.wants(Effect::Open(pin(2, at(6)))).is("serving");
    assert!(script.site.candidates().iter().any(|c| c.backend == at(6)), "it is watched while it serves");
    script.well(at(7)).left().proves(at(7)).opens(3, at(7));
}

#[test]
fn vacant_a_site_goes_for_the_new_instance_once_it_is_well() {
    let mut script = Script::serving(policy());
    script
        .unwell(at(5))
        .left()
        .is("vacant")
        .moved(6)
        .wants_nothing()
        .well(at(6))
        .proves(at(6))
        .opens(2, at(6));
}

#[test]
fn vacant_a_site_without_a_pin_begins_with_the_first_instance_that_is_known() {
    let mut site = Site::new(policy(), Vec::new(), None, Epoch(1));
    assert_eq!(site.begin(), []);
    let mut script = Script { policy: policy(), site, wants: Vec::new(), shut: 0 };
    script
        .moved(5)
        .wants(Effect::Began(Cause::First))
        .opens(1, at(5))
        .wants(Effect::Ended(Outcome::Switched));
}

#[test]
fn vacant_a_site_on_hold_does_not_begin() {
    let mut site = Site::new(policy(), Vec::new(), None, Epoch(1));
    assert_eq!(site.begin(), []);
    let mut script = Script { policy: policy(), site, wants: Vec::new(), shut: 0 };
    script.wished(Wish::Hold).moved(5).wants_nothing().is("vacant");
    script.wished(Wish::Release).well(at(5)).wants(Effect::Began(Cause::First)).proves(at(5)).opens(1, at(5));
}

#[test]
fn retired_a_site_that_comes_back_follows_its_name() {
    let mut script = Script::serving(policy());
    script.step(Input::Retired).is("draining").moved(6).is("serving").wants(Effect::Open(pin(1, at(5))));
    script.well(at(6)).left().proves(at(6)).opens(2, at(6));
}
