//! What a running process says of itself to the one that is to take its place.

use crate::control::{Controller, InForce};
use crate::upgrade::{Account, OfFleet, OfStore};

/// So many sites are looked at by a new process before it says that it is ready.
const LOOKED_AT: usize = 20;

/// Who says so.
pub(super) struct Teller {
    pub(super) controller: Controller,
    pub(super) store: OfStore,
    /// The fleet that it is one of.
    pub(super) fleet: Option<OfFleet>,
}

impl Teller {
    /// As it is now, and after how many updates of the file.
    pub(super) async fn account(&self) -> Result<(Account, u64), String> {
        let InForce { updates, well } =
            self.controller.in_force(LOOKED_AT).await.ok_or("ghostpin is stopping")?;
        Ok((Account { store: self.store.clone(), well, fleet: self.fleet.clone() }, updates))
    }
}
