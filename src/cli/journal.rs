//! `ghostpin journal`

use std::fmt;

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::{encoded, read};
use super::failure::Failure;
use super::print::time;
use super::watch::{Feed, Shown, Watch};
use crate::observe::journal::ENTRIES_MAX;

/// Show what happened: handoffs, conflicts, refused updates. Newest first.
#[derive(Args, Clone, Debug)]
pub struct JournalArgs {
    /// Of this site only.
    #[arg(long)]
    site: Option<String>,
    /// Of this kind only, such as `handoff`, `conflict` or `refused_update`.
    #[arg(long)]
    kind: Option<String>,
    /// How many; the last 1000 are kept.
    #[arg(long, default_value_t = 20)]
    count: usize,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

/// An entry, as far as it is shown here.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    site: String,
    at_ms: u64,
    kind: String,
    cause: Option<String>,
    wished_by: Option<String>,
    from: Option<Pin>,
    to: Option<Pin>,
    outcome: Option<String>,
    phases: Vec<Phase>,
    held: u64,
    released: u64,
    shared: u64,
    shed: u64,
    given_up: u64,
    cut: u64,
    longest_wait_ms: u64,
    late_answers: u64,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Pin {
    epoch: u64,
    backend: String,
}

#[derive(Debug, Deserialize)]
struct Phase {
    phase: String,
    ms: f64,
}

impl JournalArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        // Between two looks there may be more than are shown.
        let follows = self.watch.watch && self.access.json;
        let count = if follows { ENTRIES_MAX } else { self.count };
        let mut path = format!("/v1/journal?count={count}");
        for (key, value) in [("site", &self.site), ("kind", &self.kind)] {
            if let Some(value) = value {
                path += &format!("&{key}={}", encoded(value));
            }
        }
        let feed = Feed::Events { id: "id", first: self.count };
        let shown = Shown { access: &self.access, watch: &self.watch, path, feed };
        shown.run(|body| Ok(listing(&read::<Vec<Line>>(body)?))).await
    }
}

fn listing(lines: &[Line]) -> String {
    let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
    if lines.is_empty() {
        "nothing of that kind has happened since this process began: what was before is in its log".to_owned()
    } else {
        lines.join("\n")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}  {}", time(self.at_ms), self.site, self.kind)?;
        if let (Some(cause), Some(outcome)) = (&self.cause, &self.outcome) {
            write!(f, " ({cause}) {outcome}")?;
            let pin = |pin: &Option<Pin>| {
                pin.as_ref()
                    .map_or("nobody".to_owned(), |pin| format!("{} (epoch {})", pin.backend, pin.epoch))
            };
            write!(f, ": {} -> {}", pin(&self.from), pin(&self.to))?;
            let phases: Vec<String> =
                self.phases.iter().map(|phase| format!("{} {:.1} ms", phase.phase, phase.ms)).collect();
            write!(f, "; {}", phases.join(", "))?;
            write!(f, "; held {}, released {}", self.held, self.released)?;
            if self.shared > 0 {
                write!(f, " ({} with another one's answer)", self.shared)?;
            }
            write!(f, ", shed {}", self.shed)?;
            write!(f, ", given up {}, cut {}", self.given_up, self.cut)?;
            write!(f, ", longest wait {:.2} s", self.longest_wait_ms as f64 / 1e3)?;
            write!(f, ", late answers {}", self.late_answers)?;
        }
        if let Some(by) = &self.wished_by {
            write!(f, "; wished by {by}")?;
        }
        match &self.note {
            Some(note) => write!(f, "; {note}"),
            None => Ok(()),
        }
    }
}
