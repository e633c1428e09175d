//! The stream that the page watches: server-sent events, each with all that has changed since the one before of what is
//! shown, and nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waker, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::problem::Problem;
use super::super::routes::{Answer, query};
use super::super::{Context, until};
use super::facts::{Fact, Facts};
use super::{Found, WATCHERS_MAX, Window, find, glance, look};
use crate::control::glance::{Glance, Now, SiteLine, TroublesView};
use crate::control::view::SiteView;
use crate::core::SiteName;
use crate::observe::journal;
use crate::published::Published;

/// Time between two looks for one who watches.
const PACE: Duration = Duration::from_millis(500);
/// Of each kind of trouble, so many sites are told of.
pub(super) const TROUBLES_MAX: usize = 20;
/// The newest journal entries are told of, so many.
pub(super) const ENTRIES_MAX: usize = 20;
/// After this time without a change something is sent all the same, so that both ends know of each other.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// A stream ends after this time, in seconds; whoever watches asks again.
const SECONDS: u64 = 600;
const SECONDS_MAX: u64 = 3600;

/// What is watched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Watched {
    #[serde(default)]
    text: String,
    #[serde(default)]
    from: usize,
    count: Option<usize>,
    /// Everything about this site.
    site: Option<String>,
    /// For how long; 0 for one look.
    seconds: Option<u64>,
}

/// One event. What has not changed is left out.
#[derive(Debug, Serialize)]
struct Change<'g> {
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Present<'g>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<&'g Fact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    troubles: Option<&'g TroublesView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<&'g Names>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    lines: Vec<&'g SiteLine>,
    /// `Some(None)` says that there is none of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<Option<&'g SiteView>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entries: Vec<&'g journal::Entry>,
}

/// The process at this moment, with what the reconciler doesn't know of it.
#[derive(Debug, Serialize)]
struct Present<'g> {
    #[serde(flatten)]
    now: &'g Now,
    stalled_workers: u64,
}

/// The sites of the window, by name.
#[derive(Debug, Default, Serialize)]
struct Names {
    total: usize,
    from: usize,
    names: Vec<String>,
}

/// What one who watches was told last, as its digest: a window, some troubles and some entries, so it stays small.
#[derive(Debug, Default)]
struct Told {
    hasher: RandomState,
    before: HashMap<String, u64>,
    now: HashMap<String, u64>,
}

impl Told {
    /// Whether this is other than it was last. `key` tells things from each other.
    fn is_new(&mut self, key: String, thing: &impl Serialize) -> bool {
        let digest = self.hasher.hash_one(serde_json::to_vec(thing).unwrap_or_default());
        let is_new = self.before.get(&key) != Some(&digest);
        self.now.insert(key, digest);
        is_new
    }

    /// All was looked at: what was not is forgotten.
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

/// What goes over the stream.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Waker<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// One who watches.
struct Watcher {
    context: Context,
    window: Window,
    site: Option<SiteName>,
    found: Found,
    of: Option<Arc<Published>>,
    told: Told,
}

pub(in super::super) async fn live(
    State(context): State<Context>,
    asked: Result<Query<Watched>, QueryRejection>,
) -> Answer<Response> {
    let Watched { text, from, count, site, seconds } = query(asked)?;
    let window = Window { text, from, count };
    window.check()?;
    let seconds = seconds.unwrap_or(SECONDS);
    if seconds > SECONDS_MAX {
        return Err(Problem::bad_request(format!("`seconds` is {SECONDS_MAX} at most")));
    }
    let place = context.dashboard.places.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{WATCHERS_MAX} watch already: close a dashboard, or look at /v1/sites");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many watch", detail)
    })?;
    let site = site.map(|name| SiteName::from(name.as_str()));
    let (found, told) = (Found::default(), Told::default());
    let mut watcher = Watcher { context, window, site, found, of: None, told };
    let first = watcher.look().await?;
    // Room for one: who is slow is told less often, and nothing piles up.
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        watcher.watch(first, &events, Duration::from_secs(seconds)).await;
    });
    let fields = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((fields, Body::new(Events(receiver))).into_response())
}

impl Watcher {
    async fn watch(&mut self, first: String, events: &mpsc::Sender<Bytes>, time: Duration) {
        let end = Instant::now() + time;
        let mut shut = self.context.shut.clone();
        let mut next = first;
        let mut sent = Instant::now();
        loop {
            if next.is_empty() && sent.elapsed() >= QUIET_MAX {
                next = ":\n\n".to_owned();
            }
            if !next.is_empty() {
                sent = Instant::now();
                if events.send(next.into()).await.is_err() {
                    return;
                }
            }
            if Instant::now() >= end {
                return;
            }
            tokio::select! {
                () = events.closed() => return,
                () = until(&mut shut, true) => return,
                () = tokio::time::sleep(PACE) => {}
            }
            // Why there is nothing to tell any more is told whoever asks again.
            let Ok(event) = self.look().await else { return };
            next = event;
        }
    }

    /// What has changed, as an event; empty if nothing has.
    async fn look(&mut self) -> Answer<String> {
        let published = self.context.reader.load().clone();
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &published)) {
            self.found = find(&self.context, &self.window).await;
            self.of = Some(published);
        }
        let wanted = look(self.found.names.clone(), self.site.clone());
        let glance = glance(&self.context, wanted).await?;
        let facts = Facts::known(&self.context);
        let names = self.found.names.iter().map(ToString::to_string).collect();
        let names = Names { total: self.found.total, from: self.window.from, names };
        Ok(self.change(&glance, facts.as_deref(), &names))
    }

    fn change(&mut self, glance: &Glance, facts: Option<&Fact>, names: &Names) -> String {
        let now = Present { now: &glance.now, stalled_workers: self.context.stalls.now() };
        let (told, site) = (&mut self.told, glance.site.as_ref());
        let lines =
            glance.lines.iter().filter(|line| told.is_new(format!("line {}", line.summary.name), line));
        let lines = lines.collect();
        let entries = glance.entries.iter().filter(|entry| told.is_new(format!("entry {}", entry.id), entry));
        let entries = entries.collect();
        let change = Change {
            lines,
            entries,
            now: told.is_new("now".to_owned(), &now).then_some(now),
            facts: facts.filter(|facts| told.is_new("facts".to_owned(), facts)),
            troubles: told.is_new("troubles".to_owned(), &glance.troubles).then_some(&glance.troubles),
            window: told.is_new("window".to_owned(), names).then_some(names),
            site: self.site.is_some().then_some(site).filter(|site| told.is_new("site".to_owned(), site)),
        };
        told.turn();
        let text = serde_json::to_string(&change).unwrap_or_default();
        if text == "{}" { String::new() } else { format!("data: {text}\n\n") }
    }
}
