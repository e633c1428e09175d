//! A share of many things alike, chosen by their names: every process that is asked about one says the same.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Between none (0) and all (1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// All of them.
    pub const ALL: Self = Self(1.0);
    /// One of a hundred.
    pub const HUNDREDTH: Self = Self(0.01);
    /// None of them.
    pub const NONE: Self = Self(0.0);

    /// Whether it is all of them.
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether what has this name belongs to it.
    pub fn takes(self, name: &str) -> bool {
        const PARTS: f64 = (1_u64 << 53) as f64;
        // As many bits as a fraction can tell apart.
        let part = (FixedState::default().hash_one(name) >> 11) as f64 / PARTS;
        part < self.0
    }

    /// As a number between 0 and 1.
    pub fn as_fraction(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fraction;
        impl Visitor<'_> for Fraction {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share between 0 and 1, such as 0.01 for one of a hundred")
            }

            fn visit_f64<E: Error>(self, share: f64) -> Result<Share, E> {
                let message = || format!("`{share}` is no share; write one between 0 and 1, such as 0.01");
                (0.0..=1.0).contains(&share).then_some(Share(share)).ok_or_else(|| E::custom(message()))
            }

            fn visit_i64<E: Error>(self, share: i64) -> Result<Share, E> {
                self.visit_f64(share as f64)
            }
        }
        deserializer.deserialize_any(Fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_about_so_many_and_always_the_same() {
        let names: Vec<String> = (0..100_000).map(|number| format!("{number:032x}")).collect();
        let taken = |share: f64| names.iter().filter(|name| Share(share).takes(name)).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 100_000));
        for share in [0.001, 0.01, 0.25, 0.9] {
            // Six times what chance makes of it.
            let (expected, off) = (share * 1e5, 6.0 * f64::sqrt(share * (1.0 - share) * 1e5));
            assert!((taken(share) as f64 - expected).abs() < off, "{} of {share}", taken(share));
        }
        assert_eq!(taken(0.25), taken(0.25));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        let read =
            |text: &str| toml::from_str::<toml::Table>(text).unwrap()["share"].clone().try_into::<Share>();
        assert_eq!(read("share = 0.5").unwrap(), Share(0.5));
        assert!(read("share = 1").unwrap().is_all());
        for refused in ["share = 1.1", "share = -0.1", "share = nan", "share = 2", "share = '1%'"] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }
}
