//! The authority: a key and a certificate that says what it may speak for; and what it issues.
//!
//! Each certificate is checked as a client would, before anybody sees it.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Name;

const DAY: Duration = Duration::from_secs(86_400);
/// Browsers have to be told about each new one.
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
/// Some clients refuse certificates that are valid for more than 398 days.
const CERTIFICATE_LIFETIME: Duration = DAY.saturating_mul(397);
/// For clocks that differ: containers, virtual machines after a pause.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);

/// Names that are nobody's on the internet (RFC 6761, 6762, 8375; `internal`: ICANN).
const RESERVED_DOMAINS: &[&str] = &["localhost", "test", "example", "local", "internal", "home.arpa"];
/// Loopback and private networks.
const RESERVED_NETWORKS: &[(&str, u8)] = &[
    ("127.0.0.0", 8),
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("::1", 128),
    ("fc00::", 7),
];

type Problem = Box<dyn Error + Send + Sync>;

/// Issues certificates.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    end: SystemTime,
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// A new P-256 key.
///
/// # Errors
/// There is no randomness.
pub fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

impl Authority {
    /// A new one, for 10 years, for the names that are reserved for tests and for these.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new(names: &[Name]) -> Result<Self, Problem> {
        let provider = aws_lc_rs::default_provider();
        let (now, key) = (SystemTime::now(), new_key()?);
        let mut params = params(&provider, now, now + AUTHORITY_LIFETIME)?;
        // Two of them in one browser can be told from each other.
        let mark: String =
            key.public_key_raw().iter().rev().take(3).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("ghostpin development CA {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted(names), excluded_subtrees: Vec::new() });
        let pem = params.self_signed(&key)?.pem();
        Self::open(&pem, key)
    }

    /// One that was made before.
    ///
    /// # Errors
    /// The certificate is none, has expired, is no authority's, or belongs to another key.
    pub fn open(pem: &str, key: KeyPair) -> Result<Self, Problem> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("can't be read as a certificate: {error}"))?;
        let end = {
            let (_, certificate) = X509Certificate::from_der(&der)
                .map_err(|error| format!("can't be read as a certificate: {error}"))?;
            if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
                return Err("belongs to another key than that in ca.key".into());
            }
            if !certificate.is_ca() {
                return Err("is not the certificate of an authority".into());
            }
            UNIX_EPOCH + Duration::from_secs(certificate.validity().not_after.timestamp().try_into()?)
        };
        if end <= SystemTime::now() {
            return Err("has expired".into());
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(der.clone())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        Ok(Self {
            pem: pem.to_owned(),
            issuer: Issuer::from_ca_cert_der(&der, key)?,
            der,
            end,
            provider,
            verifier,
        })
    }

    /// Its certificate, which clients are to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// Its key, which is nobody's business.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A new certificate for a name, for 397 days or as long as the authority is valid.
    ///
    /// # Errors
    /// No client would accept it; most likely since the authority may not speak for this name.
    pub fn issue(&self, name: &Name, key: &KeyPair) -> Result<String, Problem> {
        let now = SystemTime::now();
        let mut params = params(&self.provider, now, self.end.min(now + CERTIFICATE_LIFETIME))?;
        // Not the name: what looks like one there is taken for a second opinion by some.
        params.distinguished_name.push(DnType::CommonName, "ghostpin development certificate");
        params.subject_alt_names = name.alternatives()?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(key, &self.issuer)?;
        self.verifier.verify_server_cert(certificate.der(), &[], &name.server(), &[], UnixTime::now())?;
        Ok(certificate.pem())
    }

    /// Whether a certificate is by this authority, be it expired or not.
    pub fn has_issued(&self, pem: &str) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
        match (X509Certificate::from_der(&der), X509Certificate::from_der(&self.der)) {
            (Ok((_, theirs)), Ok((_, ours))) => theirs.verify_signature(Some(ours.public_key())).is_ok(),
            _ => false,
        }
    }
}

/// What all certificates have: a time, and a number of their own. (By default the number is made of the key, and two
/// certificates with one number are an error in browsers.)
fn params(provider: &CryptoProvider, now: SystemTime, end: SystemTime) -> Result<CertificateParams, Problem> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH);
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - CLOCK_TOLERANCE)?;
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(end - CLOCK_TOLERANCE)?;
    let mut serial = [0; 16];
    provider.secure_random.fill(&mut serial).map_err(|_| "there is no randomness")?;
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn permitted(names: &[Name]) -> Vec<GeneralSubtree> {
    let mut domains: Vec<String> = RESERVED_DOMAINS.iter().map(|&domain| domain.to_owned()).collect();
    let mut networks: Vec<CidrSubnet> = RESERVED_NETWORKS
        .iter()
        .map(|(address, prefix)| {
            CidrSubnet::from_addr_prefix(address.parse().expect("an address is written there"), *prefix)
        })
        .collect();
    for name in names {
        match name {
            Name::Host(host) => {
                let domain = host.trim_start_matches("*.");
                let within = |wide: &String| {
                    domain.strip_suffix(wide).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                };
                if !domains.iter().any(within) {
                    domains.push(domain.to_owned());
                }
            }
            Name::Address(address) => {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                networks.push(CidrSubnet::from_addr_prefix(*address, whole));
            }
        }
    }
    let domains = domains.into_iter().map(GeneralSubtree::DnsName);
    domains.chain(networks.into_iter().map(GeneralSubtree::IpAddress)).collect()
}
