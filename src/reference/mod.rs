//! `docs/reference.md`, made from what the program knows of itself: keys, metrics, answers, header fields, verbs.
//!
//! `UPDATE=1 cargo test --lib reference` writes it; without `UPDATE` the test says whether it is what the code says.

mod answers;
mod defaults;
mod headers;
mod keys;
mod verbs;

use std::fs;
use std::path::Path;

use crate::observe::catalogue::{COUNTS, Family, Kind, OF_A_SITE, OF_THE_PROCESS};

const HEAD: &str = "# Reference

Made from the code by `UPDATE=1 cargo test --lib reference`; CI fails if it isn't what the code says. So there is no reason
here, only what is. The reasons: [configuration](configuration.md), [admin API](admin-api.md), [command line](cli.md).
";

/// A table with these columns. Bars in cells are escaped.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head.iter().map(|&cell| cell.to_owned()).collect());
    text += &format!("|{}\n", "---|".repeat(head.len()));
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        text += &line(row.into_iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect());
    }
    text
}

/// In backticks, or a dash.
fn code(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { format!("`{text}`") }
}

fn metrics() -> String {
    let row = |family: &Family| {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = family.labels.iter().map(|label| code(label)).collect();
        vec![code(family.name), kind.to_owned(), labels.join(", "), family.help.to_owned()]
    };
    let head = ["Name", "Kind", "Labels", "Meaning"];
    format!(
        "\n## Metrics\n\nOf the process, `GET /metrics`:\n\n{}\nOf one site, `GET /metrics?site=NAME`:\n\n{}",
        table(&head, COUNTS.iter().chain(&OF_THE_PROCESS).map(row)),
        table(&head, OF_A_SITE.iter().map(row)),
    )
}

fn made() -> String {
    [HEAD.to_owned(), verbs::told(), keys::told(), metrics(), answers::told(), headers::told()].concat()
}

#[test]
fn the_reference_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let made = made();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(
        made == written,
        "docs/reference.md is older than the code: UPDATE=1 cargo test --lib reference\n{differs:#?}"
    );
}
