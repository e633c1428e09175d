//! `[guard]`: how much an update may touch before it waits for somebody's word, and where it is tried first.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::cluster::EdgeName;
use super::defaults::{DEFAULT_GUARD_CANARY_TIME, DEFAULT_GUARD_SHARE, DEFAULT_GUARD_SITES};
use super::errors::Report;
use super::share::Share;
use super::units::{Count, HOUR, Period, SECOND};
use super::written::Text;
use crate::core::guard::Rule;

/// `[guard]`
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// How much may be touched at once.
    pub rule: Rule,
    /// Where updates of the file are tried first; `None` if all edges put them in force at once.
    pub canary: Option<Canary>,
}

/// `canary` and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// `cluster.name` of the edge.
    pub edge: String,
    /// How long it tries an update.
    pub time: Duration,
}

/// `[guard]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGuard {
    share: Option<Share>,
    sites: Option<Text<Count<0, 10_000_000>>>,
    canary: Option<Spanned<Text<EdgeName>>>,
    canary_time: Option<Spanned<Text<Period<SECOND, HOUR>>>>,
}

/// From what was written.
pub(super) fn guard(raw: &RawGuard, is_one_of_many: bool, report: &mut Report<'_, '_>) -> Guard {
    let rule = Rule {
        share: raw.share.map_or(DEFAULT_GUARD_SHARE, Share::as_fraction),
        sites: raw.sites.map_or(DEFAULT_GUARD_SITES, |key| key.0.0) as usize,
    };
    if let Some(key) = raw.canary.as_ref().filter(|_| !is_one_of_many) {
        let message =
            "names an edge, and there is no [cluster] that it could be one of; add it, or remove the key";
        report.missing(key.span().start, "guard.canary", message);
    }
    if let (Some(key), None) = (&raw.canary_time, &raw.canary) {
        report.missing(
            key.span().start,
            "guard.canary_time",
            r#"stands alone; add canary = "edge-1", the name of the edge that tries updates first"#,
        );
    }
    let canary = raw.canary.as_ref().map(|key| Canary {
        edge: key.get_ref().0.as_str().to_owned(),
        time: raw.canary_time.as_ref().map_or(DEFAULT_GUARD_CANARY_TIME, |key| key.get_ref().0.0),
    });
    Guard { rule, canary }
}
