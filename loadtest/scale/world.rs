//! The fleet, its store and its network, in simulated time: one thing happens after the other, in an order that the seed
//! determines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use ghostpin::core::fleet::edge::{self, Edge, Terms};
use ghostpin::core::fleet::ledger::{self, Change, EdgeSays, Ledger, Written};
use ghostpin::core::fleet::{LeaseId, Moment, Partition, Record, RecordPhase, Revision, leading};
use ghostpin::core::handoff::{self, Effect, Found, Input, Phase, Policy, WarmStandby};
use ghostpin::core::{Backend, Epoch, Pin, SiteName};

/// Members of the store: each tells a part of the edges what has changed.
const MEMBERS: usize = 3;
/// One way between any two machines, and up to as much again.
const WAY: Duration = Duration::from_micros(150);
/// Records in one transaction, and transactions of the controller's under way at a time, as in `src/cluster`.
const BATCH_MAX: usize = 120;
/// Probes a second of those that are waited for, as in `src/control/schedule`.
const PROBES_PER_SECOND: u64 = 10_000;
/// Proofs under way at a time, as in `src/control`, and how long one takes.
const PROOFS_MAX: usize = 500;
const PROOF: Duration = Duration::from_millis(5);
/// From the death of the machine until its first site is believed to be dead, as measured with three edges.
const BELIEVED_AFTER: Duration = Duration::from_millis(20);
/// Time between two looks of an edge at its clock.
const LOOK: Duration = Duration::from_millis(100);
/// The lease of an edge goes on for the whole run.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);
/// More than this, and it will never come to an end.
const TIME_MAX: Duration = Duration::from_secs(600);

/// What the store's work takes.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// Of a member, to tell one edge of one change.
    pub event: Duration,
    /// Of each member, to write one record.
    pub put: Duration,
    /// Until a transaction stands on most members.
    pub commit: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// Transactions of all kinds,
    pub transactions: u64,
    /// and those by which edges say how far they are.
    pub tells: u64,
    /// Records of sites that were written.
    pub records: u64,
    /// Answers of watches, each with one or more changes.
    pub answers: u64,
    /// From the death of the machine until every edge serves every site from the other one.
    pub served: Duration,
    /// Every edge does.
    pub is_complete: bool,
}

/// What a transaction writes.
#[derive(Clone, Debug)]
enum Write {
    Sites(Vec<(SiteName, Record)>),
    Edge(LeaseId, EdgeSays),
}

#[derive(Debug)]
enum Event {
    /// The transaction stands; it was made by whom its first word says.
    Committed(Write),
    /// An edge hears of it.
    EdgeHears(usize, Revision, Vec<(SiteName, Record)>),
    /// The controller hears of it.
    ControllerHears(Revision, Vec<Change>),
    /// An edge hears that what it has told stands.
    Told(usize),
    /// The controller hears that its records stand.
    Written(Vec<SiteName>, Revision),
    /// The last probe of a site that is needed has failed.
    Fallen(SiteName),
    /// A target was proved, under this generation.
    Proved(SiteName, u64),
    /// An edge looks at its clock.
    Look(usize),
}

/// All of it.
pub struct World {
    costs: Costs,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    dice: fastrand::Rng,
    // The store.
    revision: Revision,
    members_free: [Duration; MEMBERS],
    /// When each edge, and at the end the controller, hears of what it was told last: nothing overtakes.
    heard: Vec<Duration>,
    // The edges.
    edges: Vec<Edge>,
    // The controller.
    ledger: Ledger,
    sites: BTreeMap<SiteName, handoff::Site>,
    waiting: VecDeque<(SiteName, Record)>,
    writing: bool,
    proofs: usize,
    to_prove: VecDeque<(SiteName, u64)>,
    // What is counted.
    open: usize,
    target: Backend,
    done: Done,
}

impl World {
    /// A fleet that serves all sites from one machine.
    pub fn new(edges: usize, sites: usize, seed: u64, costs: Costs) -> Self {
        let [old, target] = ["10.0.0.1", "10.0.0.2"].map(|ip| move |n: usize| backend(ip, n));
        let names: Vec<SiteName> = (0..sites).map(|n| SiteName::from(format!("s{n}").as_str())).collect();
        let records: Vec<(SiteName, Record)> = names
            .iter()
            .enumerate()
            .map(|(n, name)| {
                let pin = Pin { epoch: Epoch(1), backend: old(n) };
                (name.clone(), Record { pin, phase: RecordPhase::Serve })
            })
            .collect();
        let at = Revision(1);
        let says = EdgeSays { watermark: at, pending: Default::default() };
        let ledger = Ledger::new(
            at,
            records.iter().map(|(name, record)| (name.clone(), record.clone(), at)),
            (0..edges).map(|n| (lease(n), says.clone())),
        );
        let sites = names.iter().enumerate().map(|(n, name)| {
            let pin = Pin { epoch: Epoch(1), backend: old(n) };
            let mut site = handoff::Site::new(policy(), vec![old(n), target(n)], Some(pin), Epoch(1));
            site.take_over(Found::Serving);
            for backend in [old(n), target(n)] {
                site.step(Input::Probed { backend, well: true });
            }
            (name.clone(), site)
        });
        let mut world = Self {
            costs,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            dice: fastrand::Rng::with_seed(seed),
            revision: at,
            members_free: [Duration::ZERO; MEMBERS],
            heard: vec![Duration::ZERO; edges + 1],
            edges: Vec::new(),
            ledger,
            sites: sites.collect(),
            waiting: VecDeque::new(),
            writing: false,
            proofs: 0,
            to_prove: VecDeque::new(),
            open: 0,
            target: target(0),
            done: Done {
                transactions: 0,
                tells: 0,
                records: 0,
                answers: 0,
                served: Duration::ZERO,
                is_complete: false,
            },
        };
        for n in 0..edges {
            let edge = born(n, &records, at);
            world.edges.push(edge);
            let first = LOOK.mul_f64(world.dice.f64());
            world.at(first, Event::Look(n));
        }
        // The machine is dead; its sites are found to be so one after the other.
        let mut order = names;
        world.dice.shuffle(&mut order);
        for (n, name) in order.into_iter().enumerate() {
            let after = Duration::from_nanos(n as u64 * 1_000_000_000 / PROBES_PER_SECOND);
            world.at(BELIEVED_AFTER + after, Event::Fallen(name));
        }
        world
    }

    /// Lets it all happen.
    pub fn run(mut self) -> Done {
        let all = self.edges.len() * self.sites.len();
        while let Some(Reverse((at, number))) = self.queue.pop() {
            if at > TIME_MAX {
                break;
            }
            self.now = at;
            let event = self.events.remove(&number).expect("an event of the queue");
            self.happen(event);
            if self.open == all {
                self.done.served = self.now;
                self.done.is_complete = true;
                break;
            }
        }
        self.done
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((when, self.next)));
        self.events.insert(self.next, event);
    }

    fn way(&mut self) -> Duration {
        WAY + WAY.mul_f64(self.dice.f64())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fallen(site) => {
                let Some(core) = self.sites.get(&site) else { return };
                let Some(pin) = core.pin().cloned() else { return };
                for _ in 0..2 {
                    self.core(&site, Input::Probed { backend: pin.backend.clone(), well: false });
                }
            }
            Event::Proved(site, generation) => {
                self.proofs -= 1;
                if let Phase::Proving { target, .. } = self.sites[&site].phase().clone() {
                    self.core(&site, Input::Probed { backend: target, well: true });
                    self.core(&site, Input::Proved { generation });
                }
                self.prove_next();
            }
            Event::Committed(write) => self.committed(write),
            Event::EdgeHears(n, revision, sites) => {
                let sites = sites.into_iter().map(|(site, record)| (site, Some(record))).collect();
                self.edge(n, edge::Input::Changed { lease: lease(n), revision, sites });
            }
            Event::Told(n) => self.edge(n, edge::Input::Told { lease: lease(n) }),
            Event::Look(n) => {
                self.edge(n, edge::Input::Tick);
                self.at(self.now + LOOK, Event::Look(n));
            }
            Event::ControllerHears(revision, changes) => {
                let effects = self.ledger.changed(revision, changes);
                self.follow(effects);
            }
            Event::Written(sites, revision) => {
                self.writing = false;
                for site in sites {
                    let effects = self.ledger.written(&site, Written::At(revision));
                    self.follow(effects);
                }
                self.write_next();
            }
        }
    }

    // The store.

    fn transaction(&mut self, write: Write, after: Duration) {
        let puts = match &write {
            Write::Sites(records) => records.len(),
            Write::Edge(..) => 1,
        };
        let arrived = self.now + after;
        let cost = self.costs.put * u32::try_from(puts).unwrap_or(u32::MAX);
        for free in &mut self.members_free {
            *free = (*free).max(arrived) + cost;
        }
        let stands = self.members_free[0].max(arrived + self.costs.commit);
        self.done.transactions += 1;
        self.at(stands, Event::Committed(write));
    }

    /// What a member tells somebody, when it comes to it.
    fn tell(&mut self, whom: usize, changes: usize, event: Event) {
        let cost = self.costs.event * u32::try_from(changes).unwrap_or(u32::MAX);
        let free = &mut self.members_free[whom % MEMBERS];
        *free = (*free).max(self.now) + cost;
        let at = *free + self.way();
        self.heard[whom] = self.heard[whom].max(at);
        let at = self.heard[whom];
        self.done.answers += 1;
        self.at(at, event);
    }

    fn committed(&mut self, write: Write) {
        self.revision = Revision(self.revision.0 + 1);
        let revision = self.revision;
        match write {
            Write::Sites(records) => {
                self.done.records += records.len() as u64;
                let sites = records.iter().map(|(site, _)| site.clone()).collect();
                let way = self.way();
                self.at(self.now + way, Event::Written(sites, revision));
                let changes = records
                    .iter()
                    .map(|(site, record)| Change::Site(site.clone(), Some(record.clone()), revision))
                    .collect();
                self.tell(self.edges.len(), records.len(), Event::ControllerHears(revision, changes));
                for n in 0..self.edges.len() {
                    self.tell(n, records.len(), Event::EdgeHears(n, revision, records.clone()));
                }
            }
            Write::Edge(who, says) => {
                self.done.tells += 1;
                let way = self.way();
                self.at(self.now + way, Event::Told(who.0 as usize));
                let changes = vec![Change::Edge(who, Some(says))];
                self.tell(self.edges.len(), 1, Event::ControllerHears(revision, changes));
            }
        }
    }

    // The edges.

    fn edge(&mut self, n: usize, input: edge::Input) {
        let now = Moment(self.now);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.edges[n].step(now, input) {
                match effect {
                    // Nothing is in flight: the last lease is gone at once.
                    edge::Effect::Shut { site, generation } => {
                        inputs.push_back(edge::Input::Left { site, generation });
                    }
                    edge::Effect::Open { pin, .. } => {
                        self.open += usize::from(pin.backend.machine() == self.target.machine());
                    }
                    edge::Effect::Tell { lease, watermark, pending } => {
                        let pending = pending.into_iter().collect();
                        let way = self.way();
                        self.transaction(Write::Edge(lease, EdgeSays { watermark, pending }), way);
                    }
                    _ => {}
                }
            }
        }
    }

    // The controller.

    fn core(&mut self, site: &SiteName, input: Input) {
        let core = self.sites.get_mut(site).expect("a site of the simulation");
        let effects = core.step(input);
        let (of_the_fleet, others) = leading::wanted(core, effects);
        for wanted in of_the_fleet {
            let effects = self.ledger.wants(site, wanted);
            self.follow(effects);
        }
        for effect in others {
            if let Effect::Prove { generation, .. } = effect {
                self.to_prove.push_back((site.clone(), generation));
                self.prove_next();
            }
        }
    }

    fn prove_next(&mut self) {
        while self.proofs < PROOFS_MAX
            && let Some((site, generation)) = self.to_prove.pop_front()
        {
            self.proofs += 1;
            let takes = PROOF + PROOF.mul_f64(self.dice.f64());
            self.at(self.now + takes, Event::Proved(site, generation));
        }
    }

    fn follow(&mut self, effects: Vec<ledger::Effect>) {
        for effect in effects {
            match effect {
                ledger::Effect::Write { site, record, .. } => self.waiting.push_back((site, record)),
                ledger::Effect::Left { site, generation } => self.core(&site, Input::Left { generation }),
                ledger::Effect::Committed { site, epoch } => self.core(&site, Input::Committed { epoch }),
                ledger::Effect::Deposed { site } => unreachable!("nobody else writes {site}"),
            }
        }
        self.write_next();
    }

    fn write_next(&mut self) {
        if self.writing || self.waiting.is_empty() {
            return;
        }
        self.writing = true;
        let batch = self.waiting.drain(..self.waiting.len().min(BATCH_MAX)).collect();
        let way = self.way();
        self.transaction(Write::Sites(batch), way);
    }
}

fn lease(n: usize) -> LeaseId {
    LeaseId(n as i64)
}

fn backend(ip: &str, n: usize) -> Backend {
    format!("{ip}:{}", 1_000 + n).parse().expect("an address")
}

fn policy() -> Policy {
    Policy {
        auto: true,
        warm_standby: WarmStandby::Allow,
        single_instance: false,
        fence_hook: None,
        start_hook: None,
        rise: 1,
        fall: 2,
        drain_timeout: Duration::from_secs(5),
        prove_timeout: Duration::from_secs(10),
    }
}

/// An edge that follows the store and serves all sites.
fn born(n: usize, records: &[(SiteName, Record)], at: Revision) -> Edge {
    let terms = Terms { margin: Duration::from_millis(1_500), cut_max: Duration::from_secs(5) };
    let mut edge = Edge::new(terms);
    let now = Moment::default();
    for (site, _) in records {
        let added = edge::Input::Added { site: site.clone(), partition: Partition::Fence, known: None };
        edge.step(now, added);
    }
    edge.begin();
    let lease = lease(n);
    edge.step(now, edge::Input::Granted { lease, sent: now, ttl: FOR_EVER });
    edge.step(now, edge::Input::Registered { lease });
    edge.step(now, edge::Input::Listed { lease, revision: at, sites: records.to_vec() });
    edge.step(now, edge::Input::Told { lease });
    edge
}
