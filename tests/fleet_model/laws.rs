//! What must always hold, for all edges together. What can only be judged by looking back is written down outside.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard};

use ghostpin::core::fleet::RecordPhase;
use ghostpin::core::fleet::edge::Life;
use ghostpin::core::{Epoch, Pin};

use super::scenario::{Scenario, name};
use super::store::Write;
use super::world::{Event, World};

/// The promises, as far as edges, controllers and the store have them to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Law {
    /// G1: nothing is handed over under one epoch while something may still be handed over, or answered, under another.
    OneBackend,
    /// G2: after a head of one epoch, no head of an older one, from whichever edge.
    NoGoingBack,
    /// G5: epochs in the store never fall, and none has two backends.
    EpochsGrow,
    /// G5: no edge opens what is older than what it has known, on its disk or since, nor the same epoch elsewhere.
    NoOlderPin,
    /// G5: a pin is on an edge's disk before anybody is let in there under it.
    DurableFirst,
    /// A new epoch stands in the store only when no edge has, or can let in, a request of the one before; and from then
    /// on nothing is handed over or answered under that one.
    FencedFirst,
    /// What an edge has said to have applied, it never takes back.
    WatermarkGrows,
    /// A key is given up only when nothing is left that others must wait for.
    EmptyFirst,
}

impl Law {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneBackend => "G1 one backend",
            Self::NoGoingBack => "G2 no going back",
            Self::EpochsGrow => "G5 epochs grow",
            Self::NoOlderPin => "G5 no older pin",
            Self::DurableFirst => "G5 durable before open",
            Self::FencedFirst => "fenced first",
            Self::WatermarkGrows => "the watermark never falls",
            Self::EmptyFirst => "a key goes when nothing is left",
        }
    }

    /// A store that was brought back to an older state has forgotten what these rest on; what each edge knows by itself
    /// is all that is left then.
    fn rests_on_the_store(self) -> bool {
        !matches!(self, Self::NoOlderPin | Self::DurableFirst)
    }
}

/// What an observer of the whole fleet has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    broken: Vec<Law>,
    heads: BTreeMap<u8, Epoch>,
    /// The newest pin that was written.
    pins: BTreeMap<u8, Pin>,
    /// What each edge has opened last.
    opened: BTreeMap<(usize, u8), Pin>,
    /// Edges that have delivered a head of a second epoch.
    moved: u8,
    pub(crate) store_went_back: bool,
}

impl Seen {
    pub(crate) fn is_broken(&self, law: Law) -> bool {
        self.broken.contains(&law)
    }

    pub(crate) fn demands(&mut self, law: Law, holds: bool) {
        let is_judged = !(self.store_went_back && law.rests_on_the_store());
        if !holds && is_judged && !self.broken.contains(&law) {
            self.broken.push(law);
        }
    }

    fn head(&mut self, edge: usize, site: u8, epoch: Epoch) {
        let newest = *self.heads.entry(site).or_insert(epoch);
        self.demands(Law::NoGoingBack, epoch >= newest);
        self.heads.insert(site, epoch.max(newest));
        if epoch > Epoch(1) {
            self.moved |= 1 << edge;
        }
    }

    /// Those that have anybody to answer.
    pub(crate) fn have_all_moved(&self, scenario: &Scenario) -> bool {
        (0..scenario.edges).all(|edge| scenario.requests[edge] == 0 || self.moved & 1 << edge != 0)
    }

    /// An edge opens a gate. It has `known` of this pin, or of another.
    pub(crate) fn opens(&mut self, edge: usize, site: u8, pin: &Pin, known: Option<&Pin>) {
        let opened = self.opened.insert((edge, site), pin.clone());
        let goes_on = |before: &Pin| pin.epoch > before.epoch || pin == before;
        self.demands(Law::NoOlderPin, opened.iter().chain(known).all(goes_on));
    }

    pub(crate) fn stands(&mut self, site: u8, pin: &Pin) {
        if let Some(before) = self.pins.get(&site) {
            let grows = pin.epoch > before.epoch || pin == before;
            self.demands(Law::EpochsGrow, grows);
        }
        self.pins.insert(site, pin.clone());
    }
}

/// What is written just now.
pub(crate) fn look_at_a_write(world: &mut World, scenario: &Scenario, site: u8, write: &Write) {
    let Some(record) = &write.record else { return };
    world.seen.stands(site, &record.pin);
    if record.phase == RecordPhase::Serve {
        let is_fenced =
            !world.edges.iter().any(|edge| edge.may_serve_before(world, scenario, site, &record.pin));
        world.seen.demands(Law::FencedFirst, is_fenced);
    }
}

/// What is handed over just now.
pub(crate) fn look_at_a_hand_over(world: &mut World, scenario: &Scenario, site: u8, epoch: Epoch) {
    let now = world.now;
    let others = world.edges.iter().filter(|edge| edge.is_in_time(scenario, now));
    let alone = others.flat_map(|edge| edge.active(site)).all(|other| other == epoch);
    world.seen.demands(Law::OneBackend, alone);
    look_at_the_store(world, site, epoch);
}

/// What is delivered just now.
pub(crate) fn look_at_a_head(world: &mut World, edge: usize, site: u8, epoch: Epoch) {
    world.seen.head(edge, site, epoch);
    look_at_the_store(world, site, epoch);
}

fn look_at_the_store(world: &mut World, site: u8, epoch: Epoch) {
    let stored = world.store.sites.get(&name(site));
    let is_newest = stored.is_none_or(|(record, _)| record.pin.epoch <= epoch);
    world.seen.demands(Law::FencedFirst, is_newest);
}

/// Whether a world in which nothing happens any more is as it should be: what the store says is what all edges do.
fn rests_well(world: &World, scenario: &Scenario) -> bool {
    (0..scenario.sites).all(|site| {
        let Some((record, _)) = world.store.sites.get(&name(site)) else { return false };
        world.edges.iter().all(|edge| {
            let opened = edge.core.open_under(&name(site));
            let follows = matches!(edge.core.life(), Life::Following(_));
            let as_said = match &record.phase {
                RecordPhase::Serve if edge.core.refuses(&name(site)).is_some() => opened.is_none(),
                RecordPhase::Serve => opened == Some(&record.pin) && edge.gates[usize::from(site)].open,
                RecordPhase::Gone => opened.is_none(),
                RecordPhase::Fence(_) => false,
            };
            edge.up && follows && as_said
        })
    })
}

/// Worlds that were left alone, and are known to come to a good rest. Many states lead into the same ones.
#[derive(Default)]
pub(crate) struct EndWell(Mutex<HashSet<u64>>);

impl EndWell {
    /// From here on nothing befalls the fleet any more, and it does all that it does by itself: it comes to a good rest.
    pub(crate) fn from(&self, world: &World, scenario: &Scenario) -> bool {
        const MORE_THAN_ENOUGH: usize = 500;
        let mut world = world.clone();
        world.left_alone();
        let mut passed = vec![];
        for _ in 0..MORE_THAN_ENOUGH {
            let this = BuildHasherDefault::<DefaultHasher>::default().hash_one(&world);
            let is_known = self.known().contains(&this);
            passed.push(this);
            let event = if is_known { None } else { world.own_events(scenario).into_iter().next() };
            match event {
                Some(event) => world.happens(scenario, event),
                None if is_known || rests_well(&world, scenario) => {
                    self.known().extend(passed);
                    return true;
                }
                None => pass_time(&mut world, scenario),
            }
        }
        false
    }

    fn known(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The clock goes on, the store forgets who is gone, edges renew their leases, and drains come to their end.
fn pass_time(world: &mut World, scenario: &Scenario) {
    world.happens(scenario, Event::Ticks);
    let over: Vec<_> = world.ended_leases().collect();
    for lease in over {
        world.happens(scenario, Event::LeaseEnds(lease));
    }
    for edge in 0..scenario.edges {
        if world.edges[edge].core.lease().is_some() {
            world.happens(scenario, Event::RenewsLease(edge));
            while !world.edges[edge].renewals.is_empty() {
                world.happens(scenario, Event::HearsOfLease { edge, at: 0 });
            }
        }
    }
    for event in world.cuts() {
        world.happens(scenario, event);
    }
}
