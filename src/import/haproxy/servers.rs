//! The servers of a `backend`, and what else it says of them.

use super::super::draft::{Line, Site};
use super::sections::Section;

/// Beside `check` and `backup`, which are understood, these are what make a server another kind of backend.
fn refusal(options: &[&str]) -> Option<&'static str> {
    let protocol = options.iter().position(|word| *word == "proto").and_then(|at| options.get(at + 1));
    if options.contains(&"ssl") && !options.contains(&"no-ssl") {
        Some("ghostpin speaks clear text to backends")
    } else if options.iter().any(|word| word.starts_with("send-proxy")) {
        Some("it expects the PROXY protocol")
    } else if protocol.is_some_and(|protocol| *protocol != "h1") {
        Some("backends are spoken to over HTTP/1.1")
    } else if options.contains(&"disabled") && !options.contains(&"enabled") {
        Some("it is disabled, and was left out")
    } else {
        None
    }
}

/// Puts them into the site: first those that HAProxy would ask first.
pub(super) fn servers(section: &Section, site: &mut Site) {
    let (mut first, mut weightless, mut backups) = (Vec::new(), Vec::new(), Vec::new());
    let mut defaults: Vec<&str> = Vec::new();
    let mut changes = None;
    for (line, words) in &section.lines {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let written = format!("`{}` of `backend {}`", words.join(" "), section.name);
        match words.as_slice() {
            ["default-server", options @ ..] => {
                defaults.extend(options);
                site.note(*line, written);
            }
            ["server", _, address, own @ ..] => {
                let options: Vec<&str> = defaults.iter().chain(own).copied().collect();
                if let Some(why) = refusal(&options) {
                    site.note(*line, format!("{written}: {why}"));
                    continue;
                }
                let address = address
                    .strip_prefix("unix@")
                    .map_or_else(|| (*address).to_owned(), |path| format!("unix:{path}"));
                let weight = options.iter().rposition(|word| *word == "weight");
                if options.contains(&"backup") {
                    backups.push(address);
                } else if weight.and_then(|at| options.get(at + 1)) == Some(&"0") {
                    site.note(
                        *line,
                        format!("{written}: no reader was sent there, so it stands by as the last"),
                    );
                    weightless.push(address);
                } else {
                    first.push(address);
                }
                let others: Vec<&str> =
                    own.iter().filter(|word| !matches!(**word, "check" | "backup")).copied().collect();
                if !others.is_empty() {
                    site.note(*line, format!("`{}` of {written}", others.join(" ")));
                }
            }
            ["http-request", "set-header", name, value] => header(*line, name, value, &written, site),
            ["mode", "http"] | ["option", "forwardfor"] => {}
            ["http-request", what, ..] if what.contains("-path") || what.contains("-uri") => {
                changes = Some((*line, written));
            }
            _ => site.note(*line, written),
        }
    }
    first.extend(backups);
    first.extend(weightless);
    site.backends = first;
    if let Some((line, written)) = changes {
        site.backends.clear();
        site.note(
            line,
            format!("{written}: it changes the path, which ghostpin never does: nothing is sent there"),
        );
    }
}

fn header(line: impl Into<Line>, name: &str, value: &str, written: &str, site: &mut Site) {
    let why = if value.contains(['%', '$']) {
        "a header field has one fixed value"
    } else if name.eq_ignore_ascii_case("host") {
        "the backend is told the host that was asked for"
    } else {
        return site.headers.push((name.to_owned(), value.to_owned()));
    };
    site.note(line, format!("{written}: {why}"));
}
