//! `fleet`: three edges, a real etcd of three members and real faults, in a network that this program makes for itself;
//! judged by one history of what the readers of all edges saw.
//!
//! Exits with 0 if every promise was kept, with 1 if one was broken, with 2 if a run could not be made. It must be root.

mod broken;
mod detours;
mod faults;
mod handoffs;
mod judge;
mod line;
mod many;
mod net;
mod pulse;
mod scenarios;
mod stage;
mod stops;
mod upgrades;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ghostpin::broken::Rule;
use ghostpin_loadtest::report::Report;

/// Three edges, a real etcd and real faults, judged by one history.
#[derive(Clone, Debug, Parser)]
pub struct Settings {
    /// The ghostpin to test, built with `--features cluster`.
    #[arg(long, global = true, default_value = "target/release/ghostpin")]
    ghostpin: PathBuf,
    /// The short form of each scenario.
    #[arg(long, global = true)]
    quick: bool,
    /// Seed of whatever is random; a new one unless given.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// A rule that the edges are to break, of a ghostpin built with `--features broken`. In `broken`, only these are tried.
    #[arg(long, global = true, value_enum, value_name = "RULE")]
    broken: Vec<Rule>,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum Scenario {
    /// Planned handoffs under load, asked of each edge in turn.
    Planned,
    /// Planned handoffs while slow answers are on their way through all edges.
    Slow,
    /// The pinned instance is killed under load, with and without another one that is there.
    Crash,
    /// etcd's leader is killed again and again.
    Leaders,
    /// etcd loses its quorum, under each policy.
    Quorum,
    /// An edge, then the controller, is stopped (SIGSTOP) past its lease, in a handoff.
    Frozen,
    /// The controller is killed at each step of a handoff.
    Controllers,
    /// An edge is cut off from etcd, or from the backend, one way or both.
    Parted,
    /// An edge alone can't reach the backend, and its requests go through another one.
    Detours,
    /// etcd comes back from an old backup.
    Restored,
    /// From one edge to three.
    Joining,
    /// An edge leaves in good order, and comes back.
    Leaving,
    /// Edges behind a balancer are stopped and started again, one after the other.
    Stops,
    /// Edges are upgraded in place, one after the other.
    Upgrades,
    /// Thousands of sites lose their instance at once.
    Many,
    /// Faults at random, from a seed, with handoffs all the time.
    Random {
        /// How long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only this kind of fault, by its number in the report.
        #[arg(long)]
        kind: Option<usize>,
        /// Requests a second at each edge.
        #[arg(long, default_value_t = 30)]
        rate: u32,
    },
    /// Rules are broken on purpose, and must be noticed; needs a ghostpin built with `--features broken`.
    Broken,
    /// All of them, but for `broken`.
    All,
}

const ALL: [Scenario; 16] = [
    Scenario::Planned,
    Scenario::Slow,
    Scenario::Crash,
    Scenario::Leaders,
    Scenario::Quorum,
    Scenario::Frozen,
    Scenario::Controllers,
    Scenario::Parted,
    Scenario::Detours,
    Scenario::Restored,
    Scenario::Joining,
    Scenario::Leaving,
    Scenario::Stops,
    Scenario::Upgrades,
    Scenario::Many,
    Scenario::Random { seconds: 40, kind: None, rate: 30 },
];

fn main() -> ExitCode {
    let settings = Settings::parse();
    let done = net::apart(|| match run_all(&settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::from(2)
        }
    });
    done.unwrap_or_else(|error| {
        eprintln!("fleet: {error}");
        ExitCode::from(2)
    })
}

fn run_all(settings: &Settings) -> io::Result<bool> {
    let one = [settings.scenario];
    let scenarios = if settings.scenario == Scenario::All { &ALL[..] } else { &one[..] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut kept = true;
        for scenario in scenarios {
            for report in run(*scenario, settings).await? {
                println!("{report}\n");
                kept &= report.kept();
            }
        }
        Ok(kept)
    })
}

async fn run(scenario: Scenario, settings: &Settings) -> io::Result<Vec<Report>> {
    let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    Ok(match scenario {
        Scenario::Planned => vec![handoffs::planned(settings).await?],
        Scenario::Slow => vec![handoffs::slow(settings).await?],
        Scenario::Crash => vec![handoffs::crash(settings).await?],
        Scenario::Broken => broken::broken(settings).await?,
        Scenario::Leaders => vec![scenarios::leaders(settings).await?],
        Scenario::Quorum => {
            vec![scenarios::quorum(settings, "fence").await?, scenarios::quorum(settings, "serve").await?]
        }
        Scenario::Frozen => {
            vec![scenarios::frozen(settings, false).await?, scenarios::frozen(settings, true).await?]
        }
        Scenario::Controllers => vec![scenarios::controllers(settings).await?],
        Scenario::Parted => vec![scenarios::parted(settings).await?],
        Scenario::Detours => vec![detours::detours(settings).await?],
        Scenario::Restored => vec![scenarios::restored(settings).await?],
        Scenario::Joining => vec![scenarios::joining(settings).await?],
        Scenario::Leaving => vec![scenarios::leaving(settings).await?],
        Scenario::Stops => vec![stops::stops(settings).await?],
        Scenario::Upgrades => vec![upgrades::upgrades(settings).await?],
        Scenario::Many => vec![many::many(settings).await?],
        Scenario::Random { seconds, kind, rate } => {
            let faults = faults::Faults { time: Duration::from_secs(seconds), seed, kind, rate };
            vec![faults::random(settings, faults).await?]
        }
        Scenario::All => unreachable!("taken apart before"),
    })
}
