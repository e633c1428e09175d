//! What goes on while a verb waits, on standard error: nothing for the first second, then one line that a terminal
//! redraws, or anywhere else a line when the phase is another one, and now and then. With `--json` there is none of it, for
//! standard error has failures alone then.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::failure::{Failure, is_json_wanted};
use crate::demo::cli::duration;

/// Whatever is done by then needs no words.
const QUIET: Duration = Duration::from_secs(1);
/// Between two looks.
const PACE: Duration = Duration::from_millis(500);
/// Where lines stay: the same phase is told again after this time.
const AGAIN: Duration = Duration::from_secs(10);

/// Options of the verbs that wait for something to end.
#[derive(Args, Clone, Debug)]
pub(super) struct Waiting {
    /// Wait no longer than this, such as `30s`: then it goes on without anybody waiting, and the exit code is 5.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) wait: Option<Duration>,
}

/// How far it is.
pub(super) struct Stage {
    /// Changes when something is worth another line.
    pub(super) phase: String,
    /// More about it.
    pub(super) detail: String,
}

impl Waiting {
    /// Does `work` and tells how far it is, by `look`. If it takes too long, `how_to_look` says what to do.
    pub(super) async fn on<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
        look: impl AsyncFn() -> Option<Stage>,
        how_to_look: &str,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let telling = async {
            if is_json_wanted() {
                return std::future::pending().await;
            }
            sleep(QUIET).await;
            let mut line =
                Line { is_terminal: io::stderr().is_terminal(), phase: String::new(), last: began };
            loop {
                if let Some(stage) = look().await {
                    line.tell(&stage, began);
                }
                sleep(PACE).await;
            }
        };
        let late = async {
            match self.wait {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            () = late => {
                let time = self.wait.unwrap_or_default().as_secs_f64();
                Err(Failure::Unfinished(format!("not done after {time} s, and it goes on: {how_to_look}")))
            }
            () = telling => unreachable!("it tells for ever"),
        }
    }
}

struct Line {
    is_terminal: bool,
    phase: String,
    last: Instant,
}

impl Line {
    fn tell(&mut self, stage: &Stage, began: Instant) {
        let text = format!("{} ({:.0} s): {}", stage.phase, began.elapsed().as_secs_f64(), stage.detail);
        if self.is_terminal {
            write(&format!("\r\x1b[?7l{text}\x1b[K\x1b[?7h"));
            self.phase.clone_from(&stage.phase);
        } else if self.phase != stage.phase || self.last.elapsed() >= AGAIN {
            write(&format!("{text}\n"));
            self.phase.clone_from(&stage.phase);
            self.last = Instant::now();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_terminal && !self.phase.is_empty() {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
