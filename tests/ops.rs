//! What is shipped for operators, `ops/`, speaks of metrics that there are: each name and each label in the alert rules and on the
//! dashboard is in the catalogue. `scripts/ops` has Prometheus' own tool look at the rest.

use std::collections::BTreeSet;
use std::path::Path;

use ghostpin::observe::catalogue::{COUNTS, Family, Kind, OF_THE_PROCESS};
use ghostpin::proxy::answer::Refusal;
use serde_json::Value;

const ALERTS: &str = "ops/prometheus/alerts.yml";
const ALERTS_TEST: &str = "ops/prometheus/alerts_test.yml";
const DASHBOARD: &str = "ops/grafana/ghostpin.json";

/// Labels that Prometheus itself gives.
const OF_SCRAPES: [&str; 2] = ["job", "instance"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is shipped")
}

/// All texts in a JSON document.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| texts(value, found)),
        Value::Object(map) => map.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

/// One use of a metric: its name, and what stands in braces behind it.
fn uses(text: &str) -> Vec<(String, String)> {
    let is_of_a_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("ghostpin_").into_iter().chain(rest.find("process_")).min() {
        let is_inside_a_word = rest[..at].ends_with(is_of_a_name);
        let after = &rest[at..];
        let end = after.find(|character| !is_of_a_name(character)).unwrap_or(after.len());
        let behind = after[end..].strip_prefix('{').and_then(|inside| inside.split('}').next());
        if !is_inside_a_word {
            found.push((after[..end].to_owned(), behind.unwrap_or_default().to_owned()));
        }
        rest = &after[end..];
    }
    found
}

fn known(name: &str) -> Option<&'static Family> {
    static COUNTED: [Family; COUNTS.len()] = COUNTS;
    static OTHERS: [Family; OF_THE_PROCESS.len()] = OF_THE_PROCESS;
    COUNTED.iter().chain(&OTHERS).find(|family| match family.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name.strip_suffix(suffix).is_some_and(|name| name == family.name)),
        Kind::Counter | Kind::Gauge => family.name == name,
    })
}

/// What is wrong with a use.
fn wrong(name: &str, matchers: &str) -> Option<String> {
    let Some(family) = known(name) else { return Some(format!("there is no metric {name}")) };
    for matcher in matchers.split(", ").filter(|matcher| !matcher.is_empty()) {
        let (label, value) = matcher.split_once(['=', '!']).expect("a matcher");
        if !OF_SCRAPES.contains(&label) && !family.labels.contains(&label) {
            return Some(format!("{name} has no label {label}"));
        }
        if label == "reason" {
            let words: BTreeSet<&str> = Refusal::all().map(|refusal| refusal.words().label).collect();
            let unknown =
                value.trim_matches(['~', '=', '"', '\\']).split('|').find(|word| !words.contains(word));
            if let Some(unknown) = unknown {
                return Some(format!("{name}: nothing is refused as {unknown}"));
            }
        }
    }
    None
}

fn all_wrong(texts: &[String]) -> Vec<String> {
    let uses: Vec<(String, String)> = texts.iter().flat_map(|text| uses(text)).collect();
    assert!(uses.len() > 20, "the names were not found: {uses:?}");
    uses.iter().filter_map(|(name, matchers)| wrong(name, matchers)).collect()
}

fn alerts() -> BTreeSet<String> {
    let text = read(ALERTS);
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned);
    names.collect()
}

#[test]
fn alert_rules_speak_of_metrics_that_there_are() {
    assert_eq!(all_wrong(&[read(ALERTS)]), [] as [String; 0]);
}

#[test]
fn the_dashboard_speaks_of_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let mut found = Vec::new();
    texts(&dashboard, &mut found);
    assert_eq!(all_wrong(&found), [] as [String; 0]);
}

#[test]
fn no_label_has_as_many_values_as_there_are_sites() {
    let of_lists = ["class", "reason", "phase", "cause", "outcome", "state", "version", "log"];
    for family in COUNTS.iter().chain(&OF_THE_PROCESS) {
        for label in family.labels {
            assert!(
                of_lists.contains(label),
                "{}: is {label} one of a list that the program knows?",
                family.name
            );
        }
    }
}

#[test]
fn every_alert_is_tried_and_explained() {
    let (tests, docs) = (read(ALERTS_TEST), read("docs/monitoring.md"));
    assert!(alerts().len() > 15);
    for alert in alerts() {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tried in {ALERTS_TEST}");
        assert!(docs.contains(&format!("`{alert}`")), "{alert} is not in docs/monitoring.md");
    }
    let explained = uses_of_alerts(&docs);
    assert_eq!(explained.difference(&alerts()).collect::<Vec<_>>(), [] as [&String; 0], "no such alerts");
}

/// Names of alerts between ticks.
fn uses_of_alerts(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("Ghostpin"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_name_or_a_label_that_is_none_would_be_noticed() {
    let text = "sum(rate(ghostpin_heads_seconds_bucket[5m])) / ghostpin_sites{fase=\"vacant\"} / process_open_fds \
                + ghostpin_refusals_total{reason=~\"held_too_long|held_for_ever\", job=\"x\"} + my_process_x";
    let found: Vec<String> = uses(text).iter().filter_map(|(name, matchers)| wrong(name, matchers)).collect();
    let expected = [
        "there is no metric ghostpin_heads_seconds_bucket",
        "ghostpin_sites has no label fase",
        "ghostpin_refusals_total: nothing is refused as held_for_ever",
    ];
    assert_eq!(found, expected);
}
