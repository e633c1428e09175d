//! How the pins go to another process: nothing is decided from the moment that the store is closed until the heir has said
//! that it has taken over, or is dead. What happens meanwhile waits in the queues, so that a heir that fails was a pause.

use std::path::Path;

use super::*;
use crate::control::InForce;
use crate::control::following::{Following, Succession};
use crate::control::store::{PinStore, StoreError};
use crate::core::health::State;
use crate::upgrade::Unsettled;
use crate::upgrade::elder::Heir;

/// Whoever else has opened the store meanwhile may keep it for so long.
const OPEN_AGAIN_MAX: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// A heir that is ready.
#[derive(Debug)]
pub struct HandOver {
    /// It.
    pub heir: Heir,
    /// How many updates of the file were in force when it was started.
    pub updates: u64,
    /// Told what becomes of it.
    pub answer: oneshot::Sender<Result<Succession, NotTaken>>,
}

/// Why another process has not got the pins.
#[derive(Debug)]
pub enum NotTaken {
    /// It is no good, and has ended.
    Failed(String),
    /// A hook runs, and is never run twice at a time: the heir is to come again.
    HookRuns(Heir),
}

impl HandOver {
    /// Nothing was begun.
    pub(super) fn give_back(self) {
        // Whoever doesn't wait for it any more has stopped; it ends, too.
        drop(self.answer.send(Err(NotTaken::HookRuns(self.heir))));
    }
}

impl Reconciler {
    /// It is served when all is taken in that there is.
    pub(super) fn heir_waits(&mut self, ask: HandOver) {
        let why = if self.has_elder() {
            "the process before this one still has requests: try again when it has ended"
        } else if self.heir.is_some() {
            "another upgrade is under way"
        } else {
            self.heir = Some(ask);
            return;
        };
        drop(ask.heir);
        drop(ask.answer.send(Err(NotTaken::Failed(why.to_owned()))));
    }

    /// A site whose hook runs, if there is one.
    pub(super) fn running_hook(&self) -> Option<SiteName> {
        let (site, _) = self.hooks_running.first_key_value()?;
        Some(self.sites.get(site).map_or_else(|| SiteName::from("-"), |entry| entry.name().clone()))
    }

    pub(super) fn in_force(&self, most: usize) -> InForce {
        let canary = self.canary_elsewhere().map(|canary| canary.edge.clone());
        let (updates, waits) = (self.updates, self.guarded.waits(Source::File));
        InForce { updates, waits, rule: self.config.guard.rule, canary, well: self.well(most) }
    }

    /// The heir, if what it has read is still in force, and nothing waits that it would not know of. To be asked when all that
    /// was asked for before is done.
    pub(super) fn unless_outdated(&self, ask: HandOver) -> Option<HandOver> {
        let why = match self.guarded.waits(Source::File) {
            Some(id) => InForce::waits_first(&id),
            None if ask.updates == self.updates => return Some(ask),
            None => "the configuration was reloaded meanwhile: ask again".to_owned(),
        };
        drop(ask.heir);
        drop(ask.answer.send(Err(NotTaken::Failed(why))));
        None
    }

    /// Sites that serve and whose backend is well, and those backends, but not more than `most`.
    fn well(&self, most: usize) -> Vec<(String, String)> {
        let is_well = |entry: &&SiteEntry| {
            let pinned = entry.core.pin().map(|pin| &pin.backend);
            let mut candidates = entry.core.candidates().iter();
            *entry.core.phase() == Phase::Serving
                && candidates.any(|c| Some(&c.backend) == pinned && c.health.state() == State::Well)
        };
        let sites =
            self.by_name.values().filter_map(|key| self.sites.get(key)).map(AsRef::as_ref).filter(is_well);
        let pinned = sites.filter_map(|entry| Some((entry.name(), &entry.core.pin()?.backend)));
        pinned.map(|(site, backend)| (site.to_string(), backend.to_string())).take(most).collect()
    }

    /// Hands over. If the heir fails, it is dead, and all is as it was.
    pub(super) async fn hand_over(mut self, mut ask: HandOver) -> Result<(Self, HandOver), Self> {
        let closed = Writer::to(|_| {});
        std::mem::replace(&mut self.writer, closed).close();
        let Err(why) = ask.heir.take_over(self.unsettled()).await else {
            return Ok((self, ask));
        };
        let HandOver { heir, answer, .. } = ask;
        tracing::warn!(why, "the new process has not taken over: the pin store is opened again");
        // It may have it open.
        drop(heir);
        let opened = open_again(&self.config.server.state).await;
        let why = match opened.and_then(|store| self.write_to(store)) {
            Ok(()) => why,
            Err(error) => {
                let why = format!("{why}; and the pin store can't be opened any more: {error}");
                tracing::error!(why, "no pin can be moved until ghostpin is restarted");
                why
            }
        };
        drop(answer.send(Err(NotTaken::Failed(why))));
        Err(self)
    }

    pub(super) fn write_to(&mut self, store: PinStore) -> Result<(), String> {
        let messages = self.messages.clone();
        let report = move |all| drop(messages.send(Message::Committed(all)));
        self.writer = Writer::start(store, report).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Sites that are not just served.
    fn unsettled(&self) -> Vec<Unsettled> {
        let keys = self.troubles.shut().chain(self.leaving.values().copied());
        let entries = keys.filter_map(|key| self.sites.get(&key));
        entries.filter_map(|entry| Unsettled::of(entry.name(), entry.core.found())).collect()
    }

    /// The heir has taken over: from now on, this process does what it says.
    pub(super) fn become_follower(mut self, ask: HandOver) -> Following {
        let HandOver { heir, answer, .. } = ask;
        self.give_up_wishes(|| WishError::Succeeded);
        let gates = self.sites.iter().map(|(key, entry)| (*key, entry.name().clone(), entry.gate.clone()));
        let (following, succession) = Following::new(heir, gates, self.workers.clone());
        drop(answer.send(Ok(succession)));
        following
    }
}

/// Another process decides by now. Of what is not answered here, whoever asks hears that nobody is there.
pub(super) fn asked_too_late(message: Message) {
    match message {
        Message::Ask(Ask::Wish { answer, .. }) => drop(answer.send(Err(WishError::Succeeded))),
        Message::Ask(Ask::Apply(_, answer) | Ask::Provide(_, answer)) => {
            drop(answer.send(Err("a new process has taken over: ask again".to_owned())));
        }
        _ => {}
    }
}

/// Opens the store again that was closed for another process. Whatever the system is short of, it may have again in a moment.
pub(super) async fn open_again(state: &Path) -> Result<PinStore, String> {
    let until = Instant::now() + OPEN_AGAIN_MAX;
    loop {
        match PinStore::open_again(state) {
            Err(StoreError::InUse { .. } | StoreError::Io { .. }) if Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            opened => return Ok(opened.map_err(|error| error.to_string())?.store),
        }
    }
}
