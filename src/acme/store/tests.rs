use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

const BACKOFF: (&str, Time, u32) = ("https://ca.example/dir", Time(77), 3);

/// A certificate for `name` with its key, valid for the year 2030.
fn certificate(name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2031, 1, 1));
    let certificate = params.self_signed(&key).unwrap();
    format!("{}{}", certificate.pem(), key.serialize_pem())
}

fn open(state: &Path) -> Result<(Store, Remembered), StoreError> {
    let (store, mut remembered) = Store::open(state)?;
    store.look(&mut remembered)?;
    Ok((store, remembered))
}

fn record(name: &str, next_try: u64) -> (String, Record) {
    let record =
        Record { failures: 2, recent: vec![Time(5), Time(6)], next_try: Time(next_try), ..Record::default() };
    (name.to_owned(), record)
}

fn unfinished() -> Unfinished {
    Unfinished {
        directory: "https://ca.example/dir".to_owned(),
        url: "https://ca.example/order/1".to_owned(),
        key: Zeroizing::new("a key".to_owned()),
    }
}

/// A state folder with a certificate, a backoff and an order that has not ended.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, remembered) = open(folder.path()).unwrap();
    assert!(remembered.names.is_empty() && remembered.unfinished.is_empty());
    store.keep_certificate("good.example", &certificate("good.example")).unwrap();
    let (name, bad) = record("bad.example", 99);
    store.ended(&name, Some(&bad), false, BACKOFF).unwrap();
    store.begun("open.example", &unfinished()).unwrap();
    store.keep_account("https://ca.example/dir", "{}").unwrap();
    folder
}

#[test]
fn what_was_written_is_there_in_the_next_life() {
    let folder = filled();
    let (store, remembered) = open(folder.path()).unwrap();
    let good = remembered.names["good.example"].certificate.as_ref().unwrap();
    assert_eq!((good.not_before, good.not_after), (Time(1_893_456_000), Time(1_924_992_000)));
    assert!(good.renew_at > good.not_before && good.renew_at < good.not_after);
    assert_eq!(remembered.names["bad.example"], record("bad.example", 99).1);
    assert_eq!(remembered.unfinished, ["open.example"]);
    assert_eq!(remembered.authorities["https://ca.example/dir"], (Time(77), 3));
    assert!(store.unfinished("open.example") == Some(unfinished()));
    assert!(store.unfinished("good.example").is_none());
    assert_eq!(store.account("https://ca.example/dir").unwrap().as_str(), "{}");
    assert!(store.account("https://ca.example/dir2").is_none());
    store.ended("open.example", None, false, BACKOFF).unwrap();
    assert!(store.unfinished("open.example").is_none());
}

#[test]
fn a_chosen_renewal_stays_as_long_as_its_certificate() {
    let folder = filled();
    let (store, remembered) = open(folder.path()).unwrap();
    let mut chosen = remembered.names["good.example"].clone();
    chosen.certificate.as_mut().unwrap().renew_at = Time(1_900_000_000);
    store.ended("good.example", Some(&chosen), false, BACKOFF).unwrap();
    drop(store);
    let (store, remembered) = open(folder.path()).unwrap();
    assert_eq!(remembered.names["good.example"], chosen);
    // The process died between the file and the record: the file is the truth.
    store.keep_certificate("good.example", &certificate("good.example")).unwrap();
    let mut older = chosen.clone();
    older.certificate.as_mut().unwrap().not_after = Time(1_895_000_000);
    store.ended("good.example", Some(&older), false, BACKOFF).unwrap();
    drop(store);
    let (_, remembered) = open(folder.path()).unwrap();
    assert_eq!(remembered.names["good.example"].certificate.as_ref().unwrap().not_after, Time(1_924_992_000));
}

#[test]
fn nobody_else_can_read_what_is_kept() {
    let folder = filled();
    let mut folders = vec![folder.path().join("acme")];
    let mut files = 0;
    while let Some(path) = folders.pop() {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
            }
        }
    }
    assert_eq!(files, 3, "a certificate, an account, the database");
}

#[test]
fn certificates_survive_any_damage_to_the_database() {
    let folder = filled();
    let path = folder.path().join("acme/orders.redb");
    let whole = fs::read(&path).unwrap();
    let garbled = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at..(at + 512).min(whole.len())].fill(0xa5);
        bytes
    };
    let mut states = vec![Vec::new(), b"not a database".to_vec(), whole[..whole.len() / 2].to_vec()];
    states.extend((0..whole.len().min(64 << 10)).step_by(4096).map(garbled));
    for (number, bytes) in states.into_iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let (store, remembered) =
            open(folder.path()).unwrap_or_else(|error| panic!("state {number}: {error}"));
        assert!(remembered.names["good.example"].certificate.is_some(), "state {number}");
        store.begun("new.example", &unfinished()).unwrap();
        assert!(store.unfinished("new.example").is_some(), "state {number}");
    }
    fs::remove_file(&path).unwrap();
    assert!(open(folder.path()).unwrap().1.names["good.example"].certificate.is_some());
}

#[test]
fn what_a_killed_process_left_half_written_is_removed() {
    let folder = filled();
    let half = folder.path().join("acme/certificates/good.example.pem.new");
    fs::write(&half, "-----BEGIN CERT").unwrap();
    let (_, remembered) = open(folder.path()).unwrap();
    assert!(!half.exists());
    assert!(remembered.names["good.example"].certificate.is_some());
}

#[test]
fn a_certificate_that_cannot_be_used_is_set_aside() {
    let folder = filled();
    let certificates = folder.path().join("acme/certificates");
    let (one, other) = (certificate("a.example"), certificate("a.example"));
    let mixed = format!(
        "{}{}",
        one.split("-----BEGIN PRIVATE").next().unwrap(),
        &other[other.find("-----BEGIN PRIVATE").unwrap()..]
    );
    fs::write(certificates.join("a.example.pem"), mixed).unwrap();
    fs::write(certificates.join("b.example.pem"), &one).unwrap();
    fs::write(certificates.join("c.example.pem"), "garbage").unwrap();
    let (store, remembered) = open(folder.path()).unwrap();
    let names: Vec<&str> = remembered.names.keys().map(String::as_str).collect();
    assert_eq!(names, ["bad.example", "good.example"]);
    assert!(!store.path("a.example").exists());
    assert!(certificates.join("c.example.pem.damaged-1").exists());
}

#[test]
fn a_folder_has_one_owner() {
    let folder = filled();
    let _store = open(folder.path()).unwrap();
    let error = open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("another process"), "{error}");
}

#[test]
fn an_order_whose_certificate_is_there_has_ended() {
    let folder = filled();
    let pem = certificate("open.example");
    let (store, _) = open(folder.path()).unwrap();
    let key = pem[pem.find("-----BEGIN PRIVATE").unwrap()..].to_owned();
    store.begun("open.example", &Unfinished { key: Zeroizing::new(key), ..unfinished() }).unwrap();
    assert!(store.unfinished("open.example").is_some());
    // Here the process dies: nobody notes that it has ended.
    store.keep_certificate("open.example", &pem).unwrap();
    drop(store);
    let (store, remembered) = open(folder.path()).unwrap();
    assert!(remembered.unfinished.is_empty() && store.unfinished("open.example").is_none());
    assert!(remembered.names["open.example"].certificate.is_some());
    // The next one is another.
    store.begun("open.example", &unfinished()).unwrap();
    assert!(store.unfinished("open.example") == Some(unfinished()));
}
