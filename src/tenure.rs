//! What only one process does at a time, while another one takes over: ordering certificates, watching a swarm. Its thread
//! begins when the process before has ended its own, and ends when the process after is to begin.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waits,
    Works,
    Over,
}

/// For whoever says when.
#[derive(Debug)]
pub struct Tenures(watch::Sender<Stage>);

/// For a thread that does such work.
#[derive(Clone, Debug)]
pub struct Tenure(watch::Receiver<Stage>);

impl Tenures {
    /// Work begins at once: there is no process before.
    pub fn begun() -> Self {
        Self(watch::Sender::new(Stage::Works))
    }

    /// Work begins when [`Self::begin`] says so.
    pub fn waiting() -> Self {
        Self(watch::Sender::new(Stage::Waits))
    }

    /// For one thread.
    pub fn one(&self) -> Tenure {
        Tenure(self.0.subscribe())
    }

    /// The process before has ended its work.
    pub fn begin(&self) {
        self.0.send_if_modified(|stage| {
            let waits = *stage == Stage::Waits;
            if waits {
                *stage = Stage::Works;
            }
            waits
        });
    }

    /// Returns when all work has ended.
    pub async fn end(&self) {
        self.0.send_replace(Stage::Over);
        self.0.closed().await;
    }
}

impl Tenure {
    /// Whether work has begun, and is not over.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() == Stage::Works
    }

    /// Does this when its time has come, and drops it when that is over.
    pub async fn work<T>(mut self, work: impl AsyncFnOnce() -> T) -> Option<T> {
        self.until(|stage| stage != Stage::Waits).await;
        if *self.0.borrow() == Stage::Over {
            return None;
        }
        tokio::select! {
            biased;
            () = self.until(|stage| stage == Stage::Over) => None,
            done = work() => Some(done),
        }
    }

    async fn until(&mut self, is_so: impl Fn(Stage) -> bool) {
        if self.0.wait_for(|stage| is_so(*stage)).await.is_err() {
            // Nobody is left who could say so: the process ends.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn work_begins_when_it_is_told_and_is_dropped_before_its_end_is_told() {
        struct Held<'a>(&'a Cell<bool>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        let tenures = Tenures::waiting();
        let (tenure, works) = (tenures.one(), Cell::new(false));
        let working = tenure.work(async || {
            works.set(true);
            let _held = Held(&works);
            pending::<()>().await;
        });
        tokio::pin!(working);
        assert!(futures_now(&mut working).await.is_none() && !works.get());
        tenures.begin();
        assert!(futures_now(&mut working).await.is_none() && works.get());
        let ((), done) = tokio::join!(tenures.end(), async {
            let done = working.as_mut().await;
            assert!(!works.get());
            done
        });
        assert_eq!(done, None);
    }

    /// What it has come to by now.
    async fn futures_now<T>(work: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        tokio::select! { biased; done = work => Some(done), () = std::future::ready(()) => None }
    }
}
