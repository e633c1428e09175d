//! A process that has handed its pins over still has requests. Should its heir die, whoever starts next knows nothing of
//! them, and has to wait for their end: as long as there is such a process, it has a lock in the state folder. It takes it before it
//! hands over, so that nobody takes its pins on their way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

const LOCK: &str = "elder.lock";
const PAUSE: Duration = Duration::from_millis(20);

/// The lock; it ends with the process.
#[derive(Debug)]
pub struct Leftover {
    _file: File,
}

/// Why it can't be had.
#[derive(Debug, thiserror::Error)]
pub enum NoLock {
    /// There is such a process.
    #[error(
        "a process that was upgraded before still has requests, or one is being upgraded: try again when that has ended, at the \
         latest after server.shutdown_timeout"
    )]
    Taken,
    /// The system did not do what was asked.
    #[error("can't lock {}: ghostpin needs a folder `server.state` that it can write to", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Leftover {
    /// Takes the lock, once the process that has it has ended.
    ///
    /// # Errors
    /// It can't be had within `patience`, or not at all.
    pub async fn lock(state: &Path, patience: Duration) -> Result<Self, NoLock> {
        let path = state.join(LOCK);
        match options().create(true).open(&path) {
            Ok(file) => Self::of(file, path, patience).await,
            Err(source) => Err(NoLock::Io { path, source }),
        }
    }

    /// Returns when nobody has it. Makes nothing: whether this is a state folder is not known yet.
    ///
    /// # Errors
    /// Somebody has it for longer than `patience`, or it can't be told.
    pub async fn until_none(state: &Path, patience: Duration) -> Result<(), NoLock> {
        let path = state.join(LOCK);
        match options().open(&path) {
            Ok(file) => Self::of(file, path, patience).await.map(drop),
            // Nobody has ever been upgraded here.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(NoLock::Io { path, source }),
        }
    }

    async fn of(file: File, path: PathBuf, patience: Duration) -> Result<Self, NoLock> {
        let until = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => return Err(NoLock::Taken),
                Err(TryLockError::Error(source)) => return Err(NoLock::Io { path, source }),
            }
        }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.truncate(false).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_only_waits_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        Leftover::until_none(folder.path(), Duration::ZERO).await.unwrap();
        Leftover::until_none(&folder.path().join("none"), Duration::ZERO).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let _taken = Leftover::lock(folder.path(), Duration::ZERO).await.unwrap();
        let none = Leftover::until_none(folder.path(), Duration::ZERO).await;
        assert!(matches!(none, Err(NoLock::Taken)), "{none:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_upgraded_process_keeps_nobody_else_waiting() {
        let state = tempfile::tempdir().unwrap();
        let before = Leftover::lock(state.path(), Duration::ZERO).await.unwrap();
        let others = async {
            tokio::task::yield_now().await;
            drop(before);
        };
        let (next, ()) = tokio::join!(Leftover::lock(state.path(), Duration::from_secs(2)), others);
        next.unwrap();
    }
}
