//! SIGHUP: a new configuration is put in force in one step, or not at all.

use std::sync::{Mutex, mpsc};

use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

#[test]
fn unchanged_sites_keep_their_connections_and_held_requests_over_a_reload() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a]);
    let proxy = Proxy::start(&config);
    let mut kept = proxy.client();
    assert_eq!(kept.get("a.test", "/").text(), "A GET 0");
    proxy.hold();
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    config.set_site("b", "b.test", &[&b], "app = 'generic'");
    proxy.reload(&config);
    until("the new site serves", || proxy.site("b")["phase"] == "serving");
    assert_eq!(proxy.held(), 1);
    assert_eq!(kept.get("b.test", "/").text(), "B GET 0", "on a connection that was there before");
    proxy.release();
    assert_eq!(held.join().unwrap().text(), "A GET 0");
    assert_eq!((kept.get("a.test", "/").text().as_str(), proxy.epoch()), ("A GET 0", 1));
}

#[test]
fn a_removed_site_is_404_and_its_answers_under_way_come_to_their_end() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    a.does(move |_, conn| {
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        conn.answer(200, "finished");
    });
    let mut config = Config::of(&[&a]).site("b", &[&b], "app = 'generic'");
    let proxy = Proxy::start(&config);
    let under_way = proxy.get_meanwhile("/");
    until("it is under way", || a.count() == 1);
    config.remove_site("a");
    proxy.reload(&config);
    assert_eq!(proxy.get("/").status, 404);
    go_on.send(()).unwrap();
    assert_eq!(under_way.join().unwrap().text(), "finished");
    assert_eq!(proxy.client().get("b.test", "/").text(), "B GET 0");
}

#[test]
fn a_held_request_of_a_removed_site_is_answered_at_once() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a]).site("b", &[&b], "app = 'generic'");
    let proxy = Proxy::start(&config);
    proxy.hold();
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    config.remove_site("a");
    proxy.reload(&config);
    assert_eq!(held.join().unwrap().status, 404);
}

#[test]
fn a_pinned_backend_that_is_removed_is_left_by_a_handoff() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a, &b]);
    let proxy = Proxy::start(&config);
    proxy.until_well(&b);
    assert_eq!(proxy.get("/").text(), "A GET 0");
    config.set_site("a", "a.test", &[&b], "app = 'generic'");
    proxy.reload(&config);
    until("the pin has moved", || proxy.pinned() == b.address && proxy.site("a")["phase"] == "serving");
    assert_eq!((proxy.get("/").text().as_str(), proxy.epoch()), ("B GET 0", 2));
}

#[test]
fn a_broken_file_changes_nothing_and_is_named() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]);
    let proxy = Proxy::start(&config);
    let good = config.limits.clone();
    config.limits = "max_conections = 7".into();
    proxy.reload(&config);
    let ready = || proxy.admin("GET", "/readyz", "");
    let (status, said) = ready();
    assert_eq!(status, 200, "it serves by the last good state");
    assert!(said.as_str().unwrap().contains("refused"), "{said}");
    let why = proxy.admin("GET", "/v1/status", "").1["refused_update"].to_string();
    assert!(why.contains("ghostpin.toml") && why.contains("max_conections"), "{why}");
    assert_eq!(proxy.get("/").text(), "A GET 0");
    config.limits = good;
    proxy.reload(&config);
    assert_eq!(ready().1, "ready\n");
}

#[test]
fn two_sites_with_one_host_are_refused_by_name() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a]);
    let proxy = Proxy::start(&config);
    config.set_site("thief", "A.TEST", &[&b], "app = 'generic'");
    proxy.reload(&config);
    let why = proxy.admin("GET", "/v1/status", "").1["refused_update"].to_string();
    assert!(why.contains("`thief`") && why.contains("`a`"), "{why}");
    assert_eq!(proxy.get("/").text(), "A GET 0");
}

#[test]
fn what_changes_in_the_file_takes_effect() {
    let a = Backend::named("A");
    let mut config = Config::of(&[&a]);
    config.log = "access = false".into();
    let proxy = Proxy::start(&config);
    proxy.get("/unseen");
    config.log = "access = true".into();
    config.hold = "timeout = '100ms'\nmax_requests = 1".into();
    config.limits = "keep_alive_timeout = '200ms'".into();
    proxy.reload(&config);
    let mut client = proxy.client();
    client.get("a.test", "/seen");
    proxy.until_logged("/seen");
    assert!(!proxy.log().contains("/unseen"));
    assert!(client.is_closed(), "the new time for idle connections");
    proxy.hold();
    let response = proxy.get("/");
    assert_eq!(response.status, 503, "the new time for held requests");
}

#[test]
fn a_site_that_was_removed_and_is_added_again_goes_on_with_its_epoch_and_pin() {
    let (a, b, c) = (Backend::named("A"), Backend::named("B"), Backend::named("C"));
    let mut config = Config::of(&[&a, &b]).site("c", &[&c], "app = 'generic'");
    let proxy = Proxy::start(&config);
    proxy.until_well(&b);
    assert_eq!(proxy.handoff(&b).0, 200);
    assert_eq!(proxy.epoch(), 2);
    config.remove_site("a");
    proxy.reload(&config);
    assert_eq!(proxy.admin("GET", "/v1/sites/a", "").0, 404);
    config.set_site("a", "a.test", &[&a, &b], "app = 'generic'");
    proxy.reload(&config);
    until("it serves", || proxy.site("a")["phase"] == "serving");
    assert_eq!((proxy.get("/").text().as_str(), proxy.epoch()), ("B GET 0", 2));
}

#[test]
fn a_host_moves_from_one_site_to_another_in_one_step() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a]).site("b", &[&b], "app = 'generic'");
    let proxy = Proxy::start(&config);
    let address = proxy.address;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut client = crate::harness::Client::to(address);
            let mut seen = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let response = client.get("a.test", "/");
                assert_eq!(response.status, 200, "{response:?}");
                seen.push(response.text());
            }
            seen
        });
        for round in 0..10 {
            let (of_a, of_b) = if round % 2 == 0 { ("b.test", "a.test") } else { ("a.test", "b.test") };
            config.set_site("a", of_a, &[&a], "app = 'generic'");
            config.set_site("b", of_b, &[&b], "app = 'generic'");
            proxy.reload(&config);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let seen = reader.join().unwrap();
        assert!(seen.contains(&"A GET 0".to_owned()) || seen.contains(&"B GET 0".to_owned()));
    });
    assert_eq!(proxy.get("/").text(), "A GET 0");
}

#[test]
fn a_held_request_follows_its_host_to_the_site_that_has_it_now() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a]);
    let proxy = Proxy::start(&config);
    proxy.hold();
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    config.remove_site("a");
    config.set_site("b", "a.test", &[&b], "app = 'generic'\n[site.headers]\nx-site-id = 'b'");
    proxy.reload(&config);
    assert_eq!(held.join().unwrap().text(), "B GET 0");
    assert_eq!(b.only_request().field("x-site-id"), Some("b"));
}
