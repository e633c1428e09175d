//! What becomes of requests at a gate that is shut.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::harness::{Backend, Client, Config, Proxy, Response, until};

#[test]
fn a_held_request_lands_on_the_new_backend() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    proxy.until_well(&b);
    proxy.hold();
    let answers: Vec<_> = (0..5).map(|_| proxy.get_meanwhile("/")).collect();
    until("they are held", || proxy.held() == 5);
    assert_eq!(proxy.handoff(&b).0, 200);
    for answer in answers {
        assert_eq!(answer.join().unwrap().text(), "B GET 0");
    }
    assert_eq!((a.count(), b.count(), proxy.held()), (0, 5, 0));
}

#[test]
fn a_handoff_that_is_ordered_before_its_target_was_looked_at_waits_for_the_look() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    b.freeze();
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    assert_eq!(proxy.get("/").text(), "A GET 0");
    std::thread::scope(|scope| {
        let wished = scope.spawn(|| proxy.handoff(&b).0);
        // Enough for the order to be there; if it isn't, it finds the target well.
        (0..20).for_each(|_| drop(proxy.site("a")));
        assert!(!wished.is_finished(), "it is refused, or done, before its target answers");
        b.thaw();
        assert_eq!(wished.join().unwrap(), 200);
    });
    assert_eq!(proxy.get("/").text(), "B GET 0");
}

#[test]
fn the_order_of_arrival_is_kept_over_a_whole_queue() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    b.does(|_, conn| conn.answer(503, "busy"));
    let proxy = Proxy::start(&Config::of(&[&a, &b]));
    proxy.until_well(&b);
    proxy.hold();
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..60 {
        let mut client = proxy.client();
        client.ask("GET", "a.test", &format!("/{number}"));
        clients.push(client);
        until("it is held", || proxy.held() == number + 1);
    }
    proxy.handoff(&b);
    for client in &mut clients {
        assert_eq!(client.response().status, 503);
    }
    // Those of the first window are let go together, and may overtake each other on their way. Their answers of 503
    // make the window as small as it can be: from then on it is one at a time.
    const FIRST_WINDOW: usize = 8;
    let order: Vec<usize> = b.requests().iter().map(|head| head.path()[1..].parse().unwrap()).collect();
    let (first, rest) = order.split_at(FIRST_WINDOW);
    assert!(first.iter().all(|number| *number < FIRST_WINDOW), "{order:?}");
    assert!(rest.iter().copied().eq(FIRST_WINDOW..60), "{order:?}");
}

#[test]
fn a_client_that_leaves_while_held_is_forgotten_at_once() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    proxy.hold();
    let mut reader = proxy.client();
    reader.ask("GET", "a.test", "/");
    until("it is held", || proxy.held() == 1);
    reader.leave();
    until("it is forgotten", || proxy.held() == 0);
    let mut small_upload = proxy.client();
    small_upload.post("a.test", "/", "a body that is not read");
    until("it is held", || proxy.held() == 1);
    small_upload.leave();
    until("it is forgotten", || proxy.held() == 0);
    until("the log says so", || proxy.log().matches("\"left\"").count() == 2);
    proxy.release();
    assert_eq!(proxy.get("/").text(), "A GET 0");
    assert_eq!(a.count(), 1, "nobody's request was carried out");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_held_upload_is_forgotten_at_once() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    proxy.hold();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n");
    until("it is held", || proxy.held() == 1);
    // Until nothing more fits between the two.
    client.stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < Duration::from_millis(50) {
        match std::io::Write::write(&mut client.stream, &[b'x'; 65536]) {
            Ok(count) => (sent, idle_since) = (sent + count, Instant::now()),
            Err(_) => std::thread::yield_now(),
        }
    }
    assert!(sent < 49_000_000, "a held body is not read");
    client.leave_abruptly();
    until("it is forgotten", || proxy.held() == 0);
}

#[test]
fn at_the_deadline_browsers_get_a_page_and_others_a_problem() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).hold("timeout = '300ms'"));
    proxy.hold();
    let ask = |accept: &str| -> Response {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nAccept: {accept}\r\n\r\n"));
        let began = Instant::now();
        let response = client.response();
        assert!(began.elapsed() >= Duration::from_millis(300), "never early: {:?}", began.elapsed());
        assert_eq!(response.status, 503);
        assert!(response.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
        response
    };
    let page = ask("text/html,application/xhtml+xml,*/*;q=0.8");
    assert!(page.field("content-type").unwrap().starts_with("text/html"));
    assert!(page.text().contains("http-equiv=\"refresh\""));
    let problem = ask("application/json");
    assert_eq!(problem.field("content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(&problem.body).unwrap();
    assert_eq!(problem["status"], 503);
    assert_eq!(proxy.held(), 0);
}

#[test]
fn over_its_budget_a_site_answers_503_at_once() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]).hold("max_requests = 3\nmax_requests_total = 10"));
    proxy.hold();
    let held: Vec<_> = (0..3).map(|_| proxy.get_meanwhile("/")).collect();
    until("they are held", || proxy.held() == 3);
    for _ in 0..3 {
        let response = proxy.get("/");
        assert_eq!(response.status, 503);
        assert!(response.field("retry-after").is_some());
    }
    proxy.release();
    for answer in held {
        assert_eq!(answer.join().unwrap().status, 200);
    }
}

#[test]
fn one_sites_queue_leaves_the_total_budget_to_others_only_up_to_its_size() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let config = Config::of(&[&a]).site("b", &[&b], "app = 'generic'").hold("max_requests_total = 2");
    let proxy = Proxy::start(&config);
    proxy.hold();
    let held: Vec<_> = (0..2).map(|_| proxy.get_meanwhile("/")).collect();
    until("they are held", || proxy.held() == 2);
    assert_eq!(proxy.get("/").status, 503);
    assert_eq!(proxy.client().get("b.test", "/").text(), "B GET 0", "another site goes on");
    proxy.release();
    held.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap().status, 200));
}

#[test]
fn ghosts_scheduler_is_told_503_at_once_while_the_gate_is_shut() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::new().site("a", &[&a], "app = 'ghost'"));
    proxy.hold();
    let mut client = proxy.client();
    let began = Instant::now();
    client.send("PUT /ghost/api/admin/schedules/posts/1/?token=x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 503);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((a.count(), proxy.held()), (0, 0));
    proxy.release();
    client.send("PUT /ghost/api/admin/schedules/posts/1/?token=x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn ghost_is_told_503_at_once_when_it_measures_its_own_icon_for_the_proof() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::new().site("a", &[&a], "app = 'ghost'"));
    proxy.hold();
    let began = Instant::now();
    assert_eq!(proxy.get("/favicon.ico").status, 503);
    assert!(began.elapsed() < Duration::from_secs(5), "so long Ghost waits, and the page with it");
    assert_eq!((a.count(), proxy.held()), (0, 0));
    proxy.release();
    assert_eq!(proxy.get("/favicon.ico").status, 200);
}

#[test]
fn ghosts_scheduler_is_told_503_when_its_outcome_is_unknown_for_it_asks_again_only_then() {
    let a = Backend::with("A", |_, conn| conn.close());
    let proxy = Proxy::start(&Config::new().site("a", &[&a], "app = 'ghost'"));
    let mut client = proxy.client();
    client.send("PUT /ghost/api/admin/schedules/posts/1/?token=x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    assert!(response.text().contains("may or may not have taken effect"));
    assert_eq!(a.count(), 1);
}

#[test]
fn who_stands_by_is_looked_at_soon_after_the_start_however_seldom_later() {
    let (a, b) = (Backend::named("A"), Backend::named("B"));
    let mut config = Config::of(&[&a, &b]);
    for number in 0..50 {
        config = config.site(&format!("s{number}"), &[&a, &b], "app = 'generic'");
    }
    config.health = config.health.replace("interval = '100ms'", "interval = '1h'");
    let proxy = Proxy::start(&config);
    for number in 0..50 {
        let site = format!("s{number}");
        until("it is looked at", || proxy.site(&site)["candidates"][1]["health"] == "well");
    }
}

/// A reader of a site whose backend was gone and is back, but has its next look in a minute only: what comes up first is the backend
/// of another site on its machine.
fn reader_of_a_neighbour(a: &mut Backend) -> (Proxy, Backend, std::thread::JoinHandle<Response>) {
    let mut other = Backend::named("other");
    let mut config = Config::of(&[a]).site("b", &[&other], "app = 'generic'");
    let seldom = "app = 'generic'\nhealth = { held_interval = '1m', proof_path = '/proof' }";
    config.set_site("a", "a.test", &[a], seldom);
    let proxy = Proxy::start(&config);
    for (site, backend) in [("a", &mut *a), ("b", &mut other)] {
        until("it is known to be well", || proxy.site(site)["candidates"][0]["health"] == "well");
        backend.stop();
        until("it is known to be gone", || proxy.site(site)["phase"] == "vacant");
    }
    let held = proxy.get_meanwhile("/");
    until("it is held", || proxy.held() == 1);
    a.start();
    // Neighbours are looked at once a second at most.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((proxy.held(), a.new_probes().last().map(String::as_str)), (1, Some("/probe")));
    other.start();
    (proxy, other, held)
}

#[test]
fn what_may_have_come_up_with_a_neighbour_is_found_and_proved_by_one_look() {
    let mut a = Backend::named("A");
    let (_proxy, _other, held) = reader_of_a_neighbour(&mut a);
    assert_eq!(held.join().unwrap().text(), "A GET 0");
    let probes = a.new_probes();
    assert_eq!(probes.first().map(String::as_str), Some("/proof"));
    assert!(!probes[1..].contains(&"/proof".to_owned()), "it is proved once: {probes:?}");
}

#[test]
fn a_page_that_fails_does_not_hide_that_somebody_is_there() {
    let mut a = Backend::named("A");
    a.be_broken();
    let (proxy, _other, _held) = reader_of_a_neighbour(&mut a);
    until("it is being proved", || proxy.site("a")["phase"] == "proving");
    assert_eq!((proxy.held(), a.count()), (1, 0));
    assert_eq!(a.new_probes()[..2], ["/proof", "/probe"]);
}

#[test]
fn a_held_upload_costs_no_memory() {
    const SIZE: usize = 50_000_000;
    let a = Backend::named("A");
    let (got, received) = mpsc::channel();
    let got = Mutex::new(got);
    a.does(move |_, conn| {
        let (mut left, mut sum) = (SIZE, 0_u64);
        while left > 0 {
            let part = conn.reader.exactly(left.min(65536)).unwrap();
            sum += part.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            left -= part.len();
        }
        got.lock().unwrap().send(sum).unwrap();
        conn.answer(200, "all of it");
    });
    let proxy = Proxy::start(&Config::of(&[&a]));
    proxy.hold();
    let before = proxy.resident_kib();
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n"));
    let mut writer = client.stream.try_clone().unwrap();
    let sent: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
    let expected: u64 = sent.iter().map(|byte| u64::from(*byte)).sum();
    let uploading = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &sent).unwrap());
    until("it is held", || proxy.held() == 1);
    // The client goes on pushing meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    let held = proxy.resident_kib();
    println!("resident before {before} KiB, with 50 MB held {held} KiB");
    assert!(held < before + 4096, "{before} -> {held} KiB");
    proxy.release();
    assert_eq!(client.response().text(), "all of it");
    uploading.join().unwrap();
    assert_eq!(received.recv().unwrap(), expected);
    println!("resident after {} KiB", proxy.resident_kib());
    assert!(proxy.resident_kib() < before + 8192);
}

#[test]
fn a_whole_answer_is_not_kept_back_by_a_held_request_behind_it() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    let mut client = proxy.client();
    let (arrived, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    a.does(move |_, conn| {
        let _ = wait.lock().unwrap().recv();
        conn.answer(200, "first");
    });
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\nPOST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    until("the first one is under way", || proxy.in_flight() == 1);
    proxy.hold();
    arrived.send(()).unwrap();
    assert_eq!(client.response().text(), "first");
    until("only the second one is left, and it is held", || (proxy.in_flight(), proxy.held()) == (0, 1));
}
