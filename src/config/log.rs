//! `[log]`: what is logged, where to, and what it looks like.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::Share;
use super::defaults::{
    DEFAULT_LOG_ACCESS, DEFAULT_LOG_ACCESS_FORMAT, DEFAULT_LOG_ACCESS_SHARE, DEFAULT_LOG_LEVEL,
};
use super::errors::Report;
use super::names::Filter;
use super::written::Text;

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `human` or `json`.
    pub format: LogFormat,
    /// Filter in the form of `tracing-subscriber`'s `EnvFilter`, such as `info` or `ghostpin=debug`.
    pub level: String,
    /// Whether requests leave a line.
    pub access: bool,
    /// Where those lines go.
    pub access_to: AccessTo,
    /// What they look like there.
    pub access_format: AccessFormat,
    /// How many of those requests leave a line that were answered well and at once; the others always do.
    pub access_share: Share,
}

/// Where lines about requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTo {
    /// To the log, with all others.
    Log,
    /// To standard output.
    Stdout,
    /// To systemd's journal, with a field for each part.
    Journald,
    /// To a file, which is opened again at SIGUSR1.
    File(PathBuf),
}

/// Form of lines about requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// Apache's combined format, and what ghostpin adds.
    Combined,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// `[log]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) format: Option<LogFormat>,
    pub(super) level: Option<Text<Filter>>,
    pub(super) access: Option<bool>,
    pub(super) access_to: Option<Spanned<String>>,
    pub(super) access_format: Option<Spanned<AccessFormat>>,
    pub(super) access_share: Option<Share>,
}

pub(super) fn log(raw: &RawLog, report: &mut Report<'_, '_>) -> Log {
    let access_to = access_to(raw, report);
    if let Some(key) = &raw.access_format
        && matches!(access_to, AccessTo::Log | AccessTo::Journald)
    {
        let message =
            r#"is for access_to = "stdout" or a file; the log has log.format, and journald has fields"#;
        report.wrong(key.span().start, "log.access_format", message);
    }
    Log {
        format: raw.format.unwrap_or(LogFormat::Human),
        level: raw.level.as_ref().map_or_else(|| DEFAULT_LOG_LEVEL.to_owned(), |key| key.0.0.clone()),
        access: raw.access.unwrap_or(DEFAULT_LOG_ACCESS),
        access_to,
        access_format: raw.access_format.as_ref().map_or(DEFAULT_LOG_ACCESS_FORMAT, |key| *key.get_ref()),
        access_share: raw.access_share.unwrap_or(DEFAULT_LOG_ACCESS_SHARE),
    }
}

/// A word, or the path of a file. A path has a `/`: `journal` is a slip, and no file.
fn access_to(raw: &RawLog, report: &mut Report<'_, '_>) -> AccessTo {
    let Some(key) = &raw.access_to else { return AccessTo::Log };
    match key.get_ref().as_str() {
        "log" => AccessTo::Log,
        "stdout" => AccessTo::Stdout,
        "journald" => AccessTo::Journald,
        path if path.contains('/') => AccessTo::File(report.source.folder().join(path)),
        other => {
            let message = format!(
                r#"`{other}` is no place; write "log", "stdout", "journald", or the path of a file with a `/`, such as "./{other}""#
            );
            report.wrong(key.span().start, "log.access_to", message);
            AccessTo::Log
        }
    }
}
