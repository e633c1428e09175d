//! ghostpin as the first process of a container: it starts the one that serves, and stays when another one takes over from
//! that. It passes signals on, buries the dead, and ends when the process that serves does.

use std::collections::HashMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait,
};
use tokio::net::UnixDatagram;
use tokio::signal::unix::{SignalKind, signal};

use crate::notify::{MAIN_PID, SOCKET};
use crate::upgrade::program::own_program;

/// In the environment of the process that is supervised.
const SUPERVISED: &str = "GHOSTPIN_SUPERVISED";
/// What is told fits in.
const BYTES_MAX: usize = 1_024;
/// What has ended is told of by a signal; that one is lost is not to matter for longer than this.
const LOOK: Duration = Duration::from_secs(1);
/// Orphans that are remembered: only a new process of an upgrade that dies at once is one that matters.
const ENDED_MAX: usize = 1_000;

/// Whether this process is the first one, and nobody else starts it again.
pub fn is_wanted() -> bool {
    getpid().as_raw_nonzero().get() == 1 && std::env::var_os(SUPERVISED).is_none()
}

/// Starts this program again, with the same arguments, and supervises it. Returns what the process that serves has ended
/// with.
///
/// # Errors
/// It can't be started, or not be looked after.
pub fn run() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The new process of an upgrade is the old one's child, and ours as soon as that has ended.
        set_child_subreaper(Some(getpid())).context("becoming the one who waits for orphans")?;
        let name = format!("ghostpin-supervisor-{}", getpid().as_raw_nonzero());
        let address = SocketAddr::from_abstract_name(&name)?;
        let heard = std::os::unix::net::UnixDatagram::bind_addr(&address).context("listening for MAINPID")?;
        heard.set_nonblocking(true)?;
        let heard = UnixDatagram::from_std(heard)?;
        let child = Command::new(own_program())
            .args(std::env::args_os().skip(1).filter(|argument| argument != "--supervise"))
            .env(SOCKET, format!("@{name}"))
            .env(SUPERVISED, "1")
            .spawn()
            .context("starting the process that serves")?;
        let main = Pid::from_raw(child.id().cast_signed()).context("a process has a number")?;
        Supervisor { main, ended: HashMap::new() }.run(heard).await
    })
}

struct Supervisor {
    main: Pid,
    /// Processes that have ended although nobody has said yet that they serve: word of that may be on its way.
    ended: HashMap<Pid, WaitStatus>,
}

impl Supervisor {
    async fn run(mut self, heard: UnixDatagram) -> Result<ExitCode> {
        let mut signals = Signals::new()?;
        let mut child = signal(SignalKind::child())?;
        let mut text = [0; BYTES_MAX];
        loop {
            tokio::select! {
                biased;
                length = heard.recv(&mut text) => {
                    let said = String::from_utf8_lossy(&text[..length?]).into_owned();
                    let named = said.lines().find_map(|line| line.strip_prefix(MAIN_PID)?.parse().ok());
                    if let Some(main) = named.and_then(Pid::from_raw) {
                        self.main = main;
                        self.ended.retain(|pid, _| *pid == main);
                    }
                }
                signal = signals.next() => {
                    // One that has just ended is buried below.
                    let _ = kill_process(self.main, signal);
                }
                _ = child.recv() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.bury()?;
            if let Some(status) = self.ended.get(&self.main) {
                return Ok(code(status));
            }
        }
    }

    /// Takes in what has ended.
    fn bury(&mut self) -> io::Result<()> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main || self.ended.len() < ENDED_MAX => {
                    self.ended.insert(pid, status);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Like a shell: what it has returned, or 128 and the signal that has ended it.
fn code(status: &WaitStatus) -> ExitCode {
    let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Those that mean something to the process that serves.
struct Signals([(tokio::signal::unix::Signal, Signal); 5]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self([
            (signal(SignalKind::terminate())?, Signal::TERM),
            (signal(SignalKind::interrupt())?, Signal::INT),
            (signal(SignalKind::hangup())?, Signal::HUP),
            (signal(SignalKind::user_defined1())?, Signal::USR1),
            (signal(SignalKind::user_defined2())?, Signal::USR2),
        ]))
    }

    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            for (received, signal) in &mut self.0 {
                if received.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*signal);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
