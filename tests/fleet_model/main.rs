//! Many edges, one truth: the real cores of edges and ledgers, in every order in which things may happen within bounds.
//!
//! `GHOSTPIN_MODEL=deep` explores larger worlds as well; it wants a release build and some minutes.

mod caught;
mod controllers;
mod edges;
mod holding;
mod laws;
mod led;
mod scenario;
mod store;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use laws::{EndWell, Law};
use scenario::Scenario;
use world::{Event, World};

/// Wherever it has come to: left alone, it comes to a rest, with each site open everywhere.
const ENDS_WELL: &str = "all ends well";
/// The same if the controller ends there.
const ENDS_UNDER_THE_NEXT: &str = "it ends under the next controller";
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
            NoFailingBack,
            GoesOn,
            EmptyFirst
        ];
        all.push(Property::always(ENDS_WELL, |explored: &Self, world: &World| {
            !explored.scenario.ends || explored.end_well.from(world, &explored.scenario)
        }));
        all.push(Property::always(ENDS_UNDER_THE_NEXT, |explored: &Self, world: &World| {
            let scenario = &explored.scenario;
            !scenario.ends || scenario.policy.is_none() || explored.end_well.under_the_next(world, scenario)
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
    is_found(Explored::new(Scenario { ends: false, ..scenario }, Some(law)), law.name());
}

/// Explores until something comes to no good end under the next controller, and prints how.
fn never_ends(scenario: Scenario) {
    is_found(Explored::new(scenario, None), ENDS_UNDER_THE_NEXT);
}

fn is_found(explored: Explored, law: &'static str) {
    let (name, shell) = (explored.scenario.name, explored.scenario.shell);
    let until = HasDiscoveries::AllOf(BTreeSet::from([law]));
    let checker = explored.checker().finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker.discovery(law).unwrap_or_else(|| panic!("{name}: {shell:?} was not caught"));
    let events = path.into_actions();
    println!(
        "{name}, {shell:?}: breaks \"{law}\" after {} events ({states} states seen): {events:?}",
        events.len()
    );
}

/// How much of something there is, usually and in a deep exploration.
fn much(usually: u8, deep: u8) -> u8 {
    if std::env::var("GHOSTPIN_MODEL").is_ok_and(|how| how == "deep") { deep } else { usually }
}
