//! One run: three edges, three members of etcd, their network and their backends in one process and in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Once;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::backends::Backends;
use super::dice::Dice;
use super::edge::{Edge, World};
use super::etcd::Etcd;
use super::faults::Faults;
use super::history::{Event, History, What};
use super::laws::{self, REST_MAX};
use super::network::Network;
use super::sites::{self, MEMBERS};

const EDGES: usize = 3;

thread_local! {
    /// Panics of tasks, whose runtime would go on without them.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Has panics counted, besides what else is done with them.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            usual(info);
        }));
    });
}

/// What a run has come to.
pub(crate) struct Run {
    pub(crate) history: Vec<Event>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Virtual time.
    pub(crate) took: Duration,
}

/// Where time goes on by itself, whenever there is nothing left to be done now.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing but memory")
}

/// Runs the fleet of one seed until every site is served everywhere after the last fault, or was not in time.
pub(crate) fn run(seed: u64) -> Run {
    play(seed, Faults::happen)
}

/// The same with a story of its own, which goes on for ever and tells when its last fault is over.
pub(crate) fn play<S: Future<Output = ()> + 'static>(seed: u64, story: impl FnOnce(Rc<Faults>) -> S) -> Run {
    count_panics();
    runtime().block_on(async {
        let dice = |of: &str| Dice::of(format!("{of} of {seed}").as_bytes());
        let history = Rc::new(History::begin());
        let (dials, dialled) = mpsc::unbounded_channel();
        let world = Rc::new(World {
            history: history.clone(),
            backends: Backends::new(dice("backends")),
            detours: RefCell::default(),
            dials,
            sites: Cell::new(sites::USUAL),
        });
        let mut edges: Vec<Edge> = (0..EDGES)
            .map(|number| Edge::new(number, world.clone(), dice(&format!("edge {number}"))))
            .collect();
        // What is no edge's own goes on whatever becomes of them.
        let mut outside = LocalSet::new();
        let faults = {
            let _entered = outside.enter();
            let etcd = Etcd::start(MEMBERS.len(), dice("etcd"), history.clone());
            let network = Network::start(EDGES, etcd.clone(), dice("network"), dialled);
            let edges = edges.iter().map(Edge::switch).collect();
            let (dice, counts) = (dice("faults").into(), Default::default());
            let is_over = Cell::new(false);
            let faults = Faults { world: world.clone(), etcd, network, edges, dice, is_over, counts };
            let faults = Rc::new(faults);
            outside.spawn_local(story(faults.clone()));
            faults
        };
        let mut seen = 0;
        let mut rests = None;
        std::future::poll_fn(|cx| {
            let _ = Pin::new(&mut outside).poll(cx);
            edges.iter_mut().for_each(|edge| edge.poll(cx));
            assert_eq!(PANICS.get(), 0, "a task has panicked, with seed {seed}");
            rests = rests.or_else(|| {
                history.look(|events| {
                    let new = &events[std::mem::replace(&mut seen, events.len())..];
                    new.iter().find(|event| matches!(event.what, What::Rest { .. })).map(|event| event.at)
                })
            });
            let Some(since) = rests else { return Poll::Pending };
            let is_over = history.now() > since + REST_MAX
                || history.look(|events| laws::rest(events).is_some_and(|rest| rest.missing.is_empty()));
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let (took, faults) = (history.now(), faults.counts.take());
        Run { history: history.take(), faults, took }
    })
}
