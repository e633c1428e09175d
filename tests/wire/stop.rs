//! Ends and beginnings of the process.

use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::thread;

use rustix::process::Signal;

use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

#[test]
fn sigterm_lets_requests_under_way_end_and_closes_the_rest() {
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let a = Backend::with("A", move |head, conn| {
        if head.path() == "/slow" {
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        conn.answer(200, "finished");
    });
    let mut proxy = Proxy::start(&Config::of(&[&a]));
    let mut idle = proxy.client();
    assert_eq!(idle.get("a.test", "/").status, 200);
    let mut new = proxy.client();
    let slow = proxy.get_meanwhile("/slow");
    until("it is under way", || a.count() == 2);
    proxy.signal(Signal::TERM);
    assert!(idle.is_closed() && new.is_closed());
    assert!(proxy.ended().is_none(), "it waits for the slow one");
    go_on.send(()).unwrap();
    assert_eq!(slow.join().unwrap().text(), "finished");
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
}

#[test]
fn who_looks_at_readyz_is_told_before_the_door_is_shut() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]);
    config.server = "shutdown_delay = '10m'".into();
    let mut proxy = Proxy::start(&config);
    assert_eq!(proxy.admin("GET", "/readyz", "").0, 200);
    proxy.signal(Signal::TERM);
    until("it says that it stops", || proxy.admin("GET", "/readyz", "").0 == 503);
    assert_eq!(proxy.client().get("a.test", "/").text(), "A GET 0", "who comes nevertheless is served");
    // Who asks again doesn't want to wait.
    proxy.signal(Signal::TERM);
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
}

#[test]
fn who_is_served_while_a_stop_is_near_is_told_to_come_again_elsewhere() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]);
    config.server = "shutdown_delay = '10m'".into();
    let proxy = Proxy::start(&config);
    let mut kept = proxy.client();
    assert_eq!(kept.get("a.test", "/").field("connection"), None);
    proxy.signal(Signal::TERM);
    until("it says that it stops", || proxy.admin("GET", "/readyz", "").0 == 503);
    for mut client in [kept, proxy.client()] {
        let answer = client.get("a.test", "/");
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        assert!(client.is_closed());
    }
}

#[test]
fn held_requests_are_answered_although_a_stop_was_asked_for() {
    let a = Backend::named("A");
    let mut proxy = Proxy::start(&Config::of(&[&a]).hold("timeout = '10m'"));
    let mut idle = proxy.client();
    assert_eq!(idle.get("a.test", "/").status, 200);
    proxy.hold();
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    proxy.signal(Signal::TERM);
    assert!(idle.is_closed());
    assert!(proxy.ended().is_none(), "it waits for the held one");
    proxy.release();
    assert_eq!(held.join().unwrap().text(), "A GET 0");
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
}

#[test]
fn who_is_still_held_at_the_end_is_told_to_come_again() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]).hold("timeout = '10m'");
    config.server = "shutdown_timeout = '2s'".into();
    let mut proxy = Proxy::start(&config);
    proxy.hold();
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    proxy.signal(Signal::TERM);
    let response = held.join().unwrap();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    assert!(response.text().contains("not carried out"));
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
    assert_eq!(a.count(), 0);
}

#[test]
fn who_has_just_connected_is_answered_although_a_stop_was_asked_for() {
    let a = Backend::named("A");
    let mut proxy = Proxy::start(&Config::of(&[&a]));
    let (mut idle, mut new) = (proxy.client(), proxy.client());
    assert_eq!(idle.get("a.test", "/").status, 200);
    until("the new one is accepted", || proxy.metric("ghostpin_connections_accepted_total") == 2);
    proxy.signal(Signal::TERM);
    until("it stops", || TcpStream::connect(proxy.address).is_err());
    for client in [&mut idle, &mut new] {
        let response = client.get("a.test", "/");
        assert_eq!((response.status, response.field("connection")), (200, Some("close")));
        assert!(client.is_closed());
    }
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
}

#[test]
fn an_operator_who_still_waits_at_the_end_is_told_to_look_again() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[]).handoff("prove_timeout = '10m'");
    config.set_site("a", "a.test", &[&a, &b], "app = 'generic'\nhealth = { proof_path = '/proof' }");
    let mut proxy = Proxy::start(&config);
    proxy.until_well(&b);
    b.be_broken();
    let (status, problem) = thread::scope(|scope| {
        let moving = scope.spawn(|| proxy.handoff(&b));
        until("it is proved", || proxy.site("a")["phase"] == "proving");
        proxy.signal(Signal::TERM);
        moving.join().unwrap()
    });
    assert_eq!((status, problem["title"].as_str()), (503, Some("stopping")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("look at the site"), "{problem}");
    until("it has ended", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success());
}

#[test]
fn a_request_that_does_not_end_does_not_keep_the_process() {
    let a = Backend::with("A", |_, conn| drop(conn.reader.rest()));
    let mut config = Config::of(&[&a]);
    config.server = "shutdown_timeout = '300ms'".into();
    let mut proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.ask("GET", "a.test", "/");
    until("it is under way", || proxy.in_flight() == 1);
    proxy.signal(Signal::TERM);
    until("it has ended", || proxy.ended().is_some());
    assert!(client.is_closed());
}

#[test]
fn after_a_kill_the_newest_pin_holds_whatever_is_first_in_the_file() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = Config::of(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    for (round, next) in [&b, &a, &b].into_iter().enumerate() {
        proxy.until_well(next);
        assert_eq!(proxy.handoff(next).0, 200);
        let epoch = round as u64 + 2;
        proxy.kill_and_restart(&config);
        assert_eq!((proxy.pinned(), proxy.epoch()), (next.address.clone(), epoch));
        assert_eq!(proxy.get("/").text(), format!("{} GET 0", next.name));
    }
}

#[test]
fn a_kill_in_the_middle_of_a_handoff_brings_no_older_pin_back() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = Config::of(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    let mut newest = 1;
    for round in 0..6 {
        let next = if proxy.pinned() == a.address { &b } else { &a };
        proxy.until_well(next);
        let to = format!("{{\"to\": \"{}\"}}", next.address);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| proxy.try_admin("POST", "/v1/sites/a/handoff", &to));
            // Not for luck: wherever the kill falls, the promise is the same.
            std::thread::sleep(std::time::Duration::from_millis(round * 4));
            proxy.signal(Signal::KILL);
            if let Some((200, stands)) = asking.join().unwrap() {
                newest = stands["epoch"].as_u64().unwrap();
            }
        });
        proxy.kill_and_restart(&config);
        until("it serves", || proxy.site("a")["phase"] == "serving");
        assert!(proxy.epoch() >= newest, "{} after {newest}", proxy.epoch());
        newest = proxy.epoch();
        let name = if proxy.pinned() == a.address { "A" } else { "B" };
        assert_eq!(proxy.get("/").text(), format!("{name} GET 0"));
    }
}

#[test]
fn a_folder_that_is_no_state_folder_is_left_as_it_is() {
    let a = Backend::named("A");
    let config = Config::of(&[&a]);
    let mut proxy = Proxy::start(&config);
    proxy.kill();
    std::fs::remove_dir_all(proxy.path("state")).unwrap();
    std::fs::create_dir(proxy.path("state")).unwrap();
    let said = proxy.restart_in_vain(&config);
    assert!(said.contains("--adopt"), "{said}");
    assert_eq!(std::fs::read_dir(proxy.path("state")).unwrap().count(), 0);
}

#[test]
fn a_state_folder_that_lost_its_store_is_an_error_with_a_way_out() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = Config::of(&[&a, &b]);
    let mut proxy = Proxy::start(&config);
    proxy.until_well(&b);
    proxy.handoff(&b);
    proxy.kill();
    let mut removed = 0;
    for entry in std::fs::read_dir(proxy.path("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "redb") {
            std::fs::remove_file(path).unwrap();
            removed += 1;
        }
    }
    assert_eq!(removed, 1);
    let said = proxy.restart_in_vain(&config);
    assert!(said.contains("--adopt"), "{said}");
    proxy.restart_adopting(&config);
    proxy.until_serving(&config);
    assert_eq!(proxy.get("/").text(), "A GET 0");
    assert!(proxy.epoch() > 2, "an epoch is never used twice: {}", proxy.epoch());
}

#[test]
fn a_first_backend_that_is_dead_is_left_long_before_the_next_regular_probe() {
    let (a, b) = (Backend::absent("A"), Backend::named("B"));
    let mut config = Config::of(&[&a, &b]);
    config.health = "path = '/probe'\nproof_path = '/probe'\ninterval = '1m'".into();
    let proxy = Proxy::start_unready(&config);
    until("B has the pin", || proxy.site("a")["backend"].as_str() == Some(b.address.as_str()));
}
