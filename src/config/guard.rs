//! `[guard]`: how much an update may touch before it waits for somebody's word.

use serde::Deserialize;

use super::defaults::{DEFAULT_GUARD_SHARE, DEFAULT_GUARD_SITES};
use super::share::Share;
use super::units::Count;
use super::written::Text;
use crate::core::guard::Rule;

/// `[guard]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGuard {
    share: Option<Share>,
    sites: Option<Text<Count<0, 10_000_000>>>,
}

pub(super) fn guard(raw: &RawGuard) -> Rule {
    Rule {
        share: raw.share.map_or(DEFAULT_GUARD_SHARE, Share::as_fraction),
        sites: raw.sites.map_or(DEFAULT_GUARD_SITES, |key| key.0.0) as usize,
    }
}
