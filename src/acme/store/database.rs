//! The database of names: one small file, whose loss costs backoffs and orders under way, and no certificate.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Remembered, StoreError, Unfinished, folder};
use crate::core::orders::{Certificate, Record, Time, Window};

/// Name to what is known of it, as JSON.
const NAMES: TableDefinition<&str, &[u8]> = TableDefinition::new("names");
/// Name to its order that has not ended, as JSON.
const UNFINISHED: TableDefinition<&str, &[u8]> = TableDefinition::new("unfinished");
/// Directory to its backoff, as JSON.
const AUTHORITIES: TableDefinition<&str, &[u8]> = TableDefinition::new("authorities");
/// It is written more than read.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// See the [module](self).
pub(super) struct Database {
    path: PathBuf,
    /// `None` after a failed write: redb takes nothing more then, a new handle does.
    handle: RefCell<Option<redb::Database>>,
}

impl Database {
    /// Opens or makes it, and reads all of it. One that can't be read is set aside.
    pub(super) fn open(path: &Path) -> Result<(Self, Remembered), StoreError> {
        let (handle, remembered) = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (make(path)?, Remembered::default()),
            _ => match read(path) {
                Ok(found) => found,
                // Not ours to mend: another process has it, or the disk is ill.
                Err(redb::Error::DatabaseAlreadyOpen) => {
                    return Err(StoreError::io("use, for another process does,", path)(
                        io::ErrorKind::ResourceBusy.into(),
                    ));
                }
                Err(redb::Error::Io(error))
                    if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
                {
                    return Err(StoreError::io("read", path)(error));
                }
                Err(error) => {
                    let aside = folder::set_aside(path)?;
                    tracing::error!(%error, aside = %aside.display(), "what was known of orders is unreadable: it begins anew from the certificates");
                    (make(path)?, Remembered::default())
                }
            },
        };
        Ok((Self { path: path.to_owned(), handle: RefCell::new(Some(handle)) }, remembered))
    }

    pub(super) fn begun(&self, name: &str, unfinished: &Unfinished) -> Result<(), StoreError> {
        let stored = StoredOrder {
            directory: (&unfinished.directory).into(),
            url: (&unfinished.url).into(),
            key: unfinished.key.as_str().into(),
        };
        let json = Zeroizing::new(serde_json::to_vec(&stored).expect("texts"));
        self.write(|transaction| {
            transaction.open_table(UNFINISHED)?.insert(name, json.as_slice())?;
            Ok(())
        })
    }

    pub(super) fn unfinished(&self, name: &str) -> Option<Unfinished> {
        let mut handle = self.handle.borrow_mut();
        let look = |handle: &redb::Database| -> Result<Option<Unfinished>, redb::Error> {
            let table = handle.begin_read()?.open_table(UNFINISHED)?;
            Ok(table.get(name)?.and_then(|json| {
                let stored: StoredOrder<'_> = serde_json::from_slice(json.value()).ok()?;
                Some(Unfinished {
                    directory: stored.directory.into_owned(),
                    url: stored.url.into_owned(),
                    key: Zeroizing::new(stored.key.into_owned()),
                })
            }))
        };
        look(self.reopen(&mut handle).ok()?).unwrap_or_else(|error| {
            tracing::error!(%error, "an order that has not ended can't be read");
            None
        })
    }

    pub(super) fn ended(
        &self,
        name: &str,
        record: Option<&Record>,
        interrupted: bool,
        (directory, until, failures): (&str, Time, u32),
    ) -> Result<(), StoreError> {
        let json = |value: &dyn Fn() -> serde_json::Result<Vec<u8>>| value().expect("numbers");
        let record = record.map(|record| json(&|| serde_json::to_vec(&StoredName::from(record))));
        let backoff = json(&|| serde_json::to_vec(&StoredBackoff { until: until.0, failures }));
        self.write(|transaction| {
            match &record {
                Some(json) => drop(transaction.open_table(NAMES)?.insert(name, json.as_slice())?),
                None => drop(transaction.open_table(NAMES)?.remove(name)?),
            }
            if !interrupted {
                transaction.open_table(UNFINISHED)?.remove(name)?;
            }
            transaction.open_table(AUTHORITIES)?.insert(directory, backoff.as_slice())?;
            Ok(())
        })
    }

    /// One durable step.
    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let mut handle = self.handle.borrow_mut();
        let database = self.reopen(&mut handle)?;
        let write = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        let written = write();
        if written.is_err() {
            *handle = None;
        }
        written.map_err(|error| StoreError::io("write", &self.path)(io::Error::other(error)))
    }

    fn reopen<'a>(&self, handle: &'a mut Option<redb::Database>) -> Result<&'a redb::Database, StoreError> {
        if handle.is_none() {
            let opened = builder().open(&self.path);
            let opened =
                opened.map_err(|error| StoreError::io("open", &self.path)(io::Error::other(error)))?;
            *handle = Some(opened);
        }
        Ok(handle.as_ref().expect("it was just opened"))
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder
}

/// A whole new one, or none.
fn make(path: &Path) -> Result<redb::Database, StoreError> {
    let unfinished = path.with_extension("redb.new");
    let make = || -> Result<redb::Database, redb::Error> {
        let database = builder().create_with_backend(FileBackend::new(folder::create(&unfinished)?)?)?;
        let transaction = database.begin_write()?;
        for table in [NAMES, UNFINISHED, AUTHORITIES] {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        fs::rename(&unfinished, path)?;
        Ok(database)
    };
    let database = make().map_err(|error| StoreError::io("make", path)(io::Error::other(error)))?;
    folder::sync(path.parent().unwrap_or(Path::new(".")))?;
    Ok(database)
}

fn read(path: &Path) -> Result<(redb::Database, Remembered), redb::Error> {
    // A reader of a damaged file may stumble in ways that its author didn't foresee; that too is an answer.
    catch_unwind(AssertUnwindSafe(|| {
        let database = builder().set_check_integrity_on_open(true).open(path)?;
        let remembered = read_all(&database)?;
        Ok((database, remembered))
    }))
    .unwrap_or_else(|_| Err(redb::Error::Corrupted("reading it ended in a panic".to_owned())))
}

fn read_all(database: &redb::Database) -> Result<Remembered, redb::Error> {
    let mut all = Remembered::default();
    let transaction = database.begin_read()?;
    let garbled = |what: &str| redb::Error::Corrupted(format!("what it knows of {what} can't be read"));
    for entry in transaction.open_table(NAMES)?.iter()? {
        let (name, json) = entry?;
        let stored: StoredName = serde_json::from_slice(json.value()).map_err(|_| garbled(name.value()))?;
        all.names.insert(name.value().to_owned(), stored.into());
    }
    for entry in transaction.open_table(UNFINISHED)?.iter()? {
        all.unfinished.push(entry?.0.value().to_owned());
    }
    for entry in transaction.open_table(AUTHORITIES)?.iter()? {
        let (directory, json) = entry?;
        let stored: StoredBackoff =
            serde_json::from_slice(json.value()).map_err(|_| garbled(directory.value()))?;
        all.authorities.insert(directory.value().to_owned(), (Time(stored.until), stored.failures));
    }
    Ok(all)
}

#[derive(Serialize, Deserialize)]
struct StoredName {
    certificate: Option<StoredCertificate>,
    failures: u32,
    recent: Vec<u64>,
    next_try: u64,
    authority: usize,
}

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    not_before: u64,
    not_after: u64,
    renew_at: u64,
    window: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct StoredOrder<'a> {
    directory: std::borrow::Cow<'a, str>,
    url: std::borrow::Cow<'a, str>,
    key: std::borrow::Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct StoredBackoff {
    until: u64,
    failures: u32,
}

impl From<&Record> for StoredName {
    fn from(record: &Record) -> Self {
        Self {
            certificate: record.certificate.as_ref().map(|certificate| StoredCertificate {
                not_before: certificate.not_before.0,
                not_after: certificate.not_after.0,
                renew_at: certificate.renew_at.0,
                window: certificate.window.map(|(from, to)| (from.0, to.0)),
            }),
            failures: record.failures,
            recent: record.recent.iter().map(|at| at.0).collect(),
            next_try: record.next_try.0,
            authority: record.authority,
        }
    }
}

impl From<StoredName> for Record {
    fn from(stored: StoredName) -> Self {
        let window = |(from, to)| -> Window { (Time(from), Time(to)) };
        Self {
            certificate: stored.certificate.map(|certificate| Certificate {
                not_before: Time(certificate.not_before),
                not_after: Time(certificate.not_after),
                renew_at: Time(certificate.renew_at),
                window: certificate.window.map(window),
                look_at: None,
            }),
            failures: stored.failures,
            recent: stored.recent.into_iter().map(Time).collect(),
            next_try: Time(stored.next_try),
            authority: stored.authority,
        }
    }
}
