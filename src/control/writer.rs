//! The thread that writes pins: what has gathered while it wrote is written together.

use std::sync::mpsc;
use std::thread;

use super::store::{Outcome, PinStore};
use crate::core::{Pin, SiteName};
use crate::gate::SiteKey;

/// A pin to be made durable.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Whose; `None` if nobody waits for it.
    pub site: Option<SiteKey>,
    /// The name it is stored under.
    pub name: SiteName,
    /// The pin.
    pub pin: Pin,
}

/// What became of one.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whose; `None` if nobody waits for it.
    pub site: Option<SiteKey>,
    /// The pin.
    pub pin: Pin,
    /// The error says why it is not known to be durable.
    pub result: Result<(), String>,
}

/// The way to the thread. The thread ends when this is dropped and all is written.
pub struct Writer {
    write: Box<dyn Fn(Commit) + Send>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `report` is called on it.
    pub fn start(
        mut store: PinStore,
        report: impl Fn(Vec<Committed>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (commits, received) = mpsc::channel::<Commit>();
        let thread = thread::Builder::new().name("pin-writer".to_owned()).spawn(move || {
            while let Ok(first) = received.recv() {
                let batch: Vec<Commit> = std::iter::once(first).chain(received.try_iter()).collect();
                report(write(&mut store, batch));
            }
        })?;
        // The thread lives as long as this end.
        let write = Box::new(move |commit| drop(commits.send(commit)));
        Ok(Self { write, thread: Some(thread) })
    }

    /// Hands pins to somebody else, who makes them durable and reports so.
    pub fn to(write: impl Fn(Commit) + Send + 'static) -> Self {
        Self { write: Box::new(write), thread: None }
    }

    /// Returns when all is written and reported, and the store is closed.
    pub fn close(self) {
        let Self { write, thread } = self;
        drop(write);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes pins has panicked");
        }
    }

    /// Has a pin written.
    pub fn write(&self, commit: Commit) {
        (self.write)(commit);
    }
}

fn write(store: &mut PinStore, batch: Vec<Commit>) -> Vec<Committed> {
    let pins: Vec<_> = batch.iter().map(|commit| (commit.name.clone(), commit.pin.clone())).collect();
    let results: Vec<Result<(), String>> = match store.commit(&pins) {
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Durable => Ok(()),
                Outcome::Refused { stored } => Err(format!(
                    "the store has epoch {} with {} already, and never goes back",
                    stored.epoch, stored.backend
                )),
            })
            .collect(),
        Err(error) => vec![Err(error.to_string()); batch.len()],
    };
    let done = batch.into_iter().zip(results);
    done.map(|(commit, result)| Committed { site: commit.site, pin: commit.pin, result }).collect()
}
