//! Where log lines go and what they look like.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// The level filter of the configuration can't be understood.
#[derive(Debug, thiserror::Error)]
#[error("[log] level = \"{level}\": {source}: write `info`, or `warn,ghostpin=debug`")]
pub struct BadLevel {
    level: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Sends this process's log lines to its standard error. To be called once.
pub fn start(log: &Log) -> Result<(), BadLevel> {
    let filter =
        EnvFilter::try_new(&log.level).map_err(|source| BadLevel { level: log.level.clone(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Human => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
