//! The gate of a site: where requests and handoffs meet.
//!
//! Workers enter it, or are held at it; only the reconciler opens it, and anyone may shut it. Entering is one atomic
//! addition on one word ([`crate::core::admission`]); all that is not entering an open gate takes the lock.
//!
//! A lease counts until it is dropped. While the gate is shut, the one who drops the last lease reports that the
//! epoch is fenced. Held requests are let go first come, first served, as many at a time as the backend keeps up
//! with, and nobody passes them: the door stays shut, with new arrivals at the end of the queue, until it is empty.

mod budget;
mod lease;
mod reason;
mod report;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::alike::{Likeness, Rooms, Shared};
use crate::core::admission::{ONE_LEASE, Word};
use crate::core::release::Pacer;
pub use crate::core::turns::Ticket;
use crate::core::turns::Turns;
use crate::core::{Epoch, Pin};
use crate::detour::Detour;
use crate::lifeline::Lifeline;
pub use budget::HoldBudget;
use lease::Paced;
pub use lease::{Held, Leads, Lease, Part, Turn};
use reason::Reason;
pub use reason::Words as ReasonInWords;
pub use report::{Report, Tally};

/// Number of a site in this process. It stands for the site in maps on the way of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteKey(pub u32);

/// What all gates have in common.
#[derive(Debug)]
pub struct Surroundings {
    /// What all of them may hold.
    pub budget: Arc<HoldBudget>,
    /// Until when this process may act.
    pub lifeline: Arc<Lifeline>,
    /// Who is told what becomes of them.
    pub reports: mpsc::UnboundedSender<Report>,
    tickets: AtomicU64,
    /// See [`Self::late`].
    late: AtomicU64,
}

impl Surroundings {
    /// These.
    pub fn new(
        budget: Arc<HoldBudget>,
        lifeline: Arc<Lifeline>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Arc<Self> {
        Arc::new(Self { budget, lifeline, reports, tickets: AtomicU64::new(0), late: AtomicU64::new(0) })
    }

    /// Answers of all sites, those that are gone included, that were kept from a client because their epoch was over.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// A place behind all that were given out before, at whatever gate.
    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// See the module's text. There may be a million: what only those need where requests are held stands apart.
#[derive(Debug)]
pub struct Gate {
    site: SiteKey,
    word: AtomicU64,
    /// The pin under which the word's leases count. It changes only while the gate is fenced.
    pin: ArcSwapOption<Pin>,
    /// Coarse time of the last answer that proved the backend well; see [`Gate::note_well`].
    last_well: AtomicU32,
    /// Of the last answers that were looked at, which ones did for all; the newest in the lowest bit.
    samples: AtomicU8,
    /// Answers that were kept from a client because their epoch was over.
    late: AtomicU64,
    /// How often it was opened, which is also the number of the last release,
    opened: AtomicU64,
    /// and up to which of these times its leases were told to end.
    cut: AtomicU64,
    /// What those are told who ask why it is shut.
    reason: Reason,
    /// How its requests get to the backend, if not directly. It changes while the gate is open: the backend is the same.
    detour: ArcSwapOption<Detour>,
    /// Whether the end of this process's time shuts this gate, too.
    bound: AtomicBool,
    queue: Mutex<Queue>,
    around: Arc<Surroundings>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Those who wait, and what becomes of them; nothing where nobody was held since the gate was opened.
    crowd: Option<Box<Crowd>>,
    /// Generation to report when the last lease is gone.
    leaving: Option<u64>,
    /// Leases that were out when the gate was shut.
    usual: u32,
    retired: bool,
}

#[derive(Debug, Default)]
struct Crowd {
    waiting: BTreeMap<Ticket, Waiting>,
    turns: Turns<Arc<Likeness>>,
    release: Option<Release>,
    tally: Tally,
}

#[derive(Debug)]
struct Waiting {
    go: oneshot::Sender<Turn>,
    since: Instant,
    like: Option<Arc<Likeness>>,
}

impl Queue {
    fn crowd(&mut self) -> &mut Crowd {
        self.crowd.get_or_insert_default()
    }

    fn waiting(&self) -> usize {
        self.crowd.as_ref().map_or(0, |crowd| crowd.waiting.len())
    }

    /// Those who wait are being let go.
    fn is_releasing(&self) -> bool {
        self.crowd.as_ref().is_some_and(|crowd| crowd.release.is_some())
    }
}

impl Crowd {
    /// Whether one more may be let go.
    fn has_room(&self) -> bool {
        self.release.as_ref().is_some_and(|release| release.under_way < release.pacer.window())
    }
}

/// Held requests being let go.
#[derive(Debug)]
struct Release {
    pacer: Pacer,
    under_way: u32,
}

/// Why a request could not be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// The site's, or the total, budget is spent.
    Full,
    /// The site is no longer configured.
    Retired,
}

/// What entering or holding came to.
#[derive(Debug)]
pub enum Entry {
    /// In.
    Entered(Lease),
    /// Waiting.
    Held(Held),
}

impl Gate {
    /// A shut gate that has never been open.
    pub fn new(site: SiteKey, around: Arc<Surroundings>) -> Self {
        Self {
            site,
            word: AtomicU64::new(Word::NEW.0),
            pin: ArcSwapOption::empty(),
            last_well: AtomicU32::new(0),
            samples: AtomicU8::new(u8::MAX),
            late: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            reason: Reason::default(),
            detour: ArcSwapOption::empty(),
            bound: AtomicBool::new(true),
            queue: Mutex::default(),
            around,
        }
    }

    /// Whose gate it is.
    pub fn site(&self) -> SiteKey {
        self.site
    }

    // For requests.

    /// Enters if the gate is open.
    pub fn enter(self: &Arc<Self>) -> Option<Lease> {
        // Looking first keeps those who find it shut from disturbing the word of those who leave.
        if self.word().is_shut() {
            return None;
        }
        if self.is_over() {
            self.expire(&mut self.queue());
            return None;
        }
        self.count_in()
    }

    fn count_in(self: &Arc<Self>) -> Option<Lease> {
        let before = Word(self.word.fetch_add(ONE_LEASE, Ordering::AcqRel));
        if before.is_shut() {
            self.leave();
            return None;
        }
        let pin = self.pin.load_full().expect("an open gate has a pin");
        debug_assert!(before.is_of(pin.epoch), "the pin changes only while the gate is fenced");
        Some(self.lease(pin, None))
    }

    /// Enters, or waits at the gate. `max` is the site's own budget; `ticket` the place of one who comes back; `like` what
    /// others are that may have the same answer.
    pub fn enter_or_hold(
        self: &Arc<Self>,
        ticket: Option<Ticket>,
        max: usize,
        like: Option<Likeness>,
    ) -> Result<Entry, NotHeld> {
        let mut queue = self.queue();
        // The door is opened under the lock: if it is shut now, whoever opens it will see this request.
        if self.is_over() {
            self.expire(&mut queue);
        } else if !self.word().is_shut()
            && let Some(lease) = self.count_in()
        {
            return Ok(Entry::Entered(lease));
        }
        if queue.retired {
            return Err(NotHeld::Retired);
        }
        // Who comes back has been counted before, and is not to be turned away by those who came later.
        let crowd = queue.crowd();
        if ticket.is_none() && crowd.waiting.len() >= max || !self.around.budget.take() {
            crowd.tally.shed += 1;
            return Err(NotHeld::Full);
        }
        let ticket = ticket.unwrap_or_else(|| self.around.ticket());
        let (go, turn) = oneshot::channel();
        let like = crowd.turns.join(ticket, like.map(Arc::new));
        crowd.waiting.insert(ticket, Waiting { go, since: Instant::now(), like });
        crowd.tally.held += 1;
        self.let_go(&mut queue);
        drop(queue);
        Ok(Entry::Held(Held { gate: self.clone(), ticket, turn }))
    }

    /// Enters past those who wait, if the gate is open behind them: for requests that are never held, and would be refused
    /// as long as the queue is not empty.
    pub fn enter_past_the_queue(self: &Arc<Self>) -> Option<Lease> {
        let mut queue = self.queue();
        if !queue.is_releasing() {
            drop(queue);
            return self.enter();
        }
        if self.is_over() {
            self.expire(&mut queue);
            return None;
        }
        let pin = self.pin.load_full()?;
        self.word.fetch_add(ONE_LEASE, Ordering::AcqRel);
        Some(self.lease(pin, None))
    }

    /// Shuts the gate because the backend of this lease refuses connections, and tells the reconciler, who opens it
    /// again if that was a mistake.
    pub fn suspect(&self, epoch: Epoch) {
        let mut queue = self.queue();
        let word = self.word();
        let is_open = !word.is_shut() || queue.is_releasing();
        if is_open && self.epoch() == Some(epoch) {
            self.close(&mut queue);
            self.report(Report::Suspected { site: self.site, epoch });
        }
    }

    /// Asks for a probe, for something went wrong under this epoch.
    pub fn doubt(&self, epoch: Epoch) {
        self.report(Report::Doubted { site: self.site, epoch });
    }

    /// Real traffic has just proved the backend well. `now` is coarse: any steady unit, never 0. Whether it is the first time in
    /// this unit.
    pub fn note_well(&self, now: u32) -> bool {
        // Most of the time it was proved in this very unit: reading leaves the cache line shared.
        let is_first = self.last_well.load(Ordering::Relaxed) != now;
        if is_first {
            self.last_well.store(now, Ordering::Relaxed);
        }
        is_first
    }

    /// One answer of many: whether it does for all. Most sites either say so of their pages, or never do; waiting for an answer of
    /// one that never does would be in vain.
    pub fn sample(&self, is_for_all: bool) {
        let samples = self.samples.load(Ordering::Relaxed);
        self.samples.store(samples << 1 | u8::from(is_for_all), Ordering::Relaxed);
    }

    /// Whether any of the last eight samples did for all, or there were no eight yet.
    pub fn may_share(&self) -> bool {
        self.samples.load(Ordering::Relaxed) != 0
    }

    /// The `now` of the last [`Self::note_well`], 0 if there was none.
    pub fn last_well(&self) -> u32 {
        self.last_well.load(Ordering::Relaxed)
    }

    /// Leases out.
    pub fn in_flight(&self) -> u32 {
        self.word().leases()
    }

    /// Requests waiting.
    pub fn held(&self) -> usize {
        self.queue().waiting()
    }

    /// Whether requests are let in, be it one after the other.
    pub fn lets_in(&self) -> bool {
        let queue = self.queue();
        self.is_open() || queue.is_releasing()
    }

    /// Whether requests go through without waiting.
    pub fn is_open(&self) -> bool {
        !self.word().is_shut()
    }

    /// Answers that were kept from a client because their epoch was over. G2 has it that they are.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// The pin under which the gate was opened last.
    pub fn pin(&self) -> Option<Arc<Pin>> {
        self.pin.load_full()
    }

    /// The edge through which requests get to the backend, if they can't directly.
    pub fn detour(&self) -> Option<Arc<Detour>> {
        self.detour.load_full()
    }

    // For the reconciler.

    /// Lets nobody in any more. When the last lease is gone, which may be now, `Left` is reported.
    pub fn shut(&self, generation: u64) {
        let mut queue = self.queue();
        self.close(&mut queue);
        queue.leaving = Some(generation);
        self.report_if_left(&mut queue);
    }

    /// The leases that were given out since the gate was opened last are to end. To be said before the workers are told to
    /// cut what they know of: a lease that is on its way to a worker just then is not known to it yet.
    pub fn cut(&self) {
        self.cut.fetch_max(self.opened.load(Ordering::Acquire), Ordering::AcqRel);
    }

    /// Opens the gate under this pin; those who wait go first.
    ///
    /// The caller knows that the gate is fenced, or that the pin is the one under which it was open before.
    pub fn open(self: &Arc<Self>, pin: Pin) {
        let mut queue = self.queue();
        queue.leaving = None;
        let epoch = pin.epoch;
        self.opened.fetch_add(1, Ordering::AcqRel);
        debug_assert!(self.word().is_fenced() || self.word().is_of(epoch) || self.word().is_shut());
        self.pin.store(Some(Arc::new(pin)));
        let under = |word| Some(Word(word).under(epoch).0);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, under).expect("`under` never declines");
        let pacer = Pacer::new(queue.usual);
        let crowd = queue.crowd();
        crowd.turns.begin_anew();
        crowd.release = Some(Release { pacer, under_way: 0 });
        self.let_go(&mut queue);
    }

    /// From now on, requests go through this edge, or directly.
    pub fn take_detour(&self, detour: Option<Arc<Detour>>) {
        self.detour.store(detour);
    }

    /// Whether the end of this process's time shuts this gate, too.
    pub fn bind(&self, bound: bool) {
        self.bound.store(bound, Ordering::Release);
    }

    /// The site is no longer configured: those who wait are told, nobody else is held.
    pub fn retire(&self) {
        let mut queue = self.queue();
        queue.retired = true;
        if let Some(crowd) = &mut queue.crowd {
            crowd.waiting.clear();
            crowd.turns = Turns::default();
        }
    }

    /// The site is configured again.
    pub fn come_back(&self) {
        self.queue().retired = false;
    }

    /// What became of the requests at this gate since this was asked last.
    pub fn take_tally(&self) -> Tally {
        self.queue().crowd.as_mut().map(|crowd| std::mem::take(&mut crowd.tally)).unwrap_or_default()
    }

    /// Where answers are kept that do for more than one request.
    pub fn rooms(&self) -> &Arc<Rooms> {
        self.around.budget.rooms()
    }

    // Inside.

    /// A lease that was counted already.
    fn lease(self: &Arc<Self>, pin: Arc<Pin>, paced: Option<Paced>) -> Lease {
        let opened = self.opened.load(Ordering::Acquire);
        Lease { gate: self.clone(), pin, opened, paced, counts: true }
    }

    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    fn epoch(&self) -> Option<Epoch> {
        self.pin.load().as_ref().map(|pin| pin.epoch)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn close(&self, queue: &mut Queue) {
        if let Some(crowd) = &mut queue.crowd {
            crowd.release = None;
            crowd.turns.begin_anew();
        }
        let before = Word(self.word.fetch_or(Word::NEW.0, Ordering::AcqRel));
        if !before.is_shut() {
            queue.usual = before.leases();
        }
    }

    /// Whether the time of this process is over for this site.
    fn is_over(&self) -> bool {
        self.bound.load(Ordering::Acquire) && self.around.lifeline.is_over()
    }

    /// Shuts the gate at the end of that time. The reconciler opens it again if there is more of it after all.
    fn expire(&self, queue: &mut Queue) {
        if !self.word().is_shut() || queue.is_releasing() {
            self.close(queue);
            self.report(Report::Expired { site: self.site });
        }
    }

    fn leave(&self) {
        let before = Word(self.word.fetch_sub(ONE_LEASE, Ordering::AcqRel));
        if before.is_shut() && before.leases() == 1 {
            self.report_if_left(&mut self.queue());
        }
    }

    fn report_if_left(&self, queue: &mut Queue) {
        if let Some(generation) = queue.leaving
            && self.word().is_fenced()
        {
            queue.leaving = None;
            self.report(Report::Left { site: self.site, generation });
        }
    }

    /// Lets as many go as the window has room for; opens the door behind the last one.
    fn let_go(self: &Arc<Self>, queue: &mut Queue) {
        if queue.is_releasing() && self.is_over() {
            return self.expire(queue);
        }
        let Some(crowd) = &mut queue.crowd else { return };
        let release = self.opened.load(Ordering::Acquire);
        while crowd.has_room()
            && let Some(ticket) = crowd.turns.first()
        {
            let waiting = crowd.waiting.remove(&ticket).expect("whose turn it is waits");
            let like = waiting.like.clone();
            let goes_for_others = crowd.turns.go(ticket, like.as_ref());
            let like = like.filter(|_| goes_for_others);
            let part = match &like {
                Some(like) => Part::Leads(Leads::new(self, release, like)),
                None => Part::Alone,
            };
            let is_there = self.give(crowd, waiting, Some(Paced { release, since: Instant::now() }), part);
            match (&mut crowd.release, like) {
                (Some(release), _) if is_there => release.under_way += 1,
                (_, Some(like)) => crowd.turns.apart(&like, false),
                _ => {}
            }
        }
        if crowd.release.is_some() && crowd.waiting.is_empty() {
            let tally = std::mem::take(&mut crowd.tally);
            queue.crowd = None;
            self.word.fetch_and(!Word::NEW.0, Ordering::AcqRel);
            if tally != Tally::default() {
                self.report(Report::Emptied { site: self.site, tally });
            }
        }
    }

    /// Gives a lease to one that waited, while the gate is open for it. Whether it was still there.
    fn give(self: &Arc<Self>, crowd: &mut Crowd, waiting: Waiting, paced: Option<Paced>, part: Part) -> bool {
        let pin = self.pin.load_full().expect("a gate that lets go has a pin");
        let (waited, is_shared) = (waiting.since.elapsed(), matches!(part, Part::Follows(_)));
        self.word.fetch_add(ONE_LEASE, Ordering::AcqRel);
        match waiting.go.send(Turn { lease: self.lease(pin, paced), part }) {
            Ok(()) => {
                crowd.tally.released += 1;
                crowd.tally.shared += u64::from(is_shared);
                crowd.tally.longest_wait = crowd.tally.longest_wait.max(waited);
                true
            }
            // The client has just left. Leaving in its name would take the lock a second time.
            Err(turn) => {
                turn.forget();
                self.word.fetch_sub(ONE_LEASE, Ordering::AcqRel);
                false
            }
        }
    }

    /// The crowd of this release, if it is still under way.
    fn crowd_of<'q>(&self, queue: &'q mut Queue, release: u64) -> Option<&'q mut Crowd> {
        let is_last = self.opened.load(Ordering::Acquire) == release;
        queue.crowd.as_deref_mut().filter(|crowd| is_last && crowd.release.is_some())
    }

    /// The one that went for others in this release has an answer for all of them.
    fn shared(self: &Arc<Self>, release: u64, like: &Arc<Likeness>, answer: &Arc<Shared>) {
        let mut queue = self.queue();
        let Some(crowd) = self.crowd_of(&mut queue, release) else { return };
        if self.is_over() {
            return self.expire(&mut queue);
        }
        for ticket in crowd.turns.answered(like) {
            let waiting = crowd.waiting.remove(&ticket).expect("who is answered waits");
            self.give(crowd, waiting, None, Part::Follows(answer.clone()));
        }
        self.let_go(&mut queue);
    }

    /// It has none.
    fn apart(self: &Arc<Self>, release: u64, like: &Arc<Likeness>, for_good: bool) {
        let mut queue = self.queue();
        if let Some(crowd) = self.crowd_of(&mut queue, release) {
            crowd.turns.apart(like, for_good);
            self.let_go(&mut queue);
        }
    }

    /// A request let go by the release `paced` was answered, well or not, or has ended without an answer.
    fn paced_done(self: &Arc<Self>, paced: Paced, well: Option<bool>) {
        let mut queue = self.queue();
        let crowd = self.crowd_of(&mut queue, paced.release);
        let Some(release) = crowd.and_then(|crowd| crowd.release.as_mut()) else { return };
        release.under_way -= 1;
        match well {
            Some(true) => release.pacer.answered(paced.since.elapsed()),
            Some(false) => release.pacer.failed(),
            None => {}
        }
        self.let_go(&mut queue);
    }

    fn report(&self, report: Report) {
        // The reconciler lives as long as the process; while it stops, nobody waits for reports.
        let _ = self.around.reports.send(report);
    }
}

#[cfg(test)]
mod tests;
