//! A fleet of three edges in virtual time: the real reconciler, gates, lifeline and store's client of each, on a simulated
//! network, in front of a simulated etcd, under faults that a seed decides. One history of all edges is judged by
//! [`laws`].
//!
//! Another few seeds each time; `GHOSTPIN_SEEDS=1000` runs so many, and `GHOSTPIN_SEED=7` that one alone, with what
//! happened in it if a law was broken.

mod backends;
mod changing;
mod detours;
#[path = "../differential/checks/dice.rs"]
mod dice;
mod edge;
mod etcd;
mod faults;
mod fleet;
mod grpc;
mod history;
mod laws;
mod messages;
mod network;
mod readers;
mod sites;
mod stories;
mod truth;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant};

use dice::Dice;
use history::{Event, What};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

/// Seeds of a usual run.
const SEEDS: u64 = 60;
/// Events that are shown before the one that broke a law.
const SHOWN: usize = 60;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
fn no_seed_breaks_a_law() {
    let one = number("GHOSTPIN_SEED");
    // Small numbers are easier to pass on.
    let first = one.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
    let seeds = number("GHOSTPIN_SEEDS").unwrap_or(if one.is_some() { 1 } else { SEEDS });
    let began = Instant::now();
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut virtual_time, mut to_rest) = (Duration::ZERO, Duration::ZERO);
    let (mut handoffs, mut requests, mut carried, mut shared) = (0, 0, 0, 0);
    for (done, seed) in (1..).zip(first..first + seeds) {
        let run = fleet::run(seed);
        let broken = laws::judge(&run.history);
        if let Some(first) = broken.first() {
            let end = run.history.partition_point(|event| event.at <= first.at);
            let is_fault = |event: &&Event| matches!(event.what, What::Fault(_));
            let faults = run.history[..end.saturating_sub(SHOWN)].iter().filter(is_fault);
            for event in faults.chain(&run.history[end.saturating_sub(SHOWN)..end]) {
                println!("{:10.3?} {:?} {:?}", event.at, event.edge, event.what);
            }
        }
        assert!(
            broken.is_empty(),
            "{broken:#?}\nseed {seed}, the {done}. of this run; it is repeated by\n  GHOSTPIN_SEED={seed} cargo test \
             --features cluster --test fleet_simulation no_seed -- --nocapture"
        );
        virtual_time += run.took;
        run.faults.into_iter().for_each(|(name, times)| *faults.entry(name).or_default() += times);
        if let Some(rest) = laws::rest(&run.history) {
            to_rest = to_rest.max(rest.last - rest.since);
        }
        for event in run.history {
            match event.what {
                What::Written { under, serves: true } if under.epoch > 1 => handoffs += 1,
                What::Delivered { .. } => requests += 1,
                What::Carried(_) => carried += 1,
                What::Shared { .. } => shared += 1,
                _ => {}
            }
        }
    }
    let per_minute = seeds as f64 / began.elapsed().as_secs_f64() * 60.0;
    println!(
        "{seeds} seeds from {first}: {:.0} virtual seconds, {handoffs} records of a handoff served, {} faults, {requests} \
         answers, {carried} requests through another edge, {shared} with another one's answer, at \
         rest within {to_rest:.1?}; {per_minute:.0} seeds a minute",
        virtual_time.as_secs_f64(),
        faults.values().sum::<u64>()
    );
    println!("{faults:#?}");
    let all_happened = requests > 0 && handoffs > 0 && (carried > 0 && shared > 0 || seeds < SEEDS);
    assert!(all_happened, "nothing happened that could have gone wrong");
}

#[test]
fn what_was_compacted_while_it_was_read_is_read_anew() {
    fleet::runtime().block_on(LocalSet::new().run_until(async {
        let history = Rc::new(history::History::begin());
        let (dials, dialled) = mpsc::unbounded_channel();
        let etcd = etcd::Etcd::start(sites::MEMBERS.len(), Dice::new(1), history);
        let _network = network::Network::start(1, etcd.clone(), Dice::new(2), dialled);
        let cluster = sites::config(0, 0).cluster.expect("it is one of many edges");
        let store = network::store(0, cluster, dials);
        // Nothing that was read stands a moment later, for a second.
        let busy = spawn_local(async move {
            for _ in 0..1_000 {
                etcd.put("/ghostpin/else");
                etcd.compact(0);
                sleep(Duration::from_millis(1)).await;
            }
        });
        let read = store.list(["sites/", "edges/", "seen/", "wishes/"]);
        timeout(Duration::from_secs(10), read).await.expect("it is read in the end");
        assert!(busy.is_finished(), "it was read before anything was compacted");
    }));
}

#[test]
fn a_site_that_came_and_went_while_its_controller_was_frozen_comes_back() {
    let run = fleet::play(1, stories::a_site_comes_and_goes_while_its_controller_is_frozen);
    assert_eq!(laws::judge(&run.history), []);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let (one, other) = (fleet::run(1).history, fleet::run(1).history);
    let differs = one.iter().zip(&other).position(|(one, other)| one != other);
    if let Some(at) = differs {
        panic!("the {at}. event differs: {:?} and {:?}", one[at], other[at]);
    }
    assert_eq!(one.len(), other.len());
}
