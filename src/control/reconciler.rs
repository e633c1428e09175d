//! The only writer: takes what happened, one thing after the other, asks the core, and does what it says.
//!
//! It decides nothing about handoffs itself. What it does decide is when to probe whom, which is a matter of budget.

mod applying;
mod canary;
mod chronicle;
mod detour;
mod fleet;
mod glance;
mod guarded;
mod handing_over;
mod heir;
mod leading;
mod listing;
mod parts;
mod probing;
mod provided;
mod retiring;
mod seen;
mod wishes;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::counts::{Counts, millis};
use super::detours::Look;
use super::fleet::{Command, Fleet, FleetParts, News};
use super::hooks::{self, Told};
use super::names::Names;
use super::outside::{Outside, Way};
use super::probe::{self, Question, Seen};
use super::schedule::{Class, Schedule, Target};
use super::site::{LastProbe, LastProbes, Policies, SiteEntry, Work};
use super::troubles::Troubles;
use super::view::Status;
use super::writer::{Commit, Committed, Writer};
use super::{Applied, Ask, Controller, Wanted, WishError};
use crate::clock::Clock;
use crate::config::changes;
use crate::config::diff::{Plan, in_force, restart_keys};
use crate::config::{self, Config};
use crate::core::fleet::{LeaseId, edge};
use crate::core::handoff::{
    self, Candidate, Cause, Effect, HookKind, Input, Outcome, Phase, Refused, Wish, WishId,
};
use crate::core::names::Looked;
use crate::core::{Address, Backend, Epoch, Pin, SiteName};
use crate::gate::{Gate, HoldBudget, Report, SiteKey, Surroundings};
use crate::lifeline::Lifeline;
use crate::observe::journal::{Filter, Journal, OpenEntry, PinText};
use crate::published::{Published, PublishedSite, Publisher};
use crate::workers::{Order, Workers};
use canary::Canary;
use guarded::Guarded;
pub use guarded::Source;
pub use handing_over::{HandOver, NotTaken};
use heir::Elder;
pub use heir::ElderParts;
pub use parts::{Message, Parts};
use wishes::{Asker, Unsaid, Unseen};

/// A backend that has no pin is probed this many times less often: nobody waits for it.
const STANDBY_FACTOR: u32 = 5;
/// Proofs under way at a time.
const PROOFS_MAX: usize = 500;
/// Messages taken in before what they led to is written, lest a flood of one kind starve the rest.
const BATCH_MAX: usize = 4096;
/// Journal entries that belong to what is told about a site.
const LAST_HANDOFFS: usize = 10;
/// After a backend fell or came up, the others at its address are looked at, but not more often than this.
const LOOKS_AT_NEIGHBOURS: Duration = Duration::from_secs(1);

/// See the module's text.
pub struct Reconciler {
    config: Config,
    sites: BTreeMap<SiteKey, Box<SiteEntry>>,
    by_name: BTreeMap<SiteName, SiteKey>,
    policies: Policies,
    troubles: Troubles,
    /// Sites that are no longer configured, and whose last leases are not gone yet.
    leaving: BTreeMap<SiteName, SiteKey>,
    /// Pins of sites that are not configured now: a site made anew goes on from its pin.
    dormant: BTreeMap<SiteName, Pin>,
    next_key: u32,
    first_epoch: Epoch,
    writer: Writer,
    workers: Workers,
    publisher: Publisher,
    clock: Clock,
    gates: Arc<Surroundings>,
    outside: Rc<dyn Outside>,
    messages: mpsc::UnboundedSender<Message>,
    names: Names,
    schedule: Schedule,
    proofs: Rc<Semaphore>,
    /// Who was proved by the look that is being taken in.
    proved: Option<Target>,
    journal: Journal,
    wishes: BTreeMap<WishId, Asker>,
    next_wish: WishId,
    /// Wishes for backends that nothing is known of yet.
    unseen: Vec<Unseen>,
    /// Wishes that are fulfilled as soon as the fleet's store has it.
    unsaid: Vec<Unsaid>,
    neighbours_suspected: HashMap<IpAddr, Instant>,
    neighbours_hurried: HashMap<IpAddr, Instant>,
    jitter: u64,
    counts: Counts,
    /// Updates of the file that were put in force since the start.
    updates: u64,
    refused_update: Option<String>,
    guarded: Guarded,
    canary: Canary,
    fleet: Option<Fleet>,
    /// The process that this one has taken over from, as long as it has requests.
    elder: Option<Elder>,
    /// A heir that waits for the pins.
    heir: Option<HandOver>,
    /// A heir has the disk, or has become another edge: it has read the file before.
    has_lent: bool,
    /// Another process serves in the place of this edge, which is to be the controller no more: by then at the latest.
    retires: Option<Instant>,
    /// How many hooks of which sites run.
    hooks_running: BTreeMap<SiteKey, usize>,
}

/// A reconciler's ears, and its handle.
pub fn channel() -> (Controller, mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Message>) {
    let (messages, received) = mpsc::unbounded_channel();
    (Controller(messages.clone()), messages, received)
}

impl Reconciler {
    /// Takes up the sites of the configuration, under the pins of the store.
    pub fn new(parts: Parts, messages: mpsc::UnboundedSender<Message>) -> Self {
        let fleet = parts.fleet.map(|fleet| Fleet::new(fleet, parts.pins.clone()));
        let alone = || Arc::new(Lifeline::for_ever());
        let lifeline = fleet.as_ref().map_or_else(alone, |fleet| fleet.lifeline().clone());
        let empty = Config { sites: Vec::new(), ..parts.config.clone() };
        let mut reconciler = Self {
            config: empty,
            sites: BTreeMap::new(),
            by_name: BTreeMap::new(),
            policies: Policies::default(),
            troubles: Troubles::default(),
            leaving: BTreeMap::new(),
            dormant: parts.pins,
            next_key: 0,
            first_epoch: parts.first_epoch,
            writer: parts.writer,
            workers: parts.workers,
            publisher: parts.publisher,
            clock: parts.clock,
            outside: parts.outside,
            gates: Surroundings::new(parts.budget, lifeline, parts.reports),
            names: Names::new(&parts.config.resolver, messages.clone()),
            messages: messages.clone(),
            schedule: Schedule::new(Instant::now()),
            proofs: Rc::new(Semaphore::new(PROOFS_MAX)),
            proved: None,
            journal: Journal::default(),
            wishes: BTreeMap::new(),
            next_wish: 0,
            unseen: Vec::new(),
            unsaid: Vec::new(),
            neighbours_suspected: HashMap::new(),
            neighbours_hurried: HashMap::new(),
            jitter: parts.seed,
            counts: Counts::default(),
            updates: 0,
            refused_update: None,
            guarded: Guarded::default(),
            canary: Canary::default(),
            fleet,
            elder: parts.elder.map(|elder| Elder::new(elder, messages)),
            heir: None,
            has_lent: false,
            retires: None,
            hooks_running: BTreeMap::new(),
        };
        if let Err(why) = reconciler.apply(Source::File, parts.config) {
            // The configuration was checked when it was read.
            tracing::error!(why, "the configuration can't be put in force");
        }
        reconciler.tell_elder_what_is_gone();
        reconciler
    }

    /// Works until all senders of messages are gone. Needs a `LocalSet`.
    pub async fn run(
        mut self,
        mut messages: mpsc::UnboundedReceiver<Message>,
        mut reports: mpsc::UnboundedReceiver<Report>,
    ) {
        self.begin_life();
        loop {
            let now = Instant::now();
            self.start_probes(now);
            self.tell_in_time(now);
            let next = self.schedule.next(now).into_iter().chain(self.tells_at()).min();
            let wake = next.unwrap_or(now + Duration::from_secs(60));
            tokio::select! {
                biased;
                report = reports.recv() => match report {
                    Some(report) => self.report(report),
                    None => return,
                },
                message = messages.recv() => match message {
                    Some(message) => self.message(message),
                    None => return,
                },
                () = tokio::time::sleep_until(wake) => {}
            }
            let mut is_up_to_date = false;
            for _ in 0..BATCH_MAX {
                if let Ok(report) = reports.try_recv() {
                    self.report(report);
                } else if let Ok(message) = messages.try_recv() {
                    self.message(message);
                } else {
                    is_up_to_date = true;
                    break;
                }
            }
            // A report of a shutting that is over must not come to the heir: it numbers its own anew.
            if !is_up_to_date {
                continue;
            }
            if !self.hooks_running.is_empty() {
                self.heir.take().into_iter().for_each(HandOver::give_back);
                continue;
            }
            if let Some(until) = self.retires
                && (!self.owes_an_answer() || Instant::now() >= until)
            {
                self.retire_from_office();
            }
            match self.heir.take().and_then(|ask| self.unless_outdated(ask)) {
                Some(ask) if self.fleet.is_some() => self.lend_disk(ask),
                Some(ask) => match self.hand_over(ask).await {
                    Ok((this, heir)) => {
                        // Who still asks is told at once that nobody answers here.
                        messages.close();
                        while let Ok(message) = messages.try_recv() {
                            handing_over::asked_too_late(message);
                        }
                        return this.become_follower(heir).run(reports).await;
                    }
                    Err(this) => self = this,
                },
                None => {}
            }
        }
    }

    // What comes in.

    fn report(&mut self, report: Report) {
        match report {
            Report::Left { site, generation } if self.fleet.is_some() => {
                self.edge_of(site, |site| edge::Input::Left { site, generation });
            }
            Report::Left { site, generation } => self.left_here(site, generation),
            Report::Expired { site } => self.edge_of(site, |site| edge::Input::Expired { site }),
            Report::Suspected { site, epoch } => {
                if self.fleet.is_some() {
                    self.suspect(site, epoch);
                } else {
                    self.step(site, Input::Suspected { epoch });
                }
                self.suspect_neighbours(site);
            }
            Report::Doubted { site, epoch } => {
                let Some(entry) = self.sites.get(&site) else { return };
                if let Some(pin) = entry.core.pin().filter(|pin| pin.epoch == epoch) {
                    self.schedule.plan((site, pin.backend.clone()), Class::Doubted, Instant::now());
                }
            }
            Report::Emptied { site, tally } => {
                let Some(entry) = self.sites.get_mut(&site) else { return };
                match (&mut entry.open, entry.last_entry) {
                    (Some(open), _) => open.entry_mut().add(&tally),
                    (None, Some(id)) => self.journal.add_tally(id, &tally),
                    (None, None) => {}
                }
            }
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Ask(ask) => self.asked(ask),
            Message::Probed { target, seen, took, proves } => self.probed(target, seen, took, proves),
            Message::Proof { site, generation, backend, seen } => {
                let well = seen.is_well();
                if let Some(entry) = self.sites.get_mut(&site) {
                    entry.proof.get_or_insert_default().seen = Some(seen);
                }
                if well {
                    self.step(site, Input::Probed { backend, well });
                    self.step(site, Input::Proved { generation });
                }
            }
            Message::HookDone { site, generation, hook, result } => {
                if let Entry::Occupied(mut running) = self.hooks_running.entry(site) {
                    *running.get_mut() -= 1;
                    if *running.get() == 0 {
                        running.remove();
                    }
                }
                self.postpone_retirement();
                if let (Err(why), Some(entry)) = (&result, self.sites.get(&site)) {
                    self.note(
                        entry.name().clone(),
                        "hook_failed",
                        format!("the `{hook}` hook failed: {why}"),
                    );
                }
                self.step(site, Input::HookDone { generation, ok: result.is_ok() });
            }
            Message::Doubtful { site, backend } => self.judge_anew(&site, backend),
            Message::LookedThrough(look, seen) => self.looked_through(look, &seen),
            Message::Tried { trial, answering, silent } => self.tried(trial, answering, silent),
            Message::Fleet(news) => self.heard(news),
            Message::HandOver(ask) => self.heir_waits(ask),
            Message::Lent(lent) => self.lent(lent),
            Message::Elder(message) => self.elder_says(message),
            Message::ElderSilent { ask } => self.elder_counts(ask, 0, 0),
            Message::Looked { host, looked } => self.looked(&host, looked),
            Message::TimerFired { site, generation } => self.step(site, Input::TimerFired { generation }),
            Message::Committed(all) => {
                for Committed { site, pin, result } in all {
                    let Some(site) = site else {
                        if let Err(why) = result {
                            tracing::warn!(why, "a pin of the fleet can't be remembered on this disk");
                        }
                        continue;
                    };
                    match result {
                        Ok(()) => self.step(site, Input::Committed { epoch: pin.epoch }),
                        Err(why) => {
                            self.counts.commits_failed += 1;
                            if let Some(entry) = self.sites.get(&site) {
                                let note = format!("the pin on {} can't be made durable: {why}", pin.backend);
                                self.note(entry.name().clone(), "commit_failed", note);
                            }
                            self.step(site, Input::CommitFailed { epoch: pin.epoch });
                        }
                    }
                }
            }
        }
    }

    fn asked(&mut self, ask: Ask) {
        // Whoever asked may have gone meanwhile; an answer that nobody takes is dropped.
        match ask {
            Ask::Sites(wanted, answer) => drop(answer.send(self.list(&wanted))),
            Ask::Site(name, answer) => self.look_at_site(name, answer),
            Ask::Status(answer) => drop(answer.send(self.status())),
            Ask::Glance(look, answer) => drop(answer.send(self.glance(&look))),
            Ask::Journal(filter, answer) => drop(answer.send(self.journal.newest(&filter))),
            Ask::Plan(config, answer) => drop(answer.send(self.plan(*config))),
            Ask::Fleet(answer) => self.look_at_fleet(answer),
            Ask::Leave(answer) => self.leave(answer),
            Ask::Joined(answer) => self.joined(answer),
            Ask::Wish { site, wish, by, answer } if self.follows() => {
                self.pass_on(Command::Wish { site, wish, by, answer })
            }
            Ask::Wish { site, wish, by, answer } => self.wished(site, wish, by, Asker::Here(answer)),
            Ask::Apply(config, answer) => drop(answer.send(self.update(*config))),
            Ask::Confirm(id, answer) => drop(answer.send(self.confirm(id))),
            Ask::UntilGood(answer) => self.until_good(answer),
            Ask::Provide(config, answer) => drop(answer.send(self.provide(*config))),
            Ask::InForce(most, answer) => drop(answer.send(self.in_force(most))),
            Ask::Alone(answer) => self.wait_for_elder(answer),
            Ask::Hook(answer) => drop(answer.send(self.running_hook())),
            Ask::Note(site, kind, note) => self.note(site, kind, note),
            Ask::RefusedUpdate(why) => {
                self.guarded.take_word(Source::File);
                self.refused(why);
            }
        }
    }

    fn refused(&mut self, why: String) {
        self.note(SiteName::from("-"), "refused_update", why.clone());
        self.refused_update = Some(why);
        self.counts.last_refused_update = Some(SystemTime::now());
    }

    fn pinned_backend(&self, site: &SiteName) -> Option<Backend> {
        let entry = self.sites.get(self.by_name.get(site)?)?;
        entry.core.pin().map(|pin| pin.backend.clone())
    }

    // The core, and what it wants done.

    fn step(&mut self, key: SiteKey, input: Input) {
        if self.follows() {
            return;
        }
        let Some(entry) = self.sites.get_mut(&key) else { return };
        let effects = entry.core.step(input);
        self.perform(key, effects);
    }

    fn perform(&mut self, key: SiteKey, effects: Vec<Effect>) {
        // Before it opens, for those who go in then.
        if let Some(entry) = self.sites.get(&key) {
            entry.gate.tell_phase(entry.core.phase());
        }
        let opened = effects.iter().any(|effect| matches!(effect, Effect::Open(_)));
        let effects = if self.fleet.is_some() { self.perform_for_fleet(key, effects) } else { effects };
        for effect in effects {
            self.perform_one(key, effect);
        }
        let Some(entry) = self.sites.get_mut(&key) else { return };
        if let Some(open) = &mut entry.open {
            open.enter(entry.core.phase());
        }
        if !matches!(entry.core.phase(), Phase::Proving { .. } | Phase::Fencing { .. }) {
            entry.proof = None;
        }
        let is_open = *entry.core.phase() == Phase::Serving;
        let held = !is_open && !entry.core.is_on_hold();
        let pinned = entry.core.pin().map(|pin| &pin.backend);
        self.names.hurry(key, held || pinned.is_some_and(|backend| entry.core.is_urgent(backend)));
        // As candidates of a site that waits they were probed at another pace. Who was not looked at yet keeps its turn.
        let mut slower = if opened { entry.backends() } else { Vec::new() };
        let is_pinned = |backend: &Backend| entry.core.pin().is_some_and(|pin| pin.backend == *backend);
        slower.retain(|backend| is_pinned(backend) || entry.last_probes.of(backend).is_some());
        self.look_over(key);
        self.expedite(key);
        for backend in slower {
            self.plan_next(key, backend, false);
        }
        self.forget_if_gone(key);
    }

    /// A site may look otherwise than before.
    fn look_over(&mut self, key: SiteKey) {
        if let Some(entry) = self.sites.get(&key) {
            self.troubles.note(key, entry.core.phase().name(), entry.count_conflicts());
        }
    }

    fn perform_one(&mut self, key: SiteKey, effect: Effect) {
        let Some(entry) = self.sites.get_mut(&key) else { return };
        match effect {
            Effect::Shut { generation } => {
                self.elder.iter_mut().for_each(|elder| elder.shut(entry.name(), generation));
                entry.gate.shut(generation);
            }
            Effect::Cut => {
                self.elder.iter().for_each(|elder| elder.cut(entry.name()));
                if let Some(open) = &mut entry.open {
                    open.entry_mut().cut += u64::from(entry.gate.in_flight());
                }
                entry.gate.cut();
                self.workers.tell(Order::Cut(key));
            }
            Effect::Open(pin) => {
                if entry.gate.pin().is_some_and(|before| before.epoch != pin.epoch) {
                    self.workers.tell(Order::Purge(key));
                }
                self.elder.iter_mut().for_each(|elder| elder.open(entry.name(), &pin));
                entry.gate.open(pin);
            }
            Effect::Commit(pin) => {
                self.writer.write(Commit { site: Some(key), name: entry.name().clone(), pin });
            }
            Effect::RunHook { generation, hook, epoch, old, new } => {
                let configured = match hook {
                    HookKind::Fence => entry.config.hooks.fence.clone(),
                    HookKind::Start => entry.config.hooks.start.clone(),
                };
                let told = Told {
                    site: entry.name().to_string(),
                    hook: Told::word(hook),
                    epoch: epoch.0,
                    old: old.map_or_else(String::new, |old| old.to_string()),
                    new: new.to_string(),
                };
                *self.hooks_running.entry(key).or_default() += 1;
                let in_turn = entry.hooks_in_turn.get_or_insert_default().clone();
                let messages = self.messages.clone();
                // A hook that was begun is let come to its end, whatever becomes of the handoff: half of a fencing
                // is worse than all of it.
                tokio::task::spawn_local(async move {
                    let _turn = in_turn.lock().await;
                    let result = match &configured {
                        Some(configured) => hooks::run(configured, &told).await,
                        None => Ok(()),
                    };
                    let hook = told.hook;
                    let _ = messages.send(Message::HookDone { site: key, generation, hook, result });
                });
            }
            // The look that has led here was the proof.
            Effect::Prove { generation, backend }
                if self.proved.as_ref() == Some(&(key, backend.clone())) =>
            {
                let seen = Seen::Well;
                let _ = self.messages.send(Message::Proof { site: key, generation, backend, seen });
            }
            Effect::Prove { generation, backend } => {
                let (messages, proofs, outside) =
                    (self.messages.clone(), self.proofs.clone(), self.outside.clone());
                let (fresh, config, target) =
                    (self.names.fresh(&backend), entry.config.clone(), backend.clone());
                entry.proof.get_or_insert_default().work = Some(Work(
                    tokio::task::spawn_local(async move {
                        fresh.await;
                        let Ok(_turn) = proofs.acquire().await else { return };
                        let told = |seen: &Seen| {
                            let (backend, seen) = (backend.clone(), seen.clone());
                            let _ = messages.send(Message::Proof { site: key, generation, backend, seen });
                        };
                        probe::prove(&*outside, target, &config, told).await;
                    })
                    .abort_handle(),
                ));
            }
            Effect::ArmTimer { generation, after } => {
                let messages = self.messages.clone();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(after).await;
                    let _ = messages.send(Message::TimerFired { site: key, generation });
                });
            }
            Effect::Answer { id, result } => self.fulfilled(key, id, result),
            Effect::Began(cause) => self.handoff_began(key, cause),
            Effect::Ended(outcome) => self.handoff_ended(key, outcome),
            Effect::Conflict { backend, raised } => {
                let pinned = entry.core.pin().map_or_else(String::new, |pin| pin.backend.to_string());
                let (kind, note) = if raised {
                    (
                        "conflict",
                        format!("{backend} answers while {pinned} has the pin: two instances are running"),
                    )
                } else if backend.to_string() == pinned {
                    ("conflict_over", format!("{backend} has the pin itself now"))
                } else {
                    ("conflict_over", format!("{backend} no longer answers beside {pinned}"))
                };
                let name = entry.name().clone();
                self.note(name, kind, note);
            }
            Effect::WarmPromotion { backend } => {
                let note = format!(
                    "{backend} was already running before the fence, and may have an older state in its memory; \
                     `warm_standby` says what to do about that"
                );
                let name = entry.name().clone();
                self.note(name, "warm_promotion", note);
            }
        }
    }
}
