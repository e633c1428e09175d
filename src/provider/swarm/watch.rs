//! The loop: ask, decide, put in force, wait.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::api::EVENTS;
use super::memory::Memory;
use super::turns::Turns;
use super::{Parts, Sites, Watched};
use crate::config;
use crate::core::Backend;
use crate::core::swarm::{Snapshot, Swarm, Wanted};
use crate::provider::merge::ServiceView;

/// Between two looks at whether somebody waits.
const GLANCE: Duration = Duration::from_millis(25);
/// Least time from the beginning of one turn to that of the next, whatever happens.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The answer of a large swarm takes time, here and there: of all time, so much is left to others.
const REST: u32 = 3;
/// Before events are asked for again after they have ended.
const EVENTS_AGAIN: Duration = Duration::from_secs(5);

/// See the module's text.
pub(super) struct Watch<S> {
    config: config::provider::Swarm,
    sites: S,
    turns: Turns,
    swarm: Swarm,
    memory: Memory,
    pinned: BTreeMap<String, Backend>,
    watched: Watched,
    began: Instant,
    /// What was put in force, and the names of its sites.
    given: Vec<Wanted>,
    names: BTreeSet<String>,
    views: Vec<ServiceView>,
    woken: Rc<Notify>,
    was_heard: Option<bool>,
}

impl<S: Sites> Watch<S> {
    pub(super) fn new(parts: Parts, sites: S, watched: Watched) -> Self {
        Self {
            turns: Turns::new(&parts.config),
            swarm: Swarm::new(parts.pinned.values()),
            memory: Memory::new(&parts.state),
            pinned: parts.pinned,
            config: parts.config,
            sites,
            watched,
            began: Instant::now(),
            given: parts.recalled,
            names: BTreeSet::new(),
            views: Vec::new(),
            woken: Rc::default(),
            was_heard: None,
        }
    }

    pub(super) async fn run(mut self) {
        for api in self.turns.apis() {
            let woken = self.woken.clone();
            tokio::task::spawn_local(async move {
                loop {
                    // A change that is missed is seen at the next turn.
                    if let Err(why) = api.listen(EVENTS, || woken.notify_one()).await {
                        tracing::debug!(manager = %api.address, why, "no events");
                    }
                    tokio::time::sleep(EVENTS_AGAIN).await;
                }
            });
        }
        let recalled = self.memory.recall(&std::mem::take(&mut self.pinned));
        // Of the process before, which may have heard of others meanwhile; and somebody has to say what became of them.
        if !recalled.is_empty() || !self.given.is_empty() {
            self.give(recalled).await;
        }
        loop {
            let began = Instant::now();
            let is_heard = if self.was_heard.is_none() { self.first_turn().await } else { self.turn().await };
            // What was spent on waiting for those who say nothing was no work for anybody.
            let took = if is_heard { began.elapsed() } else { Duration::ZERO };
            self.tell_whether_heard();
            self.pause(began, took * REST).await;
        }
    }

    /// All are asked, and all who answer soon are heard: with nothing to hold an answer against, the newest one counts.
    /// Returns whether there is one.
    async fn first_turn(&mut self) -> bool {
        let mut round = self.turns.begin();
        while self.turns.ask(&mut round) {}
        let mut snapshots: Vec<(usize, Snapshot)> = Vec::new();
        // It is longer than any of them takes on its own.
        let mut until = Instant::now() + 2 * self.config.timeout;
        while let Ok(Some((number, answer))) =
            tokio::time::timeout_at(until, self.turns.answer(&mut round)).await
        {
            match answer.and_then(|answers| answers.read()) {
                Ok(snapshot) => {
                    snapshots.push((number, snapshot));
                    until = until.min(Instant::now() + self.config.timeout / 4);
                }
                Err(why) => self.failed(number, why),
            }
        }
        let newest = |snapshot: &Snapshot| {
            let indices = snapshot.tasks.iter().map(|task| task.index);
            indices.chain(snapshot.services.iter().map(|service| service.index)).max()
        };
        snapshots.sort_by_key(|(_, snapshot)| std::cmp::Reverse(newest(snapshot)));
        let mut is_heard = false;
        for (number, snapshot) in snapshots {
            if is_heard {
                self.say(number, "answers", String::new());
            } else {
                is_heard = self.heard(number, &snapshot).await;
            }
        }
        is_heard
    }

    /// One after the other is asked, until one is believed. Returns whether one is.
    async fn turn(&mut self) -> bool {
        let (mut round, mut is_heard) = (self.turns.begin(), false);
        while let Some((number, answer)) = self.turns.answer(&mut round).await {
            match answer.and_then(|answers| answers.read()) {
                Ok(snapshot) => {
                    is_heard = self.heard(number, &snapshot).await;
                    if is_heard {
                        break;
                    }
                }
                Err(why) => self.failed(number, why),
            }
        }
        for number in round.slow() {
            self.failed(number, "is slow: another one was asked beside it".to_owned());
        }
        is_heard
    }

    fn failed(&mut self, number: usize, why: String) {
        self.turns.has_failed(number);
        self.watched.change(|view, _| view.failures += 1);
        self.say(number, "fails", why);
    }

    fn say(&self, number: usize, state: &str, why: String) {
        self.watched.change(|view, times| {
            let manager = &mut view.managers[number];
            times.asked[number] = Some(std::time::Instant::now());
            if manager.state != state {
                match state {
                    "answers" => tracing::info!(manager = manager.address, "a manager of the swarm answers"),
                    _ => tracing::warn!(manager = manager.address, state, why, "a manager of the swarm"),
                }
            }
            manager.state = state.to_owned();
            manager.why = why;
        });
    }

    /// Takes in an answer. Returns whether it is believed.
    async fn heard(&mut self, number: usize, snapshot: &Snapshot) -> bool {
        self.turns.was_well(number);
        if let Err(stale) = self.swarm.take(snapshot, self.began.elapsed()) {
            self.watched.change(|view, _| view.refused += u64::from(stale.is_trouble()));
            let state = if stale.is_trouble() { "refused" } else { "answers" };
            self.say(number, state, stale.to_string());
            return false;
        }
        self.say(number, "answers", String::new());
        let index = self.swarm.index();
        self.watched.change(|view, times| {
            view.answers += 1;
            view.index = index;
            times.believed = Some(std::time::Instant::now());
        });
        if self.swarm.wanted() != self.given {
            self.give(self.swarm.wanted().to_vec()).await;
            self.memory.keep(&self.given);
        }
        true
    }

    async fn give(&mut self, wanted: Vec<Wanted>) {
        match self.sites.provide(wanted.clone()).await {
            Ok(views) => {
                self.journal(&views);
                self.names = views.iter().map(|view| view.site.clone()).collect();
                self.watched.change(|view, _| view.error = None);
                (self.given, self.views) = (wanted, views);
            }
            Err(why) => {
                // It is asked for again each time.
                self.watched.change(|view, _| {
                    if view.error.as_ref() != Some(&why) {
                        tracing::error!(why, "what the swarm wants was not put in force: what was stays");
                    }
                    view.error = Some(why);
                });
            }
        }
    }

    /// What is new about services that somebody should look at.
    fn journal(&self, views: &[ServiceView]) {
        let before: BTreeMap<&str, &ServiceView> =
            self.views.iter().map(|view| (view.service.as_str(), view)).collect();
        for view in views {
            let (service, before) = (&view.service, before.get(view.service.as_str()));
            let site = if view.site.is_empty() { "-" } else { &view.site };
            let had = before.map_or(&[][..], |before| &before.problems);
            if view.problems != had && !view.problems.is_empty() {
                let note = format!("service `{service}`: {}", view.problems.join("; "));
                self.sites.note(site, "refused_service", note);
            } else if !had.is_empty() && view.problems.is_empty() {
                self.sites.note(
                    site,
                    "accepted_service",
                    format!("service `{service}`: its labels are good now"),
                );
            }
            let had = before.map_or(&[][..], |before| &before.rivals);
            if view.rivals != had && !view.rivals.is_empty() {
                let meant = if view.candidate.is_empty() { "none of them" } else { &view.candidate };
                let note = format!(
                    "service `{service}` runs several tasks: {} beside the one that is meant ({meant}). The pin stays; \
                     a site may have one replica",
                    view.rivals.join(", ")
                );
                self.sites.note(site, "conflict", note);
            } else if !had.is_empty() && view.rivals.is_empty() {
                self.sites.note(site, "conflict_over", format!("service `{service}` runs one task again"));
            }
        }
    }

    fn tell_whether_heard(&mut self) {
        let is_heard = self.watched.view().is_heard();
        if self.was_heard != Some(is_heard) && !(self.was_heard.is_none() && is_heard) {
            let (kind, note) = match is_heard {
                true => ("swarm_heard", "a manager of the swarm answers again"),
                false => {
                    ("swarm_silent", "no manager of the swarm answers: what is known of it stays in force")
                }
            };
            self.sites.note("-", kind, note.to_owned());
        }
        self.was_heard = Some(is_heard);
    }

    /// Until the next turn: the usual time; less while somebody waits; none if something has happened.
    async fn pause(&mut self, began: Instant, rest: Duration) {
        let is_moving = self.given.iter().any(|wanted| wanted.moving);
        loop {
            let hurries = is_moving || self.sites.is_waited_for(&self.names);
            let interval = if hurries { self.config.held_interval } else { self.config.interval };
            let at = began + interval.max(rest);
            let now = Instant::now();
            if at <= now {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(at.min(now + GLANCE)) => {}
                () = self.woken.notified() => {
                    tokio::time::sleep_until(began + PAUSE_MIN.max(rest)).await;
                    return;
                }
            }
        }
    }
}
