//! `failover`: has instances, lines and proxies fail in the same ways before each of several proxies, and judges each
//! guarantee by what readers saw and instances wrote down.
//!
//! Exits with 0 if ghostpin kept all of them and the peers were caught where they can't, with 1 if not, with 2 if a run
//! could not be made.

mod adapter;
mod line;
mod plot;
mod scenarios;
mod table;
mod verdict;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ghostpin_loadtest::harness::{self, Settings};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use adapter::Adapter;
use plot::Seen;
use scenarios::Scenario;
use verdict::Verdict;

#[derive(Parser)]
#[command(
    about = "Has instances, lines and proxies fail before several proxies, and judges by what readers saw"
)]
struct Arguments {
    /// The ghostpin to test; also runs the stand-ins.
    #[arg(long, default_value = "target/release/ghostpin")]
    ghostpin: PathBuf,
    /// Names of adapters (loadtest/adapters), or files of others.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "ghostpin,ghostpin-fleet,nginx,haproxy,caddy,envoy,traefik,pingap"
    )]
    adapters: Vec<String>,
    /// Which of them; all unless said.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Shorter waits.
    #[arg(long)]
    quick: bool,
    /// Prints the table of a former run, of which this is the file with the figures.
    #[arg(long)]
    again: Option<PathBuf>,
    /// Writes the figures, their table, and a picture for each scenario into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Says which scenarios and adapters there are.
    #[arg(long)]
    list: bool,
}

/// Scenarios in which peers like these must be caught: else the checks would prove nothing.
const CAUGHT: [(&str, &str); 2] = [("nginx", "frozen"), ("nginx", "comeback")];

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("failover: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    if let Some(file) = &arguments.again {
        let results: Value =
            serde_json::from_str(&std::fs::read_to_string(file)?).map_err(io::Error::other)?;
        let (Some(scenarios), Some(versions)) =
            (results["scenarios"].as_object(), results["versions"].as_object())
        else {
            return Err(io::Error::other(format!("{}: no figures of this tool", file.display())));
        };
        print!("{}", table::table(&scenarios::ALL.map(|scenario| scenario.name), scenarios, versions));
        return Ok(true);
    }
    let adapters: io::Result<Vec<Adapter>> =
        arguments.adapters.iter().map(|name| Adapter::read(name)).collect();
    let adapters = adapters?;
    let is_wanted = |scenario: &Scenario| {
        arguments.scenarios.is_empty() || arguments.scenarios.iter().any(|name| name == scenario.name)
    };
    if let Some(unknown) =
        arguments.scenarios.iter().find(|name| !scenarios::ALL.iter().any(|one| one.name == *name))
    {
        return Err(io::Error::other(format!("there is no scenario `{unknown}`; --list names all")));
    }
    let scenarios: Vec<Scenario> = scenarios::ALL.into_iter().filter(is_wanted).collect();
    if arguments.list {
        scenarios.iter().for_each(|scenario| println!("{:<10} {}", scenario.name, scenario.what));
        adapters.iter().for_each(|adapter| println!("{:<15} {}", adapter.name, adapter.about));
        return Ok(true);
    }
    harness::raise_file_limit()?;
    let settings =
        Settings { ghostpin: arguments.ghostpin.clone(), log: None, quick: arguments.quick, seed: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A scenario that is dropped ends the processes that it started.
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            kept = all(&adapters, &scenarios, &settings, arguments.out.as_deref()) => kept,
            _ = tokio::signal::ctrl_c() => Err(io::Error::other("stopped before the end")),
            _ = terminate.recv() => Err(io::Error::other("stopped before the end")),
        }
    })
}

async fn all(
    adapters: &[Adapter],
    scenarios: &[Scenario],
    settings: &Settings,
    out: Option<&std::path::Path>,
) -> io::Result<bool> {
    let mut versions = Map::new();
    for adapter in adapters {
        let version = adapter.version(&settings.ghostpin).await?;
        println!("{:<15} {version}\n{:<15} {}", adapter.name, "", adapter.about);
        versions.insert(adapter.name.clone(), json!(version));
    }
    let (mut kept, mut figures) = (true, Map::new());
    for scenario in scenarios {
        println!("\n{}: {}\n{HEADING}", scenario.name, scenario.what);
        let (mut seen, mut verdicts) = (Vec::new(), Map::new());
        for adapter in adapters {
            if let Some(why) = adapter.unfit.get(scenario.name) {
                println!("  {:<15} {why}", adapter.name);
                continue;
            }
            let failed = |error| io::Error::other(format!("{}, {}: {error}", scenario.name, adapter.name));
            let history = scenario.run(adapter, settings).await.map_err(failed)?;
            let verdict = Verdict::of(scenario, &history)?;
            println!("  {:<15} {}", adapter.name, told(&verdict));
            for (why, times) in &verdict.reasons {
                println!("  {:<15} {times} x {why}", "");
            }
            let must_be_caught = CAUGHT.contains(&(adapter.name.as_str(), scenario.name));
            if adapter.name.starts_with("ghostpin") && !verdict.is_clean() {
                println!("  BROKEN: ghostpin keeps its promises");
                kept = false;
            } else if must_be_caught && verdict.two_state_reads == 0 {
                println!("  BROKEN: the checks find the two-state reads of {}", adapter.name);
                kept = false;
            }
            verdicts.insert(adapter.name.clone(), verdict.json());
            seen.push(Seen { name: adapter.name.clone(), history, excused: verdict.excused });
        }
        figures.insert(scenario.name.to_owned(), Value::Object(verdicts));
        if let Some(out) = out {
            std::fs::create_dir_all(out)?;
            std::fs::write(out.join(format!("{}.svg", scenario.name)), plot::plot(scenario, &seen))?;
        }
    }
    if let Some(out) = out {
        let names = scenarios::ALL.map(|scenario| scenario.name);
        std::fs::write(out.join("table.md"), table::table(&names, &figures, &versions))?;
        let results = json!({ "versions": versions, "scenarios": figures });
        std::fs::write(out.join("results.json"), format!("{results:#}\n"))?;
    }
    println!("\n{}", if kept { "all promises kept" } else { "promises broken" });
    Ok(kept)
}

const HEADING: &str =
    "                  both at  two-state  POSTs   failed  failed                           wait
                  once     reads      twice   GETs    POSTs   excused  requests  p50, p99, longest (ms)";

fn told(verdict: &Verdict) -> String {
    let millis = |percent| verdict.waits.percentile(percent).as_secs_f64() * 1e3;
    format!(
        "{:<8} {:<10} {:<7} {:<7} {:<7} {:<8} {:<9} {:.1}, {:.1}, {:.0}",
        verdict.both_at_once,
        verdict.two_state_reads,
        verdict.posts_twice,
        verdict.failed_reads,
        verdict.failed_posts,
        verdict.excused.len(),
        verdict.requests,
        millis(50.0),
        millis(99.0),
        millis(100.0)
    )
}
