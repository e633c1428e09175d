use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

/// A certificate of its own authority, and its key.
struct Made {
    certificate: String,
    key: String,
}

fn made(names: &[&str], until: i32) -> Made {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Made { certificate: certificate.pem(), key: key.serialize_pem() }
}

/// Far away.
const LATER: i32 = 2090;

struct Folder {
    folder: TempDir,
    sites: Vec<Place>,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), sites: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        // As everybody should: whoever reads sees the one or the other.
        let aside = self.path(".new");
        fs::write(&aside, text).expect("written");
        fs::rename(aside, path).expect("renamed");
    }

    fn pair(&self, stem: &str, made: &Made) {
        self.write(&format!("{stem}.key"), &made.key);
        self.write(&format!("{stem}.crt"), &made.certificate);
    }

    fn survey(&self) -> Survey {
        let folder = Some(self.folder.path().to_owned());
        let sources = Sources { folder, acme: Some(self.path("not/there")), sites: self.sites.clone() };
        sources.survey().expect("readable")
    }

    fn open(&self) -> Arc<Certificates> {
        Certificates::open(self.survey())
    }
}

fn find(certificates: &Arc<Certificates>, name: &str) -> Option<Arc<Certificate>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(certificates.find(name))
}

#[track_caller]
fn file_for(certificates: &Arc<Certificates>, name: &str) -> String {
    let found = find(certificates, name).unwrap_or_else(|| panic!("{name} is served"));
    found.place.certificate.file_name().expect("a file").to_string_lossy().into_owned()
}

#[track_caller]
fn only_problem(certificates: &Arc<Certificates>) -> String {
    // Known to be nowhere only when all are read.
    assert!(find(certificates, "nobody.example").is_none());
    assert_eq!(certificates.problems(), 1);
    let told = certificates.views(&Wanted { problems: true, host: None });
    assert_eq!(told.len(), 1);
    told[0].problem.clone()
}

#[test]
fn a_name_is_served_by_its_own_certificate_before_a_wildcard_of_one_label() {
    let folder = Folder::new();
    folder.pair("_.blog.example", &made(&["*.blog.example"], LATER));
    folder.pair("www.blog.example", &made(&["www.blog.example"], LATER));
    let certificates = folder.open();
    assert_eq!(file_for(&certificates, "www.blog.example"), "www.blog.example.crt");
    assert_eq!(file_for(&certificates, "shop.blog.example"), "_.blog.example.crt");
    for other in ["blog.example", "a.shop.blog.example", ".blog.example", "example", ""] {
        assert!(find(&certificates, other).is_none(), "{other}");
    }
}

#[test]
fn pairs_bundles_and_the_folders_of_acme_clients_are_read_side_by_side() {
    let folder = Folder::new();
    folder.pair("a.example", &made(&["a.example"], LATER));
    let Made { certificate, key } = made(&["b.example"], LATER);
    folder.write("b.pem", &(certificate + &key));
    let Made { certificate, key } = made(&["c.example"], LATER);
    folder.write("c.example/fullchain.pem", &certificate);
    folder.write("c.example/privkey.pem", &key);
    folder.write("README", "not one");
    folder.write("d.example/cert.pem", "not one");
    let certificates = folder.open();
    assert_eq!(file_for(&certificates, "a.example"), "a.example.crt");
    assert_eq!(file_for(&certificates, "b.example"), "b.pem");
    assert_eq!(file_for(&certificates, "c.example"), "fullchain.pem");
    assert_eq!((certificates.views(&Wanted::default()).len(), certificates.problems()), (3, 0));
}

#[test]
fn a_name_that_no_file_name_tells_is_found_as_soon_as_all_are_read() {
    let folder = Folder::new();
    for number in 0..50 {
        let name = format!("s{number}.example");
        folder.pair(&name, &made(&[&name], LATER));
    }
    folder.pair("many", &made(&["one.example", "two.example"], LATER));
    // Nobody has waited for the reading.
    assert_eq!(file_for(&folder.open(), "two.example"), "many.crt");
}

#[test]
fn what_is_wrong_disables_one_certificate_and_is_said() {
    let good = made(&["good.example"], LATER);
    let other = made(&["bad.example"], LATER);
    let old = made(&["bad.example"], 2021);
    let nameless = made(&[], LATER);
    let cases: [(&str, &str, &str, &str); 7] = [
        ("garbage", "no certificate", &other.key, "there is no certificate in it"),
        ("no key", &other.certificate, "no key", "there is no private key in it"),
        ("damaged", &other.certificate.replace("MII", "AAA"), &other.key, "can't be understood"),
        ("damaged key", &other.certificate, &other.key.replace("MIG", "AAA"), "can't be understood"),
        ("the key of another", &other.certificate, &good.key, "this is not the key of the certificate in"),
        ("expired", &old.certificate, &old.key, "it has expired on Fri, 01 Jan 2021"),
        ("for nobody", &nameless.certificate, &nameless.key, "it is for no name at all"),
    ];
    for (what, certificate, key, words) in cases {
        let folder = Folder::new();
        folder.pair("good.example", &good);
        folder.write("bad.example.key", key);
        folder.write("bad.example.crt", certificate);
        let certificates = folder.open();
        assert!(find(&certificates, "bad.example").is_none(), "{what}");
        assert_eq!(file_for(&certificates, "good.example"), "good.example.crt", "{what}");
        let said = only_problem(&certificates);
        assert!(said.contains(words), "{what}: {said}");
        assert!(said.contains("bad.example."), "the file is named: {said}");
    }
    let folder = Folder::new();
    folder.write("bad.example.crt", &other.certificate);
    let certificates = folder.open();
    assert!(find(&certificates, "bad.example").is_none());
    assert!(only_problem(&certificates).contains("bad.example.key: can't be read"));
}

#[test]
fn the_last_good_one_stays_when_its_file_turns_bad() {
    let folder = Folder::new();
    let first = made(&["a.example"], LATER);
    folder.pair("a.example", &first);
    let certificates = folder.open();
    let serving = find(&certificates, "a.example").expect("served").number;
    let expired = made(&["a.example"], 2021);
    let elsewhere = made(&["b.example"], LATER);
    let cases = [
        ("garbage", &first.key[..]),
        (&first.certificate, &elsewhere.key),
        (&expired.certificate, &expired.key),
    ];
    for (certificate, key) in cases {
        folder.write("a.example.crt", certificate);
        folder.write("a.example.key", key);
        assert_eq!(certificates.reload(folder.survey()), Reloaded { read: 1, removed: 0, problems: 1 });
        assert_eq!(find(&certificates, "a.example").expect("still served").number, serving);
        only_problem(&certificates);
    }
    let next = made(&["a.example"], LATER);
    folder.pair("a.example", &next);
    assert_eq!(certificates.reload(folder.survey()), Reloaded { read: 1, removed: 0, problems: 0 });
    assert_ne!(find(&certificates, "a.example").expect("served").number, serving);
}

#[test]
fn what_was_read_before_a_change_does_not_come_back_after_it() {
    let folder = Folder::new();
    folder.pair("a.example", &made(&["a.example"], LATER));
    let certificates = folder.open();
    let place = find(&certificates, "a.example").expect("served").place.clone();
    folder.pair("a.example", &made(&["a.example"], LATER));
    // Somebody reads, and takes his time.
    let slow = certificates.begin(&place).expect("it has changed");
    let read = pem::read(&place, SystemTime::now(), &certificates.shared);
    folder.pair("a.example", &made(&["a.example"], LATER));
    assert_eq!(certificates.reload(folder.survey()).read, 1);
    let newest = find(&certificates, "a.example").expect("served").number;
    certificates.settle(&place, slow, read);
    assert_eq!(find(&certificates, "a.example").expect("served").number, newest);
}

#[test]
fn a_reload_touches_only_what_has_changed() {
    let folder = Folder::new();
    for name in ["a.example", "b.example", "c.example"] {
        folder.pair(name, &made(&[name], LATER));
    }
    let certificates = folder.open();
    let number = |name| find(&certificates, name).map(|certificate| certificate.number);
    let [a, b] = ["a.example", "b.example"].map(|name| number(name).expect("served"));
    assert!(number("c.example").is_some());
    folder.pair("b.example", &made(&["b.example", "www.b.example"], LATER));
    fs::remove_file(folder.path("c.example.crt")).expect("removed");
    folder.pair("d.example", &made(&["d.example"], LATER));
    assert_eq!(certificates.reload(folder.survey()), Reloaded { read: 2, removed: 1, problems: 0 });
    assert_eq!(number("a.example"), Some(a));
    assert!(number("b.example").is_some_and(|now| now != b));
    assert_eq!(number("www.b.example"), number("b.example"));
    assert_eq!(number("c.example"), None);
    assert!(number("d.example").is_some());
    assert_eq!(certificates.reload(folder.survey()), Reloaded::default());
}

#[test]
fn of_several_for_one_name_the_one_that_is_valid_longest_is_used() {
    let folder = Folder::new();
    folder.pair("a", &made(&["a.example"], 2080));
    folder.pair("b", &made(&["a.example"], 2081));
    folder.pair("c", &made(&["a.example"], 2079));
    let certificates = folder.open();
    assert_eq!(file_for(&certificates, "a.example"), "b.crt");
    fs::remove_file(folder.path("b.crt")).expect("removed");
    certificates.reload(folder.survey());
    assert_eq!(file_for(&certificates, "a.example"), "a.crt");
}

#[test]
fn what_a_site_names_is_used_before_the_folder_and_must_be_for_its_hosts() {
    let mut folder = Folder::new();
    folder.pair("a.example", &made(&["a.example"], LATER));
    let own = made(&["a.example"], 2080);
    let wrong = made(&["x.example"], LATER);
    folder.write("own/cert", &own.certificate);
    folder.write("own/key", &own.key);
    folder.write("wrong/both", &(wrong.certificate + &wrong.key));
    let hosts = |host: &str| [host.to_owned()].into();
    let key = Some(folder.path("own/key"));
    folder.sites = vec![
        Place::of_site("a".into(), hosts("a.example"), folder.path("own/cert"), key),
        Place::of_site("b".into(), hosts("b.example"), folder.path("wrong/both"), None),
    ];
    let certificates = folder.open();
    assert_eq!(file_for(&certificates, "a.example"), "cert");
    assert!(find(&certificates, "b.example").is_none());
    assert!(find(&certificates, "x.example").is_none());
    let said = only_problem(&certificates);
    assert!(said.ends_with("wrong/both: it is for x.example, and not for b.example"), "{said}");
}

#[test]
fn a_file_named_after_another_host_serves_the_names_that_are_in_it() {
    let folder = Folder::new();
    folder.pair("a.example", &made(&["b.example"], LATER));
    let certificates = folder.open();
    assert!(find(&certificates, "a.example").is_none());
    assert_eq!(file_for(&certificates, "b.example"), "a.example.crt");
    assert!(only_problem(&certificates).contains("it is for b.example, and not for a.example"));
}

#[test]
fn what_was_just_written_is_used_at_once() {
    let folder = Folder::new();
    let certificates = folder.open();
    assert!(find(&certificates, "a.example").is_none());
    let Made { certificate, key } = made(&["a.example"], LATER);
    folder.write("acme/a.example.pem", &(certificate + &key));
    let place = Place::acme(folder.path("acme/a.example.pem"));
    certificates.take(place.clone()).expect("good");
    let first = find(&certificates, "a.example").expect("served").number;
    folder.write("acme/a.example.pem", "half of it");
    assert!(matches!(certificates.take(place), Err(Problem::NoCertificate { .. })));
    assert_eq!(find(&certificates, "a.example").expect("still served").number, first);
}

#[test]
fn validity_is_read_from_the_certificate() {
    let folder = Folder::new();
    folder.pair("a.example", &made(&["a.example"], LATER));
    let certificate = find(&folder.open(), "a.example").expect("served");
    let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 24 * 3600);
    assert_eq!((certificate.not_before, certificate.not_after), (at(18_262), at(43_830)));
    assert!(
        certificate.is_valid(at(18_262))
            && !certificate.is_valid(at(18_261))
            && !certificate.is_valid(at(43_830))
    );
}

#[test]
fn no_key_is_ever_printed() {
    let folder = Folder::new();
    let Made { certificate, key } = made(&["a.example"], LATER);
    let secret: Vec<&str> = key.lines().filter(|line| !line.starts_with("---")).collect();
    folder.write("a.example.pem", &(certificate.clone() + &key));
    folder.write("b.example.pem", &(certificate + &key.replace("MIG", "AAA")));
    let certificates = folder.open();
    let good = find(&certificates, "a.example").expect("served");
    let printed = format!(
        "{certificates:?} {good:?} {:?} {:?}",
        certificates.views(&Wanted::default()),
        only_problem(&certificates)
    );
    for line in secret {
        assert!(!printed.contains(line), "{printed}");
    }
    // Nor as numbers, which is how bytes are printed.
    assert!(!printed.contains("[48, "), "{printed}");
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let sources = Sources { folder: Some(Path::new("/not/there").to_owned()), ..Sources::default() };
    let said = sources.survey().expect_err("not there");
    assert!(said.starts_with("[tls] certificates: `/not/there` can't be read: "), "{said}");
}
