//! What a new process makes sure of before it takes the place of the one that has started it: that one goes on if anything is
//! other than it should be.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};

use super::doors::{Doors, Inherited};
use super::{Prepared, fleet};
use crate::config::Config;
use crate::control::outside::{Outside, Way};
use crate::control::probe::{Question, Seen};
use crate::control::store::{FORMAT, FolderId, Opened, PinStore};
use crate::core::SiteName;
use crate::core::handoff::Found;
use crate::upgrade::heir::{Elder, Handed};
use crate::upgrade::served::{Change, OfGuard, Served};
use crate::upgrade::{OfFleet, OfStore, Shown, ToElder};

/// Names of sites that are told, of those that an upgrade would touch.
const EXAMPLES: usize = 5;

/// What is to be known of the process before.
pub(super) struct Before {
    /// Sites that it has not just served.
    pub(super) unsettled: BTreeMap<SiteName, Found>,
    pub(super) fleet: Option<OfFleet>,
}

type TakenOver = (Prepared, Doors, Opened, Before);

/// Becomes ready, and returns when the pins are this process's.
///
/// # Errors
/// Why it is none that can take over.
pub(super) async fn take_over(path: &Path, elder: &mut Elder) -> Result<TakenOver> {
    let Handed { sockets, sites, account } = elder.meet(FORMAT).await?;
    let prepared = Prepared::new(path)?;
    let state = &prepared.config.server.state;
    fleet::same(&prepared.config, account.fleet.as_ref())?;
    same_store(&prepared.config, FolderId::at(state), &account.store)?;
    may_change(&prepared, sites, &account.guard)?;
    let mut inherited = Inherited(sockets);
    let mut doors = Doors::open(&prepared.config, &mut inherited)?;
    doors.open_to_requests(&prepared.config, &mut inherited);
    prepared.look_at(&account.well).await?;
    prepared.shows(&account.shown).await?;
    let unsettled = elder.take_over().await?;
    let opened = PinStore::open_again(state)?;
    // Whatever has become of the path meanwhile.
    same_store(&prepared.config, Some(opened.store.folder()), &account.store)?;
    elder.mouth.say(ToElder::Opened);
    Ok((prepared, doors, opened, Before { unsettled, fleet: account.fleet }))
}

/// Whether the pins of this process are those of the one before: over another store it would count the same epochs anew, on
/// other backends.
fn same_store(config: &Config, folder: Option<FolderId>, before: &OfStore) -> Result<()> {
    ensure!(
        folder == Some(before.folder),
        "[server] state: the pins of the running process are in `{}`, and by this file those of the new one would be in `{}`, \
         which is another folder: that can't be changed by an upgrade. Stop the one, move its folder, and start the other",
        before.state,
        config.server.state.display()
    );
    Ok(())
}

/// Whether nobody's word is needed for what the file does to the sites that the process before serves: it is put in force by this
/// process's taking over, as by a reload.
fn may_change(prepared: &Prepared, before: Vec<Served>, guard: &OfGuard) -> Result<()> {
    let now = prepared.config.sites.iter().map(|site| Served::of(site));
    let change = Change::between(&before, now, prepared.config.swarm.is_some(), EXAMPLES);
    change.judge(guard).map_err(|why| {
        let Change { touched, examples, .. } = &change;
        let (file, examples) = (prepared.path.display(), examples.join(", "));
        anyhow!("[guard] {file} would {touched}, {why}. Among them: {examples}")
    })
}

impl Prepared {
    /// Whether any of these sites' backends can be reached from here, if there are some.
    async fn look_at(&self, well: &[(String, String)]) -> Result<()> {
        let mut not_reached = None;
        for (name, backend) in well {
            let site = self.config.sites.iter().find(|site| site.name.as_str() == name);
            let (Some(site), Ok(backend)) = (site, backend.parse()) else { continue };
            match self.outside.ask(&Way::To(backend), site, Question::Liveness).await {
                Seen::Well => return Ok(()),
                seen => not_reached = Some((name, seen)),
            }
        }
        not_reached.map_or(Ok(()), |(site, seen)| {
            bail!(
                "no backend can be reached from this process, but from the one before: that of site `{site}` is \
                 not well here ({seen})"
            )
        })
    }

    /// Whether there is a certificate for each of these hosts here, too. A reload goes on with the last good one where a file is
    /// broken, and a new process has none.
    async fn shows(&self, shown: &[Shown]) -> Result<()> {
        let Some(certificates) = &self.certificates else { return Ok(()) };
        let has_provider = self.config.swarm.is_some();
        let is_served =
            |host: &str| self.config.sites.iter().any(|site| site.hosts.iter().any(|own| **own == *host));
        let is_wanted = |one: &&Shown| is_served(&one.host) || one.provided && has_provider;
        for Shown { host, .. } in shown.iter().filter(is_wanted) {
            let found = certificates.find(host).await;
            ensure!(
                found.is_some() && certificates.shows(host),
                "no certificate for `{host}` can be shown by this process, and the one before has one: {}",
                certificates.why_none(host).unwrap_or_else(|| "no file is for it".to_owned())
            );
        }
        Ok(())
    }
}
