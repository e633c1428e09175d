//! How a configuration is put in force: whole or not at all, and without touching what has not changed.

use super::*;
use crate::config::changes::Changes;
use crate::core::canary::Fingerprint;

impl Reconciler {
    /// Puts in force what the file says now.
    pub(super) fn update(&mut self, config: Config) -> Result<Applied, String> {
        let applied = match self.has_lent {
            // Who comes next would not know of it.
            true => {
                Err("another process is taking over, and has read the file before: ask again when it has"
                    .to_owned())
            }
            false => self.apply(Source::File, config),
        };
        self.guarded.take_word(Source::File);
        match &applied {
            Ok(Applied { waits: Some(_), .. }) => {}
            Ok(_) => {
                self.updates += 1;
                self.refused_update = None;
            }
            Err(why) => self.refused(why.clone()),
        }
        applied
    }

    /// Puts a configuration in force, whole or not at all, unless it has to wait. What it takes grows with what has changed, and
    /// hardly with what has not: handoffs wait for it.
    pub(super) fn apply(&mut self, source: Source, mut config: Config) -> Result<Applied, String> {
        let changes = changes::between(&self.config.sites, &mut config.sites);
        let fingerprint = self.fingerprint_after(&changes, &config.defaults);
        if let Some(waits) = self.may_change(source, &changes, fingerprint)? {
            return Ok(Applied { waits: Some(waits), ..Applied::default() });
        }
        self.put_in_force(source, config, &changes, fingerprint)
    }

    /// Like [`Self::apply`], for what need not wait.
    pub(super) fn put_in_force(
        &mut self,
        source: Source,
        config: Config,
        changes: &Changes,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Applied, String> {
        // Made before anything is touched: a contradiction must leave all as it is.
        let put: Vec<Arc<PublishedSite>> = changes.put.iter().map(|site| self.published(site)).collect();
        let routes = self.publisher.current().routes.with(&changes.gone, put.iter().cloned());
        let routes = routes.map_err(|error| error.to_string())?;
        let needs_restart = restart_keys(&self.config, &config).into_iter().map(str::to_owned).collect();
        let mut applied = Applied { needs_restart, unchanged: changes.unchanged, ..Applied::default() };
        let trial = self.trial_of(source, changes);
        let mut retired = Vec::new();
        for name in &changes.gone {
            let Some(&key) = self.by_name.get(name) else { continue };
            applied.removed.push(name.to_string());
            retired.extend(self.sites.get(&key).map(|entry| entry.gate.clone()));
            self.retire(name, key);
        }
        let mut to_begin = Vec::new();
        for site in put {
            let name = site.config.name.to_string();
            match self.by_name.get(&site.config.name).copied() {
                Some(key) => {
                    applied.changed.push(name);
                    self.reconfigure(key, &site.config);
                }
                None => {
                    applied.added.push(name);
                    to_begin.extend(self.add(&site));
                }
            }
        }
        self.gates.budget.set_max(config.hold_total.max_requests);
        self.names.configure(&config.resolver);
        self.config = in_force(&self.config, config);
        self.is_in_force(fingerprint, trial);
        self.publisher.publish(Published::new(routes, &self.config));
        // Those who wait are told now that they can look up where their host has gone.
        retired.iter().for_each(|gate| gate.retire());
        for key in to_begin {
            if self.fleet.is_some() {
                self.take_over(key);
                continue;
            }
            let Some(entry) = self.sites.get_mut(&key) else { continue };
            let effects = match &mut self.elder {
                Some(elder) => elder.take_up(entry),
                None => entry.core.begin(),
            };
            self.perform(key, effects);
            for backend in self.sites[&key].backends() {
                self.plan_next(key, backend, true);
            }
        }
        self.look_at_unseen();
        self.counts.reloads += 1;
        self.counts.last_reload = Some(SystemTime::now());
        Ok(applied)
    }

    /// What requests are to know of a site: its gate is the one that it has, be it on its way out, or a new one.
    fn published(&mut self, config: &Arc<config::Site>) -> Arc<PublishedSite> {
        let key = self.by_name.get(&config.name).or_else(|| self.leaving.get(&config.name));
        let gate = key.and_then(|key| self.sites.get(key)).map(|entry| entry.gate.clone());
        let gate = gate.unwrap_or_else(|| {
            let key = SiteKey(self.next_key);
            self.next_key += 1;
            Arc::new(Gate::new(key, self.gates.clone()))
        });
        Arc::new(PublishedSite { gate, config: config.clone() })
    }

    /// Adds a site, or brings back one whose last leases are not gone yet. Returns its key if it has yet to begin.
    fn add(&mut self, site: &PublishedSite) -> Option<SiteKey> {
        let (config, gate, key) = (site.config.clone(), site.gate.clone(), site.gate.site());
        if self.leaving.remove(&config.name).is_some() {
            self.by_name.insert(config.name.clone(), key);
            gate.come_back();
            self.served_here(key);
            self.reconfigure(key, &config);
            return None;
        }
        let stored = self.dormant.remove(&config.name);
        self.names.follow(key, &config.backends);
        let candidates = self.names.instances(&config.backends, stored.as_ref().map(|pin| &pin.backend));
        let core = handoff::Site::new(self.policies.of(&config), candidates, stored, self.first_epoch);
        self.by_name.insert(config.name.clone(), key);
        let entry = SiteEntry {
            names: self.names.view(&config.backends),
            config,
            core,
            gate,
            open: None,
            last_entry: None,
            last_probes: LastProbes::default(),
            proof: None,
            hooks_in_turn: None,
            wished_by: None,
        };
        self.sites.insert(key, Box::new(entry));
        self.served_here(key);
        Some(key)
    }

    pub(super) fn reconfigure(&mut self, key: SiteKey, config: &Arc<config::Site>) {
        let Some(entry) = self.sites.get_mut(&key) else { return };
        let was = std::mem::replace(&mut entry.config, config.clone());
        self.names.follow(key, &config.backends);
        entry.names = self.names.view(&config.backends);
        let candidates = self.names.candidates(&config.backends, &entry.core);
        let before = entry.backends();
        if self.follows() {
            return self.show_anew(key, candidates);
        }
        let lost = self.lost(key);
        let newly = lost.iter().filter(|backend| !was.lost().iter().any(|lost| backend.name() == Some(lost)));
        for backend in newly {
            let note = format!("{backend}: its machine is down, says who looks after it");
            self.note(config.name.clone(), "machine_down", note);
        }
        let policy = self.policies.of(config);
        self.step(key, Input::Reconfigured { policy, candidates, lost });
        let Some(entry) = self.sites.get_mut(&key) else { return };
        let now = entry.backends();
        entry.last_probes.keep(&now);
        for gone in before.into_iter().filter(|backend| !now.contains(backend)) {
            self.schedule.forget(&(key, gone));
        }
        for backend in now {
            self.plan_next(key, backend, true);
        }
    }

    /// Those of its instances whose machine is down, as a provider says.
    fn lost(&mut self, key: SiteKey) -> Vec<Backend> {
        let entry = &self.sites[&key];
        let is_lost = |backend: &Backend| {
            backend.name().is_some_and(|name| entry.config.lost().iter().any(|lost| lost == name))
        };
        entry.backends().into_iter().filter(is_lost).collect()
    }

    /// What an answer about a name leads to.
    pub(super) fn looked(&mut self, host: &str, looked: Looked) {
        let heard = self.names.heard(host, looked);
        for key in heard.sites {
            let Some(entry) = self.sites.get_mut(&key) else { continue };
            let (name, config) = (entry.name().clone(), entry.config.clone());
            entry.names = self.names.view(&config.backends);
            let candidates = self.names.candidates(&config.backends, &entry.core);
            let listed = entry.core.candidates().iter().filter(|candidate| candidate.listed);
            let changed = !listed.map(|candidate| &candidate.backend).eq(&candidates);
            if let Some((kind, note)) = &heard.note {
                self.note(name, kind, note.clone());
            }
            match changed {
                true => self.reconfigure(key, &config),
                false => self.look_over(key),
            }
        }
    }

    pub(super) fn retire(&mut self, name: &SiteName, key: SiteKey) {
        self.by_name.remove(name);
        self.leaving.insert(name.clone(), key);
        self.names.forget(key);
        self.edge_of(key, |site| edge::Input::Removed { site });
        self.step(key, Input::Retired);
    }

    pub(super) fn forget_if_gone(&mut self, key: SiteKey) {
        let Some(entry) = self.sites.get(&key) else { return };
        let is_gone = match &self.fleet {
            None => entry.core.is_gone(),
            Some(fleet) => {
                let is_decided = fleet.ledger.is_none() || entry.core.is_gone();
                is_decided && self.leaving.contains_key(entry.name()) && !fleet.edge.serves(entry.name())
            }
        };
        if !is_gone {
            return;
        }
        self.tell_that_it_is_gone(key);
        let Some(entry) = self.sites.remove(&key) else { return };
        self.troubles.forget(key);
        self.leaving.remove(entry.name());
        for candidate in entry.core.candidates() {
            self.schedule.forget(&(key, candidate.backend.clone()));
        }
        if let Some(pin) = entry.core.pin() {
            self.dormant.insert(entry.name().clone(), pin.clone());
        }
    }

    pub(super) fn status(&self) -> Status {
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            sites: self.by_name.len(),
            phases: self.troubles.phases(self.sites.len()),
            held: self.gates.budget.held(),
            held_max: self.config.hold_total.max_requests,
            in_flight: 0,
            conflicts: self.troubles.conflicts(),
            handoffs: self.counts.handoffs.values().sum(),
            handoffs_by: self.counts.handoffs_by(),
            longest_handoff_ms: 0,
            probes: self.counts.probes,
            commits_failed: self.counts.commits_failed,
            late_answers: self.gates.late(),
            refused_update: self.refused_update.clone(),
            refused_update_ms: self.counts.last_refused_update.map(millis),
            waiting_updates: self.guarded.waiting(),
            reloads: self.counts.reloads,
            last_reload_ms: self.counts.last_reload.map(millis),
            fleet: self.fleet_status(),
        };
        for entry in self.sites.values() {
            let lasts = entry.open.as_ref().map_or(0, |open| open.lasts().as_millis() as u64);
            status.longest_handoff_ms = status.longest_handoff_ms.max(lasts);
            status.in_flight += u64::from(entry.gate.in_flight());
        }
        status
    }
}
