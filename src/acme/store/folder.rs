//! Files that nobody else may read, replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::StoreError;

/// What a file is called while it is written.
const UNFINISHED: &str = ".new";

/// Makes a folder, unless it is there, and removes what unfinished writes have left in it.
pub(super) fn make(path: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync(parent(path))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(StoreError::io("make", path)(error)),
    }
    for name in names(path)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
        remove(&path.join(name))?;
    }
    Ok(())
}

/// The names of the files in a folder.
pub(super) fn names(path: &Path) -> Result<Vec<String>, StoreError> {
    let list = || -> io::Result<Vec<String>> {
        let entries =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        entries.filter_map(Result::transpose).collect()
    };
    list().map_err(StoreError::io("list", path))
}

/// Replaces a file in one step, durably: whenever the process dies, it is the old one or the new one, whole.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(UNFINISHED);
    let unfinished = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(StoreError::io("write", path))?;
    sync(parent(path))
}

/// An empty file that nobody else may read, whatever was there.
pub(super) fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path),
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => sync(parent(path)),
    }
}

/// Renames a file to the first free `NAME.damaged-N`.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = (1_u32..)
        .map(|number| path.with_file_name(format!("{name}.damaged-{number}")))
        .find(|to| fs::symlink_metadata(to).is_err())
        .expect("four thousand million files");
    fs::rename(path, &to).map_err(StoreError::io("set aside", path))?;
    sync(parent(path))?;
    Ok(to)
}

/// Makes names in a folder durable.
pub(super) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync", path))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}
