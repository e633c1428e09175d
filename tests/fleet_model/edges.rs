//! One edge: the real core, and around it a gate for each site, requests, a disk, and talk with the store.

use ghostpin::core::fleet::edge::{Edge, Effect, Input, Life};
use ghostpin::core::fleet::ledger::{Change, EdgeSays};
use ghostpin::core::fleet::{LeaseId, Moment, Partition, Revision};
use ghostpin::core::{Epoch, Pin, SiteName};

use super::laws::{self, Law};
use super::scenario::{Scenario, Shell, name, number, seconds};
use super::store::List;
use super::world::World;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) core: Edge,
    pub(crate) up: bool,
    pub(crate) gates: Vec<Gate>,
    /// Sorted, for they are all alike.
    pub(crate) requests: Vec<Request>,
    /// Nothing goes on after this, by what workers know.
    until: Moment,
    disk: Vec<Disk>,
    /// Shuttings whose last lease is gone, and of which the core has yet to hear.
    pub(crate) reports: Vec<(u8, u64)>,
    /// When the lease was asked for that is to come: by the clock of the process, as are all its times, and by the store's.
    pub(crate) asked: Option<(u64, u64)>,
    pub(crate) registering: Option<LeaseId>,
    pub(crate) listing: Option<LeaseId>,
    /// A list on its way.
    pub(crate) list: Option<(LeaseId, List)>,
    /// The life that watches, and the first revision that it has not seen.
    pub(crate) watch: Option<(LeaseId, Revision)>,
    pub(crate) telling: Option<(LeaseId, EdgeSays)>,
    /// Answers to keep-alives on their way: whose, when they were sent, and whether that lease is over.
    pub(crate) renewals: Vec<(LeaseId, u64, bool)>,
    pub(crate) revoking: Vec<LeaseId>,
    /// By how much its clock is behind that of the store.
    pub(crate) behind: i64,
    /// Sites that stand in its configuration.
    pub(crate) served: Vec<bool>,
    /// Only in broken shells: when the last keep-alive was sent, the key that is used, and a word given up as lost.
    last_sent: u64,
    key: Option<LeaseId>,
    pub(crate) old_word: Option<(LeaseId, EdgeSays)>,
}

/// The gate of a site, as workers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gate {
    pub(crate) open: bool,
    /// Under which it was open last.
    epoch: Epoch,
    /// Generation to report when the last lease is gone.
    leaving: Option<u64>,
    /// Leases of this epoch, and of older ones, have been told to end.
    cut: Epoch,
    /// The edge goes on without the store, or is back and has yet to see the end of what it has cut since.
    pub(crate) alone: bool,
}

/// A request, from its arrival at the edge to its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Request {
    /// It is still to come, or is held.
    Waits,
    Leased(u8, Epoch),
    /// The backend has it, and has not answered.
    HandedOver(u8, Epoch),
    Done,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Disk {
    durable: Option<Pin>,
    /// On its way to the disk.
    writing: Option<Pin>,
}

impl Disk {
    fn newest(&self) -> Option<&Pin> {
        self.writing.as_ref().or(self.durable.as_ref())
    }

    fn flush(&mut self) {
        self.durable = self.writing.take().or(self.durable.take());
    }
}

impl Process {
    pub(crate) fn new(scenario: &Scenario, requests: usize) -> Self {
        let sites = usize::from(scenario.sites);
        Self {
            core: Edge::new(scenario.terms()),
            up: false,
            gates: vec![Gate::default(); sites],
            requests: vec![Request::Waits; requests],
            until: Moment::default(),
            disk: vec![Disk::default(); sites],
            reports: vec![],
            asked: None,
            registering: None,
            listing: None,
            list: None,
            watch: None,
            telling: None,
            renewals: vec![],
            revoking: vec![],
            last_sent: 0,
            key: None,
            old_word: None,
            behind: 0,
            served: vec![true; sites],
        }
    }

    /// What the process reads from its clock.
    fn reads(&self, now: u64) -> u64 {
        now.checked_add_signed(-self.behind).expect("a clock that has not gone further back than it began")
    }

    fn clock(&self, now: u64) -> Moment {
        Moment(seconds(self.reads(now)))
    }

    /// What a worker finds when it looks at the clock, or found a little before.
    pub(crate) fn is_in_time(&self, scenario: &Scenario, now: u64) -> bool {
        let looked = self.clock(now).minus(seconds(scenario.lag));
        self.up && (looked < self.until || scenario.shell == Shell::TimerAlone)
    }

    pub(crate) fn is_following(&self) -> bool {
        matches!(self.core.life(), Life::Following(_))
    }

    /// A worker may act for its fleet, or goes on without it.
    fn may_act(&self, scenario: &Scenario, now: u64) -> bool {
        self.up && (scenario.partition == Partition::Serve || self.is_in_time(scenario, now))
    }

    /// It goes on without the store: its lease may be over, or this life has yet to read what the store says.
    fn is_alone(&self, scenario: &Scenario, now: u64) -> bool {
        !self.is_in_time(scenario, now) || self.core.applied() == Revision(0)
    }

    /// What it does with a site is to agree with what all others do.
    pub(crate) fn is_judged(&self, scenario: &Scenario, now: u64, site: u8) -> bool {
        self.is_in_time(scenario, now) && !self.gates[usize::from(site)].alone
    }

    /// Whether it goes on without the store, and where what it has let in meanwhile is not over yet.
    pub(crate) fn look_whether_alone(&mut self, scenario: &Scenario, now: u64) {
        if scenario.partition == Partition::Fence {
            return;
        }
        let is_alone = self.is_alone(scenario, now);
        for site in 0..self.gates.len() {
            let gate = &self.gates[site];
            // The end of what was fenced without it is not waited for by the others: it is cut.
            let is_ending = self.active(site as u8).any(|epoch| epoch <= gate.cut);
            self.gates[site].alone = is_alone || gate.alone && is_ending;
        }
    }

    /// Epochs of a site under which something is under way here.
    pub(crate) fn active(&self, site: u8) -> impl Iterator<Item = Epoch> {
        self.requests.iter().filter_map(move |request| match request {
            Request::Leased(of, epoch) | Request::HandedOver(of, epoch) if *of == site => Some(*epoch),
            _ => None,
        })
    }

    /// Whether something is under way, or could be let in, under an older epoch.
    pub(crate) fn may_serve_before(&self, world: &World, scenario: &Scenario, site: u8, pin: &Pin) -> bool {
        let gate = &self.gates[usize::from(site)];
        let opened = gate.open.then_some(gate.epoch);
        self.is_judged(scenario, world.now, site)
            && self.active(site).chain(opened).any(|epoch| epoch < pin.epoch)
    }

    /// A worker may go on with a lease: it looks at the clock and at the gate.
    fn may_go_on(&self, scenario: &Scenario, now: u64, site: u8, epoch: Epoch) -> bool {
        let gate = &self.gates[usize::from(site)];
        self.may_act(scenario, now) && gate.epoch == epoch && gate.cut < epoch
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = Request> {
        let mut kinds = self.requests.clone();
        kinds.dedup();
        kinds.into_iter()
    }

    /// What a request does by itself: it is handed over, or held anew, or ended.
    pub(crate) fn goes_on(&self, request: Request) -> bool {
        match request {
            Request::Leased(..) => true,
            Request::HandedOver(site, epoch) => self.gates[usize::from(site)].cut >= epoch,
            Request::Waits | Request::Done => false,
        }
    }

    fn becomes(&mut self, from: Request, to: Request) {
        let at = self.requests.iter().position(|r| *r == from).expect("a request in that state");
        self.requests[at] = to;
        self.requests.sort_unstable();
        for site in 0..self.gates.len() {
            self.report_if_left(site as u8);
        }
    }

    fn report_if_left(&mut self, site: u8) {
        if !self.gates[usize::from(site)].open && self.active(site).next().is_none() {
            let left = self.gates[usize::from(site)].leaving.take();
            self.reports.extend(left.map(|generation| (site, generation)));
            self.reports.sort_unstable();
        }
    }

    /// Something is on its way to the disk.
    pub(crate) fn is_writing(&self) -> bool {
        self.disk.iter().any(|disk| disk.writing.is_some())
    }

    /// A look at the clock has other consequences than a word that nobody waits for.
    pub(crate) fn timer_matters(&self, now: u64) -> bool {
        let effects = self.core.clone().step(self.clock(now), Input::Tick);
        effects.iter().any(|effect| !matches!(effect, Effect::Tell { .. }))
    }

    /// All that is lost with the process. What was on its way to the disk may have reached it.
    fn ends(&mut self, scenario: &Scenario, flushed: bool) {
        let mut next = Self::new(scenario, 0);
        next.disk = std::mem::take(&mut self.disk);
        next.behind = self.behind;
        next.served = std::mem::take(&mut self.served);
        for disk in &mut next.disk {
            if flushed {
                disk.flush();
            }
            disk.writing = None;
        }
        if scenario.shell == Shell::ReusesTheKey {
            next.key = self.key;
        }
        // Clients whose connection was cut come again.
        let again =
            |request: &Request| if *request == Request::Done { Request::Done } else { Request::Waits };
        next.requests = self.requests.iter().map(again).collect();
        next.requests.sort_unstable();
        *self = next;
    }
}

impl World {
    pub(crate) fn tell_edge(&mut self, scenario: &Scenario, edge: usize, input: Input) {
        let process = &mut self.edges[edge];
        let effects = process.core.step(process.clock(self.now), input);
        self.perform(scenario, edge, effects);
    }

    pub(crate) fn reports_left(&mut self, scenario: &Scenario, edge: usize) {
        let (site, generation) = self.edges[edge].reports.remove(0);
        self.tell_edge(scenario, edge, Input::Left { site: name(site), generation });
    }

    fn perform(&mut self, scenario: &Scenario, edge: usize, effects: Vec<Effect>) {
        let now = self.now;
        for effect in effects {
            let process = &mut self.edges[edge];
            match effect {
                Effect::Grant => process.asked = Some((process.reads(now), now)),
                Effect::Register(lease) => {
                    process.registering = Some(lease);
                    if scenario.shell == Shell::ListsFirst {
                        self.tell_edge(scenario, edge, Input::Registered { lease });
                    }
                }
                Effect::List(lease) => {
                    process.watch = None;
                    process.listing = Some(lease);
                }
                Effect::Watch { lease, from } => process.watch = Some((lease, from)),
                Effect::Tell { lease, watermark, mut pending } => {
                    if scenario.shell == Shell::TellsNoPending {
                        pending.clear();
                    }
                    let says = EdgeSays { watermark, pending: pending.into_iter().collect() };
                    process.telling = Some((lease, says));
                }
                Effect::Until(until) => process.until = until,
                Effect::Shut { site, generation } => {
                    let site = number(&site);
                    process.gates[usize::from(site)].open = false;
                    process.gates[usize::from(site)].leaving = Some(generation);
                    let forgets = scenario.shell == Shell::ForgetsWithTheSite;
                    if forgets && !process.served[usize::from(site)] {
                        process.reports.push((site, generation));
                    }
                    process.report_if_left(site);
                }
                Effect::Cut { .. } if scenario.shell == Shell::CutsNothing => {}
                Effect::Cut { site } => {
                    let gate = &mut process.gates[usize::from(number(&site))];
                    gate.cut = gate.epoch;
                }
                Effect::Open { site, pin } => self.open(scenario, edge, &site, pin),
                Effect::Remember { site, pin } => {
                    process.disk[usize::from(number(&site))].writing = Some(pin);
                }
                Effect::Refuse { .. } => {}
                Effect::Revoke(lease) => {
                    process.revoking.push(lease);
                }
                Effect::Die { .. } => return process.ends(scenario, false),
                Effect::HasLeft => {
                    // The last word of the process is the one that gives up its key.
                    while !self.edges[edge].revoking.is_empty() {
                        self.revokes(scenario, edge);
                    }
                    return self.edges[edge].ends(scenario, true);
                }
            }
        }
    }

    fn open(&mut self, scenario: &Scenario, edge: usize, site: &SiteName, pin: Pin) {
        let process = &mut self.edges[edge];
        let at = usize::from(number(site));
        let disk = &mut process.disk[at];
        if scenario.shell != Shell::OpensBeforeRemembered {
            disk.flush();
        }
        let known = disk.newest().cloned();
        let is_durable = disk.durable.as_ref() == Some(&pin);
        let gate = &mut process.gates[at];
        gate.open = true;
        gate.epoch = pin.epoch;
        gate.leaving = None;
        self.seen.opens(edge, number(site), &pin, known.as_ref());
        self.seen.demands(Law::DurableFirst, is_durable);
    }

    // What becomes of its words to the store.

    pub(crate) fn starts(&mut self, scenario: &Scenario, edge: usize) {
        let process = &mut self.edges[edge];
        process.up = true;
        let mut effects = process.core.begin();
        for site in 0..scenario.sites {
            let known = process.disk[usize::from(site)].durable.clone();
            if process.served[usize::from(site)] {
                let added = Input::Added { site: name(site), partition: scenario.partition, known };
                effects.extend(process.core.step(process.clock(self.now), added));
            }
        }
        self.perform(scenario, edge, effects);
    }

    /// The lease goes from the moment at which it was asked for: the store can have granted it no earlier, and may always
    /// end it later.
    pub(crate) fn is_granted(&mut self, scenario: &Scenario, edge: usize) {
        let process = &mut self.edges[edge];
        let (asked, at) = process.asked.take().expect("a lease was asked for");
        process.last_sent = asked;
        self.store.granted += 1;
        let lease = LeaseId(self.store.granted);
        self.store.leases.insert(lease, at + scenario.ttl());
        let (sent, ttl) = (Moment(seconds(asked)), seconds(scenario.ttl()));
        self.tell_edge(scenario, edge, Input::Granted { lease, sent, ttl });
    }

    pub(crate) fn registers(&mut self, scenario: &Scenario, edge: usize) {
        let process = &mut self.edges[edge];
        let lease = process.registering.take().expect("a life that registers");
        let reused = process.key.filter(|key| self.store.edges.contains_key(key));
        if scenario.shell == Shell::ReusesTheKey {
            process.key = reused.or(Some(lease));
        }
        if reused.is_none() {
            // The store binds no key to a lease that is over. The life hears of that from its keep-alives.
            if !self.store.leases.contains_key(&lease) {
                return;
            }
            let says = EdgeSays { watermark: Revision(0), pending: Default::default() };
            self.store.put_edge(lease, Some(says));
        }
        self.tell_edge(scenario, edge, Input::Registered { lease });
    }

    pub(crate) fn list_is_read(&mut self, edge: usize, lagging: bool) {
        let lagging = self.store.lagging.clone().filter(|_| lagging);
        let process = &mut self.edges[edge];
        let lease = process.listing.take().expect("a life that lists");
        let list = match lagging {
            // What makes it look new is only that nobody looks.
            Some(list) => List { revision: list.revision.max(process.core.applied()), ..list },
            None => self.store.list(),
        };
        process.list = Some((lease, list));
    }

    pub(crate) fn list_arrives(&mut self, scenario: &Scenario, edge: usize) {
        let (lease, List { revision, sites }) = self.edges[edge].list.take().expect("a list on its way");
        self.tell_edge(scenario, edge, Input::Listed { lease, revision, sites });
    }

    pub(crate) fn edge_sees(&mut self, scenario: &Scenario, edge: usize) {
        let (lease, from) = self.edges[edge].watch.expect("a life that watches");
        let (revision, change) = self.store.change_since(from, true).expect("something to see").clone();
        self.edges[edge].watch = Some((lease, Revision(revision.0 + 1)));
        let sites = match change {
            Change::Site(site, record, _) => vec![(site, record)],
            Change::Edge(..) => vec![],
        };
        self.tell_edge(scenario, edge, Input::Changed { lease, revision, sites });
    }

    pub(crate) fn word_is_written(&mut self, scenario: &Scenario, edge: usize) {
        let process = &mut self.edges[edge];
        let (lease, says) = process.telling.take().expect("a word on its way");
        let key = process.key.unwrap_or(lease);
        if let Some(before) = self.store.edges.get(&key) {
            self.seen.demands(Law::WatermarkGrows, says.watermark >= before.watermark);
            if scenario.shell == Shell::OldWordsArrive {
                process.old_word = Some((key, before.clone()));
            }
            self.store.put_edge(key, Some(says));
            self.tell_edge(scenario, edge, Input::Told { lease });
        }
    }

    /// Only in a broken shell.
    pub(crate) fn old_word_is_written(&mut self, edge: usize) {
        let (key, says) = self.edges[edge].old_word.take().expect("an old word");
        if let Some(before) = self.store.edges.get(&key) {
            self.seen.demands(Law::WatermarkGrows, says.watermark >= before.watermark);
            self.store.put_edge(key, Some(says));
        }
    }

    pub(crate) fn revokes(&mut self, scenario: &Scenario, edge: usize) {
        let process = &mut self.edges[edge];
        let lease = process.revoking.remove(0);
        let is_empty = (0..scenario.sites).all(|site| process.active(site).next().is_none());
        self.seen.demands(Law::EmptyFirst, is_empty);
        self.store.end_lease(lease);
    }

    pub(crate) fn leaves(&mut self, scenario: &Scenario, edge: usize) {
        if scenario.shell == Shell::LeavesInHaste {
            let process = &mut self.edges[edge];
            process.revoking.extend(process.core.lease());
        }
        self.tell_edge(scenario, edge, Input::Leave);
    }

    /// It reaches the store at once, for that is when a lease that is renewed ends the soonest; the answer takes its time.
    pub(crate) fn renews(&mut self, scenario: &Scenario, edge: usize) {
        let lease = self.edges[edge].core.lease().expect("a life");
        let until = self.now + scenario.ttl();
        let over = match self.store.leases.get_mut(&lease) {
            Some(ends) => {
                *ends = until.max(*ends);
                false
            }
            None => true,
        };
        let process = &mut self.edges[edge];
        process.last_sent = process.reads(self.now);
        process.renewals.push((lease, process.last_sent, over));
    }

    /// A keep-alive that never reaches the store.
    pub(crate) fn renews_in_vain(&mut self, edge: usize) {
        self.edges[edge].last_sent = self.edges[edge].reads(self.now);
    }

    pub(crate) fn hears_of_lease(&mut self, scenario: &Scenario, edge: usize, at: usize) {
        let process = &mut self.edges[edge];
        let (lease, sent, over) = process.renewals.remove(at);
        let counted = match scenario.shell {
            Shell::CountsFromTheAnswer => process.reads(self.now),
            Shell::CountsAnyAnswer => process.last_sent,
            _ => sent,
        };
        let sent = Moment(seconds(counted));
        let ttl = seconds(if over { 0 } else { scenario.ttl() });
        self.tell_edge(scenario, edge, Input::Renewed { lease, sent, ttl });
    }

    // Requests.

    pub(crate) fn arrives(&mut self, scenario: &Scenario, edge: usize, site: u8) {
        let now = self.now;
        let process = &mut self.edges[edge];
        if process.may_act(scenario, now) {
            let epoch = process.gates[usize::from(site)].epoch;
            process.becomes(Request::Waits, Request::Leased(site, epoch));
        } else {
            process.gates[usize::from(site)].open = false;
            self.tell_edge(scenario, edge, Input::Expired { site: name(site) });
        }
    }

    pub(crate) fn goes_on(&mut self, scenario: &Scenario, edge: usize, request: Request) {
        let now = self.now;
        let process = &mut self.edges[edge];
        match request {
            Request::Leased(site, epoch) if process.may_go_on(scenario, now, site, epoch) => {
                process.becomes(request, Request::HandedOver(site, epoch));
                laws::look_at_a_hand_over(self, scenario, edge, site, epoch);
            }
            Request::Leased(..) => process.becomes(request, Request::Waits),
            Request::HandedOver(..) => process.becomes(request, Request::Done),
            Request::Waits | Request::Done => unreachable!("{request:?} does nothing by itself"),
        }
    }

    pub(crate) fn answers(&mut self, scenario: &Scenario, edge: usize, request: Request) {
        let Request::HandedOver(site, epoch) = request else { unreachable!("no backend has {request:?}") };
        let now = self.now;
        let process = &mut self.edges[edge];
        let unchecked = scenario.shell == Shell::HeadUnchecked;
        if unchecked || process.may_go_on(scenario, now, site, epoch) {
            laws::look_at_a_head(self, scenario, edge, site, epoch);
        }
        self.edges[edge].becomes(request, Request::Done);
    }

    /// The backend refuses a connection: nothing of the request has gone there.
    pub(crate) fn is_refused(&mut self, scenario: &Scenario, edge: usize, request: Request) {
        let Request::Leased(site, epoch) = request else { unreachable!("{request:?} has no lease") };
        let process = &mut self.edges[edge];
        let gate = &mut process.gates[usize::from(site)];
        let shuts = gate.open && gate.epoch == epoch;
        gate.open &= !shuts;
        process.becomes(request, Request::Waits);
        if shuts {
            self.tell_edge(scenario, edge, Input::Suspected { site: name(site), epoch });
        }
    }

    // What befalls the process.

    /// A site is no longer in its configuration, or is again.
    pub(crate) fn reloads(&mut self, scenario: &Scenario, edge: usize, site: u8) {
        let process = &mut self.edges[edge];
        let is_served = &mut process.served[usize::from(site)];
        *is_served ^= true;
        let input = if *is_served {
            let known = process.disk[usize::from(site)].newest().cloned();
            let known = known.filter(|_| scenario.shell != Shell::AddsWithoutMemory);
            Input::Added { site: name(site), partition: scenario.partition, known }
        } else {
            Input::Removed { site: name(site) }
        };
        self.tell_edge(scenario, edge, input);
    }

    pub(crate) fn crashes(&mut self, scenario: &Scenario, edge: usize, flushed: bool) {
        self.edges[edge].ends(scenario, flushed);
    }

    pub(crate) fn loses_its_watch(&mut self, scenario: &Scenario, edge: usize) {
        if let Life::Following(lease) = self.edges[edge].core.life() {
            self.tell_edge(scenario, edge, Input::WatchLost { lease });
        }
    }
}
