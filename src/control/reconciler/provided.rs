//! What a provider's change means for sites that go on: where they run, whatever else it wants, and pins that it says
//! nothing about.

use super::*;

impl Reconciler {
    /// Puts a provider's sites in force, like [`Self::apply`], and lets go of pins whose address is somebody else's by now.
    /// If that has to wait, or is refused, sites follow their instances all the same.
    pub(super) fn provide(&mut self, config: Config) -> Result<Applied, String> {
        let wanted = config.sites.clone();
        let applied = self.apply(Source::Provider, config);
        if applied.is_err() {
            self.follow_instances(&wanted)?;
        }
        for (key, epoch) in self.usurped() {
            self.step(key, Input::Suspected { epoch });
        }
        applied
    }

    /// Whether nothing of a site is other than in force, but where its provider has it run.
    pub(super) fn only_moves(&self, site: &config::Site) -> bool {
        let in_force = self.by_name.get(&site.name).and_then(|key| self.sites.get(key));
        site.provided && in_force.is_some_and(|entry| changes::moved(&entry.config, site) == *site)
    }

    /// Leaves all as it is in force, with instances where the provider says.
    fn follow_instances(&mut self, wanted: &[Arc<config::Site>]) -> Result<(), String> {
        let provided = wanted.iter().filter(|site| site.provided);
        let wanted: HashMap<&SiteName, &Arc<config::Site>> =
            provided.map(|site| (&site.name, site)).collect();
        let in_force = &self.config.sites;
        let moved = |site: &Arc<config::Site>| {
            let after = wanted.get(&site.name).filter(|_| site.provided);
            after.map_or_else(|| site.clone(), |after| Arc::new(changes::moved(site, after)))
        };
        let mut config = Config { sites: in_force.iter().map(moved).collect(), ..self.config.clone() };
        let changes = changes::between(in_force, &mut config.sites);
        if !changes.put.is_empty() {
            let fingerprint = self.fingerprint_after(&changes, &config.defaults);
            self.put_in_force(Source::Provider, config, &changes, fingerprint)?;
        }
        Ok(())
    }

    /// Sites that serve on from an instance that is no candidate any more, while another site's candidate is at its
    /// address: orchestrators give addresses to others when a task has ended. Such a site may have no answer from there.
    fn usurped(&self) -> Vec<(SiteKey, Epoch)> {
        let mut left: BTreeMap<Address<'_>, Vec<(SiteKey, Epoch)>> = BTreeMap::new();
        for (key, entry) in &self.sites {
            let Some(pin) = entry.core.pin().filter(|_| *entry.core.phase() == Phase::Serving) else {
                continue;
            };
            if entry.core.candidates().iter().any(|c| c.backend == pin.backend && !c.listed) {
                left.entry(pin.backend.address()).or_default().push((*key, pin.epoch));
            }
        }
        if left.is_empty() {
            return Vec::new();
        }
        let mut usurped = Vec::new();
        for (key, entry) in &self.sites {
            for candidate in entry.core.candidates().iter().filter(|candidate| candidate.listed) {
                let before = left.get(&candidate.backend.address()).into_iter().flatten();
                usurped.extend(before.filter(|(owner, _)| owner != key));
            }
        }
        usurped
    }
}
