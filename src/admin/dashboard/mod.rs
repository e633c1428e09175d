//! The dashboard: a page for operators at the admin address, and what it looks at.
//!
//! The page is a few files that are part of the program. It knows the sites by windows: searching and paging are done
//! here, and over one stream it is told what has changed of what it shows. Everything is bounded: those who watch, what they
//! are told, and what that costs the reconciler, which is never asked for all sites.

mod facts;
mod index;
mod live;
mod page;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub(super) use live::live;
pub(super) use page::{file, front, is_page};

use super::Context;
use super::problem::Problem;
use super::routes::{Answer, query};
use crate::control::glance::{Glance, Look, SiteLine};
use crate::core::SiteName;
use facts::Facts;
use index::{Found, Index};

/// The path of the stream.
pub(super) const LIVE: &str = "/v1/live";
/// Lines of a window.
const LINES_MAX: usize = 100;
/// Lines of a window unless another number is asked for.
const LINES: usize = 50;
/// The longest text that is looked for, in bytes: that of a host.
const TEXT_BYTES_MAX: usize = 255;
/// How long the control plane may take for a glance, which costs it less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);
/// Those who watch at a time.
pub(super) const WATCHERS_MAX: usize = 16;

/// What all who look have in common.
#[derive(Debug)]
pub struct Shared {
    /// A place for each who may watch.
    pub(super) places: Arc<Semaphore>,
    /// Sites by name, from the first look on: 50 bytes a site. Made anew for each look, it would take longer than the search.
    index: Mutex<Option<Arc<Index>>>,
    /// One search at a time.
    searching: Arc<Semaphore>,
    facts: Facts,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WATCHERS_MAX)),
            index: Mutex::default(),
            searching: Arc::new(Semaphore::new(1)),
            facts: Facts::default(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked has not left half of a change behind: each is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Some sites, in the order of their names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Window {
    /// Those with this in their name or in one of their hosts.
    text: String,
    /// How many of them to leave out.
    from: usize,
    /// How many to tell of.
    count: Option<usize>,
}

impl Window {
    fn check(&self) -> Answer<()> {
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(Problem::bad_request(format!("`text` has {TEXT_BYTES_MAX} bytes at most")));
        }
        if !(1..=LINES_MAX).contains(&self.count()) {
            return Err(Problem::bad_request(format!("`count` is from 1 to {LINES_MAX}")));
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.count.unwrap_or(LINES)
    }
}

/// The answer to `/v1/search`.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    total: usize,
    from: usize,
    sites: Vec<SiteLine>,
}

pub(super) async fn search(
    State(context): State<Context>,
    asked: Result<Query<Window>, QueryRejection>,
) -> Answer<Json<Seen>> {
    let window = query(asked)?;
    window.check()?;
    let Found { total, names } = find(&context, &window).await;
    let look = Look { names, ..Look::default() };
    let glance = glance(&context, look).await?;
    Ok(Json(Seen { total, from: window.from, sites: glance.lines }))
}

/// A glance, unless nobody is there any more who can be glanced at.
async fn glance(context: &Context, look: Look) -> Answer<Glance> {
    match tokio::time::timeout(PATIENCE, context.reload.controller.glance(look)).await {
        Ok(glance) => glance.ok_or_else(Problem::stopping),
        Err(_) => Err(Problem::silent(PATIENCE)),
    }
}

/// Looks for sites, beside the admin thread.
async fn find(context: &Context, window: &Window) -> Found {
    let turn = context.dashboard.searching.clone().acquire_owned().await;
    let (shared, window) = (context.dashboard.clone(), window.clone());
    let published = context.reader.clone().load().clone();
    let looking = tokio::task::spawn_blocking(move || {
        let known = locked(&shared.index).clone().filter(|index| index.is_of(&published));
        let sites = published.routes.sites();
        let index = known.unwrap_or_else(|| Arc::new(Index::new(Arc::downgrade(&published), sites)));
        let found = index.find(&window.text, window.from, window.count());
        *locked(&shared.index) = Some(index);
        // Who has left meanwhile does not let another one begin beside this one.
        drop(turn);
        found
    });
    looking.await.unwrap_or_default()
}

/// Names of sites, and the site that is open, of one who watches.
fn look(names: Vec<SiteName>, site: Option<SiteName>) -> Look {
    Look { names, site, troubles_max: live::TROUBLES_MAX, entries_max: live::ENTRIES_MAX }
}
