//! What `[cluster]` says of how etcd is known, and how this edge is known to it, before a real etcd with certificates and
//! passwords. (What many edges do together is in `loadtest/fleet`.)

mod canary;
mod refusals;
mod rig;
mod stopping;
mod upgrade;

use std::thread;

use rig::{Given, Rig, until};
use rustix::process::Signal;

#[test]
fn an_edge_is_known_to_etcd_by_its_certificate_and_its_password() {
    let (rig, _etcd, edge) = Rig::serving();
    until("a wish is fulfilled", || {
        edge.says(&["handoff", "blog", "--to", &rig.backends()[1]]).status.success().then_some(())
    });
    let edges = edge.says(&["edges"]);
    assert!(String::from_utf8_lossy(&edges.stdout).contains("edge-1"), "{edges:?}");
    assert!(rig.keys().iter().any(|key| key == "/ghostpin/sites/blog"), "{:?}", rig.keys());
}

#[test]
fn an_edge_logs_in_again_when_etcd_has_forgotten_it() {
    let (rig, etcd, edge) = Rig::serving();
    // What etcd has given out for the password is in its memory alone.
    drop(etcd);
    let _etcd = rig.etcd();
    until("a wish is fulfilled", || {
        edge.says(&["handoff", "blog", "--to", &rig.backends()[1]]).status.success().then_some(())
    });
    assert!(edge.serves());
}

#[test]
fn a_hold_is_answered_when_it_stands_in_the_store() {
    let (rig, etcd, edge) = Rig::serving();
    etcd.signal(Signal::STOP);
    thread::scope(|scope| {
        let held = scope.spawn(|| edge.says(&["hold", "blog"]));
        until("it is done here", || (edge.site()["phase"] == "draining").then_some(()));
        assert!(!held.is_finished(), "nobody but this edge knows of it");
        etcd.signal(Signal::CONT);
        let said = held.join().unwrap();
        assert!(said.status.success(), "{said:?}");
    });
    assert!(rig.value("/ghostpin/sites/blog").contains(r#""hold":true"#));
}

#[test]
fn an_edge_without_its_certificate_serves_nothing_and_says_why() {
    refused(&Given { identity: false, ..Given::default() }, &["transport error", "connection closed"]);
}

#[test]
fn an_edge_with_a_wrong_password_serves_nothing_and_says_why() {
    refused(&Given { password: "wrong", ..Given::default() }, &["invalid user ID or password"]);
}

#[test]
fn an_etcd_that_somebody_else_has_signed_is_not_believed() {
    refused(
        &Given { ca: "other.pem", ..Given::default() },
        &["UnknownIssuer", "certificate", "transport error"],
    );
}

/// `reasons`: one of them is in what it says.
fn refused(given: &Given, reasons: &[&str]) {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    let edge = rig.edge(given);
    until("it says why", || {
        let log = edge.log();
        let line = log.lines().find(|line| line.contains("no lease yet"))?.to_owned();
        assert!(reasons.iter().any(|reason| line.contains(reason)), "{line}");
        Some(())
    });
    assert!(!edge.serves());
    assert!(rig.keys().is_empty(), "{:?}", rig.keys());
}
