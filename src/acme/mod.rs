//! Certificates from an authority that speaks ACME (RFC 8555): ordered, proved, kept and renewed.
//!
//! [`crate::core::orders`] decides which name is ordered when; this room does it, on a thread of its own, and what it has
//! is on the disk before anybody is told. A certificate authority that is down for hours is only a backoff.
//!
//! It serves nothing itself: [`Challenges`] is where the listeners find what to answer an authority that looks whether a
//! name leads here, and whoever serves the certificates is told by [`Installed`] which file has a new one.

mod ask;
mod ca;
mod challenges;
mod http;
mod keeper;
mod order;
mod pem;
mod store;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

pub use challenges::{CHALLENGE_PATH, Challenges};
pub use store::{StoreError, certificates_in};

use crate::config;
use crate::core::orders::{Dice, Served};
use crate::tenure::Tenure;
use store::Store;

/// Callers of [`Authority::want`] that may wait at a time.
pub const WAITERS_MAX: usize = 10_000;

/// Is told, on the thread of this room, that the file at the path has a new certificate for the name: its chain and then
/// its key, as PEM.
pub type Installed = Arc<dyn Fn(&str, &Path) + Send + Sync>;

/// What it is made from.
#[derive(Clone)]
pub struct Parts {
    /// `[acme]`
    pub config: config::Acme,
    /// `server.state`; there must be such a folder.
    pub state: PathBuf,
    /// Where the listeners look for answers to challenges.
    pub challenges: Challenges,
    /// Whom to tell of new certificates.
    pub installed: Installed,
    /// Makes the jitter differ from that of other processes.
    pub seed: u64,
}

/// Why there is no certificate (yet).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No site has the name, or no authority would take it for one.
    #[error("no site has this name")]
    NotServed,
    /// Only a wildcard covers it, and `acme.ask` is not set or did not allow it.
    #[error("it is covered by a wildcard only, and acme.ask does not allow it: {0}")]
    NotAllowed(String),
    /// Its order has failed.
    #[error("its order has failed: {0}")]
    Failed(String),
    /// It, or every authority, is left alone for a time after a failure.
    #[error("it is tried again in {} s", .0.as_secs())]
    Later(Duration),
    /// Too many wait already.
    #[error("too many wait for certificates already")]
    Busy,
    /// The process is about to end.
    #[error("ghostpin is stopping")]
    Stopping,
}

/// What is going on, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Orders begun since the start; those taken up again count, too.
    pub begun: u64,
    /// Orders that ended with a certificate.
    pub issued: u64,
    /// Orders that ended without.
    pub failed: u64,
    /// Names whose turn has not come.
    pub queued: usize,
    /// Orders under way.
    pub under_way: usize,
    /// Names that have a certificate that is valid, as of the last order, reload or minute.
    pub valid: usize,
    /// When the first of these ends.
    pub soonest_end: Option<SystemTime>,
    /// The authorities, in the order of the configuration.
    pub authorities: Vec<AuthorityStatus>,
}

/// One authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityStatus {
    /// URL of its directory.
    pub directory: String,
    /// Until when it is left alone.
    pub backoff_until: Option<SystemTime>,
    /// Failures to reach it in a row.
    pub failures: u32,
}

enum Message {
    Want(Arc<str>, oneshot::Sender<Result<(), Unavailable>>),
    Serve(Served),
}

/// The way to the thread, for any thread. It ends with the process.
#[derive(Clone)]
pub struct Authority {
    messages: mpsc::UnboundedSender<Message>,
    status: Arc<Mutex<Status>>,
    waiting: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// Starts the thread, with nothing served yet. It works while it is its turn.
///
/// # Errors
/// The folder can't be used, or no thread can be had.
pub fn start(parts: Parts, tenure: Tenure) -> Result<Authority, StoreError> {
    // If it is another process's turn, that one has it open.
    let opened = tenure.has_begun().then(|| Store::open(&parts.state)).transpose()?;
    let (messages, received) = mpsc::unbounded_channel();
    let status: Arc<Mutex<Status>> = Arc::default();
    let shared = status.clone();
    let dice = Dice::new(parts.seed);
    let work = async move || {
        let opened = opened.map_or_else(|| Store::open(&parts.state), Ok);
        let looked = opened.and_then(|(store, mut remembered)| {
            store.look(&mut remembered)?;
            Ok((store, remembered))
        });
        match looked {
            Ok((store, remembered)) => {
                keeper::Keeper::new(parts, store, remembered, dice, shared).run(received).await;
            }
            // To order all of them anew would be worse.
            Err(error) => {
                tracing::error!(%error, "no certificates are ordered: those that are there can't be read");
            }
        }
    };
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only a few file descriptors");
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, tenure.work(work));
    };
    let spawned = thread::Builder::new().name("acme".to_owned()).spawn(run);
    spawned.map_err(StoreError::io("start the thread for", Path::new("acme")))?;
    Ok(Authority { messages, status, waiting: Arc::default() })
}

impl Authority {
    /// Returns when there is a valid certificate for `name`, or won't be for now. Many may wait for one order; who
    /// stops waiting does not end it.
    pub fn want(&self, name: &str) -> impl Future<Output = Result<(), Unavailable>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let place = Place::take(&self.waiting);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let sent = place.is_some() && self.messages.send(Message::Want(name.into(), answer)).is_ok();
        async move {
            if place.is_none() {
                return Err(Unavailable::Busy);
            }
            if !sent {
                return Err(Unavailable::Stopping);
            }
            answered.await.unwrap_or(Err(Unavailable::Stopping))
        }
    }

    /// From now on these hosts are served, and no others: exact ones, and wildcards with or without their `*.`.
    pub fn names_changed<T: AsRef<str>>(
        &self,
        exact: impl IntoIterator<Item = T>,
        wildcards: impl IntoIterator<Item = T>,
    ) {
        let _ = self.messages.send(Message::Serve(Served::new(exact, wildcards)));
    }

    /// What is going on.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One of the places for those who wait.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(waiting.clone());
        // Counted first, and given back by the drop: so never more than there are places.
        (waiting.fetch_add(1, Ordering::Relaxed) < WAITERS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
