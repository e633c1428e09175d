//! The fleet as a state machine: edges, a store, controllers, and one clock.
//!
//! Every step is one atomic step of the real thing, and whoever could take one may also take it later: that is what a
//! slow network, a paused process and a sleeping machine look like from outside. The clock moves on between steps.

use ghostpin::core::fleet::edge::Input;
use ghostpin::core::fleet::{LeaseId, Record, RecordPhase, Revision};
use ghostpin::core::{Backend, Epoch};

use super::controllers::{Controller, Decision, Phase};
use super::edges::{Process, Request};
use super::laws::{self, Seen};
use super::led::Heard;
use super::scenario::{self, Budget, Scenario, Shell, name, pin};
use super::store::Store;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) store: Store,
    /// What the store was at the beginning, if it may be brought back to that.
    backup: Option<Box<Store>>,
    pub(crate) edges: Vec<Process>,
    pub(crate) controllers: Vec<Controller>,
    /// Which backends are up.
    pub(crate) up: [bool; 2],
    pub(crate) left: Budget,
    pub(crate) seen: Seen,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    // What the fleet does, sooner or later, whatever befalls it.
    Starts(usize),
    IsGranted(usize),
    Registers(usize),
    ListIsRead {
        edge: usize,
        lagging: bool,
    },
    ListArrives(usize),
    EdgeSees(usize),
    WordIsWritten(usize),
    HearsOfLease {
        edge: usize,
        at: usize,
    },
    Revokes(usize),
    ReportsLeft(usize),
    LooksAtTheClock(usize),
    GoesOn {
        edge: usize,
        request: Request,
    },
    IsCleared {
        edge: usize,
        site: u8,
        epoch: Epoch,
    },
    ControllerSees(u8),
    WriteArrives(usize),
    HearsOfWrite(u8),
    Decides {
        controller: u8,
        site: u8,
        decision: Decision,
    },
    CoreHears {
        controller: u8,
        site: u8,
        heard: Heard,
    },
    /// A controller hears that an edge knows of a newer pin than the store.
    IsRaised {
        controller: u8,
        site: u8,
    },
    // What it can't count on.
    Turns(u8),
    Ticks,
    Drifts {
        edge: usize,
        ahead: bool,
    },
    /// A site is added at an edge, or removed.
    Reloads {
        edge: usize,
        site: u8,
    },
    RenewsLease(usize),
    RenewsInVain(usize),
    LeaseEnds(LeaseId),
    Arrives {
        edge: usize,
        site: u8,
    },
    Answers {
        edge: usize,
        request: Request,
    },
    IsRefused {
        edge: usize,
        request: Request,
    },
    FindsADetour {
        edge: usize,
        site: u8,
        epoch: Epoch,
    },
    IsElected(u8),
    NoAnswer {
        controller: u8,
        site: u8,
    },
    EdgeLosesWatch(usize),
    ControllerLosesWatch(u8),
    /// What was on its way to the disk has reached it, or not.
    Crashes {
        edge: usize,
        flushed: bool,
    },
    Leaves(usize),
    OldWordIsWritten(usize),
    StoreGoesBack,
}

impl World {
    /// Some edges live and follow, and a controller leads.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let serves = |site| Record { pin: pin(Epoch(1), site), phase: RecordPhase::Serve };
        let mut world = Self {
            now: 0,
            store: Store::new((0..scenario.sites).map(|site| (name(site), serves(0)))),
            backup: None,
            edges: (0..scenario.edges).map(|edge| Process::new(scenario, scenario.requests[edge])).collect(),
            up: [true; 2],
            controllers: (0..scenario.controllers).map(|_| Controller::Idle).collect(),
            left: scenario.budget.clone(),
            seen: Seen::default(),
        };
        for process in &mut world.edges[scenario.edges - scenario.without..] {
            process.served[0] = false;
        }
        for site in 0..scenario.sites {
            world.seen.stands(site, &pin(Epoch(1), 0));
        }
        let is_later = |event: &Event| matches!(event, Event::Starts(edge) if *edge >= scenario.living);
        while let Some(event) = world.own_events(scenario).into_iter().find(|event| !is_later(event)) {
            world.happens(scenario, event);
        }
        if scenario.budget.restores > 0 {
            world.backup = Some(Box::new(world.store.clone()));
        }
        world
    }

    /// Nothing befalls it any more, and what has befallen it is of no interest.
    pub(crate) fn left_alone(&mut self) {
        self.left = Budget::default();
        self.backup = None;
        self.seen = Seen::default();
    }

    /// What the fleet will do by itself.
    pub(crate) fn own_events(&self, scenario: &Scenario) -> Vec<Event> {
        let mut events = vec![];
        for (edge, process) in self.edges.iter().enumerate() {
            let mut may = |can: bool, event| events.extend(can.then_some(event));
            may(!process.up, Event::Starts(edge));
            may(process.asked.is_some(), Event::IsGranted(edge));
            may(process.registering.is_some(), Event::Registers(edge));
            may(process.listing.is_some(), Event::ListIsRead { edge, lagging: false });
            may(process.list.is_some(), Event::ListArrives(edge));
            let news = process.watch.is_some_and(|(_, from)| self.store.change_since(from, true).is_some());
            may(news, Event::EdgeSees(edge));
            may(process.telling.is_some(), Event::WordIsWritten(edge));
            may(!process.revoking.is_empty(), Event::Revokes(edge));
            may(!process.reports.is_empty(), Event::ReportsLeft(edge));
            may(process.up && process.timer_matters(self.now), Event::LooksAtTheClock(edge));
            for at in 0..process.renewals.len() {
                may(true, Event::HearsOfLease { edge, at });
            }
            for request in process.kinds() {
                may(process.goes_on(request), Event::GoesOn { edge, request });
            }
            for site in 0..scenario.sites {
                if let Some(epoch) = process.core.suspicions().of(&name(site)) {
                    let pin = process.core.record(&name(site)).map(|record| &record.pin.backend);
                    may(pin.is_some_and(|pinned| self.is_up(pinned)), Event::IsCleared { edge, site, epoch });
                }
            }
        }
        for (controller, state) in (0..).zip(&self.controllers) {
            match state {
                Controller::Idle => {}
                Controller::Leading(leader) => {
                    if self.store.change_since(leader.next, false).is_some() {
                        events.push(Event::ControllerSees(controller));
                    }
                    if !leader.answers.is_empty() {
                        events.push(Event::HearsOfWrite(controller));
                    }
                    for site in 0..scenario.sites {
                        if matches!(leader.phases.get(&site), Some(Phase::Vacant | Phase::Fenced(_))) {
                            events.push(Event::Decides { controller, site, decision: Decision::Commit });
                        }
                    }
                    for (&site, led) in &leader.led {
                        events.extend(led.own(self.up).map(|heard| Event::CoreHears {
                            controller,
                            site,
                            heard,
                        }));
                        if self.is_to_raise(site, led) {
                            events.push(Event::IsRaised { controller, site });
                        }
                    }
                }
            }
        }
        if self.controllers.iter().all(|state| *state == Controller::Idle) {
            events.extend((0..scenario.controllers).map(Event::IsElected));
        }
        events.extend((0..self.store.writes.len()).map(Event::WriteArrives));
        events
    }

    /// What may befall it, as far as the budgets go.
    pub(crate) fn other_events(&self, scenario: &Scenario, events: &mut Vec<Event>) {
        let left = &self.left;
        let lags = scenario.shell == Shell::ListsFromALaggard && self.store.lagging.is_some();
        for (edge, process) in self.edges.iter().enumerate() {
            let lives = process.core.lease().is_some();
            let mut may = |can: bool, event| events.extend(can.then_some(event));
            may(lags && process.listing.is_some(), Event::ListIsRead { edge, lagging: true });
            may(left.keep_alives > 0 && lives, Event::RenewsLease(edge));
            let in_vain = scenario.shell == Shell::CountsAnyAnswer && !process.renewals.is_empty();
            may(left.keep_alives > 0 && lives && in_vain, Event::RenewsInVain(edge));
            may(process.old_word.is_some(), Event::OldWordIsWritten(edge));
            for site in (0..scenario.sites).filter(|_| left.detours > 0) {
                let suspicions = process.core.suspicions();
                if let Some(epoch) = suspicions.of(&name(site)) {
                    may(!suspicions.takes_detour(&name(site)), Event::FindsADetour { edge, site, epoch });
                }
            }
            for request in process.kinds() {
                match request {
                    Request::Waits => {
                        for site in 0..scenario.sites {
                            may(process.gates[usize::from(site)].open, Event::Arrives { edge, site });
                        }
                    }
                    Request::Leased(..) => may(left.suspicions > 0, Event::IsRefused { edge, request }),
                    Request::HandedOver(..) => may(true, Event::Answers { edge, request }),
                    Request::Done => {}
                }
            }
            if edge >= scenario.struck {
                continue;
            }
            may(left.watches_lost > 0 && process.watch.is_some(), Event::EdgeLosesWatch(edge));
            may(left.leaves > 0 && lives, Event::Leaves(edge));
            for ahead in [false, true] {
                may(left.drifts > 0 && process.up, Event::Drifts { edge, ahead });
            }
            for site in 0..scenario.sites {
                may(left.reloads > 0 && process.up, Event::Reloads { edge, site });
            }
            if left.crashes > 0 && process.up {
                may(true, Event::Crashes { edge, flushed: false });
                may(process.is_writing(), Event::Crashes { edge, flushed: true });
            }
        }
        for (controller, state) in (0..).zip(&self.controllers) {
            let Controller::Leading(leader) = state else {
                if *state == Controller::Idle && left.elections > 0 {
                    events.push(Event::IsElected(controller));
                }
                continue;
            };
            if left.watches_lost > 0 {
                events.push(Event::ControllerLosesWatch(controller));
            }
            for site in 0..scenario.sites {
                if left.timeouts > 0 && leader.writing.contains_key(&name(site)) {
                    events.push(Event::NoAnswer { controller, site });
                }
                let mut may = |budget: u8, decision| {
                    events.extend((budget > 0).then_some(Event::Decides { controller, site, decision }));
                };
                let Some(phase) = leader.phases.get(&site) else { continue };
                match phase {
                    Phase::Serving(_) => {
                        may(left.moves, Decision::Shut);
                        may(left.retirements, Decision::Retire);
                    }
                    Phase::Draining { cut, .. } => {
                        may(if *cut { 0 } else { left.cuts }, Decision::Cut);
                        may(left.reopenings, Decision::Reopen);
                        may(left.retirements, Decision::Retire);
                    }
                    Phase::Fenced(_) => {
                        may(left.reopenings, Decision::Reopen);
                        may(left.retirements, Decision::Retire);
                    }
                    Phase::Retired { .. } => may(left.retirements, Decision::ComeBack),
                    Phase::Vacant | Phase::Committing(_) => {}
                }
            }
        }
        events.extend(self.ended_leases().map(Event::LeaseEnds));
        if left.turns > 0 {
            events.extend((0..2).map(Event::Turns));
        }
        if left.wishes > 0 {
            let wishes = scenario.wishes.iter().copied().map(Heard::Wished);
            events.extend(wishes.flat_map(|wish| self.cores_hear(wish)));
        }
        if left.early_timers > 0 {
            events.extend(self.cores_hear(Heard::TimerFired));
        }
        if left.ticks > 0 {
            events.push(Event::Ticks);
        }
        if left.restores > 0 {
            events.push(Event::StoreGoesBack);
        }
    }

    pub(crate) fn is_up(&self, backend: &Backend) -> bool {
        (0..2).any(|number| self.up[usize::from(number)] && *backend == scenario::backend(number))
    }

    /// All cores of controllers on which this would make an impression.
    pub(crate) fn cores_hear(&self, heard: Heard) -> Vec<Event> {
        let mut events = vec![];
        for (controller, state) in (0..).zip(&self.controllers) {
            let Controller::Leading(leader) = state else { continue };
            let impressed = leader.led.iter().filter(|(_, led)| led.matters(heard, self.up));
            events.extend(impressed.map(|(&site, _)| Event::CoreHears { controller, site, heard }));
        }
        events
    }

    /// Leases that the store may forget.
    pub(crate) fn ended_leases(&self) -> impl Iterator<Item = LeaseId> {
        self.store.leases.iter().filter(|(_, ends)| self.now >= **ends).map(|(lease, _)| *lease)
    }

    /// Drains that have taken long enough.
    pub(crate) fn cuts(&self) -> Vec<Event> {
        let mut events = vec![];
        for (controller, state) in (0..).zip(&self.controllers) {
            let Controller::Leading(leader) = state else { continue };
            for (&site, phase) in &leader.phases {
                if matches!(phase, Phase::Draining { cut: false, .. }) {
                    events.push(Event::Decides { controller, site, decision: Decision::Cut });
                }
            }
        }
        events
    }

    pub(crate) fn happens(&mut self, scenario: &Scenario, event: Event) {
        let left = &mut self.left;
        let budget = match event {
            Event::Ticks => Some(&mut left.ticks),
            Event::Drifts { .. } => Some(&mut left.drifts),
            Event::Reloads { .. } => Some(&mut left.reloads),
            Event::RenewsLease(_) | Event::RenewsInVain(_) => Some(&mut left.keep_alives),
            Event::Decides { decision, .. } => match decision {
                Decision::Shut => Some(&mut left.moves),
                Decision::Cut => Some(&mut left.cuts),
                Decision::Reopen => Some(&mut left.reopenings),
                Decision::Retire | Decision::ComeBack => Some(&mut left.retirements),
                Decision::Commit => None,
            },
            // The first is no misfortune.
            Event::IsElected(_) if self.controllers.iter().all(|state| *state == Controller::Idle) => None,
            Event::IsElected(_) => Some(&mut left.elections),
            Event::NoAnswer { .. } => Some(&mut left.timeouts),
            Event::EdgeLosesWatch(_) | Event::ControllerLosesWatch(_) => Some(&mut left.watches_lost),
            Event::Crashes { .. } => Some(&mut left.crashes),
            Event::Leaves(_) => Some(&mut left.leaves),
            Event::IsRefused { .. } => Some(&mut left.suspicions),
            Event::FindsADetour { .. } => Some(&mut left.detours),
            Event::StoreGoesBack => Some(&mut left.restores),
            Event::Turns(_) => Some(&mut left.turns),
            Event::CoreHears { heard: Heard::Wished(_), .. } => Some(&mut left.wishes),
            Event::CoreHears { heard: Heard::TimerFired, .. } => Some(&mut left.early_timers),
            _ => None,
        };
        if let Some(budget) = budget {
            *budget = budget.saturating_sub(1);
        }
        match event {
            Event::Starts(edge) => self.starts(scenario, edge),
            Event::IsGranted(edge) => self.is_granted(scenario, edge),
            Event::Registers(edge) => self.registers(scenario, edge),
            Event::ListIsRead { edge, lagging } => self.list_is_read(edge, lagging),
            Event::ListArrives(edge) => self.list_arrives(scenario, edge),
            Event::EdgeSees(edge) => self.edge_sees(scenario, edge),
            Event::WordIsWritten(edge) => self.word_is_written(scenario, edge),
            Event::HearsOfLease { edge, at } => self.hears_of_lease(scenario, edge, at),
            Event::Revokes(edge) => self.revokes(scenario, edge),
            Event::ReportsLeft(edge) => self.reports_left(scenario, edge),
            Event::LooksAtTheClock(edge) => self.tell_edge(scenario, edge, Input::Tick),
            Event::GoesOn { edge, request } => self.goes_on(scenario, edge, request),
            Event::FindsADetour { edge, site, epoch } => {
                self.tell_edge(scenario, edge, Input::Detour { site: name(site), epoch });
            }
            Event::IsCleared { edge, site, epoch } => {
                self.tell_edge(scenario, edge, Input::Cleared { site: name(site), epoch });
            }
            Event::ControllerSees(controller) => self.controller_sees(scenario, controller),
            Event::WriteArrives(at) => self.write_arrives(scenario, at),
            Event::HearsOfWrite(controller) => self.hears_of_write(scenario, controller),
            Event::Decides { controller, site, decision } => {
                self.decides(scenario, controller, site, decision);
            }
            Event::CoreHears { controller, site, heard } => self.hears(scenario, controller, site, heard),
            Event::IsRaised { controller, site } => self.takes_site_over(scenario, controller, site),
            Event::Turns(number) => self.up[usize::from(number)] ^= true,
            Event::Ticks => self.now += 1,
            Event::Drifts { edge, ahead } => {
                self.now += 1;
                self.edges[edge].behind += if ahead { -1 } else { 1 };
            }
            Event::Reloads { edge, site } => self.reloads(scenario, edge, site),
            Event::RenewsLease(edge) => self.renews(scenario, edge),
            Event::RenewsInVain(edge) => self.renews_in_vain(edge),
            Event::LeaseEnds(lease) => self.store.end_lease(lease),
            Event::Arrives { edge, site } => self.arrives(scenario, edge, site),
            Event::Answers { edge, request } => self.answers(scenario, edge, request),
            Event::IsRefused { edge, request } => self.is_refused(scenario, edge, request),
            Event::IsElected(controller) => self.takes_over(scenario, controller),
            Event::NoAnswer { controller, site } => self.finds_out(controller, &name(site)),
            Event::EdgeLosesWatch(edge) => self.loses_its_watch(scenario, edge),
            // It begins anew, with a list.
            Event::ControllerLosesWatch(controller) => self.steps_down(controller),
            Event::Crashes { edge, flushed } => self.crashes(scenario, edge, flushed),
            Event::Leaves(edge) => self.leaves(scenario, edge),
            Event::OldWordIsWritten(edge) => self.old_word_is_written(edge),
            Event::StoreGoesBack => self.goes_back(scenario),
        }
        for edge in 0..scenario.edges {
            while !scenario.late_reports && !self.edges[edge].reports.is_empty() {
                self.reports_left(scenario, edge);
            }
            self.edges[edge].look_whether_alone(scenario, self.now);
        }
        laws::look_at_the_gates(self, scenario);
        self.forget_what_all_have_seen();
    }

    /// All connections to the store are lost, and all that was on them. Leases that it still knows begin anew.
    fn goes_back(&mut self, scenario: &Scenario) {
        let backup = self.backup.take().expect("a backup");
        let granted = self.store.granted;
        self.store = Store { granted, ..*backup };
        for ends in self.store.leases.values_mut() {
            *ends = self.now + scenario.ttl();
        }
        self.seen.store_went_back = true;
        (0..scenario.sites).for_each(|site| self.seen.has_reason(site));
        for controller in 0..scenario.controllers {
            self.steps_down(controller);
        }
        for edge in 0..scenario.edges {
            let process = &mut self.edges[edge];
            if let Some((lease, _)) = process.list.take() {
                process.listing = Some(lease);
            }
            self.loses_its_watch(scenario, edge);
        }
    }

    /// What nobody will ask for any more is no part of the world.
    fn forget_what_all_have_seen(&mut self) {
        let first_unseen =
            |from: Revision| self.store.change_since(from, true).map(|(revision, _)| *revision);
        let nothing = Revision(self.store.revision.0 + 1);
        let mut oldest = nothing;
        let seen: Vec<_> = self
            .edges
            .iter()
            .map(|process| process.watch.map(|(lease, from)| (lease, first_unseen(from).unwrap_or(nothing))))
            .collect();
        for (process, watch) in self.edges.iter_mut().zip(seen) {
            process.watch = watch;
            oldest = oldest.min(watch.map_or(nothing, |(_, from)| from));
            if let Some((_, list)) = &process.list {
                oldest = oldest.min(Revision(list.revision.0 + 1));
            }
        }
        for controller in &self.controllers {
            if let Controller::Leading(leader) = controller {
                oldest = oldest.min(leader.next);
            }
        }
        self.store.log.retain(|(revision, _)| *revision >= oldest);
    }
}
