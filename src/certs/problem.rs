//! What can be wrong with a certificate, said so that it can be mended. No text of a key is ever part of it.

use std::path::PathBuf;
use std::time::SystemTime;

use httpdate::fmt_http_date;

/// Why a certificate is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file can't be read.
    #[error("{}: can't be read: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        why: String,
    },
    /// A file has no certificate in it.
    #[error("{}: there is no certificate in it (-----BEGIN CERTIFICATE-----)", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// A file has no private key in it.
    #[error("{}: there is no private key in it (-----BEGIN PRIVATE KEY-----, not encrypted)", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// A file is something else, or broken.
    #[error("{}: {what} can't be understood: {why}", file.display())]
    Garbage {
        /// The file.
        file: PathBuf,
        /// What should be there.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The key is that of another certificate.
    #[error("{}: this is not the key of the certificate in {}", key.display(), certificate.display())]
    WrongKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// It is no longer valid.
    #[error("{}: it has expired on {}; renew it", file.display(), fmt_http_date(*at))]
    Expired {
        /// The file.
        file: PathBuf,
        /// When it did.
        at: SystemTime,
    },
    /// It is not valid yet.
    #[error("{}: it is not valid before {}; is the clock right?", file.display(), fmt_http_date(*from))]
    NotYet {
        /// The file.
        file: PathBuf,
        /// From when on it is.
        from: SystemTime,
    },
    /// It is for other names than it was given for.
    #[error("{}: it is for {has}, and not for {wanted}", file.display())]
    WrongName {
        /// The file.
        file: PathBuf,
        /// The names in it.
        has: String,
        /// The names that were to be served with it.
        wanted: String,
    },
}
