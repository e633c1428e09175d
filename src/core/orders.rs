//! Which name is given a certificate when: what is ordered now, from whom, and when to look again.
//!
//! A [`Planner`] is told what was asked for, what is served, how orders ended, and what time it is; it says which orders
//! to begin. It speaks no ACME, keeps nothing on a disk and has no clock: time and randomness are inputs.
//!
//! What it never does: order a name twice at once, order a name that no site has, begin more than [`UNDER_WAY_MAX`] orders,
//! or turn to a certificate authority before its backoff is over.

mod backoff;
mod entry;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backoff::Authorities;
pub use backoff::{Dice, TRIES_PER_HOUR};
pub use entry::{Certificate, Record, Window};
use entry::{Entry, Place, Rank};
pub use served::{Coverage, Served, is_orderable};

/// Seconds since 1970. Certificates speak of the time of day, so everything here does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// This many seconds later.
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// One minute, in seconds.
const MINUTE: u64 = 60;
/// One hour, in seconds.
const HOUR: u64 = 60 * MINUTE;

/// Orders under way at a time. A certificate authority takes seconds over each, and asks its clients not to hurry.
pub const UNDER_WAY_MAX: usize = 10;
/// Of these, at most so many of one sort, those that somebody waits for and the others: neither keeps the other out.
pub const UNDER_WAY_OF_A_SORT_MAX: usize = 8;
/// How long a limit of an authority holds that doesn't say how long, in seconds.
pub const RATE_LIMIT_USUAL: u64 = HOUR;
/// The longest time that an authority is believed when it says to come back later, in seconds.
pub const RATE_LIMIT_MAX: u64 = 7 * 24 * HOUR;
/// An order that its authority says nothing of so many times is given up, and the name is ordered anew.
pub const SILENT_TRIES: u32 = 3;
/// Time between two looks at what the authority suggests, unless it says another, in seconds.
pub const LOOK_USUAL: u64 = 6 * HOUR;

/// An order to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// For this name.
    pub name: Arc<str>,
    /// Number of the authority to turn to, in the order of the configuration.
    pub authority: usize,
    /// Orders for this name that have failed in a row; who has several ways to prove a name takes turns by it.
    pub attempt: u32,
    /// Whether the name is there because of a wildcard only.
    pub coverage: Coverage,
    /// Whether there is a certificate already that this one replaces.
    pub renewal: bool,
    /// Whether an order of before that has not ended is to be left to lie: its authority has said nothing of it
    /// [`SILENT_TRIES`] times.
    pub anew: bool,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a certificate.
    Issued {
        /// From when it is valid.
        not_before: Time,
        /// Until when it is valid.
        not_after: Time,
        /// When the authority suggests to renew it.
        window: Option<Window>,
    },
    /// Without.
    Failed(Failure),
}

/// Why there is no certificate. Each kind is answered in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The authority can't be reached, is broken, or has no account for us. The name can't help it.
    Unavailable,
    /// The authority is there, but of this order of ours it says nothing. No other name is concerned.
    Silent,
    /// The authority wants no more orders for a time.
    RateLimited {
        /// For so many seconds, if it said so.
        retry_after: Option<u64>,
    },
    /// The authority will not issue for this name.
    Refused,
    /// The name could not be proved: it points elsewhere, most likely.
    Challenge,
    /// The certificate could not be kept.
    Ours,
    /// An order of a former life of the process has gone bad while nobody was there to answer.
    Lapsed,
}

/// What those who wait for a name are to be told when its order has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// That it is over, well or not.
    Over,
    /// Nothing: it is tried elsewhere at once.
    GoesOn,
}

/// What asking for a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// There is a certificate that is valid.
    Good,
    /// It is ordered, or about to be: wait.
    Wait,
    /// Not before this time.
    Later(Time),
    /// No site has it, or no authority would take it for a name.
    NotServed,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Planner {
    /// Whether hosts that nobody asks for wait until somebody does.
    on_demand: bool,
    served: Served,
    names: BTreeMap<Arc<str>, Entry>,
    /// Names that become ready at a time.
    due: BTreeSet<(Time, Arc<str>)>,
    /// Names to order now, the most urgent first.
    ready: BTreeSet<(Rank, Arc<str>)>,
    /// When to ask the authority what it suggests.
    looks: BTreeSet<(Time, Arc<str>)>,
    authorities: Authorities,
    under_way: usize,
    /// Of these, those that somebody waited for when they began.
    waited_for: usize,
    dice: Dice,
}

impl Planner {
    /// A planner that serves nothing yet, with so many authorities.
    pub fn new(on_demand: bool, authorities: usize, dice: Dice) -> Self {
        Self {
            on_demand,
            served: Served::default(),
            names: BTreeMap::new(),
            due: BTreeSet::new(),
            ready: BTreeSet::new(),
            looks: BTreeSet::new(),
            authorities: Authorities::new(authorities),
            under_way: 0,
            waited_for: 0,
            dice,
        }
    }

    /// What is known of a name from a former life. `unfinished`: one of its orders had not ended.
    pub fn restore(&mut self, name: &str, record: Record, unfinished: bool, now: Time) {
        let name: Arc<str> = name.into();
        let mut entry = Entry::restored(record, self.authorities.count());
        entry.wanted |= unfinished;
        if let Some(certificate) = &mut entry.certificate
            && certificate.window.is_some()
        {
            // All at once would be a storm.
            certificate.look_at = Some(now.plus(self.dice.up_to(LOOK_USUAL)));
        }
        self.names.insert(name.clone(), entry);
        self.plan_look(&name);
        self.place(&name, now);
    }

    /// A backoff of an authority that goes on from a former life.
    pub fn restore_authority(&mut self, authority: usize, until: Time, failures: u32) {
        self.authorities.restore(authority, until, failures);
    }

    /// From now on these names are served, and no others.
    pub fn serve(&mut self, served: Served, now: Time) {
        self.served = served;
        if !self.on_demand {
            for name in self.served.exact().filter(|name| is_orderable(name)) {
                self.names.entry(name.clone()).or_default();
            }
        }
        let all: Vec<Arc<str>> = self.names.keys().cloned().collect();
        for name in all {
            self.place(&name, now);
            let entry = &self.names[&name];
            if entry.place == Place::Nowhere && entry.is_forgettable(now) {
                self.names.remove(&name);
            }
        }
    }

    /// How a name is served, if it is.
    pub fn coverage(&self, name: &str) -> Option<Coverage> {
        self.served.coverage(name).filter(|_| is_orderable(name))
    }

    /// What is known of a name without asking for it: whether its certificate is valid.
    pub fn is_good(&self, name: &str, now: Time) -> bool {
        self.names.get(name).is_some_and(|entry| entry.is_good(now))
    }

    /// Somebody wants a certificate for `name`, in lower case.
    pub fn want(&mut self, name: &str, now: Time) -> Want {
        if self.coverage(name).is_none() {
            return Want::NotServed;
        }
        let known = self.names.get_key_value(name).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| name.into());
        let entry = self.names.entry(name.clone()).or_default();
        if entry.is_good(now) {
            return Want::Good;
        }
        if let Place::UnderWay { .. } = entry.place {
            entry.wanted = true;
            return Want::Wait;
        }
        if entry.next_try > now {
            return Want::Later(entry.next_try);
        }
        // It stays wanted when no authority can be asked now: it is ordered as soon as one can.
        entry.wanted = true;
        let preferred = entry.authority;
        self.place(&name, now);
        match self.authorities.closed_until(preferred, now) {
            Some(until) => Want::Later(until),
            None => Want::Wait,
        }
    }

    /// The orders to begin now.
    pub fn begin(&mut self, now: Time) -> Vec<Order> {
        while let Some((_, name)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
            self.place(&name, now);
        }
        let mut orders = Vec::new();
        while self.under_way < UNDER_WAY_MAX {
            let Some(name) = self.pick() else { break };
            let entry = &self.names[&name];
            let (Some(authority), Some(coverage)) =
                (self.authorities.choose(entry.authority, now), self.served.coverage(&name))
            else {
                break;
            };
            orders.push(Order {
                authority,
                attempt: entry.failures,
                coverage,
                renewal: entry.certificate.is_some(),
                anew: entry.is_silent_for_too_long(),
                name: name.clone(),
            });
            self.leave(&name);
            let waited_for = entry_of(&mut self.names, &name).begin(authority);
            self.under_way += 1;
            self.waited_for += usize::from(waited_for);
            self.authorities.began(authority);
        }
        orders
    }

    /// The order for `name` that was under way has ended.
    pub fn ended(&mut self, name: &str, ended: Ended, now: Time) -> Heard {
        let Some((name, entry)) = self.names.get_key_value(name) else { return Heard::Over };
        let (Place::UnderWay { authority, waited_for }, name) = (entry.place, name.clone()) else {
            return Heard::Over;
        };
        self.under_way -= 1;
        self.waited_for -= usize::from(waited_for);
        self.authorities.left(authority);
        self.unplan_look(&name);
        let entry = entry_of(&mut self.names, &name);
        entry.place = Place::Nowhere;
        let heard = match ended {
            Ended::Issued { not_before, not_after, window } => {
                self.authorities.well(authority);
                entry.issued(not_before, not_after, window, now, &mut self.dice);
                Heard::Over
            }
            Ended::Failed(failure) => {
                match failure {
                    Failure::Unavailable => self.authorities.failed(authority, now, &mut self.dice),
                    Failure::RateLimited { retry_after } => self.authorities.limited(
                        authority,
                        now.plus(retry_after.unwrap_or(RATE_LIMIT_USUAL).clamp(1, RATE_LIMIT_MAX)),
                    ),
                    // It has answered, so that it is there.
                    Failure::Refused | Failure::Challenge => self.authorities.well(authority),
                    Failure::Ours | Failure::Lapsed | Failure::Silent => {}
                }
                entry.failed(failure, authority, self.authorities.count(), now, &mut self.dice);
                let at_once = entry.next_try <= now;
                match at_once && self.authorities.closed_until(entry.authority, now).is_none() {
                    true => Heard::GoesOn,
                    false => Heard::Over,
                }
            }
        };
        self.plan_look(&name);
        self.place(&name, now);
        let entry = &self.names[&name];
        if entry.place == Place::Nowhere {
            // Its site was removed while it was under way.
            if self.served.coverage(&name).is_none() && entry.is_forgettable(now) {
                self.names.remove(&name);
            }
            return Heard::Over;
        }
        heard
    }

    /// A name to ask its authority about: when does it suggest to renew? It is to be followed by [`Self::looked`].
    pub fn look(&mut self, now: Time) -> Option<Arc<str>> {
        let (_, name) = self.looks.first().filter(|(at, _)| *at <= now).cloned()?;
        // Should nobody come back to it, it is asked about later.
        self.looked(&name, None, LOOK_USUAL, now);
        Some(name)
    }

    /// What the authority suggested, and in how many seconds to ask again.
    pub fn looked(&mut self, name: &str, window: Option<Window>, again_in: u64, now: Time) {
        let Some(name) = self.names.get_key_value(name).map(|(name, _)| name.clone()) else { return };
        self.unplan_look(&name);
        if let Some(certificate) = &mut entry_of(&mut self.names, &name).certificate {
            certificate.look_at = Some(now.plus(again_in.clamp(MINUTE, 24 * HOUR)));
            certificate.suggested(window, now, &mut self.dice);
        }
        self.plan_look(&name);
        self.place(&name, now);
    }

    /// When to call [`Self::begin`] again, if nothing happens before.
    pub fn wake(&self, now: Time) -> Option<Time> {
        let due = self.due.first().map(|(at, _)| *at);
        let open = match self.under_way < UNDER_WAY_MAX && !self.ready.is_empty() {
            true => self.authorities.opens(now),
            false => None,
        };
        let look = self.looks.first().map(|(at, _)| *at);
        [due, open, look].into_iter().flatten().min()
    }

    /// What is to be remembered of a name.
    pub fn record(&self, name: &str) -> Option<Record> {
        self.names.get(name).map(Entry::record)
    }

    /// Until when each authority is left alone, and how many failures in a row that comes from.
    pub fn authorities(&self) -> impl Iterator<Item = (Time, u32)> {
        self.authorities.all()
    }

    /// Orders under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Names that wait for their turn.
    pub fn queued(&self) -> usize {
        self.ready.len()
    }

    /// Names whose certificate is valid, and the end of the one that ends first. Looks at all of them.
    pub fn good(&self, now: Time) -> (usize, Option<Time>) {
        let good = self.names.values().filter(|entry| entry.is_good(now));
        let ends = good.filter_map(|entry| entry.certificate.as_ref().map(|c| c.not_after));
        ends.fold((0, None), |(count, soonest), end| {
            (count + 1, Some(soonest.map_or(end, |soonest: Time| soonest.min(end))))
        })
    }

    /// The most urgent name, unless its sort has taken its share.
    fn pick(&self) -> Option<Arc<str>> {
        let others_begin = (Rank::FIRST_OF_THE_OTHERS, Arc::<str>::from(""));
        let waited = self.ready.range(..others_begin.clone()).next();
        let other = self.ready.range(others_begin..).next();
        let other = other.filter(|_| self.under_way - self.waited_for < UNDER_WAY_OF_A_SORT_MAX);
        let waited = waited.filter(|_| self.waited_for < UNDER_WAY_OF_A_SORT_MAX);
        waited.or(other).map(|(_, name)| name.clone())
    }

    /// Puts a name where it belongs: nowhere, among those that are due later, or among those to order now.
    fn place(&mut self, name: &Arc<str>, now: Time) {
        if !self.leave(name) {
            return;
        }
        let coverage = self.served.coverage(name);
        let entry = entry_of(&mut self.names, name);
        let ahead = !self.on_demand && coverage == Some(Coverage::Exact);
        entry.place = match coverage.and_then(|_| entry.due(ahead)) {
            None => Place::Nowhere,
            Some(at) if at > now => Place::Due(at),
            Some(_) => Place::Ready(entry.rank(now)),
        };
        match entry.place {
            Place::Due(at) => drop(self.due.insert((at, name.clone()))),
            Place::Ready(rank) => drop(self.ready.insert((rank, name.clone()))),
            Place::Nowhere | Place::UnderWay { .. } => {}
        }
    }

    /// Takes a name out of where it is. `false` if it is under way.
    fn leave(&mut self, name: &Arc<str>) -> bool {
        match self.names[name].place {
            Place::Nowhere => {}
            Place::Due(at) => drop(self.due.remove(&(at, name.clone()))),
            Place::Ready(rank) => drop(self.ready.remove(&(rank, name.clone()))),
            Place::UnderWay { .. } => return false,
        }
        true
    }

    fn plan_look(&mut self, name: &Arc<str>) {
        let at = self.names[name].certificate.as_ref().and_then(|certificate| certificate.look_at);
        self.looks.extend(at.map(|at| (at, name.clone())));
    }

    fn unplan_look(&mut self, name: &Arc<str>) {
        if let Some(at) = self.names[name].certificate.as_ref().and_then(|certificate| certificate.look_at) {
            self.looks.remove(&(at, name.clone()));
        }
    }
}

/// The entry of a name that is known.
fn entry_of<'a>(names: &'a mut BTreeMap<Arc<str>, Entry>, name: &Arc<str>) -> &'a mut Entry {
    names.get_mut(name).expect("a name that was just looked up")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
