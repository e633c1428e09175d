//! What outlives the process, in `acme/` of the state folder: the keys of our accounts, the certificates, and what is known
//! of each name. A `kill -9` at any moment loses nothing that somebody was told.
//!
//! The certificate files are the truth. The database beside them knows what can't be read from them (backoffs, orders that
//! are under way); if it is lost or garbled, it is set aside and made anew.

mod database;
mod folder;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::pem::{self, Facts};
use crate::core::orders::{Certificate, Dice, Record, Time};
use database::Database;

const FOLDER: &str = "acme";
const ACCOUNTS: &str = "accounts";
const CERTIFICATES: &str = "certificates";
const DATABASE: &str = "orders.redb";

/// What went wrong with the folder.
#[derive(Debug, thiserror::Error)]
#[error("can't {doing} {}: {source}", .path.display())]
pub struct StoreError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    pub(super) fn io<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + use<'a> {
        move |source| Self { doing, path: path.to_owned(), source }
    }
}

/// An order that has not ended, as far as is known.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// Of its authority.
    pub(super) directory: String,
    /// Its own address there.
    pub(super) url: String,
    /// The key that the certificate is to be for, as PEM.
    pub(super) key: Zeroizing<String>,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) names: BTreeMap<String, Record>,
    /// Names with orders that have not ended.
    pub(super) unfinished: Vec<String>,
    /// By directory: until when it is left alone, and its failures in a row.
    pub(super) authorities: BTreeMap<String, (Time, u32)>,
}

/// The folder of the certificates, in `state`; it need not be there yet.
pub fn certificates_in(state: &Path) -> PathBuf {
    state.join(FOLDER).join(CERTIFICATES)
}

/// See the [module](self). Its calls block on the disk.
pub(super) struct Store {
    accounts: PathBuf,
    certificates: PathBuf,
    database: Database,
}

impl Store {
    /// Opens or makes the folder `acme` in `state`.
    pub(super) fn open(state: &Path) -> Result<(Self, Remembered), StoreError> {
        let folder = state.join(FOLDER);
        let (accounts, certificates) = (folder.join(ACCOUNTS), certificates_in(state));
        for path in [&folder, &accounts, &certificates] {
            folder::make(path)?;
        }
        let (database, remembered) = Database::open(&folder.join(DATABASE))?;
        Ok((Self { accounts, certificates, database }, remembered))
    }

    /// Looks at all certificates, and corrects what was remembered by them. It takes some seconds for 100,000.
    pub(super) fn look(&self, remembered: &mut Remembered) -> Result<(), StoreError> {
        // Only to choose renewals anew where the database knows none.
        let seed = remembered.names.len() as u64 ^ u64::from(std::process::id());
        let mut dice = Dice::new(seed);
        for (name, facts) in found(&self.certificates)? {
            let record = remembered.names.entry(name).or_default();
            let known = record.certificate.as_ref().is_some_and(|certificate| {
                (certificate.not_before, certificate.not_after) == (facts.not_before, facts.not_after)
            });
            if !known {
                record.certificate =
                    Some(Certificate::new(facts.not_before, facts.not_after, None, &mut dice));
            }
        }
        // A file that is gone, or can't be read any more, is a certificate that isn't there.
        for (name, record) in &mut remembered.names {
            if record.certificate.is_some() && !self.path(name).exists() {
                record.certificate = None;
            }
        }
        remembered.unfinished.retain(|name| self.unfinished(name).is_some());
        Ok(())
    }

    /// Where the certificate of a name is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.certificates.join(format!("{name}.pem"))
    }

    /// The certificate of a name, with its key.
    pub(super) fn certificate(&self, name: &str) -> Option<Zeroizing<String>> {
        std::fs::read_to_string(self.path(name)).ok().map(Zeroizing::new)
    }

    /// Replaces the certificate of a name, durably.
    pub(super) fn keep_certificate(&self, name: &str, pem: &str) -> Result<(), StoreError> {
        folder::replace(&self.path(name), pem)
    }

    /// The key of our account at an authority, in its own words.
    pub(super) fn account(&self, directory: &str) -> Option<Zeroizing<String>> {
        std::fs::read_to_string(self.account_path(directory)).ok().map(Zeroizing::new)
    }

    pub(super) fn keep_account(&self, directory: &str, text: &str) -> Result<(), StoreError> {
        folder::replace(&self.account_path(directory), text)
    }

    pub(super) fn forget_account(&self, directory: &str) -> Result<(), StoreError> {
        folder::remove(&self.account_path(directory))
    }

    /// An order for a name exists from now on.
    pub(super) fn begun(&self, name: &str, unfinished: &Unfinished) -> Result<(), StoreError> {
        self.database.begun(name, unfinished)
    }

    /// The order for a name that has not ended.
    pub(super) fn unfinished(&self, name: &str) -> Option<Unfinished> {
        let unfinished = self.database.unfinished(name)?;
        // The process may have died between its certificate and the note that it has ended. Taken up at the next
        // renewal, it would bring back the old certificate.
        let is_there = self.certificate(name).is_some_and(|pem| pem.ends_with(unfinished.key.as_str()));
        (!is_there).then_some(unfinished)
    }

    /// An order has ended, or is only interrupted: then it stays to be taken up again.
    pub(super) fn ended(
        &self,
        name: &str,
        record: Option<&Record>,
        interrupted: bool,
        authority: (&str, Time, u32),
    ) -> Result<(), StoreError> {
        self.database.ended(name, record, interrupted, authority)
    }

    /// The URL's letters and digits name the file; a sum of all of it tells two apart that have the same.
    fn account_path(&self, directory: &str) -> PathBuf {
        let sum = directory.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let letters = directory.trim_start_matches("https://").chars();
        let readable: String =
            letters.map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(100).collect();
        self.accounts.join(format!("{readable}-{sum:016x}.json"))
    }
}

/// The certificates in a folder. What can't be used is left where it is, and ordered anew.
fn found(certificates: &Path) -> Result<Vec<(String, Facts)>, StoreError> {
    let mut found = Vec::new();
    for name in folder::names(certificates)? {
        let path = certificates.join(&name);
        let Some(name) = name.strip_suffix(".pem") else { continue };
        let pem = std::fs::read_to_string(&path).map(Zeroizing::new);
        let checked = pem.map_err(|error| error.to_string()).and_then(|pem| pem::check(name, &pem));
        match checked {
            Ok(facts) => found.push((name.to_owned(), facts)),
            Err(why) => {
                tracing::error!(path = %path.display(), why, "a certificate can't be used; it is set aside");
                folder::set_aside(&path)?;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
