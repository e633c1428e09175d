//! Who wishes: told in the journal, beside what was wished.

use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::http::HeaderMap;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, UnixListener};

use super::Door;

/// The field in which the command line says who sits before it.
pub const ACTOR: &str = "x-ghostpin-actor";

/// Longest actor that is written down, in bytes.
const ACTOR_BYTES_MAX: usize = 64;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket: the user that the kernel names, if it does.
    Unix(Option<u32>),
}

impl Connected<IncomingStream<'_, Door<TcpListener>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door<TcpListener>>) -> Self {
        Self::Tcp(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, Door<UnixListener>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door<UnixListener>>) -> Self {
        Self::Unix(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

impl Peer {
    /// For the journal: what the peer says of itself, and what is known.
    pub fn in_words(self, headers: &HeaderMap) -> String {
        let known = match self {
            Self::Tcp(address) => format!("admin API, {address}"),
            Self::Unix(Some(user)) => format!("admin API, uid {user}"),
            Self::Unix(None) => "admin API".to_owned(),
        };
        match headers.get(ACTOR).map(|actor| tame(actor.as_bytes())) {
            Some(actor) if !actor.is_empty() => format!("{actor} ({known})"),
            _ => known,
        }
    }
}

/// Anybody can write anything there: it must not look like something else in a log.
fn tame(actor: &[u8]) -> String {
    let plain = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"._@+-".contains(byte) => char::from(*byte),
        _ => '?',
    };
    actor.iter().take(ACTOR_BYTES_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(actor: &str) -> String {
        let headers = [(ACTOR.parse().unwrap(), actor.parse().unwrap())].into_iter().collect();
        Peer::Unix(Some(1000)).in_words(&headers)
    }

    #[test]
    fn who_wishes_is_told_with_what_is_known_of_him() {
        assert_eq!(said("ann@host-1"), "ann@host-1 (admin API, uid 1000)");
        assert_eq!(said(""), "admin API, uid 1000");
        let address = "127.0.0.1:5".parse().unwrap();
        assert_eq!(Peer::Tcp(address).in_words(&HeaderMap::new()), "admin API, 127.0.0.1:5");
    }

    #[test]
    fn an_actor_can_forge_no_line_and_flood_no_journal() {
        assert_eq!(said("a (admin API, uid 0)\t\"x"), "a??admin?API??uid?0???x (admin API, uid 1000)");
        assert_eq!(said(&"a".repeat(1000)).len(), ACTOR_BYTES_MAX + " (admin API, uid 1000)".len());
    }
}
