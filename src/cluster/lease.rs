//! The lease of one life: asked for once, and kept alive as long as the store knows it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::LeaseKeeper;
use tokio::time::{interval, sleep, timeout};

use super::store::Store;
use super::{News, Tell};
use crate::broken::{Rule, breaks};
use crate::core::fleet::edge::Input;
use crate::core::fleet::{LeaseId, Moment};
use crate::lifeline::Lifeline;

/// So many keep-alives go into the life of a lease.
const BEATS: u32 = 16;
/// A keep-alive that is not answered within so many of them is sent to another member.
const PATIENCE: u32 = 2;

/// Gets a lease and keeps it alive; returns when it is over. `runs_out`: when it does, if it is not heard of again.
pub async fn live(store: Rc<Store>, lifeline: Arc<Lifeline>, runs_out: Rc<Cell<Moment>>, tell: Tell) {
    let ttl = store.config().lease_ttl;
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    // Each try is a lease of its own, and one that was granted without our hearing of it runs out unused.
    let (sent, lease, ttl) = loop {
        let sent = lifeline.now();
        match store.once(|mut client| async move { client.lease_grant(seconds, None).await }).await {
            Ok(granted) => break (sent, LeaseId(granted.id()), seconds_of(granted.ttl())),
            Err(error) => tracing::warn!(%error, "no lease yet: this edge serves nothing until it has one"),
        }
        sleep(ttl / BEATS).await;
    };
    runs_out.set(sent.plus(ttl));
    tell(News::Edge(Input::Granted { lease, sent: counted_from(sent, &lifeline), ttl }));
    let renewed = |sent: Moment, ttl| {
        runs_out.set(sent.plus(ttl).max(runs_out.get()));
        tell(News::Edge(Input::Renewed { lease, sent: counted_from(sent, &lifeline), ttl }));
    };
    let mut since = None;
    while let Err(why) = keep(&store, &lifeline, lease, ttl, &renewed, &mut since).await {
        tracing::debug!(why, "the lease can't be kept alive there");
        if since.is_none() {
            since = Some(lifeline.now());
            tracing::warn!(why, "the lease can't be kept alive, and another member of etcd is tried");
        }
        store.turn_away();
        sleep(ttl / BEATS / 4).await;
    }
    renewed(lifeline.now(), Duration::ZERO);
}

/// Keeps the lease alive over one stream, until it is over; or says why the stream can't be used any more. `since` when
/// it was not kept alive.
async fn keep(
    store: &Store,
    lifeline: &Lifeline,
    lease: LeaseId,
    ttl: Duration,
    renewed: &impl Fn(Moment, Duration),
    since: &mut Option<Moment>,
) -> Result<(), String> {
    let beat = ttl / BEATS;
    let patience = if breaks(Rule::WaitsForTheAnswer) { ttl } else { beat * PATIENCE };
    let late = |_| "it was not answered in time".to_owned();
    let sent = lifeline.now();
    let (mut client, _) = store.client().await.map_err(|error| error.to_string())?;
    let opened = timeout(patience, client.lease_keep_alive(lease.0)).await.map_err(late)?;
    let (mut keeper, mut answers): (LeaseKeeper, _) = match opened {
        Ok(both) => both,
        Err(etcd_client::Error::LeaseKeepAliveError(_)) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    // Opening it has kept the lease alive for the first time.
    renewed(sent, ttl);
    if let Some(since) = since.take() {
        tracing::info!(
            seconds = lifeline.now().0.saturating_sub(since.0).as_secs_f64(),
            "the lease is kept alive again"
        );
    }
    let mut beats = interval(beat);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beats.tick().await;
    loop {
        beats.tick().await;
        let sent = lifeline.now();
        keeper.keep_alive().await.map_err(|error| error.to_string())?;
        // One is under way at a time, so the answer is that one's.
        let answer = timeout(patience, answers.message()).await;
        if answer.is_err() && breaks(Rule::CountsAnyAnswer) {
            continue;
        }
        match answer.map_err(late)? {
            Ok(Some(answer)) if answer.ttl() <= 0 => return Ok(()),
            Ok(Some(answer)) => renewed(sent, seconds_of(answer.ttl()).min(ttl)),
            Ok(None) => return Err("the stream has ended".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// From when on a lease goes that was asked for then. The store can't have heard of it earlier.
fn counted_from(sent: Moment, lifeline: &Lifeline) -> Moment {
    if breaks(Rule::CountsFromTheAnswer) { lifeline.now() } else { sent }
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
