//! The controller: stands for election, and while it has won follows everything and writes what is wanted.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, EventType, ResignOptions, WatchResponse};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::refusals::{Asking, QUIET};
use super::store::{Put, Store, StoreError, Stored};
use super::values::{self, WishValue};
use super::{News, Tell, edge};
use crate::control::WishError;
use crate::control::fleet::Command;
use crate::core::SiteName;
use crate::core::fleet::ledger::{Change, Written};
use crate::core::fleet::{LeaseId, Record, Revision};

/// Records in one transaction; etcd takes 128 operations at most, unless it is told otherwise.
const BATCH_MAX: usize = 120;
/// Transactions under way at a time: what comes meanwhile goes into the next one.
const UNDER_WAY_MAX: usize = 1;
/// Wait before it stands again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Stands for election again and again, for as long as the lease lives, or until it is told to retire.
pub async fn stand_until(
    mut retired: watch::Receiver<bool>,
    store: Rc<Store>,
    lease: LeaseId,
    mut commands: mpsc::UnboundedReceiver<Command>,
    tell: Tell,
) {
    let mut asking = store.asking("standing for election");
    while !*retired.borrow() {
        stand(&mut retired, &store, lease, &mut commands, &tell, &mut asking).await;
    }
    drop(asking);
    resign(&store, lease).await;
    ask_no_more(&store, lease).await;
}

/// Stands once, and leads if it is elected.
async fn stand(
    retired: &mut watch::Receiver<bool>,
    store: &Rc<Store>,
    lease: LeaseId,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    tell: &Tell,
    asking: &mut Asking<'_>,
) {
    let elected = tokio::select! {
        biased;
        () = until_told(retired) => return,
        elected = campaign(store, lease, asking) => elected,
    };
    let Some(won_at) = elected else { return sleep(AGAIN_AFTER).await };
    // Those were meant for the one that this one was before.
    while commands.try_recv().is_ok() {}
    let writer = Rc::new(Writer { store: store.clone(), lease, won_at });
    tokio::select! {
        biased;
        () = lead(store, lease, tell) => {}
        () = write(&writer, commands, retired, tell) => resign(store, lease).await,
    }
    tell(News::Deposed);
    ask_no_more(store, lease).await;
    sleep(AGAIN_AFTER).await;
}

/// Returns when this process is to retire. Whoever could say so lives as long as the process.
async fn until_told(retired: &mut watch::Receiver<bool>) {
    if retired.wait_for(|retired| *retired).await.is_err() {
        std::future::pending().await
    }
}

/// Waits until the election is won; its revision, or `None` if it has to be stood for anew.
async fn campaign(store: &Store, lease: LeaseId, asking: &mut Asking<'_>) -> Option<Revision> {
    let (election, name) = (store.key("controller"), store.config().name.clone());
    // It takes as long as another one leads; a member that is gone is told by its silence.
    let connected = store.client().await.inspect_err(|error| asking.failed(error));
    let (mut client, _) = connected.ok()?;
    let mut standing = pin!(client.campaign(election, name, lease.0));
    let held = match timeout(QUIET, standing.as_mut()).await {
        Ok(held) => held,
        // Who is refused hears of it at once, and whoever waits has been let in.
        Err(_) => {
            asking.went();
            standing.await
        }
    };
    match held {
        Ok(won) => {
            asking.went();
            Some(Revision(won.leader()?.rev() as u64))
        }
        Err(error) => {
            tracing::debug!(%error, "the election was not held there");
            asking.failed(StoreError::from(error));
            store.turn_away();
            None
        }
    }
}

async fn resign(store: &Store, lease: LeaseId) {
    let key = store.key(&format!("controller/{lease}"));
    let Some(stored) = store.read(&format!("controller/{lease}")).await else { return };
    let leader = etcd_client::LeaderKey::new()
        .with_name(store.key("controller"))
        .with_key(key)
        .with_rev(stored.at.0 as i64)
        .with_lease(lease.0);
    let options = ResignOptions::new().with_leader(leader);
    if let Err(error) = store.once(|mut client| async move { client.resign(Some(options)).await }).await {
        tracing::debug!(%error, "could not resign");
    }
}

/// Takes back what the other edges were asked about: they look at it for as long as it stands there.
async fn ask_no_more(store: &Store, lease: LeaseId) {
    let key = store.key(&format!("asks/{lease}"));
    store
        .until_answered("taking back what was asked", |mut client| {
            let key = key.clone();
            async move { client.delete(key, None).await }
        })
        .await;
}

/// Follows everything; returns when this edge leads no more, or has lost its place.
async fn lead(store: &Store, lease: LeaseId, tell: &Tell) {
    let (revision, [sites, edges, seen, wishes]) = store.list(["sites/", "edges/", "seen/", "wishes/"]).await;
    let (sites, edges) = (sites.iter().filter_map(values::record), edges.iter().filter_map(values::edge));
    tell(News::Elected { lease, revision, sites: sites.collect(), edges: edges.collect() });
    for stored in seen {
        if let Some(lease) = values::lease(&stored.name) {
            tell(News::Seen(lease, Some(values::seen(&stored.value))));
        }
    }
    for wish in wishes {
        // It was put before another controller, and how far that one had come is unknown.
        answer(store, lease, wish.name, &Err(WishError::NewController)).await;
    }
    let own = format!("controller/{lease}");
    let mut next = Revision(revision.0 + 1);
    edge::follow(store, "", &mut next, |revision, answer| hear(store, &own, revision, answer, tell)).await;
}

/// `false` if this edge leads no more.
fn hear(store: &Store, own: &str, revision: Revision, answer: &WatchResponse, tell: &Tell) -> bool {
    let mut changes = Vec::new();
    for event in answer.events() {
        let Some((rest, stored)) = event.kv().and_then(|kv| store.stored(kv)) else { continue };
        let is_there = event.event_type() == EventType::Put;
        if rest == own && !is_there {
            return false;
        }
        let Some((folder, name)) = rest.split_once('/') else { continue };
        let stored = Stored { name: name.to_owned(), ..stored };
        match folder {
            "sites" => {
                let record = is_there.then(|| values::record(&stored)).flatten().map(|(_, record, _)| record);
                changes.push(Change::Site(SiteName::from(name), record, stored.at));
            }
            "edges" if is_there => {
                changes.extend(values::edge(&stored).map(|(lease, says)| Change::Edge(lease, Some(says))));
            }
            "edges" => changes.extend(values::lease(name).map(|lease| Change::Edge(lease, None))),
            "seen" => {
                if let Some(lease) = values::lease(name) {
                    tell(News::Seen(lease, is_there.then(|| values::seen(&stored.value))));
                }
            }
            "wishes" if is_there => {
                let value: Option<WishValue> = values::from_bytes(&stored.value);
                if let Some(value) = value
                    && let Some(wish) = value.wanted()
                {
                    let (site, by) = (SiteName::from(value.site.as_str()), value.by);
                    tell(News::Wished { id: name.to_owned(), site, wish, by });
                }
            }
            _ => {}
        }
    }
    tell(News::Changed { revision, changes });
    true
}

/// Who writes records, many in one step.
struct Writer {
    store: Rc<Store>,
    lease: LeaseId,
    won_at: Revision,
}

/// A record on its way.
struct Pending {
    site: SiteName,
    record: Record,
    guard: Revision,
}

/// Writes what is wanted, all that has gathered while the last was written in one step; returns when this edge is to lead no
/// more. One that retires has answered what it was asked before.
async fn write(
    writer: &Rc<Writer>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    retired: &mut watch::Receiver<bool>,
    tell: &Tell,
) {
    let mut waiting: VecDeque<Pending> = VecDeque::new();
    // What is under way ends with this controller.
    let (mut writes, mut answers) = (JoinSet::new(), JoinSet::new());
    let (asks, mut asking) = (watch::Sender::new(Vec::new()), JoinSet::new());
    let (telling, asked) = (writer.clone(), asks.subscribe());
    let key = format!("asks/{}", writer.lease);
    asking.spawn_local(async move { edge::keep_told(&telling.store, &key, telling.lease, asked).await });
    loop {
        tokio::select! {
            biased;
            Some(_) = writes.join_next() => {}
            Some(_) = answers.join_next() => {}
            command = commands.recv() => match command {
                Some(Command::Write { site, record, guard }) => {
                    waiting.push_back(Pending { site, record, guard });
                    // One that is full goes at once; else what comes with it is waited for.
                    if waiting.len() < BATCH_MAX && !commands.is_empty() {
                        continue;
                    }
                }
                Some(Command::Answer { id, result }) => {
                    let writer = writer.clone();
                    answers.spawn_local(async move { answer(&writer.store, writer.lease, id, &result).await });
                }
                Some(Command::Ask(sites)) => drop(asks.send_replace(values::asked_bytes(&sites))),
                Some(Command::Resign) => return,
                Some(_) => {}
                // The process is about to end.
                None => return std::future::pending().await,
            },
            // What was to be answered before that is among the commands, which come first.
            () = until_told(retired) => {
                while answers.join_next().await.is_some() {}
                return;
            }
        }
        while writes.len() < UNDER_WAY_MAX && !waiting.is_empty() {
            let batch: Vec<Pending> = waiting.drain(..waiting.len().min(BATCH_MAX)).collect();
            let (writer, tell) = (writer.clone(), tell.clone());
            writes.spawn_local(async move { tell(News::Written(writer.write(batch).await)) });
        }
    }
}

impl Writer {
    async fn write(&self, batch: Vec<Pending>) -> Vec<(SiteName, Written)> {
        let puts: Vec<Put> = batch.iter().map(Self::put).collect();
        let mut asking = self.store.asking("writing what is decided about sites");
        match self.store.write(&puts, Some(self.leads())).await {
            Ok(Some(at)) => {
                return batch.into_iter().map(|pending| (pending.site, Written::At(at))).collect();
            }
            Ok(None) => {}
            Err(error) => asking.failed(&error),
        }
        // One of them may have been overtaken, or the answer was lost: each is looked at by itself.
        let mut written = Vec::with_capacity(batch.len());
        for pending in batch {
            let became = self.write_one(&pending, &mut asking).await;
            // Whatever it became, etcd has said so.
            asking.went();
            written.push((pending.site, became));
        }
        written
    }

    async fn write_one(&self, pending: &Pending, asking: &mut Asking<'_>) -> Written {
        let put = Self::put(pending);
        loop {
            let stored = self.store.read(&put.key).await;
            match &stored {
                Some(stored) if stored.value == put.value => return Written::At(stored.at),
                Some(stored) if stored.at != pending.guard => return Written::Overtaken,
                None if pending.guard != Revision(0) => return Written::Overtaken,
                _ => {}
            }
            match self.store.write(std::slice::from_ref(&put), Some(self.leads())).await {
                Ok(Some(at)) => return Written::At(at),
                // The record is as it was: then it is the election that was lost.
                Ok(None) if !self.has_changed(&put).await => return Written::Overtaken,
                Ok(None) => asking.went(),
                Err(error) => asking.failed(&error),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn has_changed(&self, put: &Put) -> bool {
        self.store.read(&put.key).await.map_or(Revision(0), |stored| stored.at) != put.guard
    }

    fn put(pending: &Pending) -> Put {
        let value = values::record_bytes(&pending.record);
        Put { key: format!("sites/{}", pending.site), value, guard: pending.guard, lease: None }
    }

    /// Whoever has lost the election writes nothing more. That is for progress: what makes it safe is the guard of the
    /// record itself.
    fn leads(&self) -> Compare {
        let key = self.store.key(&format!("controller/{}", self.lease));
        Compare::create_revision(key, CompareOp::Equal, self.won_at.0 as i64)
    }
}

/// Answers a wish.
async fn answer(
    store: &Store,
    lease: LeaseId,
    id: String,
    result: &Result<Option<crate::core::Pin>, WishError>,
) {
    let (key, value) = (store.key(&format!("answers/{id}")), values::answer_bytes(result));
    store
        .until_answered("answering a wish", |mut client| {
            let (key, value) = (key.clone(), value.clone());
            let options = etcd_client::PutOptions::new().with_lease(lease.0);
            async move { client.put(key, value, Some(options)).await }
        })
        .await;
}
