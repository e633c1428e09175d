//! What edges see of backends, and what the controller makes of it: one that alone can't reach a backend moves nothing.

use super::*;
use crate::control::fleet::{Command, Seen};
use crate::core::fleet::doubts::{Judgement, Reached};

/// Time between two writes of what is seen.
const TELLING_PACE: Duration = Duration::from_millis(50);

impl Reconciler {
    // What this edge sees.

    /// A backend refused a connection, or did not answer a probe: this edge holds the site until it does.
    pub(super) fn suspect(&mut self, key: SiteKey, epoch: Epoch) {
        self.detour_failed(key);
        self.edge_of(key, |site| edge::Input::Suspected { site, epoch });
        self.look_at_pinned(key, Instant::now());
        self.look_for_detour(key);
    }

    /// Plans the next look at the backend of a site that is suspected here, or that this edge was asked about.
    pub(super) fn look_at_pinned(&mut self, key: SiteKey, at: Instant) {
        let Some((fleet, entry)) = self.fleet.as_ref().zip(self.sites.get(&key)) else { return };
        if self.is_of_interest(entry)
            && let Some(record) = fleet.edge.record(entry.name())
        {
            self.schedule.plan((key, record.pin.backend.clone()), Class::Readers, at);
        }
    }

    /// The site's backend is suspected here, or this edge was asked about it.
    pub(super) fn is_of_interest(&self, entry: &SiteEntry) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| {
            fleet.edge.suspicions().of(entry.name()).is_some() || fleet.asked.contains_key(entry.name())
        })
    }

    /// A probe of this edge's own.
    pub(super) fn saw(&mut self, key: SiteKey, backend: &Backend, well: bool) {
        let Some((fleet, entry)) = self.fleet.as_mut().zip(self.sites.get(&key)) else { return };
        let (site, health) = (entry.name().clone(), entry.config.health.clone());
        let pin = fleet.edge.record(&site).map(|record| record.pin.clone());
        let Some(pin) = pin.filter(|pin| pin.backend == *backend) else { return };
        let is_asked = fleet.asked.get(&site) == Some(backend);
        let goes_round = fleet.edge.suspicions().takes_detour(&site) && !is_asked;
        if is_asked {
            fleet.seen.reached.insert(site.clone(), (backend.clone(), well));
        }
        match (fleet.edge.suspicions().of(&site), well) {
            (Some(epoch), true) => {
                self.end_detour(key);
                self.edge(edge::Input::Cleared { site, epoch });
            }
            (None, false) if self.follows() => self.suspect(key, pin.epoch),
            _ => self.tell_what_is_seen(),
        }
        if !well || is_asked {
            // Nobody waits for what goes another way.
            let again = if goes_round { health.interval } else { health.held_interval };
            self.look_at_pinned(key, Instant::now() + again);
        }
    }

    /// The controller wants to know whether these can be reached from here.
    pub(super) fn asked_about(&mut self, asked: BTreeMap<SiteName, Backend>) {
        let Some(fleet) = &mut self.fleet else { return };
        let is_new = |site: &&SiteName| fleet.asked.get(*site) != asked.get(*site);
        let new: Vec<SiteName> = asked.keys().filter(is_new).cloned().collect();
        fleet.seen.reached.retain(|site, (backend, _)| asked.get(site) == Some(backend));
        fleet.asked = asked;
        for site in new {
            if let Some(&key) = self.by_name.get(&site) {
                self.look_at_pinned(key, Instant::now());
            }
        }
        self.tell_what_is_seen();
    }

    /// Tells what is seen, once all is taken in that came with it: a worker that dies has many sites.
    pub(super) fn tell_what_is_seen(&mut self) {
        if let Some(fleet) = &mut self.fleet {
            fleet.seen_due = true;
        }
    }

    /// When there is next something to be told.
    pub(super) fn tells_at(&self) -> Option<Instant> {
        let fleet = self.fleet.as_ref().filter(|fleet| fleet.seen_due && fleet.edge.lease().is_some())?;
        Some(fleet.told_at + TELLING_PACE)
    }

    /// Tells it now, if it is time.
    pub(super) fn tell_in_time(&mut self, now: Instant) {
        if self.tells_at().is_none_or(|at| now < at) {
            return;
        }
        let Some(fleet) = &mut self.fleet else { return };
        let Some(lease) = fleet.edge.lease() else { return };
        fleet.seen_due = false;
        fleet.seen.suspicions.clone_from(fleet.edge.suspicions().all());
        let edge = &fleet.edge;
        fleet.seen.knows.retain(|site, known| edge.refuses(site) == Some(known));
        if fleet.seen != fleet.told {
            fleet.told_at = now;
            fleet.told = fleet.seen.clone();
            fleet.tell(Command::See { lease, seen: fleet.told.clone() });
        }
    }

    // What the controller makes of it.

    pub(super) fn seen_by(&mut self, lease: LeaseId, seen: Option<Seen>) {
        let Some(fleet) = self.fleet.as_mut().filter(|fleet| fleet.ledger.is_some()) else { return };
        let before = match &seen {
            Some(seen) => fleet.seen_by.insert(lease, seen.clone()),
            None => fleet.seen_by.remove(&lease),
        };
        let (before, seen) = (before.unwrap_or_default(), seen.unwrap_or_default());
        let mut to_probe = Vec::new();
        for (site, epoch) in
            seen.suspicions.iter().filter(|(site, epoch)| before.suspicions.get(*site) != Some(epoch))
        {
            to_probe.push((site.clone(), *epoch));
        }
        let to_raise: Vec<(SiteName, Pin)> =
            seen.knows.into_iter().filter(|(site, pin)| before.knows.get(site) != Some(pin)).collect();
        for (site, epoch) in to_probe {
            self.look_for_others(&site, epoch);
        }
        let Some(fleet) = &self.fleet else { return };
        if seen.reached != before.reached {
            // One after the other, between all else that goes on.
            for (site, backend) in fleet.doubts.all() {
                let doubtful = Message::Doubtful { site: site.clone(), backend: backend.clone() };
                let _ = self.messages.send(doubtful);
            }
        }
        for (site, known) in to_raise {
            self.raise(site, known);
        }
    }

    /// Other edges have trouble with a site's backend: looks at once whether that is the backend's doing.
    fn look_for_others(&mut self, site: &SiteName, epoch: Epoch) {
        let Some((&key, entry)) = self.by_name.get(site).and_then(|key| Some((key, self.sites.get(key)?)))
        else {
            return;
        };
        if let Some(pin) = entry.core.pin().filter(|pin| pin.epoch == epoch) {
            self.schedule.plan((key, pin.backend.clone()), Class::Readers, Instant::now());
        }
    }

    /// An edge knows of a newer pin than the store: the site is fenced, and goes on from there.
    fn raise(&mut self, site: SiteName, known: Pin) {
        let Some(fleet) = self.fleet.as_mut().filter(|fleet| fleet.ledger.is_some()) else { return };
        let is_newer = fleet.known.get(&site).is_none_or(|own| own.epoch < known.epoch);
        let Some(&key) = self.by_name.get(&site).filter(|_| is_newer) else { return };
        let note = format!(
            "an edge knows of epoch {} with {}: the site goes on from there",
            known.epoch, known.backend
        );
        tracing::warn!(%site, note);
        fleet.known.insert(site.clone(), known);
        self.note(site, "raised_pin", note);
        self.take_over(key);
    }

    /// How many looks at a backend a probe of the controller's stands for. If it failed, it may be the controller's own
    /// trouble: then it stands for none until other edges have looked, and for theirs, too, when most of them agree.
    pub(super) fn looks(&mut self, key: SiteKey, backend: &Backend, well: bool) -> usize {
        let Some((fleet, entry)) = self.fleet.as_mut().zip(self.sites.get(&key)) else { return 1 };
        let Some(ledger) = &fleet.ledger else { return 1 };
        let site = entry.name().clone();
        if entry.core.pin().is_none_or(|pin| pin.backend != *backend) {
            return 1;
        }
        let asked_before = fleet.doubts.asked().len();
        let judgement = if well || *entry.core.phase() != Phase::Serving {
            fleet.doubts.reached(&site);
            Judgement::Unwell { looks: 1 }
        } else {
            let own = fleet.edge.lease();
            let others = ledger.edges().keys().filter(|lease| Some(**lease) != own);
            let others: Vec<Option<&Reached>> =
                others.map(|lease| Some(&fleet.seen_by.get(lease)?.reached)).collect();
            fleet.doubts.not_reached(self.gates.lifeline.now(), &site, backend, &others)
        };
        // One at most has come or gone.
        if fleet.doubts.asked().len() != asked_before {
            fleet.tell(Command::Ask(fleet.doubts.asked().clone()));
        }
        match judgement {
            Judgement::Unwell { looks } => return looks,
            Judgement::Own { is_new: true } => {
                let note = format!(
                    "{backend} can't be reached from the controller, but from other edges: the site stays"
                );
                tracing::warn!(%site, note);
                self.note(site, "unreachable_here", note);
                self.hold_here(key);
            }
            Judgement::Own { is_new: false } => self.hold_here(key),
            Judgement::Open => {}
        }
        0
    }

    /// The backend is well, and this edge doesn't reach it: what comes in here waits, or goes through another edge.
    fn hold_here(&mut self, key: SiteKey) {
        let Some((fleet, entry)) = self.fleet.as_ref().zip(self.sites.get(&key)) else { return };
        if fleet.edge.suspicions().of(entry.name()).is_none()
            && let Some(pin) = entry.core.pin()
        {
            self.suspect(key, pin.epoch);
        }
    }

    /// Plans the next look at a backend that the controller can't reach, while the other edges are asked.
    pub(super) fn look_again(&mut self, key: SiteKey, backend: Backend) {
        let Some((fleet, entry)) = self.fleet.as_ref().zip(self.sites.get(&key)) else { return };
        let health = &entry.config.health;
        // What the edges say of others on its machine is heard of sooner.
        let is_asked = fleet.doubts.asked().contains_key(entry.name());
        let interval = if is_asked { health.held_interval } else { health.interval };
        self.schedule.plan((key, backend), Class::Urgent, Instant::now() + interval);
    }

    /// Other edges have said something since the controller couldn't reach this backend.
    pub(super) fn judge_anew(&mut self, site: &SiteName, backend: Backend) {
        let is_doubted = self.fleet.as_ref().is_some_and(|fleet| fleet.doubts.of(site) == Some(&backend));
        let Some(&key) = self.by_name.get(site).filter(|_| is_doubted) else { return };
        let looks = self.looks(key, &backend, false);
        if looks > 0 {
            self.take_in(key, backend, false, looks, None);
        }
    }
}
