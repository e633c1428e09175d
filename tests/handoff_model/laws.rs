//! What must always hold. What can only be judged by looking back is written down outside of the process.

use ghostpin::core::handoff::{Effect, Phase};
use ghostpin::core::{Epoch, Pin};

use super::requests::{Process, Request};
use super::scenario::{Scenario, Wanted};
use super::world::{Event, Store, World, number};

/// The promises, as far as the core, the gate and the store have them to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Law {
    /// G1: never are requests of two epochs with their backends at once.
    OneBackend,
    /// Nothing is stopped, started, asked or made durable while a lease is out.
    FencedFirst,
    /// G2: after a head of one epoch, no head of an older one.
    NoGoingBack,
    /// G5: a pin is durable before anybody is let in under it.
    DurableFirst,
    /// G5: no pin is opened that is older than the newest one that was, and no epoch has two backends.
    NoOlderPin,
    /// G7: the pin moves for a reason only.
    NoFailingBack,
    /// Nobody is promoted who is no candidate.
    NoStranger,
    /// Where instances only run if a hook started them, no two of them do.
    NeverTwo,
    /// A wish is answered once.
    AnsweredOnce,
    /// A site is not forgotten with its pin on the way to the disk.
    NotForgotten,
    /// An elder opens under the pin that is in force at the heir.
    ElderFollows,
}

impl Law {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneBackend => "G1 one backend",
            Self::FencedFirst => "fenced first",
            Self::NoGoingBack => "G2 no going back",
            Self::DurableFirst => "G5 durable before open",
            Self::NoOlderPin => "G5 no older pin",
            Self::NoFailingBack => "G7 no failing back",
            Self::NoStranger => "candidates only",
            Self::NeverTwo => "never two instances",
            Self::AnsweredOnce => "wishes are answered once",
            Self::NotForgotten => "no pin is forgotten",
            Self::ElderFollows => "the elder follows",
        }
    }
}

/// What an observer outside of the process has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    broken: Vec<Law>,
    newest_head: Epoch,
    /// The newest pin that was opened.
    opened: Option<Pin>,
    /// Reasons to leave it, since it was opened.
    wished: bool,
    ill: bool,
    removed: bool,
    wishes: u64,
    unanswered: Vec<u64>,
}

impl Seen {
    pub(crate) fn breaks(&mut self, law: Law) {
        if !self.broken.contains(&law) {
            self.broken.push(law);
        }
    }

    pub(crate) fn is_broken(&self, law: Law) -> bool {
        self.broken.contains(&law)
    }

    fn demands(&mut self, law: Law, holds: bool) {
        if !holds {
            self.breaks(law);
        }
    }

    pub(crate) fn newest_head(&self) -> Epoch {
        self.newest_head
    }

    pub(crate) fn head(&mut self, epoch: Epoch) {
        self.demands(Law::NoGoingBack, epoch >= self.newest_head);
        self.newest_head = self.newest_head.max(epoch);
    }

    pub(crate) fn writes(&mut self, pin: &Pin, store: &Store) {
        let falls = store.durable.as_ref().is_some_and(|durable| pin.epoch < durable.epoch);
        self.demands(Law::NoOlderPin, !falls);
    }

    pub(crate) fn opens(&mut self, scenario: &Scenario, pin: &Pin, store: &Store) {
        self.demands(Law::DurableFirst, store.durable.as_ref() == Some(pin));
        if let Some(opened) = &self.opened {
            let moves = opened.backend != pin.backend;
            let is_newer = pin.epoch > opened.epoch || pin.epoch == opened.epoch && !moves;
            let has_reason = self.wished || self.removed || self.ill && scenario.policy.auto;
            self.demands(Law::NoOlderPin, is_newer);
            self.demands(Law::NoFailingBack, !moves || has_reason);
        }
        self.opened = Some(pin.clone());
        (self.wished, self.ill, self.removed) = (false, false, false);
    }

    pub(crate) fn wants(&mut self, effect: &Effect, candidates: &[u8], is_fenced: bool) {
        let target = match effect {
            Effect::RunHook { new, .. } => new,
            Effect::Prove { backend, .. } => backend,
            Effect::Commit(_) => return self.demands(Law::FencedFirst, is_fenced),
            _ => return,
        };
        self.demands(Law::FencedFirst, is_fenced);
        self.demands(Law::NoStranger, candidates.contains(&number(target)));
    }

    // Wishes.

    pub(crate) fn wished(&mut self) -> u64 {
        self.wishes += 1;
        self.unanswered.push(self.wishes);
        self.wishes
    }

    pub(crate) fn accepted(&mut self, id: u64, wanted: Wanted) {
        self.wished |= matches!(wanted, Wanted::MoveTo(_)) && self.unanswered.contains(&id);
    }

    pub(crate) fn answered(&mut self, id: u64) {
        let waiting = self.unanswered.iter().position(|waiting| *waiting == id);
        self.demands(Law::AnsweredOnce, waiting.is_some());
        if let Some(at) = waiting {
            self.unanswered.remove(at);
        }
    }

    pub(crate) fn nobody_waits_for_answers(&mut self) {
        self.unanswered.clear();
    }
}

/// Looks at the world after each event.
pub(crate) fn look(world: &mut World, scenario: &Scenario) {
    let one = {
        let requests = world.processes().flat_map(|process| &process.requests);
        let mut epochs = requests.filter_map(|request| request.active());
        let first = epochs.next();
        epochs.all(|epoch| Some(epoch) == first)
    };
    let two_run = scenario.alone && world.up.iter().filter(|up| **up).count() > 1;
    let is_lost = world.list.is_none() && world.site.is_gone() && !world.store.writing.is_empty();
    let pinned =
        world.site.pin().map(|pin| world.site.candidates().iter().find(|c| c.backend == pin.backend));
    let (is_ill, is_removed) = match pinned {
        Some(Some(candidate)) => (candidate.health.is_unwell(), !candidate.listed),
        Some(None) => (false, true),
        None => (false, false),
    };
    let seen = &mut world.seen;
    seen.demands(Law::OneBackend, one);
    seen.demands(Law::NeverTwo, !two_run);
    seen.demands(Law::NotForgotten, !is_lost);
    seen.ill |= is_ill;
    seen.removed |= is_removed;
}

/// Nothing is going to happen by itself any more.
pub(crate) fn is_at_rest(world: &World, scenario: &Scenario) -> bool {
    world.own_events(scenario).is_empty() && !world.timer_matters()
}

/// Whether a world at rest is as it should be: if there is somebody who may serve, he does, and nobody waits.
pub(crate) fn rests_well(world: &World, scenario: &Scenario) -> bool {
    let elder = world.elder.as_ref();
    if elder.and_then(|elder| elder.process.as_ref()).is_some_and(|elder| !elder_rests_well(world, elder)) {
        return false;
    }
    let Some(list) = world.list else { return world.seen.unanswered.is_empty() };
    if !world.seen.unanswered.is_empty() {
        return false;
    }
    if world.site.is_on_hold() {
        return !world.here.gate.lets_in();
    }
    let candidates = &scenario.lists[list];
    let pinned = world.site.pin().map(|pin| number(&pin.backend));
    let is_bound = !scenario.policy.auto && pinned.is_some_and(|pinned| candidates.contains(&pinned));
    let refuses = scenario.policy.warm_standby == ghostpin::core::handoff::WarmStandby::Refuse;
    let may_serve = candidates.iter().any(|candidate| {
        let can_be_up = world.up[usize::from(*candidate)] || scenario.policy.start_hook.is_some();
        can_be_up && (pinned == Some(*candidate) || !is_bound && !refuses)
    });
    if !may_serve {
        return true;
    }
    let serves = *world.site.phase() == Phase::Serving
        && world.here.gate.lets_in()
        && world.here.gate.pin.as_ref() == world.site.pin()
        && pinned.is_some_and(|pinned| world.up[usize::from(pinned)] && candidates.contains(&pinned));
    serves && !world.here.requests.contains(&Request::Held)
}

/// It serves where the heir does, under the same pin, and nobody waits there then.
fn elder_rests_well(world: &World, elder: &Process) -> bool {
    let serves = !world.forgotten && *world.site.phase() == Phase::Serving;
    let waits = elder.requests.contains(&Request::Held);
    match serves {
        true => !waits && (!elder.gate.lets_in() || elder.gate.pin.as_ref() == world.site.pin()),
        false => world.forgotten || !elder.gate.lets_in(),
    }
}

/// From here on the world does nothing by itself, and the proxy everything, timers last: it comes to a good rest.
pub(crate) fn ends_well(world: &World, scenario: &Scenario) -> bool {
    const MORE_THAN_ENOUGH: usize = 300;
    let mut world = world.clone();
    for _ in 0..MORE_THAN_ENOUGH {
        let event = world.own_events(scenario).into_iter().next();
        match event.or_else(|| world.timer_matters().then_some(Event::TimerFires)) {
            Some(event) => world.happens(scenario, event),
            None => return rests_well(&world, scenario),
        }
    }
    false
}
