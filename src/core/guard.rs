//! Whether an update may be put in force without anybody's word: one that touches too much at once is more often a slip, or an
//! orchestrator that has lost its memory, than what somebody wants.

use std::fmt;

/// What an update does to the sites in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// So many there are,
    pub of: usize,
    /// and of them so many are gone,
    pub removed: usize,
    /// and so many are other than they were.
    pub changed: usize,
    /// So many come.
    pub added: usize,
}

/// How much may be touched at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// This share of the sites, between 0 and 1;
    pub share: f64,
    /// or so many, if that is more.
    pub sites: usize,
}

impl Rule {
    /// Whether the update needs nobody's word. One that leaves nothing always does.
    pub fn lets_pass(&self, touched: &Touched) -> bool {
        let Touched { of, removed, changed, added } = *touched;
        let leaves_nothing = of > 0 && removed == of && added == 0;
        let touches = removed + changed;
        !leaves_nothing && (touches <= self.sites || touches as f64 <= self.share * of as f64)
    }
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, removed, changed, added } = self;
        write!(f, "remove {removed} and change {changed} of {of} sites, and add {added}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { share: 0.5, sites: 20 };

    fn touched(of: usize, removed: usize, changed: usize, added: usize) -> Touched {
        Touched { of, removed, changed, added }
    }

    #[test]
    fn more_than_a_share_of_many_sites_waits() {
        assert!(RULE.lets_pass(&touched(100, 0, 0, 1_000)), "what comes touches nobody");
        assert!(RULE.lets_pass(&touched(100, 25, 25, 0)));
        assert!(!RULE.lets_pass(&touched(100, 60, 0, 0)));
        assert!(!RULE.lets_pass(&touched(100, 0, 51, 0)));
    }

    #[test]
    fn few_sites_may_be_changed_all_at_once() {
        assert!(RULE.lets_pass(&touched(2, 0, 2, 0)));
        assert!(RULE.lets_pass(&touched(21, 20, 0, 0)));
        assert!(!RULE.lets_pass(&touched(21, 10, 11, 0)));
    }

    #[test]
    fn what_leaves_nothing_always_waits() {
        assert!(!RULE.lets_pass(&touched(1, 1, 0, 0)));
        assert!(RULE.lets_pass(&touched(1, 1, 0, 1)), "it has got another name");
        assert!(RULE.lets_pass(&touched(0, 0, 0, 0)), "there was nothing");
        let never = Rule { share: 1.0, sites: usize::MAX };
        assert!(!never.lets_pass(&touched(5, 5, 0, 0)));
    }
}
