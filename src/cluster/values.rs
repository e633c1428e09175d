//! What stands in the store, as text: JSON, so that an operator can read it with etcd's own tools.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::Stored;
use crate::broken::{Rule, breaks};
use crate::control::fleet::Seen;
use crate::control::{Wanted, WishError};
use crate::core::fleet::ledger::EdgeSays;
use crate::core::fleet::{Fence, LeaseId, Record, RecordPhase, Revision};
use crate::core::handoff::Refused;
use crate::core::{Backend, Epoch, Pin, SiteName};

/// `sites/NAME`
#[derive(Debug, Serialize, Deserialize)]
struct RecordValue {
    epoch: u64,
    backend: String,
    phase: PhaseValue,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    hold: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PhaseValue {
    Serve,
    Fence,
    Gone,
}

/// `edges/LEASE`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeValue {
    /// What the edge is called.
    pub name: String,
    /// Its version, for people; older ones don't say.
    #[serde(default)]
    pub version: String,
    /// Everything up to this revision is applied,
    pub watermark: u64,
    /// but for these sites.
    pub pending: Vec<String>,
}

/// `wishes/ID`
#[derive(Debug, Serialize, Deserialize)]
pub struct WishValue {
    /// The site.
    pub site: String,
    /// `handoff`, `hold` or `release`.
    pub wish: String,
    /// Where to, in a handoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who wishes it.
    pub by: String,
}

/// `answers/ID`
#[derive(Debug, Serialize, Deserialize)]
struct AnswerValue {
    /// The pin that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<(u64, String)>,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// As it is written.
pub fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("values are plain structs")
}

/// `None` for what this version doesn't understand.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// A site's record as it is written.
pub fn record_bytes(record: &Record) -> Vec<u8> {
    let (phase, fence) = match &record.phase {
        RecordPhase::Serve => (PhaseValue::Serve, Fence::default()),
        RecordPhase::Fence(fence) => (PhaseValue::Fence, fence.clone()),
        RecordPhase::Gone => (PhaseValue::Gone, Fence::default()),
    };
    to_bytes(&RecordValue {
        epoch: record.pin.epoch.0,
        backend: record.pin.backend.to_string(),
        phase,
        cut: fence.cut,
        to: fence.to.map(|to| to.to_string()),
        hold: fence.hold,
    })
}

/// A site's record as it was read. What can't be understood is said aloud: the site is then as if nothing stood there.
pub fn record(stored: &Stored) -> Option<(SiteName, Record, Revision)> {
    let read = || {
        let value: RecordValue = from_bytes(&stored.value)?;
        let phase = match value.phase {
            PhaseValue::Serve => RecordPhase::Serve,
            PhaseValue::Gone => RecordPhase::Gone,
            PhaseValue::Fence => {
                let to = value.to.and_then(|to| to.parse().ok());
                RecordPhase::Fence(Fence { cut: value.cut, to, hold: value.hold })
            }
        };
        let pin = Pin { epoch: Epoch(value.epoch), backend: value.backend.parse().ok()? };
        Some(Record { pin, phase })
    };
    match read() {
        Some(record) => Some((SiteName::from(stored.name.as_str()), record, stored.at)),
        None => {
            let value = String::from_utf8_lossy(&stored.value);
            tracing::error!(site = stored.name, %value, "this record of the fleet's store can't be understood");
            None
        }
    }
}

/// An edge's key as it was read.
pub fn edge(stored: &Stored) -> Option<(LeaseId, EdgeSays)> {
    let lease = lease(&stored.name)?;
    // An edge that can't be understood is there all the same, and has applied nothing that is known of.
    let value: Option<EdgeValue> = from_bytes(&stored.value);
    let says =
        value.map_or(EdgeSays { watermark: Revision(0), pending: BTreeSet::new() }, |value| EdgeSays {
            watermark: match breaks(Rule::IgnoresWatermarks) {
                true => Revision(u64::MAX),
                false => Revision(value.watermark),
            },
            pending: value.pending.iter().map(|site| SiteName::from(site.as_str())).collect(),
        });
    Some((lease, says))
}

/// A lease by its name in a key.
pub fn lease(name: &str) -> Option<LeaseId> {
    i64::from_str_radix(name, 16).ok().map(LeaseId)
}

/// `seen/LEASE`
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SeenValue {
    /// Sites whose backends refuse connections, and the epoch of each.
    suspects: BTreeMap<String, u64>,
    /// Backends that it was asked about, and whether it reaches them.
    reached: BTreeMap<String, (String, bool)>,
    /// Pins that are newer than what the store says.
    knows: BTreeMap<String, (u64, String)>,
}

/// What an edge sees, as it is written.
pub fn seen_bytes(seen: &Seen) -> Vec<u8> {
    let suspects = seen.suspicions.iter().map(|(site, epoch)| (site.to_string(), epoch.0));
    let reached =
        seen.reached.iter().map(|(site, (backend, well))| (site.to_string(), (backend.to_string(), *well)));
    let knows =
        seen.knows.iter().map(|(site, pin)| (site.to_string(), (pin.epoch.0, pin.backend.to_string())));
    to_bytes(&SeenValue { suspects: suspects.collect(), reached: reached.collect(), knows: knows.collect() })
}

/// What an edge sees, as it was read.
pub fn seen(bytes: &[u8]) -> Seen {
    let value: SeenValue = from_bytes(bytes).unwrap_or_default();
    let site = |name: String| SiteName::from(name.as_str());
    let suspicions = value.suspects.into_iter().map(|(name, epoch)| (site(name), Epoch(epoch)));
    let reached = value
        .reached
        .into_iter()
        .filter_map(|(name, (backend, well))| Some((site(name), (backend.parse().ok()?, well))));
    let knows = value.knows.into_iter().filter_map(|(name, (epoch, backend))| {
        Some((site(name), Pin { epoch: Epoch(epoch), backend: backend.parse().ok()? }))
    });
    Seen { suspicions: suspicions.collect(), reached: reached.collect(), knows: knows.collect() }
}

/// What the controller asks, as it is written.
pub fn asked_bytes(asked: &BTreeMap<SiteName, Backend>) -> Vec<u8> {
    let asked: BTreeMap<&str, String> =
        asked.iter().map(|(site, backend)| (site.as_str(), backend.to_string())).collect();
    to_bytes(&asked)
}

/// What the controller asks, as it was read.
pub fn asked(bytes: &[u8]) -> BTreeMap<SiteName, Backend> {
    let asked: BTreeMap<String, String> = from_bytes(bytes).unwrap_or_default();
    asked
        .into_iter()
        .filter_map(|(site, backend)| Some((SiteName::from(site.as_str()), backend.parse().ok()?)))
        .collect()
}

/// Who has stood for election longest, and has won it.
pub fn oldest(standing: &[Stored]) -> Option<&Stored> {
    standing.iter().min_by_key(|stored| stored.at)
}

impl WishValue {
    /// As it is written.
    pub fn new(site: &SiteName, wish: &Wanted, by: String) -> Self {
        let (word, to) = match wish {
            Wanted::Handoff(to) => ("handoff", Some(to.clone())),
            Wanted::Hold => ("hold", None),
            Wanted::Release => ("release", None),
        };
        Self { site: site.to_string(), wish: word.to_owned(), to, by }
    }

    /// As it was read.
    pub fn wanted(&self) -> Option<Wanted> {
        match (self.wish.as_str(), &self.to) {
            ("handoff", Some(to)) => Some(Wanted::Handoff(to.clone())),
            ("hold", _) => Some(Wanted::Hold),
            ("release", _) => Some(Wanted::Release),
            _ => None,
        }
    }
}

const REFUSED: [Refused; 10] = [
    Refused::NoCandidate,
    Refused::AlreadyThere,
    Refused::NotWell,
    Refused::Warm,
    Refused::Busy,
    Refused::NotHeld,
    Refused::FenceFailed,
    Refused::NotProved,
    Refused::NobodyProved,
    Refused::Retired,
];

/// An answer as it is written.
pub fn answer_bytes(result: &Result<Option<Pin>, WishError>) -> Vec<u8> {
    to_bytes(&match result {
        Ok(pin) => {
            AnswerValue { pin: pin.as_ref().map(|pin| (pin.epoch.0, pin.backend.to_string())), error: None }
        }
        Err(error) => AnswerValue {
            pin: None,
            error: Some(match error {
                WishError::Refused(refused) => format!("{refused:?}"),
                WishError::NoSite(_) => "NoSite".to_owned(),
                WishError::NewController
                | WishError::NoController
                | WishError::Stopping
                | WishError::Succeeded => "NewController".to_owned(),
            }),
        },
    })
}

/// An answer as it was read.
pub fn answer(bytes: &[u8], site: &SiteName) -> Result<Option<Pin>, WishError> {
    let Some(value) = from_bytes::<AnswerValue>(bytes) else { return Err(WishError::NewController) };
    match value.error.as_deref() {
        Some("NoSite") => Err(WishError::NoSite(site.clone())),
        Some(word) => {
            let refused = REFUSED.iter().find(|refused| format!("{refused:?}") == word);
            Err(refused.map_or(WishError::NewController, |refused| WishError::Refused(*refused)))
        }
        None => Ok(value
            .pin
            .and_then(|(epoch, backend)| Some(Pin { epoch: Epoch(epoch), backend: backend.parse().ok()? }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: Vec<u8>) -> Stored {
        Stored { name: "blog".to_owned(), value, at: Revision(7) }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let pin = Pin { epoch: Epoch(3), backend: "ghost-a:2368@10.0.0.5:2368".parse().unwrap() };
        let fence = Fence { cut: true, to: Some("10.0.0.6:2368".parse().unwrap()), hold: true };
        for phase in [RecordPhase::Serve, RecordPhase::Fence(fence), RecordPhase::Gone] {
            let written = Record { pin: pin.clone(), phase };
            let read = record(&stored(record_bytes(&written)));
            assert_eq!(read, Some(("blog".into(), written, Revision(7))));
        }
    }

    #[test]
    fn what_can_not_be_understood_is_no_record() {
        for text in ["", "{}", r#"{"epoch":1,"backend":"nowhere","phase":"serve"}"#] {
            assert_eq!(record(&stored(text.into())), None);
        }
    }

    #[test]
    fn what_is_seen_and_what_is_asked_is_read_as_it_was_written() {
        let (blog, backend): (SiteName, Backend) = ("blog".into(), "10.0.0.5:2368".parse().unwrap());
        let written = Seen {
            suspicions: [(blog.clone(), Epoch(3))].into(),
            reached: [(blog.clone(), (backend.clone(), false))].into(),
            knows: [(blog.clone(), Pin { epoch: Epoch(4), backend: backend.clone() })].into(),
        };
        assert_eq!(seen(&seen_bytes(&written)), written);
        let written = BTreeMap::from([(blog, backend)]);
        assert_eq!(asked(&asked_bytes(&written)), written);
    }

    #[test]
    fn an_edge_that_can_not_be_understood_is_waited_for() {
        let key = Stored { name: "1f".to_owned(), value: b"?".to_vec(), at: Revision(1) };
        let says = EdgeSays { watermark: Revision(0), pending: BTreeSet::new() };
        assert_eq!(edge(&key), Some((LeaseId(31), says)));
    }

    #[test]
    fn every_refusal_comes_back_as_itself() {
        let blog = SiteName::from("blog");
        for refused in REFUSED {
            let read = answer(&answer_bytes(&Err(refused.into())), &blog);
            assert!(matches!(read, Err(WishError::Refused(back)) if back == refused));
        }
        let pin = Some(Pin { epoch: Epoch(3), backend: "10.0.0.6:2368".parse().unwrap() });
        assert_eq!(answer(&answer_bytes(&Ok(pin.clone())), &blog).unwrap(), pin);
    }
}
