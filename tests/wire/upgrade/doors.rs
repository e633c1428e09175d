//! Upgrades that change what is listened on: nobody comes to a process that doesn't accept yet.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::process::{Signal, kill_process};

use super::{child_of, config};
use crate::harness::secure::{Authority, handshake};
use crate::harness::{Backend, Client, Config, Proxy};

/// Upgrades to this configuration, does this while the new process is being watched, and kills that one.
fn in_vain(proxy: &Proxy, config: &Config, meanwhile: impl FnOnce() + Send) {
    proxy.write(config);
    let file = proxy.path("ghostpin.toml");
    thread::scope(|scope| {
        let upgrading = scope.spawn(|| proxy.ask_for_upgrade(&file, None));
        proxy.until_logged("it is watched for");
        let came = scope.spawn(meanwhile).join();
        kill_process(child_of(proxy.pid()).expect("a heir"), Signal::KILL).unwrap();
        upgrading.join().unwrap().unwrap_err();
        came.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// Started so that a new process is watched for as long as it lives.
fn watching(mut config: Config) -> Config {
    config.server = config.server.replace("upgrade_probation = '0s'", "upgrade_probation = '10m'");
    config
}

#[test]
fn who_comes_to_an_address_that_the_new_process_names_more_closely_is_served_meanwhile() {
    let a = Backend::named("A");
    let before = Config { http: "'0.0.0.0:0'".into(), ..watching(config(&[&a])) };
    let proxy = Proxy::start(&before);
    let address = ([127, 0, 0, 1], proxy.address.port()).into();
    let after = Config { http: format!("'{address}'"), ..before.clone() };
    in_vain(&proxy, &after, || {
        for _ in 0..8 {
            assert_eq!(Client::to(address).get("a.test", "/").text(), "A GET 0");
        }
    });
    assert_eq!(Client::to(address).get("a.test", "/").text(), "A GET 0");
}

#[test]
fn an_address_that_the_new_process_names_more_closely_is_taken_over() {
    let a = Backend::named("A");
    let before = Config { http: "'0.0.0.0:0'".into(), ..config(&[&a]) };
    let mut proxy = Proxy::start(&before);
    let address = ([127, 0, 0, 1], proxy.address.port()).into();
    proxy.upgrade(&Config { http: format!("'{address}'"), ..before }, None).unwrap();
    proxy.until_elder_ended();
    assert_eq!(Client::to(address).get("a.test", "/").text(), "A GET 0");
}

#[test]
fn who_comes_to_an_address_that_is_to_speak_tls_is_served_in_clear_text_meanwhile() {
    let a = Backend::named("A");
    let authority = Authority::new();
    authority.certify("a.pem", &["a.test"]);
    let before = config(&[&a]);
    let swapped = |before: &Config, proxy: &Proxy| {
        let mut after = authority.secured(before.clone());
        after.listen = after.listen.replace("127.0.0.1:0", &proxy.address.to_string());
        Config { http: "'127.0.0.2:0'".into(), ..after }
    };
    let proxy = Proxy::start(&watching(before.clone()));
    in_vain(&proxy, &swapped(&before, &proxy), || {
        for _ in 0..8 {
            assert_eq!(proxy.get("/").text(), "A GET 0");
        }
    });
    let mut proxy = Proxy::start(&before);
    let client = Arc::new(authority.client(&["http/1.1"]));
    proxy.upgrade(&swapped(&before, &proxy), None).unwrap();
    proxy.until_elder_ended();
    handshake(proxy.address, "a.test", &client).expect("it speaks TLS now");
}

/// The whole answer to a GET at this path.
fn get_at(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_new_path_lets_nobody_in_before_somebody_accepts_there() {
    let a = Backend::named("A");
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("front");
    let with_path =
        |before: &Config| Config { http: format!("{}, '{}'", before.http, path.display()), ..before.clone() };
    let before = config(&[&a]);
    let mut proxy = Proxy::start(&watching(before.clone()));
    in_vain(&proxy, &with_path(&before), || {
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
    proxy.kill_and_restart(&before);
    proxy.upgrade(&with_path(&before), None).unwrap();
    assert!(get_at(&path).ends_with("A GET 0"));
}

#[test]
fn a_folder_is_the_same_one_by_another_path() {
    let a = Backend::named("A");
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("current");
    let mut config = config(&[&a]);
    config.http = format!("'127.0.0.1:0', '{}'", path.join("front").display());
    fs::create_dir(&path).unwrap();
    let mut proxy = Proxy::start(&config);
    // What was listened on lies elsewhere now, and is found there by a link.
    let moved = place.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    symlink(&moved, &path).unwrap();
    let link = place.path().join("link");
    symlink(proxy.path(""), &link).unwrap();
    for folder in [link.clone(), proxy.path(""), link] {
        config.http = format!("'127.0.0.1:0', '{}'", moved.join("front").display());
        proxy.upgrade_at(&config, &folder).unwrap();
        assert!(get_at(&path.join("front")).ends_with("A GET 0"));
        assert_eq!(proxy.pid_that_serves(), proxy.pid());
    }
}
