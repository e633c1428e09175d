use super::*;

const DAY: u64 = 24 * HOUR;
const NOW: Time = Time(1_800_000_000);

fn planner(on_demand: bool, authorities: usize, exact: &[&str], wildcards: &[&str]) -> Planner {
    let mut planner = Planner::new(on_demand, authorities, Dice::new(7));
    planner.serve(Served::new(exact, wildcards), NOW);
    planner
}

fn names(orders: &[Order]) -> Vec<&str> {
    orders.iter().map(|order| &*order.name).collect()
}

fn issued(now: Time, days: u64) -> Ended {
    Ended::Issued { not_before: now, not_after: now.plus(days * DAY), window: None }
}

fn failed(failure: Failure) -> Ended {
    Ended::Failed(failure)
}

#[test]
fn a_name_is_ordered_once_however_many_ask() {
    let mut planner = planner(true, 1, &["a.example"], &[]);
    assert_eq!(planner.begin(NOW), []);
    for _ in 0..5 {
        assert_eq!(planner.want("a.example", NOW), Want::Wait);
    }
    assert_eq!(names(&planner.begin(NOW)), ["a.example"]);
    assert_eq!(planner.want("a.example", NOW), Want::Wait);
    assert_eq!(planner.begin(NOW), []);
    assert_eq!(planner.ended("a.example", issued(NOW, 90), NOW), Heard::Over);
    assert_eq!(planner.want("a.example", NOW), Want::Good);
    assert_eq!(planner.begin(NOW), []);
}

#[test]
fn only_names_that_a_site_has_are_ordered() {
    let mut planner = planner(true, 1, &["a.example", "localhost"], &["shop.example", "*.cdn.example"]);
    for name in ["b.example", "shop.example", "localhost", "10.0.0.1", "a_b.shop.example", "-.shop.example"] {
        assert_eq!(planner.want(name, NOW), Want::NotServed, "{name}");
    }
    for name in ["a.example", "x.shop.example", "x.y.shop.example", "z.cdn.example"] {
        assert_eq!(planner.want(name, NOW), Want::Wait, "{name}");
    }
    let coverage: Vec<_> = planner.begin(NOW).into_iter().map(|order| order.coverage).collect();
    assert_eq!(coverage, [Coverage::Exact, Coverage::Wildcard, Coverage::Wildcard, Coverage::Wildcard]);
}

#[test]
fn ahead_of_need_all_exact_hosts_are_ordered_some_at_a_time() {
    let hosts: Vec<String> = (0..30).map(|n| format!("n{n:02}.example")).collect();
    let mut planner = Planner::new(false, 1, Dice::new(1));
    planner.serve(Served::new(hosts.iter().map(String::as_str), ["wild.example"]), NOW);
    let mut count = 0;
    loop {
        let orders = planner.begin(NOW);
        assert!(planner.under_way() <= UNDER_WAY_OF_A_SORT_MAX);
        if orders.is_empty() {
            break;
        }
        count += orders.len();
        for order in orders {
            planner.ended(&order.name, issued(NOW, 90), NOW);
        }
    }
    assert_eq!(count, 30);
}

#[test]
fn who_waits_goes_before_what_nobody_waits_for() {
    let hosts: Vec<String> = (0..30).map(|n| format!("n{n:02}.example")).collect();
    let mut planner = Planner::new(false, 1, Dice::new(1));
    planner.serve(Served::new(hosts.iter().map(String::as_str), []), NOW);
    assert_eq!(planner.begin(NOW).len(), UNDER_WAY_OF_A_SORT_MAX);
    // Room is kept for them even while the others are many.
    assert_eq!(planner.want("n29.example", NOW), Want::Wait);
    assert_eq!(names(&planner.begin(NOW)), ["n29.example"]);
}

#[test]
fn what_ends_soonest_is_renewed_first() {
    let mut planner = Planner::new(true, 1, Dice::new(1));
    for (name, days) in [("late.example", 9), ("soon.example", 2), ("next.example", 5)] {
        let certificate = Certificate {
            not_before: Time(NOW.0 - 80 * DAY),
            not_after: NOW.plus(days * DAY),
            renew_at: Time(NOW.0 - DAY),
            window: None,
            look_at: None,
        };
        let record = Record { certificate: Some(certificate), ..Record::default() };
        planner.restore(name, record, false, NOW);
    }
    planner.serve(Served::new(["late.example", "soon.example", "next.example"], []), NOW);
    assert_eq!(names(&planner.begin(NOW)), ["soon.example", "next.example", "late.example"]);
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let certificate = Certificate::new(NOW, NOW.plus(90 * DAY), None, &mut dice);
        let at = certificate.renew_at.0 - NOW.0;
        assert!((57 * DAY..=60 * DAY).contains(&at), "seed {seed}: {at}");
    }
    let mut planner = planner(true, 1, &["a.example"], &[]);
    planner.want("a.example", NOW);
    planner.begin(NOW);
    planner.ended("a.example", issued(NOW, 90), NOW);
    let renew_at = planner.record("a.example").unwrap().certificate.unwrap().renew_at;
    assert_eq!(planner.wake(NOW), Some(renew_at));
    assert_eq!(planner.begin(Time(renew_at.0 - 1)), []);
    let orders = planner.begin(renew_at);
    assert!(orders[0].renewal);
}

#[test]
fn the_authority_says_when_to_renew() {
    let window = (NOW.plus(3 * DAY), NOW.plus(4 * DAY));
    let mut planner = planner(true, 1, &["a.example"], &[]);
    planner.want("a.example", NOW);
    planner.begin(NOW);
    let ended = Ended::Issued { not_before: NOW, not_after: NOW.plus(90 * DAY), window: Some(window) };
    planner.ended("a.example", ended, NOW);
    let renew_at = |planner: &Planner| planner.record("a.example").unwrap().certificate.unwrap().renew_at;
    let first = renew_at(&planner);
    assert!((window.0..=window.1).contains(&first));

    // Some hours later it is asked again. The same window changes nothing, another one does, at once if need be.
    assert_eq!(planner.look(NOW), None);
    let later = NOW.plus(LOOK_USUAL);
    assert_eq!(planner.look(later).as_deref(), Some("a.example"));
    planner.looked("a.example", Some(window), HOUR, later);
    assert_eq!(renew_at(&planner), first);
    let later = later.plus(HOUR);
    assert_eq!(planner.look(later).as_deref(), Some("a.example"));
    planner.looked("a.example", Some((Time(NOW.0 - DAY), Time(NOW.0 - 1))), HOUR, later);
    assert_eq!(names(&planner.begin(later)), ["a.example"], "it was revoked, say");
}

#[test]
fn a_name_that_fails_is_left_alone_for_longer_and_longer() {
    let mut planner = planner(true, 1, &["a.example"], &[]);
    let (mut now, mut waits) = (NOW, Vec::new());
    for _ in 0..14 {
        assert_eq!(planner.want("a.example", now), Want::Wait);
        assert_eq!(planner.begin(now).len(), 1);
        planner.ended("a.example", failed(Failure::Challenge), now);
        let Want::Later(next) = planner.want("a.example", now) else { panic!("no backoff") };
        waits.push(next.0 - now.0);
        now = next;
    }
    assert!((MINUTE..=MINUTE * 5 / 4).contains(&waits[0]), "{waits:?}");
    assert!(*waits.last().unwrap() >= 24 * HOUR * 3 / 4 && waits.iter().all(|wait| *wait <= 24 * HOUR));
    let hour: u64 = waits[..TRIES_PER_HOUR].iter().sum();
    assert!(hour > HOUR, "no more than {TRIES_PER_HOUR} within an hour: {waits:?}");
}

#[test]
fn the_next_authority_is_asked_when_one_cannot_be_reached() {
    let mut planner = planner(true, 2, &["a.example", "b.example"], &[]);
    planner.want("a.example", NOW);
    assert_eq!(planner.begin(NOW)[0].authority, 0);
    assert_eq!(planner.ended("a.example", failed(Failure::Unavailable), NOW), Heard::GoesOn);
    assert_eq!(planner.begin(NOW)[0].authority, 1);
    // Both are gone: whoever waits is told, and the name is ordered as soon as one is back.
    assert_eq!(planner.ended("a.example", failed(Failure::Unavailable), NOW), Heard::Over);
    assert_eq!(planner.begin(NOW), []);
    assert!(matches!(planner.want("b.example", NOW), Want::Later(_)));
    let back = planner.wake(NOW).unwrap();
    assert!((NOW.plus(5)..=NOW.plus(7)).contains(&back));
    assert_eq!(planner.begin(back).len(), 1, "one goes ahead");
    assert_eq!(planner.begin(back), []);
    planner.ended("a.example", issued(back, 90), back);
    assert_eq!(names(&planner.begin(back)), ["b.example"]);
}

#[test]
fn a_rate_limit_stops_all_orders_at_that_authority_until_it_is_over() {
    let mut planner = planner(true, 1, &["a.example", "b.example"], &[]);
    planner.want("a.example", NOW);
    planner.begin(NOW);
    let limited = failed(Failure::RateLimited { retry_after: Some(3 * HOUR) });
    assert_eq!(planner.ended("a.example", limited, NOW), Heard::Over);
    assert_eq!(planner.want("b.example", NOW), Want::Later(NOW.plus(3 * HOUR)));
    assert_eq!(planner.begin(NOW.plus(3 * HOUR - 1)), []);
    assert_eq!(planner.wake(NOW), Some(NOW.plus(3 * HOUR)));
    assert_eq!(planner.begin(NOW.plus(3 * HOUR)).len(), 2, "it is well otherwise");
}

#[test]
fn a_name_that_one_authority_refuses_is_taken_to_the_next() {
    let mut planner = planner(true, 2, &["a.example"], &[]);
    planner.want("a.example", NOW);
    planner.begin(NOW);
    assert_eq!(planner.ended("a.example", failed(Failure::Refused), NOW), Heard::GoesOn);
    assert_eq!(planner.begin(NOW)[0].authority, 1);
    assert_eq!(planner.ended("a.example", failed(Failure::Refused), NOW), Heard::Over);
    assert!(matches!(planner.want("a.example", NOW), Want::Later(_)), "all have refused it");
}

#[test]
fn an_order_that_was_cut_off_is_made_anew_at_once_but_only_once() {
    let mut planner = Planner::new(true, 1, Dice::new(1));
    planner.restore("a.example", Record::default(), true, NOW);
    planner.serve(Served::new(["a.example"], []), NOW);
    assert_eq!(names(&planner.begin(NOW)), ["a.example"], "nobody has to ask again");
    assert_eq!(planner.ended("a.example", failed(Failure::Lapsed), NOW), Heard::GoesOn);
    assert_eq!(planner.begin(NOW).len(), 1);
    assert_eq!(planner.ended("a.example", failed(Failure::Lapsed), NOW), Heard::Over);
    assert_eq!(planner.begin(NOW), []);
}

#[test]
fn an_order_that_its_authority_is_silent_about_is_made_anew_in_the_end_and_holds_up_no_other_name() {
    let mut planner = planner(true, 1, &["a.example"], &["b.example"]);
    let mut now = NOW;
    planner.want("a.example", now);
    for time in 1..=7 {
        let other = format!("{time}.b.example");
        let orders = planner.begin(now);
        assert_eq!(names(&orders), ["a.example"], "it stays wanted");
        assert_eq!(orders[0].anew, [4, 7].contains(&time), "try {time}");
        let heard = planner.ended("a.example", failed(Failure::Silent), now);
        if time == 3 {
            assert_eq!(heard, Heard::GoesOn, "the first that is given up is made anew at once");
            continue;
        }
        assert_eq!(heard, Heard::Over);
        assert_eq!(planner.begin(now), [], "it is asked about again later");
        let Want::Later(at) = planner.want("a.example", now) else { panic!("it has a backoff") };
        // The authority itself is well.
        assert_eq!(planner.want(&other, now), Want::Wait);
        assert_eq!(names(&planner.begin(now)), [&other]);
        planner.ended(&other, issued(now, 90), now);
        now = at;
    }
    assert!(now >= NOW.plus(5 + 10 + 40 + 80 + 160 + 320), "for longer and longer");
    planner.begin(now);
    assert_eq!(planner.ended("a.example", failed(Failure::Unavailable), now), Heard::Over);
    assert_eq!(planner.record("a.example").unwrap().failures, 0, "the name can't help it");
}

#[test]
fn a_name_whose_order_nothing_is_said_of_is_taken_to_the_next_authority() {
    let mut planner = planner(true, 2, &["a.example"], &[]);
    let mut now = NOW;
    planner.want("a.example", now);
    let mut asked = Vec::new();
    for _ in 0..7 {
        asked.push(planner.begin(now)[0].authority);
        planner.ended("a.example", failed(Failure::Silent), now);
        now = planner.wake(now).unwrap_or(now);
    }
    assert_eq!(asked, [0, 0, 0, 1, 1, 1, 0]);
}

#[test]
fn backoffs_go_on_after_a_restart() {
    let mut first = planner(false, 1, &["a.example", "b.example"], &[]);
    first.begin(NOW);
    first.ended("a.example", failed(Failure::Challenge), NOW);
    first.ended("b.example", issued(NOW, 90), NOW);
    let mut second = Planner::new(false, 1, Dice::new(2));
    for name in ["a.example", "b.example"] {
        second.restore(name, first.record(name).unwrap(), false, NOW);
    }
    second.serve(Served::new(["a.example", "b.example"], []), NOW);
    assert_eq!(second.begin(NOW), []);
    let next = second.wake(NOW).unwrap();
    assert_eq!(first.wake(NOW), Some(next));
    assert_eq!(names(&second.begin(next)), ["a.example"]);

    let mut third = Planner::new(false, 1, Dice::new(2));
    third.restore_authority(0, NOW.plus(HOUR), 3);
    third.serve(Served::new(["c.example"], []), NOW);
    assert_eq!((third.begin(NOW), third.wake(NOW)), (Vec::new(), Some(NOW.plus(HOUR))));
}

#[test]
fn a_name_that_left_its_site_is_not_renewed_and_comes_back_with_its_certificate() {
    let mut planner = planner(false, 1, &["a.example"], &[]);
    planner.begin(NOW);
    planner.ended("a.example", issued(NOW, 90), NOW);
    planner.serve(Served::default(), NOW);
    assert_eq!(planner.wake(NOW), None);
    assert_eq!(planner.begin(NOW.plus(70 * DAY)), []);
    planner.serve(Served::new(["a.example"], []), NOW);
    assert_eq!(planner.want("a.example", NOW), Want::Good);
    assert_eq!(planner.begin(NOW), []);
}

#[test]
fn certificates_that_are_due_as_soon_as_they_come_are_not_ordered_in_a_circle() {
    let mut planner = planner(true, 1, &["a.example"], &[]);
    planner.want("a.example", NOW);
    planner.begin(NOW);
    planner.ended("a.example", issued(Time(NOW.0 - 90 * DAY), 90), NOW);
    assert_eq!(planner.begin(NOW), []);
    assert!(planner.wake(NOW).unwrap() >= NOW.plus(MINUTE));
}
