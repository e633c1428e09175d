//! What is looked at again and again, such as by the dashboard: some lines, what is in trouble, what happened last. A glance never looks
//! through all sites, and what it brings is bounded.

use serde::Serialize;

use super::view::{FleetStatus, Phases, SiteSummary, SiteView, WaitingUpdate};
use crate::core::SiteName;
use crate::observe::journal;

/// Of the sites in trouble, so many are compared to find those that are told of.
pub const COMPARED_MAX: usize = 1000;

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// A line of each of these.
    pub names: Vec<SiteName>,
    /// All about this one.
    pub site: Option<SiteName>,
    /// Of each kind of trouble, so many sites.
    pub troubles_max: usize,
    /// The newest journal entries, so many.
    pub entries_max: usize,
}

/// What is seen.
#[derive(Debug)]
pub struct Glance {
    /// The process.
    pub now: Now,
    /// What is in trouble.
    pub troubles: TroublesView,
    /// Lines of those sites that are there, in the order in which they were asked for.
    pub lines: Vec<SiteLine>,
    /// All about the site, without its entries: they are below.
    pub site: Option<SiteView>,
    /// Entries of that site and the newest of all, newest first.
    pub entries: Vec<journal::Entry>,
}

/// The process at this moment.
#[derive(Debug, Serialize)]
pub struct Now {
    /// Its version.
    pub version: &'static str,
    /// Sites configured.
    pub sites: usize,
    /// Sites by phase, those among them that are on their way out.
    pub phases: Phases,
    /// Requests held at all gates.
    pub held: usize,
    /// How many may be.
    pub held_max: usize,
    /// Conflicts over all sites.
    pub conflicts: usize,
    /// Handoffs that have ended since the start.
    pub handoffs: u64,
    /// Answers that were kept from clients because their epoch was over.
    pub late_answers: u64,
    /// Pins that could not be made durable since the start.
    pub commits_failed: u64,
    /// The last update that was refused, until one is accepted.
    pub refused_update: Option<String>,
    /// Updates that wait for somebody's word, or for the canary's.
    pub waiting_updates: Vec<WaitingUpdate>,
    /// This edge's part in its fleet.
    pub fleet: Option<FleetStatus>,
}

/// Sites in trouble: of each kind the first ones, and how many there are.
#[derive(Debug, Serialize)]
pub struct TroublesView {
    /// In conflict.
    pub in_conflict: usize,
    /// Those.
    pub conflicts: Vec<SiteLine>,
    /// Shut, be it for a handoff, a hold, or for want of a backend.
    pub shut: usize,
    /// Those that are not in conflict as well, those with the most held requests first.
    pub held: Vec<SiteLine>,
    /// Served elsewhere, and held at this edge, which can't reach the backend.
    pub unreachable: usize,
    /// Those.
    pub unreached: Vec<SiteLine>,
}

/// A line about a site, with a little more than the summary has.
#[derive(Debug, Serialize)]
pub struct SiteLine {
    /// The summary.
    #[serde(flatten)]
    pub summary: SiteSummary,
    /// Its first host.
    pub host: String,
    /// An operator holds it.
    pub on_hold: bool,
    /// What is waited for, in words; empty while serving.
    pub waiting_for: String,
    /// `well`, `unwell` or `unknown`, of each candidate in order of preference.
    pub health: Vec<&'static str>,
}
