//! Whether an update that is tried on one edge of a fleet, the canary, is good enough for the others.
//!
//! The canary has it in force, looks for a while, and judges. The others go by what it says of the very sites that they are to
//! have in force; they compare no clocks with it, and know each set of sites by a fingerprint.

use std::fmt;

use super::SiteName;

/// Own errors that are too few to mean anything.
const ERRORS_MIN: u64 = 3;
/// By so much the share of own errors among all answers may grow.
const SHARE_MORE_MAX: f64 = 0.01;
/// Sites that are named of those that are meant.
const NAMES: usize = 5;

/// Stands for the configuration of a set of sites, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// With those of the other one as well.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Without those of the other one, which are in it.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// As it was written.
    pub fn read(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How requests were answered, since some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them,
    pub all: u64,
    /// and those with a status from 500 on that ghostpin gave itself.
    pub own_errors: u64,
}

impl Answers {
    /// What has come since then.
    #[must_use]
    pub fn since(self, then: Self) -> Self {
        let Self { all, own_errors } = then;
        Self { all: self.all.saturating_sub(all), own_errors: self.own_errors.saturating_sub(own_errors) }
    }

    fn share(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.own_errors as f64 / self.all as f64 }
    }
}

/// What the canary has seen of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Before it,
    pub before: Answers,
    /// and since it is in force.
    pub since: Answers,
    /// So many sites were looked at, and answered a probe by their new settings.
    pub answering: usize,
    /// Sites that it has changed that were served, and are not, or don't answer a probe.
    pub lost: Vec<SiteName>,
    /// Sites that it has changed in which a conflict has been raised.
    pub in_conflict: Vec<SiteName>,
}

/// What the canary makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The others may have it.
    Good,
    /// They may not.
    Bad(Why),
    /// Nothing was served, so there is nothing to judge by.
    Open,
}

/// What is wrong with an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// See [`Trial::lost`].
    Lost(Vec<SiteName>),
    /// See [`Trial::in_conflict`].
    InConflict(Vec<SiteName>),
    /// More answers than before were errors of ghostpin's own.
    Errors(Answers),
}

/// The rule, when the time is over.
pub fn judge(trial: &Trial) -> Verdict {
    let Trial { before, since, answering, lost, in_conflict } = trial;
    if !lost.is_empty() {
        return Verdict::Bad(Why::Lost(lost.clone()));
    }
    if !in_conflict.is_empty() {
        return Verdict::Bad(Why::InConflict(in_conflict.clone()));
    }
    if since.own_errors >= ERRORS_MIN && since.share() > before.share() + SHARE_MORE_MAX {
        return Verdict::Bad(Why::Errors(*since));
    }
    if *answering == 0 { Verdict::Open } else { Verdict::Good }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |sites: &[SiteName]| {
            let names: Vec<&str> = sites.iter().take(NAMES).map(SiteName::as_str).collect();
            let more = if sites.len() > NAMES { ", …" } else { "" };
            format!("{} ({}{more})", sites.len(), names.join(", "))
        };
        match self {
            Self::Lost(sites) => {
                write!(
                    f,
                    "sites that it changes, and that were served, are not, or don't answer a probe: {}",
                    named(sites)
                )
            }
            Self::InConflict(sites) => {
                write!(f, "a conflict was raised in sites that it changes: {}", named(sites))
            }
            Self::Errors(Answers { all, own_errors }) => {
                write!(
                    f,
                    "{own_errors} of {all} answers were errors of ghostpin's own, a larger share than before"
                )
            }
        }
    }
}

/// What a canary thinks of what it has in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has yet to be seen.
    Trying,
    /// The others may have it.
    Good,
    /// They may not.
    Bad,
}

/// What a canary says to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// Its name.
    pub edge: String,
    /// What it has in force.
    pub fingerprint: Fingerprint,
    /// What it thinks of that,
    pub standing: Standing,
    /// and why, if it is bad.
    pub why: String,
}

/// What an update waits for at another edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The canary is not there.
    Canary,
    /// It has something else in force.
    Update,
    /// It has not judged yet.
    Verdict,
    /// It has judged, and this is why it is bad.
    Word(String),
}

/// What an update waits for that leads to `wanted`, where the canary says this; `None` if it may be put in force. Two
/// lives of the canary may be there for a while: the more cautious one counts.
pub fn awaits(wanted: Fingerprint, canary: &[Says]) -> Option<Awaited> {
    let of_it = canary.iter().filter(|says| says.fingerprint == wanted);
    let caution = |says: &&Says| match says.standing {
        Standing::Good => 0,
        Standing::Trying => 1,
        Standing::Bad => 2,
    };
    match of_it.max_by_key(caution) {
        Some(Says { standing: Standing::Good, .. }) => None,
        Some(Says { standing: Standing::Trying, .. }) => Some(Awaited::Verdict),
        Some(Says { standing: Standing::Bad, why, .. }) => Some(Awaited::Word(why.clone())),
        None if canary.is_empty() => Some(Awaited::Canary),
        None => Some(Awaited::Update),
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canary => f.write_str("that edge is not there: start it"),
            Self::Update => f.write_str("that edge has other sites in force: reload it with the same ones"),
            Self::Verdict => f.write_str("that edge tries it"),
            Self::Word(why) => {
                write!(f, "that edge has found it bad ({why}): mend it, and reload that edge first")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(all: u64, own_errors: u64) -> Answers {
        Answers { all, own_errors }
    }

    /// One in which all was well.
    fn trial() -> Trial {
        Trial { before: answers(1_000, 5), since: answers(1_000, 5), answering: 2, ..Trial::default() }
    }

    #[test]
    fn what_is_served_as_before_is_good() {
        assert_eq!(judge(&trial()), Verdict::Good);
        let quiet = Trial { before: answers(0, 0), since: answers(0, 0), ..trial() };
        assert_eq!(judge(&quiet), Verdict::Good, "without readers, what answers a probe is served");
    }

    #[test]
    fn where_nothing_is_served_nothing_is_judged() {
        assert_eq!(judge(&Trial { answering: 0, ..trial() }), Verdict::Open);
    }

    #[test]
    fn a_site_that_is_served_no_more_is_bad() {
        let why = Why::Lost(vec!["blog".into()]);
        let lost = Trial { lost: vec!["blog".into()], ..trial() };
        assert_eq!(judge(&lost), Verdict::Bad(why.clone()));
        assert_eq!(judge(&Trial { answering: 0, ..lost }), Verdict::Bad(why.clone()), "be it the only one");
        assert!(why.to_string().ends_with("1 (blog)"), "{why}");
    }

    #[test]
    fn a_conflict_that_was_raised_is_bad() {
        let raised = Trial { in_conflict: vec!["blog".into()], ..trial() };
        assert_eq!(judge(&raised), Verdict::Bad(Why::InConflict(vec!["blog".into()])));
    }

    #[test]
    fn more_errors_than_before_are_bad_and_a_few_more_are_chance() {
        let after = |all, own_errors| judge(&Trial { since: answers(all, own_errors), ..trial() });
        assert_eq!(after(1_000, 15), Verdict::Good, "one in a hundred more, and not beyond");
        assert_eq!(after(1_000, 16), Verdict::Bad(Why::Errors(answers(1_000, 16))));
        assert_eq!(after(10, 2), Verdict::Good, "too few to mean anything");
        assert_eq!(after(10, 3), Verdict::Bad(Why::Errors(answers(10, 3))));
        let bad_before = Trial { before: answers(10, 5), since: answers(100, 50), ..trial() };
        assert_eq!(judge(&bad_before), Verdict::Good, "it was as bad before");
    }

    #[test]
    fn others_go_by_what_is_said_of_the_same_sites() {
        let says = |fingerprint, standing| Says {
            edge: "edge-1".to_owned(),
            fingerprint: Fingerprint(fingerprint),
            standing,
            why: "why".to_owned(),
        };
        let wanted = Fingerprint(7);
        use Standing::*;
        assert_eq!(awaits(wanted, &[]), Some(Awaited::Canary));
        assert_eq!(awaits(wanted, &[says(8, Good)]), Some(Awaited::Update));
        assert_eq!(awaits(wanted, &[says(7, Trying)]), Some(Awaited::Verdict));
        assert_eq!(awaits(wanted, &[says(7, Bad)]), Some(Awaited::Word("why".to_owned())));
        assert_eq!(awaits(wanted, &[says(7, Good)]), None);
        assert_eq!(awaits(wanted, &[says(7, Good), says(8, Trying)]), None);
        let two_lives = [says(7, Good), says(7, Trying)];
        assert_eq!(awaits(wanted, &two_lives), Some(Awaited::Verdict), "the more cautious one counts");
    }

    #[test]
    fn a_fingerprint_is_read_as_it_was_written() {
        for number in [0, 7, u64::MAX] {
            assert_eq!(Fingerprint::read(&Fingerprint(number).to_string()), Some(Fingerprint(number)));
        }
        assert_eq!(Fingerprint::read("blog"), None);
    }
}
