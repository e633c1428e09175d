//! Files that are there as a whole or not at all, and keys that are for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::CertsError;

/// Mode of what everybody may read.
pub(super) const PUBLIC: u32 = 0o644;
/// Mode of keys.
pub(super) const SECRET: u32 = 0o600;

const WRITE_ADVICE: &str = "see whether you may write there, or choose another folder with --out";

pub(super) fn make_folder(path: &Path) -> Result<(), CertsError> {
    fs::create_dir_all(path)
        .map_err(|error| CertsError::new(path, format!("can't be made: {error}"), WRITE_ADVICE))
}

pub(super) fn read(path: &Path) -> Result<String, CertsError> {
    fs::read_to_string(path).map_err(|error| {
        CertsError::new(
            path,
            format!("can't be read: {error}"),
            "see whether you may read it, or move it away",
        )
    })
}

/// A key that is as we would have made it.
pub(super) fn read_key(path: &Path, otherwise: &str) -> Result<KeyPair, CertsError> {
    let text = read(path)?;
    let key = KeyPair::from_pem(&text)
        .map_err(|error| CertsError::new(path, format!("can't be read as a key: {error}"), otherwise))?;
    if !key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
        return Err(CertsError::new(path, "is another kind of key than P-256", otherwise));
    }
    let mode = fs::metadata(path).map_or(SECRET, |metadata| metadata.mode() & 0o777);
    if mode & 0o077 != 0 {
        let advice = format!("close it with `chmod 600 {}`", path.display());
        return Err(CertsError::new(path, format!("is open to others (mode {mode:04o})"), advice));
    }
    Ok(key)
}

/// Writes a file that must not be there yet.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    // A link, for a rename would overwrite a file that came in between.
    put(path, text, mode, |draft| fs::hard_link(draft, path).and_then(|()| fs::remove_file(draft)))
}

/// Writes a file in the place of what was there.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    put(path, text, mode, |draft| fs::rename(draft, path))
}

fn put(
    path: &Path,
    text: &str,
    mode: u32,
    settle: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), CertsError> {
    let draft = draft_of(path);
    let written = write(&draft, text, mode).and_then(|()| settle(&draft));
    written.map_err(|error| {
        // Not there any more, or never made: either is fine.
        let _ = fs::remove_file(&draft);
        CertsError::new(path, format!("can't be written: {error}"), WRITE_ADVICE)
    })
}

fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", process::id()))
}

fn write(draft: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
