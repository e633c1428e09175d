//! What the verbs `demo` and `stand-in` understand on the command line.

use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::cli::print::complain;

/// `ghostpin demo`
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Exit after the summary, with code 1 if readers saw a failure, instead of waiting for Ctrl-C.
    #[arg(long)]
    pub once: bool,
    /// Where readers come in; another free port is taken if this one is in use.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the admin API listens; another free port is taken if this one is in use.
    #[arg(long, default_value = "127.0.0.1:9180")]
    pub admin: SocketAddr,
}

/// `ghostpin stand-in`: a small application that may run only one instance.
#[derive(Args, Clone, Debug)]
pub struct StandInArgs {
    /// Where it listens; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The name of this instance, told in every answer.
    #[arg(long)]
    pub name: String,
    /// How long each answer takes, such as `700ms` (a request can ask for another with `?delay=`).
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub delay: Duration,
    /// Time of its one thread that each answer takes: others wait for their turn. Probes are answered at once.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub busy: Duration,
    /// Bytes of each answer's body, at least as many as its content needs (`?size=`).
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Status of each answer (`?status=`).
    #[arg(long, default_value = "200")]
    pub status: StatusCode,
    /// Appends to this file when each request began and ended, one JSON object a line.
    #[arg(long)]
    pub record: Option<PathBuf>,
    /// It may listen where others can reach it: for a network that a test has made for itself.
    #[arg(long)]
    pub anywhere: bool,
}

impl DemoArgs {
    /// Runs the demo; succeeds if readers noticed a pause and nothing else.
    pub fn run(self) -> ExitCode {
        match runtime().and_then(|runtime| Ok(runtime.block_on(super::run(self))?)) {
            Ok(verdict) if verdict.ok() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => failed("demo", &error),
        }
    }
}

impl StandInArgs {
    /// Runs the stand-in, until its process is ended.
    pub fn run(self) -> ExitCode {
        let serve = |runtime: Runtime| Ok(LocalSet::new().block_on(&runtime, super::stand_in::run(self))?);
        match runtime().and_then(serve) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed("stand-in", &error),
        }
    }
}

fn runtime() -> Result<Runtime, Box<dyn Error>> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn failed(verb: &str, error: &dyn Display) -> ExitCode {
    complain(&format!("ghostpin {verb}: {error}"));
    ExitCode::FAILURE
}

/// A time as in a configuration: `700ms`, `5s`, `1m30s`.
///
/// # Errors
/// If the text is anything else.
pub fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text).ok_or_else(|| {
        format!("`{text}` is not a time: write whole numbers with ms, s, m, h or d, such as `30s`, `500ms` or `1m30s`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_a_unit() {
        assert_eq!(duration("700ms"), Ok(Duration::from_millis(700)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "5", "s", "-1s", "1.5s", "18446744073709551615s"] {
            let why = duration(wrong).unwrap_err();
            assert!(why.contains("whole numbers with ms, s, m, h or d"), "{wrong}: {why}");
        }
    }
}
