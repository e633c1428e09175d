//! A long random walk through what can happen, and what must hold at each step of it.

use std::collections::BTreeMap;

use super::*;

const WALKS: u64 = 300;
const STEPS: usize = 400;
const DAY: u64 = 24 * HOUR;

/// The world around a planner, with its own view of what is going on.
struct World {
    planner: Planner,
    dice: Dice,
    now: Time,
    on_demand: bool,
    authorities: usize,
    hosts: Vec<String>,
    served: Served,
    under_way: BTreeMap<Arc<str>, usize>,
    /// Certificates, as issued.
    good: BTreeMap<Arc<str>, Time>,
    /// When orders of a name have failed by its own fault, or ours.
    failures: BTreeMap<Arc<str>, Vec<Time>>,
    limits: Vec<Time>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (on_demand, authorities) = (dice.up_to(1) == 0, 1 + dice.up_to(2) as usize);
        let hosts = (0..40).map(|n| format!("n{n:02}.example")).collect();
        let now = Time(1_800_000_000);
        let mut world = Self {
            planner: Planner::new(on_demand, authorities, Dice::new(!seed)),
            dice,
            now,
            on_demand,
            authorities,
            hosts,
            served: Served::default(),
            under_way: BTreeMap::new(),
            good: BTreeMap::new(),
            failures: BTreeMap::new(),
            limits: vec![Time(0); authorities],
        };
        world.reload();
        world
    }

    fn reload(&mut self) {
        let kept: Vec<&String> = self.hosts.iter().filter(|_| self.dice.up_to(3) > 0).collect();
        let wild = (self.dice.up_to(1) == 0).then(|| "wild.example".to_owned());
        self.served = Served::new(kept, wild.as_ref());
        self.planner.serve(self.served.clone(), self.now);
    }

    fn name(&mut self) -> String {
        match self.dice.up_to(9) {
            0 => format!("x{}.wild.example", self.dice.up_to(5)),
            1 => "stranger.example".to_owned(),
            _ => self.hosts[self.dice.up_to(39) as usize].clone(),
        }
    }

    fn step(&mut self) {
        match self.dice.up_to(9) {
            0..=3 => {
                let name = self.name();
                let want = self.planner.want(&name, self.now);
                let served = self.served.coverage(&name).is_some();
                assert_eq!(want == Want::NotServed, !served, "{name}");
                let good = self.good.get(name.as_str()).is_some_and(|end| *end > self.now);
                assert_eq!(want == Want::Good, served && good, "{name}");
                if let Want::Later(at) = want {
                    assert!(at > self.now, "{name} is told to come back in the past");
                }
            }
            4..=6 => self.end_one(None),
            7 => {
                let far = [10, HOUR, 10 * DAY][self.dice.up_to(2) as usize];
                self.now = self.now.plus(self.dice.up_to(far));
            }
            8 if self.dice.up_to(5) == 0 => self.reload(),
            8 => {
                if let Some(name) = self.planner.look(self.now) {
                    let from = self.now.plus(self.dice.up_to(DAY));
                    let window = (from, from.plus(self.dice.up_to(DAY)));
                    self.planner.looked(&name, Some(window), HOUR, self.now);
                }
            }
            _ => self.restart(),
        }
        self.begin();
    }

    fn begin(&mut self) {
        for order in self.planner.begin(self.now) {
            let before = self.under_way.insert(order.name.clone(), order.authority);
            assert_eq!(before, None, "{} was under way", order.name);
            assert!(self.served.coverage(&order.name).is_some(), "{} is nobody's", order.name);
            assert!(self.now >= self.limits[order.authority], "{} is limited", order.authority);
            let failures = self.failures.entry(order.name.clone()).or_default();
            let lately = failures.iter().filter(|at| at.0 + HOUR > self.now.0).count();
            assert!(lately < TRIES_PER_HOUR, "{} has failed {lately} times", order.name);
        }
        assert!(self.under_way.len() <= UNDER_WAY_MAX);
        assert_eq!(self.under_way.len(), self.planner.under_way());
        // Nothing is left lying: what could begin has begun, and for the rest there is a time.
        assert_eq!(self.planner.begin(self.now), []);
        if let Some(wake) = self.planner.wake(self.now)
            && self.planner.look(self.now).is_none()
        {
            assert!(wake > self.now, "it would spin");
        }
    }

    /// Ends an order, the way it is told or any way.
    fn end_one(&mut self, how: Option<Ended>) {
        let Some((name, authority)) = self.under_way.pop_first() else { return };
        let not_after = self.now.plus(self.dice.up_to(90 * DAY));
        let issued = Ended::Issued { not_before: self.now, not_after, window: None };
        let ended = how.unwrap_or_else(|| match self.dice.up_to(9) {
            0 => Ended::Failed(Failure::Unavailable),
            1 => Ended::Failed(Failure::RateLimited { retry_after: Some(self.dice.up_to(DAY)) }),
            2 => Ended::Failed(Failure::Refused),
            3 | 4 => Ended::Failed(Failure::Challenge),
            5 => Ended::Failed(Failure::Ours),
            6 => Ended::Failed(Failure::Silent),
            _ => issued,
        });
        match &ended {
            Ended::Issued { not_after, .. } => {
                self.failures.remove(&name);
                self.good.insert(name.clone(), *not_after);
            }
            Ended::Failed(Failure::RateLimited { retry_after: Some(seconds) }) => {
                self.limits[authority] = self.now.plus(*seconds);
            }
            Ended::Failed(Failure::Challenge | Failure::Ours) => {
                self.failures.entry(name.clone()).or_default().push(self.now);
            }
            Ended::Failed(_) => {}
        }
        self.planner.ended(&name, ended, self.now);
    }

    /// The process dies, with orders under way, and another takes over what was remembered.
    fn restart(&mut self) {
        let mut next = Planner::new(self.on_demand, self.authorities, Dice::new(self.dice.roll()));
        for (number, (until, failures)) in self.planner.authorities().enumerate() {
            next.restore_authority(number, until, failures);
        }
        let all: Vec<Arc<str>> = self.planner.names.keys().cloned().collect();
        for name in all {
            let unfinished = self.under_way.contains_key(&name);
            next.restore(&name, self.planner.record(&name).unwrap(), unfinished, self.now);
        }
        next.serve(self.served.clone(), self.now);
        self.under_way.clear();
        self.planner = next;
    }

    /// From now on all goes well: whatever ought to have a certificate gets one.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.begin();
            if !self.under_way.is_empty() {
                let ended =
                    Ended::Issued { not_before: self.now, not_after: self.now.plus(90 * DAY), window: None };
                self.end_one(Some(ended));
                continue;
            }
            let lacks = self.served.exact().find(|name| {
                let waits = !self.on_demand
                    || self
                        .planner
                        .names
                        .get(*name)
                        .is_some_and(|entry| entry.certificate.is_some() || entry.wanted);
                waits && !self.planner.is_good(name, self.now)
            });
            let Some(lacks) = lacks else { return };
            let wake = self.planner.wake(self.now);
            self.now = wake.unwrap_or_else(|| panic!("{lacks} is forgotten")).max(self.now.plus(1));
            while self.planner.look(self.now).is_some() {}
        }
        panic!("it never settles");
    }
}

#[test]
#[allow(clippy::disallowed_macros, reason = "a random test prints its seed")]
fn whatever_happens_the_promises_hold() {
    let first = std::collections::hash_map::RandomState::new();
    let first = std::hash::BuildHasher::hash_one(&first, 0_u8) >> 16;
    for seed in first..first + WALKS {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
    }
}
