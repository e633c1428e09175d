//! One certificate with its chain and its key, and what is known of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use super::folder::Place;

/// Numbers certificates, for the cache of those in use.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// See the module's text. It is kept as small as it can be: most are seldom asked for.
pub struct Certificate {
    /// Another one for each.
    pub(super) number: u64,
    /// Where it was read.
    pub place: Arc<Place>,
    /// The names that it is for, lower case; `*.domain` for one label below a domain.
    pub names: Box<[Box<str>]>,
    /// Who has signed it.
    pub issuer: Arc<str>,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    pub(super) leaf: CertificateDer<'static>,
    /// The chain behind it, which many share.
    pub(super) chain: Arc<[CertificateDer<'static>]>,
    pub(super) key: Key,
}

/// A private key: never printed, and wiped when it is dropped.
pub(super) struct Key(pub(super) PrivateKeyDer<'static>);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Certificate {
    /// The number of the next one.
    pub(super) fn next_number() -> u64 {
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether it is for this name, given in lower case.
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| match own.strip_prefix('*') {
            // One label, and not an empty one.
            Some(below) => name.find('.').is_some_and(|dot| dot > 0 && name[dot..] == *below),
            None => **own == *name,
        })
    }

    /// Whether it is valid at this time.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// In the form that handshakes are made with. The key is parsed anew, which is why those in use are kept.
    ///
    /// # Errors
    /// The key is of a kind that isn't supported.
    pub(super) fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = any_supported_type(&self.key.0)?;
        let chain = std::iter::once(&self.leaf).chain(self.chain.iter()).cloned().collect();
        Ok(CertifiedKey::new(chain, key))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("place", &self.place)
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
