//! Which edge has tried which sites: each edge hears what a canary says.

use std::collections::BTreeMap;

use etcd_client::EventType;
use serde::{Deserialize, Serialize};

use super::edge::follow;
use super::store::Store;
use super::{News, Tell, values};
use crate::core::canary::{Fingerprint, Says, Standing};
use crate::core::fleet::Revision;

const CANARY: &str = "canary/";

/// `canary/LEASE`
#[derive(Debug, Serialize, Deserialize)]
struct CanaryValue {
    /// What the edge is called.
    name: String,
    /// Of the sites that it has in force, in hexadecimal digits.
    fingerprint: String,
    /// What it thinks of them.
    says: StandingValue,
    /// Why, if that is bad.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StandingValue {
    Trying,
    Good,
    Bad,
}

/// What a canary says, as it is written; nothing if it says nothing any more.
pub fn to_bytes(says: Option<&Says>) -> Vec<u8> {
    let Some(Says { edge, fingerprint, standing, why }) = says else { return Vec::new() };
    values::to_bytes(&CanaryValue {
        name: edge.clone(),
        fingerprint: fingerprint.to_string(),
        says: match standing {
            Standing::Trying => StandingValue::Trying,
            Standing::Good => StandingValue::Good,
            Standing::Bad => StandingValue::Bad,
        },
        why: why.clone(),
    })
}

/// The same as it was read.
fn from_bytes(bytes: &[u8]) -> Option<Says> {
    let CanaryValue { name, fingerprint, says, why } = values::from_bytes(bytes)?;
    let standing = match says {
        StandingValue::Trying => Standing::Trying,
        StandingValue::Good => Standing::Good,
        StandingValue::Bad => Standing::Bad,
    };
    Some(Says { edge: name, fingerprint: Fingerprint::read(&fingerprint)?, standing, why })
}

/// Hands on what canaries say, for as long as the lease of this edge lives.
pub async fn hear(store: &Store, tell: &Tell) {
    loop {
        let (revision, [found]) = store.list([CANARY]).await;
        let mut says: BTreeMap<String, Says> =
            found.into_iter().filter_map(|stored| Some((stored.name, from_bytes(&stored.value)?))).collect();
        tell(News::Canaries(says.values().cloned().collect()));
        let mut next = Revision(revision.0 + 1);
        follow(store, CANARY, &mut next, |_, answer| {
            for event in answer.events() {
                let Some((key, stored)) = event.kv().and_then(|kv| store.stored(kv)) else { continue };
                let by = key.trim_start_matches(CANARY).to_owned();
                match (event.event_type(), from_bytes(&stored.value)) {
                    (EventType::Put, Some(one)) => drop(says.insert(by, one)),
                    (EventType::Put, None) | (EventType::Delete, _) => drop(says.remove(&by)),
                }
            }
            tell(News::Canaries(says.values().cloned().collect()));
            true
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_canary_says_is_read_as_it_was_written() {
        for standing in [Standing::Trying, Standing::Good, Standing::Bad] {
            let why = if standing == Standing::Bad { "it is not" } else { "" };
            let written = Says {
                edge: "edge-1".to_owned(),
                fingerprint: Fingerprint(0xfedc_ba98_7654_3210),
                standing,
                why: why.to_owned(),
            };
            assert_eq!(from_bytes(&to_bytes(Some(&written))), Some(written));
        }
        assert_eq!(from_bytes(&to_bytes(None)), None);
    }

    #[test]
    fn what_can_not_be_understood_is_said_by_nobody() {
        for text in [
            "",
            "{}",
            r#"{"name":"a","fingerprint":"z","says":"good"}"#,
            r#"{"name":"a","fingerprint":"1","says":"fine"}"#,
        ] {
            assert_eq!(from_bytes(text.as_bytes()), None, "{text}");
        }
    }
}
