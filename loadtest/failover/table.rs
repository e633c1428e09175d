//! The figures of a run as a table: a row for each scenario, a column for each proxy, and in each field what was wrong there.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

/// What may be wrong, and how it is said.
const WRONG: [(&str, &str); 5] = [
    ("both_at_once", "at both"),
    ("two_state_reads", "two-state"),
    ("posts_twice", "POSTs twice"),
    ("failed_reads", "GETs failed"),
    ("failed_posts", "POSTs failed"),
];

/// As Markdown. The scenarios come in the order of `names`.
pub fn table(names: &[&str], scenarios: &Map<String, Value>, versions: &Map<String, Value>) -> String {
    let proxies: BTreeSet<&String> = versions.keys().collect();
    let mut text = String::from("| |");
    for proxy in &proxies {
        let _ = write!(text, " {proxy} {} |", versions[*proxy].as_str().unwrap_or_default());
    }
    text += "\n|---|";
    text += &"---|".repeat(proxies.len());
    text.push('\n');
    for name in names {
        let Some(verdicts) = scenarios.get(*name) else { continue };
        let _ = write!(text, "| `{name}` |");
        for proxy in &proxies {
            let _ = write!(text, " {} |", verdicts.get(*proxy).map_or_else(|| "-".to_owned(), field));
        }
        text.push('\n');
    }
    text
}

fn field(verdict: &Value) -> String {
    let count = |key: &str| verdict[key].as_u64().unwrap_or_default();
    let wrong = WRONG.iter().filter(|(key, _)| count(key) > 0);
    let wrong: Vec<String> = wrong.map(|(key, words)| format!("**{}** {words}", count(key))).collect();
    let wrong = if wrong.is_empty() { "0".to_owned() } else { wrong.join(", ") };
    let longest = verdict["wait_ms"]["longest"].as_f64().unwrap_or_default();
    format!("{wrong}; {:.1} s", longest / 1e3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_names_what_is_wrong_and_the_longest_wait() {
        let Value::Object(scenarios) = json!({ "crash": {
            "a": { "two_state_reads": 0, "wait_ms": { "longest": 2500.0 } },
            "b": { "two_state_reads": 7, "failed_reads": 1, "wait_ms": { "longest": 90.0 } },
        }}) else {
            unreachable!()
        };
        let Value::Object(versions) = json!({ "a": "1.0", "b": "2.0", "c": "3.0" }) else { unreachable!() };
        assert_eq!(
            table(&["crash", "frozen"], &scenarios, &versions),
            "| | a 1.0 | b 2.0 | c 3.0 |\n|---|---|---|---|\n\
             | `crash` | 0; 2.5 s | **7** two-state, **1** GETs failed; 0.1 s | - |\n"
        );
    }
}
