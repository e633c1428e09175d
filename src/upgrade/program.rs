//! Where the program lies that this process was started from. What lies there later is what an upgrade starts.

use std::env;
use std::ffi::OsStr;
use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By the path that was said, with its links as they are: what they name may be another one by the next upgrade. To be asked
/// before anybody replaces what lies there.
pub fn own_program() -> PathBuf {
    let said = env::args_os().next().unwrap_or_default();
    // Without /proc, in a bare root say, there is only the word of whoever has started it.
    let Ok(found) = env::current_exe() else { return said.into() };
    let file = |path: &Path| metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let own = file(&found);
    let is_it = |path: &Path| own.is_some() && file(path) == own;
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates =
        candidates(Path::new(&said), &path).filter_map(|path| std::path::absolute(path).ok());
    // Whoever starts a program may say of it what it likes.
    candidates.find(|path| is_it(path)).unwrap_or(found)
}

/// Where the system looks for a program of this name.
fn candidates(said: &Path, path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let has_folder = said.components().nth(1).is_some() || said.is_absolute();
    let folders = if has_folder { vec![PathBuf::new()] } else { env::split_paths(path).collect() };
    folders.into_iter().map(move |folder| folder.join(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_folder_is_looked_for_where_the_system_does() {
        let looked = |said: &str| -> Vec<PathBuf> {
            candidates(Path::new(said), OsStr::new("/usr/bin:/opt/bin")).collect()
        };
        assert_eq!(looked("ghostpin"), ["/usr/bin/ghostpin", "/opt/bin/ghostpin"].map(PathBuf::from));
        assert_eq!(looked("/opt/current/ghostpin"), ["/opt/current/ghostpin"].map(PathBuf::from));
        assert_eq!(looked("current/ghostpin"), ["current/ghostpin"].map(PathBuf::from));
        assert_eq!(looked("./ghostpin"), ["./ghostpin"].map(PathBuf::from));
    }
}
