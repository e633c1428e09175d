//! Upgrades: one at a time, until one has succeeded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::account::{Teller, Told};
use super::doors::Doors;
use crate::admin;
use crate::control::store::FORMAT;
use crate::control::{Controller, Succession};
use crate::upgrade::elder::Heir;
use crate::upgrade::leftover::Leftover;
use crate::upgrade::request::{Asked, Outcome};

/// How long an operator's request may be on its way to whoever decides.
const LAST_ASKED: Duration = Duration::from_millis(20);
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
        let leftover = Leftover::lock(self.state, LEFTOVER_MAX).map_err(|error| {
            format!("{error}: try again when it has ended, at the latest after server.shutdown_timeout")
        })?;
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
        asked.step("it takes over");
        // Who asks from now on is answered by whoever decides then; who has asked just now, by this process. An edge of a fleet
        // goes on as it is until the new one is another.
        if self.teller.fleet.is_none() {
            self.admin.shut();
            tokio::time::sleep(LAST_ASKED).await;
        }
        let succession = self.controller.hand_over(heir, updates).await.inspect_err(|_| self.admin.open())?;
        Ok(Succeeded { succession, _leftover: leftover })
    }
}
