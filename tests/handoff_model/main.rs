//! The core, as it stands, in every order in which things may happen within bounds.
//!
//! `GHOSTPIN_MODEL=deep` explores larger worlds as well; it wants a release build and some minutes.

mod elder;
mod gate;
mod laws;
mod requests;
mod scenario;
mod shell;
mod upgrades;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use ghostpin::core::Epoch;
use ghostpin::core::handoff::{HookPolicy, Policy, WarmStandby};
use stateright::{Checker, HasDiscoveries, Model, Property};

use laws::Law;
use scenario::{Budget, REQUIRED, Scenario, Shell, Wanted, plain};
use world::{Event, World};

/// A world in which nothing is going to happen any more serves, if there is somebody who may.
const STUCK: &str = "nobody is stuck";
/// Wherever it has come to: left alone, it comes to a rest, and serves then.
const ENDS_WELL: &str = "all ends well";
/// So that it is not for want of anything happening that the laws hold.
const SECOND_EPOCH: &str = "a second epoch answers";

struct Explored(Scenario);

impl Model for Explored {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        events.extend(world.own_events(&self.0));
        let is_busy = !events.is_empty();
        if (!is_busy || world.left.early_timers > 0) && world.timer_matters() {
            events.push(Event::TimerFires);
        }
        world.other_events(&self.0, events);
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        if event == Event::TimerFires && !world.own_events(&self.0).is_empty() {
            next.left.early_timers -= 1;
        }
        next.happens(&self.0, event);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! laws {
            ($($law:ident),*) => { vec![$(Property::always(Law::$law.name(), |_, world: &World| {
                !world.seen.is_broken(Law::$law)
            })),*] };
        }
        let mut all = laws![
            OneBackend,
            FencedFirst,
            NoGoingBack,
            DurableFirst,
            NoOlderPin,
            NoFailingBack,
            NoStranger,
            NeverTwo,
            AnsweredOnce,
            NotForgotten,
            ElderFollows
        ];
        all.push(Property::always(STUCK, |explored: &Self, world: &World| {
            !laws::is_at_rest(world, &explored.0) || laws::rests_well(world, &explored.0)
        }));
        all.push(Property::always(ENDS_WELL, |explored: &Self, world: &World| {
            laws::ends_well(world, &explored.0)
        }));
        all.push(Property::sometimes(SECOND_EPOCH, |_, world: &World| world.seen.newest_head() > Epoch(1)));
        all
    }
}

/// Explores all of a scenario, and prints how much that was.
fn holds(scenario: Scenario) {
    let name = scenario.name;
    let began = Instant::now();
    let checker =
        Explored(scenario).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    println!("{name}: {unique} states ({states} steps, depth {depth}) in {:.1?}", began.elapsed());
    for (law, path) in checker.discoveries() {
        if law == SECOND_EPOCH {
            continue;
        }
        let last = path.last_state().clone();
        let events = path.into_actions();
        panic!("{name}: broken: {law}, after {} events: {events:#?}\n{last:#?}", events.len());
    }
    assert!(checker.is_done(), "{name}: not all of it was explored");
    checker.assert_any_discovery(SECOND_EPOCH);
}

/// Explores until the law is broken, and prints how.
fn is_caught(scenario: Scenario, law: &'static str) {
    let (name, shell) = (scenario.name, scenario.shell);
    let until = HasDiscoveries::AllOf(BTreeSet::from([law]));
    let checker = Explored(scenario).checker().finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker.discovery(law).unwrap_or_else(|| panic!("{name}: {shell:?} was not caught"));
    let events = path.into_actions();
    println!("{shell:?} breaks \"{law}\" after {} events ({states} states seen): {events:?}", events.len());
}

/// How much of something there is, usually and in a deep exploration.
fn much(usually: u8, deep: u8) -> u8 {
    if std::env::var("GHOSTPIN_MODEL").is_ok_and(|how| how == "deep") { deep } else { usually }
}

// ## What holds

#[test]
fn a_dead_backend_is_replaced() {
    let budget = Budget { turns: much(2, 4), refusals: 2, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::quiet("a dead backend") });
}

#[test]
fn a_backend_falls_only_after_fall_failures() {
    let policy = Policy { fall: 2, rise: 2, ..plain() };
    let budget = Budget { turns: much(2, 3), refusals: much(1, 2), ..Budget::default() };
    holds(Scenario { policy, budget, ..Scenario::quiet("fall = 2, rise = 2") });
}

#[test]
fn wishes_are_fulfilled_or_refused() {
    let wishes = vec![Wanted::MoveTo(0), Wanted::MoveTo(1), Wanted::Hold, Wanted::Release];
    let budget = Budget { wishes: much(2, 4), turns: 1, refusals: 1, ..Budget::default() };
    holds(Scenario { wishes, budget, ..Scenario::quiet("wishes") });
}

#[test]
fn manual_sites_move_on_a_wish_only() {
    let policy = Policy { auto: false, ..plain() };
    let wishes = vec![Wanted::MoveTo(0), Wanted::MoveTo(1)];
    let budget = Budget { wishes: 2, turns: much(1, 3), refusals: 1, ..Budget::default() };
    holds(Scenario { policy, wishes, budget, ..Scenario::quiet("manual") });
}

#[test]
fn a_crash_brings_back_no_older_pin() {
    let wishes = vec![Wanted::MoveTo(1)];
    let budget = Budget {
        wishes: 1,
        turns: 1,
        crashes: 2,
        commits_failing: much(1, 2),
        refusals: much(0, 1),
        ..Budget::default()
    };
    holds(Scenario { wishes, budget, ..Scenario::quiet("crashes") });
}

#[test]
fn a_crash_with_another_order_of_candidates_moves_nobody() {
    let lists = vec![vec![0, 1], vec![1, 0]];
    let budget = Budget { turns: much(2, 3), crashes: 1, reloads: 2, ..Budget::default() };
    holds(Scenario { lists, budget, ..Scenario::quiet("crashes, and another order") });
}

#[test]
fn timers_may_run_out_at_any_moment() {
    let wishes = vec![Wanted::MoveTo(1)];
    let budget =
        Budget { wishes: 1, turns: 1, early_timers: much(2, 3), commits_failing: 1, ..Budget::default() };
    holds(Scenario { wishes, budget, requests: much(1, 2).into(), ..Scenario::quiet("early timers") });
}

#[test]
fn a_cold_standby_never_runs_beside_the_other() {
    let policy = Policy { fence_hook: REQUIRED, start_hook: REQUIRED, ..plain() };
    let wishes = vec![Wanted::MoveTo(0), Wanted::MoveTo(1)];
    let budget = Budget { wishes: 1, turns: 1, hooks_failing: 1, early_timers: 1, ..Budget::default() };
    let cold = Scenario {
        policy,
        well: vec![true, false],
        wishes,
        budget,
        alone: true,
        requests: much(1, 2).into(),
        ..Scenario::quiet("cold standby")
    };
    holds(cold);
}

#[test]
fn hooks_may_fail_while_timers_run_out() {
    let hook = Some(HookPolicy { required: false });
    for (name, fence_hook, start_hook) in
        [("fence hook", REQUIRED, None), ("start hook", None, REQUIRED), ("hooks, not required", hook, hook)]
    {
        let policy = Policy { fence_hook, start_hook, ..plain() };
        let wishes = vec![Wanted::MoveTo(1)];
        let budget =
            Budget { wishes: 1, turns: 1, hooks_failing: much(1, 2), early_timers: 1, ..Budget::default() };
        let requests = much(1, 2).into();
        holds(Scenario { policy, wishes, budget, requests, ..Scenario::quiet(name) });
    }
}

#[test]
fn warm_standbys_are_treated_as_told() {
    for (name, warm_standby, start_hook) in [
        ("warm standby refused", WarmStandby::Refuse, None),
        ("warm standby refused, start hook", WarmStandby::Refuse, REQUIRED),
        ("warm standby restarted", WarmStandby::Restart, REQUIRED),
    ] {
        let policy = Policy { warm_standby, start_hook, ..plain() };
        let wishes = vec![Wanted::MoveTo(1)];
        let budget = Budget { wishes: 1, turns: 2, refusals: 1, ..Budget::default() };
        let requests = much(1, 2).into();
        holds(Scenario { policy, wishes, budget, requests, ..Scenario::quiet(name) });
    }
}

#[test]
fn candidates_may_be_added_and_removed_in_the_middle_of_everything() {
    let lists = vec![vec![0, 1], vec![1], vec![0], vec![2, 1]];
    let wishes = vec![Wanted::MoveTo(1), Wanted::Hold, Wanted::Release];
    let budget = Budget { reloads: much(1, 2), turns: 1, wishes: 2, ..Budget::default() };
    let well = vec![true, true, true];
    holds(Scenario { lists, well, wishes, budget, requests: 1, ..Scenario::quiet("reloads") });
}

#[test]
fn a_site_may_go_and_come_back() {
    let wishes = vec![Wanted::MoveTo(1), Wanted::Hold];
    let budget = Budget {
        retirements: 1,
        reloads: 1,
        wishes: 1,
        turns: much(0, 1),
        commits_failing: 1,
        crashes: much(0, 1),
        ..Budget::default()
    };
    holds(Scenario { wishes, budget, ..Scenario::quiet("going and coming back") });
}

#[test]
fn three_backends_and_three_requests() {
    let wishes = vec![Wanted::MoveTo(2)];
    let budget = Budget { turns: 1, wishes: much(0, 1), refusals: 1, ..Budget::default() };
    let three = Scenario {
        lists: vec![vec![0, 1, 2]],
        well: vec![true, true, true],
        wishes,
        budget,
        requests: 3,
        ..Scenario::quiet("three and three")
    };
    holds(three);
}

// ## What is caught

fn moves() -> Scenario {
    let budget = Budget { wishes: 2, ..Budget::default() };
    Scenario { wishes: vec![Wanted::MoveTo(1), Wanted::MoveTo(0)], budget, ..Scenario::quiet("moves") }
}

fn deaths() -> Scenario {
    Scenario { budget: Budget { turns: 2, refusals: 1, ..Budget::default() }, ..Scenario::quiet("deaths") }
}

#[test]
fn reading_then_counting_is_caught() {
    is_caught(moves().with(Shell::ReadThenCount), Law::OneBackend.name());
}

#[test]
fn opening_before_the_epoch_is_fenced_is_caught() {
    is_caught(moves().with(Shell::ShutIsFenced), Law::OneBackend.name());
    is_caught(deaths().with(Shell::CutIsGone), Law::OneBackend.name());
    is_caught(deaths().with(Shell::CutIsGone), Law::NoGoingBack.name());
}

#[test]
fn opening_before_the_pin_is_durable_is_caught() {
    let mut scenario = moves().with(Shell::OpenBeforeDurable);
    scenario.budget.crashes = 1;
    is_caught(scenario.clone(), Law::DurableFirst.name());
    is_caught(scenario.clone(), Law::NoOlderPin.name());
    is_caught(scenario, Law::NoGoingBack.name());
}

#[test]
fn a_leaver_that_does_not_look_again_is_caught() {
    is_caught(moves().with(Shell::NoSecondLook), Law::OneBackend.name());
}

#[test]
fn failing_back_to_the_first_is_caught() {
    is_caught(deaths().with(Shell::FailBack), Law::NoFailingBack.name());
}

#[test]
fn lost_wake_ups_are_caught() {
    let mut refused_once = deaths().with(Shell::TellsNobody);
    // It was just restarting: no probe has seen it down.
    refused_once.budget.turns = 2;
    is_caught(refused_once.clone(), STUCK);
    is_caught(refused_once, ENDS_WELL);
    is_caught(moves().with(Shell::SilentKnockers), STUCK);
}
