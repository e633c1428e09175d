//! How an upgrade is asked for: a line of JSON over a Unix socket in the state folder, which belongs to whoever ghostpin
//! runs as. To start a program is not a right that the admin API's token should give.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What is listened on in the state folder.
const SOCKET: &str = "upgrade.sock";
/// After an error of the system, which is short of something.
const PAUSE: Duration = Duration::from_secs(1);
/// Whoever waits hears from the process so often that it is alive.
const BEAT: Duration = Duration::from_secs(2);
/// One that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// No request is longer: it has two paths.
const BYTES_MAX: u64 = 16 * 1024;

/// An upgrade that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The program to start; otherwise what lies now where the running one was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// Its configuration file, from the root; otherwise that of the running process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
}

/// What is answered, until it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How far it is, for people.
    Step(String),
    /// It is still at it.
    Pending,
    /// The last one.
    Done(Outcome),
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new process serves.
    Serves {
        /// Its number.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// The old one goes on, for this reason.
    Failed(String),
    /// The process that was asked does not go on itself, for this reason.
    Ends(String),
}

/// A request, and where its answers go.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub request: Request,
    /// Nobody need be there.
    pub answers: mpsc::UnboundedSender<Answer>,
}

impl Asked {
    /// By a signal: with all as it is, and nobody who waits for the answer.
    pub fn by_signal() -> Self {
        Self { request: Request::default(), answers: mpsc::unbounded_channel().0 }
    }

    /// Tells whoever asked, and the log.
    pub fn step(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::info!("upgrade: {text}");
        let _ = self.answers.send(Answer::Step(text));
    }

    /// The last word.
    pub fn done(&self, outcome: Outcome) {
        let _ = self.answers.send(Answer::Done(outcome));
    }
}

/// Where requests come in.
pub fn socket_in(state: &Path) -> PathBuf {
    state.join(SOCKET)
}

/// What whoever asks a process that is about to end is told.
pub const STOPPING: &str = "ghostpin is stopping";

/// Answers all who ask that there will be no upgrade, and why.
pub async fn refuse(mut asked: mpsc::Receiver<Asked>, why: &'static str) {
    while let Some(asked) = asked.recv().await {
        tracing::warn!("no upgrade: {why}");
        asked.done(Outcome::Ends(why.to_owned()));
    }
}

/// Takes requests.
pub async fn listen(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "nobody can ask for an upgrade at the moment");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let asked = asked.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = one(stream, asked).await {
                tracing::debug!(%error, "who asked for an upgrade has gone");
            }
        });
    }
}

async fn one(stream: tokio::net::UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    tokio::io::AsyncReadExt::take(tokio::io::BufReader::new(reading), BYTES_MAX).read_line(&mut line).await?;
    let (answers, mut answered) = mpsc::unbounded_channel();
    match serde_json::from_str(&line) {
        Ok(request) => {
            // It has its turn when the one before is done.
            tokio::task::spawn_local(async move {
                if let Err(refused) = asked.send(Asked { request, answers }).await {
                    refused.0.done(Outcome::Ends(STOPPING.to_owned()));
                }
            });
        }
        Err(error) => {
            let why = format!("the request can't be understood: {error}");
            let _ = answers.send(Answer::Done(Outcome::Failed(why)));
        }
    }
    let mut is_done = false;
    while !is_done {
        let answer = match timeout(BEAT, answered.recv()).await {
            Ok(Some(answer)) => answer,
            // An upgrade that is given up in the middle is so for a stop.
            Ok(None) => Answer::Done(Outcome::Ends(STOPPING.to_owned())),
            Err(_) => Answer::Pending,
        };
        is_done = matches!(answer, Answer::Done(_));
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        writing.write_all(&line).await?;
    }
    Ok(())
}

/// Asks for an upgrade, calls `step` as it goes on, and returns what has become of it.
///
/// # Errors
/// Nobody listens there, or whoever did has gone, or hangs, without a last word.
pub fn ask(socket: &Path, request: &Request, step: impl FnMut(&str)) -> io::Result<Outcome> {
    ask_for(SILENCE_MAX, socket, request, step)
}

fn ask_for(
    patience: Duration,
    socket: &Path,
    request: &Request,
    mut step: impl FnMut(&str),
) -> io::Result<Outcome> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for line in BufReader::new(stream).lines() {
        // What the system says then is that a resource is not there.
        let silent = |error: io::Error| match error.kind() {
            ErrorKind::WouldBlock => {
                io::Error::new(ErrorKind::TimedOut, format!("it says nothing for {patience:?}"))
            }
            _ => error,
        };
        match serde_json::from_str(&line.map_err(silent)?)? {
            Answer::Step(text) => step(&text),
            Answer::Pending => {}
            Answer::Done(outcome) => return Ok(outcome),
        }
    }
    Err(ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_hangs_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let socket = socket_in(folder.path());
        let _hangs = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error =
            ask_for(Duration::from_millis(50), &socket, &Request::default(), |_| {}).unwrap_err().to_string();
        assert_eq!(error, "it says nothing for 50ms");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_long_hears_that_it_is_still_at_it() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
                let (asked, mut asks) = mpsc::channel(1);
                tokio::task::spawn_local(one(theirs, asked));
                let (reading, mut writing) = ours.into_split();
                writing.write_all(b"{}\n").await.unwrap();
                let mut lines = tokio::io::BufReader::new(reading).lines();
                let asked = asks.recv().await.unwrap();
                for _ in 0..3 {
                    assert_eq!(lines.next_line().await.unwrap().unwrap(), "\"pending\"");
                }
                asked.done(Outcome::Failed("no".to_owned()));
                let last = lines.next_line().await.unwrap().unwrap();
                assert_eq!(last, r#"{"done":{"failed":"no"}}"#);
            })
            .await;
    }
}
