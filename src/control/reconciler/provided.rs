//! What a provider's change means for pins that it says nothing about.

use super::*;

impl Reconciler {
    /// Puts a provider's sites in force, like [`Self::apply`], and lets go of pins whose address is somebody else's by now.
    pub(super) fn provide(&mut self, config: Config) -> Result<Applied, String> {
        let applied = self.apply(Source::Provider, config)?;
        for (key, epoch) in self.usurped() {
            self.step(key, Input::Suspected { epoch });
        }
        Ok(applied)
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
