//! Requests for a backend that this edge alone can't reach: they go through an edge that can, if there is one.

use super::*;
use crate::control::detours::Look;
use crate::detour::{Detour, Errand};

impl Reconciler {
    /// Looks whether another edge brings requests to the backend of a site that is suspected here. Where nobody waits,
    /// nobody is helped: a machine that died would be asked for by all edges through all edges.
    pub(super) fn look_for_detour(&mut self, key: SiteKey) {
        let Some((fleet, entry)) = self.fleet.as_mut().zip(self.sites.get(&key)) else { return };
        let suspicions = fleet.edge.suspicions();
        let is_wanted = !suspicions.takes_detour(entry.name()) && entry.gate.held() > 0;
        let Some(epoch) = suspicions.of(entry.name()).filter(|_| is_wanted) else { return };
        let serves = |pin: &&Pin| pin.epoch == epoch && matches!(pin.backend.address(), Address::Tcp(_));
        if fleet.edge.record(entry.name()).and_then(|record| record.serves()).filter(serves).is_none() {
            return;
        }
        let Some(look) = fleet.detours.begin(key, epoch) else { return };
        let (outside, messages, config) = (self.outside.clone(), self.messages.clone(), entry.config.clone());
        let way = Way::Through(look.detour.clone(), Errand { site: entry.name().clone(), epoch });
        tokio::task::spawn_local(async move {
            let again = Instant::now() + config.health.held_interval;
            let seen = outside.ask(&way, &config, Question::Liveness).await;
            if !seen.is_well() {
                tokio::time::sleep_until(again).await;
            }
            let _ = messages.send(Message::LookedThrough(look, seen));
        });
    }

    /// The same for all sites that are suspected, some at a time.
    pub(super) fn look_for_detours(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        let suspected = fleet.edge.suspicions().all();
        for site in fleet.detours.some_of(suspected) {
            if let Some(&key) = self.by_name.get(&site) {
                self.look_for_detour(key);
            }
        }
    }

    /// These edges take requests for this one from now on.
    pub(super) fn detours_known(&mut self, detours: Vec<Arc<Detour>>) {
        if let Some(fleet) = &mut self.fleet {
            fleet.detours.know(detours);
        }
    }

    /// Another edge has brought a question to the backend, or has not.
    pub(super) fn looked_through(&mut self, look: Look, seen: &Seen) {
        let Some(fleet) = &mut self.fleet else { return };
        fleet.detours.ended(&look, seen.is_well());
        let Look { site: key, epoch, detour } = look;
        if !seen.is_well() {
            return self.look_for_detours();
        }
        let Some(entry) = self.sites.get(&key) else { return };
        let site = entry.name().clone();
        let suspicions = fleet.edge.suspicions();
        if suspicions.of(&site) != Some(epoch) || suspicions.takes_detour(&site) {
            return;
        }
        let backend =
            fleet.edge.record(&site).map_or_else(String::new, |record| record.pin.backend.to_string());
        let note = format!("{backend} can't be reached from here: requests go through {}", detour.edge);
        tracing::warn!(%site, note);
        // What is under way went the way that has failed, and would wait there for as long as that has. It goes the new one,
        // if it may be sent again; whoever may not be told of that hears that its outcome is unknown.
        entry.gate.cut();
        self.workers.tell(Order::Cut(key));
        entry.gate.take_detour(Some(detour));
        self.note(site.clone(), "detour", note);
        self.edge(edge::Input::Detour { site, epoch });
    }

    /// The usual way is to be taken again: the backend answers this edge, or it is another one now.
    pub(super) fn end_detour(&mut self, key: SiteKey) {
        if let Some(entry) = self.sites.get(&key)
            && entry.gate.detour().is_some()
        {
            entry.gate.take_detour(None);
            self.note(
                entry.name().clone(),
                "detour_over",
                "requests go to the backend directly again".to_owned(),
            );
        }
    }

    /// A request could not be brought to the backend; if it was to go through another edge, then that one failed.
    pub(super) fn detour_failed(&mut self, key: SiteKey) {
        let Some((fleet, entry)) = self.fleet.as_mut().zip(self.sites.get(&key)) else { return };
        if let Some(detour) = entry.gate.detour() {
            fleet.detours.failed(&detour);
            entry.gate.take_detour(None);
        }
    }
}
