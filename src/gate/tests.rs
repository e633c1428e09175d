use std::time::Duration;

use super::*;
use crate::core::Backend;
use crate::core::fleet::Moment;

fn gate_with(total: usize) -> (Arc<Gate>, mpsc::UnboundedReceiver<Report>) {
    let (reports, received) = mpsc::unbounded_channel();
    (
        Arc::new(Gate::new(
            SiteKey(0),
            Surroundings::new(Arc::new(HoldBudget::new(total)), Arc::new(Lifeline::for_ever()), reports),
        )),
        received,
    )
}

fn pin(epoch: u64) -> Pin {
    let backend: Backend = format!("127.0.0.1:{}", 1000 + epoch).parse().unwrap();
    Pin { epoch: Epoch(epoch), backend }
}

fn hold(gate: &Arc<Gate>) -> Held {
    match gate.enter_or_hold(None, usize::MAX, None).unwrap() {
        Entry::Held(held) => held,
        Entry::Entered(_) => panic!("the gate was open"),
    }
}

fn left(received: &mut mpsc::UnboundedReceiver<Report>) -> Vec<u64> {
    let mut generations = Vec::new();
    while let Ok(report) = received.try_recv() {
        if let Report::Left { generation, .. } = report {
            generations.push(generation);
        }
    }
    generations
}

#[test]
fn a_new_gate_lets_nobody_in() {
    assert!(gate_with(1).0.enter().is_none());
}

#[test]
fn the_last_lease_to_go_reports_the_fence() {
    let (gate, mut received) = gate_with(1);
    gate.open(pin(1));
    let (one, two) = (gate.enter().unwrap(), gate.enter().unwrap());
    gate.shut(7);
    assert!(gate.enter().is_none());
    drop(one);
    assert_eq!(left(&mut received), [0u64; 0]);
    drop(two);
    assert_eq!(left(&mut received), [7]);
}

#[test]
fn shutting_an_empty_gate_reports_at_once() {
    let (gate, mut received) = gate_with(1);
    gate.open(pin(1));
    gate.shut(3);
    assert_eq!(left(&mut received), [3]);
}

#[tokio::test]
async fn held_request_lands_on_the_new_backend() {
    let (gate, _received) = gate_with(1);
    gate.open(pin(1));
    gate.shut(1);
    let mut held = hold(&gate);
    gate.open(pin(2));
    assert_eq!(held.turn().await.unwrap().lease.pin().epoch, Epoch(2));
}

#[tokio::test]
async fn held_requests_leave_in_order_of_arrival_and_nobody_passes_them() {
    let (gate, _received) = gate_with(1000);
    let mut queue: std::collections::VecDeque<Held> = (0..50).map(|_| hold(&gate)).collect();
    gate.open(pin(1));
    queue.push_back(hold(&gate));
    while let Some(mut first) = queue.pop_front() {
        assert!(gate.enter().is_none(), "somebody passed those who wait");
        let mut lease = first.turn().await.unwrap().lease;
        lease.answered(true);
        if gate.is_open() {
            break;
        }
    }
    for mut held in queue {
        assert!(held.turn.try_recv().is_ok(), "the door was open while somebody waited");
        held.turn.close();
    }
}

#[tokio::test]
async fn a_release_begins_with_a_small_window() {
    let (gate, _received) = gate_with(1000);
    let mut waiting: Vec<Held> = (0..50).map(|_| hold(&gate)).collect();
    gate.open(pin(1));
    let gone: Vec<Lease> =
        waiting.iter_mut().filter_map(|held| Some(held.turn.try_recv().ok()?.lease)).collect();
    assert_eq!(gone.len(), crate::core::release::WINDOW_AT_FIRST as usize);
    assert_eq!(gate.held(), 50 - gone.len());
}

#[tokio::test]
async fn a_request_that_comes_back_keeps_its_place() {
    let (gate, _received) = gate_with(10);
    let mut first = hold(&gate);
    let ticket = first.ticket();
    gate.open(pin(1));
    drop(first.turn().await.unwrap().lease);
    drop(first);
    gate.suspect(Epoch(1));
    let later = hold(&gate);
    let Ok(Entry::Held(back)) = gate.enter_or_hold(Some(ticket), 1, None) else { panic!() };
    assert!(back.ticket() < later.ticket());
}

#[test]
fn a_full_queue_refuses_the_newcomer_and_forgets_who_left() {
    let (gate, _received) = gate_with(10);
    let held = hold(&gate);
    assert_eq!(gate.enter_or_hold(None, 1, None).unwrap_err(), NotHeld::Full);
    drop(held);
    assert_eq!(gate.held(), 0);
    assert!(gate.enter_or_hold(None, 1, None).is_ok());
}

#[test]
fn one_sites_queue_stops_at_the_total_budget() {
    let (gate, _received) = gate_with(2);
    let _held = [hold(&gate), hold(&gate)];
    assert_eq!(gate.enter_or_hold(None, usize::MAX, None).unwrap_err(), NotHeld::Full);
    assert_eq!(gate.around.budget.held(), 2);
}

#[test]
fn a_suspicion_shuts_the_gate_for_its_own_epoch_only() {
    let (gate, mut received) = gate_with(2);
    gate.open(pin(2));
    gate.suspect(Epoch(1));
    assert!(gate.is_open() && received.try_recv().is_err());
    gate.suspect(Epoch(2));
    assert!(!gate.is_open());
    assert!(matches!(received.try_recv(), Ok(Report::Suspected { epoch: Epoch(2), .. })));
}

#[tokio::test]
async fn who_is_never_held_passes_the_queue_once_the_gate_is_open() {
    let (gate, mut received) = gate_with(100);
    let _waiting: Vec<Held> = (0..50).map(|_| hold(&gate)).collect();
    assert!(gate.enter_past_the_queue().is_none());
    gate.open(pin(1));
    assert!(!gate.is_open(), "the queue is being served");
    let lease = gate.enter_past_the_queue().unwrap();
    assert_eq!(lease.pin().epoch, Epoch(1));
    gate.shut(5);
    assert!(gate.enter_past_the_queue().is_none());
    drop(_waiting);
    assert_eq!(left(&mut received), [0_u64; 0], "its lease counts like any other");
    drop(lease);
    assert_eq!(left(&mut received), [5]);
}

#[tokio::test]
async fn a_retired_gate_tells_those_who_wait() {
    let (gate, _received) = gate_with(2);
    let mut held = hold(&gate);
    gate.retire();
    assert!(held.turn().await.is_none());
    assert_eq!(gate.enter_or_hold(None, 9, None).unwrap_err(), NotHeld::Retired);
}

/// Threads enter and leave while the gate is shut and opened under ever new epochs; each lease's epoch must be the
/// only one out. This is the race that a gate of two steps loses.
#[test]
fn no_two_epochs_have_leases_at_once_whatever_the_threads_do() {
    let (gate, mut received) = gate_with(0);
    let active = Arc::new([const { AtomicU64::new(0) }; 64]);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (gate, active, stop) = (gate.clone(), active.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut entered = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let Some(lease) = gate.enter() else { continue };
                    entered += 1;
                    let mine = lease.pin().epoch.0 as usize % 64;
                    active[mine].fetch_add(1, Ordering::SeqCst);
                    for (other, count) in active.iter().enumerate() {
                        assert!(other == mine || count.load(Ordering::SeqCst) == 0, "two epochs at once");
                    }
                    active[mine].fetch_sub(1, Ordering::SeqCst);
                }
                entered
            })
        })
        .collect();
    for epoch in 1..=2000 {
        gate.open(pin(epoch));
        std::thread::yield_now();
        gate.shut(epoch);
        loop {
            if let Some(Report::Left { generation, .. }) = received.blocking_recv()
                && generation == epoch
            {
                break;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let entered: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(entered > 0, "nobody ever entered: the test saw nothing");
}

#[tokio::test]
async fn a_lease_on_its_way_to_a_held_request_is_cut_like_those_that_have_arrived() {
    let (gate, _received) = gate_with(1);
    let mut held = hold(&gate);
    gate.open(pin(1));
    gate.shut(1);
    gate.cut();
    let lease = held.turn().await.unwrap().lease;
    assert!(lease.is_cut());
    drop(lease);
    gate.open(pin(2));
    assert!(!gate.enter().unwrap().is_cut(), "the next epoch is another matter");
}

/// A gate of an edge whose time is over, opened before.
fn expired(bound: bool) -> (Arc<Gate>, mpsc::UnboundedReceiver<Report>, Arc<Lifeline>) {
    let (reports, received) = mpsc::unbounded_channel();
    let lifeline = Arc::new(Lifeline::for_ever());
    let around = Surroundings::new(Arc::new(HoldBudget::new(9)), lifeline.clone(), reports);
    let gate = Arc::new(Gate::new(SiteKey(0), around));
    gate.bind(bound);
    gate.open(pin(1));
    lifeline.until(Moment::default());
    (gate, received, lifeline)
}

#[test]
fn nobody_is_let_in_after_the_time_of_the_process_is_over_even_if_no_timer_has_shut_the_gate() {
    let (gate, mut reports, lifeline) = expired(true);
    assert!(gate.enter().is_none());
    assert!(matches!(reports.try_recv(), Ok(Report::Expired { .. })));
    assert!(!gate.is_open());
    let Ok(Entry::Held(mut held)) = gate.enter_or_hold(None, 9, None) else { panic!("it is held") };
    assert!(reports.try_recv().is_err(), "it is told once");
    lifeline.until(crate::lifeline::now().plus(Duration::from_secs(60)));
    gate.open(pin(1));
    assert!(held.turn.try_recv().is_ok(), "it goes on when there is more time after all");
}

#[test]
fn nothing_is_handed_over_or_delivered_after_the_time_of_the_process_is_over() {
    let (gate, _reports, lifeline) = expired(true);
    lifeline.until(crate::lifeline::now().plus(Duration::from_secs(60)));
    let lease = gate.enter().unwrap();
    assert!(lease.may_hand_over() && lease.may_deliver());
    lifeline.until(Moment::default());
    assert!(!lease.may_hand_over() && !lease.may_deliver());
}

#[test]
fn a_site_that_is_to_serve_through_a_partition_is_not_bound_by_that_time() {
    let (gate, _reports, _lifeline) = expired(false);
    assert!(gate.enter().is_some_and(|lease| lease.may_hand_over() && lease.may_deliver()));
}

#[test]
fn an_epoch_that_was_cut_may_be_opened_again_once_its_leases_are_gone() {
    let (gate, _received) = gate_with(1);
    gate.open(pin(1));
    let lease = gate.enter().unwrap();
    gate.shut(1);
    gate.cut();
    assert!(!lease.may_hand_over());
    drop(lease);
    gate.open(pin(1));
    assert!(gate.enter().is_some_and(|lease| lease.may_hand_over()));
}

fn like(path: &str) -> Option<Likeness> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: blog.example\r\n\r\n");
    let head = crate::http1::RequestHead::parse(head.as_bytes(), 1).unwrap();
    Likeness::of(&head, false, |_| false)
}

fn hold_for(gate: &Arc<Gate>, path: &str) -> Held {
    let Ok(Entry::Held(held)) = gate.enter_or_hold(None, usize::MAX, like(path)) else {
        panic!("it is held")
    };
    held
}

fn answer(leads: &Leads) -> Arc<Shared> {
    let head = crate::http1::ResponseHead::new(http::StatusCode::OK);
    let room = leads.rooms().take().unwrap();
    Arc::new(Shared::new(head, crate::http1::Length::Nothing, room.keep(Vec::new())))
}

/// The turn of one that goes for others.
async fn goes_for_others(held: &mut Held) -> (Lease, Leads) {
    match held.turn().await.unwrap() {
        Turn { lease, part: Part::Leads(leads) } => (lease, leads),
        turn => panic!("it goes for nobody: {:?}", turn.part),
    }
}

#[tokio::test]
async fn those_that_are_alike_get_one_answer_under_leases_of_their_own() {
    let (gate, mut received) = gate_with(9);
    let mut first = hold_for(&gate, "/");
    let mut other = hold_for(&gate, "/about");
    let mut second = hold_for(&gate, "/");
    gate.open(pin(1));
    let (lease, leads) = goes_for_others(&mut first).await;
    assert!(matches!(other.turn().await.unwrap().part, Part::Alone));
    let answer = answer(&leads);
    leads.shares(&answer);
    let Turn { lease: its_own, part: Part::Follows(_) } = second.turn().await.unwrap() else { panic!() };
    drop(lease);
    gate.shut(1);
    assert_eq!(left(&mut received), [0_u64; 0], "the answer is on its way to the second");
    drop(its_own);
    assert_eq!(left(&mut received), [1]);
}

#[tokio::test]
async fn an_answer_that_comes_after_a_handoff_is_for_nobody_else() {
    let (gate, _received) = gate_with(9);
    let (mut first, mut second) = (hold_for(&gate, "/"), hold_for(&gate, "/"));
    gate.open(pin(1));
    let (lease, leads) = goes_for_others(&mut first).await;
    gate.shut(1);
    let answer = answer(&leads);
    leads.shares(&answer);
    drop(lease);
    gate.open(pin(2));
    let turn = second.turn().await.unwrap();
    assert!(matches!(turn.part, Part::Alone), "it asks the new backend itself");
    assert_eq!(turn.lease.pin().epoch, Epoch(2));
}

#[tokio::test]
async fn a_failure_of_one_that_went_for_others_lets_the_next_one_go() {
    let (gate, _received) = gate_with(9);
    let (mut first, mut second) = (hold_for(&gate, "/"), hold_for(&gate, "/"));
    let mut third = hold_for(&gate, "/");
    gate.open(pin(1));
    drop(goes_for_others(&mut first).await);
    let (_lease, leads) = goes_for_others(&mut second).await;
    leads.is_apart();
    assert!(matches!(third.turn().await.unwrap().part, Part::Alone));
    assert_eq!(gate.held(), 0);
    assert!(gate.enter().is_some());
}

#[tokio::test]
async fn who_has_left_does_not_go_for_others() {
    let (gate, _received) = gate_with(9);
    let (first, mut second) = (hold_for(&gate, "/"), hold_for(&gate, "/"));
    let mut third = hold_for(&gate, "/");
    drop(first);
    gate.open(pin(1));
    let (lease, leads) = goes_for_others(&mut second).await;
    let answer = answer(&leads);
    leads.shares(&answer);
    drop(lease);
    assert!(matches!(third.turn().await.unwrap().part, Part::Follows(_)));
    assert_eq!(gate.in_flight(), 0);
}

#[test]
fn a_site_whose_answers_never_do_for_all_is_not_waited_for() {
    let (gate, _received) = gate_with(1);
    assert!(gate.may_share(), "nothing is known");
    (0..8).for_each(|_| gate.sample(false));
    assert!(!gate.may_share());
    gate.sample(true);
    (0..7).for_each(|_| gate.sample(false));
    assert!(gate.may_share(), "one of eight did");
    gate.sample(false);
    assert!(!gate.may_share());
}
