//! From files to a certificate, or to what is wrong with them.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

use super::certificate::{Certificate, Key};
use super::folder::{Place, Source};
use super::problem::Problem;
use super::shared::Shared;

/// Longest file that is read, in bytes: a chain, not a trust store.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Names that are told in a problem.
const NAMES_TOLD: usize = 4;

/// Reads what is there. `now` decides whether it is valid.
pub(super) fn read(place: &Arc<Place>, now: SystemTime, shared: &Shared) -> Result<Certificate, Problem> {
    let file = place.certificate.as_path();
    let text = contents(file)?;
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        chain.push(certificate.map_err(|error| garbage(file, "the certificate", error))?);
    }
    if chain.is_empty() {
        return Err(Problem::NoCertificate { file: file.to_owned() });
    }
    let key = match place.is_bundle() {
        true => key(file, &text)?,
        false => {
            let file = place.key();
            key(&file, &contents(&file)?)?
        }
    };
    let leaf = chain.remove(0);
    let (names, issuer, not_before, not_after) = facts(file, &leaf)?;
    let certificate = Certificate {
        number: Certificate::next_number(),
        place: place.clone(),
        names,
        issuer: shared.issuer(issuer),
        not_before,
        not_after,
        leaf,
        chain: shared.chain(chain),
        key,
    };
    check(&certificate, now)?;
    Ok(certificate)
}

/// What it must be to be used.
fn check(certificate: &Certificate, now: SystemTime) -> Result<(), Problem> {
    let place = &certificate.place;
    let file = place.certificate.clone();
    let certified: CertifiedKey =
        certificate.certified().map_err(|error| garbage(&place.key(), "the private key", error))?;
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(Problem::WrongKey { key: place.key(), certificate: file });
        }
        Err(error) => return Err(garbage(&file, "the certificate", error)),
    }
    if now >= certificate.not_after {
        return Err(Problem::Expired { file, at: certificate.not_after });
    }
    if now < certificate.not_before {
        return Err(Problem::NotYet { file, from: certificate.not_before });
    }
    let wanted = place.expected();
    // In a folder of somebody else's making, a name that is no host says nothing.
    let is_folder = matches!(place.source, Source::Folder);
    let covers = |host: &String| match host.strip_prefix("*.") {
        Some(_) => certificate.names.iter().any(|name| **name == **host),
        None => certificate.covers(host),
    };
    if certificate.names.is_empty() || !wanted.is_empty() && !is_folder && !wanted.iter().any(covers) {
        return Err(Problem::WrongName {
            file,
            has: told(certificate.names.iter().map(AsRef::as_ref)),
            wanted: told(wanted.iter().map(String::as_str)),
        });
    }
    Ok(())
}

/// The file's name promises a host that the certificate is not for. It is used for the names that it has.
pub(super) fn misnamed(certificate: &Certificate) -> Option<Problem> {
    let named = match certificate.place.source {
        Source::Folder => certificate.place.named()?,
        _ => return None,
    };
    if certificate.names.iter().any(|name| **name == *named) || certificate.covers(&named) {
        return None;
    }
    Some(Problem::WrongName {
        file: certificate.place.certificate.clone(),
        has: told(certificate.names.iter().map(AsRef::as_ref)),
        wanted: named,
    })
}

fn told<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let told: Vec<_> = names.take(NAMES_TOLD).collect();
    match count {
        0 => "no name at all".to_owned(),
        _ if count > NAMES_TOLD => format!("{} and {} more", told.join(", "), count - NAMES_TOLD),
        _ => told.join(", "),
    }
}

/// The text of a file, wiped after use: there may be a key in it.
fn contents(file: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let unreadable = |why: String| Problem::Unreadable { file: file.to_owned(), why };
    let open = fs::File::open(file).map_err(|error| unreadable(error.to_string()))?;
    let length = open.metadata().map_or(0, |found| found.len());
    if length > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    // Room for all of it from the start: where a buffer grows, it leaves a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    match open.take(FILE_BYTES_MAX).read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn key(file: &Path, text: &[u8]) -> Result<Key, Problem> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(Key(key)),
        Err(pem::Error::NoItemsFound) => Err(Problem::NoKey { file: file.to_owned() }),
        // What the parser saw is not told: it may be part of a key.
        Err(_) => Err(garbage(file, "the private key", "its text is damaged")),
    }
}

fn garbage(file: &Path, what: &'static str, why: impl ToString) -> Problem {
    Problem::Garbage { file: file.to_owned(), what, why: why.to_string() }
}

type Facts = (Box<[Box<str>]>, String, SystemTime, SystemTime);

/// Names, issuer, and the time of its validity.
fn facts(file: &Path, leaf: &CertificateDer<'_>) -> Result<Facts, Problem> {
    let (_, parsed) =
        X509Certificate::from_der(leaf).map_err(|error| garbage(file, "the certificate", error))?;
    let alternative =
        parsed.subject_alternative_name().map_err(|error| garbage(file, "the certificate", error))?;
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    });
    let common = parsed.issuer().iter_common_name().next().and_then(|name| name.as_str().ok());
    let issuer = common.map_or_else(|| parsed.issuer().to_string(), str::to_owned);
    let validity = parsed.validity();
    Ok((names.collect(), issuer, time(validity.not_before), time(validity.not_after)))
}

fn time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.timestamp().max(0) as u64)
}
