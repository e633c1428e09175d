//! Sites and the process as operators see them: the answers of the admin API.

use serde::{Deserialize, Serialize};

use crate::observe::journal;

/// One line about a site.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SiteSummary {
    /// Its name.
    pub name: String,
    /// `vacant`, `proving`, `serving`, `draining` or `fencing`.
    pub phase: String,
    /// The epoch of its newest pin; 0 if it has none.
    pub epoch: u64,
    /// The pinned backend; empty if there is none.
    pub backend: String,
    /// Requests are let in here. With many edges, one that can't renew its lease lets nobody in, whatever the phase is.
    pub open: bool,
    /// Requests waiting at its gate.
    pub held: usize,
    /// Requests under way.
    pub in_flight: u32,
    /// Backends that answer although the pin is elsewhere, and names that have several addresses.
    pub conflicts: Vec<String>,
    /// The handoff under way, if there is one.
    #[serde(default)]
    pub handoff: Option<UnderWay>,
}

/// How long a handoff has been under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Why it began, in the words of the journal; `None` if another edge decides.
    pub cause: Option<String>,
    /// Since it began, in milliseconds.
    pub for_ms: u64,
    /// Since its phase began, in milliseconds.
    pub phase_for_ms: u64,
}

impl SiteSummary {
    /// How it stands with it here: its phase, and whether it is held all the same.
    pub fn state(&self) -> String {
        let is_held_here = self.phase == "serving" && !self.open;
        if is_held_here { "serving, held here".to_owned() } else { self.phase.clone() }
    }
}

/// Which sites are asked for, in which order, and how many at most.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SitesWanted {
    /// Only those that don't let requests in, or have a conflict.
    pub troubled: bool,
    /// Only those with this in their name or in one of their hosts, whatever the case.
    pub search: String,
    /// The first come first.
    pub order: Order,
    /// So many at most; all if it is not said.
    pub limit: Option<usize>,
}

/// The order of a list of sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// Troubled ones first, then those with the most requests held, then those with the most in flight.
    Trouble,
}

/// All about a site.
#[derive(Clone, Debug, Serialize)]
pub struct SiteView {
    /// The line.
    #[serde(flatten)]
    pub summary: SiteSummary,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// `ghost` or `generic`.
    pub app: &'static str,
    /// `auto` or `manual`.
    pub failover: &'static str,
    /// An operator holds it.
    pub on_hold: bool,
    /// The edge through which its requests go, if this one can't reach the backend itself.
    pub detour: Option<String>,
    /// What is waited for, in words; empty while serving.
    pub waiting_for: String,
    /// Its candidates, in order of preference.
    pub candidates: Vec<CandidateView>,
    /// Those of its backends that are given by name.
    pub names: Vec<NameView>,
    /// What it is held by, and for how long.
    pub terms: TermsView,
    /// The handoff that goes on, as far as it is.
    pub under_way: Option<journal::Entry>,
    /// Its last journal entries, newest first.
    pub handoffs: Vec<journal::Entry>,
}

/// What is configured of a site's handoffs: it says what readers will see of one.
#[derive(Clone, Debug, Serialize)]
pub struct TermsView {
    /// How long a request may be held, in milliseconds.
    pub hold_timeout_ms: u64,
    /// Requests that may be held at once.
    pub hold_max_requests: usize,
    /// How long requests in flight may end by themselves before they are cut, in milliseconds.
    pub drain_timeout_ms: u64,
    /// How long a backend may take to be proved, in milliseconds.
    pub prove_timeout_ms: u64,
    /// There is a hook that stops the old instance.
    pub fence_hook: bool,
    /// There is a hook that starts the new one.
    pub start_hook: bool,
}

/// One candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateView {
    /// Its address; for a name, `name:port@address:port`.
    pub address: String,
    /// `well`, `unwell` or `unknown`.
    pub health: String,
    /// It has the pin.
    pub pinned: bool,
    /// It answers although the pin is elsewhere.
    pub conflict: bool,
    /// What the last probe saw.
    pub last_probe: Option<ProbeView>,
}

/// One backend that is given by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameView {
    /// As configured: `name:port`.
    pub name: String,
    /// The addresses that the last good answer had.
    pub addresses: Vec<String>,
    /// They are several, and nobody says which is meant.
    pub conflict: bool,
    /// Why the last look failed, if it did; what was known stays.
    pub error: Option<String>,
}

/// One probe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbeView {
    /// `well`, or what was wrong.
    pub result: String,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// How long ago it ended, in milliseconds.
    pub ago_ms: u64,
}

/// The process as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Number of the process.
    pub pid: u32,
    /// Sites configured.
    pub sites: usize,
    /// Sites by phase: vacant, proving, serving, draining, fencing.
    pub phases: Phases,
    /// Requests held at all gates.
    pub held: usize,
    /// How many may be.
    pub held_max: usize,
    /// Requests under way to pinned backends.
    pub in_flight: u64,
    /// Backends that answer although the pin is elsewhere, and names that have several addresses, over all sites.
    pub conflicts: usize,
    /// Handoffs that have ended since the start.
    pub handoffs: u64,
    /// The same, by cause and outcome; those that never happened are left out.
    pub handoffs_by: Vec<HandoffCount>,
    /// For how long the handoff has been going on that has lasted longest, in milliseconds; 0 if there is none.
    pub longest_handoff_ms: u64,
    /// Probes since the start.
    pub probes: u64,
    /// Pins that could not be made durable since the start.
    pub commits_failed: u64,
    /// Answers that were kept from clients because their epoch was over.
    pub late_answers: u64,
    /// The last update that was refused, until one is accepted; the last good state stays in force.
    pub refused_update: Option<String>,
    /// When an update was refused last, in milliseconds since 1970 (UTC).
    pub refused_update_ms: Option<u64>,
    /// Updates that wait for somebody's word, or for the canary's.
    #[serde(default)]
    pub waiting_updates: Vec<WaitingUpdate>,
    /// Configurations put in force since the start, the first one included.
    pub reloads: u64,
    /// When the last of them was put in force, in milliseconds since 1970 (UTC).
    pub last_reload_ms: Option<u64>,
    /// This edge's part in its fleet; not there if it is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
}

/// An update that waits: for somebody's word, because it touches too much at once, or for the canary's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingUpdate {
    /// What it is called: the same for the same changes.
    pub id: String,
    /// Who wants it: `file` or `provider`.
    pub source: String,
    /// Sites that it would remove,
    pub removed: usize,
    /// change,
    pub changed: usize,
    /// and add;
    pub added: usize,
    /// and how many there are.
    pub of: usize,
    /// Some of those that it would remove or change.
    pub examples: Vec<String>,
    /// Since when it waits, in milliseconds since 1970 (UTC).
    pub since_ms: u64,
    /// What for: `word` or `canary`.
    #[serde(default)]
    pub waits_for: String,
    /// The same in words, and what to do.
    #[serde(default)]
    pub why: String,
}

/// How one of many edges is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FleetStatus {
    /// `following`, or what it does before it can follow: `ending`, `granting`, `registering`, `listing`; `leaving`, `left`.
    pub life: String,
    /// Its lease in etcd, in hexadecimal digits; empty if it has none.
    pub lease: String,
    /// For how long it may act, in seconds, if its lease is not heard of again; 0 if that is over.
    pub lease_s: f64,
    /// That is over, and sites with `partition = "fence"` are held here.
    pub fenced: bool,
    /// It is the controller.
    pub controller: bool,
    /// Everything up to this revision of etcd is applied here,
    pub watermark: u64,
    /// but for so many sites: they have requests of an epoch that is fenced.
    pub pending: usize,
    /// Sites whose backend this edge can't reach. It holds them,
    pub unreachable: usize,
    /// but for so many whose requests go through another edge.
    pub detours: usize,
    /// What etcd goes on refusing, or leaves without an answer, with its own words; not there if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What the edge says that tries updates first; not there if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryView>,
}

/// The edge of a fleet that tries updates before the others put them in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryView {
    /// Its name.
    pub edge: String,
    /// What it says of what it has in force: `trying`, `good` or `bad`; `gone` if it is not there.
    pub says: String,
    /// Why, if that is bad.
    pub why: String,
    /// Stands for the configuration of the sites that it has in force; empty if it is not there.
    pub fingerprint: String,
    /// The same for this edge.
    pub here: String,
}

/// How many handoffs there were of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandoffCount {
    /// Why they began, in the words of the journal.
    pub cause: String,
    /// How they ended, in the words of the journal.
    pub outcome: String,
    /// How many.
    pub count: u64,
}

/// Sites by phase.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Nobody answers for them.
    pub vacant: usize,
    /// A target is being proved.
    pub proving: usize,
    /// All is well.
    pub serving: usize,
    /// Held, with requests under way.
    pub draining: usize,
    /// Cut, with requests under way or a hook at work.
    pub fencing: usize,
}

impl Phases {
    /// How many are in the phase with this name; those that are in none that is known count as vacant.
    pub fn of(&mut self, phase: &str) -> &mut usize {
        match phase {
            "proving" => &mut self.proving,
            "serving" => &mut self.serving,
            "draining" => &mut self.draining,
            "fencing" => &mut self.fencing,
            _ => &mut self.vacant,
        }
    }
}
