//! Durations and sizes as they are written: always with a unit, always within bounds.
//!
//! A bare number is refused. `timeout = 15` is seconds to one reader and milliseconds to another, and both have
//! caused outages.

use std::fmt;
use std::time::Duration;

use super::written::Written;

/// One second, in the milliseconds that bounds are written in.
pub(super) const SECOND: u64 = 1_000;
/// One minute, in milliseconds.
pub(super) const MINUTE: u64 = 60 * SECOND;
/// One hour, in milliseconds.
pub(super) const HOUR: u64 = 60 * MINUTE;

/// 1,024 bytes.
pub(super) const KIB: u64 = 1 << 10;
/// 1,024 KiB.
pub(super) const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A duration between `MIN` and `MAX` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period<const MIN: u64, const MAX: u64>(pub(super) Duration);

impl<const MIN: u64, const MAX: u64> Written for Period<MIN, MAX> {
    const EXPECTS: &'static str = r#"a duration with its unit, such as "15s", "500ms" or "1m30s""#;

    fn read(text: &str) -> Result<Self, String> {
        let duration = duration(text).ok_or_else(|| {
            format!(
                "`{text}` is no duration; write whole numbers with ms, s, m, h or d, such as {}",
                Self::EXAMPLE
            )
        })?;
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        if duration < min || duration > max {
            return Err(format!("must be between {} and {}", in_words(min), in_words(max)));
        }
        Ok(Self(duration))
    }

    fn read_number(number: i64) -> Result<Self, String> {
        Err(format!(
            r#"`{number}` has no unit; write "{number}s" for seconds or "{number}ms" for milliseconds"#
        ))
    }
}

impl<const MIN: u64, const MAX: u64> Period<MIN, MAX> {
    const EXAMPLE: &'static str = r#""15s", "500ms" or "1m30s""#;
}

/// A number of bytes between `MIN` and `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Written for Size<MIN, MAX> {
    const EXPECTS: &'static str = r#"a size with its unit, such as "64KiB""#;

    fn read(text: &str) -> Result<Self, String> {
        let size = size(text).ok_or_else(|| {
            format!(r#"`{text}` is no size; write a whole number with B, KiB, MiB or GiB, such as "64KiB""#)
        })?;
        if size < MIN || size > MAX {
            return Err(format!("must be between {} and {}", Bytes(MIN), Bytes(MAX)));
        }
        Ok(Self(size))
    }

    fn read_number(number: i64) -> Result<Self, String> {
        Err(format!(
            r#"`{number}` has no unit; write "{number}B" for bytes or "{number}KiB" for 1,024 times as much"#
        ))
    }
}

/// A whole number between `MIN` and `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> Written for Count<MIN, MAX> {
    const EXPECTS: &'static str = "a whole number";

    fn read(text: &str) -> Result<Self, String> {
        Err(format!("`{text}` is a text; write a whole number without quotes"))
    }

    fn read_number(number: i64) -> Result<Self, String> {
        u32::try_from(number)
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| format!("must be between {MIN} and {MAX}"))
    }
}

/// `1m30s`: units from large to small, each once, no signs, no fractions, no spaces.
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] = [("d", 24 * HOUR), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)];
    let mut millis: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        // The iterator only goes on: a unit that comes twice, or after a smaller one, is not found.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A duration the way it would be written in the file.
pub(super) fn in_words(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, factor) in [("h", HOUR), ("m", MINUTE), ("s", SECOND)] {
        if millis > 0 && millis.is_multiple_of(u128::from(factor)) {
            return format!("{}{unit}", millis / u128::from(factor));
        }
    }
    format!("{millis}ms")
}

/// A size the way it would be written in the file.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n.is_multiple_of(MIB) => write!(f, "{}MiB", n / MIB),
            n if n > 0 && n.is_multiple_of(KIB) => write!(f, "{}KiB", n / KIB),
            n => write!(f, "{n}B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        for (text, millis) in [
            ("15s", 15_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1s5ms", 1_005),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "15",
            "s",
            "15 s",
            "1.5s",
            "-1s",
            "+1s",
            "15sec",
            "30s1m",
            "1s1s",
            "1S",
            "\u{661}s",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_refused_duration_says_how_to_write_it() {
        type Limit = Period<10, { 10 * MINUTE }>;
        assert_eq!(Limit::read("15s"), Ok(Period(Duration::from_secs(15))));
        assert!(Limit::read_number(15).unwrap_err().contains(r#""15s""#));
        assert!(Limit::read("15").unwrap_err().contains(r#""15s""#));
        assert_eq!(Limit::read("9ms"), Err("must be between 10ms and 10m".to_owned()));
        assert_eq!(Limit::read("11m"), Err("must be between 10ms and 10m".to_owned()));
    }

    #[test]
    fn sizes_carry_binary_units() {
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1B"), Some(1));
        assert_eq!(size("2MiB"), Some(2 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        for text in
            ["", "64", "KiB", "64KB", "64kib", "1.5MiB", "-1B", "99999999999999999999B", "99999999999GiB"]
        {
            assert_eq!(size(text), None, "{text}");
        }
        type Limit = Size<{ 8 * KIB }, { MIB }>;
        assert_eq!(Limit::read("2MiB"), Err("must be between 8KiB and 1MiB".to_owned()));
        assert!(Limit::read_number(64).unwrap_err().contains(r#""64KiB""#));
    }

    #[test]
    fn counts_are_bounded_numbers() {
        type Limit = Count<1, 10>;
        assert_eq!(Limit::read_number(10), Ok(Count(10)));
        for number in [0, 11, -1, i64::MIN, i64::MAX] {
            assert_eq!(Limit::read_number(number), Err("must be between 1 and 10".to_owned()));
        }
        assert!(Limit::read("5").unwrap_err().contains("without quotes"));
    }
}
