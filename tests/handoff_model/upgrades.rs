//! Another process takes over, at any point of a handoff.

use ghostpin::core::handoff::Policy;

use super::laws::Law;
use super::scenario::{Budget, REQUIRED, Scenario, Shell, Wanted, plain};
use super::{ENDS_WELL, STUCK, holds, is_caught, much};

fn once() -> Budget {
    Budget { upgrades: 1, ..Budget::default() }
}

fn moves() -> Scenario {
    let budget = Budget { wishes: 1, ..once() };
    let requests = much(1, 2).into();
    Scenario { wishes: vec![Wanted::MoveTo(1)], budget, requests, ..Scenario::quiet("an upgrade and a move") }
}

fn deaths() -> Scenario {
    let budget = Budget { turns: much(1, 2), refusals: much(1, 2), ..once() };
    Scenario { budget, requests: much(1, 2).into(), ..Scenario::quiet("an upgrade and a death") }
}

fn restarts() -> Scenario {
    let budget = Budget { turns: 2, refusals: 1, ..once() };
    Scenario {
        budget,
        requests: 1,
        requests_of_heir: much(0, 1).into(),
        ..Scenario::quiet("an upgrade and a restart")
    }
}

// ## What holds

#[test]
fn a_move_goes_on_in_the_new_process() {
    holds(moves());
}

#[test]
fn a_dead_backend_is_replaced_in_the_middle_of_an_upgrade() {
    holds(deaths());
}

#[test]
fn a_backend_that_restarts_in_the_middle_of_an_upgrade_keeps_its_pin() {
    holds(restarts());
}

#[test]
fn an_upgrade_may_come_in_the_middle_of_a_hold() {
    let wishes = vec![Wanted::MoveTo(1), Wanted::Hold, Wanted::Release];
    let budget = Budget { wishes: 2, ..once() };
    let requests_of_heir = much(0, 1).into();
    holds(Scenario {
        wishes,
        budget,
        requests: 1,
        requests_of_heir,
        ..Scenario::quiet("an upgrade and a hold")
    });
}

#[test]
fn an_heir_that_fails_was_a_pause() {
    let wishes = vec![Wanted::MoveTo(1)];
    let budget = Budget { wishes: 1, upgrades: 2, failing_heirs: 1, commits_failing: 1, ..once() };
    let requests_of_heir = much(0, 1).into();
    holds(Scenario {
        wishes,
        budget,
        requests: 1,
        requests_of_heir,
        ..Scenario::quiet("an heir that fails")
    });
}

#[test]
fn a_cold_standby_never_runs_beside_the_other_in_an_upgrade() {
    let policy = Policy { fence_hook: REQUIRED, start_hook: REQUIRED, ..plain() };
    let wishes = vec![Wanted::MoveTo(1)];
    let budget = Budget { wishes: much(0, 1), turns: 1, hooks_failing: 1, early_timers: 1, ..once() };
    let cold = Scenario {
        policy,
        well: vec![true, false],
        wishes,
        budget,
        alone: true,
        requests: 0,
        ..Scenario::quiet("an upgrade and a cold standby")
    };
    holds(cold);
}

#[test]
fn the_elder_need_not_know_the_site() {
    let wishes = vec![Wanted::MoveTo(1)];
    let budget = Budget { retirements: 1, reloads: 1, wishes: 1, ..once() };
    holds(Scenario { wishes, budget, requests: 1, ..Scenario::quiet("an upgrade and a site that is new") });
}

// ## What is caught

#[test]
fn a_fence_without_the_elder_is_caught() {
    is_caught(moves().with(Shell::ElderIsForgotten), Law::OneBackend.name());
    is_caught(moves().with(Shell::ElderIsForgotten), Law::FencedFirst.name());
    let wishes = vec![Wanted::Hold, Wanted::Release, Wanted::MoveTo(1)];
    let budget = Budget { wishes: 3, ..once() };
    let late =
        Scenario { wishes, budget, requests: 0, requests_of_heir: 0, ..Scenario::quiet("a late word") };
    is_caught(late.with(Shell::ElderIsForgotten), Law::ElderFollows.name());
}

#[test]
fn waiting_for_an_elder_that_has_ended_is_caught() {
    is_caught(moves().with(Shell::WaitsForTheDead), STUCK);
    is_caught(moves().with(Shell::WaitsForTheDead), ENDS_WELL);
}

#[test]
fn an_elder_that_is_not_told_to_open_is_caught() {
    is_caught(moves().with(Shell::ElderStaysShut), STUCK);
}

#[test]
fn handing_over_with_reports_that_were_not_taken_in_is_caught() {
    let wishes = vec![Wanted::Hold, Wanted::Release, Wanted::MoveTo(1)];
    // After a crash the numbers of its shuttings begin where the heir's do.
    let budget = Budget { wishes: 3, crashes: 1, ..once() };
    let late =
        Scenario { wishes, budget, requests: 1, requests_of_heir: 0, ..Scenario::quiet("a late report") };
    is_caught(late.with(Shell::HandsOverInTheMiddle), Law::FencedFirst.name());
}
