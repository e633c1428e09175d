//! `pace`: the loads that wrk and h2load don't make, and a backend for one of them. It prints what it saw as JSON.

mod crowd;
mod echo;
mod idle;
mod steady;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Loads at a fixed rate, of upgraded connections and of idle ones.
#[derive(Debug, Parser)]
struct Settings {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// GETs at a fixed rate over kept connections, whatever becomes of them: waits count from when each was due.
    Steady {
        /// Where.
        target: SocketAddr,
        /// What.
        #[arg(long, default_value = "/")]
        path: String,
        /// Whom.
        #[arg(long, default_value = "localhost")]
        host: String,
        /// Requests a second.
        #[arg(long)]
        rate: u32,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        #[arg(long, default_value_t = 8)]
        seconds: u64,
        /// All connections have their turns; otherwise the one that was free last is taken, and of many most rest.
        #[arg(long)]
        in_turn: bool,
    },
    /// Messages of 1 KB there and back over upgraded connections, one after the other on each.
    Messages {
        /// Where.
        target: SocketAddr,
        /// Whom.
        #[arg(long, default_value = "localhost")]
        host: String,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        #[arg(long, default_value_t = 8)]
        seconds: u64,
    },
    /// The backend for `messages`: it sends back what it is sent.
    Echo {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Connections that have had one answer each, and wait. Says so in a line, and keeps them until its input ends.
    Idle(Page),
    /// A crowd that asks for one page at once; times are in milliseconds since 1970.
    Crowd(Page),
}

/// One page, and many who want it.
#[derive(Debug, clap::Args)]
struct Page {
    /// Where.
    target: SocketAddr,
    /// What.
    #[arg(long, default_value = "/")]
    path: String,
    /// Whom.
    #[arg(long, default_value = "localhost")]
    host: String,
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

fn main() -> ExitCode {
    match run(Settings::parse().load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pace: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(load: Load) -> io::Result<()> {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    match load {
        Load::Steady { target, path, host, rate, connections, seconds, in_turn } => {
            let request = get(&path, &host);
            let time = Duration::from_secs(seconds);
            println!("{}", steady::run(target, request.as_bytes(), connections, in_turn, rate, time)?);
        }
        Load::Messages { target, host, connections, seconds } => {
            let time = Duration::from_secs(seconds);
            println!("{}", runtime()?.block_on(echo::messages(target, &host, connections, time))?);
        }
        Load::Echo { listen } => runtime()?.block_on(echo::serve(listen))?,
        Load::Idle(Page { target, path, host, connections }) => {
            runtime()?.block_on(idle::run(target, &get(&path, &host), connections))?;
        }
        Load::Crowd(Page { target, path, host, connections }) => {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nAccept-Encoding: gzip, deflate, br\r\n\
                 Connection: close\r\n\r\n"
            );
            println!("{}", runtime()?.block_on(crowd::run(target, &request, connections))?);
        }
    }
    Ok(())
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}
