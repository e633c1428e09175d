//! Rules of the fleet that a build with the feature `broken` breaks on purpose, one at a time: whether the runs under
//! faults would notice is found out that way. In every other build, no rule can be broken, and nothing of this is left.

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The controller waits until every edge has applied a fence.
    Watermark,
    /// Who delivers something looks at the clock itself.
    Deadline,
}

/// The variable that names the rule.
#[cfg(feature = "broken")]
const CHOICE: &str = "GHOSTPIN_BROKEN";

/// Whether this process breaks it.
#[cfg(feature = "broken")]
pub fn breaks(rule: Rule) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let chosen = std::env::var(CHOICE).unwrap_or_default();
        tracing::error!(rule = chosen, "this build is for tests: it breaks a rule on purpose");
        chosen
    });
    *chosen == format!("{rule:?}").to_lowercase()
}

/// Whether this process breaks it: no.
#[cfg(not(feature = "broken"))]
#[inline(always)]
pub const fn breaks(_: Rule) -> bool {
    false
}
