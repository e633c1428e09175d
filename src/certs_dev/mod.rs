//! Certificates for development: an authority of one's own, and a certificate for each name, as files.
//!
//! The authority is made once and used again, so that browsers are told to trust it once. It is limited to names that
//! mean nothing elsewhere, and those that it was made for: a stolen `ca.key` opens no other site to anybody.
//!
//! No file is overwritten but certificates that this authority has issued. Keys are used again, so a server that reads
//! a folder in between never finds a certificate beside the key of another. What a client would refuse is not written.

mod authority;
mod files;
mod name;

use std::path::{Path, PathBuf};

pub use authority::{Authority, new_key};
pub use name::Name;

/// The hosts of `config/`, and names that browsers resolve to this machine by themselves.
pub const DEFAULT_NAMES: &[&str] = &[
    "localhost",
    "blog.localhost",
    "*.blog.localhost",
    "blog.example",
    "www.blog.example",
    "magazine.example",
    "*.magazine.example",
    "tracker.example",
];

/// The folder of the certificates, in that of the authority.
pub const CERTIFICATES: &str = "certificates";

/// What could not be done, with which file, and what helps.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}; {advice}", file.display())]
pub struct CertsError {
    file: PathBuf,
    problem: String,
    advice: String,
}

impl CertsError {
    fn new(file: &Path, problem: impl ToString, advice: impl Into<String>) -> Self {
        Self { file: file.to_owned(), problem: problem.to_string(), advice: advice.into() }
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The certificate to trust.
    pub authority: PathBuf,
    /// Nobody trusts it yet.
    pub is_new: bool,
    /// One for each name.
    pub certificates: Vec<PathBuf>,
}

/// Makes the authority if there is none, and a new certificate for each name.
///
/// # Errors
/// A file can't be read or written, is not what it should be, or is not ours to overwrite.
pub fn make(folder: &Path, names: &[Name]) -> Result<Made, CertsError> {
    if !folder.exists() {
        files::make_folder(folder)?;
        // Wherever it is, nothing of it is for a repository.
        files::write_new(&folder.join(".gitignore"), "*\n", files::PUBLIC)?;
    }
    let (crt, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    let (authority, is_new) = match (crt.exists(), key.exists()) {
        (true, true) => (open(&crt, &key)?, false),
        (false, false) => {
            let authority =
                Authority::new(names).map_err(|why| CertsError::new(&crt, why, "nothing was written"))?;
            files::write_new(&key, &authority.key_pem(), files::SECRET)?;
            files::write_new(&crt, authority.certificate_pem(), files::PUBLIC)?;
            (authority, true)
        }
        (has_crt, _) => {
            let (there, missing) = if has_crt { (&crt, &key) } else { (&key, &crt) };
            return Err(CertsError::new(
                missing,
                format!("is missing beside {}", there.display()),
                format!("put it back; or remove {} to begin anew with another authority", there.display()),
            ));
        }
    };
    let certificates = folder.join(CERTIFICATES);
    files::make_folder(&certificates)?;
    let issued = names.iter().map(|name| issue(&authority, &crt, &certificates, name));
    Ok(Made { certificates: issued.collect::<Result<_, _>>()?, authority: crt, is_new })
}

fn open(crt: &Path, key: &Path) -> Result<Authority, CertsError> {
    let begin_anew = || {
        let folder = crt.parent().unwrap_or(Path::new("."));
        format!("to begin anew, remove ca.crt, ca.key and {CERTIFICATES} in {}", folder.display())
    };
    let key_pair = files::read_key(key, &begin_anew())?;
    Authority::open(&files::read(crt)?, key_pair).map_err(|why| CertsError::new(crt, why, begin_anew()))
}

fn issue(authority: &Authority, ca: &Path, folder: &Path, name: &Name) -> Result<PathBuf, CertsError> {
    let path = |extension| folder.join(format!("{}.{extension}", name.file_stem()));
    let (crt, key) = (path("crt"), path("key"));
    let elsewhere = "move it away, or write elsewhere with --out";
    if crt.exists() && !authority.has_issued(&files::read(&crt)?) {
        let problem = format!("was not issued by {}, so it is not overwritten", ca.display());
        return Err(CertsError::new(&crt, problem, elsewhere));
    }
    let (key_pair, key_is_new) = match key.exists() {
        true => (files::read_key(&key, elsewhere)?, false),
        false => (new_key().map_err(|why| CertsError::new(&key, why, "nothing was written"))?, true),
    };
    let pem = authority.issue(name, &key_pair).map_err(|why| {
        let problem = format!("gives no certificate for {name} that clients would accept: {why}");
        let advice = "name it in another folder with --out: an authority may speak for the names that it was made \
                      with, and for those that are reserved for tests";
        CertsError::new(ca, problem, advice)
    })?;
    if key_is_new {
        files::write_new(&key, &key_pair.serialize_pem(), files::SECRET)?;
    }
    files::replace(&crt, &pem, files::PUBLIC)?;
    Ok(crt)
}
