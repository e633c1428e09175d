//! Where certificates lie, and how it is noticed that they have changed.
//!
//! A folder may hold, side by side: `NAME.crt` with `NAME.key`, `NAME.pem` with both in one file, and folders `NAME/`
//! with `fullchain.pem` and `privkey.pem`, as ACME clients leave them. Everything else in it is left alone.

use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who has put a certificate there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// `certificate` of a site, for its hosts.
    Site {
        /// The site.
        site: Arc<str>,
        /// The hosts of it.
        hosts: Arc<[String]>,
    },
    /// The folder of `[tls] certificates`.
    Folder,
    /// ghostpin itself, by ACME.
    Acme,
}

/// The files of one certificate.
#[derive(Clone, Debug, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Who has put it there.
    pub source: Source,
    /// The file of the certificate and its chain.
    pub certificate: PathBuf,
    kind: Kind,
}

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    /// In `NAME.key` beside `NAME.crt`.
    Pair,
    /// In the same file.
    Bundle,
    /// In `privkey.pem` beside `fullchain.pem`.
    Folder,
    /// In a file of any name.
    Elsewhere(PathBuf),
}

/// By which a change of the files is noticed, whatever was copied over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([(u64, u64, i64, i64); 2]);

// By the text of the path and not by its parts, as paths are compared: a reload does it some times for each of 100,000.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.certificate.as_os_str() == other.certificate.as_os_str()
            && self.kind == other.kind
            && self.source == other.source
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.certificate.as_os_str().hash(state);
    }
}

impl Place {
    /// Both in one file, made by ACME.
    pub fn acme(file: PathBuf) -> Self {
        Self { source: Source::Acme, certificate: file, kind: Kind::Bundle }
    }

    /// The files that a site names; without one for the key it is in the file of the certificate.
    pub fn of_site(site: Arc<str>, hosts: Arc<[String]>, certificate: PathBuf, key: Option<PathBuf>) -> Self {
        let kind = key.map_or(Kind::Bundle, Kind::Elsewhere);
        Self { source: Source::Site { site, hosts }, certificate, kind }
    }

    /// The file of the key.
    pub fn key(&self) -> PathBuf {
        match &self.kind {
            Kind::Pair => self.certificate.with_extension("key"),
            Kind::Bundle => self.certificate.clone(),
            Kind::Folder => self.certificate.with_file_name("privkey.pem"),
            Kind::Elsewhere(file) => file.clone(),
        }
    }

    /// Certificate and key are in one file.
    pub(super) fn is_bundle(&self) -> bool {
        self.kind == Kind::Bundle
    }

    /// The name in the name of the file, if it may be one of a host.
    pub fn named(&self) -> Option<String> {
        let name = match self.kind {
            Kind::Folder => self.certificate.parent()?.file_name()?,
            _ => self.certificate.file_stem()?,
        };
        let name = name.to_str()?.to_ascii_lowercase();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let bare = name.strip_prefix("*.").or_else(|| name.strip_prefix("_.")).map(str::to_owned);
        let host = bare.as_deref().unwrap_or(&name);
        if !host.contains('.') && host != "localhost" || !host.bytes().all(fits) {
            return None;
        }
        Some(bare.map_or(name, |domain| format!("*.{domain}")))
    }

    /// The names that it is expected to be for, before it was read.
    pub(super) fn expected(&self) -> Vec<String> {
        match &self.source {
            Source::Site { hosts, .. } => hosts.to_vec(),
            Source::Folder | Source::Acme => self.named().into_iter().collect(),
        }
    }

    /// How its files are now.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let look = |path: &Path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
        };
        let certificate = look(&self.certificate)?;
        let key = if self.is_bundle() { certificate } else { look(&self.key()).unwrap_or_default() };
        Some(Stamp([certificate, key]))
    }
}

/// The certificates of a folder, in any order.
///
/// # Errors
/// It can't be read.
pub(super) fn list(folder: &Path, source: &Source) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = Path::new(&name);
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let kind = match path.extension().and_then(OsStr::to_str) {
            _ if is_hidden => continue,
            Some("crt") => Kind::Pair,
            Some("pem") => Kind::Bundle,
            Some("key") => continue,
            // Names have dots in them, and so have folders that are called after them.
            _ => Kind::Folder,
        };
        let certificate = match kind {
            Kind::Folder => {
                let file = entry.path().join("fullchain.pem");
                if !file.is_file() {
                    continue;
                }
                file
            }
            _ => entry.path(),
        };
        places.push(Place { source: source.clone(), certificate, kind });
    }
    Ok(places)
}
