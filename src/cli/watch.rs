//! Showing what a path of the admin API answers: once, or again and again with `--watch`.

use std::collections::BTreeMap;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::access::Access;
use super::client::{Client, read};
use super::failure::Failure;
use super::print::{bad, is_left, print, print_json, printed, tell, written};
use crate::demo::cli::duration;

/// Whoever goes on looking wants to hear of silence soon, and looks again anyway.
pub(super) const WATCHERS_PATIENCE: Duration = Duration::from_secs(4);
const PACE_MIN: Duration = Duration::from_millis(100);
/// Looking may take this part of one's time: of 100,000 sites a look takes a while at the other end, too.
const SHARE_OF_LOOKING: u32 = 5;
/// What changes although nothing happens.
const CLOCKS: [&str; 4] = ["ago_ms", "took_ms", "for_ms", "phase_for_ms"];

/// Options of the verbs that can go on looking.
#[derive(Args, Clone, Debug)]
pub(super) struct Watch {
    /// Go on looking until Ctrl-C: a terminal is redrawn in place, and with --json each change is one line.
    #[arg(long)]
    pub(super) watch: bool,
    /// The time between two looks, such as `500ms`; at least 100ms.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = pace, requires = "watch")]
    pub(super) every: Duration,
}

/// The time between two looks, but for one so short that ghostpin would have nothing else to do.
pub(super) fn pace(text: &str) -> Result<Duration, String> {
    let every = duration(text)?;
    if every < PACE_MIN {
        return Err(format!("the shortest time between two looks is {PACE_MIN:?}"));
    }
    Ok(every)
}

/// What is shown, and how changes of it are told apart.
pub(super) struct Shown<'a> {
    pub(super) access: &'a Access,
    pub(super) watch: &'a Watch,
    /// What is asked for.
    pub(super) path: String,
    pub(super) feed: Feed,
}

/// How lines of `--watch --json` come about.
pub(super) enum Feed {
    /// The answer is one thing: it is told again when it has changed.
    One,
    /// The answer is a list of things, which this field tells apart: each is told that is new, has changed or is gone.
    Of(&'static str),
    /// The answer is a list of what happened, newest first: the newest `first`, then what is new.
    Events { id: &'static str, first: usize },
}

impl Shown<'_> {
    /// Shows it; `page` is how people read it.
    pub(super) async fn run(self, page: impl Fn(&Bytes) -> Result<String, Failure>) -> Result<(), Failure> {
        let mut client = self.access.client()?;
        let body = client.get(&self.path).await?;
        client.patience = WATCHERS_PATIENCE;
        match (self.watch.watch, self.access.json) {
            (false, true) => print_json(&body)?,
            (false, false) => print(&page(&body)?)?,
            (true, json) => {
                let mut told = match json {
                    true => Told::Lines(Lines { feed: self.feed, known: BTreeMap::new(), is_first: true }),
                    false => Told::Pages(Pages::new(page(&body)?)),
                };
                if told.answer(&body, &page)?.is_continue() {
                    watch(&client, &self.path, self.watch.every, &mut told, page).await?;
                }
            }
        }
        Ok(())
    }
}

async fn watch(
    client: &Client,
    path: &str,
    every: Duration,
    told: &mut Told,
    page: impl Fn(&Bytes) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut stop = Stop::new();
    let mut took = Duration::ZERO;
    loop {
        let next = async {
            sleep(every.max(took * SHARE_OF_LOOKING)).await;
            let began = Instant::now();
            (client.get(path).await, began.elapsed())
        };
        let answered = tokio::select! {
            answered = next => answered,
            () = stop.wanted() => return Ok(()),
        };
        let told = match answered.0 {
            Ok(body) => {
                took = answered.1;
                told.answer(&body, &page)?
            }
            // It may be about to start again, or etcd to answer: whoever watches wants to see that, too.
            Err(silent @ (Failure::Unreachable(_) | Failure::Busy(_))) => told.silence(&silent)?,
            Err(refused) => return Err(refused),
        };
        if told.is_break() || is_left() {
            return Ok(());
        }
    }
}

/// Ctrl-C, and SIGTERM: how whoever goes on looking is told that it is enough.
pub(super) struct Stop([Option<Signal>; 2]);

impl Stop {
    pub(super) fn new() -> Self {
        Self([SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok()))
    }

    pub(super) async fn wanted(&mut self) {
        let [interrupted, ended] = &mut self.0;
        tokio::select! {
            () = received(interrupted) => {}
            () = received(ended) => {}
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

enum Told {
    Pages(Pages),
    Lines(Lines),
}

impl Told {
    /// Breaks if nobody reads any more (`ghostpin sites --watch --json | head`).
    fn answer(
        &mut self,
        body: &Bytes,
        page: &impl Fn(&Bytes) -> Result<String, Failure>,
    ) -> Result<ControlFlow<()>, Failure> {
        match self {
            Self::Pages(pages) => pages.show(page(body)?),
            Self::Lines(lines) => {
                for line in lines.changes(read(body)?) {
                    if tell(&line.to_string())?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    fn silence(&mut self, why: &Failure) -> Result<ControlFlow<()>, Failure> {
        match self {
            Self::Pages(pages) => {
                pages.draw(format!("{}\n\nWhat was seen last:\n\n{}", bad(&why.to_string()), pages.seen))
            }
            Self::Lines(_) => {
                why.tell();
                Ok(ControlFlow::Continue(()))
            }
        }
    }
}

/// Pages, redrawn in place on a terminal, and printed when they have changed anywhere else.
struct Pages {
    is_terminal: bool,
    seen: String,
    shown: Option<String>,
}

impl Pages {
    fn new(first: String) -> Self {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            // Another screen, without a cursor: what was on this one comes back in the end.
            let _ = raw("\x1b[?1049h\x1b[?25l");
        }
        Self { is_terminal, seen: first, shown: None }
    }

    fn show(&mut self, page: String) -> Result<ControlFlow<()>, Failure> {
        self.seen.clone_from(&page);
        self.draw(page)
    }

    fn draw(&mut self, page: String) -> Result<ControlFlow<()>, Failure> {
        if self.shown.as_ref() == Some(&page) {
            return Ok(ControlFlow::Continue(()));
        }
        let drawn = match self.is_terminal {
            true => written(raw(&frame(&printed(&page), rows()))),
            false => tell(&format!("{}{page}", if self.shown.is_some() { "\n" } else { "" })),
        };
        self.shown = Some(page);
        drawn
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = raw("\x1b[?25h\x1b[?1049l");
            let _ = print(&self.seen);
        }
    }
}

fn raw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(24, |size| usize::from(size.ws_row)).max(2)
}

/// Draws over what is there, line by line, in one synchronized step: nothing is blank in between. Lines that are too long
/// are cut by the terminal; of too many, the last row says how many there are.
fn frame(page: &str, rows: usize) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let mut text = "\x1b[?2026h\x1b[?7l\x1b[H".to_owned();
    let shown = if lines.len() > rows { rows - 1 } else { lines.len() };
    let more = (lines.len() > rows).then(|| format!("... and {} more lines", lines.len() - shown));
    let all: Vec<&str> = lines[..shown].iter().copied().chain(more.as_deref()).collect();
    for (place, line) in all.iter().enumerate() {
        text += &format!("{}{line}\x1b[K", if place == 0 { "" } else { "\r\n" });
    }
    text + "\x1b[J\x1b[?7h\x1b[?2026l"
}

/// What was told already.
struct Lines {
    feed: Feed,
    known: BTreeMap<String, Value>,
    is_first: bool,
}

impl Lines {
    /// The lines that an answer is good for.
    fn changes(&mut self, answer: Value) -> Vec<Value> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let mut now = BTreeMap::new();
        let mut lines = Vec::new();
        let (key, items, silent) = match (&self.feed, answer) {
            (Feed::Of(key), Value::Array(items)) => (*key, items, 0),
            (Feed::Events { id, first }, Value::Array(mut items)) => {
                items.reverse();
                let silent = if is_first { items.len().saturating_sub(*first) } else { 0 };
                (*id, items, silent)
            }
            (_, one) => ("", vec![one], 0),
        };
        for (place, item) in items.into_iter().enumerate() {
            let name = item.get(key).map_or_else(String::new, Value::to_string);
            let is_new = self.known.get(&name).is_none_or(|before| timeless(before) != timeless(&item));
            if is_new && place >= silent {
                lines.push(item.clone());
            }
            now.insert(name, item);
        }
        if let Feed::Of(key) = self.feed {
            let gone = self.known.iter().filter(|(name, _)| !now.contains_key(*name));
            lines.extend(gone.map(|(_, item)| {
                Value::Object(Map::from_iter([
                    (key.to_owned(), item[key].clone()),
                    ("gone".to_owned(), true.into()),
                ]))
            }));
        }
        self.known = now;
        lines
    }
}

/// Without its clocks.
fn timeless(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !CLOCKS.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name.clone(), timeless(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(timeless).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(feed: Feed) -> Lines {
        Lines { feed, known: BTreeMap::new(), is_first: true }
    }

    #[test]
    fn of_a_list_only_what_changes_is_told_and_what_is_gone() {
        let mut lines = lines(Feed::Of("name"));
        let a = |held: u32, ago: u32| json!({"name": "a", "held": held, "last_probe": {"ago_ms": ago}});
        let b = json!({"name": "b", "held": 0});
        assert_eq!(lines.changes(json!([a(0, 1), b])), [a(0, 1), b.clone()]);
        assert_eq!(lines.changes(json!([a(0, 2), b])), Vec::<Value>::new(), "a clock is no change");
        assert_eq!(lines.changes(json!([a(3, 2), b])), [a(3, 2)]);
        assert_eq!(lines.changes(json!([b])), [json!({"name": "a", "gone": true})]);
    }

    #[test]
    fn events_are_told_in_their_order_and_once() {
        let mut lines = lines(Feed::Events { id: "id", first: 1 });
        let entry = |id: u32, held: u32| json!({"id": id, "held": held});
        assert_eq!(lines.changes(json!([entry(2, 0), entry(1, 0)])), [entry(2, 0)]);
        assert_eq!(lines.changes(json!([entry(4, 0), entry(3, 0), entry(2, 0)])), [entry(3, 0), entry(4, 0)]);
        assert_eq!(lines.changes(json!([entry(4, 5), entry(3, 0)])), [entry(4, 5)], "what came later");
    }

    #[test]
    fn a_frame_fits_the_terminal_and_clears_what_it_does_not_write() {
        assert_eq!(
            frame("a\nb\n", 3),
            "\x1b[?2026h\x1b[?7l\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J\x1b[?7h\x1b[?2026l"
        );
        let cut = frame("a\nb\nc\nd\n", 3);
        assert!(cut.contains("a\x1b[K\r\nb\x1b[K\r\n... and 2 more lines\x1b[K"), "{cut}");
    }
}
