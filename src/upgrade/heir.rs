//! The new process's side, up to the moment at which the pins change hands.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::line::{self, Ear, Mouth};
use super::served::Served;
use super::{Account, Named, PROTOCOL, ToElder, ToHeir};
use crate::core::SiteName;
use crate::core::handoff::Found;

/// How long the elder may take to hear why there will be no heir.
const LAST_WORD_MAX: Duration = Duration::from_secs(2);

/// The process that has started this one.
#[derive(Debug)]
pub struct Elder {
    /// What is said to it.
    pub mouth: Mouth<ToElder>,
    /// What it says.
    pub ear: Ear<ToHeir>,
}

/// What it has handed over.
#[derive(Debug)]
pub struct Handed {
    /// Listening sockets.
    pub sockets: Vec<(Named, OwnedFd)>,
    /// The sites that it serves.
    pub sites: Vec<Served>,
    /// What it says of itself.
    pub account: Account,
}

/// Why there is no heir here.
#[derive(Debug, thiserror::Error)]
pub enum NoHeir {
    /// Nobody has started this process as one.
    #[error("--heir is for `ghostpin upgrade`, which starts the new process by itself: {0}")]
    NoLine(#[source] io::Error),
    /// The elder is gone.
    #[error("the process that started this one has gone")]
    ElderGone,
    /// The elder is of a version that this one can't follow.
    #[error(
        "version {version} can't hand over to this one, {}: {why}. Stop it, and start this one in its place",
        env!("CARGO_PKG_VERSION")
    )]
    Foreign {
        /// The elder's.
        version: String,
        /// What differs.
        why: String,
    },
    /// The elder says what this one doesn't expect.
    #[error("the process that started this one says {0}, which was not expected")]
    Unexpected(String),
}

impl Elder {
    /// Takes what standard input is, and puts nothing in its place.
    ///
    /// # Errors
    /// [`NoHeir::NoLine`]
    pub fn found() -> Result<Self, NoHeir> {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(NoHeir::NoLine)?;
        rustix::net::sockopt::socket_type(&stdin).map_err(|error| NoHeir::NoLine(error.into()))?;
        let nothing = File::open("/dev/null").map_err(NoHeir::NoLine)?;
        rustix::stdio::dup2_stdin(&nothing).map_err(|error| NoHeir::NoLine(error.into()))?;
        let (mouth, ear) = line::talk(stdin).map_err(NoHeir::NoLine)?;
        Ok(Self { mouth, ear })
    }

    /// Says why there will be no heir, and returns when that was heard.
    pub async fn fail(mut self, why: String) {
        self.mouth.say(ToElder::Failed(why));
        // Of an elder of another version this end may not understand what else it says, and has closed its ear.
        let _ = tokio::time::timeout(LAST_WORD_MAX, self.mouth.until_said()).await;
        // It has other things to say, and closes the line.
        while let Ok(Some(_)) = tokio::time::timeout(LAST_WORD_MAX, self.ear.recv()).await {}
    }

    /// Returns when it does no more what one process does at a time, or is gone.
    pub async fn until_rested(&mut self) {
        while let Some(packet) = self.ear.recv().await
            && packet.message != ToHeir::Rested
        {}
    }

    /// What it hands over to a process that reads stores of this format.
    ///
    /// # Errors
    /// It is another version, or gone.
    pub async fn meet(&mut self, store_format: u64) -> Result<Handed, NoHeir> {
        let (mut sockets, mut sites) = (Vec::new(), Vec::new());
        loop {
            let packet = self.ear.recv().await.ok_or(NoHeir::ElderGone)?;
            match (packet.message, packet.socket) {
                (ToHeir::Hello { protocol, version, store_format: theirs }, None) => {
                    let why = if protocol != PROTOCOL {
                        format!("it speaks protocol {protocol}, this one {PROTOCOL}")
                    } else if theirs != store_format {
                        format!("its pin store is of format {theirs}, this one reads {store_format}")
                    } else {
                        continue;
                    };
                    return Err(NoHeir::Foreign { version, why });
                }
                (ToHeir::Socket(named), Some(socket)) => sockets.push((named, socket)),
                (ToHeir::Sites(mut some), None) => sites.append(&mut some),
                (ToHeir::Prepare(account), None) => return Ok(Handed { sockets, sites, account }),
                (other, _) => return Err(NoHeir::Unexpected(format!("{other:?}"))),
            }
        }
    }

    /// Says that this process is ready, and returns when it is to take over, with what the elder has not settled.
    ///
    /// # Errors
    /// The elder is gone, or has thought better of it.
    pub async fn take_over(&mut self) -> Result<BTreeMap<SiteName, Found>, NoHeir> {
        self.mouth.say(ToElder::Ready { version: env!("CARGO_PKG_VERSION").to_owned() });
        let mut unsettled = BTreeMap::new();
        loop {
            match self.ear.recv().await.ok_or(NoHeir::ElderGone)?.message {
                ToHeir::Ping => self.mouth.say(ToElder::Pong),
                ToHeir::Unsettled(site) => {
                    unsettled.insert(SiteName::from(site.site.as_str()), site.found());
                }
                ToHeir::TakeOver => return Ok(unsettled),
                other => return Err(NoHeir::Unexpected(format!("{other:?}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a heir that reads stores of format 7 says to an elder that says this first.
    async fn refused(protocol: u32, store_format: u64) -> String {
        let (elder, heir) = line::pair().unwrap();
        let (says, _hears) = line::talk::<ToHeir, ToElder>(elder).unwrap();
        let (mouth, ear) = line::talk(heir).unwrap();
        says.say(ToHeir::Hello { protocol, store_format, version: "9.9.9".to_owned() });
        says.say(ToHeir::Ping);
        Elder { mouth, ear }.meet(7).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn who_cant_read_the_store_says_so_before_anything_is_changed() {
        assert!(refused(PROTOCOL, 7).await.contains("says Ping"), "it goes on, to what comes next");
        let said = refused(PROTOCOL, 8).await;
        assert!(said.starts_with("version 9.9.9 can't hand over to this one"), "{said}");
        assert!(said.contains("its pin store is of format 8, this one reads 7"), "{said}");
    }

    #[tokio::test]
    async fn who_speaks_another_protocol_says_so() {
        let said = refused(PROTOCOL + 1, 7).await;
        assert!(
            said.contains(&format!("it speaks protocol {}, this one {PROTOCOL}", PROTOCOL + 1)),
            "{said}"
        );
    }
}
