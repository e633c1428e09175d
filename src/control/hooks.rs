//! Running the hooks of a handoff: a program, or a URL.

use std::process::Stdio;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::config::{Hook, HookAction};
use crate::core::handoff::HookKind;

/// Output of a failed program that is kept for the journal.
const OUTPUT_BYTES_MAX: u64 = 2000;

/// What a hook is told: as environment variables `GHOSTPIN_SITE` and so on, or as a JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// The site.
    pub site: String,
    /// `fence` or `start`.
    pub hook: &'static str,
    /// The epoch that the handoff leads to. It only grows: an application can refuse an older one.
    pub epoch: u64,
    /// The backend that is left; empty if there is none.
    pub old: String,
    /// The backend that is to be promoted.
    pub new: String,
}

impl Told {
    /// The word for a hook.
    pub fn word(kind: HookKind) -> &'static str {
        match kind {
            HookKind::Fence => "fence",
            HookKind::Start => "start",
        }
    }
}

/// Runs a hook to its end, or to its timeout, which also ends the program. The error says what went wrong.
pub async fn run(hook: &Hook, told: &Told) -> Result<(), String> {
    let action = async {
        match &hook.action {
            HookAction::Command(command) => run_program(command, told).await,
            HookAction::Url(url) => post(url, told).await,
        }
    };
    match tokio::time::timeout(hook.timeout, action).await {
        Ok(done) => done,
        Err(_) => Err(format!("it took longer than {:?}", hook.timeout)),
    }
}

async fn run_program(command: &[String], told: &Told) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("its command is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("GHOSTPIN_SITE", &told.site)
        .env("GHOSTPIN_HOOK", told.hook)
        .env("GHOSTPIN_EPOCH", told.epoch.to_string())
        .env("GHOSTPIN_OLD", &told.old)
        .env("GHOSTPIN_NEW", &told.new)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("`{program}` can't be run: {error}"))?;
    let stderr = child.stderr.take();
    let status = child.wait().await.map_err(|error| format!("`{program}`: {error}"))?;
    if status.success() {
        return Ok(());
    }
    // A program that it left behind may keep the pipe open, so that its end must not be waited for.
    let mut said = Vec::new();
    if let Some(stderr) = stderr {
        let reading = stderr.take(OUTPUT_BYTES_MAX);
        tokio::pin!(reading);
        let _ =
            tokio::time::timeout(std::time::Duration::from_millis(100), reading.read_to_end(&mut said)).await;
    }
    Err(format!("`{program}` ended with {status}: {}", String::from_utf8_lossy(&said).trim()))
}

async fn post(url: &http::Uri, told: &Told) -> Result<(), String> {
    let authority = url.authority().ok_or("its URL has no host")?;
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| format!("{authority}: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{authority}: {error}"))?;
    let connection = tokio::task::spawn_local(connection);
    let body = serde_json::to_vec(told).map_err(|error| error.to_string())?;
    let request = Request::post(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| format!("{url}: {error}"));
    connection.abort();
    let status = answer?.status();
    if status.is_success() { Ok(()) } else { Err(format!("{url} answered {status}")) }
}
