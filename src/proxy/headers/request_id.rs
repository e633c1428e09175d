//! A name for each request, by which its lines in several logs can be found.

use super::Peer;
use crate::http1::{Fields, Known};

/// Longest id that is taken over from a trusted proxy, in bytes.
const GIVEN_BYTES_MAX: usize = 128;

/// The name of a request: visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestId {
    /// By this process.
    Own([u8; 32]),
    /// By a trusted proxy.
    Given(Box<str>),
}

impl RequestId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Own(digits) => std::str::from_utf8(digits).unwrap_or_default(),
            Self::Given(text) => text,
        }
    }
}

/// Names requests: 16 hexadecimal digits of chance and 16 of a count. One for each thread, so nothing is shared.
#[derive(Debug)]
pub struct RequestIds {
    text: [u8; 32],
}

impl RequestIds {
    /// `random` makes the difference between threads, lives and machines.
    pub fn new(random: u64) -> Self {
        let mut text = [b'0'; 32];
        text[..16].copy_from_slice(format!("{random:016x}").as_bytes());
        Self { text }
    }

    /// The id of a request: the one a trusted proxy gave it, if that is fit to be logged, or the next of our own.
    pub fn of(&mut self, fields: &Fields, peer: &Peer) -> RequestId {
        if peer.is_trusted()
            && let Some(given) = fields.get(Known::XRequestId)
            && (1..=GIVEN_BYTES_MAX).contains(&given.len())
            && given.iter().all(u8::is_ascii_graphic)
        {
            return RequestId::Given(String::from_utf8_lossy(given).into());
        }
        self.own()
    }

    /// The next of our own.
    pub fn own(&mut self) -> RequestId {
        // Counts in the text itself: nearly always it is one digit that changes.
        for digit in self.text[16..].iter_mut().rev() {
            *digit = match *digit {
                b'9' => b'a',
                b'f' => b'0',
                other => other + 1,
            };
            if *digit != b'0' {
                break;
            }
        }
        RequestId::Own(self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn no_two_requests_have_one_id() {
        let mut ids = RequestIds::new(0xfedc_ba98_7654_3210);
        let ids: Vec<RequestId> = (0..100_000).map(|_| ids.own()).collect();
        assert_eq!(ids[0].as_str(), "fedcba98765432100000000000000001");
        assert_eq!(ids[99_999].as_str(), format!("fedcba9876543210{:016x}", 100_000));
        let texts: BTreeSet<&RequestId> = ids.iter().collect();
        assert_eq!(texts.len(), ids.len());
    }

    #[test]
    fn only_a_trusted_proxy_names_a_request_and_only_with_a_word_fit_for_a_log() {
        let trusted: Arc<[ipnet::IpNet]> = Arc::new(["10.0.0.0/8".parse().unwrap()]);
        let [proxy, stranger] =
            ["10.1.2.3", "192.0.2.1"].map(|address| Peer::new(address.parse().unwrap(), false, &trusted));
        let mut ids = RequestIds::new(1);
        let mut of = |given: &str, peer| {
            let mut fields = Fields::default();
            fields.push("X-Request-ID", given.as_bytes());
            ids.of(&fields, peer).as_str().to_owned()
        };
        let longest = "x".repeat(GIVEN_BYTES_MAX);
        assert_eq!(of("abc-1", &proxy), "abc-1");
        assert_eq!(of(&longest, &proxy), longest);
        assert_ne!(of("abc-1", &stranger), "abc-1");
        for unfit in ["", "a b", "a\tb", "ä", &format!("{longest}x")] {
            assert_eq!(of(unfit, &proxy).len(), 32, "{unfit}");
        }
        assert_eq!(ids.of(&Fields::default(), &proxy).as_str().len(), 32);
    }
}
