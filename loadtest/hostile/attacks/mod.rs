//! The attacks, each bounded in number, pace and time.

mod crowds;
mod frames;
mod handshakes;
mod heads;
mod slow;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Subcommand;
use rustls::ClientConfig;

use crate::link::Link;

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Attack {
    /// Heads that come byte by byte, over 5,000 connections (1,000 over TLS).
    SlowHeads,
    /// Bodies that come byte by byte.
    SlowBodies,
    /// Large answers that nobody reads.
    SlowReaders,
    /// Large answers over HTTP/2, with a window of nothing.
    NoWindow,
    /// Connections to where TLS is spoken that say nothing.
    SilentHandshakes,
    /// A ClientHello, byte by byte.
    SlowHellos,
    /// Handshakes for names that nobody has.
    UnknownNames,
    /// Handshakes without a name.
    Nameless,
    /// Handshakes that are left when the other side has done its work.
    LeftHandshakes,
    /// Streams that are reset as soon as they are opened.
    RapidReset,
    /// Streams that the other side is made to reset, by a window update of nothing.
    ZeroUpdates,
    /// Streams that the other side is made to reset, by data behind their end.
    DataBehindTheEnd,
    /// Heads that never end, in CONTINUATION frames.
    Continuations,
    /// PING frames.
    Pings,
    /// SETTINGS frames.
    Settings,
    /// DATA frames with nothing in them.
    EmptyData,
    /// More streams than are allowed.
    ManyStreams,
    /// One large field, kept by the other side and repeated by its number.
    HpackBombs,
    /// Heads of megabytes.
    HugeHeads,
    /// Heads of thousands of fields.
    ManyFields,
    /// Targets of megabytes.
    LongTargets,
    /// As many connections as can be had.
    Crowd,
}

impl Attack {
    /// Whether it is one of HTTP/2.
    pub fn is_http2(self) -> bool {
        use Attack as A;
        matches!(
            self,
            A::NoWindow
                | A::RapidReset
                | A::ZeroUpdates
                | A::DataBehindTheEnd
                | A::Continuations
                | A::Pings
                | A::Settings
                | A::EmptyData
                | A::ManyStreams
                | A::HpackBombs
        )
    }

    /// Whether it goes to where TLS is spoken, whatever was said.
    pub fn is_of_tls(self) -> bool {
        use Attack as A;
        matches!(
            self,
            A::SilentHandshakes | A::SlowHellos | A::UnknownNames | A::Nameless | A::LeftHandshakes
        )
    }

    /// Attacks, and returns what is still open.
    pub fn run(self, attacker: &mut Attacker) -> Vec<Link> {
        match self {
            Self::SlowHeads => slow::heads(attacker),
            Self::SlowBodies => slow::bodies(attacker),
            Self::SlowReaders => slow::readers(attacker),
            Self::NoWindow => slow::no_window(attacker),
            Self::SilentHandshakes => handshakes::silent(attacker),
            Self::SlowHellos => handshakes::slow(attacker),
            Self::UnknownNames => handshakes::left(attacker, Some("unknown.example")),
            Self::Nameless => handshakes::left(attacker, None),
            Self::LeftHandshakes => {
                let host = attacker.host.clone();
                handshakes::left(attacker, Some(&host))
            }
            Self::RapidReset => frames::rapid_reset(attacker),
            Self::ZeroUpdates => frames::zero_updates(attacker),
            Self::DataBehindTheEnd => frames::data_behind_the_end(attacker),
            Self::Continuations => frames::continuations(attacker),
            Self::Pings => frames::pings(attacker),
            Self::Settings => frames::settings(attacker),
            Self::EmptyData => frames::empty_data(attacker),
            Self::ManyStreams => frames::many_streams(attacker),
            Self::HpackBombs => frames::hpack_bombs(attacker),
            Self::HugeHeads => heads::huge(attacker),
            Self::ManyFields => heads::many_fields(attacker),
            Self::LongTargets => heads::long_targets(attacker),
            Self::Crowd => crowds::crowd(attacker),
        }
    }
}

/// Who attacks whom, and what has come of it so far.
pub struct Attacker {
    to: SocketAddr,
    from: Ipv4Addr,
    host: String,
    /// If the attack is to go over TLS.
    tls: Option<Arc<ClientConfig>>,
    /// Of whoever makes handshakes by hand.
    config: Arc<ClientConfig>,
    until: Instant,
    pub tally: BTreeMap<String, u64>,
}

impl Attacker {
    pub fn new(
        to: SocketAddr,
        from: Ipv4Addr,
        host: String,
        tls: Option<Arc<ClientConfig>>,
        config: Arc<ClientConfig>,
        time: Duration,
    ) -> Self {
        Self { to, from, host, tls, config, until: Instant::now() + time, tally: BTreeMap::new() }
    }

    fn count(&mut self, what: impl Into<String>, times: u64) {
        *self.tally.entry(what.into()).or_default() += times;
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// One connection, over TLS if it is to be.
    fn open(&mut self, room: Option<usize>) -> Option<Link> {
        let link = Link::open(self.to, self.from, room).and_then(|link| match &self.tls {
            Some(tls) => link.secure(tls, &self.host),
            None => Ok(link),
        });
        self.count(if link.is_ok() { "connections" } else { "connections failed" }, 1);
        link.ok()
    }

    /// Counts the statuses of answers of HTTP/1.1 in what has come. Their bodies are not looked at.
    fn count_answers(&mut self, link: &mut Link) {
        for at in memchr(&link.inbox, b"HTTP/1.1 ") {
            if let Some(status) = link.inbox.get(at + 9..at + 12) {
                self.count(format!("answered {}", String::from_utf8_lossy(status)), 1);
            }
        }
        link.inbox.clear();
    }
}

fn memchr(text: &[u8], what: &[u8]) -> Vec<usize> {
    text.windows(what.len()).enumerate().filter(|(_, part)| *part == what).map(|(at, _)| at).collect()
}

/// How late one may be, to be made up for. What is later is left out: an attack is not to come in bursts because its own
/// machine was busy.
const LATE_MAX: Duration = Duration::from_millis(5);

/// So many a second, evenly.
struct Pace {
    due: Instant,
    step: Duration,
}

impl Pace {
    fn of(rate: u32) -> Self {
        Self { due: Instant::now(), step: Duration::from_secs(1) / rate }
    }

    /// Returns when the next one is due.
    fn next(&mut self) {
        thread::sleep(self.due.saturating_duration_since(Instant::now()));
        self.step();
    }

    /// Whether the next one is due; it counts as done.
    fn is_due(&mut self) -> bool {
        let is_due = Instant::now() >= self.due;
        if is_due {
            self.step();
        }
        is_due
    }

    fn step(&mut self) {
        let oldest = Instant::now().checked_sub(LATE_MAX).unwrap_or(self.due);
        self.due = self.due.max(oldest) + self.step;
    }
}
