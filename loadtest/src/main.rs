//! `handoff`: runs ghostpin through faults and burdens, and judges by what readers saw.
//!
//! Exits with 0 if every promise was kept, with 1 if one was broken, with 2 if a run could not be made.

mod scenarios;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ghostpin_loadtest::harness::{self, Settings};
use ghostpin_loadtest::report::Report;
use scenarios::{comeback, crash, crowd, frozen, held, kill9, many, planned, release, reload, upgrade};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "Runs ghostpin through faults and burdens, and judges by what readers saw")]
struct Arguments {
    /// The ghostpin to test.
    #[arg(long, global = true, default_value = "target/release/ghostpin")]
    ghostpin: PathBuf,
    /// Keeps ghostpin's log: adds it to this file.
    #[arg(long, global = true)]
    log: Option<PathBuf>,
    /// The short form of each scenario.
    #[arg(long, global = true)]
    quick: bool,
    /// Seed of whatever is random; a new one unless given.
    #[arg(long, global = true)]
    seed: Option<u64>,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Clone, Copy, Subcommand)]
enum Scenario {
    /// A killed, B starts seconds later.
    Crash,
    /// A stopped (SIGSTOP) for seconds, B well.
    Frozen,
    /// A killed and back seconds later, B well.
    Comeback,
    /// A planned handoff with slow answers in flight.
    Planned,
    /// Far more requests than a site may hold.
    Held,
    /// As many as there may ever be are held at once, over HTTP/1.1 and over HTTP/2.
    Crowd,
    /// A crowd is held, and the instance that comes is slow.
    Release,
    /// Thousands of sites lose their instance at once.
    Many,
    /// Thousands of sites lose their instance, and their standby comes later.
    Late,
    /// SIGHUPs at random moments, a third with broken files.
    Reload,
    /// kill -9 of ghostpin at random moments of handoffs.
    Kill9,
    /// One process after the other takes over, and some that are no good try to.
    Upgrade,
    /// Every scenario.
    All,
}

const ALL: [Scenario; 12] = [
    Scenario::Crash,
    Scenario::Frozen,
    Scenario::Comeback,
    Scenario::Planned,
    Scenario::Held,
    Scenario::Crowd,
    Scenario::Release,
    Scenario::Many,
    Scenario::Late,
    Scenario::Reload,
    Scenario::Kill9,
    Scenario::Upgrade,
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        ghostpin: arguments.ghostpin,
        log: arguments.log,
        quick: arguments.quick,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
    };
    let one = [arguments.scenario];
    let scenarios = if matches!(arguments.scenario, Scenario::All) { &ALL[..] } else { &one[..] };
    match run_all(scenarios, &settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("handoff: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_all(scenarios: &[Scenario], settings: &Settings) -> io::Result<bool> {
    harness::raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = async {
        let mut kept = true;
        for scenario in scenarios {
            let report = run(*scenario, settings).await?;
            println!("{report}\n");
            kept &= report.kept();
        }
        Ok(kept)
    };
    // A scenario that is dropped ends the processes that it started.
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            kept = all => kept,
            _ = tokio::signal::ctrl_c() => Err(io::Error::other("stopped before the end")),
            _ = terminate.recv() => Err(io::Error::other("stopped before the end")),
        }
    })
}

async fn run(scenario: Scenario, settings: &Settings) -> io::Result<Report> {
    match scenario {
        Scenario::Crash => crash::run(settings).await,
        Scenario::Frozen => frozen::run(settings).await,
        Scenario::Comeback => comeback::run(settings).await,
        Scenario::Planned => planned::run(settings).await,
        Scenario::Held => held::run(settings).await,
        Scenario::Crowd => crowd::run(settings).await,
        Scenario::Release => release::run(settings).await,
        Scenario::Many => many::run(settings).await,
        Scenario::Late => many::late(settings).await,
        Scenario::Reload => reload::run(settings).await,
        Scenario::Kill9 => kill9::run(settings).await,
        Scenario::Upgrade => upgrade::run(settings).await,
        Scenario::All => unreachable!("taken apart before"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ghostpin::config::Config;
    use ghostpin_loadtest::harness::{Edge, HOST, SITE, TABLES, site};

    use super::*;

    #[test]
    fn the_configuration_of_a_run_is_valid() {
        let settings = Settings { ghostpin: "ghostpin".into(), log: None, quick: true, seed: 0 };
        let edge = Edge::new(&settings).unwrap();
        let backends = ["127.0.0.1:2368", "127.0.0.1:2369"].map(|address| address.parse().unwrap());
        for tables in
            ["", TABLES, many::TABLES, held::TABLES, release::TABLES, crowd::TABLES, upgrade::TABLES]
        {
            let text = edge.config(tables, &site(SITE, &[HOST, "www.blog.example"], &backends));
            let taken = Config::parse(&text, Path::new("run.toml"));
            assert_eq!(taken.unwrap_or_else(|errors| panic!("{errors}\n{text}")).sites.len(), 1);
        }
    }
}
