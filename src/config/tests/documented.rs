//! The reference names every key that the file may have, and none that it may not.
//!
//! The keys are asked of the structs themselves: a deserializer that holds nothing is told by each struct which fields
//! it would take, and walks into them one after the other.

use std::collections::BTreeSet;

use serde::de::value::{BorrowedStrDeserializer, Error, UsizeDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::*;
use crate::config::raw::{RawFile, RawSite};

/// Offers the one field that `path` names next, or, at its end, notes which fields there are.
struct Explorer<'a> {
    path: &'a [&'static str],
    fields: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for Explorer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a value, not a table"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Once(Some(self)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name.contains("Spanned") {
            return visitor.visit_map(InSpan { fields: fields.iter(), inner: Some(self), value: false });
        }
        match self.path {
            [] => {
                *self.fields = fields;
                Err(Error::custom("all fields are noted"))
            }
            [next, rest @ ..] => {
                let inner = Explorer { path: rest, fields: self.fields };
                visitor.visit_map(OneField { key: Some(next), inner: Some(inner) })
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct map enum identifier ignored_any
    }
}

struct Once<'a>(Option<Explorer<'a>>);

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.take().map(|inner| seed.deserialize(inner)).transpose()
    }
}

struct OneField<'a> {
    key: Option<&'static str>,
    inner: Option<Explorer<'a>>,
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let key = self.key.take();
        key.map(|key| seed.deserialize(IntoDeserializer::<Error>::into_deserializer(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.inner.take().expect("asked once"))
    }
}

/// A `Spanned` asks for its start, its end, and then for what is in it.
struct InSpan<'a> {
    fields: std::slice::Iter<'static, &'static str>,
    inner: Option<Explorer<'a>>,
    value: bool,
}

impl<'de> MapAccess<'de> for InSpan<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        self.value = field.ends_with("value");
        seed.deserialize(BorrowedStrDeserializer::new(field)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        if self.value {
            return seed.deserialize(self.inner.take().expect("asked once"));
        }
        let nought: UsizeDeserializer<Error> = 0usize.into_deserializer();
        seed.deserialize(nought)
    }
}

/// The paths of all keys below `path` of `T`.
fn keys<'de, T: Deserialize<'de>>(path: &mut Vec<&'static str>, found: &mut BTreeSet<String>) {
    let mut fields: &'static [&'static str] = &[];
    assert!(T::deserialize(Explorer { path, fields: &mut fields }).is_err());
    for field in fields {
        path.push(field);
        found.insert(path.join("."));
        keys::<T>(path, found);
        path.pop();
    }
}

/// Every key as `table.key`; those of the file itself without a table.
pub(crate) fn all_keys() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys::<RawFile>(&mut Vec::new(), &mut found);
    let mut of_site = BTreeSet::new();
    keys::<RawSite>(&mut Vec::new(), &mut of_site);
    found.extend(of_site.into_iter().map(|key| format!("site.{key}")));
    found
}

/// What the reference says: the keys of each section's first column, for each table named in the section's heading.
/// The heading "Top level" stands for the file itself.
fn documented(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut tables: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            let ticked = line.split('`').skip(1).step_by(2);
            tables = ticked.map(|name| name.trim_matches(['[', ']']).to_owned()).collect();
            if line.contains("Top level") {
                tables.push(String::new());
            }
        } else if tables.is_empty() {
            continue; // A section about something else.
        } else if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            let join =
                |table: &String| if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
            rows.push(tables.iter().map(join).collect());
        }
    }
    rows
}

fn reference() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap()
}

#[test]
fn the_walk_finds_keys_at_every_depth() {
    let keys = all_keys();
    for key in
        ["include", "server.threads", "hold.max_requests_total", "site.hooks.fence.url", "site.route.path"]
    {
        assert!(keys.contains(key), "{key} in {keys:?}");
    }
    assert!(!keys.contains("site.hold.max_requests_total"));
}

#[test]
fn every_key_is_documented() {
    let text = reference();
    let documented: BTreeSet<String> = documented(&text).into_iter().flatten().collect();
    let missing: Vec<String> = all_keys().into_iter().filter(|key| !documented.contains(key)).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:#?}");
}

#[test]
fn no_key_is_documented_that_is_unknown() {
    let keys = all_keys();
    let rows = documented(&reference());
    let stale: Vec<_> = rows.iter().filter(|row| !row.iter().any(|key| keys.contains(key))).collect();
    assert!(rows.len() > 50 && stale.is_empty(), "docs/configuration.md has {stale:#?}");
}

#[test]
fn a_missing_key_would_be_noticed() {
    let text = reference();
    let row = text.lines().find(|line| line.starts_with("| `held_interval`")).unwrap();
    let without = text.replace(row, "");
    let documented: BTreeSet<String> = documented(&without).into_iter().flatten().collect();
    let missing: Vec<String> = all_keys().into_iter().filter(|key| !documented.contains(key)).collect();
    assert_eq!(missing, ["health.held_interval", "site.health.held_interval"]);
}
