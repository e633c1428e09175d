//! What signals ask of the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::reload::Reload;
use crate::observe::logging::Logs;
use crate::upgrade::request::Asked;

/// Those that mean something. From the first one of these on, none ends the process by itself, and none is lost.
pub(super) struct Signals {
    hangup: Signal,
    user: Signal,
    terminate: Signal,
    interrupt: Signal,
    upgrade: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Reloads at each SIGHUP, opens logs again at each SIGUSR1, asks for an upgrade at each SIGUSR2, and returns at SIGTERM
    /// or SIGINT.
    pub(super) async fn until_stop(&mut self, reload: &Reload, logs: &Logs, upgrades: &mpsc::Sender<Asked>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return tracing::info!("stopping: SIGTERM"),
                _ = self.interrupt.recv() => return tracing::info!("stopping: SIGINT"),
                _ = self.user.recv() => logs.reopen(),
                _ = self.hangup.recv() => drop(reload.reload().await),
                _ = self.upgrade.recv() => match upgrades.try_send(Asked::by_signal()) {
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => tracing::warn!("SIGUSR2: another upgrade is under way"),
                },
            }
        }
    }

    /// Returns at SIGTERM.
    pub(super) async fn terminated(&mut self) {
        self.terminate.recv().await;
    }
}
