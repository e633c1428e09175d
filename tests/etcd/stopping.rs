//! How an edge leaves its fleet, and what it says of itself to those who send readers to it.

use std::io::Read;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::rig::{Given, Rig, until};

#[test]
fn an_edge_that_was_stopped_is_waited_for_by_nobody() {
    let (rig, _etcd, mut edge) = Rig::serving();
    assert_eq!(rig.edges().len(), 1);
    edge.process.signal(Signal::TERM);
    assert!(edge.process.ended());
    assert_eq!(rig.edges(), [""; 0], "it is gone from etcd when it has ended");
    assert!(edge.log().contains("the fleet is left"), "{}", edge.log());
}

#[test]
fn an_edge_that_leaves_says_so_when_etcd_has_heard_of_it() {
    let (rig, etcd, edge) = Rig::serving();
    etcd.signal(Signal::STOP);
    thread::scope(|scope| {
        let leaving = scope.spawn(|| edge.says(&["drain-edge"]));
        edge.until_logged("this edge leaves the fleet");
        // One try to tell it is over by then.
        thread::sleep(Duration::from_millis(1_500));
        assert!(!leaving.is_finished(), "nobody but this edge knows of it");
        assert!(!edge.log().contains("the fleet is left"), "{}", edge.log());
        etcd.signal(Signal::CONT);
        let said = leaving.join().unwrap();
        assert!(said.status.success(), "{said:?}");
        assert!(!String::from_utf8_lossy(&said.stdout).contains("could not be told"), "{said:?}");
    });
    assert_eq!(rig.edges(), [""; 0]);
    let again = edge.says(&["drain-edge"]);
    assert!(again.status.success(), "who has left can say so again: {again:?}");
}

#[test]
fn an_edge_that_could_not_tell_etcd_that_it_leaves_says_that_its_lease_has_run_out() {
    let (_rig, etcd, mut edge) = Rig::serving();
    etcd.signal(Signal::STOP);
    let said = edge.says(&["drain-edge"]);
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("etcd could not be told"), "{said:?}");
    edge.until_logged("etcd could not be told, and the lease has run out");
    edge.process.signal(Signal::TERM);
    assert!(edge.process.ended(), "nothing is waited for again");
}

#[test]
fn a_stopped_edge_tells_those_who_are_held_at_once_to_come_again() {
    let (_rig, _etcd, mut edge) = Rig::serving();
    assert!(edge.says(&["hold", "blog"]).status.success());
    edge.until_shut();
    let mut reader = edge.ask();
    until("it is held", || (edge.site()["held"] == 1).then_some(()));
    // An edge that is alone would have the reader wait for nine tenths of an hour.
    edge.process.signal(Signal::TERM);
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: "), "{answer}");
    assert!(edge.process.ended());
}

#[test]
fn an_edge_is_not_ready_before_it_has_joined_nor_when_it_has_left() {
    let rig = Rig::new();
    let etcd = rig.etcd_with_passwords();
    etcd.signal(Signal::STOP);
    let edge = rig.edge(&Given::default());
    let said = |code: i32, what: &str| {
        let said = edge.says(&["healthcheck"]);
        let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        (said.status.code() == Some(code) && text.contains(what)).then_some(())
    };
    until("it says that it has not joined", || said(1, "not yet one of the fleet"));
    etcd.signal(Signal::CONT);
    until("it is ready", || said(0, "ready"));
    assert!(edge.says(&["drain-edge"]).status.success());
    until("it says that it has left", || said(1, "the fleet is left"));
}
