//! What is caught: shells with a mistake, each of which breaks a law.

use ghostpin::core::fleet::Partition;

use super::laws::Law;
use super::led::Wanted;
use super::scenario::{Budget, Scenario, Shell, plain};
use super::{is_caught, never_ends};

fn moves() -> Scenario {
    let budget = Budget { moves: 1, ..Budget::default() };
    Scenario { budget, ..Scenario::quiet("moves") }
}

/// Time enough for the lease of an edge to end while it hears nothing.
fn partitions() -> Scenario {
    let budget = Budget { moves: 1, ticks: 2, ..Budget::default() };
    Scenario { budget, ..Scenario::of(1, "partitions") }
}

/// Another believes that it leads.
fn rivals() -> Scenario {
    let budget = Budget { moves: 2, elections: 1, ..Budget::default() };
    Scenario { budget, controllers: 2, ..Scenario::of(1, "rivals") }
}

#[test]
fn not_waiting_for_the_watermark_is_caught() {
    is_caught(moves().with(Shell::IgnoresWatermarks), Law::OneBackend);
}

#[test]
fn a_watermark_that_hides_leases_is_caught() {
    is_caught(moves().with(Shell::TellsNoPending), Law::OneBackend);
}

#[test]
fn a_fence_judged_by_an_older_view_is_caught() {
    let scenario = Scenario { edges: 1, living: 0, ..moves() };
    is_caught(scenario.with(Shell::JudgesByAnOlderView), Law::FencedFirst);
}

#[test]
fn a_lease_counted_from_the_answer_is_caught() {
    let mut scenario = partitions().with(Shell::CountsFromTheAnswer);
    scenario.budget.keep_alives = 1;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn an_answer_to_another_keep_alive_is_caught() {
    let mut scenario = partitions().with(Shell::CountsAnyAnswer);
    scenario.budget.keep_alives = 2;
    scenario.budget.ticks = 3;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn a_write_without_a_guard_is_caught() {
    is_caught(rivals().with(Shell::NoGuard), Law::EpochsGrow);
}

#[test]
fn a_list_before_the_key_is_caught() {
    is_caught(Scenario { living: 1, ..moves() }.with(Shell::ListsFirst), Law::OneBackend);
}

#[test]
fn a_list_from_a_member_that_lags_is_caught() {
    let mut scenario = moves().with(Shell::ListsFromALaggard);
    scenario.budget.watches_lost = 1;
    is_caught(scenario, Law::OneBackend);
}

#[test]
fn a_deadline_kept_by_a_timer_alone_is_caught() {
    is_caught(partitions().with(Shell::TimerAlone), Law::FencedFirst);
}

#[test]
fn a_head_that_is_not_checked_is_caught() {
    is_caught(partitions().with(Shell::HeadUnchecked), Law::FencedFirst);
}

#[test]
fn a_clock_that_falls_behind_by_more_than_the_margin_is_caught() {
    // As one that stands still while its machine sleeps.
    let budget = Budget { moves: 1, drifts: 2, ..Budget::default() };
    is_caught(Scenario { budget, ..Scenario::of(1, "drifts beyond the margin") }, Law::FencedFirst);
}

#[test]
fn a_life_with_the_key_of_another_is_caught() {
    let mut scenario = partitions().with(Shell::ReusesTheKey);
    scenario.budget.crashes = 1;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn a_deletion_that_forgets_the_epoch_is_caught() {
    let mut scenario = rivals().with(Shell::ForgetsTheEpoch);
    scenario.budget.retirements = 1;
    is_caught(scenario, Law::EpochsGrow);
}

#[test]
fn a_pin_that_is_opened_before_it_is_remembered_is_caught() {
    let mut scenario = Scenario { ..Scenario::of(1, "amnesia") }.with(Shell::OpensBeforeRemembered);
    scenario.budget = Budget { moves: 1, restores: 1, crashes: 1, ..Budget::default() };
    is_caught(scenario.clone(), Law::DurableFirst);
    is_caught(scenario, Law::NoOlderPin);
}

#[test]
fn a_controller_that_goes_on_when_it_was_deposed_is_caught() {
    let mut scenario = rivals().with(Shell::IgnoresDeposition);
    scenario.budget.reopenings = 1;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn a_key_given_up_in_haste_is_caught() {
    let mut scenario = moves().with(Shell::LeavesInHaste);
    scenario.budget.leaves = 1;
    is_caught(scenario.clone(), Law::EmptyFirst);
    is_caught(scenario, Law::OneBackend);
}

#[test]
fn a_site_that_is_forgotten_with_its_requests_is_caught() {
    let mut scenario = moves().with(Shell::ForgetsWithTheSite);
    scenario.budget.reloads = 1;
    is_caught(scenario, Law::OneBackend);
}

#[test]
fn a_site_that_is_added_without_what_was_known_of_it_is_caught() {
    let budget = Budget { moves: 1, reloads: 2, restores: 1, ..Budget::default() };
    let scenario = Scenario { budget, ..Scenario::of(1, "reloads") };
    is_caught(scenario.with(Shell::AddsWithoutMemory), Law::NoOlderPin);
}

#[test]
fn who_is_back_and_lets_what_it_had_go_on_is_caught() {
    let mut scenario = Scenario { partition: Partition::Serve, ..partitions() }.with(Shell::CutsNothing);
    scenario.budget.keep_alives = 1;
    is_caught(scenario, Law::FencedFirst);
}

#[test]
fn a_word_that_arrives_after_a_newer_one_is_caught() {
    is_caught(moves().with(Shell::OldWordsArrive), Law::WatermarkGrows);
}

#[test]
fn a_controller_that_sees_no_handoff_under_way_is_caught() {
    let budget = Budget { wishes: 1, ..Budget::default() };
    let (policy, wishes) = (Some(plain()), vec![Wanted::MoveTo(0)]);
    never_ends(
        Scenario { budget, policy, wishes, ..Scenario::of(1, "wishes") }.with(Shell::TakesFencesForServing),
    );
}
