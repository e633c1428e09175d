//! Reading certificates: all of them in the background, one when it is asked for, and after a reload what has changed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use super::certificate::Certificate;
use super::folder::{Place, Stamp};
use super::pem;
use super::problem::Problem;
use super::store::{AllKnown, Certificates, Hashed, Known, Survey, locked};

/// Certificates with problems at a time that get a line each in the log.
const PROBLEMS_LOGGED: usize = 20;
/// Files that one thread reads before another one is worth its while.
const FILES_PER_THREAD: usize = 16;

/// What a reload has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// New files, and changed ones.
    pub read: usize,
    /// Files that are gone.
    pub removed: usize,
    /// Certificates with a problem, of all.
    pub problems: usize,
}

impl Certificates {
    /// Reads what is new and what has changed, and forgets what is gone. What has not changed isn't touched.
    pub fn reload(&self, survey: Survey) -> Reloaded {
        let found: HashSet<Arc<Place>, Hashed> = survey.0.into_iter().map(Arc::new).collect();
        let mut known = locked(&self.known);
        let gone: Vec<_> = known.keys().filter(|place| !found.contains(*place)).cloned().collect();
        gone.iter().for_each(|place| self.forget(&mut known, place));
        let before: Vec<_> = known.iter().filter(|(_, known)| !known.is_unread).collect();
        let before: Vec<_> = before.into_iter().map(|(place, known)| (place.clone(), known.stamp)).collect();
        let mut to_read: Vec<_> = found.into_iter().filter(|place| !known.contains_key(place)).collect();
        to_read.iter().for_each(|place| self.expect(&mut known, place.clone()));
        drop(known);
        let changed = Mutex::new(Vec::new());
        in_parallel(&before, |(place, stamp)| {
            let now = place.stamp();
            if now.is_none() || now != *stamp {
                locked(&changed).push(place.clone());
            }
        });
        to_read.append(&mut locked(&changed));
        self.read_all(&to_read);
        self.shared.tidy();
        Reloaded { read: to_read.len(), removed: gone.len(), problems: self.problems() }
    }

    /// Reads what was just written to a place, and uses it from now on.
    ///
    /// # Errors
    /// What is wrong with it; the one before stays.
    pub fn take(&self, place: Place) -> Result<(), Problem> {
        let place = Arc::new(place);
        let mut known = locked(&self.known);
        if !known.contains_key(&place) {
            self.expect(&mut known, place.clone());
        }
        drop(known);
        self.read(&place);
        let known = locked(&self.known);
        known.get(&place).and_then(|known| known.problem.clone()).map_or(Ok(()), Err)
    }

    /// Reads all that was not read yet, in as many threads as there are cores.
    pub(super) fn read_all(&self, places: &[Arc<Place>]) {
        in_parallel(places, |place| self.read(place));
        let problems = self.problems();
        if problems > PROBLEMS_LOGGED {
            tracing::warn!(
                problems,
                "many certificates have a problem; `ghostpin certs --problems` lists them all"
            );
        }
    }

    /// Reads what is at a place, unless that is known.
    pub(super) fn read(&self, place: &Arc<Place>) {
        let Some(reading) = self.begin(place) else { return };
        let read = pem::read(place, SystemTime::now(), &self.shared);
        self.settle(place, reading, read);
    }

    /// Somebody is about to read what is at a place; `None` if it is known.
    pub(super) fn begin(&self, place: &Arc<Place>) -> Option<Reading> {
        // Before the files: if they change in between, the next reload sees it.
        let stamp = place.stamp();
        let mut all = locked(&self.known);
        let known = all.get_mut(place).filter(|known| !known.is_of(stamp))?;
        known.begun += 1;
        Some(Reading { number: known.begun, stamp })
    }

    /// There is a new place, of which nothing is known but its name.
    pub(super) fn expect(&self, all: &mut AllKnown, place: Arc<Place>) {
        place.expected().iter().for_each(|name| self.promise(name, &place));
        all.insert(place, Known { is_unread: true, ..Known::default() });
        self.unread.send_modify(|unread| *unread += 1);
    }

    /// Now it is known what is at a place.
    pub(super) fn settle(&self, place: &Arc<Place>, reading: Reading, read: Result<Certificate, Problem>) {
        let mut all = locked(&self.known);
        // It may have gone while it was read.
        let Some(known) = all.get_mut(place) else { return };
        // Or somebody else has read it as well, a handshake and the background, say: the first one counts. Or has begun
        // later and was faster: what was read here may be what was there before.
        if known.is_of(reading.stamp) || reading.number < known.settled {
            return;
        }
        (known.settled, known.stamp) = (reading.number, reading.stamp);
        let had_problem = known.problem.is_some();
        match read {
            Ok(certificate) => {
                let certificate = Arc::new(certificate);
                known.problem = pem::misnamed(&certificate);
                // The new one first: no handshake finds none.
                self.serve(&certificate);
                if let Some(before) = known.certificate.replace(certificate) {
                    self.withdraw(&before);
                }
            }
            Err(problem) => known.problem = Some(problem),
        }
        if let Some(problem) = &known.problem {
            let before = self.problems.fetch_add(usize::from(!had_problem), Ordering::Relaxed);
            if before < PROBLEMS_LOGGED {
                let good = known.certificate.is_some();
                tracing::warn!(%problem, a_good_one_is_served = good, "a certificate has a problem");
            }
        } else if had_problem {
            self.problems.fetch_sub(1, Ordering::Relaxed);
        }
        self.is_read(place, known);
    }

    /// Those who wait for it look again.
    fn is_read(&self, place: &Arc<Place>, known: &mut Known) {
        if std::mem::take(&mut known.is_unread) {
            place.expected().iter().for_each(|name| self.keep_promise(name, place));
            self.unread.send_modify(|unread| *unread -= 1);
        }
    }

    /// It is gone, and isn't served any more.
    fn forget(&self, all: &mut AllKnown, place: &Arc<Place>) {
        let Some(mut known) = all.remove(place) else { return };
        self.is_read(place, &mut known);
        known.certificate.iter().for_each(|certificate| self.withdraw(certificate));
        if known.problem.is_some() {
            self.problems.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A reading of what is at a place, from its beginning to its end.
pub(super) struct Reading {
    /// Those that begin later have greater ones.
    number: u64,
    /// How the files were when it began.
    stamp: Option<Stamp>,
}

impl Known {
    /// What is known is what was read from files that were like this.
    fn is_of(&self, stamp: Option<Stamp>) -> bool {
        !self.is_unread && stamp.is_some() && self.stamp == stamp
    }
}

/// Does something for each of them, on as many threads as there are cores and as is worth while.
fn in_parallel<T: Sync>(all: &[T], each: impl Fn(&T) + Sync) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(all.len() / FILES_PER_THREAD).max(1);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            each(one);
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
}
