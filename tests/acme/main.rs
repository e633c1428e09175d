//! Certificates from a real ACME server, Debian's `pebble`: what is promised must hold with one that refuses nonces, is
//! slow, is down, and forgets.
//!
//! It validates over sockets like any other; only DNS is the test's own, and leads every name here.

mod rig;
mod shown;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use ghostpin::acme::{Authority, Unavailable};
use ghostpin::core::orders::{SILENT_TRIES, UNDER_WAY_OF_A_SORT_MAX};
use rig::{Manners, Rig, ask, front, turn_away, until};

/// For anything that has to come at all.
const PATIENCE: Duration = Duration::from_secs(45);

const HTTP01: &str = "challenges = [\"http-01\"]";
const AHEAD: &str = "on_demand = false\nchallenges = [\"http-01\"]";

fn hosts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number:03}.example")).collect()
}

/// Waits for a certificate.
fn want(authority: &Authority, name: &str) -> Result<(), Unavailable> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wanted = authority.want(name);
    runtime.block_on(async { tokio::time::timeout(PATIENCE, wanted).await.expect("an answer") })
}

/// The status of an answer to a request for a challenge.
fn status_of_token(rig: &Rig, token: &str) -> String {
    let mut stream = TcpStream::connect(rig.here).unwrap();
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nhost: n000.example\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_running_ghostpin_has_its_hosts_certified_over_http() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let _ghostpin = rig.ghostpin(&rig.acme(&[&pebble], AHEAD), &hosts(3));
    for host in hosts(3) {
        until(&host, || rig.certificate(&host));
    }
    assert_eq!((pebble.orders(), pebble.issued()), (3, 3));
    assert_eq!(
        status_of_token(&rig, "unknown"),
        "503",
        "what is unknown goes to the site, whose backend is not there"
    );
    for file in ["state/acme/certificates/n000.example.pem", "state/acme/orders.redb", "state/acme/accounts"]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(rig.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} can be read by others");
    }
}

#[test]
fn a_name_is_ordered_once_however_many_ask_and_however_many_nonces_are_refused() {
    let rig = Rig::new();
    let manners = Manners { environment: vec![("PEBBLE_WFE_NONCEREJECT", "50")], ..Manners::default() };
    let pebble = rig.pebble("pebble", 0, &manners);
    let library = rig.library(&rig.acme(&[&pebble], HTTP01));
    library.authority.names_changed(["a.example", "b.example"], []);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = |number: u32| {
            let name = if number.is_multiple_of(2) { "a.example" } else { "B.example." };
            let authority = library.authority.clone();
            scope.spawn(move || want(&authority, name))
        };
        let asking: Vec<_> = (0..100).map(ask).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((pebble.orders(), pebble.issued()), (2, 2));
    assert!(pebble.count(&["nonce"]) > 0);
    let mut installed: Vec<String> = library.installed.try_iter().map(|(name, _)| name).collect();
    installed.sort();
    assert_eq!(installed, ["a.example", "b.example"]);
    assert_eq!(want(&library.authority, "a.example"), Ok(()));
    let status = library.authority.status();
    assert_eq!((status.begun, status.issued, status.failed, status.under_way), (2, 2, 0, 0));
    assert_eq!(pebble.orders(), 2);
}

#[test]
fn names_below_a_wildcard_are_ordered_only_if_the_operator_says_yes() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let (address, asked) = ask();
    let library =
        rig.library(&rig.acme(&[&pebble], &format!("{HTTP01}\nask = \"http://{address}/ask?from=test\"")));
    library.authority.names_changed([], ["*.blogs.example"]);
    let authority = &library.authority;
    assert_eq!(want(authority, "yes.blogs.example"), Ok(()));
    for _ in 0..5 {
        assert!(matches!(want(authority, "no.blogs.example"), Err(Unavailable::NotAllowed(_))));
    }
    assert_eq!(want(authority, "yes.strangers.example"), Err(Unavailable::NotServed));
    assert_eq!(want(authority, "blogs.example"), Err(Unavailable::NotServed));
    let questions: Vec<String> = asked.try_iter().collect();
    assert_eq!(
        questions,
        ["/ask?from=test&domain=yes.blogs.example", "/ask?from=test&domain=no.blogs.example"]
    );
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn without_a_service_to_ask_no_name_below_a_wildcard_is_ordered() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let library = rig.library(&rig.acme(&[&pebble], HTTP01));
    library.authority.names_changed([], ["blogs.example"]);
    assert!(matches!(want(&library.authority, "a.blogs.example"), Err(Unavailable::NotAllowed(_))));
    assert_eq!(pebble.orders(), 0);
}

#[test]
fn a_name_is_proved_by_a_certificate_of_its_own() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let library = rig.library(&rig.acme(&[&pebble], "challenges = [\"tls-alpn-01\"]"));
    library.authority.names_changed(["a.example"], []);
    assert_eq!(want(&library.authority, "a.example"), Ok(()));
    assert!(pebble.count(&["Attempting to validate w/ TLS-ALPN"]) + pebble.count(&["set VALID"]) > 0);
}

#[test]
fn an_account_is_bound_to_one_that_the_operator_has() {
    let rig = Rig::new();
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let manners = Manners { external: Some(("kid-1", key)), ..Manners::default() };
    let pebble = rig.pebble("pebble", 0, &manners);
    std::fs::write(rig.path("key.txt"), key).unwrap();
    let more = format!("{HTTP01}\nexternal_account = {{ id = \"kid-1\", key_file = \"key.txt\" }}");
    let library = rig.library(&rig.acme(&[&pebble], &more));
    library.authority.names_changed(["a.example"], []);
    assert_eq!(want(&library.authority, "a.example"), Ok(()));
}

#[test]
fn a_name_that_cannot_be_proved_is_left_alone() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    // The authority looks where nobody listens: the rig's port is not bound by anybody here.
    let elsewhere = Rig::new();
    let library = elsewhere
        .library(&rig.acme(&[&pebble], HTTP01).replace("root.pem", rig.path("root.pem").to_str().unwrap()));
    library.authority.names_changed(["a.example"], []);
    let Err(Unavailable::Failed(why)) = want(&library.authority, "a.example") else {
        panic!("it was proved")
    };
    assert!(why.contains("connection"), "{why}");
    for _ in 0..20 {
        assert!(matches!(want(&library.authority, "a.example"), Err(Unavailable::Later(_))));
    }
    assert_eq!(pebble.orders(), 1);
    assert_eq!(
        library.authority.status().authorities[0].backoff_until,
        None,
        "the others are not kept waiting"
    );
}

#[test]
fn another_authority_is_asked_when_the_first_is_down_or_refuses_the_name() {
    let rig = Rig::new();
    let blocking = Manners { blocked: vec!["blocked.example"], ..Manners::default() };
    let mut first = rig.pebble("pebble", 0, &blocking);
    let second = rig.pebble("other", 0, &Manners::default());
    let library = rig.library(&rig.acme(&[&first, &second], HTTP01));
    library.authority.names_changed(["blocked.example", "a.example", "b.example"], []);
    assert_eq!(want(&library.authority, "blocked.example"), Ok(()));
    assert_eq!((first.issued(), second.issued()), (0, 1));
    assert_eq!(want(&library.authority, "a.example"), Ok(()));
    assert_eq!((first.issued(), second.issued()), (1, 1));
    first.process.kill();
    assert_eq!(want(&library.authority, "b.example"), Ok(()));
    assert_eq!((first.issued(), second.issued()), (1, 2));
    assert!(library.authority.status().authorities[0].backoff_until.is_some());
}

#[test]
fn an_authority_that_is_down_is_only_a_backoff() {
    let rig = Rig::new();
    let mut pebble = rig.pebble("pebble", 0, &Manners::default());
    pebble.process.kill();
    let library = rig.library(&rig.acme(&[&pebble], HTTP01));
    library.authority.names_changed(["a.example"], []);
    assert!(matches!(want(&library.authority, "a.example"), Err(Unavailable::Failed(_))));
    assert!(matches!(want(&library.authority, "a.example"), Err(Unavailable::Later(_))));
    let pebble = rig.pebble("pebble", pebble.address.port(), &Manners::default());
    // Nobody has to ask again.
    let (name, _) = library.installed.recv_timeout(PATIENCE).unwrap();
    assert_eq!((name.as_str(), pebble.orders()), ("a.example", 1));
}

#[test]
fn certificates_are_renewed_in_time_and_stay_while_the_authority_is_down() {
    let rig = Rig::new();
    // Proofs are remembered by this one: a renewal has nothing to prove.
    let manners =
        Manners { validity: Some(6), environment: vec![("PEBBLE_AUTHZREUSE", "100")], ..Manners::default() };
    let mut pebble = rig.pebble("pebble", 0, &manners);
    let library = rig.library(&rig.acme(&[&pebble], HTTP01));
    library.authority.names_changed(["a.example"], []);
    assert_eq!(want(&library.authority, "a.example"), Ok(()));
    let first = rig.certificate("a.example").unwrap();
    let second = until("a renewal", || rig.certificate("a.example").filter(|second| second.1 > first.1));
    assert!(library.authority.status().soonest_end.is_some());
    assert_eq!(pebble.issued(), 2);

    pebble.process.kill();
    until("a renewal that fails", || (library.authority.status().failed > 0).then_some(()));
    assert_eq!(rig.certificate("a.example").unwrap().0, second.0, "the old one stays");
    // It comes back without any memory: our account is unknown to it.
    let _pebble = rig.pebble("pebble", pebble.address.port(), &manners);
    until("a renewal", || rig.certificate("a.example").filter(|third| third.1 > second.1));
}

#[test]
fn a_certificate_that_is_there_is_not_ordered_again_whatever_is_forgotten_about_it() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let acme = rig.acme(&[&pebble], HTTP01);
    let begin = || {
        let library = rig.library(&acme);
        library.authority.names_changed(["a.example"], []);
        assert_eq!(want(&library.authority, "a.example"), Ok(()));
    };
    begin();
    begin();
    // The thread of the former life may not have closed it yet, which does not matter to a file without a name.
    std::fs::remove_file(rig.path("state/acme/orders.redb")).unwrap();
    begin();
    assert_eq!((pebble.orders(), pebble.issued()), (1, 1));
}

#[test]
fn who_is_told_to_come_back_later_does_not_come_before_and_remembers_it() {
    let rig = Rig::new();
    let (address, asked) = turn_away(&rig, "HTTP/1.1 429 Too Many Requests\r\nretry-after: 600\r\n");
    let acme = format!("[acme]\ndirectory = \"https://{address}/dir\"\nca_file = \"root.pem\"\n{HTTP01}\n");
    let library = rig.library(&acme);
    library.authority.names_changed(["a.example", "b.example"], []);
    assert!(
        matches!(want(&library.authority, "a.example"), Err(Unavailable::Failed(why)) if why.contains("429"))
    );
    let soon = |name: &str, library: &rig::Library| match want(&library.authority, name) {
        Err(Unavailable::Later(wait)) => wait < Duration::from_secs(590),
        other => panic!("{other:?}"),
    };
    assert!(!soon("b.example", &library));
    drop(library);
    let library = rig.library(&acme);
    library.authority.names_changed(["a.example", "b.example"], []);
    assert!(!soon("b.example", &library), "forgotten by a restart");
    assert_eq!(asked.try_iter().count(), 1);
}

#[test]
fn an_order_that_the_authority_never_answers_for_is_given_up_and_holds_up_no_other_name() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    // Like an authority with a lock that is never freed: the first order that is asked about stays silent, all else is well.
    let stuck = Mutex::<Option<String>>::default();
    let asked = front(&rig, &pebble, move |path| {
        path.starts_with("/my-order/") && *stuck.lock().unwrap().get_or_insert(path.to_owned()) == path
    });
    let library = rig.library(&format!(
        "[acme]\ndirectory = \"https://{}/dir\"\nca_file = \"root.pem\"\n{HTTP01}\n",
        asked.address
    ));
    library.authority.names_changed(["stuck.example", "well.example"], []);
    assert!(matches!(want(&library.authority, "stuck.example"), Err(Unavailable::Failed(_))));
    assert_eq!(want(&library.authority, "well.example"), Ok(()));
    until("the stuck one is ordered anew", || rig.certificate("stuck.example"));
    assert_eq!(pebble.orders(), 3);
    assert_eq!(asked.swallowed.try_iter().count(), SILENT_TRIES as usize);
}

#[test]
fn a_kill_in_the_middle_costs_no_certificate_and_certifies_no_name_twice() {
    let rig = Rig::new();
    let slow = Manners {
        environment: vec![
            ("PEBBLE_VA_NOSLEEP", "0"),
            ("PEBBLE_VA_SLEEPTIME", "3"),
            ("PEBBLE_WFE_NONCEREJECT", "10"),
        ],
        ..Manners::default()
    };
    let pebble = rig.pebble("pebble", 0, &slow);
    let hosts = hosts(24);
    let mut ghostpin = rig.ghostpin(&rig.acme(&[&pebble], AHEAD), &hosts);
    let there = || hosts.iter().filter(|host| rig.certificate(host).is_some()).count();
    // Some have ended, some wait for the authority to look, and the rest has not begun.
    until("some certificates", || (there() >= 4).then_some(()));
    ghostpin.kill();
    let at_kill = there();
    let _ghostpin = rig.ghostpin(&rig.acme(&[&pebble], AHEAD), &hosts);
    until("all certificates", || (there() == hosts.len()).then_some(()));
    let (orders, issued) = (pebble.orders(), pebble.issued());
    let spoilt = pebble.count(&["set INVALID"]);
    println!(
        "{at_kill} at the kill; {orders} orders, {spoilt} of them spoilt by the kill, {issued} certificates"
    );
    assert!(at_kill < hosts.len());
    assert_eq!(issued, hosts.len(), "a name was certified twice");
    // Of those under way, any can have been created whose address had not come back when the process died.
    assert!(orders <= hosts.len() + spoilt + UNDER_WAY_OF_A_SORT_MAX, "{orders} orders");
}
