//! `ghostpin run`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::access::DEFAULT_CONFIG;
use super::failure::Failure;
use crate::{app, supervise};

/// Run the proxy. SIGHUP reloads the configuration; SIGUSR1 opens the access log again; SIGTERM and SIGINT let requests in flight end, and stop.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Go on although the pin store was lost or damaged, with each site pinned to its first backend.
    #[arg(long)]
    adopt: bool,
    /// Take over from the process that has started this one.
    #[arg(long, hide = true, conflicts_with_all = ["adopt", "supervise"])]
    heir: bool,
    /// Stay, and start another process that serves: for upgrades where this one's end would be that of a container. As the
    /// first process there, ghostpin does so by itself.
    #[arg(long)]
    supervise: bool,
}

impl RunArgs {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let done = match () {
            () if self.supervise || supervise::is_wanted() => supervise::run(),
            () if self.heir => app::run_as_heir(&self.config).map(|()| ExitCode::SUCCESS),
            () => app::run(&self.config, self.adopt).map(|()| ExitCode::SUCCESS),
        };
        done.map_err(|error| Failure::Refused(format!("{error:#}")))
    }
}
