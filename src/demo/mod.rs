//! The demo: a proxy, two small applications, readers, and a failure in the middle.
//!
//! It shows on one machine, in half a minute, what ghostpin is for, and its parts ([`stand_in`], [`readers`],
//! [`history`], [`deeds`], [`processes`]) are those of every load test, so that what a newcomer sees first is
//! what is checked all the time. It uses loopback addresses only and leaves nothing behind.

pub mod cli;
pub mod client;
pub mod clock;
pub mod deeds;
pub mod history;
pub mod processes;
pub mod readers;
pub mod stand_in;
mod view;
pub mod websocket;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use cli::DemoArgs;
use clock::Moment;
use deeds::{Deeds, handed_over_twice};
use history::{Kind, Record, Turns, Waits, failures, first_answer, order};
use processes::{Proxy, Reserved, Scratch, StandIn};
use readers::{Load, Readers};
pub use view::Verdict;
use view::{HEADING, Second};

const SITE: &str = "demo";
const HOST: &str = "localhost";

/// When what happens, counted from the first reader.
const A_DIES: u64 = 4;
const B_STARTS: u64 = 9;
const END: u64 = 16;

/// Why there was no demo, or no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A part could not be started, stopped or asked.
    #[error("{what}: {source}")]
    Part {
        /// Which part.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// Ctrl-C (or SIGTERM) before the summary.
    #[error("stopped before the end")]
    Interrupted,
}

/// Says it to whoever looks on; without anybody there is nothing to show.
fn say(text: &str) -> Result<(), DemoError> {
    writeln!(io::stdout(), "{text}").what("standard output")
}

trait What<T> {
    fn what(self, what: &'static str) -> Result<T, DemoError>;
}

impl<T> What<T> for io::Result<T> {
    fn what(self, what: &'static str) -> Result<T, DemoError> {
        self.map_err(|source| DemoError::Part { what, source })
    }
}

/// Runs the demo: until its summary with `once`, otherwise until Ctrl-C.
///
/// Whatever ends it, the processes that it started are stopped and its files are removed.
///
/// # Errors
/// If a part of it can't be started, or it was interrupted before there was anything to sum up.
pub async fn run(args: DemoArgs) -> Result<Verdict, DemoError> {
    let mut stopped = Stopped::new().what("signals")?;
    let mut stage = tokio::select! {
        stage = Stage::set(&args) => stage?,
        () = stopped.wait() => return Err(DemoError::Interrupted),
    };
    stage.introduce()?;
    let verdict = tokio::select! {
        verdict = stage.play() => verdict,
        () = stopped.wait() => Err(DemoError::Interrupted),
    };
    if let Ok(verdict) = &verdict {
        say(&format!("\nWhat readers saw:\n{verdict}"))?;
        if !args.once {
            stage.invite()?;
            stopped.wait().await;
        }
    }
    stage.strike().await?;
    verdict
}

/// Ctrl-C and SIGTERM.
struct Stopped {
    interrupt: Signal,
    terminate: Signal,
}

impl Stopped {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Everything that takes part.
struct Stage {
    program: PathBuf,
    http: Reserved,
    proxy: Proxy,
    address_a: Reserved,
    address_b: Reserved,
    a: Option<StandIn>,
    b: Option<StandIn>,
    scratch: Scratch,
}

impl Stage {
    async fn set(args: &DemoArgs) -> Result<Self, DemoError> {
        let program = std::env::current_exe().what("this program's own path")?;
        let scratch = Scratch::new().what("a folder for temporary files")?;
        let http = Reserved::prefer(args.listen).what("an address for readers")?;
        let admin = Reserved::prefer(args.admin).what("an address for the admin API")?;
        let address_a = Reserved::any().what("an address for A")?;
        let address_b = Reserved::any().what("an address for B")?;
        let account = scratch.path("a.account");
        let a =
            StandIn::start(&program, "A", address_a.address, Some(&account), &[]).await.what("instance A")?;
        let config = scratch.path("ghostpin.toml");
        let text = config_of(&scratch, &http, &admin, [&address_a, &address_b]);
        std::fs::write(&config, text).what("the configuration")?;
        let log = scratch.path("ghostpin.log");
        let proxy = Proxy::start(&program, &config, admin.address, &log).await.what("the proxy")?;
        Ok(Self { program, http, proxy, address_a, address_b, a: Some(a), b: None, scratch })
    }

    fn introduce(&self) -> Result<(), DemoError> {
        let (readers, admin) = (self.http.address.port(), self.proxy.admin);
        say("One site, two instances of its application, each with its own memory. Only one may answer.\n")?;
        say(&format!("  readers    http://{HOST}:{readers}/   200 requests a second, one in ten a POST"))?;
        say(&format!("  admin      http://{admin}/v1/sites/{SITE}"))?;
        say(&format!("  A          {}   running", self.address_a.address))?;
        say(&format!("  B          {}   not started yet\n", self.address_b.address))?;
        say(HEADING)
    }

    /// Sends readers, lets A die and B start, and sums up what readers saw.
    async fn play(&mut self) -> Result<Verdict, DemoError> {
        let turns = Turns::once_each(&["A", "B"]);
        let readers = Readers::start(Load::of_readers(self.http.address, HOST, Duration::from_secs(END)));
        let begin = Moment::now();
        for second in 0..END {
            match second {
                A_DIES => self.kill_a(&readers).await?,
                B_STARTS => self.start_b().await?,
                _ => {}
            }
            let (from, to) = (begin + Duration::from_secs(second), begin + Duration::from_secs(second + 1));
            tokio::time::sleep(to.since(Moment::now())).await;
            let held = self.proxy.site(SITE).await.ok().map(|site| site.held);
            let seen = readers.look(|records| Second::of(records, &turns, from, to));
            say(&seen.line(second + 1, held))?;
        }
        self.sum_up(&readers.finish().await, &turns)
    }

    async fn kill_a(&mut self, readers: &Readers) -> Result<(), DemoError> {
        let Some(a) = self.a.take() else { return Ok(()) };
        readers.no_write_in_flight().await;
        a.kill().await.what("killing A")?;
        let pause = B_STARTS - A_DIES;
        say(&format!("         --- A is killed (SIGKILL); its orchestrator will need {pause} s ---"))
    }

    async fn start_b(&mut self) -> Result<(), DemoError> {
        let account = self.scratch.path("b.account");
        let listen = self.address_b.address;
        self.b =
            Some(StandIn::start(&self.program, "B", listen, Some(&account), &[]).await.what("instance B")?);
        say("         --- B has started ---")
    }

    fn sum_up(&self, records: &[Record], turns: &Turns) -> Result<Verdict, DemoError> {
        let a = Deeds::read(&self.scratch.path("a.account")).what("A's account")?;
        let b = Deeds::read(&self.scratch.path("b.account")).what("B's account")?;
        let listened = b.listening.first().copied().unwrap_or_default();
        Ok(Verdict {
            failed_reads: failures(records, Kind::Read),
            failed_writes: failures(records, Kind::Write),
            two_state_reads: order(records, turns).two_state_reads.len(),
            handed_over_twice: handed_over_twice([&a, &b]).len(),
            longest_wait: Waits::of(records).longest(),
            first_answer: first_answer(records, "B", listened).map(|head| head.since(listened)),
        })
    }

    fn invite(&self) -> Result<(), DemoError> {
        say("\nStill running, until Ctrl-C. Have a look:\n")?;
        say(&format!("  curl http://{HOST}:{}/", self.http.address.port()))?;
        say(&format!("  curl http://{}/v1/sites/{SITE}", self.proxy.admin))
    }

    /// Stops the proxy in order; the instances end when they are dropped.
    async fn strike(self) -> Result<(), DemoError> {
        self.proxy.stop().await.what("stopping the proxy")
    }
}

/// What an operator would write, with a larger hold budget: readers at 200 a second fill the usual one in 5 s.
fn config_of(scratch: &Scratch, http: &Reserved, admin: &Reserved, backends: [&Reserved; 2]) -> String {
    let [a, b] = backends.map(|reserved| reserved.address);
    format!(
        "[server]\nstate = {:?}\n[listen]\nhttp = [\"{}\"]\n[admin]\nlisten = \"{}\"\n\
         [hold]\nmax_requests = 5000\n\
         [[site]]\nname = \"{SITE}\"\nhosts = [\"{HOST}\"]\nbackends = [\"{a}\", \"{b}\"]\n",
        scratch.path("state"),
        http.address,
        admin.address,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ListenAddress};

    #[test]
    fn the_configuration_of_the_demo_is_valid() {
        let scratch = Scratch::new().unwrap();
        let [http, admin, a, b] = std::array::from_fn(|_| Reserved::any().unwrap());
        let text = config_of(&scratch, &http, &admin, [&a, &b]);
        let config = Config::parse(&text, &scratch.path("ghostpin.toml"));
        let config = config.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(config.listen.http[0].address, ListenAddress::Tcp(http.address));
        assert_eq!(config.sites[0].backends.len(), 2);
    }
}
