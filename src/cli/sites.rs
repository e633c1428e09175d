//! `ghostpin sites`

use clap::Args;

use super::access::Access;
use super::client::{encoded, read};
use super::failure::Failure;
use super::print::{bad, or_dash, phase, table};
use super::watch::{Feed, Shown, Watch};
use crate::control::view::SiteSummary;

/// List the sites: who is pinned, and how it goes.
#[derive(Args, Clone, Debug)]
pub struct SitesArgs {
    /// Only those that are not serving, or have a conflict.
    #[arg(long)]
    troubled: bool,
    /// Only those with this in their name or in one of their hosts.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

impl SitesArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut path = format!("/v1/sites?troubled={}", self.troubled);
        if let Some(search) = &self.search {
            path += &format!("&search={}", encoded(search));
        }
        let shown = Shown { access: &self.access, watch: &self.watch, path, feed: Feed::Of("name") };
        shown.run(|body| Ok(listing(read(body)?))).await
    }
}

fn listing(sites: Vec<SiteSummary>) -> String {
    let row = |site: SiteSummary| {
        [
            site.name.clone(),
            phase(&site.state()),
            site.epoch.to_string(),
            or_dash(site.backend),
            site.held.to_string(),
            site.in_flight.to_string(),
            or_dash(bad(&site.conflicts.join(", "))),
        ]
    };
    let head = ["SITE", "PHASE", "EPOCH", "BACKEND", "HELD", "IN FLIGHT", "CONFLICTS"];
    table(head, sites.into_iter().map(row))
}
