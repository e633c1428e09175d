//! What must always hold, for all edges together. What can only be judged by looking back is written down outside.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard};

use ghostpin::core::fleet::{Partition, RecordPhase};
use ghostpin::core::{Epoch, Pin};

use super::controllers::Controller;
use super::edges::Process;
use super::led::Heard;
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
    /// G7: the pin moves for a reason only.
    NoFailingBack,
    /// With `partition = "serve"`, an edge that can't reach the store goes on with the pins that it knows.
    GoesOn,
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
            Self::NoFailingBack => "G7 no failing back",
            Self::GoesOn => "goes on with the pins that it knows",
            Self::WatermarkGrows => "the watermark never falls",
            Self::EmptyFirst => "a key goes when nothing is left",
        }
    }

    /// A store that was brought back to an older state has forgotten what these rest on; what each edge knows by itself
    /// is all that is left then.
    fn rests_on_the_store(self) -> bool {
        !matches!(self, Self::NoOlderPin | Self::DurableFirst | Self::GoesOn)
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
    /// Sites that have got a reason to leave their newest pin's backend.
    reasons: BTreeSet<u8>,
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

    /// Its pinned backend was seen unwell, or somebody has wished that the site be moved.
    pub(crate) fn has_reason(&mut self, site: u8) {
        self.reasons.insert(site);
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
    if let Some(before) = world.seen.pins.get(&site).filter(|_| scenario.policy.is_some()) {
        let newest = before.epoch;
        let stays = before.backend == record.pin.backend;
        let has_reason = world.seen.reasons.contains(&site);
        world.seen.demands(Law::NoFailingBack, stays || has_reason);
        if record.pin.epoch > newest {
            world.seen.reasons.remove(&site);
        }
    }
    world.seen.stands(site, &record.pin);
    if record.phase == RecordPhase::Serve {
        let is_fenced =
            !world.edges.iter().any(|edge| edge.may_serve_before(world, scenario, site, &record.pin));
        world.seen.demands(Law::FencedFirst, is_fenced);
    }
}

/// What is handed over just now.
pub(crate) fn look_at_a_hand_over(
    world: &mut World,
    scenario: &Scenario,
    edge: usize,
    site: u8,
    epoch: Epoch,
) {
    let now = world.now;
    let is_judged = |edge: &&Process| edge.is_judged(scenario, now, site);
    if !is_judged(&&world.edges[edge]) {
        return;
    }
    let others = world.edges.iter().filter(is_judged);
    let alone = others.flat_map(|edge| edge.active(site)).all(|other| other == epoch);
    world.seen.demands(Law::OneBackend, alone);
    look_at_the_store(world, site, epoch);
}

/// What is delivered just now.
pub(crate) fn look_at_a_head(world: &mut World, scenario: &Scenario, edge: usize, site: u8, epoch: Epoch) {
    if scenario.partition == Partition::Fence || world.edges[edge].is_judged(scenario, world.now, site) {
        world.seen.head(edge, site, epoch);
        look_at_the_store(world, site, epoch);
    }
}

/// A gate is as the store has said, as far as this life knows; without the store, too, where that is wanted.
pub(crate) fn look_at_the_gates(world: &mut World, scenario: &Scenario) {
    if scenario.partition == Partition::Fence {
        return;
    }
    let all = (0..scenario.edges).flat_map(|edge| (0..scenario.sites).map(move |site| (edge, site)));
    let goes_on = |(edge, site): (usize, u8)| {
        let (process, name) = (&world.edges[edge], name(site));
        let gate = &process.gates[usize::from(site)];
        let Some(record) = process.core.record(&name) else { return true };
        match record.serves() {
            None => !gate.open,
            Some(pin) => {
                let suspicions = process.core.suspicions();
                let is_reached = suspicions.of(&name).is_none() || suspicions.takes_detour(&name);
                let may_open = is_reached
                    && process.core.refuses(&name).is_none()
                    && process.active(site).all(|epoch| epoch == pin.epoch);
                !may_open || gate.open && process.core.open_under(&name) == Some(pin)
            }
        }
    };
    let holds = all.clone().all(goes_on);
    world.seen.demands(Law::GoesOn, holds);
}

fn look_at_the_store(world: &mut World, site: u8, epoch: Epoch) {
    let stored = world.store.sites.get(&name(site));
    let is_newest = stored.is_none_or(|(record, _)| record.pin.epoch <= epoch);
    world.seen.demands(Law::FencedFirst, is_newest);
}

/// How a world is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// Held by an operator or not.
    Either,
    /// By one who has wished that.
    Held(bool),
}

/// Whether a world in which nothing happens any more is as it should be: what the store says is what all edges do, and a
/// site that somebody could serve is served by a backend that is up.
fn rests_well(world: &World, scenario: &Scenario, end: End) -> bool {
    (0..scenario.sites).all(|site| {
        let Some((record, _)) = world.store.sites.get(&name(site)) else { return false };
        let nobody_is_up = !world.up.contains(&true);
        let is_held = matches!(&record.phase, RecordPhase::Fence(fence) if fence.hold);
        if !nobody_is_up && matches!(end, End::Held(held) if held != is_held) {
            return false;
        }
        world.edges.iter().all(|edge| {
            let opened = edge.core.open_under(&name(site));
            let follows = edge.is_following();
            if !edge.served[usize::from(site)] {
                return edge.up && follows && opened.is_none();
            }
            let as_said = match &record.phase {
                RecordPhase::Serve if edge.core.refuses(&name(site)).is_some() => {
                    scenario.policy.is_none() && opened.is_none()
                }
                RecordPhase::Serve if world.is_up(&record.pin.backend) => {
                    opened == Some(&record.pin) && edge.gates[usize::from(site)].open
                }
                RecordPhase::Serve => nobody_is_up,
                RecordPhase::Gone => opened.is_none(),
                RecordPhase::Fence(_) => opened.is_none() && (is_held || nobody_is_up),
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
        self.ends(world.clone(), scenario, End::Either)
    }

    /// The same if every controller ends here. What an operator has wished of a hold, and was written, is what the next
    /// one finds.
    pub(crate) fn under_the_next(&self, world: &World, scenario: &Scenario) -> bool {
        let is_said = world.store.writes.is_empty()
            && world.own_events(scenario).iter().all(|event| !matches!(event, Event::ControllerSees(_)));
        let holds = |state: &Controller| match state {
            Controller::Leading(leader) if leader.answers.is_empty() => {
                leader.led.values().next().map(|led| led.core.is_on_hold())
            }
            _ => None,
        };
        let mut leading = world.controllers.iter().filter(|state| **state != Controller::Idle);
        let one = leading.next().and_then(holds);
        let end = match one {
            Some(held) if is_said && leading.next().is_none() => End::Held(held),
            _ => End::Either,
        };
        let mut world = world.clone();
        for controller in 0..scenario.controllers {
            world.steps_down(controller);
        }
        self.ends(world, scenario, end)
    }

    fn ends(&self, mut world: World, scenario: &Scenario, end: End) -> bool {
        const MORE_THAN_ENOUGH: usize = 500;
        world.left_alone();
        let mut passed = vec![];
        for _ in 0..MORE_THAN_ENOUGH {
            let this = BuildHasherDefault::<DefaultHasher>::default().hash_one((&world, end));
            let is_known = self.known().contains(&this);
            passed.push(this);
            let event = if is_known { None } else { world.own_events(scenario).into_iter().next() };
            match event {
                Some(event) => world.happens(scenario, event),
                None if is_known || rests_well(&world, scenario, end) => {
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
    for event in world.cuts().into_iter().chain(world.cores_hear(Heard::TimerFired)) {
        world.happens(scenario, event);
    }
}
