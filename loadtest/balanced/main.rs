//! `balanced`: readers who come to edges through a balancer that looks at `/readyz`, for runs in which somebody else starts
//! and stops the edges.
//!
//! Says `ready` when it has seen all edges ready. It ends with its standard input, and prints what the readers saw as one
//! object of JSON. Exits with 0 if nothing failed, with 1 if something did, with 2 if there was no run.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ghostpin::demo::history::{Kind, Record, Turns, Waits, failures, order};
use ghostpin::demo::readers::{Load, Readers};
use ghostpin_loadtest::balancer::{Balancer, Edge};
use serde_json::json;
use tokio::time::{sleep, timeout};

/// How long edges may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Readers behind a balancer that looks at /readyz, until the standard input ends.
#[derive(Debug, Parser)]
struct Arguments {
    /// An edge: where readers are sent, and where its admin API listens.
    #[arg(long = "edge", required = true, value_name = "HOST:PORT=HOST:PORT", value_parser = edge)]
    edges: Vec<Edge>,
    /// The site that they ask for.
    #[arg(long)]
    host: String,
    /// Requests a second; one in ten is a POST.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// No longer than this, in seconds.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
}

fn edge(text: &str) -> Result<Edge, String> {
    let (door, admin) =
        text.split_once('=').ok_or("say where readers are sent, `=`, and where the admin API is")?;
    Ok(Edge { door: door.parse().map_err(|error| format!("{door}: {error}"))?, admin: admin.parse()? })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("balanced: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(Arguments { edges, host, rate, seconds }: Arguments) -> io::Result<bool> {
    let balancer = Balancer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), edges).await?;
    let all_ready = async {
        while balancer.ready().contains(&false) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let late =
        |_| io::Error::other(format!("not all edges are ready after {PATIENCE:?}: {:?}", balancer.ready()));
    timeout(PATIENCE, all_ready).await.map_err(late)?;
    println!("ready");
    let time = Duration::from_secs(seconds);
    let load = Load::of_readers(balancer.address, &host, time);
    let count = u64::from(rate) * seconds;
    let readers = Readers::start(Load { rate, count, ..load });
    // A thread of its own: nobody can be made to stop reading.
    let (ends, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = ends.send(());
    });
    let _ = timeout(time, end).await;
    readers.stop();
    let records = readers.finish().await;
    println!("{}", told(&records, &balancer.given()));
    Ok(records.iter().all(Record::succeeded))
}

fn told(records: &[Record], given: &[u64]) -> serde_json::Value {
    let failed = |kind| failures(records, kind).reasons;
    let order = order(records, &Turns::default());
    let mut instances: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in records.iter().filter_map(|record| record.answer()?.instance.as_deref()) {
        *instances.entry(instance).or_default() += 1;
    }
    json!({
        "requests": records.len(),
        "failed": { "gets": failed(Kind::Read), "posts": failed(Kind::Write) },
        "longest_wait_ms": Waits::of(records).longest().as_secs_f64() * 1e3,
        "epochs_fallen": order.epochs_fallen.len(),
        "answered_by": instances,
        "connections": given,
    })
}
