//! What this edge does while it is the fleet's controller: the same cores as alone, over the store's records in the place of
//! gates.

use super::*;
use crate::control::fleet::Command;
use crate::core::fleet::doubts::Doubts;
use crate::core::fleet::ledger::{self, Ledger};
use crate::core::fleet::{LeaseId, leading};

impl Reconciler {
    /// This edge is the controller from now on, and finds this in the store.
    pub(super) fn lead(&mut self, lease: LeaseId, ledger: Ledger) {
        let is_meant = |fleet: &&mut Fleet| fleet.edge.lease() == Some(lease) && !fleet.retired;
        let Some(fleet) = self.fleet.as_mut().filter(is_meant) else { return };
        tracing::info!(
            sites = self.by_name.len(),
            edges = ledger.edges().len(),
            "this edge is the controller"
        );
        (fleet.ledger, fleet.elected_in) = (Some(ledger), Some(lease));
        let keys: Vec<SiteKey> = self.by_name.values().copied().collect();
        for key in keys {
            self.take_over(key);
        }
        // The store is to say of those that are on their way out that they are gone.
        for key in self.leaving.values().copied().collect::<Vec<_>>() {
            self.take_over(key);
            self.step(key, Input::Retired);
        }
    }

    /// Another edge is the controller, or nobody.
    pub(super) fn step_down(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        if fleet.ledger.take().is_none() {
            return;
        }
        fleet.elected_in = None;
        tracing::info!("this edge is the controller no more");
        fleet.doubts = Doubts::default();
        fleet.seen_by.clear();
        self.unsaid.clear();
        self.give_up_wishes(|| WishError::NewController);
        let sites: Vec<(SiteName, SiteKey)> =
            self.by_name.iter().chain(&self.leaving).map(|(name, key)| (name.clone(), *key)).collect();
        for (name, key) in sites {
            let Some(entry) = self.sites.get_mut(&key) else { continue };
            entry.proof = None;
            let open = entry.open.take().map(|open| open.end("superseded"));
            for backend in entry.backends() {
                self.schedule.forget(&(key, backend));
            }
            if let Some(open) = open {
                self.journal.write(open);
            }
            self.follow(&name);
            self.look_at_pinned(key, Instant::now());
            // What was waited for with one on its way out, a pin that was to stand maybe, is another's to wait for.
            self.forget_if_gone(key);
        }
    }

    /// Goes on with a site from what the store says of it.
    pub(super) fn take_over(&mut self, key: SiteKey) {
        let Some(fleet) = &self.fleet else { return };
        let Some((ledger, entry)) = fleet.ledger.as_ref().zip(self.sites.get_mut(&key)) else { return };
        let stored = ledger.stored(entry.name());
        let known = fleet.known.get(entry.name());
        let newest = leading::newest(known, stored);
        let candidates = self.names.instances(&entry.config.backends, newest.map(|pin| &pin.backend));
        let core = handoff::Site::new(
            self.policies.of(&entry.config),
            candidates,
            newest.cloned(),
            self.first_epoch,
        );
        entry.core = core.after(&entry.core);
        let effects = leading::take_over(&mut entry.core, known, stored);
        let backends = entry.backends();
        self.perform(key, effects);
        for backend in backends {
            self.plan_next(key, backend, true);
        }
    }

    /// A site that is no longer configured here, at the controller, is no longer served by anybody.
    pub(super) fn tell_that_it_is_gone(&mut self, key: SiteKey) {
        if let Some(entry) = self.sites.get(&key)
            && let Some(pin) = entry.core.pin().cloned()
        {
            let site = entry.name().clone();
            self.ledger(|ledger| ledger.wants(&site, ledger::Wanted::Retire(pin)));
        }
    }

    /// Has the ledger do something, and does what follows.
    pub(super) fn ledger(&mut self, step: impl FnOnce(&mut Ledger) -> Vec<ledger::Effect>) {
        let Some(ledger) = self.fleet.as_mut().and_then(|fleet| fleet.ledger.as_mut()) else { return };
        for effect in step(ledger) {
            let Some(fleet) = &self.fleet else { return };
            let key = |site| self.by_name.get(site).or_else(|| self.leaving.get(site)).copied();
            match effect {
                ledger::Effect::Write { site, record, guard } => {
                    fleet.tell(Command::Write { site, record, guard });
                }
                ledger::Effect::Left { site, generation } => {
                    if let Some(key) = key(&site) {
                        self.step(key, Input::Left { generation });
                    }
                }
                ledger::Effect::Committed { site, epoch } => {
                    if let Some(key) = key(&site) {
                        self.step(key, Input::Committed { epoch });
                    }
                }
                ledger::Effect::Deposed { site } => {
                    tracing::warn!(%site, "somebody else has written this site's record");
                    fleet.tell(Command::Resign);
                    return self.step_down();
                }
            }
        }
        self.say_what_stands();
    }

    /// What the core wants of the gates of all edges. Tells what is left to be done here.
    pub(super) fn perform_for_fleet(&mut self, key: SiteKey, effects: Vec<Effect>) -> Vec<Effect> {
        let Some(entry) = self.sites.get(&key) else { return Vec::new() };
        let (site, (of_the_fleet, others)) = (entry.name().clone(), leading::wanted(&entry.core, effects));
        for wanted in of_the_fleet {
            self.ledger(|ledger| ledger.wants(&site, wanted));
        }
        others
    }
}
