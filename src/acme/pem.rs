//! A certificate file: the chain, then the key. What can't be used is told before anybody serves it.

use rcgen::KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroize;

use crate::core::orders::Time;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) not_before: Time,
    pub(super) not_after: Time,
}

/// Reads a chain and its key, and checks that they belong to each other and to the name.
pub(super) fn check(name: &str, pem: &str) -> Result<Facts, String> {
    let leaf = leaf(pem)?;
    let (_, certificate) =
        x509_parser::parse_x509_certificate(&leaf).map_err(|error| format!("no certificate: {error}"))?;
    let key =
        PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("no key: {error}"))?;
    let mut key = KeyPair::try_from(&key).map_err(|error| format!("no key: {error}"))?;
    let public = key.public_key_raw().to_vec();
    key.zeroize();
    if certificate.public_key().subject_public_key.data != public {
        return Err("its key is not that of its certificate".to_owned());
    }
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let is_it = |general: &GeneralName<'_>| matches!(general, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name));
    if !names.is_some_and(|names| names.value.general_names.iter().any(is_it)) {
        return Err("it is a certificate for another name".to_owned());
    }
    let time = |at: i64| Time(u64::try_from(at).unwrap_or_default());
    let validity = certificate.validity();
    Ok(Facts {
        not_before: time(validity.not_before.timestamp()),
        not_after: time(validity.not_after.timestamp()),
    })
}

/// The certificate of the name itself, which comes first.
pub(super) fn leaf(pem: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("no certificate: {error}"))
}
