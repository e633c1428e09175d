//! What a look at a name means, and when to look again.
//!
//! A name is a way to find an instance, not an instance. So an answer is never more than news: [`Name`] keeps what the
//! last good one said, tells what a new one changes, and says which instance stands for a backend. It doesn't choose
//! between two addresses, and takes no failure for an answer.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::Backend;

/// Between two looks at a name that a held site waits for.
pub const HELD_INTERVAL: Duration = Duration::from_millis(250);
/// An answer is good for at least this long, whatever it says.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// And for at most this long.
pub const TTL_MAX: Duration = Duration::from_secs(60);
/// How often the wait doubles while looks fail: to 2 s for a held site, to 32 s otherwise.
const DOUBLINGS_HELD: u32 = 3;
const DOUBLINGS: u32 = 5;

/// What a look has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// There is an answer.
    Found {
        /// The addresses; one, as a rule.
        addresses: Vec<IpAddr>,
        /// How long the answer is good for, as it says itself.
        ttl: Duration,
    },
    /// There is none, or none that says anything: why.
    Failed(String),
}

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing new.
    Same,
    /// The instance is at another address now, or at its first one.
    Moved,
    /// Several addresses: nobody knows which is meant.
    Several,
    /// Nothing is known that wasn't known before.
    Failed,
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    looked: bool,
    /// The last answer with one address.
    address: Option<IpAddr>,
    /// The addresses of the last good answer, if there were several; sorted.
    several: Vec<IpAddr>,
    failure: Option<String>,
}

impl Name {
    /// Takes in what a look has come to.
    pub fn take(&mut self, looked: Looked) -> Meaning {
        self.looked = true;
        let mut addresses = match looked {
            Looked::Found { addresses, .. } => addresses,
            Looked::Failed(why) => {
                self.failure = Some(why);
                return Meaning::Failed;
            }
        };
        addresses.sort_unstable();
        addresses.dedup();
        match *addresses {
            [] => {
                self.failure = Some("an answer without an address".to_owned());
                Meaning::Failed
            }
            [one] => {
                self.failure = None;
                self.several.clear();
                if self.address.replace(one) == Some(one) { Meaning::Same } else { Meaning::Moved }
            }
            _ => {
                self.failure = None;
                self.several = addresses;
                Meaning::Several
            }
        }
    }

    /// It was looked at, with whatever result.
    pub fn was_looked_at(&self) -> bool {
        self.looked
    }

    /// The addresses of the last good answer.
    pub fn addresses(&self) -> &[IpAddr] {
        if self.is_conflict() { &self.several } else { self.address.as_slice() }
    }

    /// The last good answer had several addresses.
    pub fn is_conflict(&self) -> bool {
        !self.several.is_empty()
    }

    /// Why the last look failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The instance that stands for the backend `text` (`host:port`) of a site.
    ///
    /// `kept` is the instance that has the site's pin, or is about to have it. As long as the name is of no help, it
    /// stays what it is, and nobody else is one.
    pub fn instance(&self, text: &str, port: u16, kept: Option<&Backend>) -> Option<Backend> {
        match self.address {
            Some(address) if !self.is_conflict() => Some(Backend::resolved(text, (address, port).into())),
            _ => kept.filter(|kept| kept.name() == Some(text)).cloned(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, address) in self.addresses().iter().enumerate() {
            write!(f, "{}{address}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// When a name is to be looked at again.
#[derive(Clone, Debug, Default)]
pub struct Rhythm {
    ttl: Duration,
    failures: u32,
}

impl Rhythm {
    /// Takes in what a look has come to.
    pub fn take(&mut self, looked: &Looked) {
        match looked {
            Looked::Found { ttl, .. } => *self = Self { ttl: *ttl, failures: 0 },
            Looked::Failed(_) => self.failures += 1,
        }
    }

    /// From the beginning of the last look to the next one. `held`: a site waits, so no answer is good for long.
    pub fn pause(&self, held: bool) -> Duration {
        let doubled = |least: Duration, most: u32| least * (1 << (self.failures - 1).min(most));
        match (held, self.failures) {
            (true, 0) => HELD_INTERVAL,
            (true, _) => doubled(HELD_INTERVAL, DOUBLINGS_HELD),
            (false, 0) => self.ttl.clamp(TTL_MIN, TTL_MAX),
            (false, _) => doubled(TTL_MIN, DOUBLINGS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ghost-a:2368";

    fn found(addresses: &[u8]) -> Looked {
        let address = |last: &u8| IpAddr::from([10, 0, 0, *last]);
        Looked::Found { addresses: addresses.iter().map(address).collect(), ttl: Duration::from_secs(5) }
    }

    fn failed() -> Looked {
        Looked::Failed("SERVFAIL".to_owned())
    }

    fn at(last: u8) -> Option<Backend> {
        Some(Backend::resolved(TEXT, ([10, 0, 0, last], 2368).into()))
    }

    /// Each row: looks, what the last one means, the instance without a pin, the instance with the pin on 10.0.0.5.
    #[test]
    fn a_name_stands_for_one_instance_and_is_never_guessed() {
        use Meaning::*;
        type Row = (Vec<Looked>, Meaning, Option<Backend>, Option<Backend>);
        let table: Vec<Row> = vec![
            (vec![found(&[5])], Moved, at(5), at(5)),
            (vec![found(&[5]), found(&[5])], Same, at(5), at(5)),
            (vec![found(&[5, 5])], Moved, at(5), at(5)),
            (vec![found(&[6])], Moved, at(6), at(6)),
            (vec![found(&[5]), found(&[6])], Moved, at(6), at(6)),
            (vec![failed()], Failed, None, at(5)),
            (vec![found(&[])], Failed, None, at(5)),
            (vec![found(&[6]), failed()], Failed, at(6), at(6)),
            (vec![found(&[6]), failed(), found(&[6])], Same, at(6), at(6)),
            (vec![found(&[5, 6])], Several, None, at(5)),
            (vec![found(&[6, 7])], Several, None, at(5)),
            (vec![found(&[6]), found(&[6, 7])], Several, None, at(5)),
            (vec![found(&[5, 6]), failed()], Failed, None, at(5)),
            (vec![found(&[5, 6]), found(&[6])], Moved, at(6), at(6)),
            (vec![found(&[5]), found(&[6, 5]), found(&[5])], Same, at(5), at(5)),
        ];
        for (looks, meaning, unpinned, pinned) in table {
            let mut name = Name::default();
            let last = looks.iter().map(|looked| name.take(looked.clone())).last();
            assert_eq!(last, Some(meaning), "{looks:?}");
            assert_eq!(name.instance(TEXT, 2368, None), unpinned, "{looks:?}");
            assert_eq!(name.instance(TEXT, 2368, at(5).as_ref()), pinned, "{looks:?}");
        }
    }

    #[test]
    fn a_pin_under_another_name_is_no_answer_for_this_one() {
        let other = Backend::resolved("ghost-b:2368", ([10, 0, 0, 5], 2368).into());
        assert_eq!(Name::default().instance(TEXT, 2368, Some(&other)), None);
    }

    #[test]
    fn a_conflict_lasts_until_it_is_one_address_again() {
        let mut name = Name::default();
        let mut seen = Vec::new();
        for looked in [found(&[5]), found(&[6, 5]), failed(), found(&[5])] {
            name.take(looked);
            seen.push((name.is_conflict(), name.to_string(), name.failure().is_some()));
        }
        let text = |text: &str| text.to_owned();
        let two = text("10.0.0.5, 10.0.0.6");
        let one = (false, text("10.0.0.5"), false);
        assert_eq!(seen, [one.clone(), (true, two.clone(), false), (true, two, true), one]);
    }

    /// Each row: looks, the pause in milliseconds, the pause while held.
    #[test]
    fn no_answer_is_trusted_while_held_and_none_for_longer_than_a_minute() {
        let ttl = |secs| Looked::Found { addresses: Vec::new(), ttl: Duration::from_secs(secs) };
        let table: Vec<(Vec<Looked>, u64, u64)> = vec![
            (vec![], 1_000, 250),
            (vec![ttl(0)], 1_000, 250),
            (vec![ttl(5)], 5_000, 250),
            (vec![ttl(3_600)], 60_000, 250),
            (vec![ttl(5), failed()], 1_000, 250),
            (vec![failed(); 2], 2_000, 500),
            (vec![failed(); 4], 8_000, 2_000),
            (vec![failed(); 1_000], 32_000, 2_000),
            (vec![failed(), failed(), ttl(5)], 5_000, 250),
        ];
        for (looks, free, held) in table {
            let mut rhythm = Rhythm::default();
            looks.iter().for_each(|looked| rhythm.take(looked));
            let pauses = [false, true].map(|held| rhythm.pause(held).as_millis() as u64);
            assert_eq!(pauses, [free, held], "{looks:?}");
        }
    }
}
