//! What this edge does as one of many: its own gates by what the store says, and the fleet's sites while it is the
//! controller.

use super::*;
use crate::broken::{Rule, breaks};
use crate::control::fleet::{Command, FleetView, HasLeft, News, Seen};
use crate::control::view::FleetStatus;
use crate::core::fleet::Partition;
use crate::core::fleet::edge::{self, Life};
use crate::core::fleet::ledger::{Change, Ledger};

/// Time between two looks of an edge at its own clock.
const LOOK: Duration = Duration::from_millis(100);
/// What the process ends with when it could not let go of its requests in time: `EX_TEMPFAIL`, so that whoever supervises it
/// starts it again.
const EXIT_WEDGED: i32 = 75;

impl Reconciler {
    /// This process is one of many edges, and not the one that decides.
    pub(super) fn follows(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.ledger.is_none())
    }

    /// Takes up the first life, when all sites are known that are going to be.
    pub(super) fn begin_life(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        for effect in fleet.edge.begin() {
            self.perform_for_edge(effect);
        }
        let messages = self.messages.clone();
        tokio::task::spawn_local(async move {
            let mut looks = tokio::time::interval(LOOK);
            loop {
                looks.tick().await;
                if messages.send(Message::Fleet(News::Edge(edge::Input::Tick))).is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn heard(&mut self, news: News) {
        match news {
            News::Edge(edge::Input::Tick) => {
                self.edge(edge::Input::Tick);
                self.look_for_detours();
                self.look_after_canary();
            }
            News::Edge(input) => self.edge(input),
            News::Elected { lease, revision, sites, edges } => {
                self.lead(lease, Ledger::new(revision, sites, edges));
            }
            News::Deposed => self.step_down(),
            News::Changed { revision, mut changes } => {
                if breaks(Rule::JudgesByAnOlderView) {
                    self.overlook_new_edges(&mut changes);
                }
                self.ledger(|ledger| ledger.changed(revision, changes));
            }
            News::Written(all) => {
                for (site, written) in all {
                    self.ledger(|ledger| ledger.written(&site, written));
                }
            }
            News::Seen(lease, seen) => self.seen_by(lease, seen),
            News::Asked(asked) => self.asked_about(asked),
            News::Refused(words) => {
                if let Some(fleet) = &mut self.fleet {
                    fleet.refused = words;
                }
            }
            News::Detours(detours) => self.detours_known(detours),
            News::Canaries(canaries) => self.canaries_say(canaries),
            News::Wished { id, site, wish, by } => {
                let Some(fleet) = self.fleet.as_ref().filter(|fleet| fleet.ledger.is_some()) else { return };
                let commands = fleet.commands();
                self.wished(site, wish, by, Asker::Elsewhere { id, commands });
            }
        }
    }

    /// Edges that come while a fence is on its way to the store are not among those that it waits for.
    fn overlook_new_edges(&self, changes: &mut Vec<Change>) {
        let Some(ledger) = self.fleet.as_ref().and_then(|fleet| fleet.ledger.as_ref()) else { return };
        let is_on_its_way = |entry: &SiteEntry| {
            let serves = ledger.stored(entry.name()).is_some_and(|record| record.serves().is_some());
            serves && *entry.core.phase() != Phase::Serving
        };
        let is_new = |change: &Change| matches!(change, Change::Edge(lease, Some(_)) if !ledger.edges().contains_key(lease));
        if self.sites.values().any(|entry| is_on_its_way(entry)) {
            changes.retain(|change| !is_new(change));
        }
    }

    // The edge.

    pub(super) fn edge(&mut self, input: edge::Input) {
        let Some(fleet) = &mut self.fleet else { return };
        let named = match &input {
            edge::Input::Listed { sites, .. } => sites.iter().map(|(site, _)| site.clone()).collect(),
            edge::Input::Changed { sites, .. } => sites.iter().map(|(site, _)| site.clone()).collect(),
            _ => Vec::new(),
        };
        for effect in fleet.edge.step(self.gates.lifeline.now(), input) {
            self.perform_for_edge(effect);
        }
        self.tell_whether_joined();
        // Who was elected is a life, and it may just have ended.
        if self.fleet.as_ref().is_some_and(|fleet| fleet.edge.lease() != fleet.elected_in) {
            self.step_down();
        }
        for site in named {
            self.follow(&site);
        }
        self.tell_what_is_seen();
    }

    /// By the number that stands for a site in its gate.
    pub(super) fn edge_of(&mut self, key: SiteKey, input: impl FnOnce(SiteName) -> edge::Input) {
        if let Some(entry) = self.sites.get(&key) {
            let input = input(entry.name().clone());
            self.edge(input);
            self.forget_if_gone(key);
        }
    }

    fn perform_for_edge(&mut self, effect: edge::Effect) {
        let Some(fleet) = &mut self.fleet else { return };
        match effect {
            edge::Effect::Until(moment) => fleet.lifeline().until(moment),
            edge::Effect::Shut { site, generation } => {
                if let Some((_, entry)) = self.entry_of(&site) {
                    entry.gate.shut(generation);
                }
            }
            edge::Effect::Cut { site } => {
                if let Some((key, entry)) = self.entry_of(&site) {
                    entry.gate.cut();
                    self.workers.tell(Order::Cut(key));
                }
            }
            edge::Effect::Open { site, pin } => {
                let Some((key, entry)) = self.entry_of(&site) else { return };
                if entry.gate.pin().is_some_and(|before| before.epoch != pin.epoch) {
                    self.workers.tell(Order::Purge(key));
                    entry.gate.take_detour(None);
                }
                entry.gate.tell_phase(&Phase::Serving);
                entry.gate.open(pin);
            }
            edge::Effect::Remember { site, pin } => {
                fleet.known.insert(site.clone(), pin.clone());
                self.writer.write(Commit { site: None, name: site, pin });
            }
            edge::Effect::Refuse { site, known, stored } => {
                fleet.seen.knows.insert(site.clone(), known.clone());
                let stored = stored.map_or_else(
                    || "nothing".to_owned(),
                    |pin| format!("epoch {} with {}", pin.epoch, pin.backend),
                );
                let note = format!(
                    "this edge knows of epoch {} with {}, and the store says {stored}: it has gone back, from a backup \
                     maybe. Nothing is opened under what it says",
                    known.epoch, known.backend
                );
                tracing::error!(%site, note);
                self.note(site, "refused_pin", note);
            }
            edge::Effect::Die { site } => {
                tracing::error!(%site, "its requests could not be ended before others take this edge for gone: the process ends");
                self.outside.end(EXIT_WEDGED);
            }
            edge::Effect::HasLeft => {
                tracing::info!("no request is left here, and this edge leaves the fleet");
                let asked = std::mem::take(&mut fleet.leaving);
                fleet.tell(Command::SayLeft(asked));
            }
            edge::Effect::Register(lease) => {
                // The store knows nothing of what a former life has seen.
                fleet.told = Seen::default();
                fleet.seen_due = true;
                fleet.tell(Command::Edge(edge::Effect::Register(lease)));
            }
            for_store @ (edge::Effect::Grant
            | edge::Effect::List(_)
            | edge::Effect::Watch { .. }
            | edge::Effect::Tell { .. }
            | edge::Effect::Revoke(_)) => fleet.tell(Command::Edge(for_store)),
        }
    }

    pub(super) fn entry_of(&self, site: &SiteName) -> Option<(SiteKey, &SiteEntry)> {
        let key = *self.by_name.get(site).or_else(|| self.leaving.get(site))?;
        Some((key, self.sites.get(&key)?))
    }

    /// Shows what the store says of a site, where another edge decides about it.
    pub(super) fn follow(&mut self, site: &SiteName) {
        let Some(fleet) = self.fleet.as_ref().filter(|fleet| fleet.ledger.is_none()) else { return };
        let Some(record) = fleet.edge.record(site).cloned() else { return };
        let Some((&key, entry)) =
            self.by_name.get(site).and_then(|key| Some((key, self.sites.get_mut(key)?)))
        else {
            return;
        };
        let before = entry.core.pin().cloned();
        entry.core.follow(record.pin.clone(), record.serves().is_some());
        self.handoff_followed(key, before);
        self.look_over(key);
    }

    /// A site is served here from now on.
    pub(super) fn served_here(&mut self, key: SiteKey) {
        let Some((fleet, entry)) = self.fleet.as_ref().zip(self.sites.get(&key)) else { return };
        let site = entry.name().clone();
        let partition = match entry.config.partition {
            config::Partition::Fence => Partition::Fence,
            config::Partition::Serve => Partition::Serve,
        };
        entry.gate.bind(partition == Partition::Fence);
        let known = fleet.known.get(&site).cloned();
        self.edge(edge::Input::Added { site: site.clone(), partition, known });
        self.follow(&site);
        self.look_over(key);
    }

    /// Shows a site with other candidates, where another edge decides about it.
    pub(super) fn show_anew(&mut self, key: SiteKey, candidates: Vec<Backend>) {
        let Some(entry) = self.sites.get_mut(&key) else { return };
        let pin = entry.core.pin().cloned();
        let core = handoff::Site::new(self.policies.of(&entry.config), candidates, pin, self.first_epoch);
        entry.core = core.after(&entry.core);
        self.served_here(key);
    }

    pub(super) fn fleet_status(&self) -> Option<FleetStatus> {
        let fleet = self.fleet.as_ref()?;
        let life = match fleet.edge.life() {
            Life::Left => "left",
            _ if fleet.edge.is_leaving() => "leaving",
            Life::Ending => "ending",
            Life::Granting => "granting",
            Life::Registering(_) => "registering",
            Life::Listing(_) => "listing",
            Life::Following(_) => "following",
        };
        Some(FleetStatus {
            life: life.to_owned(),
            lease: fleet.edge.lease().map_or_else(String::new, |lease| lease.to_string()),
            lease_s: fleet.edge.until().0.saturating_sub(self.gates.lifeline.now().0).as_secs_f64(),
            // Who has left gets no other lease, and serves nobody.
            fenced: fleet.edge.is_fenced() && fleet.edge.life() != Life::Left,
            controller: fleet.ledger.is_some(),
            watermark: fleet.edge.applied().0,
            pending: fleet.edge.pending().count(),
            unreachable: fleet.edge.suspicions().all().len(),
            detours: fleet.edge.suspicions().detours(),
            refused: fleet.refused.clone(),
            canary: self.canary_view(),
        })
    }

    pub(super) fn look_at_fleet(&self, answer: oneshot::Sender<Option<Result<FleetView, String>>>) {
        let Some(fleet) = &self.fleet else { return drop(answer.send(None)) };
        let (look, seen) = oneshot::channel();
        fleet.tell(Command::Look(look));
        tokio::task::spawn_local(async move {
            let seen = seen.await.unwrap_or_else(|_| Err("ghostpin is stopping".to_owned()));
            drop(answer.send(Some(seen)));
        });
    }

    pub(super) fn leave(&mut self, answer: oneshot::Sender<Option<HasLeft>>) {
        let Some(fleet) = &mut self.fleet else {
            let _ = answer.send(None);
            return;
        };
        if fleet.edge.life() == Life::Left {
            return fleet.tell(Command::SayLeft(vec![answer]));
        }
        fleet.leaving.push(answer);
        self.edge(edge::Input::Leave);
    }

    /// Answers when this edge follows the store: then its gates are as that says.
    pub(super) fn joined(&mut self, answer: oneshot::Sender<()>) {
        match &mut self.fleet {
            Some(fleet) => fleet.joining.push(answer),
            None => {
                let _ = answer.send(());
            }
        }
        self.tell_whether_joined();
    }

    fn tell_whether_joined(&mut self) {
        if let Some(fleet) = &mut self.fleet
            && matches!(fleet.edge.life(), Life::Following(_))
        {
            for answer in fleet.joining.drain(..) {
                let _ = answer.send(());
            }
        }
    }

    pub(super) fn pass_on(&self, command: Command) {
        if let Some(fleet) = &self.fleet {
            fleet.tell(command);
        }
    }
}
