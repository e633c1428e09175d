//! `handoff`: runs ghostpin through faults and burdens, and judges by what readers saw.
//!
//! Exits with 0 if every promise was kept, with 1 if one was broken, with 2 if a run could not be made.

mod harness;
mod scenarios;
mod subject;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ghostpin_loadtest::report;

use harness::Settings;
use report::Report;
use scenarios::{comeback, compare, crash, crowd, frozen, held, kill9, many, planned, release, reload};
use subject::Subject;
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
    Crash(Against),
    /// A stopped (SIGSTOP) for seconds, B well.
    Frozen(Against),
    /// A killed and back seconds later, B well.
    Comeback(Against),
    /// A planned handoff with slow answers in flight.
    Planned,
    /// Far more requests than a site may hold.
    Held,
    /// As many as there may ever be are held at once.
    Crowd,
    /// A crowd is held, and the instance that comes is slow.
    Release,
    /// Thousands of sites lose their instance at once.
    Many,
    /// SIGHUPs at random moments, a third with broken files.
    Reload,
    /// kill -9 of ghostpin at random moments of handoffs.
    Kill9,
    /// crash, frozen and comeback against ghostpin, nginx and HAProxy.
    Compare,
    /// Every scenario against ghostpin.
    All,
}

#[derive(Clone, Copy, clap::Args)]
struct Against {
    /// The proxy in front of A and B.
    #[arg(long, default_value = "ghostpin")]
    against: Subject,
}

const ALL: [Scenario; 10] = [
    Scenario::Crash(Against { against: Subject::Ghostpin }),
    Scenario::Frozen(Against { against: Subject::Ghostpin }),
    Scenario::Comeback(Against { against: Subject::Ghostpin }),
    Scenario::Planned,
    Scenario::Held,
    Scenario::Crowd,
    Scenario::Release,
    Scenario::Many,
    Scenario::Reload,
    Scenario::Kill9,
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
        Scenario::Crash(Against { against }) => Ok(crash::run(settings, against).await?.0),
        Scenario::Frozen(Against { against }) => Ok(frozen::run(settings, against).await?.0),
        Scenario::Comeback(Against { against }) => Ok(comeback::run(settings, against).await?.0),
        Scenario::Planned => planned::run(settings).await,
        Scenario::Held => held::run(settings).await,
        Scenario::Crowd => crowd::run(settings).await,
        Scenario::Release => release::run(settings).await,
        Scenario::Many => many::run(settings).await,
        Scenario::Reload => reload::run(settings).await,
        Scenario::Kill9 => kill9::run(settings).await,
        Scenario::Compare => compare::run(settings).await,
        Scenario::All => unreachable!("taken apart before"),
    }
}
