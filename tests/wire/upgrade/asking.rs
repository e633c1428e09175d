//! Who asks for an upgrade, of which program, and what is said to whom it is refused.

use std::fs;
use std::os::unix::fs::symlink;

use super::{config, script};
use crate::harness::{Backend, Proxy};

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
