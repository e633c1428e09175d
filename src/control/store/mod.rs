//! Where pins are made durable.
//!
//! A pin is committed here before the gate of its site opens under it, so whatever was open once is known after
//! any crash. The store keeps pins and nothing else; it decides nothing, except that it never takes an older pin
//! for a newer one, whoever asks. It never starts empty where a store has been: that takes an operator's word.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::{Epoch, Pin};

mod folder;
mod redb;

pub use self::folder::FolderId;
pub use self::redb::{FORMAT, PinStore};

/// A store that is ready, and how it came to be.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: PinStore,
    /// How it came to be.
    pub origin: Origin,
    /// The epoch of the first pin of a site that the store doesn't know.
    ///
    /// 1, unless an operator had to adopt a store that was lost or damaged: then it is the Unix time of that
    /// moment in seconds. How far the sites had counted is unknown then, but a count of handoffs, or an earlier
    /// adoption plus the handoffs since, is below the clock as long as no site is handed off once a second for ever.
    pub first_epoch: Epoch,
}

/// How a store came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There was no state folder.
    FirstStart,
    /// It was there, and whole.
    Found,
    /// It was made anew on an operator's word; what was damaged lies here.
    Adopted {
        /// The damaged store, if there was one.
        set_aside: Option<PathBuf>,
    },
}

/// What became of one pin of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable (and may have been before).
    Durable,
    /// It was not written: the store knows a newer pin, or the same epoch with another backend.
    Refused {
        /// What the store knows.
        stored: Pin,
    },
}

/// Why there is no store, or a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state folder is there and the store in it isn't.
    #[error(
        "{} is there, but there is no pin store in it: it was lost, and which backend answered last is unknown. \
         Bring the store back, or, when it is certain that each site runs on at most one backend, start once with \
         `--adopt` to pin every site to its first backend. (For a first start, give a folder that isn't there yet.)",
        path.display()
    )]
    Lost {
        /// The state folder.
        path: PathBuf,
    },
    /// The state folder is gone, where another process has just had it.
    #[error(
        "{} is not there, and the pin store of the running process is to be in it: which backend answers is written down \
         there. Nobody starts anew beside a process that serves",
        path.display()
    )]
    Gone {
        /// The state folder.
        path: PathBuf,
    },
    /// The store is there and can't be trusted.
    #[error(
        "the pin store {} is damaged: {why}. Bring back a good copy, or, when it is certain that each site runs on \
         at most one backend, start once with `--adopt` to set it aside and pin every site to its first backend",
        path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another version of ghostpin has written it.
    #[error(
        "the pin store {} is whole, but of format {format}, and this version of ghostpin reads format {FORMAT}: start the version \
         that wrote it, or bring back a copy that is older",
        path.display()
    )]
    Foreign {
        /// The store.
        path: PathBuf,
        /// What it is written like.
        format: u64,
    },
    /// Another process has it.
    #[error("the pin store in {} is in use by another process", path.display())]
    InUse {
        /// The state folder.
        path: PathBuf,
    },
    /// The system did not do what was asked.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
