//! An edge is upgraded in place: the new process is another edge, and the old one is one until its last request has ended.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::thread;
use std::time::Duration;

use ghostpin::control::store::PinStore;
use rustix::process::Signal;

use crate::rig::{Edge, Given, PATIENCE, Rig, until};

fn answer(mut reader: UnixStream) -> String {
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    answer
}

/// Moves the pin, as soon as there is a controller that knows of the candidate.
fn move_to(edge: &Edge, backend: &str) {
    until("the move is done", || {
        edge.says(&["handoff", "blog", "--to", backend]).status.success().then_some(())
    });
}

/// Asks for a move of the pin, and upgrades the edge while that waits for a request; what came of both. `meanwhile` lets the
/// request end, or doesn't.
fn upgrade_in_a_move(edge: &mut Edge, to: &str, meanwhile: impl FnOnce()) -> Output {
    let (heir, said) = thread::scope(|scope| {
        let moving = scope.spawn(|| edge.says(&["handoff", "blog", "--to", to]));
        until("it waits", || (edge.site()["phase"] == "draining").then_some(()));
        let heir = edge.try_upgrade();
        meanwhile();
        (heir, moving.join().unwrap())
    });
    edge.heirs.push(heir.unwrap());
    said
}

#[test]
fn requests_that_are_held_in_the_old_process_go_where_the_fleet_says() {
    let (rig, _etcd, mut edge) = Rig::serving();
    assert!(edge.says(&["hold", "blog"]).status.success());
    edge.until_shut();
    let held = edge.ask();
    until("it is held", || (edge.site()["held"] == 1).then_some(()));
    edge.upgrade().unwrap();
    assert_eq!(rig.edges().len(), 2, "both live");
    let late = edge.ask();
    until("the new one holds as well", || (edge.site()["held"] == 1).then_some(()));
    move_to(&edge, &rig.backends()[1]);
    assert!(answer(held).starts_with("HTTP/1.1 200 "));
    assert!(answer(late).starts_with("HTTP/1.1 200 "));
    assert!(edge.process.ended(), "{}", edge.log());
    assert_eq!(rig.edges().len(), 1, "the old one has left");
    assert!(edge.serves());
}

#[test]
fn a_pin_does_not_move_while_the_old_process_has_a_request_of_it() {
    let (rig, _etcd, mut edge) = Rig::serving();
    let mut slow = edge.begin_to_post();
    until("it is under way", || (edge.site()["in_flight"] == 1).then_some(()));
    edge.upgrade().unwrap();
    until("the new one is the controller", || edge.leads().then_some(()));
    until("the other instance is well", || {
        let site = edge.site();
        let mut candidates = site["candidates"].as_array()?.iter();
        candidates.all(|candidate| candidate["health"] == "well").then_some(())
    });
    thread::scope(|scope| {
        let moving = scope.spawn(|| edge.says(&["handoff", "blog", "--to", &rig.backends()[1]]));
        until("it waits", || (edge.site()["phase"] == "draining").then_some(()));
        edge.until_shut();
        let late = edge.ask();
        until("who comes now waits", || (edge.site()["held"] == 1).then_some(()));
        assert!(!moving.is_finished());
        slow.write_all(b"x").unwrap();
        assert!(answer(slow).starts_with("HTTP/1.1 200 "));
        let moved = moving.join().unwrap();
        assert!(moved.status.success(), "{moved:?}");
        assert!(answer(late).starts_with("HTTP/1.1 200 "));
    });
    assert!(edge.process.ended(), "{}", edge.log());
}

#[test]
fn what_the_old_process_was_asked_for_it_answers_though_it_has_no_requests_any_more() {
    let (rig, _etcd, mut edge) = Rig::serving();
    let mut slow = edge.begin_to_post();
    until("it is under way", || (edge.site()["in_flight"] == 1).then_some(()));
    let moved = upgrade_in_a_move(&mut edge, &rig.backends()[1], || slow.write_all(b"x").unwrap());
    assert!(moved.status.success(), "{moved:?}");
    assert!(edge.process.ended(), "{}", edge.log());
    assert_eq!(edge.site()["backend"], rig.backends()[1]);
}

#[test]
fn a_wish_that_takes_long_does_not_keep_the_old_process_in_office() {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    let patient = "[handoff]\ndrain_timeout = \"1h\"";
    let mut edge = rig.edge_of("edge-1", &Given::default(), patient, &rig.site("blog", ""));
    until("the edge serves", || edge.serves().then_some(()));
    let slow = edge.begin_to_post();
    until("it is under way", || (edge.site()["in_flight"] == 1).then_some(()));
    let said = upgrade_in_a_move(&mut edge, &rig.backends()[1], || {});
    let why = String::from_utf8(said.stderr).unwrap();
    assert!(why.contains("another controller now"), "{why}");
    until("the new one is the controller", || edge.leads().then_some(()));
    drop(slow);
    assert!(edge.process.ended(), "{}", edge.log());
    until("it serves", || edge.serves().then_some(()));
}

#[test]
fn the_old_process_stays_in_office_for_as_long_as_its_hook_runs() {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    let (ran, go_on) = (rig.path("ran"), rig.path("go-on"));
    let script = format!("echo once >> {ran}; until [ -e {go_on} ]; do sleep 0.05; done");
    let hook = format!("hooks.fence = {{ command = [\"sh\", \"-c\", {script:?}], timeout = \"1h\" }}");
    let patient = "[handoff]\ndrain_timeout = \"1h\"";
    let mut edge = rig.edge_of("edge-1", &Given::default(), patient, &rig.site("blog", &hook));
    until("the edge serves", || edge.serves().then_some(()));
    let mut slow = edge.begin_to_post();
    until("it is under way", || (edge.site()["in_flight"] == 1).then_some(()));
    let moved = upgrade_in_a_move(&mut edge, &rig.backends()[1], || {
        slow.write_all(b"x").unwrap();
        until("the hook runs", || fs::exists(&ran).unwrap().then_some(()));
        // Longer than anybody who asks is waited for.
        thread::sleep(Duration::from_secs(6));
        fs::write(&go_on, "").unwrap();
    });
    assert!(moved.status.success(), "{moved:?}\n{}", edge.log());
    assert_eq!(fs::read_to_string(&ran).unwrap(), "once\n");
    until("the new one is the controller", || edge.leads().then_some(()));
    assert!(edge.process.ended(), "{}", edge.log());
}

#[test]
fn what_is_asked_for_right_after_an_upgrade_the_new_process_is_asked_for() {
    let (_rig, _etcd, mut edge) = Rig::serving();
    let lease = |edge: &Edge| edge.status()["fleet"]["lease"].as_str().unwrap_or_default().to_owned();
    let before = lease(&edge);
    let slow = edge.begin_to_post();
    until("it is under way", || (edge.site()["in_flight"] == 1).then_some(()));
    edge.upgrade().unwrap();
    for _ in 0..20 {
        let now = lease(&edge);
        assert!(!now.is_empty() && now != before, "{now:?} has answered, and {before:?} was before");
    }
    drop(slow);
    assert!(edge.process.ended(), "{}", edge.log());
}

/// The lease of whoever has won the election.
fn controller(rig: &Rig) -> Option<String> {
    let mut stand: Vec<String> = rig
        .keys()
        .into_iter()
        .filter_map(|key| key.strip_prefix("/ghostpin/controller/").map(str::to_owned))
        .collect();
    (stand.len() == 1).then(|| stand.remove(0))
}

#[test]
fn the_old_process_is_the_controller_no_more_though_it_still_has_requests() {
    let (rig, _etcd, mut edge) = Rig::serving();
    let before = until("there is a controller", || controller(&rig));
    let slow = edge.begin_to_post();
    until("it is under way", || (edge.site()["in_flight"] == 1).then_some(()));
    edge.upgrade().unwrap();
    until("the new one is the controller", || controller(&rig).filter(|now| *now != before));
    until("it says so", || {
        let edges = edge.says(&["edges", "--json"]);
        let edges: serde_json::Value = serde_json::from_slice(&edges.stdout).unwrap();
        let is_it = |one: &serde_json::Value| one["controller"] == true && one["this"] == true;
        edges["edges"].as_array()?.iter().any(is_it).then_some(())
    });
    assert_eq!(rig.edges().len(), 2);
    drop(slow);
    assert!(edge.process.ended(), "{}", edge.log());
}

/// Says to an edge what another one says that brings it a request; whether it is taken.
fn is_taken(offer: &serde_json::Value, epoch: &serde_json::Value) -> bool {
    let mut other = TcpStream::connect(offer["address"].as_str().unwrap()).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = offer["token"].as_str().unwrap();
    other.write_all(format!("DETOUR 1 {token} {epoch} blog\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = other.take(3).read_to_end(&mut answer);
    answer == b"OK\n"
}

#[test]
fn edges_that_bring_requests_bring_them_to_the_new_process_by_the_same_word() {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    let takes = format!("detour = \"{}:0\"", rig.ip());
    let mut edge = rig.edge_of("edge-1", &Given::default(), &takes, &rig.site("blog", ""));
    until("the edge serves", || edge.serves().then_some(()));
    let key = || rig.keys().into_iter().find(|key| key.starts_with("/ghostpin/detours/"));
    let offer = serde_json::from_str(&rig.value(&until("it offers so", key))).unwrap();
    let epoch = edge.site()["epoch"].clone();
    assert!(is_taken(&offer, &epoch));
    let slow = edge.begin_to_post();
    until("it is under way", || (edge.site()["in_flight"] == 1).then_some(()));
    edge.upgrade().unwrap();
    for _ in 0..20 {
        assert!(is_taken(&offer, &epoch), "beside the old one");
    }
    drop(slow);
    assert!(edge.process.ended(), "{}", edge.log());
    assert!(is_taken(&offer, &epoch));
}

#[test]
fn a_new_process_that_cant_join_changes_nothing() {
    let (rig, _etcd, mut edge) = Rig::serving();
    let good = fs::read_to_string(&edge.config).unwrap();
    fs::write(&edge.config, good.replace(":2379", ":1")).unwrap();
    let said = edge.upgrade().unwrap_err();
    assert!(said.contains("has not joined the fleet after 5s"), "{said}");
    assert!(said.contains("the old process goes on"), "{said}");
    assert!(edge.serves());
    move_to(&edge, &rig.backends()[1]);
    assert!(answer(edge.ask()).starts_with("HTTP/1.1 200 "));
    fs::write(&edge.config, good).unwrap();
    edge.upgrade().unwrap();
    assert!(edge.process.ended(), "{}", edge.log());
    assert!(edge.serves());
}

#[test]
fn what_the_edge_learns_while_a_new_process_tries_is_on_the_disk_when_that_has_failed() {
    let (rig, _etcd, mut edge) = Rig::serving();
    let epoch = edge.site()["epoch"].as_u64().unwrap();
    let good = fs::read_to_string(&edge.config).unwrap();
    fs::write(&edge.config, good.replace(":2379", ":1")).unwrap();
    let to = rig.backends()[1].clone();
    thread::scope(|scope| {
        let upgrading = scope.spawn(|| edge.try_upgrade());
        edge.until_logged("it takes over");
        move_to(&edge, &to);
        assert!(!upgrading.is_finished(), "it has not tried for long enough to say anything");
        assert!(upgrading.join().unwrap().is_err());
    });
    assert_eq!(edge.site()["epoch"], epoch + 1);
    edge.process.signal(Signal::TERM);
    assert!(edge.process.ended());
    let mut store = PinStore::open(&edge.state, false).unwrap().store;
    let pin = store.read_all().unwrap()[&"blog".into()].clone();
    assert_eq!((pin.epoch.0, pin.backend.to_string()), (epoch + 1, to));
}

#[test]
fn a_reload_is_refused_while_a_new_process_joins_that_would_not_know_of_it() {
    let (rig, _etcd, mut edge) = Rig::serving();
    let good = fs::read_to_string(&edge.config).unwrap();
    fs::write(&edge.config, good.replace(":2379", ":1")).unwrap();
    let more = rig.site("blog", "") + &rig.site("late", "");
    thread::scope(|scope| {
        let upgrading = scope.spawn(|| edge.try_upgrade());
        until("it has the disk", || (edge.log().matches("pins read").count() == 1).then_some(()));
        let said = edge.reload(&more);
        assert!(!upgrading.is_finished(), "it has not tried for long enough to say anything");
        let why = String::from_utf8(said.stderr).unwrap();
        assert!(!said.status.success() && why.contains("another process is taking over"), "{why}");
        assert!(upgrading.join().unwrap().is_err());
    });
    assert!(edge.reload(&more).status.success());
    edge.upgrade().unwrap();
    assert_eq!(edge.status()["sites"], 2);
    assert!(edge.process.ended(), "{}", edge.log());
}

#[test]
fn a_new_process_of_another_fleet_is_none() {
    let (_rig, _etcd, mut edge) = Rig::serving();
    let good = fs::read_to_string(&edge.config).unwrap();
    let alone = good.split("[cluster]").next().unwrap().to_owned() + &good[good.find("[[site]]").unwrap()..];
    for (text, said_of_it) in [
        (good.replace("name = \"edge-1\"", "name = \"edge-1\"\nprefix = \"/other\""), "the fleet `/other`"),
        (alone, "the new one is alone"),
    ] {
        fs::write(&edge.config, text).unwrap();
        let said = edge.upgrade().unwrap_err();
        assert!(said.contains("is an edge of the fleet `/ghostpin`") && said.contains(said_of_it), "{said}");
        assert!(edge.serves());
    }
}
