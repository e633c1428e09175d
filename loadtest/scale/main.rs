//! `scale`: how the work of a fleet grows with its edges, when a machine with ten thousand sites dies.
//!
//! The decisions are those of the product (the cores of edges, ledger and handoffs); the store, the network and the probes
//! are simulated, with costs that can be given. Nothing here measures a machine: it counts, and it adds up.
//!
//! Exits with 0 if every site came to be served and the store's answers did not grow with sites times edges, with 1 if not.

mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use world::{Costs, World};

/// Simulates a dead machine's sites moving, for fleets of several sizes.
#[derive(Clone, Debug, Parser)]
struct Settings {
    /// Sizes of fleets.
    #[arg(long, value_delimiter = ',', default_value = "3,30,300")]
    edges: Vec<usize>,
    /// Sites on the machine that dies.
    #[arg(long, default_value_t = 10_000)]
    sites: usize,
    /// What is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Time of a store's member for one change that it tells one edge of, in microseconds.
    #[arg(long, default_value_t = 1.0)]
    event_us: f64,
    /// The same, for one record that it writes.
    #[arg(long, default_value_t = 22.0)]
    put_us: f64,
    /// From a transaction's arrival until it stands on most members, if nothing else is to be done, in milliseconds.
    #[arg(long, default_value_t = 3.0)]
    commit_ms: f64,
}

fn main() -> ExitCode {
    let settings = Settings::parse();
    let costs = Costs {
        event: Duration::from_nanos((settings.event_us * 1e3) as u64),
        put: Duration::from_nanos((settings.put_us * 1e3) as u64),
        commit: Duration::from_nanos((settings.commit_ms * 1e6) as u64),
    };
    println!(
        "{} sites, seed {}, {} us an event, {} us a put, {} ms a commit",
        settings.sites, settings.seed, settings.event_us, settings.put_us, settings.commit_ms
    );
    println!(
        "edges | transactions | of these edges' | records | answers of watches | all served, s | simulated in, s"
    );
    for edges in settings.edges {
        let began = Instant::now();
        let done = World::new(edges, settings.sites, settings.seed, costs).run();
        println!(
            "{edges:5} | {:12} | {:15} | {:7} | {:18} | {:13.2} | {:15.1}",
            done.transactions,
            done.tells,
            done.records,
            done.answers,
            done.served.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
        if !done.is_complete {
            eprintln!("scale: with {edges} edges, not every site came to be served");
            return ExitCode::from(1);
        }
        // Every edge has to hear of every site, but not in an answer for each.
        if done.answers * 10 > (edges * settings.sites) as u64 {
            eprintln!("scale: with {edges} edges, answers grow with sites x edges");
            return ExitCode::from(1);
        }
    }
    ExitCode::SUCCESS
}
