//! What etcd goes on refusing, or leaves without an answer: told once, with its own words, and once more when that is over.
//!
//! All that is asked is asked again until it goes. Without a word, a fleet whose etcd takes no writes looks well until
//! somebody needs a handoff.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use super::{News, Tell};

/// For so long it is nobody's business: a member that dies is turned away from by then.
pub const QUIET: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Default)]
pub struct Refusals {
    /// Who is told, besides the log.
    tell: RefCell<Option<Tell>>,
    /// What has stood still for longer than that, by the number of who asks.
    standing: RefCell<BTreeMap<u64, String>>,
    /// What was told of it last.
    told: RefCell<Option<String>>,
    /// Since when there has been something.
    since: Cell<Option<Instant>>,
    /// Who asks next.
    next: Cell<u64>,
}

/// One thing that is asked until it goes.
pub struct Asking<'a> {
    refusals: &'a Refusals,
    number: u64,
    what: &'a str,
    /// The first failure after which nothing went.
    since: Option<Instant>,
}

impl Refusals {
    /// Has the reconciler told as well.
    pub fn tell_to(&self, tell: Tell) {
        *self.tell.borrow_mut() = Some(tell);
    }

    /// To be told how it goes. `what` is done, in words.
    pub fn asking<'a>(&'a self, what: &'a str) -> Asking<'a> {
        let number = self.next.get();
        self.next.set(number + 1);
        Asking { refusals: self, number, what, since: None }
    }

    fn stands(&self, number: u64, words: String, since: Instant) {
        if self.since.get().is_none() {
            self.since.set(Some(since));
            tracing::warn!("etcd does not do what this edge asks, and is asked again and again: {words}");
        }
        self.standing.borrow_mut().insert(number, words);
        self.show();
    }

    /// `goes`: it was done. Otherwise nobody wants it any more.
    fn ends(&self, number: u64, goes: bool) {
        if self.standing.borrow_mut().remove(&number).is_none() {
            return;
        }
        self.show();
        if !self.standing.borrow().is_empty() {
            return;
        }
        let seconds = self.since.take().map_or(0.0, |since| since.elapsed().as_secs_f64());
        match goes {
            true => tracing::info!(seconds, "etcd does what this edge asks again"),
            false => tracing::info!(seconds, "etcd is not asked any more for what it did not do"),
        }
    }

    /// The reconciler hears of what has stood for longest.
    fn show(&self) {
        let now = self.standing.borrow().values().next().cloned();
        if *self.told.borrow() == now {
            return;
        }
        self.told.borrow_mut().clone_from(&now);
        if let Some(tell) = &*self.tell.borrow() {
            tell(News::Refused(now));
        }
    }
}

impl Asking<'_> {
    /// It was refused, or not answered.
    pub fn failed(&mut self, why: impl Display) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= QUIET {
            self.refusals.stands(self.number, format!("{}: {why}", self.what), since);
        }
    }

    /// It went.
    pub fn went(&mut self) {
        self.since = None;
        self.refusals.ends(self.number, true);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.refusals.ends(self.number, false);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::time::advance;

    use super::*;

    fn told_of() -> (Refusals, Rc<RefCell<Vec<Option<String>>>>) {
        let (refusals, told) = (Refusals::default(), Rc::new(RefCell::new(Vec::new())));
        let telling = told.clone();
        refusals.tell_to(Rc::new(move |news| {
            if let News::Refused(words) = news {
                telling.borrow_mut().push(words);
            }
        }));
        (refusals, told)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_for_a_moment_is_told_to_nobody() {
        let (refusals, told) = told_of();
        let mut asking = refusals.asking("writing");
        asking.failed("no");
        advance(QUIET / 2).await;
        asking.failed("no");
        asking.went();
        advance(QUIET * 2).await;
        asking.failed("no");
        assert_eq!(*told.borrow(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_being_refused_is_told_once_and_when_it_goes() {
        let (refusals, told) = told_of();
        let mut asking = refusals.asking("writing");
        for _ in 0..5 {
            asking.failed("no");
            advance(QUIET).await;
        }
        assert_eq!(*told.borrow(), [Some("writing: no".to_owned())]);
        asking.went();
        assert_eq!(*told.borrow(), [Some("writing: no".to_owned()), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_the_last_of_what_was_refused_goes_or_is_given_up() {
        let (refusals, told) = told_of();
        let (mut one, mut other) = (refusals.asking("one"), refusals.asking("other"));
        for _ in 0..2 {
            one.failed("no");
            other.failed("no");
            advance(QUIET).await;
        }
        one.went();
        assert_eq!(told.borrow().last(), Some(&Some("other: no".to_owned())));
        drop(other);
        assert_eq!(told.borrow().last(), Some(&None));
    }
}
