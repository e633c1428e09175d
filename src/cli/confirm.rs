//! `ghostpin confirm`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::read;
use super::failure::Failure;
use super::print::print;

/// Give your word for an update that waits: because it touches more sites at once than [guard] allows, or for the canary's.
#[derive(Args, Clone, Debug)]
pub struct ConfirmArgs {
    /// What the update is called: the log, `ghostpin reload` and `/v1/status` say so.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Deserialize)]
struct Confirmed {
    source: String,
    added: usize,
    removed: usize,
    changed: usize,
}

impl ConfirmArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/updates/{}/confirm", self.id);
        let body = self.access.client()?.post(&path, None).await?;
        if self.access.json {
            return print(&String::from_utf8_lossy(&body));
        }
        let Confirmed { source, added, removed, changed } = read(&body)?;
        let when = match source.as_str() {
            "file" => "in force now",
            _ => "in force as soon as the provider says so again",
        };
        print(&format!("confirmed: {added} added, {removed} removed, {changed} changed, {when}"))
    }
}
