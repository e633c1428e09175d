//! The old process's side, up to the moment at which the pins change hands: it starts the heir, and watches it. Whatever goes
//! wrong, the heir is ended, and nothing has happened.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::line::{self, Ear, Mouth};
use super::served::Served;
use super::{Account, Named, PROTOCOL, ToElder, ToHeir, Unsettled};

/// Between two questions whether the heir is stuck.
const PING: Duration = Duration::from_millis(250);
/// One that says nothing for so long is.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// How long the heir may take to open the store. Nobody decides meanwhile, so that one that has got stuck just then must not be
/// waited for as long as one that has much to do.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// How long it may take until it has taken up all sites, of which there may be a million.
const TAKE_OVER_MAX: Duration = Duration::from_secs(30);

/// A heir that was started. Dropped before it has taken over, it is ended.
#[derive(Debug)]
pub struct Heir {
    child: Process,
    mouth: Mouth<ToHeir>,
    ear: Ear<ToElder>,
    version: String,
    early: Vec<ToElder>,
}

impl Heir {
    /// Starts `program` with the configuration file `config`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(program: &Path, config: &Path) -> Result<Self, String> {
        let (ours, theirs) = line::pair().map_err(|error| format!("no line to the new process: {error}"))?;
        let child = Command::new(program)
            .args(["run", "--heir", "--config"])
            .arg(config)
            .stdin(Stdio::from(theirs))
            .spawn()
            .map_err(|error| format!("{} can't be started: {error}", program.display()))?;
        let child = Process(Some(child));
        let (mouth, ear) = line::talk(ours)
            .map_err(|error| format!("no thread for the line to the new process: {error}"))?;
        Ok(Self { child, mouth, ear, version: String::new(), early: Vec::new() })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.0.as_ref().map_or(0, Child::id)
    }

    /// Its version, once it is ready.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Hands over the sockets, and returns when the heir is ready to take over.
    ///
    /// # Errors
    /// Why it is not, within this time.
    pub async fn prepare(
        &mut self,
        store_format: u64,
        sockets: Vec<(Named, OwnedFd)>,
        sites: Vec<Served>,
        account: Account,
        patience: Duration,
    ) -> Result<(), String> {
        self.mouth.say(ToHeir::Hello {
            protocol: PROTOCOL,
            store_format,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        for (named, socket) in sockets {
            self.mouth.hand(ToHeir::Socket(named), socket);
        }
        Served::in_parts(sites).for_each(|part| self.mouth.say(ToHeir::Sites(part)));
        self.mouth.say(ToHeir::Prepare(account));
        match timeout(patience, self.hear()).await {
            Ok(heard) => match heard? {
                ToElder::Ready { version } => {
                    self.version = version;
                    Ok(())
                }
                other => Err(format!("it says {other:?} before it is ready")),
            },
            Err(_) => Err(format!("it was not ready after {patience:?} (server.upgrade_timeout)")),
        }
    }

    /// Watches it for so long.
    ///
    /// # Errors
    /// It has ended, or is stuck.
    pub async fn watch(&mut self, probation: Duration) -> Result<(), String> {
        let until = Instant::now() + probation;
        loop {
            self.mouth.say(ToHeir::Ping);
            match timeout(STUCK_AFTER, self.hear()).await {
                Ok(heard) => match heard? {
                    ToElder::Pong => {}
                    other => return Err(format!("it says {other:?} while it was being watched")),
                },
                Err(_) => return Err(format!("it is stuck: it has said nothing for {STUCK_AFTER:?}")),
            }
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            let pause = until.min(now + PING);
            if let Ok(heard) = timeout_at(pause, self.hear()).await {
                return Err(format!("it says {:?} while it was being watched", heard?));
            }
        }
    }

    /// Has it take over, with the pin store closed, and returns when it has.
    ///
    /// # Errors
    /// Why it has not. It has changed nothing then.
    pub async fn take_over(&mut self, unsettled: Vec<Unsettled>) -> Result<(), String> {
        for site in unsettled {
            self.mouth.say(ToHeir::Unsettled(site));
        }
        self.mouth.say(ToHeir::TakeOver);
        match timeout(OPEN_MAX, self.hear()).await {
            Ok(heard) => match heard? {
                ToElder::Opened => {}
                other => return Err(format!("it says {other:?} before it has the pin store open")),
            },
            Err(_) => return Err(format!("it is stuck: it has not opened the pin store after {OPEN_MAX:?}")),
        }
        let until = Instant::now() + TAKE_OVER_MAX;
        loop {
            match timeout_at(until, self.hear()).await {
                Ok(heard) => match heard? {
                    ToElder::Taken => return Ok(()),
                    // What it wants done, if it comes to that.
                    other => self.early.push(other),
                },
                Err(_) => return Err(format!("it has not taken over after {TAKE_OVER_MAX:?}")),
            }
        }
    }

    /// The line to a heir that has taken over, and what it has said meanwhile.
    pub fn line(mut self) -> (Mouth<ToHeir>, Ear<ToElder>, Vec<ToElder>) {
        self.child.0 = None;
        (self.mouth, self.ear, self.early)
    }

    async fn hear(&mut self) -> Result<ToElder, String> {
        match self.ear.recv().await.map(|packet| packet.message) {
            Some(ToElder::Failed(why)) => Err(why),
            Some(message) => Ok(message),
            None => Err(match self.ended().await {
                Some(status) => {
                    format!("it has ended ({status}); if it said why, that is in the log of this process")
                }
                None => "it has closed its standard input: is it a ghostpin?".to_owned(),
            }),
        }
    }

    /// What it has ended with, if it does so soon.
    async fn ended(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + STUCK_AFTER;
        loop {
            match self.child.0.as_mut()?.try_wait() {
                Ok(None) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(5)).await,
                ended => return ended.ok().flatten(),
            }
        }
    }
}

/// Ended when dropped: it has no requests, so there is nothing that it could do in good order.
#[derive(Debug)]
struct Process(Option<Child>);

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let _ = child.kill();
        // On a disk that hangs its end takes a while, and whoever decides does not wait for that.
        let _ = thread::Builder::new().name("heir-end".to_owned()).spawn(move || child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heir that is there and says this when it is to take over. What becomes of that, and how long it took.
    async fn taken_by(says: Vec<ToElder>) -> (Result<(), String>, Duration) {
        let (ours, theirs) = line::pair().unwrap();
        let (mouth, ear) = line::talk(ours).unwrap();
        let (its_mouth, _its_ear) = line::talk::<ToElder, ToHeir>(theirs).unwrap();
        let expected = says.len();
        says.into_iter().for_each(|message| its_mouth.say(message));
        while ear.len() < expected {
            std::thread::yield_now();
        }
        let mut heir = Heir { child: Process(None), mouth, ear, version: String::new(), early: Vec::new() };
        let began = Instant::now();
        (heir.take_over(Vec::new()).await, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_stuck_just_when_nobody_decides_is_not_waited_for_as_long_as_who_has_much_to_do() {
        let (result, took) = taken_by(Vec::new()).await;
        assert!(result.unwrap_err().contains("it is stuck"));
        assert!(took < OPEN_MAX + PING, "{took:?}");
        let (result, took) = taken_by(vec![ToElder::Opened]).await;
        assert!(result.unwrap_err().contains("it has not taken over"));
        assert!(took > OPEN_MAX * 2, "{took:?}");
        let (result, _) = taken_by(vec![ToElder::Opened, ToElder::Taken]).await;
        result.unwrap();
    }
}
