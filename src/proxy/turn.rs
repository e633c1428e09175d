//! How much is written for one client before the sockets of others are looked at.
//!
//! The runtime has a limit of its own, and counts system calls: with 64 KiB each, a task that is never kept waiting had turns of
//! 4 MiB. HTTP/2 has no such limit at all, for its tasks wake one another.

use std::pin::pin;
use std::task::{Context, Poll, ready};

/// Bytes that are written in one turn. Looking at the sockets costs a system call; this many, several dozen.
pub const BYTES_A_TURN: usize = 512 * 1024;

/// What was written since others had their turn.
#[derive(Debug, Default)]
pub struct Turn(usize);

impl Turn {
    /// So many bytes more were written.
    pub fn wrote(&mut self, bytes: usize) {
        self.0 += bytes;
    }

    /// Whether more may be written now. If not, the task is woken once the sockets of others were looked at: waking it at once
    /// would have it go on before that.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 >= BYTES_A_TURN {
            self.0 = 0;
            ready!(pin!(tokio::task::yield_now()).poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_has_written_much_waits_once_and_is_woken() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut turn = Turn::default();
        for round in 1..=3 {
            turn.wrote(BYTES_A_TURN - 1);
            assert!(turn.poll(&mut cx).is_ready(), "it may go on");
            turn.wrote(1);
            assert!(turn.poll(&mut cx).is_pending(), "others have their turn");
            assert_eq!(woken.0.load(Ordering::Relaxed), round);
            assert!(turn.poll(&mut cx).is_ready(), "it goes on");
        }
    }
}
