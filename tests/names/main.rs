//! Backends given by name: a real proxy, a real DNS server whose answers the test changes, and what becomes of pins.

mod dns;
mod phases;
mod rig;

use std::time::{Duration, Instant};

use dns::Answer;
use rig::{Readers, Rig};

/// Sites are looked at until they are as expected, or until this has passed.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_name_that_moves_is_handed_off_under_a_new_epoch_and_no_reader_sees_an_error() {
    let rig = Rig::new(Answer::at(&[2]), 1);
    let (_a, _b) = (rig.instance(2), rig.instance(3));
    let proxy = rig.start();
    proxy.until("it serves", |site| site["epoch"] == 1 && site["backend"] == rig.backend(2));
    let readers = Readers::start(&proxy);
    readers.until_answers(20);
    rig.dns.answer(Answer::at(&[3]));
    proxy.until("the pin has followed", |site| {
        site["epoch"] == 2 && site["backend"] == rig.backend(3) && site["phase"] == "serving"
    });
    readers.until_answers(20);
    let seen = readers.stop();
    assert!(seen.iter().all(|(status, _)| *status == 200), "{seen:?}");
    let mut instances: Vec<&str> = seen.iter().map(|(_, instance)| instance.as_str()).collect();
    instances.dedup();
    assert_eq!(instances, ["127.0.0.2", "127.0.0.3"], "one after the other, and never back");
    let journal = proxy.admin("/v1/journal?site=blog");
    let kinds: Vec<&str> = journal.as_array().unwrap().iter().filter_map(|e| e["kind"].as_str()).collect();
    assert!(kinds.contains(&"moved"), "{kinds:?}");
    let names = proxy.site()["candidates"].as_array().unwrap().len();
    assert_eq!(names, 1, "the old instance is forgotten");
}

#[test]
fn several_addresses_are_a_conflict_and_the_pin_stays() {
    let rig = Rig::new(Answer::at(&[2]), 1);
    let (_a, _b, _c) = (rig.instance(2), rig.instance(3), rig.instance(4));
    let proxy = rig.start();
    proxy.until("it serves", |site| site["epoch"] == 1);
    // With the pinned one among them, and without.
    for two in [[2, 3], [3, 4]] {
        rig.dns.answer(Answer::at(&two));
        let addresses: Vec<String> = two.iter().map(|last| format!("127.0.0.{last}")).collect();
        let site = proxy.until("the alarm is raised", |site| {
            site["names"][0]["conflict"] == true
                && site["names"][0]["addresses"] == serde_json::json!(addresses)
        });
        assert_eq!(site["conflicts"][0], rig.name());
        assert_eq!(proxy.admin("/v1/status")["conflicts"], 1);
        assert_eq!(proxy.admin("/v1/journal?site=blog")[0]["kind"], "conflict");
        // As long as the next looks, and longer than a handoff would take.
        rig.dns.until_asked_again(3);
        let site = proxy.site();
        assert_eq!((&site["epoch"], &site["phase"]), (&1.into(), &"serving".into()), "{site:#}");
        assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
        assert_eq!(site["candidates"].as_array().unwrap().len(), 1, "{site:#}");
    }
    rig.dns.answer(Answer::at(&[2]));
    let site = proxy.until("the alarm is taken back", |site| site["names"][0]["conflict"] == false);
    assert_eq!((&site["epoch"], &site["conflicts"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(proxy.admin("/v1/journal?site=blog")[0]["kind"], "conflict_over");
}

#[test]
fn a_resolver_that_fails_changes_nothing() {
    let rig = Rig::new(Answer::at(&[2]), 1);
    let _a = rig.instance(2);
    let mut proxy = rig.start();
    proxy.until("it serves", |site| site["epoch"] == 1);
    let failures = [
        (Answer::Silent, "no answer within 300ms"),
        (Answer::ServFail, "Server Failure"),
        (Answer::NoSuchName, "no such name"),
    ];
    for (answered, error) in failures {
        rig.dns.answer(answered);
        let site = proxy.until(error, |site| {
            site["names"][0]["error"].as_str().is_some_and(|shown| shown.contains(error))
        });
        assert_eq!(site["names"][0]["addresses"][0], "127.0.0.2", "{error}");
        assert_eq!((&site["epoch"], &site["phase"]), (&1.into(), &"serving".into()), "{error}");
        assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()), "{error}");
    }
    // The stored instance needs no answer to be served by.
    rig.dns.answer(Answer::Silent);
    proxy.kill();
    let proxy = rig.start();
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
    assert_eq!(proxy.site()["epoch"], 1);
    rig.dns.answer(Answer::at(&[2]));
    proxy.until("the name is resolved", |site| site["names"][0]["addresses"][0] == "127.0.0.2");
    assert_eq!(proxy.site()["epoch"], 1);
}

#[test]
fn a_held_site_reopens_soon_after_its_name_moves_whatever_the_time_to_live() {
    let rig = Rig::new(Answer::at(&[2]), 3_600);
    let (a, _b) = (rig.instance(2), rig.instance(3));
    let proxy = rig.start();
    proxy.until("it serves", |site| site["epoch"] == 1);
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
    drop(a);
    let held = proxy.get_in_background();
    proxy.until("the request is held", |site| site["held"] == 1);
    let moved = Instant::now();
    rig.dns.answer(Answer::at(&[3]));
    assert_eq!(held.join().unwrap(), (200, "127.0.0.3".to_owned()));
    let took = moved.elapsed();
    println!("held request answered {took:?} after the name had moved");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(proxy.site()["epoch"], 2);
}

#[test]
fn a_name_that_moved_while_nobody_looked_is_handed_off_after_the_start() {
    let rig = Rig::new(Answer::at(&[2]), 3_600);
    let (_a, _b) = (rig.instance(2), rig.instance(3));
    let mut proxy = rig.start();
    proxy.until("it serves", |site| site["epoch"] == 1);
    proxy.kill();
    rig.dns.answer(Answer::at(&[3]));
    let proxy = rig.start();
    proxy.until("the pin has followed", |site| site["epoch"] == 2 && site["backend"] == rig.backend(3));
    assert_eq!(proxy.get(), (200, "127.0.0.3".to_owned()));
}

#[test]
fn a_site_that_was_never_pinned_waits_for_its_name_without_spinning() {
    let rig = Rig::new(Answer::ServFail, 1);
    let _a = rig.instance(2);
    let began = Instant::now();
    let proxy = rig.start();
    rig.dns.until_asked_again(6);
    let site = proxy.site();
    assert_eq!((&site["epoch"], &site["phase"]), (&0.into(), &"vacant".into()), "{site:#}");
    // Each look asks at most three times: once, and twice again.
    let (asked, looks) = (rig.dns.asked(), 2 + began.elapsed().as_millis() as usize / 250);
    assert!(asked <= 3 * looks, "asked {asked} times in {:?}", began.elapsed());
    rig.dns.answer(Answer::at(&[2]));
    proxy.until("it serves", |site| site["epoch"] == 1 && site["backend"] == rig.backend(2));
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
}
