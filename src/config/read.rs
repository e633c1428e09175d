//! From parsed TOML to the structs of `raw`, finding all that is wrong rather than the first of it.
//!
//! serde stops at the first error. So the entry it stopped at is reported and taken out, and the table is read
//! again, until nothing is left to report. That costs a pass for each mistake, and nothing for a file without any.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::errors::{ConfigErrors, Source};

/// Edits between a key and the known one that it may have been meant to be.
const MAX_TYPOS: usize = 2;

/// A part of the file, and whether nothing of it had to be taken out.
pub(super) struct Read<T> {
    pub(super) value: T,
    pub(super) whole: bool,
}

/// Reads `value`, whose key is `key` ("" for the file itself), into a `T`. What can't be read is reported and left out.
pub(super) fn read<'i, T>(
    mut value: Spanned<DeValue<'i>>,
    key: &str,
    source: &Source,
    errors: &mut ConfigErrors,
) -> Read<T>
where
    T: Deserialize<'i> + Default,
{
    let mut whole = true;
    loop {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(value) => return Read { value, whole },
            Err(error) => error,
        };
        whole = false;
        let span = error.span().unwrap_or_else(|| value.span());
        let mut path: Vec<String> = (!key.is_empty()).then(|| key.to_owned()).into_iter().collect();
        let found = take_out(value.get_mut(), &span, &mut path);
        errors.add(source.at(span.start), path.join("."), in_words(error.message(), &path));
        if !found {
            return Read { value: T::default(), whole };
        }
    }
}

/// Removes the innermost entry that `span` lies in, and adds its keys to `path`.
fn take_out(value: &mut DeValue<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    match value {
        DeValue::Table(table) => {
            // A key that isn't known is looked for first: in `[[key]]` it lies within its own value.
            let mut hit = table.keys().find(|key| key.span() == *span).cloned();
            if hit.is_none() {
                for (key, value) in table.iter_mut() {
                    path.push(key.get_ref().to_string());
                    if take_out(value.get_mut(), span, path) {
                        return true;
                    }
                    path.pop();
                }
                // A table's own span may be its header only, so whether it holds the error is asked last.
                hit = table.iter().find(|(_, value)| holds(&value.span(), span)).map(|(key, _)| key.clone());
            }
            let Some(key) = hit else { return false };
            table.remove(key.get_ref().as_ref());
            path.push(key.into_inner().into_owned());
            true
        }
        DeValue::Array(array) => {
            if array.iter_mut().any(|element| take_out(element.get_mut(), span, path)) {
                return true;
            }
            let kept: Vec<_> =
                array.iter().filter(|element| !holds(&element.span(), span)).cloned().collect();
            if kept.len() == array.len() {
                return false;
            }
            *array = Default::default();
            kept.into_iter().for_each(|element| array.push(element));
            true
        }
        _ => false,
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// serde's words, made into those of somebody who wants to mend a file.
fn in_words(message: &str, path: &[String]) -> String {
    if path == ["admin", "token"] {
        // serde quotes the value that it found.
        return "must be a text in quotes".to_owned();
    }
    // The wording is serde's; `tests::unknown_keys_are_refused_and_the_near_one_is_named` notices if it changes.
    let mut words = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = words.next().unwrap_or_default();
        let known: Vec<&str> = words.collect();
        return format!("unknown key{}", advice(key, &known, path));
    }
    if message.starts_with("unknown variant") {
        let (value, known) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
        return format!("`{value}` is not known; write {}", known.join(" or "));
    }
    if message == "wanted string or table" {
        // One of some words, which serde doesn't say here.
        return "must be a word in quotes".to_owned();
    }
    message.replace("a sequence", r#"a list, such as ["a", "b"]"#).replace("a map", "a table")
}

fn advice(key: &str, known: &[&str], path: &[String]) -> String {
    let near = known
        .iter()
        .map(|known| (strsim::osa_distance(key, known), known))
        .filter(|(typos, known)| *typos <= MAX_TYPOS && *typos < known.len())
        .min_by_key(|(typos, _)| *typos);
    match (near, path) {
        (Some((_, near)), _) => format!("; did you mean `{near}`?"),
        (None, [_, .., last]) if last == "include" => "; `include` stands above the first table".to_owned(),
        (None, _) if known == ["site"] => "; an included file holds [[site]] only".to_owned(),
        _ => format!("; known here: {}", known.join(", ")),
    }
}
