//! How this process becomes one of many edges.

use anyhow::Result;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::control::fleet::FleetParts;
use crate::control::reconciler::Message;

/// What the reconciler needs for it; `None` if this process is alone.
///
/// # Errors
/// If this build can't, or there is no thread to be had.
#[cfg(feature = "cluster")]
pub(super) fn join(config: &Config, messages: mpsc::UnboundedSender<Message>) -> Result<Option<FleetParts>> {
    use std::sync::Arc;

    use anyhow::Context;

    use crate::cluster;
    use crate::core::fleet::edge::Terms;
    use crate::lifeline::Lifeline;

    let Some(cluster) = &config.cluster else { return Ok(None) };
    let (commands, received) = mpsc::unbounded_channel();
    let tell = move |news| drop(messages.send(Message::Fleet(news)));
    let lifeline = Arc::new(Lifeline::over());
    cluster::start(cluster.clone(), lifeline.clone(), received, tell)
        .context("starting the fleet's thread")?;
    let terms = Terms { margin: cluster.lease_ttl * cluster::MARGIN_TENTHS / 10, cut_max: cluster.lease_ttl };
    tracing::info!(name = cluster.name, prefix = cluster.prefix, "this is one of many edges");
    Ok(Some(FleetParts { terms, commands, lifeline }))
}

/// See above.
#[cfg(not(feature = "cluster"))]
pub(super) fn join(config: &Config, _: mpsc::UnboundedSender<Message>) -> Result<Option<FleetParts>> {
    anyhow::ensure!(
        config.cluster.is_none(),
        "[cluster] this ghostpin was built without it: build with `--features cluster`, which needs `protoc` (Debian: \
         protobuf-compiler and libprotobuf-dev), or remove the table"
    );
    Ok(None)
}
