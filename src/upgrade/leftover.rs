//! A process that has handed its pins over still has requests. Should its heir die, whoever starts next knows nothing of
//! them, and has to wait for their end: as long as there is such a process, it has a lock in the state folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const LOCK: &str = "elder.lock";
const PAUSE: Duration = Duration::from_millis(20);

/// The lock; it ends with the process.
#[derive(Debug)]
pub struct Leftover {
    _file: File,
}

impl Leftover {
    /// Takes the lock, once the process that has it has ended.
    ///
    /// # Errors
    /// It can't be had within `patience`.
    pub fn lock(state: &Path, patience: Duration) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(state.join(LOCK))?;
        let until = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let why = "a process that was upgraded before still has requests";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}
