//! What signals ask of the process.

use std::io;
use std::task::{Context, Waker};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

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
    /// The last reload that was asked for so.
    reloading: Option<JoinHandle<()>>,
}

/// What was asked of this process, and is for the one that has taken over from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PassedOn {
    pub(super) reload: bool,
    pub(super) reopen: bool,
    pub(super) stop: bool,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
            reloading: None,
        })
    }

    /// Reloads at each SIGHUP, opens logs again at each SIGUSR1, asks for an upgrade at each SIGUSR2, and returns at SIGTERM
    /// or SIGINT.
    pub(super) async fn until_stop(&mut self, reload: &Reload, logs: &Logs, upgrades: &mpsc::Sender<Asked>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return tracing::info!("stopping: SIGTERM"),
                _ = self.interrupt.recv() => return tracing::info!("stopping: SIGINT"),
                _ = self.user.recv() => {
                    if !logs.reopen() {
                        tracing::info!("SIGUSR1: there is no log file to open again");
                    }
                }
                _ = self.hangup.recv() => {
                    // It may take a while, and who wants the process to stop doesn't wait for it.
                    let reload = reload.clone();
                    self.reloading = Some(tokio::task::spawn_local(async move { drop(reload.reload().await) }));
                }
                _ = self.upgrade.recv() => match upgrades.try_send(Asked::by_signal()) {
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => tracing::warn!("SIGUSR2: another upgrade is under way"),
                },
            }
        }
    }

    /// What has come and was not carried out. To be asked when another process serves.
    pub(super) fn take_what_is_left(&mut self) -> PassedOn {
        let reloading = self.reloading.take().filter(|reloading| !reloading.is_finished());
        reloading.iter().for_each(JoinHandle::abort);
        PassedOn {
            reload: has_come(&mut self.hangup) | reloading.is_some(),
            reopen: has_come(&mut self.user),
            // Both are to be taken.
            stop: has_come(&mut self.terminate) | has_come(&mut self.interrupt),
        }
    }

    /// Returns at SIGTERM.
    pub(super) async fn terminated(&mut self) {
        self.terminate.recv().await;
    }
}

fn has_come(signal: &mut Signal) -> bool {
    signal.poll_recv(&mut Context::from_waker(Waker::noop())).is_ready()
}
