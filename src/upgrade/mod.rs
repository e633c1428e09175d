//! How one process takes over from another: what the old one (the *elder*) and the new one (the *heir*) say to each other.
//!
//! The elder starts the heir with one end of a socket pair as its standard input. Over it go the listening sockets, and
//! messages of JSON, one a packet. Whoever sees the other's end close knows that it is dead. docs/decisions/0010-upgrades.md
//! says why it is like that; what each side does with the messages is in [`elder`], [`heir`], and, once pins change hands, in
//! the control plane.

pub mod elder;
pub mod heir;
pub mod leftover;
pub mod line;
pub mod program;
pub mod request;
pub mod served;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::control::store::FolderId;
use crate::core::handoff::Found;
use crate::core::{Backend, Epoch, Pin, SiteName};
use crate::gate::Tally;
use served::{OfGuard, Served};

/// What the messages mean. A heir of another one is not taken.
pub const PROTOCOL: u32 = 2;

/// What the elder says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHeir {
    /// The first thing.
    Hello {
        /// See [`PROTOCOL`].
        protocol: u32,
        /// What the elder's pin store is written like.
        store_format: u64,
        /// The elder's version, for people.
        version: String,
    },
    /// A listening socket comes with it.
    Socket(Named),
    /// Some of the sites that it serves.
    Sites(Vec<Served>),
    /// That was all, and this is what the heir has to stand up to.
    Prepare(Account),
    /// Wants a [`ToElder::Pong`].
    Ping,
    /// A site that is not just served: with requests that wait, or that have yet to end.
    Unsettled(Unsettled),
    /// The pin store is closed, and all else was said: the heir decides from now on.
    TakeOver,
    /// After [`ToElder::Shut`] of this generation, no request of the elder's is left at the site.
    Left {
        /// Which site.
        site: String,
        /// As it was told.
        generation: u64,
    },
    /// A request of the elder's found that the backend of this epoch refuses connections: its gate is shut.
    Suspected {
        /// Which site.
        site: String,
        /// The epoch.
        epoch: u64,
    },
    /// Something went wrong with the backend of this epoch.
    Doubted {
        /// Which site.
        site: String,
        /// The epoch.
        epoch: u64,
    },
    /// The elder's held requests of a site were let go.
    Emptied {
        /// Which site.
        site: String,
        /// What became of them.
        tally: Tally,
    },
    /// Answers [`ToElder::Count`].
    Counts {
        /// As it was asked.
        id: u64,
        /// Requests that it holds.
        held: usize,
        /// Requests that are with the backend.
        in_flight: u32,
    },
    /// What one process does at a time (ordering certificates, watching a swarm) the elder does no more.
    Rested,
}

/// What the heir says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToElder {
    /// It can take over.
    Ready {
        /// Its version, for people.
        version: String,
    },
    /// It can't, and ends.
    Failed(String),
    /// It is not stuck.
    Pong,
    /// It has the pin store open, and takes all sites up.
    Opened,
    /// It has the pins, and accepts connections.
    Taken,
    /// Let nobody in any more, and say [`ToHeir::Left`].
    Shut {
        /// Which site.
        site: String,
        /// Goes back.
        generation: u64,
    },
    /// End the requests that are still there.
    Cut {
        /// Which site.
        site: String,
    },
    /// Let those who wait go, under this pin.
    Open {
        /// Which site.
        site: String,
        /// The pin's epoch
        epoch: u64,
        /// and its backend.
        backend: String,
    },
    /// It is not configured any more: tell those who wait for it.
    Gone {
        /// Which site.
        site: String,
    },
    /// Somebody asks for a site: what is left of it here? Wants [`ToHeir::Counts`].
    Count {
        /// Which site.
        site: String,
        /// Goes back.
        id: u64,
    },
}

impl ToElder {
    /// [`Self::Open`] under this pin.
    pub fn open(site: &SiteName, pin: &Pin) -> Self {
        Self::Open { site: site.to_string(), epoch: pin.epoch.0, backend: pin.backend.to_string() }
    }
}

/// The pin that was said; `None` if its backend is none to this version.
pub fn pin(epoch: u64, backend: &str) -> Option<Pin> {
    Some(Pin { epoch: Epoch(epoch), backend: backend.parse().ok()? })
}

/// The elder's word of itself, which the heir compares itself with before it says that it is ready.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Where its pins are.
    pub store: OfStore,
    /// Sites that are well, as far as it can tell, and where their backends are: the heir looks whether it can reach them. A few
    /// will do.
    pub well: Vec<(String, String)>,
    /// Hosts for which it has a certificate: the heir looks whether it has one for each. A few will do.
    pub shown: Vec<Shown>,
    /// What may be changed without anybody's word.
    pub guard: OfGuard,
    /// The fleet that it is one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<OfFleet>,
}

/// A pin store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfStore {
    /// `server.state`, for people.
    pub state: String,
    /// Which folder that is.
    pub folder: FolderId,
}

/// A host for which the elder has a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// It.
    pub host: String,
    /// Its site comes from a provider, and so may the heir's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provided: bool,
}

/// What an edge of a fleet hands on. All else the heir has by itself: it is another edge, with a lease of its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfFleet {
    /// `cluster.prefix`: in another fleet, the same sites may have other pins.
    pub prefix: String,
    /// What other edges say where this one takes requests for them. They come to the same socket, whoever accepts there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for OfFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfFleet").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What a socket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Which list of addresses it is in.
    pub door: Door,
    /// The address as it is configured. Where any port would do, it has become another one.
    pub configured: String,
}

/// A list of addresses that are listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// `listen.http`
    Http,
    /// `listen.https`
    Https,
    /// `cluster.detour`
    Edges,
    /// `admin.listen`
    Admin,
    /// Where [`request`]s come in.
    Requests,
}

/// A site that the heir has to settle.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// Its name.
    pub site: String,
    /// Its pin may stay where it is, if probes of the backend say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays: bool,
    /// An operator holds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// Where its pin was to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who was started for that, without having got the pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
}

impl Unsettled {
    /// A site that its elder has not just served; `None` if it did.
    pub fn of(site: &SiteName, found: Found) -> Option<Self> {
        let site = site.to_string();
        let text = |backend: Option<Backend>| backend.map(|backend| backend.to_string());
        match found {
            Found::Serving => None,
            Found::Shut => Some(Self { site, stays: true, ..Self::default() }),
            Found::Fenced { to, hold, started } => {
                Some(Self { site, hold, to: text(to), started: text(started), ..Self::default() })
            }
        }
    }

    /// How the heir finds it.
    pub fn found(&self) -> Found {
        let backend = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        match self.stays {
            true => Found::Shut,
            false => {
                Found::Fenced { to: backend(&self.to), hold: self.hold, started: backend(&self.started) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_heir_finds_a_site_as_its_elder_has_left_it() {
        let backend = |text: &str| text.parse::<Backend>().ok();
        let fenced = |to, hold, started| Found::Fenced { to, hold, started };
        for found in [
            Found::Shut,
            fenced(None, false, None),
            fenced(backend("127.0.0.1:1"), false, None),
            fenced(None, true, backend("unix:/run/blog.sock")),
        ] {
            let said = Unsettled::of(&SiteName::from("blog"), found.clone()).unwrap();
            let heard: Unsettled = serde_json::from_str(&serde_json::to_string(&said).unwrap()).unwrap();
            assert_eq!(heard.found(), found);
        }
        assert_eq!(Unsettled::of(&SiteName::from("blog"), Found::Serving), None);
    }
}
