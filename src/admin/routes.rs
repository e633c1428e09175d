//! The routes of the admin API, and what they answer. `openapi.json` describes each of them, and a test holds the
//! two against each other.

use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::guard::guard;
use super::peer::Peer;
use super::problem::Problem;
use super::{Context, dashboard, explain, fleet, metrics};
use crate::certs;
use crate::control::view::SitesWanted;
use crate::control::{Source, Wanted, WishError};
use crate::core::SiteName;
use crate::core::handoff::Refused;
use crate::observe::{self, journal, text};
use crate::provider::swarm::SwarmView;

/// The longest wish: a backend's address and some blanks.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Journal entries that are told unless another number is asked for.
const JOURNAL_COUNT: usize = 100;

/// Path, method and handler of each, in the order of the document.
pub(super) fn list() -> Vec<(&'static str, &'static str, MethodRouter<Context>)> {
    vec![
        ("/", "get", get(dashboard::front)),
        ("/dashboard/{file}", "get", get(dashboard::file)),
        ("/healthz", "get", get(|| async { "ok\n" })),
        ("/readyz", "get", get(ready)),
        ("/metrics", "get", get(render_metrics)),
        ("/openapi.json", "get", get(document)),
        ("/v1/status", "get", get(status)),
        ("/v1/sites", "get", get(sites)),
        ("/v1/sites/{name}", "get", get(site)),
        ("/v1/sites/{name}/handoff", "post", post(handoff)),
        ("/v1/sites/{name}/hold", "post", post(hold)),
        ("/v1/sites/{name}/release", "post", post(release)),
        ("/v1/search", "get", get(dashboard::search)),
        (dashboard::LIVE, "get", get(dashboard::live)),
        ("/v1/explain", "get", get(explain)),
        ("/v1/journal", "get", get(journal)),
        ("/v1/certificates", "get", get(certificates)),
        ("/v1/edges", "get", get(fleet::edges)),
        ("/v1/controller", "get", get(fleet::controller)),
        ("/v1/leave", "post", post(fleet::leave)),
        ("/v1/providers", "get", get(providers)),
        ("/v1/plan", "post", post(plan)),
        ("/v1/reload", "post", post(reload)),
        ("/v1/updates/{id}/confirm", "post", post(confirm)),
    ]
}

/// All of them, behind their guard.
pub(super) fn all(context: Context) -> Router {
    let (checks, shut) = (context.guard.clone(), context.shut.clone());
    list()
        .into_iter()
        .fold(Router::new(), |router, (path, _, handler)| router.route(path, handler))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such path", "see /openapi.json") })
        .method_not_allowed_fallback(|| async {
            let detail = "this path exists, but not for this method: see /openapi.json";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no such method", detail)
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(checks, guard))
        .layer(middleware::map_response_with_state(shut, send_on))
        .with_state(context)
}

/// Through a door that is shut nobody comes back in: whoever has a connection makes another, to who comes next.
async fn send_on(State(shut): State<watch::Receiver<bool>>, mut response: Response) -> Response {
    if *shut.borrow() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

pub(super) type Answer<T> = Result<T, Problem>;

/// Query, path and body, or what is wrong with them.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Answer<T> {
    query.map(|Query(query)| query).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

pub(super) fn path(path: Result<Path<String>, PathRejection>) -> Answer<String> {
    path.map(|Path(name)| name).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

fn body<T: for<'de> Deserialize<'de>>(body: Result<Bytes, BytesRejection>, form: &str) -> Answer<T> {
    let body =
        body.map_err(|rejection| Problem::new(rejection.status(), "bad request", rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| Problem::bad_request(format!("send {form}: {error}")))
}

async fn ready(State(context): State<Context>) -> Answer<&'static str> {
    if context.stopping.load(Ordering::Relaxed) {
        return Err(Problem::stopping());
    }
    let stalled = context.stalls.now();
    if stalled > 0 {
        return Err(Problem::stalled(stalled));
    }
    let status = context.reload.controller.status().await.ok_or_else(Problem::stopping)?;
    if let Some(fleet) = &status.fleet {
        fleet::is_served(fleet)?;
    }
    let is_heard = context.swarm.as_ref().is_none_or(|swarm| swarm.view().is_heard());
    // It serves, by the last good state. Why is told to those who may ask for more.
    Ok(match (status.refused_update, is_heard) {
        (Some(_), _) => "ready, but the last update was refused: see /v1/status\n",
        (None, false) => "ready, but no manager of the swarm answers: see /v1/providers\n",
        (None, true) => "ready\n",
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsQuery {
    site: Option<String>,
}

async fn render_metrics(
    State(context): State<Context>,
    asked: Result<Query<MetricsQuery>, QueryRejection>,
) -> Answer<Response> {
    let controller = &context.reload.controller;
    let text = match query(asked)?.site {
        Some(name) => {
            let site = controller.site(SiteName::from(name.as_str())).await.ok_or_else(Problem::stopping)?;
            metrics::of_a_site(&site.ok_or_else(|| Problem::no_site(&name))?)
        }
        None => {
            let status = controller.status().await.ok_or_else(Problem::stopping)?;
            metrics::of_the_process(&context, &status)
        }
    };
    Ok(([(header::CONTENT_TYPE, text::MEDIA_TYPE)], text).into_response())
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], super::DOCUMENT).into_response()
}

/// The process, where it listens, and the file that it reads.
#[derive(Debug, Serialize)]
struct StatusAnswer {
    #[serde(flatten)]
    status: crate::control::view::Status,
    listening: Vec<String>,
    config: String,
    answers: u64,
    stalled_workers: u64,
}

async fn status(State(context): State<Context>) -> Answer<Response> {
    let status = context.reload.controller.status().await.ok_or_else(Problem::stopping)?;
    let listening = context.listening.iter().map(ToString::to_string).collect();
    let config = context.reload.path().display().to_string();
    let answers = observe::metrics::answers(&context.metrics);
    let stalled_workers = context.stalls.now();
    Ok(Json(StatusAnswer { status, listening, config, answers, stalled_workers }).into_response())
}

async fn sites(
    State(context): State<Context>,
    asked: Result<Query<SitesWanted>, QueryRejection>,
) -> Answer<Response> {
    let sites = context.reload.controller.sites(query(asked)?).await.ok_or_else(Problem::stopping)?;
    Ok(Json(sites).into_response())
}

async fn site(State(context): State<Context>, name: Result<Path<String>, PathRejection>) -> Answer<Response> {
    let name = path(name)?;
    let site = context.reload.controller.site(SiteName::from(name.as_str())).await;
    let site = site.ok_or_else(Problem::stopping)?.ok_or_else(|| Problem::no_site(&name))?;
    Ok(Json(site).into_response())
}

// Wishes. They are handed to the reconciler at once, and go their way even if who wished does not wait for the answer.

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandoffWish {
    to: String,
}

type Who = ConnectInfo<Peer>;

async fn handoff(
    State(context): State<Context>,
    ConnectInfo(peer): Who,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
    sent: Result<Bytes, BytesRejection>,
) -> Answer<Response> {
    let wish: HandoffWish = body(sent, "{\"to\": \"host:port\"}")?;
    fulfil(context, path(name)?, Wanted::Handoff(wish.to), peer.in_words(&headers)).await
}

async fn hold(
    State(context): State<Context>,
    ConnectInfo(peer): Who,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
) -> Answer<Response> {
    fulfil(context, path(name)?, Wanted::Hold, peer.in_words(&headers)).await
}

async fn release(
    State(context): State<Context>,
    ConnectInfo(peer): Who,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
) -> Answer<Response> {
    fulfil(context, path(name)?, Wanted::Release, peer.in_words(&headers)).await
}

/// What stands after a wish.
#[derive(Debug, Serialize)]
struct Stands {
    site: String,
    epoch: u64,
    backend: String,
}

async fn fulfil(context: Context, site: String, wish: Wanted, by: String) -> Answer<Response> {
    let done = context.reload.controller.wish(SiteName::from(site.as_str()), wish, by).await;
    let pin = done.map_err(|error| refusal(&site, error))?;
    let epoch = pin.as_ref().map_or(0, |pin| pin.epoch.0);
    let backend = pin.map_or_else(String::new, |pin| pin.backend.to_string());
    Ok(Json(Stands { site, epoch, backend }).into_response())
}

fn refusal(site: &str, error: WishError) -> Problem {
    let refused = match &error {
        WishError::NoSite(_) => return Problem::no_site(site),
        WishError::Stopping => return Problem { detail: error.to_string(), ..Problem::stopping() },
        WishError::NewController | WishError::NoController | WishError::Succeeded => {
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the wish was not fulfilled", error);
        }
        WishError::Refused(refused) => refused,
    };
    let status = match refused {
        Refused::NoCandidate => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::FenceFailed | Refused::NotProved | Refused::NobodyProved => StatusCode::BAD_GATEWAY,
        Refused::AlreadyThere
        | Refused::NotWell
        | Refused::Warm
        | Refused::Busy
        | Refused::NotHeld
        | Refused::Retired => StatusCode::CONFLICT,
    };
    Problem::new(status, "the wish was not fulfilled", error)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    url: String,
}

async fn explain(
    State(mut context): State<Context>,
    asked: Result<Query<ExplainQuery>, QueryRejection>,
) -> Answer<Response> {
    let url = explain::Url::parse(&query(asked)?.url).map_err(Problem::bad_request)?;
    let published = context.reader.load().clone();
    let controller = &context.reload.controller;
    let status = controller.status().await.ok_or_else(Problem::stopping)?;
    let entrance =
        explain::Entrance { doors: &context.doors, certificates: context.reload.certificates.as_deref() };
    let Some(site) = explain::lookup(&published, &url) else {
        return Ok(Json(explain::unknown(&published, entrance, url)).into_response());
    };
    let view = controller.site(site.name().clone()).await.ok_or_else(Problem::stopping)?;
    Ok(match view {
        Some(view) => {
            let held = (status.held, status.held_max);
            Json(explain::known(site, view, held, entrance, url)).into_response()
        }
        // Removed in this very moment.
        None => Json(explain::unknown(&published, entrance, url)).into_response(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    site: Option<String>,
    kind: Option<String>,
    count: Option<usize>,
}

async fn journal(
    State(context): State<Context>,
    asked: Result<Query<JournalQuery>, QueryRejection>,
) -> Answer<Response> {
    let JournalQuery { site, kind, count } = query(asked)?;
    let count = count.unwrap_or(JOURNAL_COUNT);
    if !(1..=journal::ENTRIES_MAX).contains(&count) {
        return Err(Problem::bad_request(format!("`count` is from 1 to {}", journal::ENTRIES_MAX)));
    }
    let entries = context.reload.controller.journal(journal::Filter { site, kind, count }).await;
    Ok(Json(entries.ok_or_else(Problem::stopping)?).into_response())
}

async fn certificates(
    State(context): State<Context>,
    asked: Result<Query<certs::Wanted>, QueryRejection>,
) -> Answer<Response> {
    let wanted = query(asked)?;
    let certificates = context.reload.certificates.as_ref();
    Ok(Json(certificates.map_or_else(Vec::new, |all| all.views(&wanted))).into_response())
}

/// The providers that are configured.
#[derive(Debug, Serialize)]
struct Providers {
    #[serde(skip_serializing_if = "Option::is_none")]
    swarm: Option<SwarmView>,
}

async fn providers(State(context): State<Context>) -> Response {
    Json(Providers { swarm: context.swarm_view() }).into_response()
}

/// What a reload would do now.
#[derive(Debug, Serialize)]
struct PlanAnswer {
    /// The file that was read: the one that ghostpin was started with. No other can be named, for whoever asks may not
    /// be allowed to read what ghostpin can.
    config: String,
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<Change>,
    handed_off: Vec<Departure>,
    settings: Vec<&'static str>,
    needs_restart: Vec<&'static str>,
    /// What it waits for, and what to do.
    waits: Option<String>,
    text: String,
}

#[derive(Debug, Serialize)]
struct Change {
    site: String,
    keys: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Departure {
    site: String,
    from: String,
}

async fn plan(State(context): State<Context>) -> Answer<Response> {
    let refused = |why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the configuration is wrong", why);
    let config = context.reload.wanted().await.map_err(refused)?;
    let plan = context.reload.controller.plan(config).await.ok_or_else(Problem::stopping)?;
    let text = plan.to_string();
    let in_words = |names: &[SiteName]| names.iter().map(ToString::to_string).collect();
    let answer = PlanAnswer {
        config: context.reload.path().display().to_string(),
        added: in_words(&plan.added),
        removed: in_words(&plan.removed),
        changed: plan
            .changed
            .into_iter()
            .map(|(site, keys)| Change { site: site.to_string(), keys })
            .collect(),
        handed_off: plan
            .handed_off
            .into_iter()
            .map(|(site, from)| Departure { site: site.to_string(), from: from.to_string() })
            .collect(),
        settings: plan.settings,
        needs_restart: plan.needs_restart,
        waits: plan.waits,
        text,
    };
    Ok(Json(answer).into_response())
}

/// What became of a confirmation.
#[derive(Debug, Serialize)]
struct Confirmed {
    source: &'static str,
    added: usize,
    removed: usize,
    changed: usize,
}

async fn confirm(
    State(context): State<Context>,
    id: Result<Path<String>, PathRejection>,
) -> Answer<Response> {
    let id = path(id)?;
    let status = context.reload.controller.status().await.ok_or_else(Problem::stopping)?;
    let none = || {
        let detail = format!("`{id}` does not wait: see waiting_updates in /v1/status");
        Problem::new(StatusCode::NOT_FOUND, "no such update", detail)
    };
    let update = status.waiting_updates.into_iter().find(|update| update.id == id).ok_or_else(none)?;
    let source = context.reload.controller.confirm(id.clone()).await.ok_or_else(Problem::stopping)?;
    let confirmed = match source.ok_or_else(none)? {
        Source::File => {
            let refused = |why| not_reloaded(&context, why);
            let applied = context.reload.reload().await.map_err(refused)?;
            if let Some(why) = applied.waits {
                return Err(refused(why));
            }
            let count = |sites: Vec<String>| sites.len();
            Confirmed {
                source: "file",
                added: count(applied.added),
                removed: count(applied.removed),
                changed: count(applied.changed),
            }
        }
        // It says what it wants again and again.
        Source::Provider => Confirmed {
            source: "provider",
            added: update.added,
            removed: update.removed,
            changed: update.changed,
        },
    };
    Ok(Json(confirmed).into_response())
}

async fn reload(State(context): State<Context>) -> Answer<Response> {
    match context.reload.reload().await {
        Ok(applied) => {
            let status = if applied.waits.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok((status, Json(applied)).into_response())
        }
        Err(why) => Err(not_reloaded(&context, why)),
    }
}

fn not_reloaded(context: &Context, why: String) -> Problem {
    match context.reload.controller.is_over() {
        true => Problem { detail: why, ..Problem::stopping() },
        false => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the configuration was refused", why),
    }
}
