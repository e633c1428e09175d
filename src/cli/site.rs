//! `ghostpin site`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::{encoded, read};
use super::failure::Failure;
use super::journal::Line;
use super::print::{or_dash, print, table};
use crate::control::view::{CandidateView, NameView, SiteSummary};

/// Show one site: its pin, its candidates with their health, its last handoffs.
#[derive(Args, Clone, Debug)]
pub struct SiteArgs {
    /// The name of the site.
    #[arg(value_name = "SITE")]
    site: String,
    #[command(flatten)]
    access: Access,
}

/// The answer, as far as it is shown here.
#[derive(Debug, Deserialize)]
struct Shown {
    #[serde(flatten)]
    summary: SiteSummary,
    hosts: Vec<String>,
    app: String,
    failover: String,
    detour: Option<String>,
    waiting_for: String,
    candidates: Vec<CandidateView>,
    names: Vec<NameView>,
    handoffs: Vec<Line>,
}

impl SiteArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.access.client()?.get(&format!("/v1/sites/{}", encoded(&self.site))).await?;
        if self.access.json {
            print(&String::from_utf8_lossy(&body));
        } else {
            print(&page(read(&body)?));
        }
        Ok(())
    }
}

fn page(site: Shown) -> String {
    let phase = site.summary.state();
    let SiteSummary { name, epoch, backend, held, in_flight, conflicts, .. } = site.summary;
    let pin = if epoch == 0 { "never pinned".to_owned() } else { format!("{backend} under epoch {epoch}") };
    let mut text = format!(
        "site      {name} (app {}, failover {})\nhosts     {}\npin       {pin}\nphase     {phase}\n",
        site.app,
        site.failover,
        site.hosts.join(", ")
    );
    if let Some(edge) = site.detour {
        text +=
            &format!("detour    its backend can't be reached from this edge: requests go through {edge}\n");
    }
    if !site.waiting_for.is_empty() {
        text += &format!("waits for {}\n", site.waiting_for);
    }
    text += &format!("requests  {held} held, {in_flight} in flight\n");
    for conflict in conflicts {
        let what = match site.names.iter().any(|name| name.name == conflict) {
            true => "has several addresses: the pin stays where it is",
            false => "answers although the pin is elsewhere: two instances are running",
        };
        text += &format!("CONFLICT  {conflict} {what}\n");
    }
    for name in site.names {
        let addresses = or_dash(name.addresses.join(", "));
        let error = name.error.map_or_else(String::new, |why| format!("; the last look failed: {why}"));
        text += &format!("name      {} is {addresses}{error}\n", name.name);
    }
    let candidates = site.candidates.into_iter().map(|candidate| {
        let probe = candidate.last_probe.map_or_else(String::new, |probe| {
            format!("{} in {:.1} ms, {:.1} s ago", probe.result, probe.took_ms, probe.ago_ms as f64 / 1e3)
        });
        let pinned = if candidate.pinned { "pinned" } else { "" };
        [candidate.address, candidate.health, or_dash(pinned), or_dash(probe)]
    });
    text += &format!("\n{}", table(["CANDIDATE", "HEALTH", "PIN", "LAST PROBE"], candidates));
    text += "
LAST ENTRIES OF THE JOURNAL
";
    for line in site.handoffs {
        text += &format!("{line}\n");
    }
    text
}
