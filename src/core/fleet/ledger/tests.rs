use super::*;

const A: LeaseId = LeaseId(1);
const B: LeaseId = LeaseId(2);

fn blog() -> SiteName {
    "blog".into()
}

fn pin(epoch: u64) -> Pin {
    Pin { epoch: Epoch(epoch), backend: format!("10.0.0.{epoch}:80").parse().unwrap() }
}

fn serve(epoch: u64) -> Record {
    Record { pin: pin(epoch), phase: RecordPhase::Serve }
}

fn fence() -> Record {
    Record { pin: pin(1), phase: RecordPhase::Fence(Fence::default()) }
}

fn says(watermark: u64, pending: &[SiteName]) -> EdgeSays {
    EdgeSays { watermark: Revision(watermark), pending: pending.iter().cloned().collect() }
}

fn shut(generation: u64) -> Wanted {
    Wanted::Shut { generation, pin: pin(1), fence: Fence::default() }
}

/// `blog` served since revision 5 by two edges that have applied revision 8; all is known up to 10.
fn served() -> Ledger {
    let edges = [(A, says(8, &[])), (B, says(8, &[]))];
    Ledger::new(Revision(10), [(blog(), serve(1), Revision(5))], edges)
}

fn edge(ledger: &mut Ledger, revision: u64, lease: LeaseId, says: Option<EdgeSays>) -> Effects {
    ledger.changed(Revision(revision), vec![Change::Edge(lease, says)])
}

fn left(generation: u64) -> Effect {
    Effect::Left { site: blog(), generation }
}

#[test]
fn a_write_is_guarded_by_the_revision_of_what_it_replaces() {
    let write = Effect::Write { site: blog(), record: fence(), guard: Revision(5) };
    assert_eq!(served().wants(&blog(), shut(1)), [write]);
}

#[test]
fn the_first_pin_is_written_where_nothing_is() {
    let mut ledger = Ledger::new(Revision(10), [], []);
    let write = Effect::Write { site: blog(), record: serve(1), guard: Revision(0) };
    assert_eq!(ledger.wants(&blog(), Wanted::Commit(pin(1))), [write]);
    let committed = Effect::Committed { site: blog(), epoch: Epoch(1) };
    assert_eq!(ledger.written(&blog(), Written::At(Revision(11))), [committed]);
}

#[test]
fn a_fence_is_complete_when_every_edge_has_applied_it_and_has_let_go() {
    let mut ledger = served();
    ledger.wants(&blog(), shut(1));
    assert_eq!(ledger.written(&blog(), Written::At(Revision(11))), []);
    assert_eq!(edge(&mut ledger, 12, A, Some(says(11, &[]))), []);
    assert_eq!(edge(&mut ledger, 13, B, Some(says(11, &[blog()]))), []);
    assert_eq!(edge(&mut ledger, 14, B, Some(says(11, &[]))), [left(1)]);
    assert_eq!(edge(&mut ledger, 15, B, Some(says(12, &[]))), [], "it is told once");
}

#[test]
fn an_edge_that_is_gone_is_not_waited_for() {
    let mut ledger = served();
    ledger.wants(&blog(), shut(1));
    ledger.written(&blog(), Written::At(Revision(11)));
    edge(&mut ledger, 12, A, Some(says(11, &[])));
    assert_eq!(edge(&mut ledger, 13, B, None), [left(1)]);
}

#[test]
fn no_fence_is_complete_before_all_is_seen_that_was_written_before_it() {
    let mut ledger = Ledger::new(Revision(8), [(blog(), serve(1), Revision(5))], []);
    ledger.wants(&blog(), shut(1));
    // An edge may have registered between 8 and 11.
    assert_eq!(ledger.written(&blog(), Written::At(Revision(11))), []);
    assert_eq!(edge(&mut ledger, 10, A, Some(says(0, &[]))), []);
    assert_eq!(ledger.changed(Revision(11), vec![]), []);
    assert_eq!(edge(&mut ledger, 12, A, Some(says(11, &[]))), [left(1)]);
}

#[test]
fn one_sites_slow_drain_stops_no_other() {
    let shop: SiteName = "shop".into();
    let sites = [(blog(), serve(1), Revision(5)), (shop.clone(), serve(1), Revision(5))];
    let mut ledger = Ledger::new(Revision(10), sites, [(A, says(8, &[]))]);
    ledger.wants(&blog(), shut(1));
    ledger.wants(&shop, shut(1));
    ledger.written(&blog(), Written::At(Revision(11)));
    ledger.written(&shop, Written::At(Revision(11)));
    assert_eq!(edge(&mut ledger, 12, A, Some(says(11, std::slice::from_ref(&shop)))), [left(1)]);
}

#[test]
fn a_cut_is_a_fence_written_again() {
    let mut ledger = served();
    ledger.wants(&blog(), shut(1));
    let cuts = Wanted::Fence { pin: pin(1), fence: Fence { cut: true, ..Fence::default() } };
    assert_eq!(ledger.wants(&blog(), cuts.clone()), [], "one write of a site at a time");
    let cut = Record { pin: pin(1), phase: RecordPhase::Fence(Fence { cut: true, ..Fence::default() }) };
    let write = Effect::Write { site: blog(), record: cut, guard: Revision(11) };
    assert_eq!(ledger.written(&blog(), Written::At(Revision(11))), [write]);
    ledger.written(&blog(), Written::At(Revision(12)));
    assert_eq!(ledger.wants(&blog(), cuts), [], "it is said once");
    edge(&mut ledger, 13, A, Some(says(12, &[])));
    assert_eq!(edge(&mut ledger, 14, B, Some(says(12, &[]))), [left(1)]);
}

#[test]
fn serving_on_under_the_same_epoch_waits_for_nobody() {
    let mut ledger = served();
    ledger.wants(&blog(), shut(1));
    ledger.written(&blog(), Written::At(Revision(11)));
    let write = Effect::Write { site: blog(), record: serve(1), guard: Revision(11) };
    assert_eq!(ledger.wants(&blog(), Wanted::Open(pin(1))), [write]);
    ledger.written(&blog(), Written::At(Revision(12)));
    edge(&mut ledger, 13, A, Some(says(12, &[])));
    assert_eq!(edge(&mut ledger, 14, B, Some(says(12, &[]))), []);
}

#[test]
fn a_fence_that_may_be_given_up_by_a_write_under_way_is_not_complete() {
    let mut ledger = served();
    ledger.wants(&blog(), shut(1));
    ledger.written(&blog(), Written::At(Revision(11)));
    edge(&mut ledger, 12, A, Some(says(11, &[])));
    assert_eq!(edge(&mut ledger, 13, B, Some(says(11, &[]))), [left(1)]);
    ledger.wants(&blog(), Wanted::Open(pin(1)));
    // What stands is a fence that all have applied, but edges may already see that they serve again.
    assert_eq!(ledger.wants(&blog(), shut(2)), []);
    assert_eq!(ledger.changed(Revision(14), vec![]), []);
    let write = Effect::Write { site: blog(), record: fence(), guard: Revision(14) };
    assert_eq!(ledger.written(&blog(), Written::At(Revision(14))), [write]);
    assert_eq!(ledger.written(&blog(), Written::At(Revision(15))), []);
    edge(&mut ledger, 16, A, Some(says(15, &[])));
    assert_eq!(edge(&mut ledger, 17, B, Some(says(15, &[]))), [left(2)]);
}

#[test]
fn what_stands_already_is_not_written_again() {
    assert_eq!(served().wants(&blog(), Wanted::Open(pin(1))), []);
}

#[test]
fn a_successor_waits_for_a_fence_that_it_has_found() {
    let edges = [(A, says(11, &[])), (B, says(8, &[]))];
    let mut ledger = Ledger::new(Revision(20), [(blog(), fence(), Revision(11))], edges);
    assert_eq!(ledger.wants(&blog(), shut(1)), []);
    assert_eq!(edge(&mut ledger, 21, B, Some(says(11, &[]))), [left(1)]);
}

#[test]
fn who_is_overtaken_is_deposed_and_writes_no_more() {
    let mut ledger = served();
    ledger.wants(&blog(), shut(1));
    assert_eq!(ledger.written(&blog(), Written::Overtaken), [Effect::Deposed { site: blog() }]);
}

#[test]
fn who_sees_anothers_write_is_deposed() {
    let by_another = vec![Change::Site(blog(), Some(serve(2)), Revision(11))];
    assert_eq!(served().changed(Revision(11), by_another), [Effect::Deposed { site: blog() }]);
}

#[test]
fn a_write_that_the_watch_tells_of_before_its_answer_is_ones_own() {
    let mut ledger = served();
    ledger.wants(&blog(), shut(1));
    assert_eq!(ledger.changed(Revision(11), vec![Change::Site(blog(), Some(fence()), Revision(11))]), []);
    edge(&mut ledger, 12, A, Some(says(11, &[])));
    assert_eq!(edge(&mut ledger, 13, B, Some(says(11, &[]))), [left(1)]);
    assert_eq!(ledger.written(&blog(), Written::At(Revision(11))), []);
}
