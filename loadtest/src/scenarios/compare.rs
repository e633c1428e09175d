//! The three failovers against ghostpin and its peers, in one table.
//!
//! The peers go back to an instance that has lost its place, so the checks must find two-state reads there: a
//! comparison in which they find none proves nothing, and fails.

use std::io;

use crate::harness::Settings;
use crate::report::{Report, Seen, millis};
use crate::scenarios::{comeback, crash, frozen};
use crate::subject::Subject;

pub async fn run(settings: &Settings) -> io::Result<Report> {
    let mut summary = Report::new("compare: failed GETs, failed POSTs, two-state reads, longest wait");
    for subject in [Subject::Ghostpin, Subject::Nginx, Subject::Haproxy] {
        let mut line = |scenario: &str, (report, seen): (Report, Seen)| {
            println!("{report}\n");
            let two_states = seen.order.two_state_reads.len();
            let (reads, writes, longest) =
                (seen.reads.count(), seen.writes.count(), millis(seen.waits.longest()));
            let values = format!("{reads:>6} {writes:>6} {two_states:>6} {longest:>12}");
            summary.figure(&format!("{scenario:<10} {subject:?}"), values);
            if subject == Subject::Ghostpin {
                summary.promise(report.kept(), format!("{scenario}: ghostpin keeps its promises"));
            } else if scenario != "crash" {
                summary.promise(
                    two_states > 0,
                    format!("{scenario}: the checks find {subject:?}'s two-state reads"),
                );
            }
        };
        line("crash", crash::run(settings, subject).await?);
        line("frozen", frozen::run(settings, subject).await?);
        line("comeback", comeback::run(settings, subject).await?);
    }
    Ok(summary)
}
