//! The picture of a scenario: a strip for each proxy, a dot for each request, when it was answered, how long that took and by
//! whom. What went wrong is red.

use std::collections::BTreeSet;
use std::fmt::Write;

use ghostpin::demo::history::{Record, Turns, order};

use crate::scenarios::{History, Scenario};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 110.0;
const STRIP: f64 = 84.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 28.0;
/// Waits go from one millisecond to this many, on a scale of powers of ten.
const LONGEST_MS: f64 = 20_000.0;

/// Colours that those who don't see red or green can tell apart, too.
const A: &str = "#4477aa";
const B: &str = "#ccbb44";
const BAD: &str = "#ee3322";
const EXCUSED: &str = "#bbbbbb";

/// What was seen of one proxy.
pub struct Seen {
    pub name: String,
    pub history: History,
    /// Requests that failed, and are not counted against it.
    pub excused: BTreeSet<u64>,
}

/// As SVG.
pub fn plot(scenario: &Scenario, seen: &[Seen]) -> String {
    let height = TOP + STRIP * seen.len() as f64 + BOTTOM;
    let seconds = seen.iter().map(|one| length(&one.history)).fold(1.0, f64::max);
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - 10.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"18\" font-size=\"13\">{}: {}</text>\n\
         <text x=\"10\" y=\"36\"><tspan fill=\"{A}\">answered by A</tspan> \
         <tspan fill=\"#aa9922\" dx=\"8\">by B</tspan> <tspan fill=\"{BAD}\" dx=\"8\">failed, or by A after B</tspan> <tspan \
         fill=\"#999\" dx=\"8\">lost with A, or with the proxy</tspan>; up: how long it took, 1 ms to 20 s</text>\n",
        scenario.name, scenario.what
    );
    for (place, one) in seen.iter().enumerate() {
        let (name, history) = (&one.name, &one.history);
        let top = TOP + STRIP * place as f64;
        let floor = top + STRIP - 10.0;
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{:.0}\">{name}</text><path d=\"M{LEFT} {floor}H{:.0}\" stroke=\"#bbb\"/>",
            floor - 4.0,
            WIDTH - 10.0
        );
        for (at, what) in &history.marks {
            let at = x(at.since(history.began).as_secs_f64());
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {:.1}V{floor:.1}\" stroke=\"#ddd\"><title>{what}</title></path>",
                top + 4.0
            );
        }
        for (colour, dots) in dots(one) {
            let mut path = String::new();
            for record in dots {
                let at = x(record.intended.since(history.began).as_secs_f64());
                let wait = record.wait().as_secs_f64() * 1e3;
                let up = (wait.clamp(1.0, LONGEST_MS).ln() / LONGEST_MS.ln()) * (STRIP - 22.0);
                let _ = write!(path, "M{at:.0} {:.0}h2", floor - up);
            }
            let _ = writeln!(svg, "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
    }
    for second in (0..=seconds as u32).step_by(2) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{second} s</text>",
            x(f64::from(second)),
            height - 10.0
        );
    }
    svg + "</svg>\n"
}

fn length(history: &History) -> f64 {
    let last = history.records.iter().map(|record| record.intended).max();
    last.map_or(0.0, |last| last.since(history.began).as_secs_f64())
}

/// The requests, by their colours; the worst last, on top.
fn dots(seen: &Seen) -> [(&'static str, Vec<&Record>); 4] {
    let records = &seen.history.records;
    let late: BTreeSet<u64> = order(records, &Turns::once_each(&["A", "B"])).late_heads.into_iter().collect();
    let (mut a, mut b, mut bad, mut excused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in records {
        let instance = record.answer().and_then(|answer| answer.instance.as_deref());
        match instance {
            _ if seen.excused.contains(&record.number) => excused.push(record),
            _ if !record.succeeded() || late.contains(&record.number) => bad.push(record),
            Some("A") => a.push(record),
            _ => b.push(record),
        }
    }
    [(A, a), (B, b), (EXCUSED, excused), (BAD, bad)]
}
