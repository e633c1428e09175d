//! `ghostpin status`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::read;
use super::failure::Failure;
use super::print::{bad, plural, time};
use super::watch::{Feed, Shown, Watch};
use crate::control::view::{CanaryView, FleetStatus, Status, WaitingUpdate};

/// Show the process as a whole: where it listens, how its sites are, what it has refused.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(flatten)]
    status: Status,
    listening: Vec<String>,
    config: String,
    /// One of an older version does not say it.
    #[serde(default)]
    stalled_workers: usize,
}

impl StatusArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = "/v1/status".to_owned();
        let shown = Shown { access: &self.access, watch: &self.watch, path, feed: Feed::One };
        shown.run(|body| Ok(page(read(body)?))).await
    }
}

fn page(Answer { status, listening, config, stalled_workers }: Answer) -> String {
    let phases = &status.phases;
    let by_phase = [
        ("serving", phases.serving),
        ("draining", phases.draining),
        ("fencing", phases.fencing),
        ("proving", phases.proving),
        ("vacant", phases.vacant),
    ];
    let by_phase: Vec<String> = by_phase
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    let since = status.last_reload_ms.map_or_else(String::new, |at| format!(", in force since {}", time(at)));
    let mut text = format!(
        "ghostpin   {}\nfile       {config}{since}\nlistening  {}\nsites      {}: {}\n\
         requests   {} held of {} at most, {} in flight\nhandoffs   {} have ended\n",
        status.version,
        listening.join(", "),
        status.sites,
        by_phase.join(", "),
        status.held,
        status.held_max,
        status.in_flight,
        status.handoffs,
    );
    if let Some(FleetStatus { life, lease, lease_s, controller, fenced, refused, canary, .. }) = status.fleet
    {
        let part = if controller { ", and decides" } else { "" };
        text += &format!("fleet      {life}{part}; lease {lease}, good for {lease_s:.1} s\n");
        if let Some(CanaryView { edge, says, why, fingerprint, here }) = canary {
            let of_what =
                if fingerprint == here { "the same sites as here" } else { "other sites than here" };
            let why = if why.is_empty() { why } else { format!(": {why}") };
            text += &match says.as_str() {
                "gone" => format!("canary     {edge} is not there\n"),
                _ => format!("canary     {edge} has {of_what}: {says}{why}\n"),
            };
        }
        if let Some(words) = refused {
            text += &format!("{}       does not do what this edge asks: {words}\n", bad("ETCD"));
        }
        if fenced {
            text += &format!(
                "{}     its lease is over: it holds its sites until it has another\n",
                bad("FENCED")
            );
        }
    }
    if stalled_workers > 0 {
        let (what, verb) =
            (plural(stalled_workers, "worker"), if stalled_workers == 1 { "stands" } else { "stand" });
        text += &format!(
            "{}    {what} {verb} still, and all of its connections with it: `ghostpin journal --kind worker_stalled` names the request\n",
            bad("STALLED")
        );
    }
    if status.conflicts > 0 {
        let what = plural(status.conflicts, "conflict");
        text += &format!("{}   {what}: `ghostpin sites --troubled` names them\n", bad("CONFLICT"));
    }
    if status.late_answers > 0 {
        let what = plural(usize::try_from(status.late_answers).unwrap_or(usize::MAX), "answer");
        text += &format!("{}       {what} of an epoch that was over, kept from clients\n", bad("LATE"));
    }
    for WaitingUpdate { id, source, removed, changed, added, of, why, .. } in status.waiting_updates {
        text += &format!(
            "{}      update {id} of the {source} would remove {removed} and change {changed} of {of} sites, and add {added}. \
             It is {why}\n",
            bad("WAITS")
        );
    }
    if let Some(why) = status.refused_update {
        text += &format!("{}    the last update; the one before stays in force: {why}\n", bad("REFUSED"));
    }
    text
}
