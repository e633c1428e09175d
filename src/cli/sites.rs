//! `ghostpin sites`

use clap::Args;

use super::access::Access;
use super::client::read;
use super::failure::Failure;
use super::print::{or_dash, print, table};
use crate::control::view::SiteSummary;

/// List the sites: who is pinned, and how it goes.
#[derive(Args, Clone, Debug)]
pub struct SitesArgs {
    /// Only those that are not serving, or have a conflict.
    #[arg(long, conflicts_with = "json")]
    troubled: bool,
    #[command(flatten)]
    access: Access,
}

impl SitesArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.access.client()?.get("/v1/sites").await?;
        if self.access.json {
            print(&String::from_utf8_lossy(&body));
            return Ok(());
        }
        let mut sites: Vec<SiteSummary> = read(&body)?;
        if self.troubled {
            sites.retain(|site| site.phase != "serving" || !site.open || !site.conflicts.is_empty());
        }
        print(&listing(sites));
        Ok(())
    }
}

fn listing(sites: Vec<SiteSummary>) -> String {
    let row = |site: SiteSummary| {
        [
            site.name.clone(),
            site.state(),
            site.epoch.to_string(),
            or_dash(site.backend),
            site.held.to_string(),
            site.in_flight.to_string(),
            or_dash(site.conflicts.join(", ")),
        ]
    };
    let head = ["SITE", "PHASE", "EPOCH", "BACKEND", "HELD", "IN FLIGHT", "CONFLICTS"];
    table(head, sites.into_iter().map(row))
}
