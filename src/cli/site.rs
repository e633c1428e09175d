//! `ghostpin site`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::{Client, encoded, read};
use super::failure::Failure;
use super::journal::Line;
use super::print::{bad, good, or_dash, phase, table};
use super::watch::{Feed, Shown, Watch};
use crate::control::view::{CandidateView, NameView, SiteSummary, UnderWay};

/// Show one site: its pin, its candidates with their health, its last handoffs.
#[derive(Args, Clone, Debug)]
pub struct SiteArgs {
    /// The name of the site.
    #[arg(value_name = "SITE")]
    site: String,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

/// The answer, as far as it is shown here.
#[derive(Debug, Deserialize)]
struct Answer {
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
        let path = format!("/v1/sites/{}", encoded(&self.site));
        let shown = Shown { access: &self.access, watch: &self.watch, path, feed: Feed::One };
        shown.run(|body| Ok(page(read(body)?))).await
    }
}

/// All about a site, as it is shown.
pub(super) async fn page_of(client: &Client, site: &str) -> Result<String, Failure> {
    Ok(page(read(&client.get(&format!("/v1/sites/{}", encoded(site))).await?)?))
}

fn page(site: Answer) -> String {
    let state = phase(&site.summary.state());
    let SiteSummary { name, epoch, backend, held, in_flight, conflicts, handoff, .. } = site.summary;
    let pin = if epoch == 0 { "never pinned".to_owned() } else { format!("{backend} under epoch {epoch}") };
    let mut text = format!(
        "site      {name} (app {}, failover {})\nhosts     {}\npin       {pin}\nphase     {state}\n",
        site.app,
        site.failover,
        site.hosts.join(", ")
    );
    if let Some(edge) = site.detour {
        text +=
            &format!("detour    its backend can't be reached from this edge: requests go through {edge}\n");
    }
    if let Some(UnderWay { cause, for_ms, phase_for_ms }) = handoff {
        let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        let (all, here) = (for_ms as f64 / 1e3, phase_for_ms as f64 / 1e3);
        text += &format!("handoff   under way{cause} for {all:.1} s, in this phase for {here:.1} s\n");
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
        text += &format!("{}  {conflict} {what}\n", bad("CONFLICT"));
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
        let health = match candidate.health.as_str() {
            "well" => good("well"),
            "unwell" => bad("unwell"),
            other => other.to_owned(),
        };
        [candidate.address, health, or_dash(pinned), or_dash(probe)]
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
