//! When which backend is probed: a verdict that readers wait for first, everything within a budget.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;
use tokio::time::Instant;

use crate::core::Backend;
use crate::gate::SiteKey;

/// Probes a second in all. When more are due, intervals stretch, and those that nobody waits for stretch first.
pub const PROBES_PER_SECOND_MAX: u32 = 10_000;
/// Probes a second for backends that nobody waits for: those that serve, and those that stand by. Each has its own, so
/// that neither ever waits for the others' turn to be over.
const STEADY_PER_SECOND_MAX: u32 = 2_000;
const STANDBY_PER_SECOND_MAX: u32 = 1_000;
/// Probes a second of what is most likely down, while there are some that may have come up.
const BEHIND_RISEN_PER_SECOND_MAX: u32 = 1_000;
/// Probes under way at a time of what may have come up. No other limit holds them up: as one is answered, the next is asked.
const RISEN_UNDER_WAY_MAX: usize = 500;
/// Probes under way at a time; each has a socket.
pub const UNDER_WAY_MAX: usize = 2_000;

/// How soon an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The site waits, and something at this address has just come up.
    Risen,
    /// It has the pin, and this look may say that it has fallen.
    Doubted,
    /// Readers wait at the gate.
    Readers,
    /// The site waits, but no reader does.
    Urgent,
    /// Just to know: it has the pin,
    Steady,
    /// or stands by.
    Standby,
}

impl Class {
    const ALL: [Self; 6] =
        [Self::Risen, Self::Doubted, Self::Readers, Self::Urgent, Self::Steady, Self::Standby];

    /// Somebody waits for the verdict.
    pub fn is_waited_for(self) -> bool {
        matches!(self, Self::Risen | Self::Doubted | Self::Readers | Self::Urgent)
    }
}

/// One backend of one site.
pub type Target = (SiteKey, Backend);

#[derive(Debug)]
struct Planned {
    target: Target,
    /// Entries of the heaps with another number are void. Numbers begin anew when none of the old ones is left, by far.
    number: u32,
    class: Class,
    under_way: bool,
    /// It became urgent while it was being probed.
    again: Option<Class>,
}

/// When, in nanoseconds since the schedule was made; the number, and the place among those planned.
type Turn = Reverse<(u64, u32, u32)>;

/// The schedule. There may be millions of targets: each is kept once, and led to by its place.
#[derive(Debug)]
pub struct Schedule {
    start: Instant,
    planned: Slab<Planned>,
    places: HashTable<u32>,
    hasher: RandomState,
    heaps: [BinaryHeap<Turn>; Class::ALL.len()],
    next_number: u32,
    under_way: usize,
    /// Of these, those that may have come up.
    risen: usize,
    all: Allowance,
    behind_risen: Allowance,
    steady: Allowance,
    standby: Allowance,
}

/// A number of probes that grows with time and is used up by probing.
#[derive(Debug)]
struct Allowance {
    per_second: f64,
    /// What a pause leaves over is kept up to here: so many may go at once.
    burst: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    /// A tenth of a second's worth may go at once, lest a pause be followed by a flood.
    fn new(per_second: u32, at: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, burst: (per_second / 10.0).max(1.0), left: 1.0, at }
    }

    /// A second's worth may go at once: a worker machine that dies is a thing of one moment, and a look at each of its
    /// sites is waited for.
    fn with_bursts(per_second: u32, at: Instant) -> Self {
        Self { burst: per_second.into(), ..Self::new(per_second, at) }
    }

    fn refill(&mut self, now: Instant) {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + more).min(self.burst);
        self.at = now;
    }
}

/// A start, or a machine that dies, makes very many urgent at once; their places are not kept for ever.
fn give_back(heap: &mut BinaryHeap<Turn>) {
    if heap.capacity() > 1024 && heap.len() < heap.capacity() / 4 {
        heap.shrink_to(heap.len() * 2);
    }
}

impl Schedule {
    /// Nothing is planned yet.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            planned: Slab::new(),
            places: HashTable::new(),
            hasher: RandomState::default(),
            heaps: Default::default(),
            next_number: 0,
            under_way: 0,
            risen: 0,
            all: Allowance::with_bursts(PROBES_PER_SECOND_MAX, now),
            behind_risen: Allowance::new(BEHIND_RISEN_PER_SECOND_MAX, now),
            steady: Allowance::new(STEADY_PER_SECOND_MAX, now),
            standby: Allowance::new(STANDBY_PER_SECOND_MAX, now),
        }
    }

    /// Plans the next probe of a target, in place of what was planned. While one is under way, it is planned by
    /// [`Self::done`].
    pub fn plan(&mut self, target: Target, class: Class, due: Instant) {
        self.next_number = self.next_number.wrapping_add(1);
        let number = self.next_number;
        let place = self.place(&target).unwrap_or_else(|| self.make_place(target, class));
        let planned = &mut self.planned[place as usize];
        if planned.under_way {
            if class.is_waited_for() {
                planned.again = Some(planned.again.map_or(class, |before| before.min(class)));
            }
            return;
        }
        (planned.number, planned.class) = (number, class);
        let due = due.saturating_duration_since(self.start).as_nanos() as u64;
        self.heaps[class as usize].push(Reverse((due, number, place)));
    }

    /// Where a target is among those planned.
    fn place(&self, target: &Target) -> Option<u32> {
        let is_it = |place: &u32| self.planned[*place as usize].target == *target;
        self.places.find(self.hasher.hash_one(target), is_it).copied()
    }

    fn make_place(&mut self, target: Target, class: Class) -> u32 {
        let hash = self.hasher.hash_one(&target);
        let planned = Planned { target, number: 0, class, under_way: false, again: None };
        let place =
            u32::try_from(self.planned.insert(planned)).expect("no more backends than ports and addresses");
        let (planned, hasher) = (&self.planned, &self.hasher);
        self.places.insert_unique(hash, place, |place| hasher.hash_one(&planned[*place as usize].target));
        place
    }

    fn of(&mut self, target: &Target) -> Option<&mut Planned> {
        let place = self.place(target)?;
        Some(&mut self.planned[place as usize])
    }

    /// The same, but for what is planned in a better class: it has its turn sooner as it is.
    pub fn hasten(&mut self, target: Target, class: Class, due: Instant) {
        if self.of(&target).is_none_or(|planned| planned.under_way || class <= planned.class) {
            self.plan(target, class, due);
        }
    }

    /// It is not to be probed any more.
    pub fn forget(&mut self, target: &Target) {
        let is_it = |place: &u32| self.planned[*place as usize].target == *target;
        let Ok(entry) = self.places.find_entry(self.hasher.hash_one(target), is_it) else { return };
        let (place, _) = entry.remove();
        let gone = self.planned.remove(place as usize);
        if gone.under_way {
            self.ended(gone.class);
        }
    }

    fn ended(&mut self, class: Class) {
        self.under_way -= 1;
        self.risen -= usize::from(class == Class::Risen);
    }

    /// The targets to be probed now, and why; they count as under way until [`Self::done`].
    pub fn due(&mut self, now: Instant) -> Vec<(Target, Class)> {
        for allowance in [&mut self.all, &mut self.behind_risen, &mut self.steady, &mut self.standby] {
            allowance.refill(now);
        }
        let mut due = Vec::new();
        for class in Class::ALL {
            while self.has_a_turn(class)
                && let Some(place) = self.next_due(class, now)
            {
                let planned = &mut self.planned[place as usize];
                planned.under_way = true;
                self.under_way += 1;
                self.risen += usize::from(class == Class::Risen);
                due.push((planned.target.clone(), class));
                self.heaps[class as usize].pop();
                self.spend(class);
            }
            give_back(&mut self.heaps[class as usize]);
        }
        due
    }

    fn has_a_turn(&self, class: Class) -> bool {
        let own = match class {
            Class::Risen => return self.risen < RISEN_UNDER_WAY_MAX,
            Class::Readers | Class::Urgent if self.risen > 0 => &self.behind_risen,
            Class::Doubted | Class::Readers | Class::Urgent => &self.all,
            Class::Steady => &self.steady,
            Class::Standby => &self.standby,
        };
        self.under_way < UNDER_WAY_MAX && self.all.left >= 1.0 && own.left >= 1.0
    }

    fn spend(&mut self, class: Class) {
        match class {
            Class::Risen => return,
            Class::Doubted => {}
            Class::Readers | Class::Urgent => {
                self.behind_risen.left = (self.behind_risen.left - 1.0).max(0.0)
            }
            Class::Steady => self.steady.left -= 1.0,
            Class::Standby => self.standby.left -= 1.0,
        }
        self.all.left -= 1.0;
    }

    /// The next of a class whose time has come, or none.
    fn next_due(&mut self, class: Class, now: Instant) -> Option<u32> {
        let nanos = now.saturating_duration_since(self.start).as_nanos() as u64;
        let heap = &mut self.heaps[class as usize];
        loop {
            let &Reverse((at, number, place)) = heap.peek()?;
            match self.planned.get(place as usize) {
                Some(planned) if planned.number == number => return (at <= nanos).then_some(place),
                _ => drop(heap.pop()),
            }
        }
    }

    /// When to look at [`Self::due`] again, if nothing else happens.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let earliest = self.heaps.iter().filter_map(BinaryHeap::peek).map(|Reverse((due, ..))| *due).min()?;
        let earliest = self.start + Duration::from_nanos(earliest);
        // What is due already waits for the allowance.
        Some(earliest.max(now + Duration::from_millis(1)))
    }

    /// A probe has ended. Returns whether the target is still wanted, and how urgent it became meanwhile.
    pub fn done(&mut self, target: &Target) -> Option<Option<Class>> {
        let planned = self.of(target)?;
        if !planned.under_way {
            return Some(None);
        }
        planned.under_way = false;
        // Whatever it was, it has had its turn.
        let class = std::mem::replace(&mut planned.class, Class::Standby);
        let again = planned.again.take();
        self.ended(class);
        Some(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(site: u32) -> Target {
        (SiteKey(site), "127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn readers_that_wait_are_probed_for_first() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for site in 0..5000 {
            schedule.plan(target(site), Class::Steady, start);
        }
        schedule.plan(target(9999), Class::Readers, start);
        let due = schedule.due(start + Duration::from_millis(10));
        assert_eq!(due[0], (target(9999), Class::Readers));
        assert!(due.len() < 100, "{} probes in 10 ms", due.len());
    }

    #[test]
    fn what_may_have_come_up_or_fallen_is_not_kept_waiting_by_what_is_down() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for site in 0..50_000 {
            schedule.plan(target(site), Class::Readers, start);
        }
        let later = start + Duration::from_secs(1);
        for (site, class) in [(7, Class::Doubted), (8, Class::Risen)] {
            schedule.plan(target(site), class, later);
            schedule.hasten(target(site), Class::Readers, later);
        }
        assert_eq!(schedule.due(later)[..2], [(target(8), Class::Risen), (target(7), Class::Doubted)]);
    }

    #[test]
    fn what_may_have_come_up_is_asked_as_fast_as_it_answers_and_all_else_seldom_meanwhile() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        // All that may be asked in a second has been.
        for site in 0..50_000 {
            schedule.plan(target(site), Class::Readers, start);
        }
        let ends = |schedule: &mut Schedule, due: &[(Target, Class)]| {
            for (target, _) in due {
                schedule.done(target);
            }
        };
        loop {
            let due = schedule.due(start);
            ends(&mut schedule, &due);
            if due.is_empty() {
                break;
            }
        }
        for site in 100_000..110_000 {
            schedule.plan(target(site), Class::Risen, start);
        }
        let (mut risen, mut others) = (0, 0);
        // Each answers after a tenth of a second.
        for tenths in 1..=20 {
            let due = schedule.due(start + Duration::from_millis(tenths * 100));
            let now = due.iter().filter(|(_, class)| *class == Class::Risen).count();
            assert_eq!(now, RISEN_UNDER_WAY_MAX);
            (risen, others) = (risen + now, others + due.len() - now);
            ends(&mut schedule, &due);
        }
        assert_eq!(risen, 10_000);
        assert!((1_900..=2_000).contains(&others), "{others} in two seconds");
        let due = schedule.due(start + Duration::from_millis(2_100));
        assert!(due.len() > 900, "then the others have their turns again: {}", due.len());
    }

    #[test]
    fn a_second_s_worth_goes_at_once_where_a_verdict_is_waited_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let later = start + Duration::from_secs(60);
        for site in 0..20_000 {
            schedule.plan(target(site), Class::Urgent, start);
        }
        let mut asked = 0;
        loop {
            let due = schedule.due(later);
            asked += due.len();
            for (target, _) in &due {
                schedule.done(target);
            }
            if due.is_empty() {
                break;
            }
        }
        assert_eq!(asked, PROBES_PER_SECOND_MAX as usize);
    }

    #[test]
    fn the_budget_stretches_intervals_and_forgets_nobody() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for site in 0..3000 {
            schedule.plan(target(site), Class::Urgent, start);
        }
        let mut probed = std::collections::BTreeSet::new();
        for ms in 0..400 {
            for (target, _) in schedule.due(start + Duration::from_millis(ms)) {
                probed.insert(target.0);
                schedule.done(&target);
            }
        }
        assert_eq!(probed.len(), 3000);
    }

    #[test]
    fn who_serves_is_probed_however_many_stand_by() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for site in 0..9000 {
            schedule.plan(target(site), Class::Standby, start);
        }
        schedule.plan(target(9999), Class::Steady, start + Duration::from_millis(50));
        let due: Vec<(Target, Class)> =
            (0..100).flat_map(|ms| schedule.due(start + Duration::from_millis(ms))).collect();
        assert!(due.contains(&(target(9999), Class::Steady)));
        assert!(due.len() > 10, "those that stand by have a turn, too");
    }

    #[test]
    fn a_rush_of_probes_leaves_no_places_behind() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for site in 0..20_000 {
            schedule.plan(target(site), Class::Urgent, start);
        }
        for second in 0..60 {
            for (target, _) in schedule.due(start + Duration::from_secs(second)) {
                schedule.done(&target);
            }
        }
        let heap = &schedule.heaps[Class::Urgent as usize];
        assert_eq!(heap.len(), 0);
        assert!(heap.capacity() <= 1024, "room for {} is kept", heap.capacity());
    }

    #[test]
    fn a_new_plan_replaces_the_old_one() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.plan(target(1), Class::Steady, start + Duration::from_secs(9));
        schedule.plan(target(1), Class::Urgent, start);
        assert_eq!(schedule.due(start + Duration::from_secs(10)), [(target(1), Class::Urgent)]);
        assert!(schedule.due(start + Duration::from_secs(20)).is_empty());
    }

    #[test]
    fn what_became_urgent_while_being_probed_is_probed_again() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.plan(target(1), Class::Steady, start);
        assert_eq!(schedule.due(start).len(), 1);
        schedule.plan(target(1), Class::Urgent, start);
        schedule.plan(target(1), Class::Risen, start);
        assert_eq!(schedule.done(&target(1)), Some(Some(Class::Risen)));
        assert_eq!(schedule.done(&target(1)), Some(None));
    }
}
