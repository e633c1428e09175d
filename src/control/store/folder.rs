//! The folder of the store: it appears whole or not at all, and has one owner.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StoreError;

/// Which folder it is, however its path is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderId {
    device: u64,
    inode: u64,
}

impl FolderId {
    /// Of what is at a path now, if anything is.
    pub fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::of)
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A state folder that belongs to this process until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Open and locked. The lock belongs to the folder itself, so it stays through a rename.
    file: File,
    id: FolderId,
}

impl Folder {
    /// Takes the folder, if there is one.
    pub(super) fn existing(path: &Path) -> Result<Option<Self>, StoreError> {
        // Without following it: a link that leads nowhere is not the absence that makes a first start.
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(StoreError::io("look at", path))?,
        };
        match fs::metadata(path).map_err(StoreError::io("look at", path))? {
            metadata if metadata.is_dir() => Self::take(path).map(Some),
            _ => Err(StoreError::io("use as a state folder", path)(io::ErrorKind::NotADirectory.into())),
        }
    }

    /// Makes the folder with what `fill` puts into it, in one step: whenever this process dies, there is no folder
    /// or the whole one.
    pub(super) fn create<T>(
        path: &Path,
        fill: impl FnOnce(&Path) -> Result<T, StoreError>,
    ) -> Result<(Self, T), StoreError> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = path
            .file_name()
            .ok_or_else(|| StoreError::io("make", path)(io::ErrorKind::InvalidInput.into()))?
            .to_string_lossy();
        let prefix = format!(".{name}.new-");
        clear_leftovers(parent, &prefix)?;

        let unfinished = parent.join(format!("{prefix}{}", std::process::id()));
        // Not with its parents: if they are missing, then more likely a disk than a first start is.
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(StoreError::io("make", &unfinished))?;
        let mut folder = Self::take(&unfinished)?;
        let content = fill(&unfinished)?;
        folder.sync()?;
        fs::rename(&unfinished, path).map_err(|error| match error.kind() {
            // Somebody else was faster, a moment ago.
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                StoreError::InUse { path: path.to_owned() }
            }
            _ => StoreError::io("put in place", path)(error),
        })?;
        sync(parent)?;
        folder.path = path.to_owned();
        Ok((folder, content))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> FolderId {
        self.id
    }

    /// Renames a file of the folder to the first free `NAME.damaged-N`.
    pub(super) fn set_aside(&self, name: &str) -> Result<PathBuf, StoreError> {
        let from = self.path.join(name);
        let to = (1_u32..)
            .map(|n| self.path.join(format!("{name}.damaged-{n}")))
            .find(|to| fs::symlink_metadata(to).is_err())
            .expect("four thousand million files");
        fs::rename(&from, &to).map_err(StoreError::io("set aside", &from))?;
        self.sync()?;
        Ok(to)
    }

    /// Makes names in the folder durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io("sync", &self.path))
    }

    fn take(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let id = file
            .metadata()
            .map(|metadata| FolderId::of(&metadata))
            .map_err(StoreError::io("look at", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), file, id }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked a moment ago has the file, too, until it runs its program.
        // Nothing to be done if it fails; the lock ends with the process at the latest.
        let _ = self.file.unlock();
    }
}

/// Removes what starts that were killed have left; what a living process is still filling is locked and stays.
fn clear_leftovers(parent: &Path, prefix: &str) -> Result<(), StoreError> {
    let entries = fs::read_dir(parent).map_err(StoreError::io("list", parent))?;
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", parent))?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let path = entry.path();
        match Folder::take(&path) {
            Ok(_locked) => fs::remove_dir_all(&path).map_err(StoreError::io("remove", &path))?,
            Err(StoreError::InUse { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", folder))
}
