//! A strict reader of Prometheus' text format: whatever a scraper might stumble over is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// What a text says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Family to its kind.
    pub(crate) kinds: BTreeMap<String, String>,
    /// Series, as it is written with its labels, to its value.
    pub(crate) values: BTreeMap<String, f64>,
}

impl Parsed {
    /// The value of a series.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.values.get(series).unwrap_or_else(|| panic!("there is no series {series}"))
    }
}

/// Reads `text`; the error names the line.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut helped = BTreeSet::new();
    let mut current: Option<(String, String)> = None;
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    for line in text.lines() {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let Some((name, words)) = help.split_once(' ') else { return wrong("no help") };
            if !words.ends_with('.') || !helped.insert(name.to_owned()) {
                return wrong("HELP twice, or no sentence");
            }
            check_name(name).map_err(|why| format!("{why}: {line}"))?;
            current = None;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = kind.split_once(' ') else { return wrong("no type") };
            if !helped.contains(name) || !["counter", "gauge", "histogram"].contains(&kind) {
                return wrong("TYPE without HELP, or of no known kind");
            }
            if (kind == "counter") != name.ends_with("_total") {
                return wrong("counters, and only they, end in _total");
            }
            if parsed.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                return wrong("TYPE twice");
            }
            current = Some((name.to_owned(), kind.to_owned()));
        } else {
            let Some((series, value)) = line.rsplit_once(' ') else { return wrong("no value") };
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').ok_or(format!("no end: {line}"))?),
                None => (series, ""),
            };
            let Some((family, kind)) = &current else { return wrong("a series outside of its family") };
            let is_of_it = match kind.as_str() {
                "histogram" => {
                    ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}"))
                }
                _ => name == family,
            };
            if !is_of_it {
                return wrong("a series of another family");
            }
            check_labels(labels).map_err(|why| format!("{why}: {line}"))?;
            let number: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
            if !number.is_finite() || kind == "counter" && number < 0.0 {
                return wrong("a value that can't be");
            }
            if parsed.values.insert(series.to_owned(), number).is_some() {
                return wrong("a series twice");
            }
        }
    }
    match helped.iter().find(|name| !parsed.kinds.contains_key(*name)) {
        Some(name) => Err(format!("HELP without TYPE: {name}")),
        None => Ok(parsed),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_of_us = name.starts_with("ghostpin_") || name.starts_with("process_");
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    // Base units only, and no unit in the middle of a word.
    let has_odd_unit =
        ["_ms", "_millis", "_milliseconds", "_kb", "_percent"].iter().any(|end| name.ends_with(end));
    if is_of_us && is_plain && !has_odd_unit { Ok(()) } else { Err("no conventional name".to_owned()) }
}

fn check_labels(mut labels: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").ok_or("a label without a value")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(format!("`{name}` is no label"));
        }
        if !seen.insert(name) {
            return Err(format!("`{name}` twice"));
        }
        let mut escaped = false;
        let end = rest.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        labels = &rest[end.ok_or("a value that does not end")? + 1..];
        if let Some(next) = labels.strip_prefix(',') {
            labels = next;
        } else if !labels.is_empty() {
            return Err("no comma between labels".to_owned());
        }
    }
    Ok(())
}

#[test]
fn the_reader_refuses_what_a_scraper_would() {
    let head = "# HELP ghostpin_a_total A.\n# TYPE ghostpin_a_total counter\n";
    assert!(parse(&format!("{head}ghostpin_a_total{{x=\"a\\\"b\"}} 1\n")).is_ok());
    for wrong in [
        "ghostpin_a_total 1",
        "ghostpin_a_total -1\n",
        "ghostpin_a_total NaN\n",
        "ghostpin_a_total 1\nghostpin_a_total 1\n",
        "ghostpin_b_total 1\n",
        "ghostpin_a_total{x=\"a\"b\"} 1\n",
        "ghostpin_a_total{x=\"a\",x=\"b\"} 1\n",
        "# HELP ghostpin_a_total A.\n",
        "# TYPE ghostpin_b gauge\n",
        "# HELP ghostpin_b B.\n",
        "# HELP ghostpin_b_ms B.\n# TYPE ghostpin_b_ms gauge\n",
    ] {
        assert!(parse(&format!("{head}{wrong}")).is_err(), "{wrong}");
    }
}
