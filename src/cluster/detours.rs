//! Who takes requests for edges that can't reach a backend: each edge says where, and hears of the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use etcd_client::EventType;
use serde::{Deserialize, Serialize};

use super::edge::follow;
use super::store::Store;
use super::{News, Tell, values};
use crate::config::Secret;
use crate::core::fleet::{LeaseId, Revision};
use crate::detour::Detour;

const DETOURS: &str = "detours/";

/// `detours/LEASE`
#[derive(Debug, Serialize, Deserialize)]
struct DetourValue {
    /// What the edge is called.
    name: String,
    /// Where it takes them.
    address: SocketAddr,
    /// What is to be said there.
    token: String,
}

/// Says what this edge offers, and hands on what others do, for as long as the lease lives. A process that is about to take
/// this one's place, or has left it, offers the same.
pub async fn offer(store: &Store, lease: LeaseId, own: &Detour, tell: &Tell) {
    let Detour { edge, address, token } = own;
    let value = DetourValue { name: edge.clone(), address: *address, token: token.expose().to_owned() };
    let is_ours = |detour: &Detour| detour == own;
    let (key, value) = (format!("{DETOURS}{lease}"), values::to_bytes(&value));
    store.put_until_answered("offering a detour", &key, value, lease).await;
    loop {
        let (revision, [found]) = store.list([DETOURS]).await;
        let of = |bytes: &[u8]| Some(detour(values::from_bytes(bytes)?));
        let found = found.into_iter().filter_map(|stored| Some((stored.name, of(&stored.value)?)));
        let mut others: BTreeMap<String, Arc<Detour>> =
            found.filter(|(_, detour)| !is_ours(detour)).collect();
        tell(News::Detours(others.values().cloned().collect()));
        let mut next = Revision(revision.0 + 1);
        follow(store, DETOURS, &mut next, |_, answer| {
            for event in answer.events() {
                let Some((key, stored)) = event.kv().and_then(|kv| store.stored(kv)) else { continue };
                let by = key.trim_start_matches(DETOURS).to_owned();
                match (event.event_type(), of(&stored.value)) {
                    (EventType::Put, Some(detour)) if !is_ours(&detour) => drop(others.insert(by, detour)),
                    (EventType::Put, _) => {}
                    (EventType::Delete, _) => drop(others.remove(&by)),
                }
            }
            tell(News::Detours(others.values().cloned().collect()));
            true
        })
        .await;
    }
}

fn detour(value: DetourValue) -> Arc<Detour> {
    let DetourValue { name, address, token } = value;
    Arc::new(Detour { edge: name, address, token: Secret::new(token) })
}
