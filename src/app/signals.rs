//! What signals ask of the process.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::process::{self, Pid, kill_process};
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
    /// The last reload that was asked for so, and whether what the file says is in force here.
    reloading: Option<JoinHandle<bool>>,
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
                    self.reloading = Some(tokio::task::spawn_local(async move { reload.reload().await.is_ok() }));
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
        let reloading = self.reloading.take();
        reloading.iter().for_each(JoinHandle::abort);
        // One whose file was read too late for this process has ended just now, with a refusal.
        let is_in_force = reloading.is_none_or(|mut reloading| {
            let mut context = Context::from_waker(Waker::noop());
            matches!(Pin::new(&mut reloading).poll(&mut context), Poll::Ready(Ok(true)))
        });
        PassedOn {
            reload: has_come(&mut self.hangup) | !is_in_force,
            reopen: has_come(&mut self.user),
            // Both are to be taken.
            stop: has_come(&mut self.terminate) | has_come(&mut self.interrupt),
        }
    }

    /// Passes on what is for the process that has taken over, and returns when what is under way here is to be cut.
    pub(super) async fn until_cut(&mut self, logs: &Logs, heir: u32) {
        let mut is_to_end = false;
        loop {
            let passed_on = tokio::select! {
                _ = self.hangup.recv() => process::Signal::HUP,
                _ = self.upgrade.recv() => process::Signal::USR2,
                _ = self.user.recv() => {
                    // Each writes its own lines.
                    logs.reopen();
                    process::Signal::USR1
                }
                // A stop of the service is for both processes, and the one that serves waits for this one.
                _ = self.terminate.recv() => process::Signal::TERM,
                _ = self.interrupt.recv() => process::Signal::TERM,
            };
            if passed_on != process::Signal::TERM {
                pass_on(passed_on, heir);
            } else if std::mem::replace(&mut is_to_end, true) {
                return;
            } else {
                tracing::info!(
                    "told to stop: what is under way here ends first; another SIGTERM or SIGINT cuts it"
                );
            }
        }
    }
}

/// To the process that serves.
pub(super) fn pass_on(signal: process::Signal, heir: u32) {
    if let Some(process) = Pid::from_raw(heir.cast_signed()) {
        tracing::info!(pid = heir, ?signal, "passed on to the new process");
        let _ = kill_process(process, signal);
    }
}

fn has_come(signal: &mut Signal) -> bool {
    signal.poll_recv(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left where a reload has come to this.
    async fn left(reloading: JoinHandle<bool>) -> PassedOn {
        let mut signals = Signals { reloading: Some(reloading), ..Signals::new().unwrap() };
        tokio::task::yield_now().await;
        signals.take_what_is_left()
    }

    #[tokio::test]
    async fn a_reload_that_was_not_put_in_force_is_for_whoever_serves_next() {
        let reload = PassedOn { reload: true, ..PassedOn::default() };
        assert_eq!(left(tokio::spawn(std::future::pending())).await, reload, "it had not ended");
        assert_eq!(left(tokio::spawn(async { false })).await, reload, "it came too late");
        assert_eq!(left(tokio::spawn(async { true })).await, PassedOn::default());
    }
}
