//! What is known of one name, and what that means for its next order.

use super::backoff::{self, Dice, TRIES_PER_HOUR};
use super::{Failure, LOOK_USUAL, SILENT_TRIES, Time};

/// When an authority suggests to renew: from, to (RFC 9773).
pub type Window = (Time, Time);

/// A certificate that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// From when it is valid.
    pub not_before: Time,
    /// Until when it is valid.
    pub not_after: Time,
    /// When the next one is to be ordered.
    pub renew_at: Time,
    /// What the authority suggested.
    pub window: Option<Window>,
    /// When to ask it again.
    pub look_at: Option<Time>,
}

impl Certificate {
    /// One whose renewal is chosen here: a random point of the window, or else shortly before two thirds of its life.
    pub fn new(not_before: Time, not_after: Time, window: Option<Window>, dice: &mut Dice) -> Self {
        let life = not_after.0.saturating_sub(not_before.0);
        // A thirtieth of the life is three days of ninety: enough to spread those that were ordered together.
        let two_thirds = not_before.plus(life / 3 * 2 + life % 3 * 2 / 3);
        let mut certificate = Self {
            not_before,
            not_after,
            renew_at: Time(two_thirds.0 - dice.up_to(life / 30)),
            window: None,
            look_at: None,
        };
        certificate.suggested(window, Time(0), dice);
        certificate
    }

    /// Takes a suggestion. One that stays the same keeps the point that was chosen.
    pub(super) fn suggested(&mut self, window: Option<Window>, now: Time, dice: &mut Dice) {
        let Some((from, to)) = window.filter(|(from, to)| from <= to) else { return };
        if self.window != window {
            self.window = window;
            self.renew_at = from.plus(dice.up_to(to.0 - from.0)).max(now).min(self.not_after);
        }
    }
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The newest certificate.
    pub certificate: Option<Certificate>,
    /// Orders that have failed in a row.
    pub failures: u32,
    /// When the last of them failed, at most [`TRIES_PER_HOUR`], the oldest first.
    pub recent: Vec<Time>,
    /// No order before this.
    pub next_try: Time,
    /// Number of the authority to turn to.
    pub authority: usize,
}

/// How urgent: the sort, and within it what ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u8, Time);

impl Rank {
    /// No name that somebody waits for ranks behind it, and no other before.
    pub(super) const FIRST_OF_THE_OTHERS: Self = Self(1, Time(0));
}

/// Where a name is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Nowhere,
    Due(Time),
    Ready(Rank),
    UnderWay {
        authority: usize,
        waited_for: bool,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) certificate: Option<Certificate>,
    pub(super) failures: u32,
    pub(super) recent: Vec<Time>,
    pub(super) next_try: Time,
    pub(super) authority: usize,
    /// Authorities that have refused it, one after the other.
    refusals: usize,
    /// Tries in a row of which the authority has said nothing.
    silent: u32,
    /// Somebody waits for it.
    pub(super) wanted: bool,
    pub(super) place: Place,
}

impl Entry {
    pub(super) fn restored(record: Record, authorities: usize) -> Self {
        Self {
            certificate: record.certificate,
            failures: record.failures,
            recent: record.recent,
            next_try: record.next_try,
            authority: record.authority.min(authorities.saturating_sub(1)),
            ..Self::default()
        }
    }

    pub(super) fn record(&self) -> Record {
        Record {
            certificate: self.certificate.clone(),
            failures: self.failures,
            recent: self.recent.clone(),
            next_try: self.next_try,
            authority: self.authority,
        }
    }

    pub(super) fn is_good(&self, now: Time) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.not_after > now)
    }

    /// Whether nothing is lost when a name that nobody serves is dropped.
    pub(super) fn is_forgettable(&self, now: Time) -> bool {
        self.certificate.is_none() && self.next_try <= now
    }

    /// When it may be ordered, if it is to be.
    pub(super) fn due(&self, ahead: bool) -> Option<Time> {
        match &self.certificate {
            Some(certificate) => Some(certificate.renew_at.max(self.next_try)),
            None if self.wanted || ahead => Some(self.next_try),
            None => None,
        }
    }

    /// Who waits goes first; then what ends soonest; then what has none yet: a site that is served must not lose to
    /// thousands that never were.
    pub(super) fn rank(&self, now: Time) -> Rank {
        let end = self.certificate.as_ref().map(|certificate| certificate.not_after);
        match end {
            _ if self.wanted && !self.is_good(now) => Rank(0, end.unwrap_or_default()),
            Some(end) => Rank(1, end),
            None => Rank(2, Time(0)),
        }
    }

    /// An order begins. Whether somebody waits for it.
    pub(super) fn begin(&mut self, authority: usize) -> bool {
        let waited_for = matches!(self.place, Place::Ready(rank) if rank < Rank::FIRST_OF_THE_OTHERS);
        self.place = Place::UnderWay { authority, waited_for };
        waited_for
    }

    pub(super) fn issued(
        &mut self,
        not_before: Time,
        not_after: Time,
        window: Option<Window>,
        now: Time,
        dice: &mut Dice,
    ) {
        let mut certificate = Certificate::new(not_before, not_after, window, dice);
        certificate.look_at = window.map(|_| now.plus(LOOK_USUAL));
        self.wanted = false;
        (self.refusals, self.silent, self.authority) = (0, 0, 0);
        if certificate.renew_at > now {
            self.failures = 0;
            self.recent.clear();
            self.next_try = Time(0);
        } else {
            // Renewed at once, and again, and again? Not by us.
            self.count_failure(now, dice);
        }
        self.certificate = Some(certificate);
    }

    pub(super) fn failed(
        &mut self,
        failure: Failure,
        authority: usize,
        count: usize,
        now: Time,
        dice: &mut Dice,
    ) {
        let next = (authority + 1) % count;
        if failure != Failure::Silent {
            self.silent = 0;
        }
        match failure {
            // The authority has a backoff of its own; the name goes to another, or waits for it.
            Failure::Unavailable | Failure::RateLimited { .. } => return,
            // Not a failure of the name, which nobody has looked at: it stays wanted, and is tried again soon.
            Failure::Silent => {
                self.silent = self.silent.saturating_add(1);
                self.next_try = match self.silent {
                    // What was left to lie says nothing about the next one.
                    SILENT_TRIES => now,
                    times => backoff::of_silence(times, now, dice),
                };
                if self.is_silent_for_too_long() {
                    self.authority = next;
                }
                return;
            }
            Failure::Refused => {
                self.authority = next;
                self.refusals += 1;
                if self.refusals < count {
                    return;
                }
                self.refusals = 0;
                self.count_failure(now, dice);
            }
            Failure::Challenge => {
                self.count_failure(now, dice);
                // Both ways to prove it have failed there; perhaps another one sees it better.
                self.authority = if self.failures.is_multiple_of(2) { next } else { authority };
            }
            // Once, at once: it was cut off, which says nothing about the name.
            Failure::Lapsed if self.failures == 0 => {
                self.count_failure(now, dice);
                self.next_try = now;
                return;
            }
            Failure::Ours | Failure::Lapsed => self.count_failure(now, dice),
        }
        // Who waited is told. Whoever comes after the backoff asks again; if nobody does, it is not missed.
        self.wanted = false;
    }

    /// The next order is made anew.
    pub(super) fn is_silent_for_too_long(&self) -> bool {
        self.silent > 0 && self.silent.is_multiple_of(SILENT_TRIES)
    }

    fn count_failure(&mut self, now: Time, dice: &mut Dice) {
        self.failures = self.failures.saturating_add(1);
        if self.recent.len() == TRIES_PER_HOUR {
            self.recent.remove(0);
        }
        self.recent.push(now);
        self.next_try = backoff::of_name(self.failures, &self.recent, now, dice);
    }
}
