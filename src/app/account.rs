//! What a running process says of itself to the one that is to take its place.

use super::aside::aside;
use super::reload::Reload;
use crate::control::InForce;
use crate::published::Reader;
use crate::upgrade::served::{OfGuard, Served};
use crate::upgrade::{Account, OfFleet, OfStore};

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
        let InForce { updates, rule, canary, well } = in_force;
        let published = self.reader.clone().load().clone();
        // Of a million it takes a while, and handoffs wait for nobody who counts.
        let sites =
            aside(move || published.routes.sites().map(|site| Served::of(&site.config)).collect()).await?;
        let file = self.reload.path().display().to_string();
        let guard = OfGuard { file, share: rule.share, sites: rule.sites, canary };
        let account = Account { store: self.store.clone(), well, guard, fleet: self.fleet.clone() };
        Ok(Told { sites, account, updates })
    }
}
