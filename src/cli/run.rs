//! `ghostpin run`

use std::path::PathBuf;

use clap::Args;

use super::access::DEFAULT_CONFIG;
use super::failure::Failure;

/// Run the proxy. SIGHUP reloads the configuration; SIGTERM and SIGINT let requests in flight end, and stop.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Go on although the pin store was lost or damaged, with each site pinned to its first backend.
    #[arg(long)]
    adopt: bool,
}

impl RunArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        crate::app::run(&self.config, self.adopt).map_err(|error| Failure::Refused(format!("{error:#}")))
    }
}
