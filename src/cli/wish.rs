//! What `handoff`, `hold` and `release` have in common.

use serde::Deserialize;

use super::access::Access;
use super::client::{encoded, read};
use super::failure::Failure;
use super::print::print;

#[derive(Debug, Deserialize)]
struct Stands {
    epoch: u64,
    backend: String,
}

/// Sends a wish, waits until it is fulfilled, and says what stands.
pub(super) async fn send(
    access: &Access,
    site: &str,
    wish: &str,
    body: Option<serde_json::Value>,
    in_words: &str,
) -> Result<(), Failure> {
    let answer = access.client()?.post(&format!("/v1/sites/{}/{wish}", encoded(site)), body).await?;
    if access.json {
        print(&String::from_utf8_lossy(&answer));
        return Ok(());
    }
    let Stands { epoch, backend } = read(&answer)?;
    let pin = if epoch == 0 { "nobody yet".to_owned() } else { format!("{backend} under epoch {epoch}") };
    print(&format!("{site} {in_words} {pin}"));
    Ok(())
}
