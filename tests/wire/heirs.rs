//! What a new process makes sure of before it takes over: that it has the pins of the one before it, serves what that serves,
//! and shows the certificates that it shows.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::secure::{Authority, handshake};
use crate::harness::{Backend, Config, Proxy, until};
use crate::upgrade::{config, goes_on, nothing_has_happened};

/// Has this folder in the place of the one with the pins in the file.
fn write_with_state(proxy: &Proxy, config: &Config, folder: &str) {
    proxy.write(config);
    let file = proxy.path("ghostpin.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/state'", &format!("/{folder}'"))).unwrap();
}

#[test]
fn a_new_process_whose_pins_would_lie_elsewhere_changes_nothing() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = config(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    write_with_state(&proxy, &config, "elsewhere");
    proxy.signal(Signal::USR2);
    proxy.until_logged("the upgrade has failed");
    let log = proxy.log();
    for part in ["[server] state", "/state`", "/elsewhere`", "can't be changed by an upgrade"] {
        assert!(log.contains(part), "{part}");
    }
    assert!(!proxy.path("elsewhere").exists());
    goes_on(&mut proxy);
}

#[test]
fn another_spelling_of_the_state_folder_is_the_same_one() {
    let a = Backend::named("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start(&config);
    symlink(proxy.path("state"), proxy.path("link")).unwrap();
    write_with_state(&proxy, &config, "link");
    proxy.signal(Signal::USR2);
    proxy.until_elder_ended();
    assert_eq!(proxy.get("/").text(), "A GET 0");
    let heir = proxy.pid_that_serves().cast_signed();
    kill_process(Pid::from_raw(heir).unwrap(), Signal::TERM).unwrap();
}

#[test]
fn a_reload_that_comes_between_is_not_lost_by_an_upgrade() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let signs = tempfile::tempdir().unwrap();
    let (runs, go_on) = (signs.path().join("runs"), signs.path().join("go-on"));
    let line = format!("touch {}; until [ -e {} ]; do sleep 0.02; done", runs.display(), go_on.display());
    let hook = format!("hooks.fence = {{ command = ['sh', '-c', '{line}'], timeout = '1h' }}");
    let mut config = config(&[&a, &b]);
    config.set_site("a", "a.test", &[&a, &b], &format!("app = 'generic'\n{hook}"));
    let mut proxy = Proxy::start(&config);
    proxy.until_well(&b);
    std::thread::scope(|scope| {
        // No pin changes hands while a hook runs.
        scope.spawn(|| proxy.handoff(&b));
        until("the hook runs", || runs.exists());
        proxy.signal(Signal::USR2);
        proxy.until_logged("it is watched for");
        proxy.reload(&config.clone().site("late", &[&b], "app = 'generic'"));
        assert_eq!(proxy.client().get("late.test", "/").text(), "B GET 0");
        fs::write(&go_on, "").unwrap();
    });
    proxy.until_logged("the upgrade has failed");
    proxy.until_logged("the configuration was reloaded meanwhile: ask again");
    assert_eq!(proxy.client().get("late.test", "/").text(), "B GET 0");
    proxy.upgrade(&config.site("late", &[&b], "app = 'generic'"), None).unwrap();
    assert_eq!(proxy.client().get("late.test", "/").text(), "B GET 0");
    proxy.until_elder_ended();
}

#[test]
fn an_upgrade_waits_for_a_confirmation_as_a_reload_would() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let before = config(&[&a, &b]).site("b", &[&b], "app = 'generic'");
    let mut proxy = Proxy::start(&before);
    let mut none = before.clone();
    none.sites.clear();
    let said = proxy.upgrade(&none, None).unwrap_err();
    assert!(said.contains("ghostpin.toml would remove 2 and change 0 of 2 sites"), "{said}");
    assert!(said.contains("`ghostpin confirm ID`"), "{said}");
    nothing_has_happened(&mut proxy, &said, "[guard]");

    proxy.reload(&none);
    let (_, status) = proxy.admin("GET", "/v1/status", "");
    let id = status["waiting_updates"][0]["id"].as_str().expect("a text").to_owned();
    // Whatever the file says now, somebody has yet to decide about what it said.
    let said = proxy.upgrade(&before, None).unwrap_err();
    assert!(said.contains(&format!("update {id} of the file waits")), "{said}");
    proxy.write(&none);
    assert_eq!(proxy.admin("POST", &format!("/v1/updates/{id}/confirm"), "").0, 200);
    proxy.upgrade(&none, None).unwrap();
    assert_eq!(proxy.get("/").status, 404, "it was meant");
    proxy.until_elder_ended();
}

#[test]
fn an_upgrade_may_change_what_a_reload_may() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let before = config(&[&a]).site("b", &[&b], "app = 'generic'");
    let mut proxy = Proxy::start(&before);
    let mut after = before.clone().site("c", &[&b], "app = 'generic'");
    after.remove_site("b");
    proxy.upgrade(&after, None).unwrap();
    assert_eq!(proxy.client().get("b.test", "/").status, 404);
    assert_eq!(proxy.client().get("c.test", "/").text(), "B GET 0");
    proxy.until_elder_ended();
}

#[test]
fn certificates_that_are_broken_keep_a_new_process_from_taking_over() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let authority = Authority::new();
    authority.certify("a.test.pem", &["a.test"]);
    authority.certify("other.pem", &["*.b.test", "b.test"]);
    let config = authority.secured(config(&[&a, &b]).site("b", &[&b], "app = 'generic'"));
    let mut proxy = Proxy::start(&config);
    let client = Arc::new(authority.client(&[]));
    let (to, shown) = (proxy.https(), |proxy: &Proxy, name| handshake(proxy.https(), name, &client).is_ok());
    assert!(shown(&proxy, "a.test") && shown(&proxy, "b.test"));
    let mut fails = |why: &str| {
        let said = proxy.upgrade(&config, None).unwrap_err();
        assert!(said.contains(why) && said.contains("the old process goes on"), "{said}");
        assert!(shown(&proxy, "a.test") && shown(&proxy, "b.test"));
    };
    authority.write("a.test.pem", "rubbish");
    fails("no certificate for `a.test` can be shown by this process");
    fails("a.test.pem: there is no certificate in it");
    authority.certify("a.test.pem", &["a.test"]);
    authority.write("other.pem", "rubbish");
    fails("no certificate for `b.test` can be shown by this process");
    fails("other.pem: there is no certificate in it");
    fs::remove_file(authority.folder().join("a.test.pem")).unwrap();
    fs::remove_file(authority.folder().join("other.pem")).unwrap();
    fails("no certificate for `a.test` can be shown by this process");
    authority.certify("any.pem", &["a.test", "b.test"]);
    proxy.upgrade(&config, None).unwrap();
    assert_eq!(proxy.https(), to);
    assert!(shown(&proxy, "a.test") && shown(&proxy, "b.test"));
    proxy.until_elder_ended();
}
