//! Upgrades: one at a time, until one has succeeded.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::account::{Teller, Told};
use super::doors::Doors;
use crate::admin;
use crate::control::store::FORMAT;
use crate::control::{Controller, NotTaken, Succession};
use crate::upgrade::elder::Heir;
use crate::upgrade::leftover::Leftover;
use crate::upgrade::request::{Asked, Outcome, STOPPING};

/// How long an operator's request may be on its way to whoever decides.
const LAST_ASKED: Duration = Duration::from_millis(20);
/// Between two looks whether a hook still runs.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process that was upgraded before may take to end once it has no requests any more.
const LEFTOVER_MAX: Duration = Duration::from_secs(2);

/// What an upgrade needs to know of this process.
pub(super) struct Upgrades<'a> {
    /// What this process was started from.
    pub(super) program: PathBuf,
    pub(super) config: &'a Path,
    pub(super) state: &'a Path,
    pub(super) doors: &'a Doors,
    pub(super) controller: Controller,
    pub(super) admin: &'a admin::Serving,
    /// What a new process is told of this one.
    pub(super) teller: Teller,
    /// `server.upgrade_timeout`
    pub(super) timeout: Duration,
    /// `server.upgrade_probation`
    pub(super) probation: Duration,
    /// Locked while the pins change hands. At any other time, an upgrade can be dropped, and has ended the new process then.
    pub(super) handing_over: Mutex<()>,
    /// Somebody has told this process to stop, which it does as soon as no pins change hands.
    pub(super) is_to_stop: &'a Cell<bool>,
}

/// Another process serves.
pub(super) struct Succeeded {
    pub(super) succession: Succession,
    /// Until this process has ended.
    pub(super) _leftover: Leftover,
}

impl Upgrades<'_> {
    /// Does what is asked for, and returns when another process serves.
    pub(super) async fn until_succeeded(&self, asked: &mut mpsc::Receiver<Asked>) -> Succeeded {
        while let Some(asked) = asked.recv().await {
            match self.upgrade(&asked).await {
                Ok(succeeded) => {
                    let Succession { pid, version, .. } = &succeeded.succession;
                    tracing::info!(pid, version, "upgraded: the new process serves");
                    // Whoever is told so, and asks something then, asks the new one.
                    self.admin.shut();
                    asked.done(Outcome::Serves { pid: *pid, version: version.clone() });
                    return succeeded;
                }
                Err(why) if self.is_to_stop.get() => {
                    tracing::error!(why, "the upgrade has failed, and {STOPPING}");
                    asked.done(Outcome::Ends(STOPPING.to_owned()));
                }
                Err(why) => {
                    tracing::error!(why, "the upgrade has failed: this process goes on");
                    asked.done(Outcome::Failed(why));
                }
            }
        }
        std::future::pending().await
    }

    async fn upgrade(&self, asked: &Asked) -> Result<Succeeded, String> {
        let program = asked.request.program.as_deref().unwrap_or(&self.program);
        let config = asked.request.config.as_deref().unwrap_or(self.config);
        let leftover = Leftover::lock(self.state, LEFTOVER_MAX).await;
        let leftover = leftover.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        let Told { sites, account, updates } = self.teller.tell().await?;
        let sockets = self
            .doors
            .to_hand_over()
            .map_err(|error| format!("the sockets can't be handed over: {error}"))?;
        let mut heir = Heir::start(program, config)?;
        asked.step(format!("{} was started as process {}", program.display(), heir.pid()));
        heir.prepare(FORMAT, sockets, sites, account, self.timeout).await?;
        asked.step(format!("version {} is ready; it is watched for {:?}", heir.version(), self.probation));
        heir.watch(self.probation).await?;
        let until = Instant::now() + self.timeout;
        loop {
            self.until_no_hook_runs(asked, &mut heir, until).await?;
            asked.step("it takes over");
            let door = self.shut();
            if door.is_some() {
                tokio::time::sleep(LAST_ASKED).await;
            }
            // One that has got stuck meanwhile is not to be found out while nobody decides.
            heir.watch(Duration::ZERO).await?;
            let _turn = self.handing_over.lock().await;
            match self.controller.hand_over(heir, updates).await {
                Ok(succession) => {
                    door.into_iter().for_each(Shut::for_good);
                    return Ok(Succeeded { succession, _leftover: leftover });
                }
                Err(NotTaken::HookRuns(back)) if Instant::now() < until => heir = back,
                Err(NotTaken::HookRuns(_)) => {
                    return Err(format!(
                        "hooks still ran after {:?} (server.upgrade_timeout): try again",
                        self.timeout
                    ));
                }
                Err(NotTaken::Failed(why)) => return Err(why),
            }
        }
    }

    /// Watches the new process for as long as it waits for hooks.
    async fn until_no_hook_runs(&self, asked: &Asked, heir: &mut Heir, until: Instant) -> Result<(), String> {
        let mut is_told = false;
        while let Some(site) = self.controller.hook().await.ok_or("ghostpin is stopping")? {
            if Instant::now() >= until {
                return Err(format!(
                    "a hook of site `{site}` still ran after {:?} (server.upgrade_timeout): try again when it has ended",
                    self.timeout
                ));
            }
            if !std::mem::replace(&mut is_told, true) {
                asked.step(format!(
                    "it waits for a hook of site `{site}`, which is never run twice at a time"
                ));
            }
            heir.watch(LOOK).await?;
        }
        Ok(())
    }

    /// Who asks from now on is answered by whoever decides then; who has asked just now, by this process. An edge of a fleet
    /// goes on as it is until the new one is another.
    fn shut(&self) -> Option<Shut<'_>> {
        self.teller.fleet.is_none().then(|| {
            self.admin.shut();
            Shut(self.admin)
        })
    }
}

/// The door of the admin API, which is opened again unless the new process has taken over.
struct Shut<'a>(&'a admin::Serving);

impl Shut<'_> {
    fn for_good(self) {
        std::mem::forget(self);
    }
}

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}
