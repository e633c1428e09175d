//! One entry of `listen.http` or `listen.https`: an address, or a table with an address and what holds for it alone.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::ListenAddress;
use super::raw::{RawLimits, RawProxyProtocol};
use super::written::{Text, Written};

/// An entry, as written.
#[derive(Debug, Default)]
pub(super) struct RawListener {
    pub(super) address: Option<ListenAddress>,
    pub(super) settings: RawSettings,
}

/// What a table says besides.
#[derive(Debug, Default)]
pub(super) struct RawSettings {
    pub(super) proxy_protocol: Option<RawProxyProtocol>,
    pub(super) limits: RawLimits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    address: Option<Text<ListenAddress>>,
    proxy_protocol: Option<RawProxyProtocol>,
    limits: RawLimits,
}

impl<'de> Deserialize<'de> for RawListener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entry)
    }
}

struct Entry;

impl<'de> Visitor<'de> for Entry {
    type Value = RawListener;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, or a table with such an `address`", ListenAddress::EXPECTS)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawListener, E> {
        let address = Some(ListenAddress::read(text).map_err(E::custom)?);
        Ok(RawListener { address, settings: RawSettings::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawListener, A::Error> {
        let Table { address, proxy_protocol, limits } = Table::deserialize(MapAccessDeserializer::new(map))?;
        let address = address.map(|key| key.0);
        Ok(RawListener { address, settings: RawSettings { proxy_protocol, limits } })
    }
}

/// The entries of a list.
pub(super) type RawListeners = Vec<Spanned<RawListener>>;
