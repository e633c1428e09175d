//! Updates of the file that were refused, kept in the state folder for whoever wants to know what was in them.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const FOLDER: &str = "refused";
/// So many are kept; then the oldest goes.
const KEPT_MAX: usize = 20;

/// Keeps a copy of the file at `path`, with the reason above it. What it includes stays where it is. Returns where it is.
///
/// # Errors
/// The file can't be read, or the copy not be written.
pub(super) fn keep(state: &Path, path: &Path, why: &str) -> io::Result<PathBuf> {
    let folder = state.join(FOLDER);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let text = fs::read(path)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let copy = folder.join(format!("{now:014}.toml"));
    // It may have a token in it.
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&copy)?;
    writeln!(file, "# {} was refused:", path.display())?;
    for line in why.lines() {
        writeln!(file, "#   {line}")?;
    }
    file.write_all(&text)?;
    let mut all: Vec<PathBuf> =
        fs::read_dir(&folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    all.sort_unstable();
    for old in &all[..all.len().saturating_sub(KEPT_MAX)] {
        fs::remove_file(old)?;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refused_updates_are_kept_with_their_reasons() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("ghostpin.toml");
        let mut copies = Vec::new();
        while copies.len() < KEPT_MAX + 3 {
            fs::write(&path, format!("surprise = {}\n", copies.len())).unwrap();
            let copy = keep(state.path(), &path, "1: surprise\n2: is no key").unwrap();
            // Within a millisecond, the newer one takes the older one's place.
            if copies.last() != Some(&copy) {
                copies.push(copy);
            }
        }
        let text = fs::read_to_string(copies.last().unwrap()).unwrap();
        assert!(text.contains("#   1: surprise\n#   2: is no key\nsurprise = "), "{text}");
        assert!(!copies[0].exists() && copies[3].exists());
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), KEPT_MAX);
    }
}
