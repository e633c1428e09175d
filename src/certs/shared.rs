//! What many certificates have in common, kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use rustls_pki_types::CertificateDer;

use super::store::{Hashed, locked};

/// See the module's text.
#[derive(Default)]
pub(super) struct Shared {
    chains: Mutex<HashSet<Arc<[CertificateDer<'static>]>, Hashed>>,
    issuers: Mutex<HashSet<Arc<str>, Hashed>>,
}

impl Shared {
    /// The certificates behind one.
    pub(super) fn chain(&self, chain: Vec<CertificateDer<'static>>) -> Arc<[CertificateDer<'static>]> {
        let mut chains = locked(&self.chains);
        if let Some(shared) = chains.get(chain.as_slice()) {
            return shared.clone();
        }
        let shared: Arc<[_]> = chain.into();
        chains.insert(shared.clone());
        shared
    }

    /// The name of an issuer.
    pub(super) fn issuer(&self, issuer: String) -> Arc<str> {
        let mut issuers = locked(&self.issuers);
        if let Some(shared) = issuers.get(issuer.as_str()) {
            return shared.clone();
        }
        let shared: Arc<str> = issuer.into();
        issuers.insert(shared.clone());
        shared
    }

    /// Forgets what nobody has any more.
    pub(super) fn tidy(&self) {
        tidy(&self.chains);
        tidy(&self.issuers);
    }
}

fn tidy<T: ?Sized + Eq + Hash>(all: &Mutex<HashSet<Arc<T>, Hashed>>) {
    locked(all).retain(|one| Arc::strong_count(one) > 1);
}
