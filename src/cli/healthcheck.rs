//! `ghostpin healthcheck`

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Method;
use tokio::time::timeout;

use super::access::Access;
use super::failure::Failure;
use super::print::print;

/// Longer than a ghostpin takes that is well, and shorter than anybody's patience with a check.
const PATIENCE: Duration = Duration::from_secs(3);

/// Say whether the asked ghostpin is ready for readers, for those who start and stop it: the answer of /readyz.
#[derive(Args, Clone, Debug)]
pub struct HealthcheckArgs {
    #[command(flatten)]
    access: Access,
}

impl HealthcheckArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.access.client()?;
        let asked = client.send(client.request(Method::GET, "/readyz", Bytes::new()));
        let late = |_| Failure::Unreachable(format!("{}: no answer within {PATIENCE:?}", client.place));
        let body = timeout(PATIENCE, asked).await.map_err(late)??.good()?;
        match self.access.json {
            true => print(&serde_json::json!({ "ready": true }).to_string()),
            false => print(&String::from_utf8_lossy(&body)),
        }
    }
}
