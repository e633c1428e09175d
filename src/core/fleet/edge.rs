//! One edge: what it does with its gates.
//!
//! It is given what the store says, how its lease is, which leases of requests are gone, and what time it is; it says
//! which gates to shut, cut and open, and what to write. Its rules:
//!
//! 1. **A life has a key of its own.** All gates shut and empty, then a lease, then the key, with watermark 0, then the
//!    list, then the watch from there on, and only then a gate is opened. Read before it registers, an edge could miss a
//!    fence that was complete without it.
//! 2. **Everything up to the watermark is applied**, but for the sites that are pending: they still have leases of an
//!    epoch that is fenced. The watermark never falls. A list that is older than what was applied ends the life.
//! 3. **It is an edge until its lease is over, by its own clock**: from the moment at which the keep-alive was *sent* that
//!    has been answered. Past that it shuts and cuts every gate; workers look at the same deadline by themselves.
//! 4. **It never goes back.** An older epoch than the one that it knows, or the same with another backend, is refused.
//! 5. **What can't be cut in time ends the process**, before others believe that it has gone.

mod suspicions;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::suspicions::Suspicions;
pub use self::words::*;
use super::{LeaseId, Moment, Partition, Record, Revision, goes_back};
use crate::core::{Epoch, Pin, SiteName};

/// One site at this edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Door {
    partition: Partition,
    /// What the store says, as far as it was applied in this life, or in the one before where it goes on without the store.
    record: Option<Record>,
    /// The newest pin ever known.
    known: Option<Pin>,
    /// The gate is open under this pin.
    open: Option<Pin>,
    /// Leases of this epoch may be out.
    out: Option<Epoch>,
    /// They were out, or given out, without a life: nobody waits for them, unless the store still says what it said then.
    alone: bool,
    /// When they were told to end.
    cut: Option<Moment>,
    /// Generation of the last shutting.
    shut: u64,
    /// It is not served here any more.
    removed: bool,
}

impl Door {
    /// The epoch that is served, as the store says.
    fn serves(&self) -> Option<Epoch> {
        self.record.as_ref().and_then(Record::serves).map(|pin| pin.epoch)
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    terms: Terms,
    life: Life,
    /// When this life ends, if nothing is heard until then.
    until: Moment,
    /// That moment has passed.
    fenced: bool,
    leaving: bool,
    /// The lease of a life that was ended here and not by the store.
    spent: Option<LeaseId>,
    doors: BTreeMap<SiteName, Door>,
    /// Sites of the store that are not served here.
    elsewhere: BTreeMap<SiteName, Record>,
    applied: Revision,
    /// Sites with leases of an epoch that is fenced.
    pending: BTreeSet<SiteName>,
    /// Sites whose leases were told to end.
    cutting: BTreeSet<SiteName>,
    suspicions: Suspicions,
    /// The watermark or the pending sites have changed since they were told last.
    due: Due,
    telling: bool,
    generation: u64,
}

/// How soon the store must hear of what was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Due {
    /// It has heard.
    Nothing,
    /// Nobody waits for it.
    Sometime,
    /// A handoff waits for it.
    Now,
}

type Effects = Vec<Effect>;

impl Edge {
    /// An edge that has not begun to live. [`Self::begin`] goes on.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            life: Life::Ending,
            until: Moment::default(),
            fenced: false,
            leaving: false,
            spent: None,
            doors: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            applied: Revision(0),
            pending: BTreeSet::new(),
            cutting: BTreeSet::new(),
            suspicions: Suspicions::default(),
            due: Due::Nothing,
            telling: false,
            generation: 0,
        }
    }

    /// Takes up the first life.
    pub fn begin(&mut self) -> Effects {
        let mut out = Effects::new();
        self.be_born(&mut out);
        out
    }

    /// Takes in what happened and returns what is to be done, in this order.
    pub fn step(&mut self, now: Moment, input: Input) -> Effects {
        let mut out = Effects::new();
        let at = now;
        self.look_at_the_clock(at, &mut out);
        match input {
            Input::Granted { lease, sent, ttl } => self.granted(at, lease, sent, ttl, &mut out),
            Input::Renewed { lease, sent, ttl } => self.renewed(at, lease, sent, ttl, &mut out),
            Input::Registered { lease } if self.life == Life::Registering(lease) => {
                self.life = Life::Listing(lease);
                out.push(Effect::List(lease));
            }
            Input::Listed { lease, revision, sites } if self.life == Life::Listing(lease) => {
                self.listed(at, lease, revision, sites, &mut out);
            }
            Input::Changed { lease, revision, sites } if self.life == Life::Following(lease) => {
                self.changed(at, revision, sites, &mut out);
            }
            Input::WatchLost { lease } if self.life == Life::Following(lease) => {
                self.life = Life::Listing(lease);
                out.push(Effect::List(lease));
            }
            Input::Told { lease } if self.lease() == Some(lease) => self.telling = false,
            Input::Left { site, generation } => self.left(at, &site, generation, &mut out),
            Input::Expired { site } => self.expired(at, &site, &mut out),
            Input::Suspected { site, epoch } if self.pinned_epoch(&site) == Some(epoch) => {
                self.suspicions.suspect(&site, epoch);
                self.settle(at, &site, &mut out);
            }
            Input::Detour { site, epoch } if self.suspicions.of(&site) == Some(epoch) => {
                self.suspicions.take_detour(&site);
                self.settle(at, &site, &mut out);
            }
            Input::Cleared { site, epoch } if self.suspicions.of(&site) == Some(epoch) => {
                self.suspicions.clear(&site);
                self.settle(at, &site, &mut out);
            }
            Input::Added { site, partition, known } => self.added(at, site, partition, known, &mut out),
            Input::Removed { site } => {
                if let Some(door) = self.doors.get_mut(&site) {
                    door.removed = true;
                    self.settle(at, &site, &mut out);
                    self.forget_if_gone(&site);
                }
            }
            Input::Leave => {
                self.leaving = true;
                self.settle_all(at, &mut out);
            }
            Input::Tick if self.due == Due::Sometime => self.due = Due::Now,
            // Of a life that is over.
            _ => {}
        }
        self.go_on(&mut out);
        out
    }

    // What others may look at.

    /// How far this life is.
    pub fn life(&self) -> Life {
        self.life
    }

    /// It was asked to leave, and lets nobody in any more.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The lease of this life.
    pub fn lease(&self) -> Option<LeaseId> {
        match self.life {
            Life::Registering(lease) | Life::Listing(lease) | Life::Following(lease) => Some(lease),
            Life::Ending | Life::Granting | Life::Left => None,
        }
    }

    /// When this life ends, if nothing is heard of its lease until then.
    pub fn until(&self) -> Moment {
        self.until
    }

    /// That moment has passed, and sites with [`Partition::Fence`] are held.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Everything up to here is applied, but for [`Self::pending`].
    pub fn applied(&self) -> Revision {
        self.applied
    }

    /// Sites with leases of an epoch that is fenced.
    pub fn pending(&self) -> impl Iterator<Item = &SiteName> {
        self.pending.iter()
    }

    /// What the store says of a site, as far as this life knows.
    pub fn record(&self, site: &SiteName) -> Option<&Record> {
        self.doors.get(site)?.record.as_ref()
    }

    /// The pin under which the gate of a site is open.
    pub fn open_under(&self, site: &SiteName) -> Option<&Pin> {
        self.doors.get(site)?.open.as_ref()
    }

    /// Backends that can't be reached from here.
    pub fn suspicions(&self) -> &Suspicions {
        &self.suspicions
    }

    /// Whether the site is served here, or still has leases here.
    pub fn serves(&self, site: &SiteName) -> bool {
        self.doors.contains_key(site)
    }

    /// The pin that the store would take this edge back behind.
    pub fn refuses(&self, site: &SiteName) -> Option<&Pin> {
        let door = self.doors.get(site)?;
        door.known.as_ref().filter(|known| self.knows_better(door, known))
    }

    // The lease.

    fn look_at_the_clock(&mut self, now: Moment, out: &mut Effects) {
        if self.lease().is_some() && now >= self.until && !self.fenced {
            self.fenced = true;
            self.settle_all(now, out);
        }
        // What is cut for a fence of one site has longer, for only that site waits.
        let patience =
            if self.fenced || self.life == Life::Ending { self.terms.margin } else { self.terms.cut_max };
        let is_late = |since: &Moment| now >= since.plus(patience);
        let late = self.cutting.iter().find(|site| self.doors[*site].cut.as_ref().is_some_and(is_late));
        if let Some(site) = late {
            out.push(Effect::Die { site: site.clone() });
        }
    }

    fn granted(&mut self, now: Moment, lease: LeaseId, sent: Moment, ttl: Duration, out: &mut Effects) {
        if self.life != Life::Granting {
            return out.push(Effect::Revoke(lease));
        }
        self.life = Life::Registering(lease);
        self.fenced = true;
        self.until = Moment::default();
        self.lives_until(now, sent, ttl, out);
        out.push(Effect::Register(lease));
    }

    fn renewed(&mut self, now: Moment, lease: LeaseId, sent: Moment, ttl: Duration, out: &mut Effects) {
        if self.lease() != Some(lease) {
            return;
        }
        if ttl.is_zero() {
            return self.end_life(now, out);
        }
        self.lives_until(now, sent, ttl, out);
    }

    fn lives_until(&mut self, now: Moment, sent: Moment, ttl: Duration, out: &mut Effects) {
        let until = sent.plus(ttl).minus(self.terms.margin);
        // An answer that was long on its way may say less than what is known.
        if until <= self.until {
            return;
        }
        self.until = until;
        out.push(Effect::Until(until));
        if self.fenced && now < until {
            self.fenced = false;
            self.settle_all(now, out);
        }
    }

    /// The store has forgotten this life, or is not the one that it was.
    fn end_life(&mut self, now: Moment, out: &mut Effects) {
        self.life = Life::Ending;
        self.fenced = true;
        self.telling = false;
        self.due = Due::Nothing;
        self.applied = Revision(0);
        self.elsewhere.clear();
        // Where it goes on without the store, what the store has said last stays in force, and so do the doubts about it.
        for door in self.doors.values_mut() {
            door.alone = door.out.is_some();
            if door.partition == Partition::Fence {
                door.record = None;
            }
        }
        let doors = &self.doors;
        self.suspicions.retain(|site| doors.get(site).is_some_and(|door| door.record.is_some()));
        self.settle_all(now, out);
    }

    // What the store says.

    fn listed(
        &mut self,
        now: Moment,
        lease: LeaseId,
        revision: Revision,
        sites: Vec<(SiteName, Record)>,
        out: &mut Effects,
    ) {
        if revision < self.applied {
            // The store itself has gone back: what this life has told it may be forgotten there.
            self.spent = Some(lease);
            return self.end_life(now, out);
        }
        let mut listed: BTreeMap<SiteName, Record> = sites.into_iter().collect();
        self.life = Life::Following(lease);
        self.applied = revision;
        self.due = Due::Now;
        let names: Vec<SiteName> = self.doors.keys().cloned().collect();
        for name in names {
            let record = listed.remove(&name);
            self.apply(now, &name, record, out);
        }
        self.elsewhere = listed;
        out.push(Effect::Watch { lease, from: Revision(revision.0 + 1) });
    }

    fn changed(
        &mut self,
        now: Moment,
        revision: Revision,
        sites: Vec<(SiteName, Option<Record>)>,
        out: &mut Effects,
    ) {
        if revision <= self.applied {
            return;
        }
        for (name, record) in sites {
            let serves = record.as_ref().is_some_and(|record| record.serves().is_some());
            self.due = self.due.max(if serves { Due::Sometime } else { Due::Now });
            if self.doors.contains_key(&name) {
                self.apply(now, &name, record, out);
            } else if let Some(record) = record {
                self.elsewhere.insert(name, record);
            } else {
                self.elsewhere.remove(&name);
            }
        }
        self.applied = revision;
    }

    fn apply(&mut self, now: Moment, site: &SiteName, record: Option<Record>, out: &mut Effects) {
        let door = self.doors.get_mut(site).expect("a site that is served here");
        door.record = record;
        door.alone &= door.out != door.serves();
        let stored = door.record.as_ref().map(|record| &record.pin);
        if goes_back(door.known.as_ref(), stored) {
            let known = door.known.clone().expect("there is something to go back behind");
            out.push(Effect::Refuse { site: site.clone(), known, stored: stored.cloned() });
        } else if let Some(pin) = stored
            && door.known.as_ref() != Some(pin)
        {
            out.push(Effect::Remember { site: site.clone(), pin: pin.clone() });
            door.known = Some(pin.clone());
        }
        if self.suspicions.of(site) != self.pinned_epoch(site) {
            self.suspicions.clear(site);
        }
        self.settle(now, site, out);
    }

    // The gates.

    fn added(
        &mut self,
        now: Moment,
        site: SiteName,
        partition: Partition,
        known: Option<Pin>,
        out: &mut Effects,
    ) {
        if let Some(door) = self.doors.get_mut(&site) {
            door.partition = partition;
            door.removed = false;
            return self.settle(now, &site, out);
        }
        let record = self.elsewhere.remove(&site);
        let door = Door {
            partition,
            record: None,
            known,
            open: None,
            out: None,
            alone: false,
            cut: None,
            shut: 0,
            removed: false,
        };
        self.doors.insert(site.clone(), door);
        if matches!(self.life, Life::Following(_)) {
            self.apply(now, &site, record, out);
        }
    }

    fn forget_if_gone(&mut self, site: &SiteName) {
        if self.doors.get(site).is_some_and(|door| door.removed && door.out.is_none()) {
            self.suspicions.clear(site);
        } else {
            return;
        }
        if let Some(record) = self.doors.remove(site).and_then(|door| door.record) {
            self.elsewhere.insert(site.clone(), record);
        }
    }

    fn pinned_epoch(&self, site: &SiteName) -> Option<Epoch> {
        self.record(site).map(|record| record.pin.epoch)
    }

    fn knows_better(&self, door: &Door, known: &Pin) -> bool {
        matches!(self.life, Life::Following(_))
            && goes_back(Some(known), door.record.as_ref().map(|record| &record.pin))
    }

    /// The lease goes, and what the store says was applied in this life: it may be old, but then others wait.
    fn is_alive(&self) -> bool {
        !self.fenced
            && self.applied > Revision(0)
            && matches!(self.life, Life::Listing(_) | Life::Following(_))
    }

    /// What the store has said of a site is in force: while the life goes on, or without it where that is wanted.
    fn goes_by_the_store(&self, door: &Door) -> bool {
        door.partition == Partition::Serve || self.is_alive()
    }

    /// Under which pin a gate ought to be open.
    fn wants(&self, door: &Door) -> Option<Pin> {
        if self.leaving || door.removed {
            return None;
        }
        let stored = door.record.as_ref().filter(|_| self.goes_by_the_store(door))?;
        stored.serves().filter(|pin| !goes_back(door.known.as_ref(), Some(pin))).cloned()
    }

    fn settle_all(&mut self, now: Moment, out: &mut Effects) {
        let names: Vec<SiteName> = self.doors.keys().cloned().collect();
        for name in names {
            self.settle(now, &name, out);
        }
    }

    /// Brings a gate nearer to what it ought to be: shuts it, cuts it, or opens it.
    fn settle(&mut self, now: Moment, site: &SiteName, out: &mut Effects) {
        let wants = self.wants(&self.doors[site]).filter(|_| self.suspicions.let_in(site));
        let is_alive = self.is_alive();
        let door = self.doors.get_mut(site).expect("a site that is served here");
        if door.open.is_some() && door.open != wants {
            self.generation += 1;
            door.shut = self.generation;
            door.open = None;
            out.push(Effect::Shut { site: site.clone(), generation: door.shut });
        }
        if door.open.is_none()
            && let Some(epoch) = door.out
        {
            // A lease of the epoch that the store speaks of may end by itself, unless the store says otherwise, or nobody
            // waits for it. A newer record implies the fence that came before it.
            let is_waited_for = is_alive && !door.alone;
            let goes_on = door.partition == Partition::Serve && door.serves() == Some(epoch);
            let may_drain = (is_waited_for || goes_on)
                && door.record.as_ref().is_some_and(|record| record.pin.epoch == epoch && !record.cuts());
            if !may_drain && door.cut.is_none() && wants.as_ref().is_none_or(|pin| pin.epoch != epoch) {
                door.cut = Some(now);
                self.cutting.insert(site.clone());
                out.push(Effect::Cut { site: site.clone() });
            }
        }
        if let Some(pin) = wants
            && door.open.is_none()
            && door.out.is_none_or(|epoch| epoch == pin.epoch && door.cut.is_none())
        {
            door.out = Some(pin.epoch);
            door.alone |= !is_alive;
            door.open = Some(pin.clone());
            out.push(Effect::Open { site: site.clone(), pin });
        }
        self.review_pending(site);
    }

    /// The gate is shut by itself. If the lease was renewed meanwhile, it is opened again.
    fn expired(&mut self, now: Moment, site: &SiteName, out: &mut Effects) {
        let Some(door) = self.doors.get_mut(site) else { return };
        if door.open.take().is_some() {
            self.generation += 1;
            door.shut = self.generation;
            out.push(Effect::Shut { site: site.clone(), generation: door.shut });
            self.settle(now, site, out);
        }
    }

    fn left(&mut self, now: Moment, site: &SiteName, generation: u64, out: &mut Effects) {
        let Some(door) = self.doors.get_mut(site) else { return };
        // A gate that was opened again since has leases again: only the last shutting counts.
        if generation != door.shut || door.open.is_some() {
            return;
        }
        door.out = None;
        door.alone = false;
        door.cut = None;
        self.cutting.remove(site);
        self.settle(now, site, out);
        self.forget_if_gone(site);
    }

    /// A site is pending while it has leases of an epoch under which the store lets nobody serve.
    fn review_pending(&mut self, site: &SiteName) {
        let door = &self.doors[site];
        let is_pending = door.out.is_some() && door.out != door.serves();
        let changed = match is_pending {
            true => self.pending.insert(site.clone()),
            false => self.pending.remove(site),
        };
        if changed {
            self.due = Due::Now;
        }
    }

    // What follows from all of it.

    fn be_born(&mut self, out: &mut Effects) {
        let is_empty =
            |door: &Door| door.out.is_none() || door.partition == Partition::Serve && !self.leaving;
        if self.life == Life::Ending && self.doors.values().all(is_empty) {
            self.life = Life::Granting;
            out.extend(self.spent.take().map(Effect::Revoke));
            out.push(Effect::Grant);
        }
    }

    fn go_on(&mut self, out: &mut Effects) {
        if self.leaving {
            if self.life != Life::Left && self.doors.values().all(|door| door.out.is_none()) {
                out.extend(self.spent.take().or(self.lease()).map(Effect::Revoke));
                out.push(Effect::HasLeft);
                self.life = Life::Left;
            }
        } else {
            self.be_born(out);
        }
        if let Life::Following(lease) = self.life
            && self.due == Due::Now
            && !self.telling
        {
            self.telling = true;
            self.due = Due::Nothing;
            let pending = self.pending.iter().cloned().collect();
            out.push(Effect::Tell { lease, watermark: self.applied, pending });
        }
    }
}

#[cfg(test)]
mod tests;
