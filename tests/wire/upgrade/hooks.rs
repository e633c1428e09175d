//! An upgrade that has to wait for a hook, or is under way, or just over, when the process is to stop.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{child_of, config, has_ended, slow};
use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

/// A hook that ends when it is told so.
struct Hook(TempDir);

impl Hook {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As the `fence` hook of site `a`.
    fn of(&self, backends: &[&Backend]) -> Config {
        let (ran, go_on) = (self.path("ran"), self.path("go-on"));
        let script =
            format!("touch {}; until [ -e {} ]; do sleep 0.02; done", ran.display(), go_on.display());
        let lines = format!("hooks.fence = {{ command = ['sh', '-c', '{script}'], timeout = '10m' }}");
        let mut config = config(backends);
        config.set_site("a", "a.test", backends, &format!("app = 'generic'\n{lines}"));
        config
    }

    fn runs(&self) -> bool {
        self.path("ran").exists()
    }

    fn end(&self) {
        fs::write(self.path("go-on"), "").unwrap();
    }
}

/// What an operator is told of a handoff,
type Moved = (u16, Value);
/// and of an upgrade.
type Upgraded = Result<Pid, String>;

/// Begins a handoff to `b`, whose hook runs when this returns, and then an upgrade, which waits for it.
fn waiting<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    proxy: &'scope Proxy,
    hook: &Hook,
    b: &'scope Backend,
) -> (ScopedJoinHandle<'scope, Moved>, ScopedJoinHandle<'scope, Upgraded>) {
    proxy.until_well(b);
    let moving = scope.spawn(|| proxy.handoff(b));
    until("the hook runs", || hook.runs());
    let upgrading = scope.spawn(|| proxy.ask_for_upgrade(&proxy.path("ghostpin.toml"), None));
    // It takes over only when the hook has ended.
    let waits =
        || ["it waits for a hook of site `a`", "it takes over"].iter().any(|said| proxy.log().contains(said));
    until("it waits", waits);
    (moving, upgrading)
}

#[test]
fn a_stop_ends_an_upgrade_that_waits_for_a_hook() {
    let (a, b, hook) = (Backend::named("A"), Backend::named("B"), Hook::new());
    let (c, go_on) = slow("C");
    let config = hook.of(&[&a, &b]).site("c", &[&c], "app = 'generic'");
    let mut proxy = Proxy::start(&config);
    let mut under_way = proxy.client();
    under_way.ask("GET", "c.test", "/slow");
    until("it is under way", || c.count() == 1);
    thread::scope(|scope| {
        let (moving, upgrading) = waiting(scope, &proxy, &hook, &b);
        proxy.signal(Signal::TERM);
        assert!(upgrading.join().unwrap().unwrap_err().contains("ghostpin is stopping"));
        hook.end();
        assert_eq!(moving.join().unwrap().0, 200, "the process that was asked decides as long as it lives");
    });
    go_on.send(()).unwrap();
    assert_eq!(under_way.response().text(), "C");
    proxy.until_elder_ended();
    assert!(TcpStream::connect(proxy.address).is_err(), "nobody serves");
}

#[test]
fn a_stop_in_the_middle_of_an_upgrade_ends_both_processes() {
    for _ in 0..4 {
        let a = Backend::named("A");
        let mut proxy = Proxy::start(&config(&[&a]));
        thread::scope(|scope| {
            let upgrading = scope.spawn(|| proxy.ask_for_upgrade(&proxy.path("ghostpin.toml"), None));
            // Wherever the signal falls behind this, the promise is the same.
            proxy.until_logged("it takes over");
            let heir = child_of(proxy.pid()).expect("a heir");
            proxy.signal(Signal::TERM);
            let _ = upgrading.join().unwrap();
            until("the new process has ended", || has_ended(heir.as_raw_nonzero().get().cast_unsigned()));
        });
        proxy.until_elder_ended();
        assert!(TcpStream::connect(proxy.address).is_err(), "nobody serves");
    }
}

#[test]
fn operators_are_answered_while_an_upgrade_waits_for_a_hook() {
    let (a, b, hook) = (Backend::named("A"), Backend::named("B"), Hook::new());
    let proxy = Proxy::start(&hook.of(&[&a, &b]));
    thread::scope(|scope| {
        let (moving, upgrading) = waiting(scope, &proxy, &hook, &b);
        let mut operator = UnixStream::connect(proxy.path("admin")).unwrap();
        operator.set_read_timeout(Some(PATIENCE / 4)).unwrap();
        operator.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        let answered = operator.read_exact(&mut answer);
        hook.end();
        // The upgrade goes on as the handoff does. If it is first, that is what is said.
        let (status, moved) = moving.join().unwrap();
        assert!(status == 200 || moved["detail"].as_str().unwrap().contains("a new process has taken over"));
        let heir = upgrading.join().unwrap().unwrap();
        kill_process(heir, Signal::KILL).unwrap();
        answered.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    });
}

#[test]
fn an_upgrade_does_not_wait_for_a_hook_for_ever() {
    let (a, b, hook) = (Backend::named("A"), Backend::named("B"), Hook::new());
    let mut config = hook.of(&[&a, &b]);
    config.server += "\nupgrade_timeout = '3s'";
    let proxy = Proxy::start(&config);
    thread::scope(|scope| {
        let (moving, upgrading) = waiting(scope, &proxy, &hook, &b);
        let said = upgrading.join().unwrap().unwrap_err();
        assert!(said.contains("a hook of site `a` still ran after 3s (server.upgrade_timeout)"), "{said}");
        proxy.until_logged("this process goes on");
        hook.end();
        assert_eq!(moving.join().unwrap().0, 200);
    });
}

#[test]
fn an_update_that_comes_to_wait_meanwhile_is_not_lost_by_an_upgrade() {
    let (a, b, hook) = (Backend::named("A"), Backend::named("B"), Hook::new());
    let few = hook.of(&[&a, &b]);
    let many = (0..40)
        .fold(few.clone(), |config, number| config.site(&format!("site-{number}"), &[&a], "app = 'generic'"));
    let proxy = Proxy::start(&many);
    thread::scope(|scope| {
        let (moving, upgrading) = waiting(scope, &proxy, &hook, &b);
        proxy.reload(&few);
        hook.end();
        assert_eq!(moving.join().unwrap().0, 200);
        let said = upgrading.join().unwrap().unwrap_err();
        let (_, status) = proxy.admin("GET", "/v1/status", "");
        let id = status["waiting_updates"][0]["id"].as_str().expect("it waits");
        assert!(said.contains(&format!("update {id} of the file waits: `ghostpin confirm {id}`")), "{said}");
    });
}

#[test]
fn a_new_process_that_gets_stuck_while_it_waits_for_a_hook_is_ended() {
    let (a, b, hook) = (Backend::named("A"), Backend::named("B"), Hook::new());
    let proxy = Proxy::start(&hook.of(&[&a, &b]));
    thread::scope(|scope| {
        let (moving, upgrading) = waiting(scope, &proxy, &hook, &b);
        kill_process(child_of(proxy.pid()).expect("a heir"), Signal::STOP).unwrap();
        let said = upgrading.join().unwrap().unwrap_err();
        assert!(said.contains("it is stuck"), "{said}");
        hook.end();
        assert_eq!(moving.join().unwrap().0, 200);
    });
}

#[test]
fn a_stop_lets_requests_of_the_process_before_come_to_their_end() {
    let (a, go_on) = slow("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start(&config);
    let slow = proxy.get_meanwhile("/slow");
    until("it is under way", || a.count() == 1);
    let elder = Pid::from_raw(proxy.pid().cast_signed()).unwrap();
    proxy.upgrade(&config, None).unwrap();
    let heir = proxy.pid();
    // As a supervisor does that knows of both.
    kill_process(elder, Signal::TERM).unwrap();
    proxy.signal(Signal::TERM);
    until("nobody comes in any more", || TcpStream::connect(proxy.address).is_err());
    // Longer than one takes that has nothing to wait for.
    thread::sleep(Duration::from_secs(3));
    assert!(!has_ended(heir));
    go_on.send(()).unwrap();
    assert_eq!(slow.join().unwrap().text(), "A");
    proxy.until_elder_ended();
    until("the new process has ended", || has_ended(heir));
}
