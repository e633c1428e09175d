//! How this process becomes one of many edges.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;

use crate::config::{Cluster, Config, ListenAddress};
use crate::control::Controller;
use crate::control::fleet::FleetParts;
use crate::control::reconciler::Message;
use crate::detour::Detour;
use crate::upgrade::OfFleet;

/// How long a new process may take to become an edge. The one before it goes on meanwhile, but its disk is closed.
const JOIN_MAX: Duration = Duration::from_secs(20);

/// What other edges are told of this one, if it takes requests for them. `addresses` are those of all listeners, and theirs
/// is the last one. `token` is that of the process before.
pub(super) fn detour(
    config: &Config,
    addresses: &[ListenAddress],
    token: Option<String>,
) -> Result<Option<Detour>> {
    match (&config.cluster, &config.listen.edges, addresses.last()) {
        (Some(cluster), Some(_), Some(ListenAddress::Tcp(address))) => {
            let offered = Detour::offered(cluster.name.clone(), *address, token);
            Ok(Some(offered.context("making a token for other edges")?))
        }
        _ => Ok(None),
    }
}

/// What a process that takes this one's place is told.
pub(super) fn handed_on(config: &Config, detour: Option<&Detour>) -> Option<OfFleet> {
    let prefix = config.cluster.as_ref()?.prefix.clone();
    Some(OfFleet { prefix, token: detour.map(|detour| detour.token.expose().to_owned()) })
}

/// Whether this process is of the same fleet as the one before it, or alone like it: who went by another store would have
/// other pins, with nobody to see to it that one is fenced before the other opens.
///
/// # Errors
/// It is not.
pub(super) fn same(config: &Config, before: Option<&OfFleet>) -> Result<()> {
    let said = |prefix: Option<&str>| match prefix {
        Some(prefix) => format!("is an edge of the fleet `{prefix}`"),
        None => "is alone".to_owned(),
    };
    let prefix = config.cluster.as_ref().map(|cluster| cluster.prefix.as_str());
    let before = before.map(|before| before.prefix.as_str());
    ensure!(
        prefix == before,
        "[cluster] the running process {}, and by this file the new one {}: that can't be changed by an upgrade. Stop the \
         one, and start the other",
        said(before),
        said(prefix)
    );
    Ok(())
}

/// Returns when the fleet is joined, and this process serves what that says.
///
/// # Errors
/// It takes too long.
pub(super) async fn joined(controller: &Controller, config: &Config) -> Result<()> {
    let patience = config.server.upgrade_timeout.min(JOIN_MAX);
    let joined = tokio::time::timeout(patience, controller.joined()).await;
    if joined.is_err() {
        // What it may have registered, nobody is to wait for.
        leave(controller, config.cluster.as_ref()).await;
    }
    ensure!(
        joined.is_ok(),
        "the new process has not joined the fleet after {patience:?}: what it waits for is in the log, which is that of this \
         process as well"
    );
    Ok(())
}

/// Leaves the fleet when the last request has ended, so that no handoff waits for the lease of a process that is gone.
pub(super) async fn leave(controller: &Controller, cluster: Option<&Cluster>) {
    let Some(cluster) = cluster else { return };
    // After that time, the lease has run out by itself.
    if tokio::time::timeout(cluster.lease_ttl, controller.leave()).await.is_err() {
        tracing::warn!(
            "etcd was not told in time that this edge has left: handoffs wait until its lease is over"
        );
    }
}

/// What the reconciler needs for it; `None` if this process is alone.
///
/// # Errors
/// If this build can't, or there is no thread to be had.
#[cfg(feature = "cluster")]
pub(super) fn join(
    config: &Config,
    detour: Option<Detour>,
    messages: mpsc::UnboundedSender<Message>,
) -> Result<Option<FleetParts>> {
    use std::sync::Arc;

    use crate::cluster;
    use crate::core::fleet::edge::Terms;
    use crate::lifeline::Lifeline;

    let Some(cluster) = &config.cluster else { return Ok(None) };
    let (commands, received) = mpsc::unbounded_channel();
    let tell = move |news| drop(messages.send(Message::Fleet(news)));
    let lifeline = Arc::new(Lifeline::over());
    cluster::start(cluster.clone(), detour, lifeline.clone(), received, tell)
        .context("starting the fleet's thread")?;
    let terms = Terms { margin: cluster.lease_ttl * cluster::MARGIN_TENTHS / 10, cut_max: cluster.lease_ttl };
    tracing::info!(name = cluster.name, prefix = cluster.prefix, "this is one of many edges");
    Ok(Some(FleetParts { terms, commands, lifeline }))
}

/// See above.
#[cfg(not(feature = "cluster"))]
pub(super) fn join(
    config: &Config,
    _: Option<Detour>,
    _: mpsc::UnboundedSender<Message>,
) -> Result<Option<FleetParts>> {
    anyhow::ensure!(
        config.cluster.is_none(),
        "[cluster] this ghostpin was built without it: build with `--features cluster`, which needs `protoc` (Debian: \
         protobuf-compiler and libprotobuf-dev), or remove the table"
    );
    Ok(None)
}
