//! What goes wrong, and what operators do: drawn from the seed, one thing after the other, each of which ends by itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ghostpin::control::Wanted;
use ghostpin::core::SiteName;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::backends::State;
use super::dice::Dice;
use super::edge::{Switch, World};
use super::etcd::Etcd;
use super::history::What;
use super::network::{BACK, Network, THERE, USUAL_DELAY};
use super::sites::{self, MACHINES, MEMBERS};

/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(60);
/// The longest pause between two faults, in milliseconds, is drawn from these: some fleets hardly come to rest in between.
const PAUSES: [usize; 4] = [1_500, 3_000, 6_000, 10_000];

/// Everything that can be touched.
pub(crate) struct Faults {
    pub(crate) world: Rc<World>,
    pub(crate) etcd: Rc<Etcd>,
    pub(crate) network: Rc<Network>,
    pub(crate) edges: Vec<Rc<Switch>>,
    pub(crate) dice: RefCell<Dice>,
    /// Nothing goes wrong any more.
    pub(crate) is_over: Cell<bool>,
    /// How often each was drawn.
    pub(crate) counts: RefCell<BTreeMap<&'static str, u64>>,
}

/// Makes it go wrong, and says how.
type Fault = fn(&Rc<Faults>) -> String;

/// What can go wrong.
const ALL: &[(&str, Fault)] = &[
    ("a line to one member is cut", |all| all.cut_line(1)),
    ("all lines of an edge are cut", |all| all.cut_line(MEMBERS.len())),
    ("the streams of an edge break", Faults::break_streams),
    ("the lines of an edge are slow", Faults::slow_lines),
    ("etcd has no leader", Faults::no_leader),
    ("a leader is left behind", Faults::stale_leader),
    ("a member is down", Faults::member_down),
    ("a member is cut off", Faults::member_alone),
    ("a member is late", Faults::member_late),
    ("the store is compacted", Faults::compact),
    ("an edge crashes", |all| all.crash(all.roll(all.edges.len()))),
    ("an edge is frozen", |all| all.freeze(all.roll(all.edges.len()))),
    ("the controller crashes", |all| all.crash(all.controller())),
    ("the controller is frozen", |all| all.freeze(all.controller())),
    ("an edge is drained", Faults::drain),
    ("an instance fails", Faults::instance_fails),
    ("a machine dies", Faults::machine_dies),
    ("an edge can't reach a machine", Faults::unreachable),
    ("a hold is wished", Faults::wish_hold),
    ("a site comes or goes", Faults::site_comes_or_goes),
];

impl Faults {
    /// Starts everything, lets it go wrong for a while, and puts all in order again.
    pub(crate) async fn happen(self: Rc<Self>) {
        self.begin();
        let operating = self.clone();
        spawn_local(async move { operating.move_sites().await });
        let (end, pause) = (self.world.history.now() + TROUBLE, PAUSES[self.roll(PAUSES.len())]);
        while self.world.history.now() < end {
            sleep(self.time(1, pause)).await;
            let (name, fault) = ALL[self.roll(ALL.len())];
            *self.counts.borrow_mut().entry(name).or_default() += 1;
            let how = fault(&self);
            self.world.history.tell(None, What::Fault(format!("{name}: {how}")));
        }
        self.end().await;
    }

    /// Starts everything.
    pub(crate) fn begin(self: &Rc<Self>) {
        let supervising = self.clone();
        spawn_local(async move { supervising.supervise().await });
        self.edges.iter().for_each(|edge| edge.on.set(true));
    }

    /// Nothing goes wrong from now on, and all is put in order again.
    pub(crate) async fn end(&self) {
        self.heal();
        let sites = (0..self.world.sites.get()).map(sites::name).collect();
        self.world.history.tell(None, What::Rest { edges: self.edges.len(), sites });
        self.put_in_order().await;
    }

    /// Starts again what has crashed, as an init system does.
    async fn supervise(&self) {
        loop {
            sleep(Duration::from_millis(100)).await;
            for edge in &self.edges {
                if edge.restart.get().is_some_and(|at| at <= self.world.history.now()) {
                    edge.restart.set(None);
                    edge.on.set(true);
                }
            }
        }
    }

    fn heal(&self) {
        self.is_over.set(true);
        for (number, edge) in self.edges.iter().enumerate() {
            edge.frozen.set(false);
            // One that has left the fleet comes back only when it is started again.
            edge.on.set(!edge.drained.get());
            edge.restart.set(Some(self.world.history.now() + Duration::from_millis(500)));
            for member in 0..MEMBERS.len() {
                self.network.set_whole(number, member, THERE, true);
                self.network.set_whole(number, member, BACK, true);
                self.network.set_delay(number, member, USUAL_DELAY);
            }
        }
        for member in 0..MEMBERS.len() {
            self.etcd.set_up(member, true);
            self.etcd.set_lag(member, USUAL_DELAY);
        }
        self.etcd.know_again();
        self.etcd.set_leads(true);
        self.world.backends.heal();
    }

    /// Operators see to it that no site is left on hold, and that all edges have the same file.
    async fn put_in_order(&self) {
        loop {
            for edge in 0..self.edges.len() {
                self.reload(edge);
            }
            for site in 0..self.world.sites.get() {
                self.wish(self.roll(self.edges.len()), site, Wanted::Release);
            }
            sleep(Duration::from_secs(5)).await;
        }
    }

    fn roll(&self, sides: usize) -> usize {
        self.dice.borrow_mut().roll(sides)
    }

    fn machine(&self) -> &'static str {
        self.dice.borrow_mut().pick(&MACHINES)
    }

    /// At least and at most so many milliseconds.
    fn time(&self, least: usize, most: usize) -> Duration {
        Duration::from_millis((least + self.roll(most - least)) as u64)
    }

    /// Has something done later, unless all is in order again by then.
    fn after(self: &Rc<Self>, time: Duration, then: impl FnOnce(&Rc<Self>) + 'static) {
        let all = self.clone();
        spawn_local(async move {
            sleep(time).await;
            if !all.is_over.get() {
                then(&all);
            }
        });
    }

    // The store, and the way there.

    fn cut_line(self: &Rc<Self>, members: usize) -> String {
        let (edge, first) = (self.roll(self.edges.len()), self.roll(MEMBERS.len()));
        let directions = [&[THERE][..], &[BACK], &[THERE, BACK]][self.roll(3)];
        let time = self.time(200, 10_000);
        let set = move |all: &Self, whole| {
            for member in (0..members).map(|next| (first + next) % MEMBERS.len()) {
                for direction in directions {
                    all.network.set_whole(edge, member, *direction, whole);
                }
            }
        };
        set(self, false);
        self.after(time, move |all| set(all, true));
        format!("edge {edge}, {members} from {first}, directions {directions:?}, {time:?}")
    }

    fn break_streams(self: &Rc<Self>) -> String {
        let edge = self.roll(self.edges.len());
        (0..MEMBERS.len()).for_each(|member| self.network.break_off(edge, member));
        format!("edge {edge}")
    }

    fn slow_lines(self: &Rc<Self>) -> String {
        let (edge, most, time) = (self.roll(self.edges.len()), 20 + self.roll(400), self.time(500, 8_000));
        let set = move |all: &Self, most| {
            (0..MEMBERS.len()).for_each(|member| all.network.set_delay(edge, member, most));
        };
        set(self, most);
        self.after(time, move |all| set(all, USUAL_DELAY));
        format!("edge {edge}, up to {most} ms, {time:?}")
    }

    fn no_leader(self: &Rc<Self>) -> String {
        let time = self.time(200, if self.roll(3) == 0 { 10_000 } else { 2_500 });
        self.etcd.set_leads(false);
        self.after(time, |all| all.etcd.set_leads(true));
        format!("{time:?}")
    }

    /// For one election timeout at most, which is what the margin of an edge's lease has to cover.
    fn stale_leader(self: &Rc<Self>) -> String {
        let (member, time) = (self.roll(MEMBERS.len()), self.time(100, 1_000));
        if !self.etcd.leave_behind(member) {
            return "another one is".to_owned();
        }
        self.after(time, |all| all.etcd.know_again());
        format!("member {member}, {time:?}")
    }

    fn member_down(self: &Rc<Self>) -> String {
        let (member, time) = (self.roll(MEMBERS.len()), self.time(300, 8_000));
        self.etcd.set_up(member, false);
        self.after(time, move |all| all.etcd.set_up(member, true));
        format!("member {member}, {time:?}")
    }

    fn member_alone(self: &Rc<Self>) -> String {
        let (member, time) = (self.roll(MEMBERS.len()), self.time(300, 8_000));
        self.etcd.set_joined(member, false);
        self.after(time, move |all| all.etcd.set_joined(member, true));
        format!("member {member}, {time:?}")
    }

    fn member_late(self: &Rc<Self>) -> String {
        let (member, lag, time) = (self.roll(MEMBERS.len()), 20 + self.roll(800), self.time(500, 8_000));
        self.etcd.set_lag(member, lag);
        self.after(time, move |all| all.etcd.set_lag(member, USUAL_DELAY));
        format!("member {member}, up to {lag} ms, {time:?}")
    }

    /// Once, or again and again: then it happens between two reads that belong together.
    fn compact(self: &Rc<Self>) -> String {
        let (keep, times) = [(self.roll(20), 1), (0, 3_000)][self.roll(2)];
        let all = self.clone();
        spawn_local(async move {
            for _ in 0..times {
                all.etcd.compact(keep as i64);
                sleep(Duration::from_millis(1)).await;
            }
        });
        format!("{keep} revisions stay, {times} times")
    }

    // Edges.

    /// The edge that has won the election, or any.
    fn controller(&self) -> usize {
        self.etcd.elected().unwrap_or_else(|| self.roll(self.edges.len()))
    }

    fn crash(self: &Rc<Self>, edge: usize) -> String {
        let time = self.time(100, 9_000);
        self.edges[edge].on.set(false);
        self.edges[edge].frozen.set(false);
        self.edges[edge].restart.set(Some(self.world.history.now() + time));
        format!("edge {edge}, {time:?}")
    }

    fn freeze(self: &Rc<Self>, edge: usize) -> String {
        let time = self.time(200, 12_000);
        self.edges[edge].frozen.set(true);
        self.after(time, move |all| all.edges[edge].frozen.set(false));
        format!("edge {edge}, {time:?}")
    }

    fn drain(self: &Rc<Self>) -> String {
        let (edge, time) = (self.roll(self.edges.len()), self.time(500, 4_000));
        if let Some(controller) = self.edges[edge].controller.borrow().clone() {
            self.edges[edge].drained.set(true);
            spawn_local(async move { controller.leave().await });
        }
        // And is stopped, and started again.
        self.after(time, move |all| drop(all.crash(edge)));
        format!("edge {edge}, {time:?}")
    }

    // Instances.

    fn instance_fails(self: &Rc<Self>) -> String {
        let backend = sites::backends(self.roll(sites::ALL))[self.roll(2)].clone();
        let (state, time) =
            ([State::Slow, State::Closed, State::Frozen][self.roll(3)], self.time(300, 10_000));
        self.world.backends.set(&backend, state);
        let how = format!("{backend}, {state:?}, {time:?}");
        self.after(time, move |all| all.world.backends.set(&backend, State::Up));
        how
    }

    fn machine_dies(self: &Rc<Self>) -> String {
        let (machine, time) = (self.machine(), self.time(500, 10_000));
        let state = [State::Closed, State::Frozen][self.roll(2)];
        let set = move |all: &Self, state| {
            for backend in (0..sites::ALL).flat_map(sites::backends) {
                if backend.starts_with(machine) {
                    all.world.backends.set(&backend, state);
                }
            }
        };
        set(self, state);
        self.after(time, move |all| set(all, State::Up));
        format!("{machine}, {state:?}, {time:?}")
    }

    fn unreachable(self: &Rc<Self>) -> String {
        let (edge, time) = (self.roll(self.edges.len()), self.time(300, 8_000));
        let machine = self.machine();
        self.world.backends.set_reach(edge, machine, false);
        self.after(time, move |all| all.world.backends.set_reach(edge, machine, true));
        format!("edge {edge}, {machine}, {time:?}")
    }

    // Operators.

    fn wish(&self, edge: usize, site: usize, wish: Wanted) {
        if let Some(controller) = self.edges[edge].controller.borrow().clone() {
            let site = SiteName::from(sites::name(site).as_str());
            spawn_local(async move { controller.wish(site, wish, "an operator".to_owned()).await });
        }
    }

    /// Somebody moves sites all the while.
    async fn move_sites(&self) {
        while !self.is_over.get() {
            sleep(self.time(500, 5_000)).await;
            let (edge, site) = (self.roll(self.edges.len()), self.roll(sites::USUAL));
            let to = sites::backends(site)[self.roll(2)].clone();
            self.wish(edge, site, Wanted::Handoff(to));
        }
    }

    fn wish_hold(self: &Rc<Self>) -> String {
        let (edge, site) = (self.roll(self.edges.len()), self.roll(sites::USUAL));
        let (other, time) = (self.roll(self.edges.len()), self.time(300, 4_000));
        self.wish(edge, site, Wanted::Hold);
        self.after(time, move |all| all.wish(other, site, Wanted::Release));
        format!("{}, at edge {edge}, {time:?}", sites::name(site))
    }

    fn site_comes_or_goes(self: &Rc<Self>) -> String {
        let sites = sites::USUAL + sites::ALL - self.world.sites.get();
        self.world.sites.set(sites);
        for edge in 0..self.edges.len() {
            self.after(self.time(1, 500), move |all| all.reload(edge));
        }
        format!("{sites} now")
    }

    /// Puts in force at an edge what its file says now.
    pub(crate) fn reload(&self, edge: usize) {
        if let Some(controller) = self.edges[edge].controller.borrow().clone() {
            let config = sites::config(edge, self.world.sites.get());
            spawn_local(async move { controller.apply(config).await });
        }
    }
}
