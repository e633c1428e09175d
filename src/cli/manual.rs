//! The command line and its manual, held against each other: no verb and no option that only the program knows.

use clap::{ArgAction, CommandFactory};

use super::Cli;

const MANUAL: &str = include_str!("../../docs/cli.md");

/// What every verb understands that asks a running ghostpin: told once, in sections of their own.
const COMMON: [&str; 8] = ["admin", "config", "token", "token-file", "json", "watch", "every", "wait"];

/// The verbs that are shown, each with its options.
pub(crate) fn verbs() -> Vec<clap::Command> {
    let mut all = Cli::command();
    all.build();
    all.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help").cloned().collect()
}

/// Names of the options of a verb, but those that clap adds.
pub(crate) fn options(verb: &clap::Command) -> Vec<&clap::Arg> {
    let own = |arg: &&clap::Arg| {
        !arg.is_hide_set() && !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version)
    };
    verb.get_arguments().filter(own).collect()
}

/// What of the verbs the manual lacks.
fn missing_in(manual: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for verb in verbs() {
        let start = format!("| `ghostpin {}", verb.get_name());
        let is_row =
            |line: &&str| line.strip_prefix(start.as_str()).is_some_and(|rest| rest.starts_with(['`', ' ']));
        let Some(row) = manual.lines().find(is_row) else {
            missing.push(verb.get_name().to_owned());
            continue;
        };
        for option in options(&verb).into_iter().filter_map(clap::Arg::get_long) {
            let text = if COMMON.contains(&option) { manual } else { row };
            let word = format!("--{option}");
            let is_there = text
                .match_indices(&word)
                .any(|(at, _)| text[at + word.len()..].starts_with(['`', ' ', '=', '/', ':', ',', '.']));
            if !is_there {
                missing.push(format!("{} {word}", verb.get_name()));
            }
        }
    }
    missing
}

#[test]
fn every_verb_and_every_option_is_in_the_manual() {
    assert_eq!(missing_in(MANUAL), Vec::<String>::new(), "docs/cli.md lacks these");
    let row = MANUAL.lines().find(|line| line.starts_with("| `ghostpin sites`")).unwrap();
    assert_eq!(missing_in(&MANUAL.replace(row, "")), ["sites"]);
    assert_eq!(missing_in(&MANUAL.replace("--troubled", "-")), ["sites --troubled"]);
}

#[test]
fn every_verb_and_every_option_says_what_it_is_for() {
    for verb in verbs() {
        let is_told = verb.get_about().is_some_and(|about| about.to_string().len() > 15);
        assert!(is_told, "{} says nothing of itself", verb.get_name());
        for option in options(&verb) {
            assert!(option.get_help().is_some(), "{} {}: no help", verb.get_name(), option.get_id());
        }
    }
}
