//! Many edges, one truth: the real cores of edges and ledgers, in every order in which things may happen within bounds.
//!
//! `GHOSTPIN_MODEL=deep` explores larger worlds as well; it wants a release build and some minutes.

mod controllers;
mod edges;
mod laws;
mod scenario;
mod store;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use laws::{EndWell, Law};
use scenario::{Budget, Scenario, Shell};
use world::{Event, World};

/// Wherever it has come to: left alone, it comes to a rest, with each site open everywhere.
const ENDS_WELL: &str = "all ends well";
/// So that it is not for want of anything happening that the laws hold.
const ALL_MOVE: &str = "every edge answers under a second epoch";

/// A scenario, and the law that is to be broken, if any is: what comes after that is of no interest.
struct Explored {
    scenario: Scenario,
    breaks: Option<Law>,
    end_well: EndWell,
}

impl Explored {
    fn new(scenario: Scenario, breaks: Option<Law>) -> Self {
        Self { scenario, breaks, end_well: EndWell::default() }
    }
}

impl Model for Explored {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scenario)]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if self.breaks.is_some_and(|law| world.seen.is_broken(law)) {
            return;
        }
        events.extend(world.own_events(&self.scenario));
        events.retain(|event| {
            !matches!(event, Event::IsGranted(_)) || world.store.granted < self.scenario.lives
        });
        world.other_events(&self.scenario, events);
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        next.happens(&self.scenario, event);
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
            NoGoingBack,
            EpochsGrow,
            NoOlderPin,
            DurableFirst,
            FencedFirst,
            WatermarkGrows,
            EmptyFirst
        ];
        all.push(Property::always(ENDS_WELL, |explored: &Self, world: &World| {
            !explored.scenario.ends || explored.end_well.from(world, &explored.scenario)
        }));
        all.push(Property::sometimes(ALL_MOVE, |explored: &Self, world: &World| {
            world.seen.have_all_moved(&explored.scenario)
        }));
        all
    }
}

/// Explores all of a scenario, and prints how much that was.
fn holds(scenario: Scenario) {
    let name = scenario.name;
    let began = Instant::now();
    let checker = Explored::new(scenario, None)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    println!("{name}: {unique} states ({states} steps, depth {depth}) in {:.1?}", began.elapsed());
    for (law, path) in checker.discoveries() {
        if law == ALL_MOVE {
            continue;
        }
        let last = path.last_state().clone();
        let events = path.into_actions();
        panic!("{name}: broken: {law}, after {} events: {events:?}\n{last:?}", events.len());
    }
    assert!(checker.is_done(), "{name}: not all of it was explored");
    checker.assert_any_discovery(ALL_MOVE);
}

/// Explores until the law is broken, and prints how.
fn is_caught(scenario: Scenario, law: Law) {
    let scenario = Scenario { ends: false, ..scenario };
    let (name, shell) = (scenario.name, scenario.shell);
    let until = HasDiscoveries::AllOf(BTreeSet::from([law.name()]));
    let checker = Explored::new(scenario, Some(law)).checker().finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker.discovery(law.name()).unwrap_or_else(|| panic!("{name}: {shell:?} was not caught"));
    let events = path.into_actions();
    println!(
        "{shell:?} breaks \"{}\" after {} events ({states} states seen): {events:?}",
        law.name(),
        events.len()
    );
}

/// How much of something there is, usually and in a deep exploration.
fn much(usually: u8, deep: u8) -> u8 {
    if std::env::var("GHOSTPIN_MODEL").is_ok_and(|how| how == "deep") { deep } else { usually }
}

// ## What holds

#[test]
fn a_site_moves_on_all_edges_together() {
    let budget = Budget { moves: 1, cuts: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::quiet("a move") });
}

#[test]
fn it_moves_on_and_on() {
    let budget = Budget { moves: much(3, 2), cuts: much(1, 0), ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "moves") });
}

#[test]
fn a_fence_may_be_given_up_at_any_time() {
    let budget = Budget { moves: 2, reopenings: much(2, 1), ..Budget::default() };
    holds(Scenario { budget, late_reports: true, ..Scenario::of(much(1, 2), "given up") });
}

#[test]
fn an_edge_that_hears_nothing_serves_no_more() {
    let budget = Budget { moves: 1, ticks: 2, keep_alives: much(0, 1), ..Budget::default() };
    let requests = vec![1, much(0, 1).into()];
    holds(Scenario { budget, lives: 2, requests, ..Scenario::quiet("deadlines") });
}

#[test]
fn an_edge_lives_as_long_as_it_is_answered() {
    let budget = Budget { moves: 1, ticks: much(2, 4), keep_alives: 2, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(1, "renewals") });
}

#[test]
fn what_was_looked_at_may_be_done_within_the_margin() {
    let budget = Budget { moves: 1, ticks: 3, keep_alives: 1, ..Budget::default() };
    holds(Scenario { budget, lag: 1, ..Scenario::of(much(1, 2), "late hands") });
}

#[test]
fn an_edge_joins_in_the_middle_of_everything() {
    let budget = Budget { moves: 1, watches_lost: much(0, 1), ..Budget::default() };
    holds(Scenario { budget, living: 1, ..Scenario::quiet("joining") });
}

#[test]
fn a_watch_may_lose_its_place_at_any_time() {
    let budget = Budget { moves: 1, watches_lost: 2, cuts: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "relisting") });
}

#[test]
fn an_edge_may_crash_at_any_point() {
    let budget = Budget { moves: 1, crashes: 1, ticks: 2, keep_alives: much(0, 1), ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "crashes") });
}

#[test]
fn two_may_believe_that_they_lead() {
    let budget = Budget { moves: 2, elections: 1, timeouts: 1, ..Budget::default() };
    holds(Scenario { budget, controllers: 2, ..Scenario::of(much(1, 2), "two controllers") });
}

#[test]
fn the_fate_of_a_write_may_be_unknown() {
    let budget = Budget { moves: 2, timeouts: 2, reopenings: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "unknown fates") });
}

#[test]
fn a_site_may_go_and_come_back() {
    let budget = Budget { retirements: 2, moves: 1, elections: much(0, 1), ..Budget::default() };
    holds(Scenario { budget, controllers: 2, ..Scenario::of(much(1, 2), "going and coming back") });
}

#[test]
fn an_edge_may_leave_and_come_back() {
    let budget = Budget { moves: 1, leaves: 1, suspicions: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "leaving and suspecting") });
}

#[test]
fn a_store_that_went_back_takes_no_edge_back() {
    let budget = Budget { moves: 2, restores: 1, crashes: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "an old snapshot") });
}

#[test]
fn one_sites_drain_holds_up_no_other() {
    let budget = Budget { moves: 2, ..Budget::default() };
    holds(Scenario { budget, sites: 2, ..Scenario::of(much(1, 2), "two sites") });
}

// ## What is caught

fn moves() -> Scenario {
    let budget = Budget { moves: 1, ..Budget::default() };
    Scenario { budget, ..Scenario::quiet("moves") }
}

/// Time enough for the lease of an edge to end while it hears nothing.
fn partitions() -> Scenario {
    let budget = Budget { moves: 1, ticks: 2, ..Budget::default() };
    Scenario { budget, ..Scenario::of(1, "partitions") }
}

/// Another believes that it leads.
fn rivals() -> Scenario {
    let budget = Budget { moves: 2, elections: 1, ..Budget::default() };
    Scenario { budget, controllers: 2, ..Scenario::of(1, "rivals") }
}

#[test]
fn not_waiting_for_the_watermark_is_caught() {
    is_caught(moves().with(Shell::IgnoresWatermarks), Law::OneBackend);
}

#[test]
fn a_watermark_that_hides_leases_is_caught() {
    is_caught(moves().with(Shell::TellsNoPending), Law::OneBackend);
}

#[test]
fn a_fence_judged_by_an_older_view_is_caught() {
    let scenario = Scenario { edges: 1, living: 0, ..moves() };
    is_caught(scenario.with(Shell::JudgesByAnOlderView), Law::FencedFirst);
}

#[test]
fn a_lease_counted_from_the_answer_is_caught() {
    let mut scenario = partitions().with(Shell::CountsFromTheAnswer);
    scenario.budget.keep_alives = 1;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn an_answer_to_another_keep_alive_is_caught() {
    let mut scenario = partitions().with(Shell::CountsAnyAnswer);
    scenario.budget.keep_alives = 2;
    scenario.budget.ticks = 3;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn a_write_without_a_guard_is_caught() {
    is_caught(rivals().with(Shell::NoGuard), Law::EpochsGrow);
}

#[test]
fn a_list_before_the_key_is_caught() {
    is_caught(Scenario { living: 1, ..moves() }.with(Shell::ListsFirst), Law::OneBackend);
}

#[test]
fn a_list_from_a_member_that_lags_is_caught() {
    let mut scenario = moves().with(Shell::ListsFromALaggard);
    scenario.budget.watches_lost = 1;
    is_caught(scenario, Law::OneBackend);
}

#[test]
fn a_deadline_kept_by_a_timer_alone_is_caught() {
    is_caught(partitions().with(Shell::TimerAlone), Law::FencedFirst);
}

#[test]
fn a_head_that_is_not_checked_is_caught() {
    is_caught(partitions().with(Shell::HeadUnchecked), Law::FencedFirst);
}

#[test]
fn a_clock_that_stops_in_sleep_is_caught() {
    is_caught(partitions().with(Shell::ClockStops), Law::FencedFirst);
}

#[test]
fn a_life_with_the_key_of_another_is_caught() {
    let mut scenario = partitions().with(Shell::ReusesTheKey);
    scenario.budget.crashes = 1;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn a_deletion_that_forgets_the_epoch_is_caught() {
    let mut scenario = rivals().with(Shell::ForgetsTheEpoch);
    scenario.budget.retirements = 1;
    is_caught(scenario, Law::EpochsGrow);
}

#[test]
fn a_pin_that_is_opened_before_it_is_remembered_is_caught() {
    let mut scenario = Scenario { ..Scenario::of(1, "amnesia") }.with(Shell::OpensBeforeRemembered);
    scenario.budget = Budget { moves: 1, restores: 1, crashes: 1, ..Budget::default() };
    is_caught(scenario.clone(), Law::DurableFirst);
    is_caught(scenario, Law::NoOlderPin);
}

#[test]
fn a_controller_that_goes_on_when_it_was_deposed_is_caught() {
    let mut scenario = rivals().with(Shell::IgnoresDeposition);
    scenario.budget.reopenings = 1;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn a_key_given_up_in_haste_is_caught() {
    let mut scenario = moves().with(Shell::LeavesInHaste);
    scenario.budget.leaves = 1;
    is_caught(scenario.clone(), Law::EmptyFirst);
    is_caught(scenario, Law::OneBackend);
}

#[test]
fn a_word_that_arrives_after_a_newer_one_is_caught() {
    is_caught(moves().with(Shell::OldWordsArrive), Law::WatermarkGrows);
}
