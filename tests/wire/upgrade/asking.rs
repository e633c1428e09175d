//! Who asks for an upgrade, of which program, and what is said to whom it is refused.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::{config, script};
use crate::harness::{Backend, PATIENCE, Proxy, until};

#[test]
fn what_a_link_names_now_is_started_and_not_what_it_named_at_the_start() {
    let a = Backend::named("A");
    let config = config(&[&a]);
    let place = tempfile::tempdir().unwrap();
    let (current, v1) = (place.path().join("current"), place.path().join("v1"));
    fs::create_dir(&v1).unwrap();
    symlink(env!("CARGO_BIN_EXE_ghostpin"), v1.join("ghostpin")).unwrap();
    symlink("v1", &current).unwrap();
    let mut proxy = Proxy::start_as(&current.join("ghostpin"), &config);
    let v2 = script(&proxy, "exit 3");
    fs::remove_file(&current).unwrap();
    fs::create_dir(&current).unwrap();
    symlink(v2, current.join("ghostpin")).unwrap();
    let said = proxy.upgrade(&config, None).unwrap_err();
    assert!(said.contains("exit status: 3"), "{said}");
}

#[test]
fn who_has_asked_beside_another_is_told_that_the_other_upgrade_has_taken_over() {
    let a = Backend::named("A");
    let mut config = config(&[&a]);
    config.server = config.server.replace("'0s'", "'1s'");
    let mut proxy = Proxy::start(&config);
    let asked: Vec<UnixStream> = (0..4)
        .map(|_| {
            let mut stream = UnixStream::connect(proxy.path("state/upgrade.sock")).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"{}\n").unwrap();
            stream
        })
        .collect();
    let mut last = Vec::new();
    for mut stream in asked {
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        last.push(said.lines().last().unwrap_or_default().to_owned());
    }
    last.sort();
    assert!(last[3].contains("serves"), "{last:?}");
    assert!(last[..3].iter().all(|said| said.contains("another upgrade has taken over")), "{last:?}");
    proxy.until_elder_ended();
    let heir = proxy.pid_that_serves().cast_signed();
    rustix::process::kill_process(rustix::process::Pid::from_raw(heir).unwrap(), Signal::TERM).unwrap();
}

#[test]
fn who_asks_while_a_stop_is_near_is_told_so_at_once() {
    let a = Backend::named("A");
    let mut config = config(&[&a]);
    config.server += "\nshutdown_delay = '10m'";
    let mut proxy = Proxy::start(&config);
    proxy.signal(Signal::TERM);
    until("it says that it stops", || proxy.admin("GET", "/readyz", "").0 == 503);
    let said = proxy.upgrade(&config, None).unwrap_err();
    assert!(said.contains("ghostpin is stopping"), "{said}");
    assert!(!said.contains("goes on"), "{said}");
    let refused = || proxy.log().matches("no upgrade").count();
    let before = refused();
    proxy.signal(Signal::USR2);
    until("it is logged", || refused() > before);
    assert!(!proxy.log().contains("another upgrade is under way"), "{}", proxy.log());
}

#[test]
fn a_lock_that_cant_be_had_is_named() {
    let a = Backend::named("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start(&config);
    let lock = proxy.path("state/elder.lock");
    fs::create_dir(&lock).unwrap();
    let said = proxy.upgrade(&config, None).unwrap_err();
    assert!(said.contains(&*lock.to_string_lossy()), "{said}");
    assert!(!said.contains("try again"), "{said}");
}
