//! Who asks: what ghostpin says of a client's address, and what it believes of what others say.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::http1::fields::NO_TEXT;
use crate::http1::{Known, RequestHead};

/// An address in a chain that can't be read (RFC 7239, 6.2).
const UNKNOWN: &str = "unknown";

/// The other end of a client's connection. Made once a connection: every request of it uses the same text.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    text: Box<str>,
    scheme: &'static str,
    /// The trusted proxies, if the peer is one of them.
    believed: Option<Arc<[IpNet]>>,
}

impl Peer {
    /// The peer at this address, over TLS or not. If `trusted` has it, what it says of others is believed.
    pub fn new(address: IpAddr, tls: bool, trusted: &Arc<[IpNet]>) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            text: address.to_string().into(),
            scheme: if tls { "https" } else { "http" },
            believed: is_in(trusted, address).then(|| trusted.clone()),
        }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it is a trusted proxy.
    pub fn is_trusted(&self) -> bool {
        self.believed.is_some()
    }

    /// Whether a request came over TLS: to ghostpin, or to a trusted proxy that says so.
    pub fn is_secure(&self, head: &RequestHead) -> bool {
        // As it is passed on: of several, the last one is its own.
        let said = || head.fields.all(Known::XForwardedProto).last();
        self.scheme == "https"
            || self.is_trusted() && said().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"))
    }

    /// Puts the fields that say who asks, by which way, for which host. What a trusted peer says of the way and the
    /// host was passed on already.
    pub(super) fn say_who_asks(&self, head: &RequestHead, put: &mut impl FnMut(&[u8], &[u8])) {
        let fields = &head.fields;
        let host = head.host_bytes();
        match &self.believed {
            None => put(b"x-forwarded-for", self.text.as_bytes()),
            Some(trusted) => {
                if fields.has(Known::Forwarded) {
                    put(b"forwarded", self.forwarded_element(head.host()).as_bytes());
                }
                let as_written = |entry| if entry == NO_TEXT { UNKNOWN } else { entry };
                let entries: Vec<&str> = fields.members(Known::XForwardedFor).map(as_written).collect();
                put(b"x-forwarded-for", self.chain(&entries, trusted).as_bytes());
            }
        }
        for (known, name, value) in [
            (Known::XForwardedProto, "x-forwarded-proto", self.scheme.as_bytes()),
            (Known::XForwardedHost, "x-forwarded-host", host),
        ] {
            if !self.is_trusted() || !fields.has(known) {
                put(name.as_bytes(), value);
            } else if fields.has_several(known) {
                // The last one is the peer's own word. The others it may only have passed on.
                put(name.as_bytes(), fields.all(known).last().unwrap_or_default());
            }
        }
    }

    /// The chain of a trusted peer, and the peer.
    ///
    /// It begins with the last address that is no trusted proxy: that is the client, as a trusted proxy saw it. What
    /// is left of it the client may have written itself, and there are applications that believe the leftmost entry.
    fn chain(&self, entries: &[&str], trusted: &[IpNet]) -> String {
        let is_proxy = |entry: &&str| address_of(entry).is_some_and(|address| is_in(trusted, address));
        let client = entries.iter().rposition(|entry| !is_proxy(entry)).unwrap_or(0);
        let mut chain = String::new();
        for entry in &entries[client..] {
            let _ = write!(chain, "{entry}, ");
        }
        chain + &self.text
    }

    /// What ghostpin adds to `Forwarded` (RFC 7239). The host was checked: it has no character to escape.
    fn forwarded_element(&self, host: &str) -> String {
        let node = match self.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        format!("for={node};host=\"{host}\";proto={}", self.scheme)
    }
}

/// The address in an entry of `X-Forwarded-For`, which some proxies write with a port.
fn address_of(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bare.parse().or_else(|_| entry.parse().map(|address: SocketAddr| address.ip())).ok()
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
