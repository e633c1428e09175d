//! Each check passes a good history, and finds the one thing that is wrong in a bad one.

use super::*;

fn answer(instance: Option<&str>, head: u64, status: u16) -> Answer {
    Answer {
        head: Moment(head),
        status,
        instance: instance.map(str::to_owned),
        epoch: None,
        retry_after: None,
        complaint: String::new(),
    }
}

/// A GET that began at `started` and whose head, by `instance`, came at `head`.
fn read(number: u64, started: u64, head: u64, instance: &str) -> Record {
    Record {
        number,
        kind: Kind::Read,
        intended: Moment(started),
        started: Moment(started),
        ended: Moment(head + 1),
        outcome: Outcome::Answered(answer(Some(instance), head, 200)),
    }
}

fn with_epoch(mut record: Record, epoch: u64) -> Record {
    let Outcome::Answered(answer) = &mut record.outcome else { panic!("no answer") };
    answer.epoch = Some(epoch);
    record
}

fn a_then_b() -> Turns {
    Turns::once_each(&["A", "B"])
}

#[test]
fn a_clean_switch_is_in_order() {
    let records = [read(0, 0, 5, "A"), read(1, 4, 9, "A"), read(2, 6, 20, "B"), read(3, 21, 22, "B")];
    assert_eq!(order(&records, &a_then_b()), Order::default());
}

#[test]
fn an_old_answer_to_a_request_that_began_after_a_new_answer_is_a_two_state_read() {
    let records = [read(0, 0, 5, "A"), read(1, 6, 10, "B"), read(2, 11, 12, "A"), read(3, 13, 14, "B")];
    let found = order(&records, &a_then_b());
    assert_eq!(found.two_state_reads, [2]);
    assert_eq!(found.late_heads, [2]);
}

#[test]
fn an_old_answer_that_was_on_its_way_is_a_late_head_but_no_two_state_read() {
    let records = [read(0, 0, 30, "A"), read(1, 6, 10, "B")];
    let found = order(&records, &a_then_b());
    assert!(found.two_state_reads.is_empty());
    assert_eq!(found.late_heads, [0]);
}

#[test]
fn the_order_of_the_list_does_not_matter() {
    let records = [read(2, 11, 12, "A"), read(1, 6, 10, "B"), read(0, 0, 5, "A")];
    assert_eq!(order(&records, &a_then_b()).two_state_reads, [2]);
}

#[test]
fn going_back_to_the_first_instance_without_a_turn_is_found() {
    let records = [read(0, 0, 1, "A"), read(1, 2, 3, "B"), read(2, 4, 5, "A"), read(3, 6, 7, "A")];
    assert_eq!(order(&records, &a_then_b()).two_state_reads, [2, 3]);
}

#[test]
fn going_back_to_the_first_instance_in_its_turn_is_in_order() {
    let mut turns = a_then_b();
    turns.0.push(Turn { instance: "A".into(), since: Moment(4) });
    let good = [read(0, 0, 1, "A"), read(1, 2, 3, "B"), read(2, 4, 6, "A"), read(3, 7, 8, "A")];
    assert_eq!(order(&good, &turns), Order::default());

    let b_after_the_third_turn = [&good[..], &[read(4, 9, 10, "B")]].concat();
    assert_eq!(order(&b_after_the_third_turn, &turns).two_state_reads, [4]);

    turns.0[2].since = Moment(7);
    assert_eq!(order(&good, &turns).two_state_reads, [2], "before its turn it was still the old A");
}

#[test]
fn an_instance_that_has_no_turn_is_older_than_all() {
    let records = [read(0, 0, 1, "A"), read(1, 2, 3, "C")];
    assert_eq!(order(&records, &a_then_b()).two_state_reads, [1]);
}

#[test]
fn the_proxys_own_answers_belong_to_no_turn() {
    let mut own = read(2, 11, 12, "A");
    own.outcome = Outcome::Answered(answer(None, 12, 503));
    let records = [read(0, 0, 5, "A"), read(1, 6, 10, "B"), own];
    assert_eq!(order(&records, &a_then_b()), Order::default());
}

#[test]
fn an_epoch_never_falls() {
    let good = [with_epoch(read(0, 0, 5, "A"), 1), with_epoch(read(1, 6, 10, "B"), 2)];
    assert_eq!(order(&good, &a_then_b()), Order::default());
    let bad = [&good[..], &[with_epoch(read(2, 11, 12, "B"), 1)]].concat();
    assert_eq!(order(&bad, &a_then_b()).epochs_fallen, [2]);
}

#[test]
fn failures_are_counted_by_kind_and_reason() {
    let mut refused = read(1, 0, 1, "A");
    refused.outcome = Outcome::Failed("connection closed without an answer".into());
    let mut unavailable = read(2, 0, 1, "A");
    unavailable.outcome = Outcome::Answered(answer(None, 1, 503));
    let mut write = read(3, 0, 1, "A");
    write.kind = Kind::Write;
    write.outcome = Outcome::Answered(answer(None, 1, 503));
    let records = [read(0, 0, 1, "A"), refused, unavailable, write];
    let reads = failures(&records, Kind::Read);
    assert_eq!((reads.of, reads.count()), (3, 2));
    assert_eq!(reads.to_string(), "2 of 3 (1 x connection closed without an answer, 1 x status 503)");
    let writes = failures(&records, Kind::Write);
    assert_eq!((writes.of, writes.count()), (1, 1));
    assert_eq!(failures(&records[..1], Kind::Read).to_string(), "0 of 1");
}

#[test]
fn a_502_must_say_that_the_outcome_is_unknown() {
    let mut record = read(0, 0, 1, "A");
    let mut said = |status, complaint: &str| {
        let complaint = complaint.to_owned();
        record.outcome = Outcome::Answered(Answer { complaint, ..answer(None, 1, status) });
        record.outcome_unknown_was_said()
    };
    assert!(said(502, "The outcome of this request is unknown."));
    assert!(!said(502, "Bad gateway"));
    assert!(!said(503, "The outcome of this request is unknown."));
}

#[test]
fn a_wait_is_counted_from_the_intended_moment() {
    let mut lagging = read(0, 50, 60, "A");
    lagging.intended = Moment(10);
    assert_eq!(lagging.wait(), Duration::from_nanos(50));
    lagging.outcome = Outcome::Failed("no answer".into());
    assert_eq!(lagging.wait(), Duration::from_nanos(51));
}

#[test]
fn percentiles_are_waits_that_really_happened() {
    let records: Vec<Record> = (1..=200).map(|wait| read(wait, 0, wait, "A")).collect();
    let waits = Waits::of(&records);
    assert_eq!(waits.percentile(50.0), Duration::from_nanos(100));
    assert_eq!(waits.percentile(99.0), Duration::from_nanos(198));
    assert_eq!(waits.longest(), Duration::from_nanos(200));
    assert_eq!(Waits::default().longest(), Duration::ZERO);
}

#[test]
fn the_first_answer_of_an_instance_is_its_first_success() {
    let mut booting = read(0, 0, 3, "B");
    booting.outcome = Outcome::Answered(answer(Some("B"), 3, 503));
    let records = [booting, read(1, 0, 9, "B"), read(2, 0, 7, "B"), read(3, 0, 5, "A")];
    assert_eq!(first_answer(&records, "B", Moment(0)), Some(Moment(7)));
    assert_eq!(first_answer(&records, "B", Moment(8)), Some(Moment(9)));
    assert_eq!(first_answer(&records, "C", Moment(0)), None);
}
