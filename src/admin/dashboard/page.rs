//! The page itself: files that are part of the program. They hold no secret, ask nobody else for anything, and may be
//! loaded without the token, which the page asks for.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::problem::Problem;
use super::super::routes::{Answer, path};

/// Where its files are.
const FOLDER: &str = "/dashboard/";

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Name, media type and text of each.
const FILES: [(&str, &str, &str); 9] = [
    ("style.css", CSS, include_str!("style.css")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("main.js", JS, include_str!("main.js")),
    ("ask.js", JS, include_str!("ask.js")),
    ("elements.js", JS, include_str!("elements.js")),
    ("overview.js", JS, include_str!("overview.js")),
    ("site.js", JS, include_str!("site.js")),
    ("timeline.js", JS, include_str!("timeline.js")),
    ("wishes.js", JS, include_str!("wishes.js")),
];

/// The page runs nothing but its own files, asks nobody but this ghostpin, sends no form, and is part of no other page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What goes with each of them. They are those of the program that runs: nobody is to keep them.
const FIELDS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Whether this is one of them, or would be.
pub(in super::super) fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with(FOLDER)
}

fn told(media: &'static str, text: &'static str) -> Response {
    (FIELDS, [(header::CONTENT_TYPE, media)], text).into_response()
}

pub(in super::super) async fn front() -> Response {
    told("text/html; charset=utf-8", include_str!("index.html"))
}

pub(in super::super) async fn file(name: Result<Path<String>, PathRejection>) -> Answer<Response> {
    let name = path(name)?;
    let found = FILES.iter().find(|(known, ..)| *known == name);
    let (_, media, text) = found.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "no such file", format!("the dashboard has no file `{name}`"))
    })?;
    Ok(told(media, text))
}
