//! The control plane: who decides about pins, and what makes them last.
//!
//! One task, the [`reconciler`], is the only writer: it takes what happened, asks the core what is to be done, and
//! does it. Everybody else (the admin API, a reload, probes, hooks, timers, gates) sends it messages.

mod counts;
pub mod detours;
pub mod fleet;
mod following;
pub mod glance;
pub mod hooks;
pub mod names;
pub mod outside;
pub mod probe;
pub mod reconciler;
pub mod resolve;
pub mod schedule;
pub mod site;
pub mod store;
pub mod troubles;
pub mod view;
pub mod writer;

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::config::diff::Plan;
use crate::core::guard::Rule;
use crate::core::handoff::Refused;
use crate::core::{Pin, SiteName};
use crate::observe::journal;
use crate::upgrade::elder::Heir;
pub use following::Succession;
use glance::{Glance, Look};
pub use reconciler::{HandOver, NotTaken, Source};
use view::{SiteSummary, SiteView, SitesWanted, Status};

/// What may be asked of the reconciler.
#[derive(Debug)]
pub enum Ask {
    /// Sites.
    Sites(SitesWanted, oneshot::Sender<Vec<SiteSummary>>),
    /// One site.
    Site(SiteName, oneshot::Sender<Option<SiteView>>),
    /// The process as a whole.
    Status(oneshot::Sender<Status>),
    /// Some lines, what is in trouble, and what happened last.
    Glance(Look, oneshot::Sender<Glance>),
    /// The newest journal entries.
    Journal(journal::Filter, oneshot::Sender<Vec<journal::Entry>>),
    /// What [`Ask::Apply`] would do with this configuration.
    Plan(Box<Config>, oneshot::Sender<Plan>),
    /// A wish. Handoffs are answered when they have ended.
    Wish {
        /// The site.
        site: SiteName,
        /// The wish; a handoff's backend as its text.
        wish: Wanted,
        /// Who wishes it, for the journal.
        by: String,
        /// Goes back.
        answer: oneshot::Sender<Result<Option<Pin>, WishError>>,
    },
    /// From now on, this configuration holds.
    Apply(Box<Config>, oneshot::Sender<Result<Applied, String>>),
    /// The fleet's edges; `None` if this process is alone.
    Fleet(oneshot::Sender<Option<Result<fleet::FleetView, String>>>),
    /// Leave the fleet: answered when no request of it is left here, and nobody waits for this edge. `None` if this process is
    /// alone.
    Leave(oneshot::Sender<Option<fleet::HasLeft>>),
    /// Answered when the fleet is joined; at once, if this process is alone.
    Joined(oneshot::Sender<()>),
    /// An update that waits is meant, by its id: who wants it, if there is such a one.
    Confirm(String, oneshot::Sender<Option<Source>>),
    /// The same, with other sites of a provider and what the file said last.
    Provide(Box<Config>, oneshot::Sender<Result<Applied, String>>),
    /// Tell when the canary has found good what waits of the file. Dropped if nothing waits for it, or something else does.
    UntilGood(oneshot::Sender<()>),
    /// What a process that is to take over is told, with so many well sites at most.
    InForce(usize, oneshot::Sender<InForce>),
    /// Answered, or dropped, when no process has requests that this one has taken over from.
    Alone(oneshot::Sender<()>),
    /// A site whose hook runs; `None` if there is none.
    Hook(oneshot::Sender<Option<SiteName>>),
    /// Something for the journal of a site: its kind, and what happened.
    Note(SiteName, &'static str, String),
    /// A configuration was refused; what holds is named in [`Status`].
    RefusedUpdate(String),
}

/// A wish as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Move the pin to the candidate with this text.
    Handoff(String),
    /// See [`Wish::Hold`](crate::core::handoff::Wish::Hold).
    Hold,
    /// See [`Wish::Release`](crate::core::handoff::Wish::Release).
    Release,
}

/// What holds now, for a process that is to take over.
#[derive(Clone, Debug)]
pub struct InForce {
    /// How many updates of the file were put in force here: one more, and what the other process has read is not what holds.
    pub updates: u64,
    /// The update of the file that waits for a word, or for the canary.
    pub waits: Option<String>,
    /// How much an update may touch.
    pub rule: Rule,
    /// The edge that tries updates of the file before they are put in force here.
    pub canary: Option<String>,
    /// Some of the sites that serve and whose backend is well, and those backends.
    pub well: Vec<(String, String)>,
}

impl InForce {
    /// What whoever wants an upgrade is told while this update waits.
    pub fn waits_first(id: &str) -> String {
        format!(
            "update {id} of the file waits: `ghostpin confirm {id}`, or take it back and `ghostpin reload`, and upgrade then"
        )
    }
}

/// Why a wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// There is no such site.
    #[error("there is no site `{0}`")]
    NoSite(SiteName),
    /// The core says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The controller of the fleet has changed before it was done.
    #[error("the fleet has another controller now: look at the site, and ask again if need be")]
    NewController,
    /// Nobody decides now.
    #[error("the fleet has no controller now: its store does not answer")]
    NoController,
    /// The process is about to end.
    #[error("ghostpin is stopping: look at the site when it is served again, and ask again if need be")]
    Stopping,
    /// A new process decides now, in the middle of it.
    #[error("a new process has taken over: look at the site, and ask again if need be")]
    Succeeded,
}

/// What a reload has changed, or is to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// Sites that are new.
    pub added: Vec<String>,
    /// Sites that are gone.
    pub removed: Vec<String>,
    /// Sites whose configuration has changed.
    pub changed: Vec<String>,
    /// Sites that are as they were.
    pub unchanged: usize,
    /// Keys that have changed and take effect only after a restart.
    pub needs_restart: Vec<String>,
    /// Nothing has been changed yet: this is what is waited for, and what to do.
    pub waits: Option<String>,
}

/// The way to the reconciler, for any thread.
#[derive(Clone, Debug)]
pub struct Controller(mpsc::UnboundedSender<reconciler::Message>);

impl Controller {
    /// Nothing that is asked for here is done any more.
    pub fn is_over(&self) -> bool {
        self.0.is_closed()
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.send(reconciler::Message::Ask(ask(answer))).ok()?;
        answered.await.ok()
    }

    /// Those sites that are wanted; `None` if the process is about to end.
    pub async fn sites(&self, wanted: SitesWanted) -> Option<Vec<SiteSummary>> {
        self.ask(|answer| Ask::Sites(wanted, answer)).await
    }

    /// One site, if there is one of this name. The outer `None` says that the process is about to end.
    pub async fn site(&self, name: SiteName) -> Option<Option<SiteView>> {
        self.ask(|answer| Ask::Site(name, answer)).await
    }

    /// The process as a whole; `None` if it is about to end.
    pub async fn status(&self) -> Option<Status> {
        self.ask(Ask::Status).await
    }

    /// Some lines, what is in trouble, and what happened last; `None` if the process is about to end.
    pub async fn glance(&self, look: Look) -> Option<Glance> {
        self.ask(|answer| Ask::Glance(look, answer)).await
    }

    /// The newest journal entries, newest first; `None` if the process is about to end, here and below.
    pub async fn journal(&self, filter: journal::Filter) -> Option<Vec<journal::Entry>> {
        self.ask(|answer| Ask::Journal(filter, answer)).await
    }

    /// What [`Self::apply`] would do.
    pub async fn plan(&self, config: Config) -> Option<Plan> {
        self.ask(|answer| Ask::Plan(Box::new(config), answer)).await
    }

    /// The fleet's edges; the inner `None` if this process is alone.
    pub async fn fleet(&self) -> Option<Option<Result<fleet::FleetView, String>>> {
        self.ask(Ask::Fleet).await
    }

    /// Leaves the fleet, and returns when no request of it is left here, and nobody waits for this edge; the inner `None` if
    /// this process is alone.
    pub async fn leave(&self) -> Option<Option<fleet::HasLeft>> {
        self.ask(Ask::Leave).await
    }

    /// Returns when this edge follows the fleet's store; at once, if this process is alone.
    pub async fn joined(&self) {
        self.ask(Ask::Joined).await;
    }

    /// What holds now, with `most` well sites at most.
    pub async fn in_force(&self, most: usize) -> Option<InForce> {
        self.ask(|answer| Ask::InForce(most, answer)).await
    }

    /// Returns when no process has requests any more that this one has taken over from.
    pub async fn until_alone(&self) {
        self.ask(Ask::Alone).await;
    }

    /// A site whose hook runs, if there is one; the outer `None` says that the process is about to end.
    pub async fn hook(&self) -> Option<Option<SiteName>> {
        self.ask(Ask::Hook).await
    }

    /// Hands all pins over to another process, which is ready, and has read the file after so many
    /// [`InForce::updates`]. The error says why it has not taken them, and this process goes on.
    ///
    /// # Errors
    /// [`NotTaken`]
    pub async fn hand_over(&self, heir: Heir, updates: u64) -> Result<Succession, NotTaken> {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send(reconciler::Message::HandOver(HandOver { heir, updates, answer }));
        let answered = match asked {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        answered.unwrap_or_else(|| Err(NotTaken::Failed("ghostpin is stopping".to_owned())))
    }

    /// Asks for something and waits until it is done or refused.
    pub async fn wish(&self, site: SiteName, wish: Wanted, by: String) -> Result<Option<Pin>, WishError> {
        let done = self.ask(|answer| Ask::Wish { site, wish, by, answer }).await;
        done.unwrap_or(Err(WishError::Stopping))
    }

    /// Puts a configuration in force, in one step. The error says why it was refused; then nothing has changed.
    pub async fn apply(&self, config: Config) -> Result<Applied, String> {
        let done = self.ask(|answer| Ask::Apply(Box::new(config), answer)).await;
        done.unwrap_or_else(|| Err("ghostpin is stopping".to_owned()))
    }

    /// Gives the word for an update that waits. Who wants it; the inner `None` if no update of that name waits.
    pub async fn confirm(&self, id: String) -> Option<Option<Source>> {
        self.ask(|answer| Ask::Confirm(id, answer)).await
    }

    /// Puts other sites of a provider in force, in one step. What was refused of the file stays refused.
    pub async fn provide(&self, config: Config) -> Result<Applied, String> {
        let done = self.ask(|answer| Ask::Provide(Box::new(config), answer)).await;
        done.unwrap_or_else(|| Err("ghostpin is stopping".to_owned()))
    }

    /// Returns when the canary has found good what waits of the file; `false` if nothing waits for it any more.
    pub async fn until_good(&self) -> bool {
        self.ask(Ask::UntilGood).await.is_some()
    }

    /// Writes something into the journal; `-` stands for no site.
    pub fn note(&self, site: SiteName, kind: &'static str, note: String) {
        let _ = self.0.send(reconciler::Message::Ask(Ask::Note(site, kind, note)));
    }

    /// Makes it visible that an update was refused.
    pub fn refused_update(&self, why: String) {
        let _ = self.0.send(reconciler::Message::Ask(Ask::RefusedUpdate(why)));
    }
}
