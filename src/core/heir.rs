//! Two processes serve a site for a while: the elder lets its last requests end, the heir decides. A fence is complete when
//! nobody has a lease any more, in either of them.

use std::collections::BTreeMap;

use super::SiteName;
use super::handoff::{Effect, Found, Site};

/// What of a shutting is still waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Leaving {
    generation: u64,
    here: bool,
    there: bool,
}

/// The sites whose gate may be shut at the elder, and the fences that both were told of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fences {
    shut: BTreeMap<SiteName, Option<Leaving>>,
    /// Sites that the elder has not just served, until they are taken up.
    unsettled: BTreeMap<SiteName, Found>,
}

impl Fences {
    /// What an elder has handed over: these sites, and all others served.
    pub fn new(unsettled: BTreeMap<SiteName, Found>) -> Self {
        let shut = unsettled.keys().map(|site| (site.clone(), None)).collect();
        Self { shut, unsettled }
    }

    /// The first effects of a site, in the place of [`Site::begin`]. Where there is a pin, the elder may have requests under
    /// it: nothing is taken for fenced.
    pub fn take_up(&mut self, name: &SiteName, site: &mut Site) -> Vec<Effect> {
        let found = self.unsettled.remove(name).unwrap_or(Found::Serving);
        match site.pin().cloned() {
            None => site.begin(),
            Some(pin) => {
                let open = (found == Found::Serving).then_some(Effect::Open(pin));
                open.into_iter().chain(site.take_over(found)).collect()
            }
        }
    }

    /// Sites that the elder has not just served, and that are not configured here.
    pub fn not_taken_up(&self) -> impl Iterator<Item = &SiteName> {
        self.unsettled.keys()
    }

    /// The elder has shut its gate by itself.
    pub fn shut_there(&mut self, site: &SiteName) {
        self.shut.entry(site.clone()).or_default();
    }

    /// Both are told to shut. What was waited for before is not waited for any more.
    pub fn shut(&mut self, site: &SiteName, generation: u64) {
        self.shut.insert(site.clone(), Some(Leaving { generation, here: true, there: true }));
    }

    /// The heir's own last lease is gone: whether the fence is complete now.
    #[must_use]
    pub fn left_here(&mut self, site: &SiteName, generation: u64) -> bool {
        self.left(site, generation, |leaving| leaving.here = false)
    }

    /// The elder's last lease is gone: whether the fence is complete now.
    #[must_use]
    pub fn left_there(&mut self, site: &SiteName, generation: u64) -> bool {
        self.left(site, generation, |leaving| leaving.there = false)
    }

    /// Whether a fence of this site waits for the elder.
    pub fn waits_for_elder(&self, site: &SiteName) -> bool {
        matches!(self.shut.get(site), Some(Some(Leaving { there: true, .. })))
    }

    /// The heir opens its gate: whether the elder is to open its own, which was shut.
    #[must_use]
    pub fn opened(&mut self, site: &SiteName) -> bool {
        self.shut.remove(site).is_some()
    }

    /// The elder has ended, and its leases with it: the fences that are complete now.
    #[must_use]
    pub fn elder_gone(self) -> Vec<(SiteName, u64)> {
        let waited_for = self.shut.into_iter().filter_map(|(site, leaving)| Some((site, leaving?)));
        let complete = waited_for.filter(|(_, leaving)| !leaving.here);
        complete.map(|(site, leaving)| (site, leaving.generation)).collect()
    }

    fn left(&mut self, site: &SiteName, generation: u64, left: impl FnOnce(&mut Leaving)) -> bool {
        let Some(waited_for) = self.shut.get_mut(site) else { return false };
        let Some(leaving) = waited_for.as_mut().filter(|leaving| leaving.generation == generation) else {
            return false;
        };
        left(leaving);
        let is_complete = !leaving.here && !leaving.there;
        if is_complete {
            *waited_for = None;
        }
        is_complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(site: &SiteName) -> Fences {
        let mut fences = Fences::default();
        fences.shut(site, 7);
        fences
    }

    #[test]
    fn a_fence_is_complete_when_the_last_lease_of_both_is_gone() {
        let site = SiteName::from("blog");
        let mut fences = shut(&site);
        assert!(!fences.left_here(&site, 7));
        assert!(!fences.left_here(&site, 7), "who says it twice is one");
        assert!(fences.left_there(&site, 7));
        assert!(!fences.left_there(&site, 7), "it is complete once");
        let mut fences = shut(&site);
        assert!(!fences.left_there(&site, 7));
        assert!(fences.left_here(&site, 7));
    }

    #[test]
    fn a_late_word_about_an_older_shutting_completes_no_fence() {
        let site = SiteName::from("blog");
        let mut fences = shut(&site);
        assert!(!fences.left_here(&site, 7));
        assert!(fences.opened(&site));
        assert!(!fences.left_there(&site, 7), "it was opened again");
        fences.shut(&site, 8);
        assert!(!fences.left_there(&site, 7));
        assert!(!fences.left_here(&site, 8));
        assert!(fences.left_there(&site, 8));
    }

    #[test]
    fn the_elder_opens_what_it_has_shut_and_nothing_else() {
        let (blog, shop) = (SiteName::from("blog"), SiteName::from("shop"));
        let mut fences = shut(&blog);
        assert!(!fences.left_there(&blog, 7));
        assert!(fences.left_here(&blog, 7), "it was fenced");
        assert!(fences.opened(&blog));
        assert!(!fences.opened(&blog));
        fences.shut_there(&shop);
        assert!(fences.opened(&shop));
    }

    #[test]
    fn the_leases_of_an_elder_that_died_are_gone() {
        let (blog, shop) = (SiteName::from("blog"), SiteName::from("shop"));
        let mut fences = shut(&blog);
        fences.shut(&shop, 3);
        assert!(!fences.left_here(&shop, 3));
        assert_eq!(fences.elder_gone(), [(shop, 3)], "the other one still has the heir's own");
    }
}
