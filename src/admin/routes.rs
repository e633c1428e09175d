//! The routes of the admin API, and what they answer.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::control::{Wanted, WishError};
use crate::core::SiteName;
use crate::core::handoff::Refused;
use crate::observe::metrics;

/// All of them.
pub(super) fn all(context: Context) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render_metrics))
        .route("/v1/status", get(status))
        .route("/v1/sites", get(sites))
        .route("/v1/sites/{name}", get(site))
        .route("/v1/sites/{name}/handoff", post(handoff))
        .route("/v1/sites/{name}/hold", post(hold))
        .route("/v1/sites/{name}/release", post(release))
        .route("/v1/journal", get(journal))
        .route("/v1/reload", post(reload))
        .with_state(context)
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize)]
struct Problem {
    title: &'static str,
    status: u16,
    detail: String,
}

fn problem(status: StatusCode, title: &'static str, detail: impl ToString) -> Response {
    let body = Json(Problem { title, status: status.as_u16(), detail: detail.to_string() });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

async fn ready(State(context): State<Context>) -> Response {
    match context.reload.controller.status().await {
        Some(status) => match status.refused_update {
            // It serves, by the last good state.
            Some(why) => format!("ready, but an update was refused:\n{why}\n").into_response(),
            None => "ready\n".into_response(),
        },
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "not ready", "ghostpin is stopping"),
    }
}

async fn render_metrics(State(context): State<Context>) -> Response {
    let mut text = String::new();
    metrics::render(&context.metrics, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// The process, and where it listens.
#[derive(Debug, Serialize)]
struct StatusAnswer {
    #[serde(flatten)]
    status: crate::control::view::Status,
    listening: Vec<String>,
}

async fn status(State(context): State<Context>) -> Response {
    match context.reload.controller.status().await {
        Some(status) => {
            let listening = context.listening.iter().map(ToString::to_string).collect();
            Json(StatusAnswer { status, listening }).into_response()
        }
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "ghostpin is stopping"),
    }
}

async fn sites(State(context): State<Context>) -> Response {
    Json(context.reload.controller.sites().await).into_response()
}

async fn site(State(context): State<Context>, Path(name): Path<String>) -> Response {
    match context.reload.controller.site(SiteName::from(name.as_str())).await {
        Some(site) => Json(site).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no such site", format!("there is no site `{name}`")),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandoffWish {
    to: String,
}

async fn handoff(
    State(context): State<Context>,
    Path(name): Path<String>,
    body: axum::body::Bytes,
) -> Response {
    match serde_json::from_slice::<HandoffWish>(&body) {
        Ok(wish) => fulfil(context, name, Wanted::Handoff(wish.to)).await,
        Err(error) => {
            problem(StatusCode::BAD_REQUEST, "bad request", format!("{{\"to\": \"host:port\"}}: {error}"))
        }
    }
}

async fn hold(State(context): State<Context>, Path(name): Path<String>) -> Response {
    fulfil(context, name, Wanted::Hold).await
}

async fn release(State(context): State<Context>, Path(name): Path<String>) -> Response {
    fulfil(context, name, Wanted::Release).await
}

/// What stands after a wish.
#[derive(Debug, Serialize)]
struct Stands {
    site: String,
    epoch: u64,
    backend: String,
}

async fn fulfil(context: Context, site: String, wish: Wanted) -> Response {
    let done =
        context.reload.controller.wish(SiteName::from(site.as_str()), wish, "admin API".to_owned()).await;
    match done {
        Ok(pin) => {
            let epoch = pin.as_ref().map_or(0, |pin| pin.epoch.0);
            let backend = pin.map_or_else(String::new, |pin| pin.backend.to_string());
            Json(Stands { site, epoch, backend }).into_response()
        }
        Err(error) => {
            let status = match &error {
                WishError::NoSite(_) => StatusCode::NOT_FOUND,
                WishError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
                WishError::Refused(refused) => match refused {
                    Refused::NoCandidate => StatusCode::UNPROCESSABLE_ENTITY,
                    Refused::FenceFailed | Refused::NotProved | Refused::NobodyProved => {
                        StatusCode::BAD_GATEWAY
                    }
                    Refused::AlreadyThere
                    | Refused::NotWell
                    | Refused::Warm
                    | Refused::Busy
                    | Refused::NotHeld
                    | Refused::Retired => StatusCode::CONFLICT,
                },
            };
            problem(status, "the wish was not fulfilled", error)
        }
    }
}

#[derive(Debug, Deserialize)]
struct JournalQuery {
    site: Option<String>,
    count: Option<usize>,
}

async fn journal(State(context): State<Context>, Query(query): Query<JournalQuery>) -> Response {
    Json(context.reload.controller.journal(query.site, query.count.unwrap_or(100)).await).into_response()
}

async fn reload(State(context): State<Context>) -> Response {
    match context.reload.reload().await {
        Ok(applied) => Json(applied).into_response(),
        Err(why) => problem(StatusCode::UNPROCESSABLE_ENTITY, "the configuration was refused", why),
    }
}
