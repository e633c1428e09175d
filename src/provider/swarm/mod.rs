//! Docker Swarm: managers are asked in turn, [`crate::core::swarm`] says what their answers mean, and what is wanted goes
//! to whoever puts it in force.
//!
//! It has a thread of its own, so that the answer of a large swarm slows nobody. When no manager answers, nothing changes.

mod api;
mod manager;
mod memory;
mod turns;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

pub use view::{ManagerView, SwarmView};

use super::Sites;
use crate::config::provider::Swarm;
use crate::core::Backend;
use crate::core::swarm::Wanted;
use crate::tenure::Tenure;

/// What it is made from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// `[provider.swarm]`
    pub config: Swarm,
    /// `server.state`
    pub state: PathBuf,
    /// The backends that sites are pinned to: of two tasks that run, such a one is meant.
    pub pinned: BTreeMap<String, Backend>,
    /// The services that are in force already.
    pub recalled: Vec<Wanted>,
}

/// A look at what goes on, for any thread.
#[derive(Clone, Debug)]
pub struct Watched(Arc<Mutex<(SwarmView, Times)>>);

/// Since when, for what is told in ages.
#[derive(Clone, Debug, Default)]
struct Times {
    believed: Option<Instant>,
    asked: Vec<Option<Instant>>,
}

impl Watched {
    /// Nobody has been asked yet.
    pub fn new(config: &Swarm) -> Self {
        let unknown = |address: String| ManagerView {
            address,
            state: "unknown".to_owned(),
            why: String::new(),
            asked_ms: None,
        };
        let managers: Vec<ManagerView> =
            config.managers.iter().map(|manager| unknown(manager.to_string())).collect();
        let times = Times { believed: None, asked: vec![None; managers.len()] };
        Self(Arc::new(Mutex::new((SwarmView { managers, ..SwarmView::default() }, times))))
    }

    /// What is known now.
    pub fn view(&self) -> SwarmView {
        let (mut view, times) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let age = |at: Instant| at.elapsed().as_millis() as u64;
        view.age_ms = times.believed.map(age);
        for (manager, asked) in view.managers.iter_mut().zip(times.asked) {
            manager.asked_ms = asked.map(age);
        }
        view
    }

    fn change(&self, change: impl FnOnce(&mut SwarmView, &mut Times)) {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (view, times) = &mut *both;
        change(view, times);
    }
}

/// The services of a former life, or of the process before this one, each on the backend that its site is pinned to.
pub fn recalled(state: &Path, pinned: &BTreeMap<String, Backend>) -> Vec<Wanted> {
    memory::Memory::new(state).recall(pinned)
}

/// Starts the thread. It works while it is its turn.
///
/// # Errors
/// No thread can be had.
pub fn start(parts: Parts, sites: impl Sites + Send, tenure: Tenure) -> std::io::Result<Watched> {
    let watched = Watched::new(&parts.config);
    let shared = watched.clone();
    thread::Builder::new().name("swarm".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only a few file descriptors");
        let work = async move || watch::Watch::new(parts, sites, shared).run().await;
        tokio::task::LocalSet::new().block_on(&runtime, tenure.work(work));
    })?;
    Ok(watched)
}
