//! Whether a backend is unwell, where its controller can't reach it: that may be the controller's own trouble.

use std::time::Duration;

/// How long edges are waited for that were asked and say nothing.
pub const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What the edges have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opinion {
    /// More than half of them can't reach it.
    Unwell,
    /// Half of them or more can: the site stays.
    Well,
    /// Not enough of them have said.
    Open,
}

/// The controller can't reach a backend. `others` are the other edges that are there, and what each has said when it was
/// asked; `waited` is since when. Who says nothing in time has no say.
pub fn opinion(others: &[Option<bool>], waited: Duration) -> Opinion {
    let well = others.iter().filter(|said| **said == Some(true)).count();
    let unwell = 1 + others.iter().filter(|said| **said == Some(false)).count();
    let silent = if waited < ANSWER_MAX { others.len() + 1 - well - unwell } else { 0 };
    let all = well + unwell + silent;
    match () {
        () if 2 * unwell > all => Opinion::Unwell,
        () if 2 * (unwell + silent) > all => Opinion::Open,
        () => Opinion::Well,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Option<bool> = Some(true);
    const UNWELL: Option<bool> = Some(false);
    const NOW: Duration = Duration::ZERO;

    #[test]
    fn alone_it_believes_itself() {
        assert_eq!(opinion(&[], NOW), Opinion::Unwell);
    }

    #[test]
    fn a_controller_that_alone_cannot_reach_a_backend_moves_nothing() {
        assert_eq!(opinion(&[WELL, WELL], NOW), Opinion::Well);
        assert_eq!(opinion(&[WELL], NOW), Opinion::Well);
        assert_eq!(opinion(&[WELL, WELL], ANSWER_MAX), Opinion::Well);
    }

    #[test]
    fn as_soon_as_most_cannot_reach_it_nobody_else_is_waited_for() {
        assert_eq!(opinion(&[UNWELL, None], NOW), Opinion::Unwell);
        assert_eq!(opinion(&[None, None], NOW), Opinion::Open);
        assert_eq!(opinion(&[UNWELL, WELL], NOW), Opinion::Unwell);
    }

    #[test]
    fn who_says_nothing_in_time_has_no_say() {
        assert_eq!(opinion(&[None, None], ANSWER_MAX), Opinion::Unwell);
        assert_eq!(opinion(&[None, WELL], ANSWER_MAX), Opinion::Well);
    }
}
