//! Rules are broken on purpose, one at a time, and each must be noticed in a run that is made for it. The same run with
//! edges that keep all rules must show nothing at all: else what was noticed might be the run's own doing.

mod rig;
mod runs;
mod signals;

use std::io;

use ghostpin::broken::Rule;
use ghostpin_loadtest::report::Report;

use crate::Settings;
use crate::stage::names;
use rig::Rig;

/// What befalls the fleet; each rule has one that shows that it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// An edge is cut off from etcd, and the site moves.
    CutOff,
    /// Slow answers are under way at an edge that is cut off when it has heard of the fence.
    SlowAnswers,
    /// What etcd says to an edge is later and later; then nothing arrives there any more.
    LateAnswers,
    /// A newer pin is joined while the controller's news are late.
    Joined,
    /// The line of a new edge breaks just when it writes its key.
    LostKey,
    /// An edge comes while a fence is on its way to etcd.
    Newcomer,
    /// A new edge reads from a member of etcd that is behind.
    Laggard,
    /// Two edges are stopped past their leases while answers are under way, and hear nothing when they go on.
    Asleep,
    /// An edge is cut off, and is started elsewhere under its name.
    Twice,
    /// A site goes, all edges lose their disks, and it comes back with another instance.
    Removed,
}

impl Run {
    const ALL: [Self; 10] = [
        Self::CutOff,
        Self::SlowAnswers,
        Self::LateAnswers,
        Self::Joined,
        Self::LostKey,
        Self::Newcomer,
        Self::Laggard,
        Self::Asleep,
        Self::Twice,
        Self::Removed,
    ];

    fn what(self) -> &'static str {
        match self {
            Self::CutOff => "an edge is cut off",
            Self::SlowAnswers => "slow answers at an edge that is cut off once it is fenced",
            Self::LateAnswers => "etcd's answers to an edge come later and later, then none",
            Self::Joined => "a newer pin is joined while the controller's news are late",
            Self::LostKey => "the line of a new edge breaks when it writes its key",
            Self::Newcomer => "an edge comes while a fence is on its way to etcd",
            Self::Laggard => "a new edge reads from a member that is behind",
            Self::Asleep => "two edges are stopped past their leases, and hear nothing after that",
            Self::Twice => "an edge is cut off, and started elsewhere under its name",
            Self::Removed => "a site goes and comes back, and all edges have lost their disks",
        }
    }

    /// The run that shows that a rule is broken.
    fn of(rule: Rule) -> Self {
        match rule {
            Rule::IgnoresWatermarks => Self::CutOff,
            Rule::TellsNoPending => Self::SlowAnswers,
            Rule::CountsFromTheAnswer | Rule::CountsAnyAnswer | Rule::WaitsForTheAnswer => Self::LateAnswers,
            Rule::NoGuard => Self::Joined,
            Rule::ListsFirst => Self::LostKey,
            Rule::JudgesByAnOlderView => Self::Newcomer,
            Rule::ListsFromALaggard => Self::Laggard,
            Rule::TimerAlone | Rule::HeadUnchecked | Rule::ClockStops => Self::Asleep,
            Rule::ReusesTheKey => Self::Twice,
            Rule::ForgetsTheEpoch => Self::Removed,
        }
    }
}

/// What is broken together, and whether that must be noticed; if not, something else is known to stop it.
type Case = (&'static [Rule], bool);

/// A lease that is counted from the answer is one that lasts too long only if answers are late by more than its margin, and
/// none is waited for that long. Neither is noticed without the other.
const CASES: [Case; 15] = [
    (&[Rule::IgnoresWatermarks], true),
    (&[Rule::TellsNoPending], true),
    (&[Rule::CountsFromTheAnswer], false),
    (&[Rule::WaitsForTheAnswer], false),
    (&[Rule::CountsFromTheAnswer, Rule::WaitsForTheAnswer], true),
    (&[Rule::CountsAnyAnswer], true),
    (&[Rule::NoGuard], true),
    (&[Rule::ListsFirst], true),
    (&[Rule::JudgesByAnOlderView], true),
    (&[Rule::ListsFromALaggard], true),
    (&[Rule::TimerAlone], true),
    (&[Rule::HeadUnchecked], true),
    (&[Rule::ClockStops], true),
    (&[Rule::ReusesTheKey], true),
    (&[Rule::ForgetsTheEpoch], true),
];

/// Each rule, or those that were chosen.
pub async fn broken(settings: &Settings) -> io::Result<Vec<Report>> {
    let is_chosen = |rules: &[Rule]| {
        settings.broken.is_empty() || rules.iter().any(|rule| settings.broken.contains(rule))
    };
    let cases: Vec<&Case> = CASES.iter().filter(|(rules, _)| is_chosen(rules)).collect();
    let mut report = Report::new("broken: each rule, in a run that is made for it");
    let mut rig = Rig::up(settings).await?;
    let rounds = if settings.quick { 1 } else { 3 };
    for run in (0..rounds).flat_map(|_| Run::ALL) {
        let cases: Vec<_> = cases.iter().filter(|(rules, _)| Run::of(rules[0]) == run).collect();
        if cases.is_empty() {
            continue;
        }
        let noticed = rig.tried(run, &[]).await?;
        report.figure(run.what(), format!("all rules kept: {}", told(&noticed)));
        report.promise(noticed.is_empty(), format!("all rules kept: nothing is noticed in {run:?}"));
        for (rules, is_noticed) in cases {
            let noticed = rig.tried(run, rules).await?;
            let name = names(rules);
            report.figure(&format!("  {name}"), told(&noticed));
            let promise = if *is_noticed { "is noticed" } else { "is stopped by something else" };
            report.promise(noticed.is_empty() != *is_noticed, format!("`{name}` {promise}"));
        }
    }
    Ok(vec![report])
}

fn told(noticed: &[String]) -> String {
    if noticed.is_empty() { "clean".to_owned() } else { format!("noticed: {}", noticed.join(", ")) }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_rule_is_broken_and_noticed_and_those_that_share_a_run_stand_together() {
        for rule in Rule::value_variants() {
            let noticed = |(rules, is_noticed): &Case| *is_noticed && rules.contains(rule);
            assert!(CASES.iter().any(noticed), "{rule:?}");
        }
        for (rules, _) in CASES {
            assert!(rules.iter().all(|rule| Run::of(*rule) == Run::of(rules[0])), "{rules:?}");
        }
        assert!(Run::ALL.iter().all(|run| CASES.iter().any(|(rules, _)| Run::of(rules[0]) == *run)));
    }
}
