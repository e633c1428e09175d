//! What the controller can't reach, and what it asks the other edges about it: health is decided once, by most of them.
//!
//! A machine that dies takes many backends with it, and all edges would see the same of each. So a few of a machine's
//! backends are asked about at a time, and what came of it goes for the others there that the controller can't reach
//! either, for a while.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Moment;
use super::opinion::{Opinion, opinion};
use crate::core::{Backend, SiteName};

/// Backends of one machine that the edges are asked about at a time: what they say of these goes for all.
const ASKED_THERE_MAX: usize = 3;
/// How long it is taken for settled that a machine is not the controller's own trouble.
const SETTLED_MAX: Duration = Duration::from_secs(2);

/// Backends that an edge was asked about, and whether it reaches them.
pub type Reached = BTreeMap<SiteName, (Backend, bool)>;

/// A backend that the controller can't reach.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Doubt {
    backend: Backend,
    since: Moment,
    /// It was said that it is the controller's own trouble.
    told: bool,
}

/// What the controller's failed probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The backend is unwell: most edges say so.
    Unwell {
        /// How many have looked, the controller among them.
        looks: usize,
    },
    /// Nothing yet: the others have not said.
    Open,
    /// It is the controller's own trouble.
    Own {
        /// That was not known before.
        is_new: bool,
    },
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    doubts: BTreeMap<SiteName, Doubt>,
    asked: BTreeMap<SiteName, Backend>,
    /// Machines that most edges couldn't reach: how many had looked, and when.
    settled: BTreeMap<IpAddr, (usize, Moment)>,
}

impl Doubts {
    /// What the other edges are to be asked about now.
    pub fn asked(&self) -> &BTreeMap<SiteName, Backend> {
        &self.asked
    }

    /// Backends that the controller can't reach, and about which the edges have not settled anything.
    pub fn all(&self) -> impl Iterator<Item = (&SiteName, &Backend)> {
        self.doubts.iter().map(|(site, doubt)| (site, &doubt.backend))
    }

    /// The one of a site.
    pub fn of(&self, site: &SiteName) -> Option<&Backend> {
        Some(&self.doubts.get(site)?.backend)
    }

    /// The controller reaches the backend that has the site's pin.
    pub fn reached(&mut self, site: &SiteName) {
        if self.doubts.remove(site).is_some() {
            self.asked.remove(site);
        }
    }

    /// It doesn't. `others` is what each other edge has said last, if it has said anything.
    pub fn not_reached(
        &mut self,
        now: Moment,
        site: &SiteName,
        backend: &Backend,
        others: &[Option<&Reached>],
    ) -> Judgement {
        let host = backend.machine();
        if let Some(looks) = self.settled(now, host) {
            return Judgement::Unwell { looks };
        }
        let said: Vec<Option<bool>> =
            others.iter().map(|reached| self.said(reached.as_ref()?, site, backend)).collect();
        let doubt = Doubt { backend: backend.clone(), since: now, told: false };
        let doubt = match self.doubts.get_mut(site) {
            Some(known) if known.backend == *backend => known,
            _ => {
                self.doubts.insert(site.clone(), doubt);
                self.doubts.get_mut(site).expect("it is there now")
            }
        };
        match opinion(&said, now.since(doubt.since)) {
            Opinion::Unwell => {
                let looks = 1 + said.iter().filter(|said| **said == Some(false)).count();
                if let Some(host) = host.filter(|_| looks > 1) {
                    self.settled.insert(host, (looks, now));
                }
                Judgement::Unwell { looks }
            }
            Opinion::Well => Judgement::Own { is_new: !std::mem::replace(&mut doubt.told, true) },
            Opinion::Open => {
                let there = self.asked.values().filter(|asked| asked.machine() == host).count();
                if there < ASKED_THERE_MAX {
                    self.asked.entry(site.clone()).or_insert_with(|| backend.clone());
                }
                Judgement::Open
            }
        }
    }

    fn settled(&mut self, now: Moment, host: Option<IpAddr>) -> Option<usize> {
        self.settled.retain(|_, (_, since)| now < since.plus(SETTLED_MAX));
        Some(self.settled.get(&host?)?.0)
    }

    /// What one edge says of a backend, or of others on its machine: that answers, too, whether the trouble is the
    /// controller's own.
    fn said(&self, reached: &Reached, site: &SiteName, backend: &Backend) -> Option<bool> {
        if let Some((_, well)) = reached.get(site).filter(|(about, _)| about == backend) {
            return Some(*well);
        }
        let host = backend.machine();
        let there = self.asked.iter().filter(|(_, asked)| asked.machine() == host);
        let said = there.filter_map(|(other, asked)| reached.get(other).filter(|(about, _)| about == asked));
        said.map(|(_, well)| *well).reduce(|one, other| one || other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(Duration::from_secs(100));

    fn site(number: usize) -> SiteName {
        SiteName::from(format!("s{number}").as_str())
    }

    fn on(host: u8, number: usize) -> Backend {
        format!("10.0.0.{host}:{}", 1000 + number).parse().unwrap()
    }

    fn says(of: &[(SiteName, Backend)], well: bool) -> Reached {
        of.iter().map(|(site, backend)| (site.clone(), (backend.clone(), well))).collect()
    }

    #[test]
    fn a_machine_that_dies_is_asked_about_once_and_not_for_each_site() {
        let mut doubts = Doubts::default();
        for n in 0..100 {
            assert_eq!(doubts.not_reached(NOW, &site(n), &on(1, n), &[None, None]), Judgement::Open);
        }
        assert_eq!(doubts.asked().len(), ASKED_THERE_MAX);
        let said = says(&[(site(0), on(1, 0))], false);
        assert_eq!(
            doubts.not_reached(NOW, &site(0), &on(1, 0), &[Some(&said), None]),
            Judgement::Unwell { looks: 2 }
        );
        // The one that was asked about is served elsewhere, and what was said of it goes for the rest.
        doubts.reached(&site(0));
        for n in 1..100 {
            assert_eq!(
                doubts.not_reached(NOW, &site(n), &on(1, n), &[None, None]),
                Judgement::Unwell { looks: 2 }
            );
        }
        assert_eq!(doubts.not_reached(NOW, &site(7), &on(2, 7), &[None, None]), Judgement::Open, "elsewhere");
    }

    #[test]
    fn what_was_settled_is_asked_again_after_a_while() {
        let mut doubts = Doubts::default();
        let said = says(&[(site(0), on(1, 0))], false);
        assert_eq!(
            doubts.not_reached(NOW, &site(0), &on(1, 0), &[Some(&said)]),
            Judgement::Unwell { looks: 2 }
        );
        let later = NOW.plus(SETTLED_MAX);
        assert_eq!(doubts.not_reached(later, &site(1), &on(1, 1), &[None]), Judgement::Open);
        assert!(doubts.asked().contains_key(&site(1)));
    }

    #[test]
    fn what_the_controller_alone_cannot_reach_settles_nothing() {
        let mut doubts = Doubts::default();
        let well = says(&[(site(0), on(1, 0))], true);
        let others = [Some(&well), Some(&well)];
        let judged = doubts.not_reached(NOW, &site(0), &on(1, 0), &others);
        assert_eq!(judged, Judgement::Own { is_new: true });
        let judged = doubts.not_reached(NOW, &site(0), &on(1, 0), &others);
        assert_eq!(judged, Judgement::Own { is_new: false });
        assert_eq!(doubts.not_reached(NOW, &site(1), &on(1, 1), &[None, None]), Judgement::Open);
    }

    #[test]
    fn alone_it_believes_itself_and_settles_nothing_for_those_who_come() {
        let mut doubts = Doubts::default();
        assert_eq!(doubts.not_reached(NOW, &site(0), &on(1, 0), &[]), Judgement::Unwell { looks: 1 });
        assert_eq!(doubts.not_reached(NOW, &site(1), &on(1, 1), &[None]), Judgement::Open);
    }

    #[test]
    fn what_is_reached_again_is_asked_about_no_more() {
        let mut doubts = Doubts::default();
        doubts.not_reached(NOW, &site(0), &on(1, 0), &[None]);
        doubts.reached(&site(0));
        assert!(doubts.asked().is_empty());
    }
}
