//! What holds: worlds that are explored whole, each for one of the things that may befall a fleet.

use ghostpin::core::fleet::Partition;

use super::led::Wanted;
use super::scenario::{Budget, Scenario, plain};
use super::{holds, much};

#[test]
fn a_site_moves_on_all_edges_together() {
    let budget = Budget { moves: 1, cuts: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::quiet("a move") });
}

#[test]
fn it_moves_on_and_on() {
    let budget = Budget { moves: much(3, 2), cuts: much(1, 0), ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "moves") });
}

#[test]
fn a_fence_may_be_given_up_at_any_time() {
    let budget = Budget { moves: 2, reopenings: much(2, 1), ..Budget::default() };
    holds(Scenario { budget, late_reports: true, ..Scenario::of(much(1, 2), "given up") });
}

#[test]
fn an_edge_that_hears_nothing_serves_no_more() {
    let budget = Budget { moves: 1, ticks: 2, keep_alives: much(0, 1), ..Budget::default() };
    let requests = vec![1, much(0, 1).into()];
    holds(Scenario { budget, lives: 2, requests, ..Scenario::quiet("deadlines") });
}

#[test]
fn an_edge_lives_as_long_as_it_is_answered() {
    let budget = Budget { moves: 1, ticks: much(2, 4), keep_alives: 2, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(1, "renewals") });
}

#[test]
fn what_was_looked_at_may_be_done_within_the_margin() {
    let budget = Budget { moves: 1, ticks: 3, keep_alives: 1, ..Budget::default() };
    holds(Scenario { budget, lag: 1, ..Scenario::of(much(1, 2), "late hands") });
}

#[test]
fn an_edge_joins_in_the_middle_of_everything() {
    let budget = Budget { moves: 1, watches_lost: much(0, 1), ..Budget::default() };
    holds(Scenario { budget, living: 1, ..Scenario::quiet("joining") });
}

#[test]
fn a_watch_may_lose_its_place_at_any_time() {
    let budget = Budget { moves: 1, watches_lost: 2, cuts: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "relisting") });
}

#[test]
fn an_edge_may_crash_at_any_point() {
    let budget = Budget { moves: 1, crashes: 1, ticks: 2, keep_alives: much(0, 1), ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "crashes") });
}

#[test]
fn two_may_believe_that_they_lead() {
    let budget = Budget { moves: 2, elections: 1, timeouts: 1, ..Budget::default() };
    holds(Scenario { budget, controllers: 2, ..Scenario::of(much(1, 2), "two controllers") });
}

#[test]
fn the_fate_of_a_write_may_be_unknown() {
    let budget = Budget { moves: 2, timeouts: 2, reopenings: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "unknown fates") });
}

#[test]
fn a_site_may_go_and_come_back() {
    let budget = Budget { retirements: 2, moves: 1, elections: much(0, 1), ..Budget::default() };
    holds(Scenario { budget, controllers: 2, ..Scenario::of(much(1, 2), "going and coming back") });
}

#[test]
fn an_edge_may_leave_and_come_back() {
    let budget = Budget { moves: 1, leaves: 1, suspicions: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "leaving and suspecting") });
}

#[test]
fn requests_may_go_through_another_edge() {
    let budget = Budget { moves: 1, suspicions: 2, detours: 1, leaves: much(0, 1), ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(2, "a detour") });
}

#[test]
fn a_store_that_went_back_takes_no_edge_back() {
    let budget = Budget { moves: 2, restores: 1, crashes: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "an old snapshot") });
}

/// All of them alike, so it is the first that something happens to, and the first that has readers. How it ends from each
/// state is looked at with fewer.
fn three(name: &'static str) -> Scenario {
    Scenario { struck: 1, requests: vec![1, 0, 0], ends: false, ..Scenario::of(3, name) }
}

#[test]
fn a_site_moves_on_three_edges_together() {
    let budget = Budget { moves: 1, ..Budget::default() };
    holds(Scenario { budget, requests: vec![1, 1, 0], ends: true, ..three("three: a move") });
}

#[test]
fn one_of_three_edges_may_die_and_join_anew() {
    let budget = Budget { moves: 1, crashes: 1, ..Budget::default() };
    holds(Scenario { budget, ..three("three: a crash") });
}

#[test]
fn two_may_believe_that_they_lead_three_edges() {
    let budget = Budget { moves: 1, elections: 1, ..Budget::default() };
    holds(Scenario { budget, controllers: 2, ..three("three: two controllers") });
}

#[test]
fn clocks_may_drift_within_the_margin() {
    let budget = Budget { moves: 1, ticks: 1, drifts: 1, keep_alives: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "drifting clocks") });
}

#[test]
fn a_site_may_be_added_and_removed_in_the_middle_of_everything() {
    let budget = Budget { moves: 1, reloads: 2, ..Budget::default() };
    holds(Scenario { budget, without: 1, ..Scenario::quiet("reloads") });
}

#[test]
fn a_site_that_is_added_again_is_the_one_that_it_was() {
    let budget = Budget { moves: 1, reloads: 2, restores: 1, ..Budget::default() };
    holds(Scenario { budget, ..Scenario::of(much(1, 2), "reloads and an old snapshot") });
}

#[test]
fn who_is_to_serve_without_the_store_goes_on_until_it_is_back() {
    let budget = Budget { moves: 1, ticks: 2, keep_alives: 1, ..Budget::default() };
    holds(Scenario { budget, partition: Partition::Serve, ..Scenario::of(1, "serving alone") });
}

#[test]
fn who_serves_without_the_store_believes_its_backend() {
    let budget =
        Budget { moves: 1, ticks: 2, suspicions: 1, detours: 1, keep_alives: 1, ..Budget::default() };
    holds(Scenario { budget, partition: Partition::Serve, ..Scenario::of(1, "serving alone, suspecting") });
}

fn led(edges: u8, name: &'static str) -> Scenario {
    Scenario { policy: Some(plain()), ..Scenario::of(edges, name) }
}

#[test]
fn a_handoff_ends_under_the_next_controller() {
    let budget = Budget { wishes: 1, turns: 1, watches_lost: 1, ..Budget::default() };
    let wishes = vec![Wanted::MoveTo(0)];
    holds(Scenario { budget, wishes, ..led(1, "handoff core") });
}

#[test]
fn an_operators_hold_is_the_fleets() {
    let budget = Budget { wishes: 2, turns: 2, ..Budget::default() };
    let wishes = vec![Wanted::MoveTo(0), Wanted::Hold, Wanted::Release];
    holds(Scenario { budget, wishes, requests: vec![0], ..led(1, "holds") });
}

#[test]
fn one_sites_drain_holds_up_no_other() {
    let budget = Budget { moves: 2, ..Budget::default() };
    holds(Scenario { budget, sites: 2, ..Scenario::of(much(1, 2), "two sites") });
}
