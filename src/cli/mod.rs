//! The command line: one file a verb.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo::cli::{DemoArgs, StandInArgs};

/// Front-door reverse proxy for applications that may run only one instance at a time.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the proxy.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "/etc/ghostpin/ghostpin.toml")]
        config: PathBuf,
        /// Go on although the pin store was lost or damaged, with each site pinned to its first backend.
        #[arg(long)]
        adopt: bool,
    },
    /// Show a failover on this machine: a proxy, two small applications, readers.
    Demo(DemoArgs),
    /// A small application to stand in for a real one.
    #[command(hide = true)]
    StandIn(StandInArgs),
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Run { config, adopt } => crate::app::run(&config, adopt),
            Verb::Demo(args) => return args.run(),
            Verb::StandIn(args) => return args.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ghostpin: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}
