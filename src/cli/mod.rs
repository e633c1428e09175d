//! The command line: one file a verb. All but `run`, `upgrade`, `certs-dev` and `demo` ask a running ghostpin over its admin API.

pub mod access;
pub mod certs;
pub mod certs_dev;
pub mod check;
pub mod client;
pub mod completions;
pub mod confirm;
pub mod drain_edge;
pub mod edges;
pub mod explain;
pub mod failure;
pub mod handoff;
pub mod healthcheck;
pub mod hold;
pub mod import;
pub mod join;
pub mod journal;
pub mod man;
#[cfg(test)]
pub(crate) mod manual;
pub(crate) mod print;
mod progress;
pub mod providers;
pub mod release;
pub mod reload;
pub mod run;
pub mod site;
pub mod sites;
pub mod status;
pub mod top;
pub mod upgrade;
mod watch;
mod wish;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser, Subcommand};

use crate::demo::cli::{DemoArgs, StandInArgs};
use failure::{EXIT_CODES, Failure, is_json_wanted};
use print::written;

/// Front-door reverse proxy for applications that may run only one instance at a time.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Top(top::TopArgs),
    Status(status::StatusArgs),
    Sites(sites::SitesArgs),
    Site(site::SiteArgs),
    Explain(explain::ExplainArgs),
    Handoff(handoff::HandoffArgs),
    Hold(hold::HoldArgs),
    Healthcheck(healthcheck::HealthcheckArgs),
    Release(release::ReleaseArgs),
    Reload(reload::ReloadArgs),
    Confirm(confirm::ConfirmArgs),
    Upgrade(upgrade::UpgradeArgs),
    Journal(journal::JournalArgs),
    Certs(certs::CertsArgs),
    Edges(edges::EdgesArgs),
    DrainEdge(drain_edge::DrainEdgeArgs),
    Join(join::JoinArgs),
    Providers(providers::ProvidersArgs),
    CertsDev(certs_dev::CertsDevArgs),
    Import(import::ImportArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    /// Show a failover on this machine: a proxy, two small applications, readers.
    Demo(DemoArgs),
    /// A small application to stand in for a real one.
    #[command(hide = true)]
    StandIn(StandInArgs),
}

impl Cli {
    /// Reads the command line of this process, and does what it says.
    pub fn main() -> ExitCode {
        match Self::try_parse() {
            Ok(cli) => cli.run(),
            // People read what clap says in colours.
            Err(error) if error.use_stderr() && is_json_wanted() => {
                ended(Err(Failure::Usage(error.to_string().trim_end().to_owned())))
            }
            // Help is an answer, and no failure.
            Err(error) => match written(error.print().and_then(|()| io::stdout().flush())) {
                Err(failure) if !error.use_stderr() => ended(Err(failure)),
                _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX)),
            },
        }
    }

    /// The command line as people are to see it, for what would also tell them of what is hidden.
    fn shown() -> Command {
        fn without_hidden(all: &Command) -> Command {
            let args = all.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
            let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).map(without_hidden);
            let about = all.get_about().cloned().unwrap_or_default();
            Command::new(all.get_name().to_owned()).about(about).args(args).subcommands(verbs)
        }
        without_hidden(&Self::command()).version(env!("CARGO_PKG_VERSION")).propagate_version(true)
    }

    fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Demo(args) => return args.run(),
            Verb::StandIn(args) => return args.run(),
            Verb::Run(args) => match args.run() {
                Ok(code) => return code,
                Err(failure) => Err(failure),
            },
            Verb::CertsDev(args) => args.run(),
            Verb::Upgrade(args) => args.run(),
            Verb::Import(args) => args.run(),
            Verb::Completions(args) => args.run(),
            Verb::Man(args) => args.run(),
            Verb::Top(args) => asking(args.run()),
            Verb::Check(args) => asking(args.run()),
            Verb::Status(args) => asking(args.run()),
            Verb::Sites(args) => asking(args.run()),
            Verb::Site(args) => asking(args.run()),
            Verb::Explain(args) => asking(args.run()),
            Verb::Handoff(args) => asking(args.run()),
            Verb::Healthcheck(args) => asking(args.run()),
            Verb::Hold(args) => asking(args.run()),
            Verb::Release(args) => asking(args.run()),
            Verb::Reload(args) => asking(args.run()),
            Verb::Confirm(args) => asking(args.run()),
            Verb::Journal(args) => asking(args.run()),
            Verb::Certs(args) => asking(args.run()),
            Verb::Edges(args) => asking(args.run()),
            Verb::DrainEdge(args) => asking(args.run()),
            Verb::Join(args) => asking(args.run()),
            Verb::Providers(args) => asking(args.run()),
        };
        ended(done)
    }
}

fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.code()
        }
    }
}

fn asking(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Refused(error.to_string()))?.block_on(verb)
}
