//! Handoffs, step by step: what a site does in each of the situations that its operators will ask about.

use std::time::Duration;

use ghostpin::core::handoff::{
    Cause, DRAIN_OF_THE_LOST, Draining, Effect, HookKind, HookPolicy, Input, Outcome, Phase, Policy,
    RETRY_AFTER, Refused, Site, WarmStandby, Wish,
};
use ghostpin::core::{Backend, Epoch, Pin};

const REQUIRED: Option<HookPolicy> = Some(HookPolicy { required: true });
const A: u16 = 1;
const B: u16 = 2;
const C: u16 = 3;

fn backend(port: u16) -> Backend {
    format!("127.0.0.1:{port}").parse().expect("an address")
}

fn backends(ports: &[u16]) -> Vec<Backend> {
    ports.iter().copied().map(backend).collect()
}

fn pin(epoch: u64, port: u16) -> Pin {
    Pin { epoch: Epoch(epoch), backend: backend(port) }
}

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

/// A site, and what it wanted done last.
struct Script {
    site: Site,
    wants: Vec<Effect>,
}

impl Script {
    /// A site that has served under epoch 1, with A pinned, since the process began.
    fn serving(policy: Policy, ports: &[u16]) -> Self {
        let mut site = Site::new(policy, backends(ports), Some(pin(1, A)), Epoch(1));
        let wants = site.begin();
        Self { site, wants }
    }

    fn step(&mut self, input: Input) -> &mut Self {
        self.wants = self.site.step(input);
        self
    }

    fn probed(&mut self, port: u16, well: bool) -> &mut Self {
        self.step(Input::Probed { backend: backend(port), well })
    }

    fn suspected(&mut self, epoch: u64) -> &mut Self {
        self.step(Input::Suspected { epoch: Epoch(epoch) })
    }

    fn wished(&mut self, id: u64, wish: Wish) -> &mut Self {
        self.step(Input::Wished { id, wish })
    }

    fn move_to(&mut self, id: u64, port: u16) -> &mut Self {
        self.wished(id, Wish::Handoff { to: backend(port) })
    }

    /// The last lease is gone. To be called when the gate has just been shut.
    fn left(&mut self) -> &mut Self {
        let generation = self.shut().expect("the gate was shut just now");
        self.step(Input::Left { generation })
    }

    fn hook_ends(&mut self, ok: bool) -> &mut Self {
        let generation = self.find(|effect| match effect {
            Effect::RunHook { generation, .. } => Some(*generation),
            _ => None,
        });
        self.step(Input::HookDone { generation, ok })
    }

    fn proved(&mut self) -> &mut Self {
        let generation = self.find(|effect| match effect {
            Effect::Prove { generation, .. } => Some(*generation),
            _ => None,
        });
        self.step(Input::Proved { generation })
    }

    fn committed(&mut self) -> &mut Self {
        let epoch = self.find(|effect| match effect {
            Effect::Commit(pin) => Some(pin.epoch),
            _ => None,
        });
        self.step(Input::Committed { epoch })
    }

    fn timer_fires(&mut self) -> &mut Self {
        let generation = self.find(|effect| match effect {
            Effect::ArmTimer { generation, .. } => Some(*generation),
            _ => None,
        });
        self.step(Input::TimerFired { generation })
    }

    fn reconfigured(&mut self, policy: Policy, ports: &[u16]) -> &mut Self {
        self.step(Input::Reconfigured {
            policy: policy.into(),
            candidates: backends(ports),
            lost: Vec::new(),
        })
    }

    fn find<T>(&self, which: impl FnMut(&Effect) -> Option<T>) -> T {
        self.wants.iter().find_map(which).unwrap_or_else(|| panic!("not among {:#?}", self.wants))
    }

    fn armed(&self) -> Option<Duration> {
        self.wants.iter().find_map(|effect| match effect {
            Effect::ArmTimer { after, .. } => Some(*after),
            _ => None,
        })
    }

    fn shut(&self) -> Option<u64> {
        self.wants.iter().find_map(|effect| match effect {
            Effect::Shut { generation } => Some(*generation),
            _ => None,
        })
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
    fn opens(&mut self, epoch: u64, port: u16) -> &mut Self {
        assert_eq!(*self.site.phase(), Phase::Serving);
        self.wants(Effect::Open(pin(epoch, port)))
    }

    #[track_caller]
    fn ends(&mut self, outcome: Outcome) -> &mut Self {
        self.wants(Effect::Ended(outcome))
    }

    #[track_caller]
    fn answers(&mut self, id: u64, result: Result<Option<Pin>, Refused>) -> &mut Self {
        self.wants(Effect::Answer { id, result })
    }

    #[track_caller]
    fn proves(&mut self, port: u16) -> &mut Self {
        let target = self.find(|effect| match effect {
            Effect::Prove { backend, .. } => Some(backend.clone()),
            _ => None,
        });
        assert_eq!(target, backend(port));
        self
    }

    #[track_caller]
    fn runs(&mut self, kind: HookKind, old: u16, new: u16) -> &mut Self {
        let ran = self.find(|effect| match effect {
            Effect::RunHook { hook, old, new, .. } => Some((*hook, old.clone(), new.clone())),
            _ => None,
        });
        assert_eq!(ran, (kind, Some(backend(old)), backend(new)));
        self
    }

    #[track_caller]
    fn is(&mut self, phase: &str) -> &mut Self {
        assert_eq!(self.site.phase().name(), phase);
        self
    }
}

// ## Starting

#[test]
fn a_first_start_pins_the_first_once_that_is_durable() {
    let mut site = Site::new(policy(), backends(&[A, B]), None, Epoch(7));
    let wants = site.begin();
    assert_eq!(wants, [Effect::Began(Cause::First), Effect::Commit(pin(7, A))]);
    Script { site, wants }.committed().opens(7, A);
}

#[test]
fn a_restart_opens_the_stored_pin_wherever_it_stands_in_the_list() {
    let mut site = Site::new(policy(), backends(&[B, A]), Some(pin(4, A)), Epoch(1));
    assert_eq!(site.begin(), [Effect::Open(pin(4, A))]);
}

#[test]
fn a_restart_without_the_stored_backend_goes_to_who_is_well() {
    let site = Site::new(policy(), backends(&[B, C]), Some(pin(4, A)), Epoch(1));
    let mut script = Script { site, wants: vec![] };
    script.wants = script.site.begin();
    script.wants(Effect::Began(Cause::Removed)).is("vacant");
    script.probed(C, true).proves(C).proved().committed().opens(5, C);
}

// ## A dead backend

#[test]
fn a_dead_backend_is_followed_by_the_next_in_order_round_to_the_beginning() {
    let mut script = Script::serving(policy(), &[C, A, B]);
    script.probed(C, true).probed(B, true);
    script.probed(A, false).wants(Effect::Began(Cause::Unwell)).wants(Effect::Cut).is("fencing");
    script.left().proves(B).proved().wants(Effect::Commit(pin(2, B))).is("proving");
    script.committed().opens(2, B).ends(Outcome::Switched);
    script.probed(B, false).left().proves(C);
}

#[test]
fn nobody_is_proved_before_the_last_lease_is_gone() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).probed(A, false).is("fencing");
    assert!(!script.wants.iter().any(|effect| matches!(effect, Effect::Prove { .. })));
    script.left().proves(B);
}

#[test]
fn nobody_fails_back_by_himself() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).probed(A, false).left().proved().committed().opens(2, B);
    script.probed(A, true).wants(Effect::Conflict { backend: backend(A), raised: true }).is("serving");
    for _ in 0..3 {
        script.probed(A, true).wants_nothing();
    }
}

#[test]
fn a_lone_backend_comes_back_under_a_new_epoch() {
    let mut script = Script::serving(policy(), &[A]);
    script.probed(A, false).left().is("vacant");
    script.probed(A, true).proves(A).proved().committed().opens(2, A).ends(Outcome::Returned);
}

#[test]
fn manual_sites_hold_until_told() {
    let mut script = Script::serving(Policy { auto: false, ..policy() }, &[A, B]);
    script.probed(B, true).probed(A, false).left().is("vacant");
    script.probed(B, true).wants_nothing().is("vacant");
    script.move_to(1, B).proves(B).proved().committed().opens(2, B).answers(1, Ok(Some(pin(2, B))));
}

#[test]
fn a_pin_that_cannot_be_made_durable_is_written_again() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).probed(A, false).left().proved();
    script.step(Input::CommitFailed { epoch: Epoch(2) }).is("proving");
    script.timer_fires().wants(Effect::Commit(pin(2, B))).committed().opens(2, B);
}

// ## A suspicion

#[test]
fn an_unfounded_suspicion_opens_the_same_epoch_again() {
    let mut script = Script::serving(Policy { fall: 2, ..policy() }, &[A, B]);
    script.suspected(1).wants(Effect::Began(Cause::Suspicion)).is("draining");
    script.probed(A, false).wants_nothing();
    script.probed(A, true).opens(1, A).ends(Outcome::Reopened);
}

#[test]
fn a_suspicion_that_proves_true_moves_the_pin() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).suspected(1).left().probed(A, false).proves(B);
}

#[test]
fn a_suspicion_of_an_older_epoch_is_nothing() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).probed(A, false).left().proved().committed().opens(2, B);
    script.suspected(1).wants_nothing().is("serving");
}

// ## Planned handoffs

#[test]
fn a_planned_handoff_drains_switches_and_answers() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).move_to(1, B).wants(Effect::Began(Cause::Planned)).is("draining");
    script.left().proves(B).proved().committed().opens(2, B).answers(1, Ok(Some(pin(2, B))));
}

#[test]
fn leases_that_do_not_end_by_themselves_are_cut_in_the_end() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).move_to(1, B);
    let generation = script.shut().expect("shut");
    script.timer_fires().wants(Effect::Cut).is("fencing");
    script.step(Input::Left { generation }).proves(B);
}

#[test]
fn a_planned_handoff_to_nobody_is_refused_before_anything_is_shut() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.move_to(1, B).answers(1, Err(Refused::NotWell)).is("serving");
    assert_eq!(script.wants.len(), 1);
    script.move_to(2, C).answers(2, Err(Refused::NoCandidate)).is("serving");
    script.move_to(3, A).answers(3, Err(Refused::AlreadyThere)).is("serving");
}

#[test]
fn a_second_handoff_is_refused_while_one_is_under_way() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).move_to(1, B).move_to(2, B).answers(2, Err(Refused::Busy));
}

#[test]
fn a_target_that_is_not_proved_gives_the_pin_back_under_a_new_epoch_and_says_so() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(A, true).probed(B, true).move_to(1, B).left().proves(B);
    script.timer_fires().proves(A).proved().committed();
    script.opens(2, A).answers(1, Err(Refused::NotProved)).ends(Outcome::Returned);
}

#[test]
fn when_neither_target_nor_old_backend_is_proved_the_wish_ends_and_the_site_goes_on_trying() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(A, true).probed(B, true).move_to(1, B).left().timer_fires().proves(A);
    script.timer_fires().answers(1, Err(Refused::NobodyProved)).is("vacant");
    script.timer_fires().proves(A).proved().committed().opens(2, A);
}

// ## Hooks

fn with_hooks() -> Policy {
    Policy { fence_hook: REQUIRED, start_hook: REQUIRED, ..policy() }
}

#[test]
fn a_cold_standby_is_fenced_for_then_started_proved_made_durable_and_opened() {
    let mut script = Script::serving(with_hooks(), &[A, B]);
    script.probed(A, false).left().runs(HookKind::Fence, A, B);
    script.hook_ends(true).runs(HookKind::Start, A, B);
    script.hook_ends(true).proves(B).proved().wants(Effect::Commit(pin(2, B))).committed().opens(2, B);
}

#[test]
fn a_required_fence_hook_that_fails_keeps_the_pin_where_it_is() {
    let mut script = Script::serving(with_hooks(), &[A, B]);
    script.probed(A, true).move_to(1, B).left().hook_ends(false).proves(A);
    script.proved().committed().opens(2, A).answers(1, Err(Refused::FenceFailed));
}

#[test]
fn a_required_fence_hook_that_fails_is_run_again_when_the_old_backend_is_dead() {
    let mut script = Script::serving(with_hooks(), &[A, B]);
    script.probed(A, false).left().hook_ends(false).is("fencing");
    script.timer_fires().runs(HookKind::Fence, A, B);
}

#[test]
fn an_old_backend_that_cannot_be_stopped_and_is_well_goes_on() {
    let mut script = Script::serving(with_hooks(), &[A, B]);
    script.probed(A, false).left().hook_ends(false).probed(A, true).proves(A);
}

#[test]
fn a_fence_hook_that_is_not_required_may_fail() {
    let fence_hook = Some(HookPolicy { required: false });
    let mut script = Script::serving(Policy { fence_hook, ..policy() }, &[A, B]);
    script.probed(B, true).probed(A, false).left().hook_ends(false).proves(B);
}

#[test]
fn a_target_that_was_started_in_vain_is_stopped_before_the_old_one_is_started_again() {
    let mut script = Script::serving(with_hooks(), &[A, B]);
    script.probed(A, true).move_to(1, B).left().hook_ends(true).hook_ends(true).proves(B);
    script.timer_fires().runs(HookKind::Fence, B, A);
    script.hook_ends(true).runs(HookKind::Start, A, A);
    script.hook_ends(true).proves(A).proved().committed();
    script.opens(2, A).answers(1, Err(Refused::NotProved));
}

#[test]
fn an_old_backend_that_was_started_again_is_stopped_before_another_is_tried() {
    let mut script = Script::serving(with_hooks(), &[A, B, C]);
    script.probed(A, true).move_to(1, B).left().hook_ends(true).hook_ends(false).runs(HookKind::Fence, B, A);
    script.hook_ends(true).hook_ends(true).proves(A);
    script.timer_fires().answers(1, Err(Refused::NobodyProved)).runs(HookKind::Fence, A, C);
}

#[test]
fn cold_candidates_that_cannot_be_proved_are_started_anew_after_a_while() {
    let policy = Policy { start_hook: REQUIRED, ..policy() };
    let mut script = Script::serving(policy, &[A, B]);
    script.probed(A, false).left().runs(HookKind::Start, A, B);
    script.hook_ends(false).runs(HookKind::Start, A, A).hook_ends(false).is("vacant");
    let after = script.find(|effect| match effect {
        Effect::ArmTimer { after, .. } => Some(*after),
        _ => None,
    });
    assert_eq!(after, RETRY_AFTER);
    script.timer_fires().runs(HookKind::Start, A, B);
}

// ## Standbys that run already

#[test]
fn a_warm_standby_is_promoted_loudly() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).wants(Effect::Conflict { backend: backend(B), raised: true });
    script.probed(A, false).left().wants(Effect::WarmPromotion { backend: backend(B) }).proves(B);
    script.proved().committed().wants(Effect::Conflict { backend: backend(B), raised: false });
}

#[test]
fn a_warm_standby_is_restarted_if_so_told() {
    let policy = Policy { warm_standby: WarmStandby::Restart, start_hook: REQUIRED, ..policy() };
    let mut script = Script::serving(policy, &[A, B]);
    script.probed(B, true).probed(A, false).left().runs(HookKind::Start, A, B).hook_ends(true).proves(B);
}

#[test]
fn a_warm_standby_is_refused_until_it_was_seen_unwell_if_so_told() {
    let mut script = Script::serving(Policy { warm_standby: WarmStandby::Refuse, ..policy() }, &[A, B]);
    script.probed(B, true).move_to(1, B).answers(1, Err(Refused::Warm)).is("serving");
    script.probed(A, false).left().is("vacant");
    script.probed(B, true).wants_nothing();
    script.probed(B, false).probed(B, true).proves(B);
}

#[test]
fn a_conflict_is_raised_and_taken_back() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).wants(Effect::Conflict { backend: backend(B), raised: true });
    script.probed(B, false).wants(Effect::Conflict { backend: backend(B), raised: false });
    script.probed(B, true).reconfigured(policy(), &[A]);
    script.wants(Effect::Conflict { backend: backend(B), raised: false });
}

// ## Holds

#[test]
fn a_hold_keeps_the_epoch_and_a_release_opens_it_again() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.wished(1, Wish::Hold).answers(1, Ok(Some(pin(1, A)))).is("draining").left();
    script.probed(A, true).wants_nothing();
    script.wished(2, Wish::Release).opens(1, A).answers(2, Ok(Some(pin(1, A)))).ends(Outcome::Reopened);
    script.wished(3, Wish::Release).answers(3, Err(Refused::NotHeld));
}

#[test]
fn a_release_moves_on_from_a_backend_that_died_under_the_hold() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).wished(1, Wish::Hold).left().probed(A, false).is("draining");
    script.wished(2, Wish::Release).proves(B).proved().committed().opens(2, B);
}

#[test]
fn a_handoff_may_be_wished_under_a_hold_and_ends_it() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).wished(1, Wish::Hold).left().move_to(2, B).proves(B);
    script.proved().committed().opens(2, B).answers(2, Ok(Some(pin(2, B))));
    assert!(!script.site.is_on_hold());
}

// ## Another configuration

#[test]
fn a_removed_backend_serves_until_another_is_well_and_is_then_left() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.reconfigured(policy(), &[B]).wants_nothing().is("serving");
    script.probed(B, true).wants(Effect::Began(Cause::Removed)).is("draining");
    script.left().proves(B).proved().committed().opens(2, B);
}

#[test]
fn a_changed_address_is_another_backend_and_goes_through_a_handoff() {
    let mut script = Script::serving(Policy { auto: false, ..policy() }, &[A]);
    script.reconfigured(Policy { auto: false, ..policy() }, &[C]).is("serving");
    script.probed(C, true).left().proves(C).proved().committed().opens(2, C);
}

#[test]
fn the_answers_of_a_machine_that_is_down_are_hardly_waited_for() {
    let mut script = Script::serving(policy(), &[A]);
    let lost = |lost: &[u16]| Input::Reconfigured {
        policy: policy().into(),
        candidates: backends(&[B]),
        lost: backends(lost),
    };
    // Said before there is anywhere to go: it may be wrong, so the gate stays open.
    script.step(lost(&[A])).wants_nothing().is("serving");
    script.probed(B, true).is("draining");
    assert_eq!(script.armed(), Some(DRAIN_OF_THE_LOST));
    script.timer_fires().wants(Effect::Cut).is("fencing");

    // Said while its answers are waited for; once.
    let mut script = Script::serving(policy(), &[A]);
    script.step(lost(&[])).probed(B, true);
    assert_eq!(script.armed(), Some(policy().drain_timeout));
    script.step(lost(&[A]));
    assert_eq!(script.armed(), Some(DRAIN_OF_THE_LOST));
    script.step(lost(&[A])).wants_nothing();
}

#[test]
fn a_target_that_is_removed_on_the_way_ends_the_wish_and_reopens() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).move_to(1, B).reconfigured(policy(), &[A]);
    script.answers(1, Err(Refused::NoCandidate)).opens(1, A);
}

#[test]
fn a_target_that_is_removed_is_not_promoted_when_the_old_one_is_ill() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).wished(1, Wish::Hold);
    let generation = script.shut().expect("shut");
    script.probed(A, false).move_to(2, B).is("draining").reconfigured(policy(), &[A]);
    script.answers(2, Err(Refused::NoCandidate)).is("fencing");
    script.step(Input::Left { generation }).is("vacant");
}

#[test]
fn a_site_that_comes_back_before_its_last_lease_is_gone_goes_on_under_its_epoch() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.step(Input::Retired);
    assert!(script.shut().is_some() && !script.site.is_gone());
    script.reconfigured(policy(), &[A, B]).opens(1, A);
}

#[test]
fn a_retired_site_can_be_forgotten_when_its_last_lease_is_gone() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.step(Input::Retired).wished(1, Wish::Hold).answers(1, Err(Refused::Retired));
    assert_eq!(*script.site.phase(), Phase::Draining(Draining::Retired));
    let mut script = Script::serving(policy(), &[A, B]);
    script.step(Input::Retired).left();
    assert!(script.site.is_gone());
}

#[test]
fn a_retired_site_is_not_forgotten_with_its_pin_on_the_way_to_the_disk() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).move_to(1, B).left().proved().wants(Effect::Commit(pin(2, B)));
    script.step(Input::Retired).answers(1, Err(Refused::Retired));
    assert!(!script.site.is_gone());
    script.step(Input::Committed { epoch: Epoch(2) }).ends(Outcome::Retired);
    assert!(script.site.is_gone());
    assert_eq!(script.site.pin(), Some(&pin(2, B)));
}

// ## Late reports

#[test]
fn late_reports_change_nothing() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).move_to(1, B);
    let generation = script.shut().expect("shut");
    script.left().proved().committed().opens(2, B);
    let before = script.site.clone();
    for input in [
        Input::Left { generation },
        Input::Proved { generation },
        Input::HookDone { generation, ok: true },
        Input::TimerFired { generation },
        Input::Committed { epoch: Epoch(2) },
        Input::CommitFailed { epoch: Epoch(2) },
        Input::Suspected { epoch: Epoch(1) },
    ] {
        script.step(input.clone()).wants_nothing();
        assert_eq!(script.site, before, "{input:?}");
    }
}

#[test]
fn a_report_of_an_older_shutting_does_not_fence_a_newer_one() {
    let mut script = Script::serving(policy(), &[A, B]);
    script.probed(B, true).suspected(1);
    let generation = script.shut().expect("shut");
    script.probed(A, true).opens(1, A).move_to(1, B).is("draining");
    script.step(Input::Left { generation }).wants_nothing().is("draining");
}
