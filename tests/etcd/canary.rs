//! An update is tried by one edge of the fleet before the others put it in force.

use serde_json::Value;

use crate::rig::{Edge, Given, Rig, until};

const GUARD: &str = "[guard]\ncanary = \"canary\"\ncanary_time = \"1s\"";

/// Two edges that serve `blog`, of which the one that tries updates is not the controller.
fn fleet(rig: &Rig) -> (Edge, Edge) {
    let sites = rig.site("blog", "");
    let other = rig.edge_of("other", &Given::default(), GUARD, &sites);
    until("the other edge serves", || other.serves().then_some(()));
    let canary = rig.edge_of("canary", &Given::default(), GUARD, &sites);
    until("the canary serves", || canary.serves().then_some(()));
    assert_eq!(other.status()["fleet"]["controller"], true, "who was there first");
    (canary, other)
}

/// The canary's word, as an edge has heard it.
fn canary_says(edge: &Edge) -> Value {
    edge.status()["fleet"]["canary"]["says"].clone()
}

/// What of the site's configuration is in force.
fn hold_timeout_ms(edge: &Edge) -> Value {
    edge.site()["terms"]["hold_timeout_ms"].clone()
}

/// The one update that waits.
fn waiting(edge: &Edge) -> Option<Value> {
    let updates = edge.status()["waiting_updates"].clone();
    assert!(updates.as_array().is_none_or(|updates| updates.len() < 2), "{updates}");
    updates.get(0).cloned()
}

#[test]
fn an_update_that_the_canary_finds_good_is_put_in_force_by_the_others_without_a_word() {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    let (canary, other) = fleet(&rig);
    let update = rig.site("blog", "hold.timeout = \"9s\"");
    let said = other.reload(&update);
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("not yet"), "{said:?}");
    let update_waits = waiting(&other).expect("it waits");
    assert_eq!(update_waits["waits_for"], "canary");
    until("the canary has found good what it has started with", || {
        (canary_says(&other) == "good").then_some(())
    });
    assert_eq!(hold_timeout_ms(&other), 15_000, "that is something else");

    assert!(canary.reload(&update).status.success());
    assert_eq!(hold_timeout_ms(&canary), 9_000, "it has it at once");
    until("the other edge has it", || (hold_timeout_ms(&other) == 9_000).then_some(()));
    let status = other.status();
    let seen = &status["fleet"]["canary"];
    assert!(seen["says"] == "good" && seen["fingerprint"] == seen["here"], "{seen}");
    assert_eq!((waiting(&other), other.serves()), (None, true));
    other.until_logged("the configuration was reloaded");
}

#[test]
fn an_update_that_the_canary_finds_bad_waits_for_a_word() {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    let (canary, other) = fleet(&rig);
    until("what it has started with is good", || (canary_says(&other) == "good").then_some(()));
    // No backend ever answers a probe like that. Readers are served all the same.
    let update = rig.site("blog", "hold.timeout = \"9s\"\nhealth = { expect = [204], interval = \"200ms\" }");
    assert!(canary.reload(&update).status.success());
    assert!(other.reload(&update).status.success());
    until("the canary has found it bad", || (canary_says(&other) == "bad").then_some(()));
    let update_waits = waiting(&other).expect("it goes on waiting");
    let why = update_waits["why"].as_str().unwrap();
    let id = update_waits["id"].as_str().unwrap();
    assert!(why.contains("found it bad") && why.contains("1 (blog)"), "{why}");
    assert!(why.contains(&format!("ghostpin confirm {id}")), "{why}");
    let status = other.says(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains(id), "{status:?}");
    assert_eq!((hold_timeout_ms(&other), other.serves()), (15_000.into(), true), "nothing was changed");

    let said = other.says(&["confirm", id]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!((hold_timeout_ms(&other), waiting(&other)), (9_000.into(), None));
}

#[test]
fn an_update_waits_for_a_canary_that_is_not_there() {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    let other = rig.edge_of("other", &Given::default(), GUARD, &rig.site("blog", ""));
    until("the other edge serves", || other.serves().then_some(()));
    let more = rig.site("news", "");
    assert!(other.reload(&(rig.site("blog", "") + &more)).status.success());
    assert_eq!(
        (other.status()["sites"].as_u64(), waiting(&other)),
        (Some(2), None),
        "what is new waits for nobody"
    );

    let update = rig.site("blog", "hold.timeout = \"9s\"") + &more;
    assert!(other.reload(&update).status.success());
    let why = waiting(&other).expect("it waits")["why"].clone();
    assert!(why.as_str().unwrap().contains("that edge is not there"), "{why}");
    // A file that an edge starts with is in force at once, and tried like any other.
    let _canary = rig.edge_of("canary", &Given::default(), GUARD, &update);
    until("the other edge has it", || (hold_timeout_ms(&other) == 9_000).then_some(()));
}
