//! `ghostpin reload`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::read;
use super::failure::Failure;
use super::print::{print, print_json};

/// Read the configuration again and put it in force in one step, like SIGHUP. A wrong one changes nothing.
#[derive(Args, Clone, Debug)]
pub struct ReloadArgs {
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Deserialize)]
struct Applied {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    unchanged: usize,
    needs_restart: Vec<String>,
    #[serde(default)]
    waits: Option<String>,
}

impl ReloadArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.access.client()?.post("/v1/reload", None).await?;
        if self.access.json {
            return print_json(&body);
        }
        let Applied { added, removed, changed, unchanged, needs_restart, waits } = read(&body)?;
        if let Some(waits) = waits {
            return print(&format!("not yet   {waits}"));
        }
        let mut text = format!(
            "reloaded: {} added, {} removed, {} changed, {unchanged} unchanged",
            added.len(),
            removed.len(),
            changed.len()
        );
        for key in needs_restart {
            text += &format!("\nrestart   {key} takes effect after a restart");
        }
        print(&text)
    }
}
