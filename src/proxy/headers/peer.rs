//! Who asks: what ghostpin says of a client's address, and what it believes of what others say.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{Entry, FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::tokens;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of a client's connection. Made once a connection: every request of it uses the same texts.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    text: HeaderValue,
    scheme: HeaderValue,
    /// The trusted proxies, if the peer is one of them.
    believed: Option<Arc<[IpNet]>>,
}

impl Peer {
    /// The peer at this address, over TLS or not. If `trusted` has it, what it says of others is believed.
    pub fn new(address: IpAddr, tls: bool, trusted: &Arc<[IpNet]>) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            text: HeaderValue::try_from(address.to_string()).expect("an address is visible ASCII"),
            scheme: HeaderValue::from_static(if tls { "https" } else { "http" }),
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

    /// Sets the fields that say who asks, by which way, for which host.
    pub(super) fn say_who_asks(&self, headers: &mut HeaderMap, has_forwarded: bool, host: HeaderValue) {
        let Some(trusted) = &self.believed else {
            headers.insert(&X_FORWARDED_FOR, self.text.clone());
            headers.insert(&X_FORWARDED_PROTO, self.scheme.clone());
            headers.insert(&X_FORWARDED_HOST, host);
            if has_forwarded {
                headers.remove(FORWARDED);
            }
            return;
        };
        if has_forwarded {
            headers.append(FORWARDED, forwarded_element(self, &host));
        }
        let chain = forwarded_for(headers, self, trusted);
        headers.insert(&X_FORWARDED_FOR, chain);
        for (name, value) in [(&X_FORWARDED_PROTO, self.scheme.clone()), (&X_FORWARDED_HOST, host)] {
            if let Entry::Vacant(entry) = headers.entry(name) {
                entry.insert(value);
            }
        }
    }
}

/// The chain of a trusted peer, and the peer.
///
/// It begins with the last address that is no trusted proxy: that is the client, as a trusted proxy saw it. What is
/// left of it the client may have written itself, and there are applications that believe the leftmost entry.
fn forwarded_for(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> HeaderValue {
    let entries: Vec<&str> = headers.get_all(&X_FORWARDED_FOR).iter().flat_map(tokens).collect();
    let is_proxy = |entry: &&str| address_of(entry).is_some_and(|address| is_in(trusted, address));
    let client = entries.iter().rposition(|entry| !is_proxy(entry)).unwrap_or(0);
    if entries.is_empty() {
        return peer.text.clone();
    }
    let chain = format!("{}, {}", entries[client..].join(", "), peer.address);
    HeaderValue::try_from(chain).expect("made of visible ASCII")
}

/// What ghostpin adds to `Forwarded` (RFC 7239). The host was checked: it has no character to escape.
fn forwarded_element(peer: &Peer, host: &HeaderValue) -> HeaderValue {
    let node = match peer.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let (host, scheme) = (host.to_str().unwrap_or_default(), peer.scheme.to_str().unwrap_or_default());
    HeaderValue::try_from(format!("for={node};host=\"{host}\";proto={scheme}"))
        .expect("made of visible ASCII")
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
