//! One site as the reconciler keeps it: the core's state, and what the shell has under way for it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::glance::SiteLine;
use super::probe::Seen;
use super::view::{CandidateView, NameView, ProbeView, SiteSummary, SiteView, TermsView, UnderWay};
use crate::config::{self, App, Failover, Kinds};
use crate::core::handoff::{self, Draining, Fencing, HookPolicy, Phase, Policy, Proving};
use crate::core::health::State;
use crate::core::{Backend, SiteName};
use crate::gate::Gate;
use crate::observe::journal::{Entry, EntryId, OpenEntry};

/// See the module's text. There may be a million: what few of them need is elsewhere.
pub struct SiteEntry {
    /// Its configuration.
    pub config: Arc<config::Site>,
    /// Its decisions.
    pub core: handoff::Site,
    /// Its gate.
    pub gate: Arc<Gate>,
    /// The handoff under way.
    pub open: Option<Box<OpenEntry>>,
    /// The journal entry to which those still being let go belong.
    pub last_entry: Option<EntryId>,
    /// What is known of its backends' names.
    pub names: Box<[NameView]>,
    /// What the last probe of each candidate saw.
    pub last_probes: LastProbes,
    /// The proof under way.
    pub proof: Option<Box<Proof>>,
    /// Hooks of a site run one after the other: one that was superseded may still be at work.
    pub hooks_in_turn: Option<Rc<tokio::sync::Mutex<()>>>,
    /// Who wished the handoff under way.
    pub wished_by: Option<Box<str>>,
}

/// A proof under way.
#[derive(Debug, Default)]
pub struct Proof {
    /// Who asks for it.
    pub work: Option<Work>,
    /// What was seen last.
    pub seen: Option<Seen>,
}

/// Ends what it stands for when dropped.
#[derive(Debug)]
pub struct Work(pub AbortHandle);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a probe saw.
#[derive(Debug)]
pub struct LastProbe {
    /// That.
    seen: Glimpse,
    /// How long it took, in microseconds.
    took: u32,
    /// When it ended.
    pub at: Instant,
}

/// What was seen: what nearly all probes see takes no memory of its own.
#[derive(Debug)]
enum Glimpse {
    Well,
    Refused,
    Other(Box<Seen>),
}

impl LastProbe {
    /// One that ends now.
    pub fn new(seen: Seen, took: Duration) -> Self {
        let seen = match seen {
            Seen::Well => Glimpse::Well,
            Seen::Refused => Glimpse::Refused,
            other => Glimpse::Other(Box::new(other)),
        };
        Self { seen, took: took.as_micros().try_into().unwrap_or(u32::MAX), at: Instant::now() }
    }

    fn view(&self) -> ProbeView {
        let result = match &self.seen {
            Glimpse::Well => Seen::Well.to_string(),
            Glimpse::Refused => Seen::Refused.to_string(),
            Glimpse::Other(seen) => seen.to_string(),
        };
        ProbeView {
            result,
            took_ms: f64::from(self.took) / 1e3,
            ago_ms: self.at.elapsed().as_millis() as u64,
        }
    }
}

/// What the last probe of each of a site's few candidates saw.
#[derive(Debug, Default)]
pub struct LastProbes(Box<[(Backend, LastProbe)]>);

impl LastProbes {
    /// Of this one, if it was probed.
    pub fn of(&self, backend: &Backend) -> Option<&LastProbe> {
        self.0.iter().find(|(probed, _)| probed == backend).map(|(_, probe)| probe)
    }

    /// The newest of this one.
    pub fn note(&mut self, backend: Backend, probe: LastProbe) {
        match self.0.iter_mut().find(|(probed, _)| *probed == backend) {
            Some((_, last)) => *last = probe,
            None => {
                let more = std::mem::take(&mut self.0).into_iter().chain([(backend, probe)]);
                self.0 = more.collect();
            }
        }
    }

    /// Forgets all but these.
    pub fn keep(&mut self, backends: &[Backend]) {
        if self.0.iter().any(|(probed, _)| !backends.contains(probed)) {
            let probes = std::mem::take(&mut self.0).into_iter();
            self.0 = probes.filter(|(probed, _)| backends.contains(probed)).collect();
        }
    }
}

/// What the core is to know of a site's configuration.
fn policy(site: &config::Site) -> Policy {
    let hook = |hook: &Option<config::Hook>| hook.as_ref().map(|hook| HookPolicy { required: hook.required });
    Policy {
        auto: site.failover == Failover::Auto,
        warm_standby: match site.warm_standby {
            config::WarmStandby::Allow => handoff::WarmStandby::Allow,
            config::WarmStandby::Restart => handoff::WarmStandby::Restart,
            config::WarmStandby::Refuse => handoff::WarmStandby::Refuse,
        },
        single_instance: site.app == App::Ghost,
        fence_hook: hook(&site.hooks.fence),
        start_hook: hook(&site.hooks.start),
        rise: site.health.rise,
        fall: site.health.fall,
        drain_timeout: site.handoff.drain_timeout,
        prove_timeout: site.handoff.prove_timeout,
    }
}

/// In the words of the views.
fn health(candidate: &handoff::Candidate) -> &'static str {
    match candidate.health.state() {
        State::Well => "well",
        State::Unwell => "unwell",
        State::Unknown => "unknown",
    }
}

/// What the core is to know of sites: nearly all have the same policy, which is kept once.
#[derive(Default)]
pub struct Policies(Kinds<Policy>);

impl Policies {
    /// That of this site.
    pub fn of(&mut self, site: &config::Site) -> Arc<Policy> {
        self.0.one(policy(site))
    }
}

impl SiteEntry {
    /// Its name.
    pub fn name(&self) -> &SiteName {
        &self.config.name
    }

    /// Whom to probe: its candidates, and whoever has the pin.
    pub fn backends(&self) -> Vec<Backend> {
        self.core.candidates().iter().map(|candidate| candidate.backend.clone()).collect()
    }

    /// The line about it.
    pub fn summary(&self) -> SiteSummary {
        let pin = self.core.pin();
        SiteSummary {
            name: self.name().to_string(),
            phase: self.core.phase().name().to_owned(),
            epoch: pin.map_or(0, |pin| pin.epoch.0),
            backend: pin.map_or_else(String::new, |pin| pin.backend.to_string()),
            open: self.gate.lets_in(),
            held: self.gate.held(),
            in_flight: self.gate.in_flight(),
            conflicts: self.conflicts(),
            handoff: self.open.as_ref().map(|open| under_way(open)),
        }
    }

    /// It doesn't let requests in, or has a conflict.
    pub fn is_troubled(&self) -> bool {
        let is_serving = *self.core.phase() == Phase::Serving && self.gate.lets_in();
        !is_serving
            || self.core.candidates().iter().any(|candidate| candidate.conflict)
            || self.names.iter().any(|name| name.conflict)
            || !self.config.rivals().is_empty()
    }

    /// The line about it for those who look at it again and again.
    pub fn line(&self) -> SiteLine {
        SiteLine {
            summary: self.summary(),
            host: self.config.hosts.first().map_or_else(String::new, ToString::to_string),
            on_hold: self.core.is_on_hold(),
            waiting_for: self.waiting_for(),
            health: self.core.candidates().iter().map(health).collect(),
        }
    }

    /// Who answers although the pin is elsewhere, which names have several addresses, and which tasks run beside the one
    /// that is meant.
    pub fn conflicts(&self) -> Vec<String> {
        let beside = self.core.candidates().iter().filter(|candidate| candidate.conflict);
        let beside = beside.map(|candidate| candidate.backend.to_string());
        let names = self.names.iter().filter(|name| name.conflict).map(|name| name.name.clone());
        beside.chain(names).chain(self.config.rivals().iter().cloned()).collect()
    }

    /// How many of those there are: asked after each probe, so without a text for each.
    pub fn count_conflicts(&self) -> usize {
        let beside = self.core.candidates().iter().filter(|candidate| candidate.conflict).count();
        beside + self.names.iter().filter(|name| name.conflict).count() + self.config.rivals().len()
    }

    /// All about it.
    pub fn view(&self, handoffs: Vec<Entry>) -> SiteView {
        SiteView {
            summary: self.summary(),
            hosts: self.config.hosts.iter().map(ToString::to_string).collect(),
            app: if self.config.app == App::Ghost { "ghost" } else { "generic" },
            failover: if self.config.failover == Failover::Auto { "auto" } else { "manual" },
            on_hold: self.core.is_on_hold(),
            detour: self.gate.detour().map(|detour| detour.edge.clone()),
            waiting_for: self.waiting_for(),
            candidates: self.core.candidates().iter().map(|candidate| self.candidate(candidate)).collect(),
            names: self.names.to_vec(),
            terms: self.terms(),
            under_way: self.open.as_ref().map(|open| open.so_far()),
            handoffs,
        }
    }

    fn terms(&self) -> TermsView {
        let config::Site { hold, handoff, hooks, .. } = &*self.config;
        TermsView {
            hold_timeout_ms: hold.timeout.as_millis() as u64,
            hold_max_requests: hold.max_requests,
            drain_timeout_ms: handoff.drain_timeout.as_millis() as u64,
            prove_timeout_ms: handoff.prove_timeout.as_millis() as u64,
            fence_hook: hooks.fence.is_some(),
            start_hook: hooks.start.is_some(),
        }
    }

    fn candidate(&self, candidate: &handoff::Candidate) -> CandidateView {
        let last_probe = self.last_probes.of(&candidate.backend).map(LastProbe::view);
        CandidateView {
            address: candidate.backend.to_string(),
            health: health(candidate).to_owned(),
            pinned: self.core.pin().is_some_and(|pin| pin.backend == candidate.backend),
            conflict: candidate.conflict,
            last_probe,
        }
    }

    /// What the operator at 3 a.m. wants to know first.
    fn waiting_for(&self) -> String {
        let seen = self.proof.as_ref().and_then(|proof| proof.seen.as_ref());
        let proof = || seen.map_or_else(String::new, |seen| format!(" (so far: {seen})"));
        let leases = self.gate.in_flight();
        match self.core.phase() {
            Phase::Serving => String::new(),
            Phase::Vacant if self.core.is_on_hold() => "an operator: the site is on hold".to_owned(),
            Phase::Vacant if self.config.failover == Failover::Manual => {
                "an operator, who says where to go, or the pinned backend to be well again".to_owned()
            }
            Phase::Vacant if self.config.backends.is_empty() => "a task of its service that runs".to_owned(),
            Phase::Vacant if self.core.candidates().is_empty() => {
                "an address of its backends' names".to_owned()
            }
            Phase::Vacant => "a candidate that is well".to_owned(),
            Phase::Draining(Draining::Hold) => {
                format!("an operator: the site is on hold, with {leases} requests in flight")
            }
            Phase::Draining(Draining::Suspicion) => {
                "a probe of the pinned backend, which has refused a connection".to_owned()
            }
            Phase::Draining(Draining::Retired) => {
                format!("the last {leases} requests of a site that was removed")
            }
            Phase::Draining(Draining::Move { target }) => {
                format!("{leases} requests in flight to end, before the pin moves to {target}")
            }
            Phase::Fencing { step: Fencing::Cutting, .. } => {
                format!("{leases} requests to let go after they were cut")
            }
            Phase::Fencing { step: Fencing::Stopping, .. } => {
                "the `fence` hook, which stops the old backend".to_owned()
            }
            Phase::Fencing { step: Fencing::Waiting, .. } => {
                "another try of the required `fence` hook, which has failed".to_owned()
            }
            Phase::Proving { target, step: Proving::Starting } => {
                format!("the `start` hook to start {target}")
            }
            Phase::Proving { target, step: Proving::Asking } => format!("the proof of {target}{}", proof()),
            Phase::Proving { target, step: Proving::Committing } => {
                format!("the pin on {target} to be durable")
            }
        }
    }
}

fn under_way(open: &OpenEntry) -> UnderWay {
    let (cause, all, phase) = open.under_way();
    UnderWay {
        cause: cause.map(str::to_owned),
        for_ms: all.as_millis() as u64,
        phase_for_ms: phase.as_millis() as u64,
    }
}
