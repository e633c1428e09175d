//! What people read: tables, times, colours, and an end that is not held against anybody.

use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::failure::Failure;

/// Prints. That nobody reads any more is fine (`ghostpin sites | head`); that it can't be written is a failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    tell(text).map(drop)
}

/// Prints, and breaks if nobody reads any more: for those who would go on for ever.
pub(super) fn tell(text: &str) -> Result<ControlFlow<()>, Failure> {
    write(printed(text).as_bytes())
}

/// Prints an answer of the admin API as it is.
pub(super) fn print_json(body: &[u8]) -> Result<(), Failure> {
    write(body).map(drop)
}

fn write(text: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut out = io::stdout().lock();
    let end: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
    written(out.write_all(text).and_then(|()| out.write_all(end)).and_then(|()| out.flush()))
}

/// What became of standard output: breaks if nobody reads any more.
pub(super) fn written(done: io::Result<()>) -> Result<ControlFlow<()>, Failure> {
    match done {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::Refused(format!("standard output can't be written: {error}"))),
    }
}

/// Whether nobody reads standard output any more, which writing would tell, too. For those who may have nothing to write for
/// hours (`ghostpin sites --watch --json | grep -m1 vacant`).
pub(super) fn is_left() -> bool {
    let out = io::stdout();
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    let is_polled = poll(&mut polled, Some(&Timespec::default())).is_ok();
    is_polled && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Says it on standard error. Where that can't be, nobody could be told so either.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// With its colours only where they are seen: on a terminal, and not with `NO_COLOR`.
pub(super) fn printed(text: &str) -> String {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

/// Nothing is wrong with it.
pub(super) fn good(text: &str) -> String {
    painted(AnsiColor::Green.on_default(), text)
}

/// It is on its way, or wants a look.
pub(super) fn fair(text: &str) -> String {
    painted(AnsiColor::Yellow.on_default(), text)
}

/// Readers are waiting, or will.
pub(super) fn bad(text: &str) -> String {
    painted(AnsiColor::Red.on_default().bold(), text)
}

fn painted(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// A site's phase, as it is for its readers.
pub(super) fn phase(words: &str) -> String {
    match words {
        "serving" => good(words),
        "vacant" | "serving, held here" => bad(words),
        _ => fair(words),
    }
}

/// Columns as wide as their widest cell.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    // Colours take no room.
    let width_of = |cell: &str| strip_str(cell).map(|part| part.chars().count()).sum::<usize>();
    let width = |column: usize| all.iter().map(|row| width_of(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += cell;
            line += &" ".repeat(width - width_of(cell) + 2);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A count and its noun.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `-` for nothing.
pub(super) fn or_dash(text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A time of the journal: `2026-01-31 23:59:59Z`.
pub(super) fn time(millis: u64) -> String {
    let seconds = millis / 1000;
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let text = table(["NAME", "HELD"], [["a-long-name".into(), "1".into()], ["ö".into(), "-".into()]]);
        assert_eq!(text, "NAME         HELD\na-long-name  1\nö            -\n");
    }

    #[test]
    fn colours_take_no_room_and_are_left_out_where_nobody_sees_them() {
        let text = table(["PHASE", "HELD"], [[good("serving"), "1".into()], [bad("vacant"), "2".into()]]);
        assert_eq!(strip_str(&text).to_string(), "PHASE    HELD\nserving  1\nvacant   2\n");
        assert!(text.contains("\x1b[32mserving\x1b[0m  1"), "{text:?}");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399_999, "2000-02-28 23:59:59Z"),
            (951_868_799_000, "2000-02-29 23:59:59Z"),
            (951_868_800_000, "2000-03-01 00:00:00Z"),
            (1_798_761_599_000, "2026-12-31 23:59:59Z"),
            (1_798_761_600_000, "2027-01-01 00:00:00Z"),
        ] {
            assert_eq!(time(millis), text);
        }
    }
}
