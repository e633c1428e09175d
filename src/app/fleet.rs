//! How this process becomes one of many edges.

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use crate::config::{Cluster, Config, ListenAddress};
use crate::control::Controller;
use crate::control::fleet::FleetParts;
use crate::control::reconciler::Message;
use crate::detour::Detour;

/// What other edges are told of this one, if it takes requests for them. `addresses` are those of all listeners, and theirs
/// is the last one.
pub(super) fn detour(config: &Config, addresses: &[ListenAddress]) -> Result<Option<Detour>> {
    match (&config.cluster, &config.listen.edges, addresses.last()) {
        (Some(cluster), Some(_), Some(ListenAddress::Tcp(address))) => Ok(Some(
            Detour::offered(cluster.name.clone(), *address).context("making a token for other edges")?,
        )),
        _ => Ok(None),
    }
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
