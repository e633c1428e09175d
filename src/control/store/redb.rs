//! Pins in a redb file.
//!
//! Beside the database lies a *seal*: the number of the last commit that was acknowledged. redb keeps two commits
//! in its file and falls back to the older one if the newer one is broken. After a crash in the middle of a commit
//! that is right, because nobody was told of it; after damage it would bring back older pins without a word. A
//! database that is older than its seal is damaged, and says so at every start until an operator has decided.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::folder::{Folder, FolderId};
use super::{Opened, Origin, Outcome, StoreError};
use crate::core::{Backend, Epoch, Pin, SiteName};

const DATABASE: &str = "pins.redb";
const UNFINISHED: &str = "pins.redb.new";
const SEAL: &str = "pins.seal";

/// Site name to its pin, see [`encode`]. Sites that are gone stay, so that one made anew goes on counting.
const PINS: TableDefinition<&str, &[u8]> = TableDefinition::new("pins");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

const META_FORMAT: &str = "format";
/// Format of the tables. A store of another one is refused.
pub const FORMAT: u64 = 1;
/// See [`Opened::first_epoch`].
const META_FIRST_EPOCH: &str = "first_epoch";
/// How many commits there were, this one included.
const META_COMMITS: &str = "commits";

/// First byte of a stored pin.
const PIN_FORMAT: u8 = 1;
/// Pins are few and read once: no need for redb's default of a gigabyte.
const CACHE_BYTES_MAX: usize = 32 << 20;

/// The pin store. Its calls block on the disk; one thread owns it.
pub struct PinStore {
    folder: Folder,
    /// `None` after a failed commit: the next one opens the file again.
    database: Option<Database>,
    seal: File,
}

impl std::fmt::Debug for PinStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl PinStore {
    /// Opens the store in the folder `state`.
    ///
    /// If the folder isn't there, this is a first start, and the folder appears with a whole store in it. With
    /// `adopt`, the operator's word that nothing else holds the truth, a store that was lost is made anew and a
    /// damaged one is set aside first; a store that is well is opened as it is.
    ///
    /// # Errors
    /// All of [`StoreError`]. Nothing is changed by a failed call, except that redb may have repaired its file.
    pub fn open(state: &Path, adopt: bool) -> Result<Opened, StoreError> {
        let Some(folder) = Folder::existing(state)? else {
            // A whole folder can be lost, too, so the operator's word counts here as well.
            let (origin, first_epoch) = match adopt {
                false => (Origin::FirstStart, Epoch(1)),
                true => (Origin::Adopted { set_aside: None }, epoch_of_now()),
            };
            let (folder, (database, seal)) = Folder::create(state, |unfinished| {
                let seal = create_seal(&unfinished.join(SEAL))?;
                Ok((create_database(&unfinished.join(DATABASE), first_epoch)?, seal))
            })?;
            let store = Self { folder, database: Some(database), seal };
            return Ok(Opened { store, origin, first_epoch });
        };
        match Self::find(&folder) {
            Ok((database, seal, first_epoch)) => {
                let store = Self { folder, database: Some(database), seal };
                Ok(Opened { store, origin: Origin::Found, first_epoch })
            }
            Err(StoreError::Lost { .. }) if adopt => Self::make_anew(folder, None),
            Err(StoreError::Damaged { .. }) if adopt => {
                let set_aside = folder.set_aside(DATABASE)?;
                Self::make_anew(folder, Some(set_aside))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the store that a process has closed a moment ago. To find none is no first start.
    ///
    /// # Errors
    /// All of [`StoreError`].
    pub fn open_again(state: &Path) -> Result<Opened, StoreError> {
        match Folder::existing(state)? {
            Some(folder) => Self::open_in(folder),
            None => Err(StoreError::Gone { path: state.to_owned() }),
        }
    }

    fn open_in(folder: Folder) -> Result<Opened, StoreError> {
        let (database, seal, first_epoch) = Self::find(&folder)?;
        let store = Self { folder, database: Some(database), seal };
        Ok(Opened { store, origin: Origin::Found, first_epoch })
    }

    /// Which folder it is in.
    pub fn folder(&self) -> FolderId {
        self.folder.id()
    }

    /// Every pin that was ever durable, the newest of each site, those of removed sites too.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Io`].
    pub fn read_all(&mut self) -> Result<BTreeMap<SiteName, Pin>, StoreError> {
        let database = self.take_database()?;
        let pins = read_pins(&database).map_err(|error| error.at(&self.folder.path().join(DATABASE)));
        self.database = Some(database);
        pins
    }

    /// Makes all these pins durable in one step, and says for each what became of it, in their order.
    ///
    /// A pin that is older than the stored one, or has its epoch and another backend, is refused; that does not
    /// hold up the others.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Io`]: then it is unknown whether the pins are durable, none of them
    /// may be opened, and the same commit can be sent again.
    pub fn commit(&mut self, pins: &[(SiteName, Pin)]) -> Result<Vec<Outcome>, StoreError> {
        let database = self.take_database()?;
        let path = self.folder.path().join(DATABASE);
        // On an error the database is dropped: redb takes nothing more after a failed write, a new handle does.
        let (outcomes, commits) = write_pins(&database, pins).map_err(|error| error.at(&path))?;
        if let Some(commits) = commits {
            write_seal(&self.seal, commits).map_err(StoreError::io("seal", &path))?;
        }
        self.database = Some(database);
        Ok(outcomes)
    }

    /// What a failed commit does.
    #[cfg(test)]
    pub(super) fn forget_database(&mut self) {
        self.database = None;
    }

    fn take_database(&mut self) -> Result<Database, StoreError> {
        match self.database.take() {
            Some(database) => Ok(database),
            None => Self::find(&self.folder).map(|(database, ..)| database),
        }
    }

    /// Opens what is in the folder, and looks at every byte of it.
    fn find(folder: &Folder) -> Result<(Database, File, Epoch), StoreError> {
        let path = folder.path().join(DATABASE);
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Err(StoreError::Lost { path: folder.path().to_owned() });
        }
        let (seal, sealed) = open_seal(&folder.path().join(SEAL)).map_err(|error| error.at(&path))?;
        // A reader of a damaged file may stumble in ways that its author didn't foresee; that too is an answer.
        catch_unwind(AssertUnwindSafe(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES_MAX).set_check_integrity_on_open(true);
            let database = builder.open(&path)?;
            let first_epoch = check(&database, sealed)?;
            Ok((database, first_epoch))
        }))
        .unwrap_or_else(|_| Err(Fault::Damage("reading it ended in a panic".into())))
        .map(|(database, first_epoch)| (database, seal, first_epoch))
        .map_err(|error| error.at(&path))
    }

    /// Puts an empty store into a folder that has none (any more).
    fn make_anew(folder: Folder, set_aside: Option<std::path::PathBuf>) -> Result<Opened, StoreError> {
        let first_epoch = epoch_of_now();
        let unfinished = folder.path().join(UNFINISHED);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &unfinished)(error));
            }
            _ => {}
        }
        let seal = create_seal(&folder.path().join(SEAL))?;
        let database = create_database(&unfinished, first_epoch)?;
        folder.sync()?;
        // The last step: until here the folder is one that has lost its store.
        let path = folder.path().join(DATABASE);
        fs::rename(&unfinished, &path).map_err(StoreError::io("put in place", &path))?;
        folder.sync()?;
        let store = Self { folder, database: Some(database), seal };
        Ok(Opened { store, origin: Origin::Adopted { set_aside }, first_epoch })
    }
}

/// What can go wrong with a file whose name the caller knows.
enum Fault {
    Redb(redb::Error),
    Io(&'static str, io::Error),
    Damage(String),
    /// It is of this format.
    Foreign(u64),
}

impl Fault {
    fn at(self, path: &Path) -> StoreError {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        let damaged = |why| StoreError::Damaged { path: path.to_owned(), why };
        match self {
            Self::Damage(why) => damaged(why),
            Self::Foreign(format) => StoreError::Foreign { path: path.to_owned(), format },
            Self::Io(doing, source) => StoreError::io(doing, path)(source),
            Self::Redb(redb::Error::Io(source)) if !matches!(source.kind(), InvalidData | UnexpectedEof) => {
                StoreError::io("read or write", path)(source)
            }
            Self::Redb(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch) => {
                StoreError::InUse { path: path.to_owned() }
            }
            Self::Redb(error) => damaged(error.to_string()),
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

fn create_database(path: &Path, first_epoch: Epoch) -> Result<Database, StoreError> {
    let create = || -> Result<Database, Fault> {
        let database = Database::builder().set_cache_size(CACHE_BYTES_MAX).create(path)?;
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.open_table(PINS)?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(META_FORMAT, FORMAT)?;
            meta.insert(META_FIRST_EPOCH, first_epoch.0)?;
            meta.insert(META_COMMITS, 0)?;
        }
        transaction.commit()?;
        Ok(database)
    };
    create().map_err(|error| error.at(path))
}

/// Whether the database is whole, ours, and not older than its seal; and its first epoch.
fn check(database: &Database, sealed: u64) -> Result<Epoch, Fault> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let value = |key: &str| -> Result<u64, Fault> {
        let value = meta.get(key)?.map(|value| value.value());
        value.ok_or_else(|| Fault::Damage(format!("`{key}` is missing")))
    };
    let format = value(META_FORMAT)?;
    if format != FORMAT {
        return Err(Fault::Foreign(format));
    }
    let commits = value(META_COMMITS)?;
    if commits < sealed {
        let why = format!("it is older than what was acknowledged (commit {commits}, seal {sealed})");
        return Err(Fault::Damage(why));
    }
    let first_epoch = Epoch(value(META_FIRST_EPOCH)?);
    read_pins(database)?;
    Ok(first_epoch)
}

fn read_pins(database: &Database) -> Result<BTreeMap<SiteName, Pin>, Fault> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(PINS)?;
    let mut pins = BTreeMap::new();
    for entry in table.iter()? {
        let (name, value) = entry?;
        pins.insert(SiteName::from(name.value()), decode(name.value(), value.value())?);
    }
    Ok(pins)
}

/// Writes what may be written. The number of the commit is `None` if nothing had to be written.
fn write_pins(database: &Database, pins: &[(SiteName, Pin)]) -> Result<(Vec<Outcome>, Option<u64>), Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    let mut outcomes = Vec::with_capacity(pins.len());
    let mut commits = None;
    {
        let mut table = transaction.open_table(PINS)?;
        let mut value = Vec::new();
        for (name, pin) in pins {
            let stored = match table.get(name.as_str())? {
                Some(stored) => Some(decode(name.as_str(), stored.value())?),
                None => None,
            };
            outcomes.push(match stored {
                Some(stored) if stored == *pin => Outcome::Durable,
                Some(stored) if stored.epoch >= pin.epoch => Outcome::Refused { stored },
                _ => {
                    encode(pin, &mut value);
                    table.insert(name.as_str(), value.as_slice())?;
                    commits = Some(0);
                    Outcome::Durable
                }
            });
        }
        if let Some(commits) = &mut commits {
            let mut meta = transaction.open_table(META)?;
            *commits = meta.get(META_COMMITS)?.map_or(0, |value| value.value()) + 1;
            meta.insert(META_COMMITS, *commits)?;
        }
    }
    match commits {
        Some(_) => transaction.commit()?,
        None => transaction.abort()?,
    }
    Ok((outcomes, commits))
}

/// A stored pin: its format, its epoch (8 bytes, little endian), its backend's text.
fn encode(pin: &Pin, into: &mut Vec<u8>) {
    into.clear();
    into.push(PIN_FORMAT);
    into.extend_from_slice(&pin.epoch.0.to_le_bytes());
    into.extend_from_slice(pin.backend.to_string().as_bytes());
}

fn decode(site: &str, value: &[u8]) -> Result<Pin, Fault> {
    let parse = || -> Option<Pin> {
        let (&[PIN_FORMAT], rest) = value.split_first_chunk()? else { return None };
        let (epoch, backend) = rest.split_first_chunk()?;
        let backend: Backend = std::str::from_utf8(backend).ok()?.parse().ok()?;
        Some(Pin { epoch: Epoch(u64::from_le_bytes(*epoch)), backend })
    };
    parse().ok_or_else(|| Fault::Damage(format!("the pin of site `{site}` is unreadable")))
}

fn create_seal(path: &Path) -> Result<File, StoreError> {
    let create = || {
        let seal = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        write_seal(&seal, 0)?;
        Ok(seal)
    };
    create().map_err(StoreError::io("make", path))
}

/// The number and its complement, within one sector, so that a torn or flipped seal is known for one.
fn write_seal(seal: &File, commits: u64) -> io::Result<()> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&commits.to_le_bytes());
    bytes[8..].copy_from_slice(&(!commits).to_le_bytes());
    seal.write_all_at(&bytes, 0)?;
    seal.sync_data()
}

fn open_seal(path: &Path) -> Result<(File, u64), Fault> {
    let seal = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(seal) => seal,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Fault::Damage(format!("its seal {} is missing", path.display())));
        }
        Err(error) => return Err(Fault::Io("open the seal of", error)),
    };
    let mut bytes = [0; 16];
    let unreadable = || Fault::Damage(format!("its seal {} is unreadable", path.display()));
    match seal.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(unreadable()),
        result => result.map_err(|error| Fault::Io("read the seal of", error))?,
    }
    let [number, complement] =
        [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")));
    if number != !complement {
        return Err(unreadable());
    }
    Ok((seal, number))
}

/// An epoch above any that a site can have reached by counting its handoffs.
fn epoch_of_now() -> Epoch {
    Epoch(SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs().max(1)))
}
