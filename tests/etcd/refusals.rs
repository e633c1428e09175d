//! What is said of an etcd that answers, and lets this edge do nothing.

use std::thread;
use std::time::Duration;

use crate::rig::{Edge, Given, Rig, until};

const TOLD: &str = "does not do what this edge asks";

/// Whether the fleet's user may touch the fleet's keys.
fn may(rig: &Rig, may: bool) {
    let verb = if may { "grant-role" } else { "revoke-role" };
    let output = rig.as_root(&["user", verb, "ghostpin", "fleet"]);
    assert!(output.status.success(), "{output:?}");
}

/// What etcd is said to refuse.
fn refused(edge: &Edge) -> Option<String> {
    Some(edge.status()["fleet"]["refused"].as_str()?.to_owned())
}

fn goes_again(edge: &Edge) -> Option<()> {
    let status = edge.status();
    (status["fleet"]["life"] == "following" && status["fleet"]["refused"].is_null()).then_some(())
}

#[test]
fn writes_that_etcd_refuses_are_told_of() {
    let (rig, _etcd, edge) = Rig::serving();
    until("its standby is well", || {
        let site = edge.site();
        let candidates = site["candidates"].as_array()?;
        candidates.iter().all(|candidate| candidate["health"] == "well").then_some(())
    });
    may(&rig, false);
    thread::scope(|scope| {
        let moving = scope.spawn(|| edge.says(&["handoff", "blog", "--to", &rig.backends()[1]]));
        let words = until("status says so", || refused(&edge));
        assert!(words.contains("permission denied"), "{words}");
        let status = edge.says(&["status"]);
        assert!(String::from_utf8_lossy(&status.stdout).contains(&words), "{status:?}");
        // It is asked again all the while, and the log is not filled with that.
        thread::sleep(Duration::from_secs(2));
        let log = edge.log();
        assert_eq!(log.matches(TOLD).count(), 1, "{log}");
        assert!(!moving.is_finished());
        may(&rig, true);
        let said = moving.join().unwrap();
        assert!(said.status.success(), "{said:?}");
    });
    until("nothing is refused any more", || goes_again(&edge));
    edge.until_logged("etcd does what this edge asks again");
}

#[test]
fn an_edge_that_may_not_register_says_why() {
    let rig = Rig::new();
    let _etcd = rig.etcd_with_passwords();
    may(&rig, false);
    let edge = rig.edge(&Given::default());
    let words = until("status says so", || refused(&edge));
    assert!(words.contains("permission denied"), "{words}");
    edge.until_logged(TOLD);
    may(&rig, true);
    until("it serves", || edge.serves().then_some(()));
    until("nothing is refused any more", || goes_again(&edge));
}
