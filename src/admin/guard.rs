//! Who may ask: holders of the token, and nobody by way of somebody else's browser.
//!
//! A loopback address keeps other machines out, but not the pages that a browser on this machine shows. A page whose
//! name was made to resolve to 127.0.0.1 is known by its `Host`; one that sends something here by its `Origin`, and a form
//! that names none by the type of what it sends. No answer ever allows another site's page to read it (CORS).

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::dashboard;
use super::problem::Problem;
use crate::config::{ListenAddress, Secret};

/// Answers that a load balancer or an orchestrator asks for, which has no token. They tell nothing but their status.
const FOR_EVERYBODY: [&str; 2] = ["/healthz", "/readyz"];

/// What an HTML form can send without asking first. Nobody else needs these types here.
const OF_FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// What is asked of a request before it is looked at.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Needed, if set.
    pub token: Option<Secret>,
    /// Where the admin API listens.
    pub listen: ListenAddress,
}

/// Lets a request through, or answers it.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let refusal = guard
        .check_host(&request)
        .or_else(|| guard.check_origin(&request))
        .or_else(|| check_form(&request))
        .or_else(|| guard.check_token(&request));
    match refusal {
        None => next.run(request).await,
        Some(problem) => {
            let wants_token = problem.status == StatusCode::UNAUTHORIZED;
            let mut response = problem.into_response();
            if wants_token {
                let how = HeaderValue::from_static("Bearer realm=\"ghostpin\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
            }
            response
        }
    }
}

impl Guard {
    /// Where only this machine should get to, a `Host` that is a name of its own was made to lead here.
    fn check_host(&self, request: &Request) -> Option<Problem> {
        let (here, is_unix) = match &self.listen {
            // An address that others can reach asks for the token.
            ListenAddress::Tcp(listen) if !listen.ip().is_loopback() => return None,
            ListenAddress::Tcp(listen) => (listen.to_string(), false),
            // Browsers come through a port that is forwarded to it (ssh -L). Other clients may call it anything, but no page
            // is under a name without a dot.
            ListenAddress::Unix(_) => ("localhost".to_owned(), true),
        };
        let host = host(request)?;
        let is_ours = host.is_some_and(|host| {
            let name = host.host().trim_start_matches('[').trim_end_matches(']');
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
                || is_unix && !name.contains(['.', ':'])
        });
        (!is_ours).then(|| {
            let detail = format!("ask for http://{here}/: this address answers to no other host");
            Problem::new(StatusCode::FORBIDDEN, "foreign host", detail)
        })
    }

    /// What changes something must not come from the page of another site, nor may one take the places of those who watch.
    fn check_origin(&self, request: &Request) -> Option<Problem> {
        let is_a_look = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if is_a_look && request.uri().path() != dashboard::LIVE {
            return None;
        }
        let headers = request.headers();
        let fetched_by_another =
            headers.get_all("sec-fetch-site").iter().any(|site| site != "same-origin" && site != "none");
        let own = host(request).flatten();
        let from_another = headers.get_all(header::ORIGIN).iter().any(|origin| {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            let authority = origin.and_then(|(_, authority)| authority.parse::<Authority>().ok());
            authority.is_none() || authority != own
        });
        (fetched_by_another || from_another).then(|| {
            let detail = "a page of another site must not change anything here, nor watch";
            Problem::new(StatusCode::FORBIDDEN, "foreign origin", detail)
        })
    }

    fn check_token(&self, request: &Request) -> Option<Problem> {
        let token = self.token.as_ref()?;
        let path = request.uri().path();
        // The dashboard's page asks for the token itself, and shows nothing before it has it.
        if FOR_EVERYBODY.contains(&path) || dashboard::is_page(path) {
            return None;
        }
        let is_right = bearer(request.headers())
            // How long this takes tells the length of the token, and nothing else of it.
            .is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.expose().as_bytes())));
        (!is_right).then(|| {
            let detail = "send the token of [admin] as `Authorization: Bearer TOKEN`";
            Problem::new(StatusCode::UNAUTHORIZED, "token needed", detail)
        })
    }
}

/// A browser tells the origin of a form; of one that doesn't, the type of what is sent tells enough.
fn check_form(request: &Request) -> Option<Problem> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) {
        return None; // it was looked at
    }
    let is_of_a_form = headers.get_all(header::CONTENT_TYPE).iter().any(|media| {
        let media = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        OF_FORMS.iter().any(|form| media.eq_ignore_ascii_case(form))
    });
    (is_of_a_form && *request.method() != Method::GET).then(|| {
        let detail = "send it as JSON: curl -H 'Content-Type: application/json'";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a form", detail)
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whom the request is for: `None` if it does not say, `Some(None)` if it can't be understood or says it twice.
fn host(request: &Request) -> Option<Option<Authority>> {
    let mut said = request.headers().get_all(header::HOST).iter();
    match (said.next(), said.next(), request.uri().authority()) {
        (None, _, authority) => authority.cloned().map(Some),
        (Some(host), None, _) => Some(host.to_str().ok().and_then(|host| host.parse().ok())),
        (Some(_), Some(_), _) => Some(None),
    }
}
