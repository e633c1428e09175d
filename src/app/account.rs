//! What a running process says of itself to the one that is to take its place.

use super::aside::aside;
use super::reload::Reload;
use crate::certs::Certificates;
use crate::config::Site;
use crate::control::InForce;
use crate::published::Reader;
use crate::upgrade::served::{OfGuard, Served};
use crate::upgrade::{Account, OfFleet, OfStore, Shown};

/// So many sites are looked at by a new process before it says that it is ready.
const LOOKED_AT: usize = 20;

/// Who says so.
pub(super) struct Teller {
    pub(super) reload: Reload,
    pub(super) reader: Reader,
    pub(super) store: OfStore,
    /// The fleet that it is one of.
    pub(super) fleet: Option<OfFleet>,
}

/// All that is said.
pub(super) struct Told {
    pub(super) sites: Vec<Served>,
    pub(super) account: Account,
    /// So many updates of the file were put in force before.
    pub(super) updates: u64,
}

impl Teller {
    /// As it is now.
    pub(super) async fn tell(&self) -> Result<Told, String> {
        // Counted before anything is looked at: what comes between is noticed.
        let in_force = self.reload.controller.in_force(LOOKED_AT).await.ok_or("ghostpin is stopping")?;
        let InForce { updates, waits, rule, canary, well } = in_force;
        if let Some(id) = waits {
            return Err(InForce::waits_first(&id));
        }
        let published = self.reader.clone().load().clone();
        // Of a million it takes a while, and handoffs wait for nobody who counts.
        let certificates = self.reload.certificates.clone();
        let looked = aside(move || {
            let sites = || published.routes.sites().map(|site| &*site.config);
            let shown = certificates.map_or_else(Vec::new, |all| shown(&all, sites()));
            (sites().map(Served::of).collect(), shown)
        });
        let (sites, shown) = looked.await?;
        let file = self.reload.path().display().to_string();
        let guard = OfGuard { file, share: rule.share, sites: rule.sites, canary };
        let account = Account { store: self.store.clone(), well, shown, guard, fleet: self.fleet.clone() };
        Ok(Told { sites, account, updates })
    }
}

/// Hosts for which there is a certificate, from all over the sites: what is broken in a new process may be so in a part of it.
fn shown<'a>(certificates: &Certificates, sites: impl Iterator<Item = &'a Site>) -> Vec<Shown> {
    let hosts = sites.flat_map(|site| site.hosts.iter().map(|host| (&**host, site.provided)));
    let shown: Vec<_> = hosts.filter(|(host, _)| certificates.shows(host)).collect();
    let step = shown.len().div_ceil(LOOKED_AT).max(1);
    shown
        .into_iter()
        .step_by(step)
        .map(|(host, provided)| Shown { host: host.to_owned(), provided })
        .collect()
}
