use super::*;
use crate::core::fleet::{Fence, RecordPhase};

const LEASE: LeaseId = LeaseId(7);
const TTL: Duration = Duration::from_secs(5);
const TERMS: Terms = Terms { margin: Duration::from_secs(1), cut_max: Duration::from_secs(5) };

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn blog() -> SiteName {
    "blog".into()
}

fn pin(epoch: u64) -> Pin {
    Pin { epoch: Epoch(epoch), backend: format!("10.0.0.{epoch}:80").parse().unwrap() }
}

fn serve(epoch: u64) -> Record {
    Record { pin: pin(epoch), phase: RecordPhase::Serve }
}

fn fence(epoch: u64, cut: bool) -> Record {
    Record { pin: pin(epoch), phase: RecordPhase::Fence(Fence { cut, ..Fence::default() }) }
}

fn added(partition: Partition, known: Option<Pin>) -> Input {
    Input::Added { site: blog(), partition, known }
}

fn changed(revision: u64, record: Record) -> Input {
    let sites = vec![(blog(), Some(record))];
    Input::Changed { lease: LEASE, revision: Revision(revision), sites }
}

fn listed(lease: LeaseId, revision: u64, record: Option<Record>) -> Input {
    let sites = record.into_iter().map(|record| (blog(), record)).collect();
    Input::Listed { lease, revision: Revision(revision), sites }
}

fn told(watermark: u64, pending: &[SiteName]) -> Effect {
    Effect::Tell { lease: LEASE, watermark: Revision(watermark), pending: pending.to_vec() }
}

fn open(epoch: u64) -> Effect {
    Effect::Open { site: blog(), pin: pin(epoch) }
}

fn shut(generation: u64) -> Effect {
    Effect::Shut { site: blog(), generation }
}

fn left(generation: u64) -> Input {
    Input::Left { site: blog(), generation }
}

const CUT: fn() -> Effect = || Effect::Cut { site: blog() };

/// An edge with the lease asked for at 0 and the list as of revision 10.
fn following(record: Option<Record>) -> Edge {
    living(Partition::Fence, None, record).0
}

fn living(partition: Partition, known: Option<Pin>, record: Option<Record>) -> (Edge, Vec<Effect>) {
    let mut edge = Edge::new(TERMS);
    edge.step(at(0), added(partition, known));
    let mut effects = edge.step(at(0), Input::Granted { lease: LEASE, sent: at(0), ttl: TTL });
    effects.extend(edge.step(at(0), Input::Registered { lease: LEASE }));
    effects.extend(edge.step(at(0), listed(LEASE, 10, record)));
    edge.step(at(0), Input::Told { lease: LEASE });
    (edge, effects)
}

/// The store has forgotten the first life; the next one has yet to list.
fn lives_anew(edge: &mut Edge) -> LeaseId {
    let next = LeaseId(8);
    edge.step(at(9), Input::Renewed { lease: LEASE, sent: at(4), ttl: Duration::ZERO });
    edge.step(at(9), Input::Granted { lease: next, sent: at(9), ttl: TTL });
    edge.step(at(9), Input::Registered { lease: next });
    next
}

#[test]
fn a_life_registers_then_lists_then_watches_and_only_then_opens() {
    let mut edge = Edge::new(TERMS);
    assert_eq!(edge.step(at(0), added(Partition::Fence, None)), [Effect::Grant]);
    let granted = edge.step(at(0), Input::Granted { lease: LEASE, sent: at(0), ttl: TTL });
    assert_eq!(granted, [Effect::Until(at(4)), Effect::Register(LEASE)]);
    assert_eq!(edge.step(at(0), Input::Registered { lease: LEASE }), [Effect::List(LEASE)]);
    let remember = Effect::Remember { site: blog(), pin: pin(1) };
    let watch = Effect::Watch { lease: LEASE, from: Revision(11) };
    assert_eq!(
        edge.step(at(0), listed(LEASE, 10, Some(serve(1)))),
        [remember, open(1), watch, told(10, &[])]
    );
}

#[test]
fn a_fence_shuts_the_gate_and_its_site_is_pending_until_the_last_lease_is_gone() {
    let mut edge = following(Some(serve(1)));
    assert_eq!(
        edge.step(at(1), changed(11, fence(1, false))),
        [shut(1), told(11, std::slice::from_ref(&blog()))]
    );
    // What is written meanwhile is told when the store has answered.
    assert_eq!(edge.step(at(1), left(1)), []);
    assert_eq!(edge.step(at(1), Input::Told { lease: LEASE }), [told(11, &[])]);
}

#[test]
fn a_fence_that_cuts_ends_what_is_in_flight() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), changed(11, fence(1, false)));
    assert_eq!(edge.step(at(1), changed(12, fence(1, true))), [CUT()]);
}

#[test]
fn the_next_epoch_opens_when_nothing_of_the_one_before_is_left() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), changed(11, fence(1, false)));
    let effects = edge.step(at(1), changed(12, serve(2)));
    assert_eq!(effects, [Effect::Remember { site: blog(), pin: pin(2) }, CUT()]);
    assert_eq!(edge.step(at(1), left(1))[0], open(2));
}

#[test]
fn the_same_epoch_may_open_again_at_once() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), changed(11, fence(1, false)));
    assert_eq!(edge.step(at(1), changed(12, serve(1))), [open(1)]);
    // A report of the shutting before is nothing any more.
    assert_eq!(edge.step(at(1), left(1)), []);
    assert_eq!(edge.open_under(&blog()), Some(&pin(1)));
}

#[test]
fn an_edge_ends_by_the_time_of_the_sending_that_was_answered() {
    let mut edge = following(Some(serve(1)));
    let renewed = edge.step(at(3), Input::Renewed { lease: LEASE, sent: at(2), ttl: TTL });
    assert_eq!(renewed, [Effect::Until(at(6))]);
    assert_eq!(edge.step(at(5), Input::Tick), []);
    assert_eq!(edge.step(at(6), Input::Tick), [shut(1), CUT()]);
    assert!(edge.is_fenced());
}

#[test]
fn a_lease_that_goes_on_after_all_opens_again() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(4), Input::Tick);
    edge.step(at(4), left(1));
    let renewed = edge.step(at(5), Input::Renewed { lease: LEASE, sent: at(4), ttl: TTL });
    assert_eq!(renewed, [Effect::Until(at(8)), open(1)]);
}

#[test]
fn an_answer_that_was_long_on_its_way_opens_nothing() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(4), Input::Tick);
    edge.step(at(4), left(1));
    assert_eq!(
        edge.step(at(9), Input::Renewed { lease: LEASE, sent: at(1), ttl: TTL }),
        [Effect::Until(at(5))]
    );
    assert_eq!(edge.open_under(&blog()), None);
}

#[test]
fn a_new_life_begins_only_when_the_old_ones_leases_are_gone() {
    let mut edge = following(Some(serve(1)));
    let over = Input::Renewed { lease: LEASE, sent: at(1), ttl: Duration::ZERO };
    assert_eq!(edge.step(at(1), over), [shut(1), CUT()]);
    assert_eq!(edge.step(at(1), left(1)), [Effect::Grant]);
}

#[test]
fn a_cut_that_can_not_be_finished_before_the_lease_is_over_ends_the_process() {
    let mut edge = following(Some(serve(1)));
    assert_eq!(edge.step(at(4), Input::Tick), [shut(1), CUT()]);
    assert_eq!(edge.step(at(5), Input::Tick), [Effect::Die { site: blog() }]);
}

#[test]
fn a_list_older_than_what_was_applied_ends_the_life() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), changed(20, serve(1)));
    assert_eq!(edge.step(at(1), Input::WatchLost { lease: LEASE }), [Effect::List(LEASE)]);
    let effects = edge.step(at(1), listed(LEASE, 15, Some(serve(1))));
    assert_eq!(effects, [shut(1), CUT()]);
    // The key goes when nothing is left that others would have to wait for.
    assert_eq!(edge.step(at(1), left(1)), [Effect::Revoke(LEASE), Effect::Grant]);
}

#[test]
fn while_it_lists_again_it_serves_on_for_others_wait_for_its_watermark() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), Input::WatchLost { lease: LEASE });
    assert_eq!(edge.open_under(&blog()), Some(&pin(1)));
    let effects = edge.step(at(1), listed(LEASE, 15, Some(fence(1, false))));
    let watch = Effect::Watch { lease: LEASE, from: Revision(16) };
    assert_eq!(effects, [shut(1), watch, told(15, &[blog()])]);
}

#[test]
fn an_older_epoch_is_refused_and_nothing_is_opened_under_it() {
    for stored in [Some(serve(3)), None] {
        let (edge, effects) = living(Partition::Fence, Some(pin(4)), stored.clone());
        let stored = stored.map(|record| record.pin);
        assert!(effects.contains(&Effect::Refuse { site: blog(), known: pin(4), stored }));
        assert_eq!(edge.open_under(&blog()), None);
        assert_eq!(edge.refuses(&blog()), Some(&pin(4)));
    }
}

#[test]
fn the_same_epoch_with_another_backend_is_refused() {
    let other = Pin { epoch: Epoch(1), ..pin(9) };
    let (edge, effects) = living(Partition::Fence, Some(other.clone()), Some(serve(1)));
    assert!(effects.contains(&Effect::Refuse { site: blog(), known: other, stored: Some(pin(1)) }));
    assert_eq!(edge.open_under(&blog()), None);
}

#[test]
fn a_site_that_is_to_serve_through_a_partition_goes_on_with_the_last_pin() {
    let (mut edge, _) = living(Partition::Serve, None, Some(serve(1)));
    assert_eq!(edge.step(at(4), Input::Tick), []);
    let over = Input::Renewed { lease: LEASE, sent: at(4), ttl: Duration::ZERO };
    assert_eq!(edge.step(at(9), over), [Effect::Grant]);
    let next = LeaseId(8);
    edge.step(at(9), Input::Granted { lease: next, sent: at(9), ttl: TTL });
    edge.step(at(9), Input::Registered { lease: next });
    assert_eq!(edge.open_under(&blog()), Some(&pin(1)));
    // What was missed is made good: the old epoch is cut, and the new one opens behind it.
    let effects = edge.step(at(9), listed(next, 30, Some(serve(2))));
    assert!(effects.contains(&CUT()) && effects.contains(&shut(1)));
    assert!(edge.step(at(9), left(1)).contains(&open(2)));
}

#[test]
fn what_was_let_in_without_the_store_is_cut_when_a_fence_is_found_there() {
    let (mut edge, _) = living(Partition::Serve, None, Some(serve(1)));
    let next = lives_anew(&mut edge);
    // The others did not wait for it: it was not there.
    let effects = edge.step(at(9), listed(next, 30, Some(fence(1, false))));
    assert!(effects.contains(&shut(1)) && effects.contains(&CUT()));
}

#[test]
fn what_was_let_in_before_the_list_is_cut_when_a_fence_stands_in_it() {
    let (mut edge, _) = living(Partition::Serve, None, Some(serve(1)));
    edge.step(at(1), Input::Suspected { site: blog(), epoch: Epoch(1) });
    edge.step(at(1), left(1));
    let next = lives_anew(&mut edge);
    assert_eq!(edge.step(at(9), Input::Cleared { site: blog(), epoch: Epoch(1) }), [open(1)]);
    let effects = edge.step(at(9), listed(next, 30, Some(fence(1, false))));
    assert!(effects.contains(&shut(2)) && effects.contains(&CUT()));
}

#[test]
fn what_the_store_still_serves_is_waited_for_again() {
    let (mut edge, _) = living(Partition::Serve, None, Some(serve(1)));
    let next = lives_anew(&mut edge);
    edge.step(at(9), listed(next, 30, Some(serve(1))));
    let sites = vec![(blog(), Some(fence(1, false)))];
    let fenced = Input::Changed { lease: next, revision: Revision(31), sites };
    assert_eq!(edge.step(at(9), fenced)[0], shut(1));
    assert!(edge.pending().any(|site| *site == blog()), "it drains, and the others wait for that");
}

#[test]
fn a_site_that_is_to_serve_through_a_partition_opens_again_when_its_backend_answers() {
    let (mut edge, _) = living(Partition::Serve, None, Some(serve(1)));
    edge.step(at(4), Input::Tick);
    let suspected = edge.step(at(5), Input::Suspected { site: blog(), epoch: Epoch(1) });
    assert_eq!(suspected[0], shut(1));
    edge.step(at(5), left(1));
    assert_eq!(edge.step(at(6), Input::Cleared { site: blog(), epoch: Epoch(1) }), [open(1)]);
}

#[test]
fn a_suspicion_shuts_one_edges_gate_and_a_verdict_opens_it_under_the_same_epoch() {
    let mut edge = following(Some(serve(1)));
    assert_eq!(edge.step(at(1), Input::Suspected { site: blog(), epoch: Epoch(1) }), [shut(1)]);
    assert_eq!(edge.suspicions().of(&blog()), Some(Epoch(1)));
    assert_eq!(edge.step(at(1), Input::Cleared { site: blog(), epoch: Epoch(1) }), [open(1)]);
}

#[test]
fn a_detour_opens_the_gate_and_leaves_the_suspicion() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), Input::Suspected { site: blog(), epoch: Epoch(1) });
    assert_eq!(edge.step(at(1), Input::Detour { site: blog(), epoch: Epoch(1) }), [open(1)]);
    assert_eq!(edge.suspicions().of(&blog()), Some(Epoch(1)), "the others are to know");
    assert!(edge.suspicions().takes_detour(&blog()));
    assert_eq!(edge.step(at(1), Input::Cleared { site: blog(), epoch: Epoch(1) }), []);
    assert!(!edge.suspicions().takes_detour(&blog()), "it is open, and goes the usual way");
}

#[test]
fn a_detour_that_fails_shuts_the_gate_again() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), Input::Suspected { site: blog(), epoch: Epoch(1) });
    edge.step(at(1), Input::Detour { site: blog(), epoch: Epoch(1) });
    assert_eq!(edge.step(at(2), Input::Suspected { site: blog(), epoch: Epoch(1) }), [shut(2)]);
    assert!(!edge.suspicions().takes_detour(&blog()));
}

#[test]
fn a_detour_is_of_one_epoch_and_ends_with_it() {
    let mut edge = following(Some(serve(1)));
    let detour = |epoch| Input::Detour { site: blog(), epoch: Epoch(epoch) };
    assert_eq!(edge.step(at(1), detour(1)), [], "nobody needs one");
    edge.step(at(1), Input::Suspected { site: blog(), epoch: Epoch(1) });
    assert_eq!(edge.step(at(1), detour(2)), []);
    edge.step(at(1), detour(1));
    assert_eq!(edge.step(at(1), changed(11, fence(1, false)))[0], shut(2), "its requests end like others");
    edge.step(at(1), left(2));
    assert!(edge.step(at(1), changed(12, serve(2))).contains(&open(2)));
    assert!(!edge.suspicions().takes_detour(&blog()));
}

#[test]
fn a_suspicion_is_of_one_epoch() {
    let mut edge = following(Some(serve(1)));
    edge.step(at(1), Input::Suspected { site: blog(), epoch: Epoch(1) });
    edge.step(at(1), left(1));
    edge.step(at(1), changed(11, fence(1, true)));
    assert!(edge.step(at(1), changed(12, serve(2))).contains(&open(2)));
}

#[test]
fn a_gate_that_a_worker_shut_at_the_deadline_opens_again_if_the_lease_goes_on() {
    let mut edge = following(Some(serve(1)));
    assert_eq!(edge.step(at(1), Input::Expired { site: blog() }), [shut(1), open(1)]);
}

#[test]
fn who_leaves_drains_then_lets_the_store_forget_him() {
    let mut edge = following(Some(serve(1)));
    assert_eq!(edge.step(at(1), Input::Leave), [shut(1)]);
    assert_eq!(edge.step(at(1), left(1)), [Effect::Revoke(LEASE), Effect::HasLeft]);
    assert_eq!(edge.step(at(1), changed(11, serve(2))), []);
}

#[test]
fn a_site_that_is_added_later_opens_under_what_the_store_says() {
    let mut edge = Edge::new(TERMS);
    edge.begin();
    edge.step(at(0), Input::Granted { lease: LEASE, sent: at(0), ttl: TTL });
    edge.step(at(0), Input::Registered { lease: LEASE });
    edge.step(at(0), listed(LEASE, 10, Some(serve(1))));
    assert!(edge.step(at(0), added(Partition::Fence, None)).contains(&open(1)));
}

#[test]
fn a_site_that_is_removed_drains_and_stays_pending_if_it_is_fenced_meanwhile() {
    let mut edge = following(Some(serve(1)));
    assert_eq!(edge.step(at(1), Input::Removed { site: blog() }), [shut(1)]);
    assert_eq!(edge.step(at(1), changed(11, fence(1, false))), [told(11, std::slice::from_ref(&blog()))]);
    edge.step(at(1), Input::Told { lease: LEASE });
    assert_eq!(edge.step(at(1), left(1)), [told(11, &[])]);
}
