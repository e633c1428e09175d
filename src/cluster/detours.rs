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

/// Says what this edge offers, and hands on what others do, for as long as the lease lives.
pub async fn offer(store: &Store, lease: LeaseId, own: &Detour, tell: &Tell) {
    let Detour { edge, address, token } = own;
    let value = DetourValue { name: edge.clone(), address: *address, token: token.expose().to_owned() };
    let (own, value) = (lease.to_string(), values::to_bytes(&value));
    store.put_until_answered("offering a detour", &format!("{DETOURS}{own}"), value, lease).await;
    loop {
        let (revision, [found]) = store.list([DETOURS]).await;
        let of = |bytes: &[u8]| Some(detour(values::from_bytes(bytes)?));
        let others = found.into_iter().filter(|stored| stored.name != own);
        let mut others: BTreeMap<String, Arc<Detour>> =
            others.filter_map(|stored| Some((stored.name, of(&stored.value)?))).collect();
        tell(News::Detours(others.values().cloned().collect()));
        let mut next = Revision(revision.0 + 1);
        follow(store, DETOURS, &mut next, |_, answer| {
            for event in answer.events() {
                let Some((key, stored)) = event.kv().and_then(|kv| store.stored(kv)) else { continue };
                let by = key.trim_start_matches(DETOURS).to_owned();
                match (event.event_type(), of(&stored.value)) {
                    (EventType::Put, Some(detour)) if by != own => drop(others.insert(by, detour)),
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
