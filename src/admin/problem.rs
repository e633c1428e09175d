//! Refusals, as problem documents (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of thing went wrong; the same words each time.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What went wrong this time, and what to do.
    pub detail: String,
}

impl Problem {
    /// A refusal with this status.
    pub fn new(status: StatusCode, title: &str, detail: impl ToString) -> Self {
        Self { title: title.to_owned(), status: status.as_u16(), detail: detail.to_string() }
    }

    /// The process is about to end.
    pub fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "ghostpin is stopping")
    }

    /// The reconciler stands still, or has too much to do: nothing is decided meanwhile.
    pub fn silent(waited: Duration) -> Self {
        let detail = format!(
            "the control plane has not answered for {} s: nothing is decided meanwhile, and the log may say why",
            waited.as_secs()
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "silent", detail)
    }

    /// Workers stand still, and who comes to one of them waits in vain.
    pub fn stalled(workers: u64) -> Self {
        let detail =
            format!("{workers} of the worker threads stand still: see /v1/journal?kind=worker_stalled");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stalled", detail)
    }

    /// Nothing is called like that.
    pub fn no_site(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such site", format!("there is no site `{name}`"))
    }

    /// The request can't be understood.
    pub fn bad_request(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad request", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(self)).into_response()
    }
}
