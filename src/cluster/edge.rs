//! What an edge does with the store for itself: its key, the list, the watch.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{EventType, WatchResponse};
use tokio::sync::watch;
use tokio::time::sleep;

use super::store::{Put, Store, StoreError};
use super::values::{self, EdgeValue};
use super::{News, Tell};
use crate::broken::{Rule, breaks};
use crate::control::fleet::{EdgeView, FleetView};
use crate::core::fleet::edge::Input;
use crate::core::fleet::{LeaseId, RecordPhase, Revision};
use crate::core::{Backend, SiteName};

const SITES: &str = "sites/";
/// Wait before a watch that broke is taken up again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The key of a life: since when it stands as it does.
#[derive(Debug, Default)]
pub struct Key(Cell<Revision>);

fn key_of(store: &Store, lease: LeaseId) -> String {
    if breaks(Rule::ReusesTheKey) {
        let name = store.config().name.bytes();
        let number = name.fold(1_u32, |number, byte| number.wrapping_mul(31).wrapping_add(byte.into()));
        return format!("edges/{number:x}");
    }
    format!("edges/{lease}")
}

/// Writes the key, with watermark 0.
pub async fn register(store: &Store, lease: LeaseId, key: &Key, tell: &Tell) {
    let value = value(store, Revision(0), Vec::new());
    if !breaks(Rule::ListsFirst) {
        put(store, lease, key, &value).await;
    }
    tell(News::Edge(Input::Registered { lease }));
}

/// Writes the watermark and what is pending.
pub async fn tell(
    store: &Store,
    lease: LeaseId,
    key: &Key,
    watermark: Revision,
    pending: &[SiteName],
    tell: &Tell,
) {
    let told = if breaks(Rule::TellsNoPending) { &[] } else { pending };
    let pending = told.iter().map(SiteName::to_string).collect();
    put(store, lease, key, &value(store, watermark, pending)).await;
    tell(News::Edge(Input::Told { lease }));
}

fn value(store: &Store, watermark: Revision, pending: Vec<String>) -> EdgeValue {
    let (name, version) = (store.config().name.clone(), env!("CARGO_PKG_VERSION").to_owned());
    EdgeValue { name, version, watermark: watermark.0, pending }
}

/// Writes the key until it stands. A write that was given up may still come to pass: the guard keeps it from undoing a
/// later one.
async fn put(store: &Store, lease: LeaseId, key: &Key, value: &EdgeValue) {
    let (value, mut asking) = (values::to_bytes(value), store.asking("writing the edge's key"));
    loop {
        let put =
            Put { key: key_of(store, lease), value: value.clone(), guard: key.0.get(), lease: Some(lease) };
        match store.write(&[put], None).await {
            Ok(Some(at)) => {
                asking.went();
                return key.0.set(at);
            }
            Ok(None) => asking.went(),
            Err(error) => {
                tracing::debug!(%error, "the edge's key could not be written, and is looked at");
                asking.failed(&error);
            }
        }
        match store.read(&key_of(store, lease)).await {
            Some(stored) if stored.value == value => {
                asking.went();
                return key.0.set(stored.at);
            }
            Some(stored) => key.0.set(stored.at),
            // The lease is over, or was never begun; whoever keeps it alive will hear of it.
            None => key.0.set(Revision(0)),
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Keeps a key as it is to be, one write after the other, for as long as the lease lives.
pub async fn keep_told(store: &Store, key: &str, lease: LeaseId, mut value: watch::Receiver<Vec<u8>>) {
    while value.changed().await.is_ok() {
        let now = value.borrow_and_update().clone();
        store.put_until_answered("writing what is seen", key, now, lease).await;
    }
}

/// Hands on what the controller asks. For a while there may be two who believe that they are: both are answered.
pub async fn hear_what_is_asked(store: &Store, tell: &Tell) {
    loop {
        let (revision, [found]) = store.list(["asks/"]).await;
        let mut asked: BTreeMap<String, BTreeMap<SiteName, Backend>> =
            found.into_iter().map(|stored| (stored.name, values::asked(&stored.value))).collect();
        let tell_all = |asked: &BTreeMap<String, BTreeMap<SiteName, Backend>>| {
            tell(News::Asked(
                asked.values().flatten().map(|(site, about)| (site.clone(), about.clone())).collect(),
            ));
        };
        tell_all(&asked);
        let mut next = Revision(revision.0 + 1);
        follow(store, "asks/", &mut next, |_, answer| {
            for event in answer.events() {
                let Some((key, stored)) = event.kv().and_then(|kv| store.stored(kv)) else { continue };
                let by = key.trim_start_matches("asks/").to_owned();
                match event.event_type() {
                    EventType::Put => drop(asked.insert(by, values::asked(&stored.value))),
                    EventType::Delete => drop(asked.remove(&by)),
                }
            }
            tell_all(&asked);
            true
        })
        .await;
    }
}

/// Reads all sites.
pub async fn list(store: &Store, lease: LeaseId, tell: &Tell) {
    let (revision, [found]) = store.list([SITES]).await;
    let sites = found
        .into_iter()
        .filter_map(|stored| values::record(&stored))
        .map(|(site, record, _)| (site, record));
    tell(News::Edge(Input::Listed { lease, revision, sites: sites.collect() }));
}

/// Watches all sites, over as many streams as it takes; returns when the place in the order was lost.
pub async fn watch(store: &Store, lease: LeaseId, from: Revision, tell: &Tell) {
    let mut next = from;
    follow(store, SITES, &mut next, |revision, answer| {
        let sites = answer.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            let (rest, stored) = store.stored(kv)?;
            let name = rest.strip_prefix(SITES)?;
            Some(match event.event_type() {
                EventType::Put => {
                    let (site, record, _) =
                        values::record(&super::store::Stored { name: name.to_owned(), ..stored })?;
                    (site, Some(record))
                }
                EventType::Delete => (SiteName::from(name), None),
            })
        });
        tell(News::Edge(Input::Changed { lease, revision, sites: sites.collect() }));
        true
    })
    .await;
    tell(News::Edge(Input::WatchLost { lease }));
}

/// Follows a folder from `next` on, over as many streams as it takes, and hands on what each answer says, with the newest
/// revision in it. Returns when the place in the order was lost, or when `hear` says so.
pub async fn follow(
    store: &Store,
    folder: &str,
    next: &mut Revision,
    mut hear: impl FnMut(Revision, &WatchResponse) -> bool,
) {
    let mut asking = store.asking("watching keys");
    loop {
        let watching = store.watch(folder, *next).await;
        if let Err(error) = &watching {
            asking.failed(error);
        }
        if let Ok(mut stream) = watching {
            loop {
                let answer = match stream.message().await {
                    Ok(Some(answer)) => answer,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, folder, "the watch broke, and is taken up again");
                        asking.failed(format_args!("etcd: {error}"));
                        store.turn_away();
                        break;
                    }
                };
                let stands = answer.header().map_or(0, |header| header.revision() as u64);
                // Compacted, or a store that was set up anew from a backup: what was missed can't be had this way.
                if answer.compact_revision() > 0 || answer.created() && stands + 1 < next.0 {
                    return;
                }
                if answer.canceled() {
                    asking.failed(format_args!("etcd: {}", answer.cancel_reason()));
                    store.turn_away();
                    break;
                }
                asking.went();
                let newest =
                    answer.events().iter().filter_map(|event| event.kv()).map(|kv| kv.mod_revision()).max();
                if let Some(newest) = newest.map(|newest| Revision(newest as u64)) {
                    if !hear(newest, &answer) {
                        return;
                    }
                    *next = Revision(newest.0 + 1);
                }
            }
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Who is there.
pub async fn look(store: &Store, own: Option<LeaseId>) -> Result<FleetView, StoreError> {
    // One question first that may fail: whoever asks is to be told, and not to wait for ever.
    let key = store.key("edges/");
    store.once(|mut client| async move { client.get(key, None).await }).await?;
    let (_, [found, standing, sites]) = store.list(["edges/", "controller/", SITES]).await;
    let controller = values::oldest(&standing).map(|stored| stored.name.clone()).unwrap_or_default();
    let mut edges: Vec<EdgeView> = found
        .iter()
        .filter_map(|stored| {
            let value: EdgeValue = values::from_bytes(&stored.value)?;
            Some(EdgeView {
                name: value.name,
                version: value.version,
                lease: stored.name.clone(),
                watermark: value.watermark,
                pending: value.pending,
                controller: stored.name == controller,
                this: own.is_some_and(|own| own.to_string() == stored.name),
            })
        })
        .collect();
    edges.sort_by(|a, b| (&a.name, &a.lease).cmp(&(&b.name, &b.lease)));
    let fenced = sites.iter().filter_map(values::record).filter_map(|(site, record, revision)| {
        matches!(record.phase, RecordPhase::Fence(_)).then_some((site, record.pin.epoch, revision))
    });
    Ok(FleetView::new(edges, fenced))
}
