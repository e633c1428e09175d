//! The routes about the fleet: who is there, who decides, and how this edge leaves it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Context;
use super::problem::Problem;
use super::routes::Answer;
use crate::control::fleet::{FleetView, HasLeft};
use crate::control::view::FleetStatus;

/// The answer to `/v1/controller`.
#[derive(Debug, Serialize)]
pub(super) struct ControllerView {
    /// There is one.
    elected: bool,
    /// Its name.
    name: String,
    /// Its lease in etcd.
    lease: String,
}

fn alone() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is no fleet",
        "this ghostpin is alone: its file has no [cluster]",
    )
}

async fn look(context: Context) -> Answer<FleetView> {
    let seen = context.reload.controller.fleet().await.ok_or_else(Problem::stopping)?;
    let seen = seen.ok_or_else(alone)?;
    seen.map_err(|why| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the fleet's store does not answer", why)
    })
}

pub(super) async fn edges(State(context): State<Context>) -> Answer<Json<FleetView>> {
    look(context).await.map(Json)
}

pub(super) async fn controller(State(context): State<Context>) -> Answer<Json<ControllerView>> {
    let edge = look(context).await?.edges.into_iter().find(|edge| edge.controller);
    let elected = edge.is_some();
    let (name, lease) = edge.map_or_else(Default::default, |edge| (edge.name, edge.lease));
    Ok(Json(ControllerView { elected, name, lease }))
}

/// Whether readers may be sent to this edge: not before it knows what the fleet does, and not after it has left.
///
/// # Errors
/// Why not. An edge that has lost touch with its fleet is not among them: mostly all others have, too.
pub(super) fn is_served(fleet: &FleetStatus) -> Result<(), Problem> {
    let no = |title, why| Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, title, why));
    match (fleet.life.as_str(), fleet.watermark) {
        ("leaving" | "left", _) => {
            no("the fleet is left", "this edge lets nobody in: stop it, or start it again to have it join")
        }
        (_, 0) => no(
            "not yet one of the fleet",
            "etcd has not told this edge yet which backends are pinned; the log says why",
        ),
        _ => Ok(()),
    }
}

/// What stands after this edge has left.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    left: bool,
    /// Its store knows. Otherwise the lease has run out.
    told: bool,
}

pub(super) async fn leave(State(context): State<Context>) -> Answer<Json<Left>> {
    match context.reload.controller.leave().await {
        Some(Some(how)) => Ok(Json(Left { left: true, told: how == HasLeft::Told })),
        Some(None) => Err(alone()),
        None => Err(Problem::stopping()),
    }
}
