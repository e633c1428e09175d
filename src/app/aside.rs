//! Work that takes a while and that no reader waits for, on a thread of its own which goes behind the workers.
//!
//! It is as long as the configuration: with a million sites it is seconds. On a machine with few cores a worker would share
//! its core with it for so long, and all its readers would wait.

use std::thread;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

/// How much nicer than the process: who is nicer by ten gets a tenth of a core that others want, and all of one that nobody does.
const NICER_BY: i32 = 10;
/// The nicest that there is.
const NICEST: i32 = 19;

/// Begins it at once; what comes of it may be waited for.
///
/// # Errors
/// That there is no thread to be had, or that the work panicked.
pub(super) fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, String>> {
    let (done, result) = oneshot::channel();
    // Not one of tokio's, which would stay nice when it does something else.
    let thread = thread::Builder::new().name("aside".to_owned()).spawn(move || {
        go_behind();
        let _ = done.send(work());
    });
    async move {
        thread.map_err(|error| format!("there is no thread for it: {error}"))?;
        result.await.map_err(|_| "the thread that did it panicked".to_owned())
    }
}

/// On Linux each thread is as nice as it likes, and "this process" is the thread that asks. Where it can't be, it shares.
fn go_behind() {
    let nicer =
        getpriority_process(None).and_then(|now| setpriority_process(None, (now + NICER_BY).min(NICEST)));
    if let Err(error) = nicer {
        tracing::debug!(%error, "a thread goes beside the workers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_done_aside_goes_behind_the_workers() {
        let niceness = || getpriority_process(None).unwrap();
        let before = niceness();
        assert_eq!(aside(niceness).await, Ok((before + NICER_BY).min(NICEST)));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn a_panic_aside_is_told() {
        let told = aside(|| assert!(std::hint::black_box(false), "on purpose")).await;
        assert!(told.unwrap_err().contains("panicked"));
    }
}
