//! How long to leave a name, or an authority, alone after a failure; and the dice that spread things out.

use super::{HOUR, MINUTE, Time};

/// Wait after the first failure of a name, in seconds.
const NAME_MIN: u64 = MINUTE;
/// Longest wait of a name, in seconds.
const NAME_MAX: u64 = 24 * HOUR;
/// Most orders for one name that may fail within any hour; Let's Encrypt blocks a name after five.
pub const TRIES_PER_HOUR: usize = 4;
/// Wait after an authority could not be reached, or said nothing of an order, in seconds. Short, for nobody counts who doesn't get through.
const AUTHORITY_MIN: u64 = 5;
/// Longest wait of an authority, in seconds.
const AUTHORITY_MAX: u64 = HOUR;

/// Random numbers from a seed: the same ones each time.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number (splitmix64).
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `most`.
    pub fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(bound) => self.roll() % bound,
            None => self.roll(),
        }
    }
}

/// Twice as long after each failure in a row, and up to a quarter more by chance.
fn wait(least: u64, most: u64, failures: u32, dice: &mut Dice) -> u64 {
    let doubled = least.saturating_mul(1 << failures.saturating_sub(1).min(32));
    let base = doubled.min(most);
    (base + dice.up_to(base / 4)).min(most)
}

/// When a name may be tried again after so many failures in a row, the last of them now.
pub(super) fn of_name(failures: u32, recent: &[Time], now: Time, dice: &mut Dice) -> Time {
    let next = now.plus(wait(NAME_MIN, NAME_MAX, failures, dice));
    // The next one to fail must not be one too many within the hour.
    match recent.len().checked_sub(TRIES_PER_HOUR) {
        Some(at) => next.max(recent[at].plus(HOUR + 1)),
        None => next,
    }
}

/// When to ask again about an order that the authority has said nothing of so many times in a row.
pub(super) fn of_silence(times: u32, now: Time, dice: &mut Dice) -> Time {
    now.plus(wait(AUTHORITY_MIN, AUTHORITY_MAX, times, dice))
}

#[derive(Clone, Debug, Default)]
struct Authority {
    until: Time,
    failures: u32,
    under_way: usize,
}

impl Authority {
    /// After a failure one order goes ahead, and the others follow if it got through.
    fn is_open(&self, now: Time) -> bool {
        now >= self.until && (self.failures == 0 || self.under_way == 0)
    }
}

/// The certificate authorities, in the order of preference.
#[derive(Clone, Debug)]
pub(super) struct Authorities(Vec<Authority>);

impl Authorities {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![Authority::default(); count])
    }

    pub(super) fn restore(&mut self, number: usize, until: Time, failures: u32) {
        if let Some(authority) = self.0.get_mut(number) {
            (authority.until, authority.failures) = (until, failures);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The first that can be asked now, from `preferred` on.
    pub(super) fn choose(&self, preferred: usize, now: Time) -> Option<usize> {
        let count = self.0.len();
        (0..count).map(|step| (preferred + step) % count).find(|number| self.0[*number].is_open(now))
    }

    /// `None` if one can be asked, or soon can; else when.
    pub(super) fn closed_until(&self, preferred: usize, now: Time) -> Option<Time> {
        match self.choose(preferred, now) {
            Some(_) => None,
            None if self.0.iter().any(|authority| authority.until <= now) => None,
            None => self.0.iter().map(|authority| authority.until).min(),
        }
    }

    /// When the next one can be asked that can't be now. One that waits for an order under way is not counted: its end
    /// is heard of.
    pub(super) fn opens(&self, now: Time) -> Option<Time> {
        self.0.iter().map(|authority| authority.until).filter(|until| *until > now).min()
    }

    pub(super) fn began(&mut self, number: usize) {
        self.0[number].under_way += 1;
    }

    pub(super) fn left(&mut self, number: usize) {
        self.0[number].under_way -= 1;
    }

    pub(super) fn well(&mut self, number: usize) {
        self.0[number].failures = 0;
    }

    pub(super) fn limited(&mut self, number: usize, until: Time) {
        let authority = &mut self.0[number];
        authority.until = authority.until.max(until);
    }

    pub(super) fn failed(&mut self, number: usize, now: Time, dice: &mut Dice) {
        let authority = &mut self.0[number];
        // Orders that were under way together tell of one failure, not of ten.
        if now >= authority.until {
            authority.failures = authority.failures.saturating_add(1);
            authority.until = now.plus(wait(AUTHORITY_MIN, AUTHORITY_MAX, authority.failures, dice));
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Time, u32)> {
        self.0.iter().map(|authority| (authority.until, authority.failures))
    }
}
