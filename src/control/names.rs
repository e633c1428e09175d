//! The names of backends: who uses which, what is known of them, and a task for each that looks again in time.
//!
//! Nothing is decided here: [`core::names`](crate::core::names) says what an answer means, and the site's core what
//! becomes of its pin.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::time::Instant;

use super::reconciler::Message;
use super::resolve::Resolver;
use super::site::Work;
use super::view::NameView;
use crate::config::{self, BackendSpec};
use crate::core::handoff::{self, Phase, Proving};
use crate::core::names::{HELD_INTERVAL, Looked, Meaning, Name, Rhythm};
use crate::core::{Address, Backend};
use crate::gate::SiteKey;

/// Least time between the beginnings of two looks, over all names: 1,000 a second.
const SPACING: Duration = Duration::from_millis(1);
/// Looks under way at a time.
const UNDER_WAY_MAX: usize = 256;

/// See the module's text.
pub struct Names {
    hosts: BTreeMap<String, Host>,
    sites: HashMap<SiteKey, Vec<String>>,
    resolver: Rc<Resolver>,
    budget: Rc<Budget>,
    messages: mpsc::UnboundedSender<Message>,
}

struct Host {
    name: Name,
    /// Which sites use it, and whether they wait for somebody to serve them.
    sites: BTreeMap<SiteKey, bool>,
    held: watch::Sender<bool>,
    /// When the last look began.
    looked_at: watch::Receiver<Option<Instant>>,
    _task: Work,
}

/// What an answer changes.
pub struct Heard {
    /// The sites that use the name.
    pub sites: Vec<SiteKey>,
    /// For the journal: the kind of the entry, and its text.
    pub note: Option<(&'static str, String)>,
}

impl Names {
    /// Knows no name yet. Needs a `LocalSet`.
    pub fn new(config: &config::Resolver, messages: mpsc::UnboundedSender<Message>) -> Self {
        Self {
            hosts: BTreeMap::new(),
            sites: HashMap::new(),
            resolver: Rc::new(Resolver::new(config.clone())),
            budget: Rc::new(Budget { turns: Semaphore::new(UNDER_WAY_MAX), next: Cell::new(Instant::now()) }),
            messages,
        }
    }

    /// From now on, this holds.
    pub fn configure(&self, config: &config::Resolver) {
        self.resolver.configure(config);
    }

    /// A site has these backends now.
    pub fn follow(&mut self, key: SiteKey, backends: &[BackendSpec]) {
        let used: Vec<String> = backends.iter().filter_map(host_of).map(str::to_owned).collect();
        let before = self.sites.remove(&key).unwrap_or_default();
        for host in &used {
            if !self.hosts.contains_key(host) {
                let fresh = self.look_after(host);
                self.hosts.insert(host.clone(), fresh);
            }
            if let Some(entry) = self.hosts.get_mut(host) {
                entry.sites.entry(key).or_insert(false);
            }
        }
        for host in before.iter().filter(|host| !used.contains(host)) {
            let Some(entry) = self.hosts.get_mut(host) else { continue };
            entry.sites.remove(&key);
            if entry.sites.is_empty() {
                self.hosts.remove(host);
            }
        }
        if !used.is_empty() {
            self.sites.insert(key, used);
        }
    }

    /// A site uses no names any more.
    pub fn forget(&mut self, key: SiteKey) {
        self.follow(key, &[]);
    }

    /// Whether a site waits for somebody to serve it: no answer is good for long then.
    pub fn hurry(&mut self, key: SiteKey, waits: bool) {
        let Some(used) = self.sites.get(&key) else { return };
        for host in used {
            let Some(entry) = self.hosts.get_mut(host) else { continue };
            entry.sites.insert(key, waits);
            let held = entry.sites.values().any(|waits| *waits);
            entry.held.send_if_modified(|before| std::mem::replace(before, held) != held);
        }
    }

    /// Takes in what a look has come to.
    pub fn heard(&mut self, host: &str, looked: Looked) -> Heard {
        let Some(entry) = self.hosts.get_mut(host) else {
            return Heard { sites: Vec::new(), note: None };
        };
        let before = entry.name.clone();
        let meaning = entry.name.take(looked);
        let now = &entry.name;
        let note = match meaning {
            Meaning::Several if before.addresses() != now.addresses() => Some((
                "conflict",
                format!("`{host}` has several addresses: {now}. No one is chosen: the pin stays"),
            )),
            Meaning::Same | Meaning::Moved if before.is_conflict() => {
                Some(("conflict_over", format!("`{host}` has one address again: {now}")))
            }
            Meaning::Moved if !before.addresses().is_empty() => {
                Some(("moved", format!("`{host}` is at {now} now, and was at {before}")))
            }
            _ => None,
        };
        match (before.failure(), now.failure()) {
            (None, Some(why)) => {
                tracing::warn!(host, why, "a name can't be resolved: what is known of it stays")
            }
            (Some(_), None) => tracing::info!(host, addresses = %now, "a name is resolved again"),
            _ => {}
        }
        Heard { sites: entry.sites.keys().copied().collect(), note }
    }

    /// The instances that stand for a site's backends now.
    pub fn candidates(&self, backends: &[BackendSpec], core: &handoff::Site) -> Vec<Backend> {
        let kept = match core.phase() {
            Phase::Proving { target, step: Proving::Committing } => Some(target),
            _ => core.pin().map(|pin| &pin.backend),
        };
        self.instances(backends, kept)
    }

    /// The same, of a site whose pin is or will be on `kept`.
    pub fn instances(&self, backends: &[BackendSpec], kept: Option<&Backend>) -> Vec<Backend> {
        // Who is pinned first is for the file to say, not for the order of the answers.
        if kept.is_none() && !self.named(backends).all(|(_, name)| name.was_looked_at()) {
            return Vec::new();
        }
        let mut instances: Vec<Backend> = Vec::with_capacity(backends.len());
        for spec in backends {
            let instance = match spec {
                BackendSpec::Instance(backend) => Some(backend.clone()),
                BackendSpec::Name { host, port } => {
                    let name = self.hosts.get(&**host).map(|entry| &entry.name);
                    name.and_then(|name| name.instance(&spec.to_string(), *port, kept))
                }
            };
            let Some(instance) = instance else { continue };
            // Two names of one instance are one candidate, by the name that has the pin if it is among them.
            let twin = |other: &Backend| other.address() == instance.address();
            match instances.iter_mut().find(|other| twin(other)) {
                Some(other) if kept == Some(&instance) => *other = instance,
                Some(_) => {}
                None => instances.push(instance),
            }
        }
        instances
    }

    /// What operators see.
    pub fn view(&self, backends: &[BackendSpec]) -> Box<[NameView]> {
        let view = |(text, name): (String, &Name)| NameView {
            name: text,
            addresses: name.addresses().iter().map(ToString::to_string).collect(),
            conflict: name.is_conflict(),
            error: name.failure().map(str::to_owned),
        };
        self.named(backends).map(view).collect()
    }

    fn named<'a>(&'a self, backends: &'a [BackendSpec]) -> impl Iterator<Item = (String, &'a Name)> {
        backends.iter().filter_map(|spec| Some((spec.to_string(), &self.hosts.get(host_of(spec)?)?.name)))
    }

    /// Ends when there is an answer about a backend's name that is fresh enough to go by, or none in time.
    pub fn fresh(&self, backend: &Backend) -> impl Future<Output = ()> + use<> {
        let host = match (backend.name(), backend.address()) {
            (Some(name), Address::Tcp(_)) => name.rsplit_once(':').map(|(host, _)| host),
            _ => None,
        };
        let looked_at = host.and_then(|host| self.hosts.get(host)).map(|entry| entry.looked_at.clone());
        async move {
            let Some(mut looked_at) = looked_at else { return };
            let is_fresh = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < HELD_INTERVAL);
            // Whether it came or not: a resolver that fails changes nothing.
            let _ = tokio::time::timeout(HELD_INTERVAL, looked_at.wait_for(is_fresh)).await;
        }
    }

    fn look_after(&self, host: &str) -> Host {
        let (held, hurried) = watch::channel(false);
        let (looked, looked_at) = watch::channel(None);
        let (resolver, budget) = (self.resolver.clone(), self.budget.clone());
        let (messages, host) = (self.messages.clone(), host.to_owned());
        let task = tokio::task::spawn_local(async move {
            let mut hurried = hurried;
            let mut rhythm = Rhythm::default();
            loop {
                let began = {
                    let Some(_turn) = budget.turn().await else { return };
                    let began = Instant::now();
                    let result = resolver.look(&host).await;
                    rhythm.take(&result);
                    // First what was seen, then that it was seen: who waits for the one has the other.
                    let _ = messages.send(Message::Looked { host: host.clone(), looked: result });
                    looked.send_replace(Some(began));
                    began
                };
                if !pause(began, &rhythm, &mut hurried).await {
                    return;
                }
            }
        });
        let task = Work(task.abort_handle());
        Host { name: Name::default(), sites: BTreeMap::new(), held, looked_at, _task: task }
    }
}

/// Waits until it is time for the next look. `false`: nobody wants to know any more.
async fn pause(began: Instant, rhythm: &Rhythm, hurried: &mut watch::Receiver<bool>) -> bool {
    loop {
        let held = *hurried.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(began + rhythm.pause(held)) => return true,
            changed = hurried.changed() => if changed.is_err() { return false },
        }
    }
}

fn host_of(spec: &BackendSpec) -> Option<&str> {
    match spec {
        BackendSpec::Name { host, .. } => Some(host),
        BackendSpec::Instance(_) => None,
    }
}

/// What all looks together may take. Turns are given in the order in which they were asked for.
struct Budget {
    turns: Semaphore,
    next: Cell<Instant>,
}

impl Budget {
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.turns.acquire().await.ok()?;
        let at = self.next.get().max(Instant::now());
        self.next.set(at + SPACING);
        tokio::time::sleep_until(at).await;
        Some(turn)
    }
}
