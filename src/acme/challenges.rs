//! Answers for an authority that looks whether a name leads here. They are there while an order is under way.
//!
//! Looked up by the workers, changed by the thread of this room.

use std::sync::Arc;

use dashmap::DashMap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

/// What the path of an HTTP-01 request begins with; its token follows.
pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// The answers to challenges. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// Token to key authorization.
    http01: DashMap<Box<str>, Arc<str>>,
    /// Name to certificate.
    tls_alpn01: DashMap<Box<str>, Arc<CertifiedKey>>,
}

/// Takes its answer away when it is dropped.
#[derive(Debug)]
pub(crate) enum Answering {
    Http01(Challenges, Box<str>),
    TlsAlpn01(Challenges, Box<str>),
}

impl Challenges {
    /// The key authorization that answers the HTTP-01 challenge with this token.
    pub fn http01(&self, token: &str) -> Option<Arc<str>> {
        self.0.http01.get(token).map(|answer| answer.clone())
    }

    /// The certificate that answers a TLS-ALPN-01 challenge for this name, in lower case: for a handshake that offers
    /// `acme-tls/1`, and nothing else.
    pub fn tls_alpn01(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.tls_alpn01.get(name).map(|answer| answer.clone())
    }

    pub(crate) fn answer_http01(&self, token: &str, key_authorization: &str) -> Answering {
        self.0.http01.insert(token.into(), key_authorization.into());
        Answering::Http01(self.clone(), token.into())
    }

    /// `digest` is the SHA-256 of the key authorization.
    pub(super) fn answer_tls_alpn01(&self, name: &str, digest: &[u8]) -> Result<Answering, String> {
        let certificate = certificate(name, digest).map_err(|error| error.to_string())?;
        self.0.tls_alpn01.insert(name.into(), Arc::new(certificate));
        Ok(Answering::TlsAlpn01(self.clone(), name.into()))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        match self {
            Self::Http01(all, token) => drop(all.0.http01.remove(token)),
            Self::TlsAlpn01(all, name) => drop(all.0.tls_alpn01.remove(name)),
        }
    }
}

/// A certificate for nobody but the authority that asks (RFC 8737, 3).
fn certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_as_long_as_it_is_held() {
        let challenges = Challenges::default();
        let answering = challenges.answer_http01("token", "token.thumb");
        assert_eq!(challenges.clone().http01("token").as_deref(), Some("token.thumb"));
        assert_eq!(challenges.http01("other"), None);
        drop(answering);
        assert_eq!(challenges.http01("token"), None);
    }

    #[test]
    fn the_certificate_of_a_challenge_names_its_domain_and_its_digest() {
        let challenges = Challenges::default();
        let _answering = challenges.answer_tls_alpn01("a.example", &[7; 32]).unwrap();
        let certified = challenges.tls_alpn01("a.example").unwrap();
        let (_, certificate) =
            x509_parser::parse_x509_certificate(certified.end_entity_cert().unwrap()).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        let identifier =
            certificate.extensions().iter().find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let identifier = identifier.unwrap();
        assert!(identifier.critical);
        assert_eq!(identifier.value, [&[4, 32][..], &[7; 32]].concat());
    }
}
