//! A request as one line of JSON, as a line of Apache's combined format, or as an entry of systemd's journal.

use std::io::Write;
use std::sync::LazyLock;
use std::time::SystemTime;

use http::Version;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use time::OffsetDateTime;
use time::format_description::OwnedFormatItem;

use super::Record;
use crate::config::AccessFormat;
use crate::core::SiteName;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object of JSON.
    Json,
    /// Apache's combined format, and what ghostpin adds.
    Combined,
    /// Fields of systemd's journal.
    Journal,
}

impl From<AccessFormat> for Form {
    fn from(format: AccessFormat) -> Self {
        match format {
            AccessFormat::Json => Self::Json,
            AccessFormat::Combined => Self::Combined,
        }
    }
}

impl Form {
    /// One record, ended as what it is written to wants it.
    pub fn write(self, record: &Record) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        // Nothing of it fails: a vector takes all.
        let _ = match self {
            Self::Json => json(record, &mut out),
            Self::Combined => combined(record, &mut out),
            Self::Journal => journal(record, &mut out),
        };
        out
    }
}

/// What a line says, in the order in which it does.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "as_time")]
    time: SystemTime,
    client: std::net::IpAddr,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    protocol: &'static str,
    status: u16,
    bytes: u64,
    ms: u64,
    held_ms: u64,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'static str>,
    broken_off: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    request_id: &'a str,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record) -> Self {
        let pin = record.pin.as_ref();
        let took = record.began.elapsed();
        Self {
            // When it came, as other servers say it.
            time: SystemTime::now() - took,
            client: record.client,
            method: record.method.as_str(),
            host: &record.host,
            path: &record.path,
            protocol: match record.version {
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            status: record.status.as_u16(),
            bytes: record.bytes,
            ms: took.as_millis() as u64,
            held_ms: record.held.as_millis() as u64,
            attempts: record.attempts,
            site: record.site.as_ref().map(SiteName::as_str),
            epoch: pin.map(|pin| pin.epoch.0),
            backend: pin.map(|pin| pin.backend.to_string()),
            refusal: record.refusal,
            broken_off: record.broken_off,
            referer: record.referer.as_deref(),
            user_agent: record.user_agent.as_deref(),
            request_id: &record.request_id,
        }
    }
}

/// In UTC, to the millisecond.
fn as_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    const FORM: &str = "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z";
    static PARSED: LazyLock<OwnedFormatItem> = LazyLock::new(|| parsed(FORM));
    serializer.collect_str(&in_form(*time, &PARSED))
}

fn parsed(form: &str) -> OwnedFormatItem {
    time::format_description::parse_owned::<2>(form).expect("a constant that is tested")
}

fn in_form(time: SystemTime, form: &OwnedFormatItem) -> String {
    OffsetDateTime::from(time).format(form).unwrap_or_default()
}

fn json(record: &Record, out: &mut Vec<u8>) -> std::io::Result<()> {
    Line::of(record).serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Visible))?;
    out.write_all(b"\n")
}

/// JSON without anything raw that is more than text to who looks at it: what a terminal takes for a command, a reader of lines for
/// an end, or both for a turn of what follows. JSON itself only asks for the first 32 controls to be written in another way.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut rest = fragment;
        while let Some((at, odd)) = rest.char_indices().find(|(_, character)| is_odd(*character)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            // None of them is beyond the first 65,536.
            write!(writer, "\\u{:04x}", u32::from(odd))?;
            rest = &rest[at + odd.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A path where people read it as it is: what is odd in it is written in percent, as it could have been sent.
pub struct Readable<'a>(pub &'a str);

impl std::fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        self.0.chars().try_for_each(|character| match is_odd(character) {
            false => f.write_char(character),
            true => character.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(f, "%{byte:02X}")),
        })
    }
}

/// Controls, ends of lines and paragraphs, and what turns the direction of a text.
fn is_odd(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn combined(record: &Record, out: &mut Vec<u8>) -> std::io::Result<()> {
    const FORM: &str = "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000";
    static PARSED: LazyLock<OwnedFormatItem> = LazyLock::new(|| parsed(FORM));
    let line = Line::of(record);
    let Line { client, method, protocol, status, bytes, ms, held_ms, attempts, broken_off, .. } = &line;
    let text =
        |text: Option<&str>| format!("\"{}\"", Escaped(text.filter(|text| !text.is_empty()).unwrap_or("-")));
    write!(
        out,
        "{client} - - [{}] \"{} {} {protocol}\" {status} {bytes} {} {}",
        in_form(line.time, &PARSED),
        Escaped(method),
        Escaped(line.path),
        text(line.referer),
        text(line.user_agent),
    )?;
    writeln!(
        out,
        " host={} site={} epoch={} backend={} ms={ms} held_ms={held_ms} attempts={attempts} refusal={} \
         broken_off={broken_off} request_id={}",
        text(Some(line.host)),
        text(line.site),
        line.epoch.unwrap_or(0),
        text(line.backend.as_deref()),
        text(line.refusal),
        text(Some(line.request_id)),
    )
}

/// A text between quotes, as Apache writes it: nothing in it ends the quotes or the line, and all of it is ASCII.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                other => write!(f, "\\x{other:02x}")?,
            }
        }
        Ok(())
    }
}

/// systemd's native protocol: one datagram, with a field a line.
fn journal(record: &Record, out: &mut Vec<u8>) -> std::io::Result<()> {
    let line = Line::of(record);
    let message = format!("{} {}{} {}", line.method, line.host, Readable(line.path), line.status);
    // 4 is a warning, 6 what is worth knowing.
    let priority = if line.status >= 500 { "4" } else { "6" };
    let mut field = |name: &str, value: &str| match value.contains('\n') {
        false => writeln!(out, "{name}={value}"),
        true => {
            writeln!(out, "{name}")?;
            out.write_all(&(value.len() as u64).to_le_bytes())?;
            writeln!(out, "{value}")
        }
    };
    field("MESSAGE", &message)?;
    field("PRIORITY", priority)?;
    field("SYSLOG_IDENTIFIER", "ghostpin")?;
    let serde_json::Value::Object(fields) = serde_json::to_value(&line)? else { return Ok(()) };
    for (name, value) in &fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        field(&format!("GHOSTPIN_{}", name.to_ascii_uppercase()), &value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::core::{Epoch, Pin};
    use crate::observe::access::tests::record;

    fn full() -> Record {
        let pin = Pin { epoch: Epoch(3), backend: "10.0.0.7:2368".parse().unwrap() };
        Record {
            path: "/a \"post\"".into(),
            site: Some(SiteName::from("blog")),
            pin: Some(Arc::new(pin)),
            held: Duration::from_millis(40),
            referer: Some("https://other.example/".into()),
            user_agent: Some("curl/8\\\t\"".into()),
            ..record(200)
        }
    }

    #[test]
    fn a_line_of_json_has_what_is_known_and_leaves_out_what_is_not() {
        let line: serde_json::Value = serde_json::from_slice(&Form::Json.write(&full())).unwrap();
        assert_eq!((&line["path"], &line["epoch"]), (&"/a \"post\"".into(), &3.into()));
        assert_eq!((&line["backend"], &line["held_ms"]), (&"10.0.0.7:2368".into(), &40.into()));
        let bare: serde_json::Value = serde_json::from_slice(&Form::Json.write(&record(404))).unwrap();
        assert!(bare.get("site").is_none() && bare.get("referer").is_none(), "{bare}");
    }

    #[test]
    fn times_are_those_at_which_requests_came() {
        let came = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
        let began = Instant::now() - SystemTime::now().duration_since(came).unwrap();
        let of = |form: Form| String::from_utf8(form.write(&Record { began, ..record(200) })).unwrap();
        // The two clocks are read one after the other.
        assert!(of(Form::Json).contains("\"time\":\"2023-11-14T22:13:20."), "{}", of(Form::Json));
        assert!(of(Form::Combined).contains(" [14/Nov/2023:22:13:20 +0000] "), "{}", of(Form::Combined));
    }

    #[test]
    fn a_combined_line_is_apaches_and_nothing_in_it_ends_its_quotes() {
        let line = String::from_utf8(Form::Combined.write(&full())).unwrap();
        let (before, after) = line.split_once('[').unwrap();
        let (_, after) = after.split_once(']').unwrap();
        assert_eq!(before, "192.0.2.1 - - ");
        let apache = " \"GET /a \\\"post\\\" HTTP/1.1\" 200 7 \"https://other.example/\" \"curl/8\\\\\\x09\\\"\" host=";
        assert!(after.starts_with(apache), "{after}");
        assert!(after.contains(" site=\"blog\" epoch=3 backend=\"10.0.0.7:2368\" "), "{after}");
        assert!(line.ends_with(" request_id=\"id\"\n"), "{line}");
    }

    /// What a terminal takes for a command, or a reader for the end of a line, or for text that runs the other way.
    const ODD: &str = "a\u{7f}\u{85}\u{9b}31m\u{202e}\u{2028}\u{2029}\u{200f}\u{61c}\u{2066}é";

    #[test]
    fn nothing_in_a_combined_line_is_more_than_a_byte_of_ascii() {
        let record = Record { user_agent: Some(ODD.into()), ..record(200) };
        let line = String::from_utf8(Form::Combined.write(&record)).unwrap();
        let told = ODD.bytes().skip(1).map(|byte| match byte {
            b'3' | b'1' | b'm' => char::from(byte).to_string(),
            other => format!("\\x{other:02x}"),
        });
        assert!(line.contains(&format!(" \"a{}\" host=", told.collect::<String>())), "{line}");
    }

    #[test]
    fn nothing_in_a_line_of_json_is_a_command_to_a_terminal_or_turns_its_text_around() {
        let record = Record { user_agent: Some(ODD.into()), ..record(200) };
        let line = String::from_utf8(Form::Json.write(&record)).unwrap();
        let told = r"a\u007f\u0085\u009b31m\u202e\u2028\u2029\u200f\u061c\u2066é";
        assert!(line.contains(told), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["user_agent"], ODD, "whoever reads it has what was sent");
    }

    #[test]
    fn a_path_that_people_read_has_in_percent_what_is_odd_in_it() {
        let entry = Form::Journal.write(&Record { path: "/é\u{9b}\u{202e}".into(), ..record(200) });
        let message = "MESSAGE=GET blog.example/é%C2%9B%E2%80%AE 200\n";
        assert!(String::from_utf8_lossy(&entry).starts_with(message), "{}", String::from_utf8_lossy(&entry));
    }

    #[test]
    fn an_entry_of_the_journal_names_its_fields() {
        let entry = String::from_utf8(Form::Journal.write(&full())).unwrap();
        let fields: HashMap<&str, &str> = entry.lines().map(|line| line.split_once('=').unwrap()).collect();
        assert_eq!(fields["MESSAGE"], "GET blog.example/a \"post\" 200");
        assert_eq!((fields["GHOSTPIN_SITE"], fields["GHOSTPIN_EPOCH"]), ("blog", "3"));
        assert_eq!(fields["PRIORITY"], "6");
    }

    #[test]
    fn a_value_with_an_end_of_line_is_written_with_its_length() {
        let entry = Form::Journal.write(&Record { path: "/a\nGHOSTPIN_STATUS=500".into(), ..record(200) });
        let value = b"/a\nGHOSTPIN_STATUS=500";
        let written =
            [b"GHOSTPIN_PATH\n".as_slice(), &(value.len() as u64).to_le_bytes(), value, b"\n"].concat();
        assert!(entry.windows(written.len()).any(|window| window == written));
    }
}
