//! What `handoff`, `hold` and `release` have in common.

use serde::Deserialize;

use super::access::Access;
use super::client::{Client, encoded, read};
use super::failure::Failure;
use super::print::{plural, print, print_json};
use super::progress::{Stage, Waiting};
use crate::control::view::SiteSummary;

#[derive(Debug, Deserialize)]
struct Stands {
    epoch: u64,
    backend: String,
}

/// A site, as far as it is told while a wish goes its way.
#[derive(Debug, Deserialize)]
struct Seen {
    #[serde(flatten)]
    summary: SiteSummary,
    waiting_for: String,
}

/// Sends a wish, waits until it is fulfilled, and says what stands.
pub(super) async fn send(
    access: &Access,
    waiting: &Waiting,
    site: &str,
    wish: &str,
    body: Option<serde_json::Value>,
    in_words: &str,
) -> Result<(), Failure> {
    let client = access.client()?;
    let path = format!("/v1/sites/{}", encoded(site));
    let wished = format!("{path}/{wish}");
    let how_to_look = format!("`ghostpin site {site}` says how far it is");
    let answer =
        waiting.on(client.post(&wished, body), async || look(&client, &path).await, &how_to_look).await?;
    if access.json {
        return print_json(&answer);
    }
    let Stands { epoch, backend } = read(&answer)?;
    let pin = if epoch == 0 { "nobody yet".to_owned() } else { format!("{backend} under epoch {epoch}") };
    print(&format!("{site} {in_words} {pin}"))
}

async fn look(client: &Client, path: &str) -> Option<Stage> {
    let Seen { summary, waiting_for } = read(&client.get(path).await.ok()?).ok()?;
    let here = summary.handoff.as_ref().map_or(0, |handoff| handoff.phase_for_ms);
    let mut detail = format!("{} held", plural(summary.held, "request"));
    if !waiting_for.is_empty() {
        detail = format!("for {:.1} s, waits for {waiting_for}; {detail}", here as f64 / 1e3);
    }
    Some(Stage { phase: format!("{} is {}", summary.name, summary.state()), detail })
}
