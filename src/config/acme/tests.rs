use std::path::Path;

use super::*;
use crate::config::{Config, diff};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

/// The configuration of `text` in a folder with `ca.pem` and `key.txt`, or all that is wrong with it.
fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), PEM).unwrap();
    std::fs::write(folder.path().join("key.txt"), "zWNDZM6eQGHWpSRTPal5eA==\n").unwrap();
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    Config::parse(text, &folder.path().join("ghostpin.toml")).map_err(|errors| errors.to_string())
}

#[track_caller]
fn refused(text: &str, begins: &str, hint: &str) {
    let errors = load(text).expect_err(text);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    let (_, error) = errors.split_once("ghostpin.toml:").unwrap();
    assert!(error.starts_with(begins), "{error}");
    assert!(error.contains(hint), "{error}");
}

#[test]
fn without_the_table_nothing_is_ordered() {
    assert_eq!(Config::parse("", Path::new("ghostpin.toml")).unwrap().acme, None);
}

#[test]
fn a_directory_is_enough() {
    let acme = load("[acme]\ndirectory = \"https://ca.example/dir\"").unwrap().acme.unwrap();
    assert_eq!(acme.authorities.len(), 1);
    assert_eq!(acme.authorities[0].directory, "https://ca.example/dir");
    assert!(acme.on_demand);
    assert_eq!(acme.wait, Duration::from_secs(20));
    assert_eq!(acme.challenges, [Challenge::TlsAlpn01, Challenge::Http01]);
}

#[test]
fn all_keys_are_read() {
    let text = "[acme]\ndirectory = \"https://ca.example/dir\"\ncontact = [\"mailto:ops@example.org\"]\n\
                ca_file = \"ca.pem\"\non_demand = false\nask = \"http://127.0.0.1:9000/ask\"\nwait = \"5s\"\n\
                challenges = [\"http-01\"]\nexternal_account = { id = \"kid-1\", key_file = \"key.txt\" }\n\
                [[acme.fallback]]\ndirectory = \"https://other.example/dir\"\n";
    let acme = load(text).unwrap().acme.unwrap();
    assert_eq!(acme.authorities[0].roots.as_deref(), Some(PEM));
    let account = acme.authorities[0].external_account.as_ref().unwrap();
    assert_eq!((account.id.as_str(), account.key_bytes().len()), ("kid-1", 16));
    assert_eq!(acme.authorities[1].directory, "https://other.example/dir");
    assert_eq!(acme.contact, ["mailto:ops@example.org"]);
    assert_eq!(acme.challenges, [Challenge::Http01]);
    assert!(!format!("{acme:?}").contains("zWND"), "a key is never printed");
}

#[test]
fn mistakes_are_refused_with_what_to_do() {
    let acme = |more: &str| format!("[acme]\ndirectory = \"https://ca.example/dir\"\n{more}\n");
    refused("[acme]\non_demand = true", "1: acme.directory: ", "must be there");
    refused("[acme]\ndirectory = \"http://ca.example/\"", "2: acme.directory: ", "write `https://");
    refused(&acme("contact = [\"ops@example.org\"]"), "3: acme.contact: ", "write `mailto:ops@example.org`");
    refused(&acme("ca_file = \"none.pem\""), "3: acme.ca_file: ", "can't be read");
    refused(&acme("ca_file = \"empty.pem\""), "3: acme.ca_file: ", "has no certificate");
    refused(&acme("ask = \"https://x.example/\""), "3: acme.ask: ", "http://");
    refused(&acme("wait = 20"), "3: acme.wait: ", "\"20s\"");
    refused(&acme("challenges = []"), "3: acme.challenges: ", "is empty");
    refused(&acme("challenges = [\"dns-01\"]"), "3: acme.challenges: ", "http-01");
    refused(&acme("challenges = [\"http-01\", \"http-01\"]"), "3: acme.challenges: ", "twice");
    refused(
        &acme("external_account = { id = \"a\" }"),
        "3: acme.external_account.key_file: ",
        "must be there",
    );
    refused(
        &acme("external_account = { id = \"a\", key_file = \"ca.pem\" }"),
        "3: acme.external_account.key_file: ",
        "base64url",
    );
    refused(&acme("[[acme.fallback]]\n"), "3: acme.fallback.directory: ", "must be there");
    refused(
        &acme("[[acme.fallback]]\ndirectory = \"https://ca.example/dir\""),
        "4: acme.fallback.directory: ",
        "twice",
    );
    refused(&acme("directroy = \"x\""), "3: acme.directroy: ", "did you mean `directory`?");
}

#[test]
fn changes_wait_for_a_restart() {
    let old = load("[acme]\ndirectory = \"https://ca.example/dir\"").unwrap();
    let new = load("[acme]\ndirectory = \"https://ca.example/dir\"\nwait = \"5s\"").unwrap();
    // Each was read in a folder of its own.
    assert_eq!(diff::restart_keys(&old, &new), ["server.state", "acme.wait"]);
    assert_eq!(diff::restart_keys(&old, &load("").unwrap()), ["server.state", "acme"]);
    assert_eq!(diff::in_force(&old, new).acme, old.acme);
}
