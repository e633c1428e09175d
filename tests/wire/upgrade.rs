//! One process takes over from another: nobody notices, and if the new one is no good, nothing has happened.

mod asking;
mod doors;
mod hooks;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Backend, Client, Config, PATIENCE, Proxy, until};

/// Without time that a new process is watched for: what is tested is what comes then.
pub(crate) fn config(backends: &[&Backend]) -> Config {
    let mut config = Config::of(backends);
    config.server += "\nupgrade_probation = '0s'";
    config
}

/// Whether there is no such process any more.
fn has_ended(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.is_empty() || state.contains(") Z")
}

/// A backend whose `/slow` ends when it is told so, and what tells it.
fn slow(name: &'static str) -> (Backend, mpsc::Sender<()>) {
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let backend = Backend::with(name, move |head, conn| {
        if head.path() == "/slow" {
            let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        }
        conn.answer(200, name);
    });
    (backend, go_on)
}

/// Set when it goes, so that nobody asks for ever after a test that has failed.
#[derive(Default)]
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_request_fails_while_one_process_after_the_other_takes_over() {
    let a = Backend::named("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start(&config);
    let (address, answered) = (proxy.address, AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let done = Done::default();
        for _ in 0..2 {
            let (done, answered) = (done.0.clone(), &answered);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(Client::to(address).get("a.test", "/").status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    // Each connection takes a port from the machine for a minute.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        for _ in 0..3 {
            let before = proxy.pid();
            proxy.upgrade(&config, None).unwrap();
            assert_ne!(proxy.pid(), before);
            let so_far = answered.load(Ordering::Relaxed);
            until("more are answered", || answered.load(Ordering::Relaxed) > so_far + 10);
            // Only one at a time may still have requests.
            until("the one before has ended", || has_ended(before));
        }
    });
    assert_eq!(proxy.epoch(), 1, "the pin has not moved");
    proxy.until_elder_ended();
}

#[test]
fn requests_that_are_held_in_the_old_process_go_where_the_new_one_moves_the_pin() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = config(&[&a, &b]).hold("timeout = '10m'");
    let mut proxy = Proxy::start(&config);
    proxy.until_well(&b);
    proxy.hold();
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    proxy.upgrade(&config, None).unwrap();
    assert_eq!(proxy.site("a")["on_hold"], true, "an operator's hold outlives the process");
    assert!(proxy.ended().is_none(), "it waits for the held one");
    assert_eq!(proxy.held(), 1, "the new process counts it, too");
    proxy.until_well(&b);
    assert_eq!(proxy.handoff(&b).0, 200);
    assert_eq!(held.join().unwrap().text(), "B GET 0");
    proxy.until_elder_ended();
    assert_eq!((a.count(), proxy.epoch()), (0, 2));
}

#[test]
fn a_pin_does_not_move_while_the_old_process_has_a_request_of_it() {
    let (a, go_on) = slow("A");
    let b = Backend::named("B");
    let config = config(&[&a, &b]).handoff("drain_timeout = '10m'");
    let mut proxy = Proxy::start(&config);
    let slow = proxy.get_meanwhile("/slow");
    until("it is under way", || a.count() == 1);
    proxy.upgrade(&config, None).unwrap();
    proxy.until_well(&b);
    assert_eq!(proxy.in_flight(), 1, "the new process counts it, too");
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| proxy.handoff(&b));
        until("it waits", || proxy.site("a")["phase"] == "draining");
        let waits_for = proxy.site("a")["waiting_for"].as_str().unwrap_or_default().to_owned();
        assert!(waits_for.ends_with("the process before this one still has requests of it"), "{waits_for}");
        let late = proxy.get_meanwhile("/");
        until("who comes now waits", || proxy.held() == 1);
        assert_eq!(b.count(), 0);
        go_on.send(()).unwrap();
        assert_eq!(slow.join().unwrap().text(), "A");
        assert_eq!(moving.join().unwrap().0, 200);
        assert_eq!(late.join().unwrap().text(), "B GET 0");
    });
    proxy.until_elder_ended();
}

#[test]
fn what_the_old_process_does_not_end_in_time_is_cut_before_the_pin_moves() {
    let (a, _go_on) = slow("A");
    let b = Backend::named("B");
    let config = config(&[&a, &b]).handoff("drain_timeout = '100ms'");
    let mut proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.post("a.test", "/slow", "x");
    until("it is under way", || a.count() == 1);
    proxy.upgrade(&config, None).unwrap();
    proxy.until_well(&b);
    assert_eq!(proxy.handoff(&b).0, 200);
    assert_eq!(client.response().status, 502, "whether it was carried out is not known");
    assert_eq!(proxy.get("/").text(), "B GET 0");
    proxy.until_elder_ended();
}

#[test]
fn a_request_of_the_old_process_whose_backend_dies_is_answered_by_the_next_one() {
    let (mut a, _go_on) = slow("A");
    let b = Backend::named("B");
    let config = config(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    proxy.until_well(&b);
    let slow = proxy.get_meanwhile("/slow");
    until("it is under way", || a.count() == 1);
    proxy.upgrade(&config, None).unwrap();
    a.stop();
    assert_eq!(slow.join().unwrap().text(), "B GET 0");
    assert_eq!(proxy.pinned(), b.address);
    proxy.until_elder_ended();
}

#[test]
fn a_websocket_goes_on_in_the_old_process_until_its_time_is_over() {
    let a = Backend::with("A", crate::tunnel::echo);
    let mut config = config(&[&a]);
    config.server += "\nshutdown_timeout = '8s'";
    let mut proxy = Proxy::start(&config);
    let mut client = proxy.client();
    crate::tunnel::upgrade(&mut client);
    proxy.upgrade(&config, None).unwrap();
    client.send("hello");
    assert_eq!(client.reader.exactly(5).unwrap(), b"HELLO");
    let refused = proxy.upgrade(&config, None).unwrap_err();
    assert!(refused.contains("still has requests"), "{refused}");
    proxy.until_elder_ended();
    assert!(client.is_closed());
    proxy.upgrade(&config, None).unwrap();
}

#[test]
fn sigusr2_asks_for_the_same_as_the_command() {
    let a = Backend::named("A");
    let mut proxy = Proxy::start(&config(&[&a]));
    proxy.signal(Signal::USR2);
    proxy.until_elder_ended();
    proxy.until_logged("upgraded: the new process serves");
    assert_eq!(proxy.get("/").text(), "A GET 0");
    let heir = proxy.pid_that_serves().cast_signed();
    kill_process(Pid::from_raw(heir).unwrap(), Signal::TERM).unwrap();
}

#[test]
fn keys_that_need_a_restart_are_in_force_after_an_upgrade() {
    let a = Backend::named("A");
    let before = config(&[&a]);
    let mut proxy = Proxy::start(&before);
    let mut after = before.clone();
    after.server = after.server.replace("threads = 2", "threads = 1");
    after.http = format!("{}, '127.0.0.1:0'", before.http.replace("127.0.0.1", "127.0.0.2"));
    proxy.upgrade(&after, None).unwrap();
    proxy.until_elder_ended();
    let (_, status) = proxy.admin("GET", "/v1/status", "");
    let listening: Vec<&str> =
        status["listening"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(listening[0].starts_with("127.0.0.2:"), "{listening:?}");
    assert_eq!(listening[1], proxy.address.to_string(), "what was listened on before still is");
    for _ in 0..8 {
        assert_eq!(proxy.get("/").text(), "A GET 0", "the queues of the workers that are gone are not");
    }
    let workers = fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    let name = |task: PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
    assert_eq!(workers.filter(|task| name(task.as_ref().unwrap().path()).starts_with("worker-")).count(), 1);
}

#[test]
fn a_site_is_looked_at_although_the_old_process_says_nothing() {
    let (a, go_on) = slow("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start(&config);
    let elder = Pid::from_raw(proxy.pid().cast_signed()).unwrap();
    let slow = proxy.get_meanwhile("/slow");
    until("it is under way", || a.count() == 1);
    proxy.upgrade(&config, None).unwrap();
    kill_process(elder, Signal::STOP).unwrap();
    assert_eq!(proxy.site("a")["in_flight"], 0, "what is known here");
    kill_process(elder, Signal::CONT).unwrap();
    assert_eq!(proxy.in_flight(), 1);
    go_on.send(()).unwrap();
    assert_eq!(slow.join().unwrap().text(), "A");
    proxy.until_elder_ended();
    assert_eq!(proxy.in_flight(), 0);
}

/// With an admin address of this test alone, which can be given to two processes.
fn with_admin_address(config: Config) -> (Config, SocketAddr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed));
    let address = SocketAddr::from((ip, 2019));
    (Config { admin: Some(address), ..config }, address)
}

#[test]
fn a_second_process_with_the_same_admin_address_is_refused() {
    let a = Backend::named("A");
    let (config, address) = with_admin_address(config(&[&a]));
    let proxy = Proxy::start(&config);
    let said = Proxy::start_in_vain(&config);
    assert!(said.contains(&format!("[admin] listen: can't listen on {address}")), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert_eq!(proxy.pid_that_serves(), proxy.pid());
}

#[test]
fn an_upgrade_takes_the_admin_address_over() {
    let a = Backend::named("A");
    let (config, _) = with_admin_address(config(&[&a]));
    let mut proxy = Proxy::start(&config);
    proxy.upgrade(&config, None).unwrap();
    for _ in 0..8 {
        assert_eq!(proxy.pid_that_serves(), proxy.pid(), "nobody else is asked any more");
    }
    proxy.until_elder_ended();
    assert_eq!(proxy.pid_that_serves(), proxy.pid());
    let said = Proxy::start_in_vain(&config);
    assert!(said.contains("in use"), "{said}");
}

/// After an upgrade that has failed for this reason.
#[track_caller]
pub(crate) fn nothing_has_happened(proxy: &mut Proxy, said: &str, why: &str) {
    assert!(said.contains(why), "{said}");
    assert!(said.contains("the old process goes on"), "{said}");
    goes_on(proxy);
}

/// The process that was to be upgraded.
#[track_caller]
pub(crate) fn goes_on(proxy: &mut Proxy) {
    proxy.until_logged("this process goes on");
    assert!(proxy.ended().is_none());
    assert_eq!(proxy.get("/").text(), "A GET 0");
    // It decides, and what it decides is durable.
    let epoch = proxy.epoch();
    proxy.hold();
    proxy.release();
    let to = proxy.site("a")["candidates"][1]["address"].as_str().expect("an address").to_owned();
    until("the move is done", || {
        proxy.admin("POST", "/v1/sites/a/handoff", &format!("{{\"to\": \"{to}\"}}")).0 == 200
    });
    assert!(proxy.epoch() > epoch);
}

/// A program of one line.
fn script(proxy: &Proxy, line: &str) -> PathBuf {
    let path = proxy.path("other-program");
    fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[test]
fn a_program_that_is_no_ghostpin_changes_nothing() {
    for (line, why) in [
        ("exit 3", "exit status: 3"),
        ("exec 0</dev/null; exec sleep 60", "closed its standard input"),
        ("exec sleep 60", "was not ready after 3s (server.upgrade_timeout)"),
    ] {
        let (a, b) = (Backend::named("A"), Backend::named("B"));
        let mut config = config(&[&a, &b]);
        config.server += "\nupgrade_timeout = '3s'";
        let mut proxy = Proxy::start(&config);
        let program = script(&proxy, line);
        let said = proxy.upgrade(&config, Some(&program)).unwrap_err();
        nothing_has_happened(&mut proxy, &said, why);
    }
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = config(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    let said = proxy.upgrade(&config, Some(&proxy.path("not-there"))).unwrap_err();
    nothing_has_happened(&mut proxy, &said, "can't be started");
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let good = config(&[&a, &b]);
    let mut proxy = Proxy::start(&good);
    let mut wrong = good.clone();
    wrong.hold = "timeout = 'soon'".into();
    let said = proxy.upgrade(&wrong, None).unwrap_err();
    nothing_has_happened(&mut proxy, &said, "hold.timeout");
}

#[test]
fn a_new_process_that_reaches_no_backend_changes_nothing() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let good = config(&[&a, &b]);
    let mut proxy = Proxy::start(&good);
    proxy.until_well(&a);
    let mut blind = good.clone();
    blind.health = "path = '/probe'\nexpect = '299'".into();
    let said = proxy.upgrade(&blind, None).unwrap_err();
    nothing_has_happened(&mut proxy, &said, "site `a` is not well here (status 200)");
}

/// The new process that the one under test has started, which may run hooks as well.
fn child_of(parent: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let is_heir = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().contains("--heir")
    };
    Pid::from_raw(children.split_whitespace().find(is_heir)?.parse().ok()?)
}

/// Upgrades to a process that this signal is sent while it is being watched.
fn signalled(signal: Signal, why: &str) {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a, &b]);
    config.server += "\nupgrade_probation = '10m'";
    let mut proxy = Proxy::start(&config);
    let (elder, log) = (proxy.pid(), proxy.path("log"));
    let signalling = std::thread::spawn(move || {
        until("it is ready", || fs::read_to_string(&log).unwrap_or_default().contains("it is watched for"));
        kill_process(child_of(elder).expect("a heir"), signal).unwrap();
    });
    let said = proxy.upgrade(&config, None).unwrap_err();
    signalling.join().unwrap();
    nothing_has_happened(&mut proxy, &said, why);
}

#[test]
fn a_new_process_that_dies_while_it_is_watched_changes_nothing() {
    signalled(Signal::KILL, "signal: 9");
}

#[test]
fn a_new_process_that_gets_stuck_while_it_is_watched_changes_nothing() {
    signalled(Signal::STOP, "it is stuck");
}

/// Waits until somebody waits for the lock of this folder.
fn until_waited_for(folder: &Path) {
    let file = format!(":{} ", fs::metadata(folder).unwrap().ino());
    let is_waiting = |line: &str| line.contains("-> FLOCK") && line.contains(&file);
    until("its lock is waited for", || fs::read_to_string("/proc/locks").unwrap().lines().any(is_waiting));
}

#[test]
fn a_new_process_that_cant_have_the_pins_changes_nothing() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = config(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    let state = fs::File::open(proxy.path("state")).unwrap();
    let log = proxy.path("log");
    // Whoever waits for a lock has it before anybody who only tries.
    let disturbing = std::thread::spawn(move || {
        state.lock().unwrap();
        until("the new one is told", || {
            fs::read_to_string(&log).unwrap_or_default().contains("is in use by another process")
        });
    });
    until_waited_for(&proxy.path("state"));
    let said = proxy.upgrade(&config, None).unwrap_err();
    disturbing.join().unwrap();
    nothing_has_happened(&mut proxy, &said, "is in use by another process");
}

#[test]
fn who_asks_for_an_upgrade_that_fails_at_a_stop_is_not_told_that_the_old_process_goes_on() {
    let a = Backend::named("A");
    let mut proxy = Proxy::start(&config(&[&a]));
    let state = fs::File::open(proxy.path("state")).unwrap();
    let log = proxy.path("log");
    let logged = move |said: &str| fs::read_to_string(&log).unwrap_or_default().contains(said);
    let elder = Pid::from_raw(proxy.pid().cast_signed()).unwrap();
    // Whoever waits for a lock has it before anybody who only tries.
    let disturbing = std::thread::spawn(move || {
        state.lock().unwrap();
        until("the new one is told", || logged("is in use by another process"));
        kill_process(elder, Signal::TERM).unwrap();
        until("the old one has heard of it", || logged("stopping: SIGTERM"));
    });
    until_waited_for(&proxy.path("state"));
    let said = proxy.ask_for_upgrade(&proxy.path("ghostpin.toml"), None).unwrap_err();
    disturbing.join().unwrap();
    assert!(said.contains("ghostpin is stopping") && !said.contains("goes on"), "{said}");
    proxy.until_elder_ended();
}

#[test]
fn who_is_started_while_another_process_is_upgraded_leaves_the_pins_to_it() {
    let a = Backend::named("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start(&config);
    proxy.kill();
    let (upgraded, pins) = (proxy.path("state/elder.lock"), proxy.path("state"));
    let upgraded = fs::File::create(upgraded).unwrap();
    upgraded.lock().unwrap();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| proxy.kill_and_restart(&config));
        // It looks again every 20 ms.
        std::thread::sleep(Duration::from_millis(500));
        fs::File::open(&pins).unwrap().try_lock().expect("nobody has the pins");
        assert!(!starting.is_finished(), "it waits for the end of the upgrade");
        upgraded.unlock().unwrap();
        starting.join().unwrap();
    });
    assert_eq!(proxy.get("/").text(), "A GET 0");
}

#[test]
fn who_waits_for_a_site_that_an_upgrade_removes_is_told_so() {
    let a = Backend::named("A");
    let mut config = config(&[&a]).site("b", &[&a], "app = 'generic'");
    let mut proxy = Proxy::start(&config);
    proxy.hold();
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    config.remove_site("a");
    proxy.upgrade(&config, None).unwrap();
    assert_eq!(held.join().unwrap().status, 404);
    proxy.until_elder_ended();
}

#[test]
fn signals_for_a_process_that_was_upgraded_are_for_the_one_that_serves() {
    let (a, go_on) = slow("A");
    let mut config = config(&[&a]);
    config.log = "access_to = './access.log'".into();
    let mut proxy = Proxy::start(&config);
    let slow = proxy.get_meanwhile("/slow");
    until("it is under way", || a.count() == 1);
    let elder = Pid::from_raw(proxy.pid().cast_signed()).unwrap();
    proxy.upgrade(&config, None).unwrap();
    let log = proxy.path("access.log");
    fs::rename(&log, proxy.path("access.log.1")).unwrap();
    kill_process(elder, Signal::USR1).unwrap();
    until("there is a new file", || log.exists());
    proxy.write(&config.site("late", &[&a], "app = 'generic'"));
    kill_process(elder, Signal::HUP).unwrap();
    until("the site is served", || proxy.client().get("late.test", "/").status == 200);
    until("both write there", || fs::read_to_string(&log).unwrap().contains("late.test"));
    go_on.send(()).unwrap();
    assert_eq!(slow.join().unwrap().text(), "A");
    until("the old one does as well", || fs::read_to_string(&log).unwrap().contains("/slow"));
    proxy.until_elder_ended();
}

#[test]
fn an_interrupt_that_comes_twice_cuts_what_is_under_way_in_both_processes() {
    let (a, _go_on) = slow("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start(&config);
    let mut slow = proxy.client();
    slow.ask("GET", "a.test", "/slow");
    until("it is under way", || a.count() == 1);
    let elder = Pid::from_raw(proxy.pid().cast_signed()).unwrap();
    proxy.upgrade(&config, None).unwrap();
    let heir = proxy.pid();
    // As a terminal does, which tells both.
    for _ in 0..2 {
        kill_process(elder, Signal::INT).unwrap();
        until("it was heard", || proxy.log().contains("told to stop"));
    }
    proxy.signal(Signal::INT);
    proxy.until_elder_ended();
    until("the new process has ended", || has_ended(heir));
}

#[test]
fn when_the_new_process_dies_the_old_one_lets_nothing_more_through() {
    let (a, go_on) = slow("A");
    let b = Backend::named("B");
    let config = config(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.post("a.test", "/slow", "x");
    until("it is under way", || a.count() == 1);
    proxy.upgrade(&config, None).unwrap();
    proxy.signal(Signal::KILL);
    assert_eq!(client.response().status, 502, "nobody vouches for the backend any more");
    drop(go_on);
    proxy.until_elder_ended();
    proxy.kill_and_restart(&config);
    assert_eq!(proxy.get("/").text(), "A");
}

#[test]
fn a_supervisor_stays_when_another_process_takes_over_and_ends_with_the_last_one() {
    let a = Backend::named("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start_supervised(&config);
    let before = proxy.pid_that_serves();
    proxy.upgrade(&config, None).unwrap();
    until("the old process has ended", || !fs::exists(format!("/proc/{before}")).unwrap());
    assert!(proxy.ended().is_none(), "the supervisor stays");
    assert_eq!(proxy.get("/").text(), "A GET 0");
    proxy.signal_supervisor(Signal::TERM);
    until("both have ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success(), "the signal was passed on");
}

#[test]
fn a_supervisor_ends_with_what_the_process_that_serves_has_ended_with() {
    let a = Backend::named("A");
    let config = config(&[&a]);
    let mut proxy = Proxy::start_supervised(&config);
    proxy.upgrade(&config, None).unwrap();
    proxy.signal(Signal::KILL);
    until("it has ended", || proxy.ended().is_some());
    assert_eq!(proxy.ended().unwrap().code(), Some(128 + 9));
}
