//! All certificates of the process, by name.
//!
//! A handshake looks up one entry of a concurrent map, and nothing else; reading, replacing and listing are for others.
//! What is known of the files has a lock of its own, which no handshake ever waits for.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;
use quick_cache::sync::Cache;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::certificate::Certificate;
use super::folder::{self, Place, Source, Stamp};
use super::problem::Problem;
use super::shared::Shared;

/// Certificates that are kept in the form that handshakes need. For others it is made again.
const READY_MAX: usize = 8192;
/// By how much reading in the background stands back behind requests.
const BACKGROUND_NICE: i32 = 10;

/// See the module's text.
pub struct Certificates {
    by_name: DashMap<Box<str>, Named, RandomState>,
    ready: Cache<u64, Arc<CertifiedKey>>,
    pub(super) known: Mutex<AllKnown>,
    /// Places that have not been read yet.
    pub(super) unread: watch::Sender<usize>,
    /// Places with a problem.
    pub(super) problems: AtomicUsize,
    pub(super) shared: Shared,
}

/// Where certificates are looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// The folder of `[tls] certificates`.
    pub folder: Option<PathBuf>,
    /// The folder that ghostpin keeps those from ACME in; it need not be there yet.
    pub acme: Option<PathBuf>,
    /// Those that sites name.
    pub sites: Vec<Place>,
}

/// What was found in the sources, before anything is changed.
#[derive(Debug)]
pub struct Survey(pub(super) Vec<Place>);

/// How maps are hashed here.
pub(super) type Hashed = RandomState;
/// All that is known of places.
pub(super) type AllKnown = HashMap<Arc<Place>, Known, Hashed>;

/// What is served for a name: `*` is left out of `*.domain`.
#[derive(Default)]
struct Named {
    /// The first one that is valid is used, or the first.
    certificates: Vec<Arc<Certificate>>,
    /// Files whose name promises one.
    unread: Vec<Arc<Place>>,
}

/// What is known of a place.
#[derive(Default)]
pub(super) struct Known {
    /// Readings that have begun.
    pub(super) begun: u64,
    /// The latest of those that have ended.
    pub(super) settled: u64,
    /// How its files were when they were read.
    pub(super) stamp: Option<Stamp>,
    pub(super) is_unread: bool,
    /// The last good one.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// What is wrong with what is there now.
    pub(super) problem: Option<Problem>,
}

/// What a look for a name finds.
pub(super) enum Look {
    Found(Arc<Certificate>),
    Unread(Vec<Arc<Place>>),
    Unknown,
}

/// The key of a name in the map.
fn key_of(name: &str) -> &str {
    name.strip_prefix('*').unwrap_or(name)
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked has not left half of a change behind: each is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sources {
    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Looks what is there. Reads folders, and no file.
    ///
    /// # Errors
    /// A folder can't be read; the message names it.
    pub fn survey(&self) -> Result<Survey, String> {
        let unreadable = |key: &str, folder: &PathBuf, error: io::Error| {
            format!("{key}: `{}` can't be read: {error}", folder.display())
        };
        let mut places = self.sites.clone();
        if let Some(path) = &self.folder {
            let found = folder::list(path, &Source::Folder);
            places.extend(found.map_err(|error| unreadable("[tls] certificates", path, error))?);
        }
        if let Some(path) = &self.acme {
            match folder::list(path, &Source::Acme) {
                Ok(found) => places.extend(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable("[server] state", path, error)),
            }
        }
        Ok(Survey(places))
    }
}

impl Certificates {
    /// Knows of all that there is, and begins to read it in the background. From now on, names are found.
    pub fn open(survey: Survey) -> Arc<Self> {
        let certificates = Arc::new(Self {
            by_name: DashMap::default(),
            ready: Cache::new(READY_MAX),
            known: Mutex::default(),
            unread: watch::Sender::new(0),
            problems: AtomicUsize::new(0),
            shared: Shared::default(),
        });
        let unread: Vec<_> = survey.0.into_iter().map(Arc::new).collect();
        let mut known = locked(&certificates.known);
        unread.iter().for_each(|place| certificates.expect(&mut known, place.clone()));
        drop(known);
        let reader = certificates.clone();
        let reading = thread::Builder::new().name("certificates".to_owned()).spawn(move || {
            // Threads that this one starts stand back as well.
            let _ = rustix::process::nice(BACKGROUND_NICE);
            reader.read_all(&unread);
            tracing::info!(certificates = unread.len(), problems = reader.problems(), "certificates read");
        });
        if let Err(error) = reading {
            tracing::error!(%error, "certificates can't be read in the background: each is read when it is asked for");
        }
        certificates
    }

    // At a handshake.

    /// The certificate of this name, given in lower case: for the name itself, or else for all names below its domain.
    /// Reads it if nobody has yet, and waits for what is being read.
    pub async fn find(self: &Arc<Self>, name: &str) -> Option<Arc<Certificate>> {
        loop {
            match self.look(name) {
                Look::Found(certificate) => return Some(certificate),
                Look::Unread(places) => {
                    let reader = self.clone();
                    // A disk may take its time, and others are served by this thread.
                    let read = move || places.iter().for_each(|place| reader.read(place));
                    tokio::task::spawn_blocking(read).await.ok()?;
                }
                Look::Unknown => {
                    // It may be in a file whose name doesn't tell.
                    let mut unread = self.unread.subscribe();
                    if *unread.borrow_and_update() == 0 {
                        return None;
                    }
                    unread.wait_for(|unread| *unread == 0).await.ok()?;
                }
            }
        }
    }

    /// Whether there is a certificate for this name that is valid now.
    pub fn has(&self, name: &str) -> bool {
        match self.look(name) {
            Look::Found(certificate) => certificate.is_valid(SystemTime::now()),
            // Its file is there; what is wrong with it will be told when it is read.
            Look::Unread(_) => true,
            Look::Unknown => false,
        }
    }

    /// Whether there is a certificate for this name that was read, and is valid now.
    pub fn shows(&self, name: &str) -> bool {
        matches!(self.look(name), Look::Found(certificate) if certificate.is_valid(SystemTime::now()))
    }

    pub(super) fn look(&self, name: &str) -> Look {
        // Names below a domain have their key with a dot in front, and are no names by themselves.
        if name.starts_with('.') {
            return Look::Unknown;
        }
        let below = name.find('.').filter(|dot| *dot > 0).map(|dot| &name[dot..]);
        for key in std::iter::once(name).chain(below) {
            let Some(named) = self.by_name.get(key) else { continue };
            if let Some(best) = named.best() {
                return Look::Found(best.clone());
            }
            if !named.unread.is_empty() {
                return Look::Unread(named.unread.clone());
            }
        }
        Look::Unknown
    }

    /// In the form that handshakes need, made now if it isn't there.
    fn ready(&self, certificate: &Certificate) -> Option<Arc<CertifiedKey>> {
        let made =
            self.ready.get_or_insert_with(&certificate.number, || certificate.certified().map(Arc::new));
        made.inspect_err(|error| tracing::error!(%error, ?certificate, "a certificate can't be used")).ok()
    }

    // What is served, by name.

    /// A file whose name promises this one is there, and was not read yet.
    pub(super) fn promise(&self, name: &str, place: &Arc<Place>) {
        self.by_name.entry(key_of(name).into()).or_default().unread.push(place.clone());
    }

    /// The file was read.
    pub(super) fn keep_promise(&self, name: &str, place: &Arc<Place>) {
        self.change(name, |named| named.unread.retain(|unread| unread != place));
    }

    /// From now on it is served for its names, unless there is a better one.
    pub(super) fn serve(&self, certificate: &Arc<Certificate>) {
        for name in &certificate.names {
            let mut named = self.by_name.entry(key_of(name).into()).or_default();
            named.certificates.push(certificate.clone());
            // What an operator has named for a site first; of equals the one that is valid longest.
            named.certificates.sort_by(|a, b| {
                let by_source = a.place.source.cmp(&b.place.source);
                by_source.then(b.not_after.cmp(&a.not_after)).then(a.place.cmp(&b.place))
            });
        }
    }

    /// It isn't served any more.
    pub(super) fn withdraw(&self, certificate: &Arc<Certificate>) {
        for name in &certificate.names {
            self.change(name, |named| named.certificates.retain(|other| other.number != certificate.number));
        }
        self.ready.remove(&certificate.number);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Named)) {
        if let Entry::Occupied(mut named) = self.by_name.entry(key_of(name).into()) {
            change(named.get_mut());
            if named.get().is_empty() {
                named.remove();
            }
        }
    }

    // For operators.

    /// Places with a problem.
    pub fn problems(&self) -> usize {
        self.problems.load(Ordering::Relaxed)
    }
}

impl Named {
    fn best(&self) -> Option<&Arc<Certificate>> {
        let first = self.certificates.first()?;
        if self.certificates.len() == 1 {
            return Some(first);
        }
        let now = SystemTime::now();
        self.certificates.iter().find(|certificate| certificate.is_valid(now)).or(Some(first))
    }

    fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.unread.is_empty()
    }
}

impl ResolvesServerCert for Certificates {
    /// For those who have asked [`Certificates::find`] before: nothing is read here.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self.look(hello.server_name()?) {
            Look::Found(certificate) => self.ready(&certificate),
            Look::Unread(_) | Look::Unknown => None,
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("names", &self.by_name.len()).finish_non_exhaustive()
    }
}
