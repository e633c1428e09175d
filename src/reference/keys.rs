//! The keys of the configuration, and what may be written for each: the parser is asked, with values that can't be meant.

use std::path::Path;

use super::{code, defaults, table};
use crate::config::Config;
use crate::config::tests::documented::all_keys;

/// What no key takes, in the order of how much is learnt from the refusal.
const PROBES: [&str; 6] = ["99999999999", "\"999999d\"", "\"999999GiB\"", "\"?\"", "[[1]]", "{ \"?\" = 1 }"];

/// A good file with this in the place of a key's value.
fn with(key: &str, value: &str) -> String {
    let site = "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nbackends = [\"127.0.0.1:1\"]\n";
    if let Some(inner) = key.strip_prefix("acme.fallback.") {
        return format!("acme.fallback = [{{ {inner} = {value} }}]\n");
    }
    match key.strip_prefix("site.") {
        Some(key) => match key.strip_prefix("route.") {
            Some(key) => format!("{site}[[site.route]]\n{key} = {value}\n"),
            None => {
                let without: Vec<&str> =
                    site.lines().filter(|line| !line.starts_with(&format!("{key} "))).collect();
                format!("{}\n{key} = {value}\n", without.join("\n"))
            }
        },
        None => format!("{key} = {value}\n"),
    }
}

/// What the parser says against it, if it is about this key.
fn refusal(key: &str, value: &str) -> Option<String> {
    let errors = Config::parse(&with(key, value), Path::new("file")).err()?;
    let leaf = key.rsplit('.').next()?;
    let said = errors.to_string();
    let line = said.lines().find(|line| line.contains(leaf)).or_else(|| said.lines().next())?;
    Some(line.splitn(4, ": ").last().unwrap_or_default().trim().to_owned())
}

/// What may be written for it, as far as the parser tells.
fn expected(key: &str) -> String {
    let said: Vec<String> = PROBES.iter().filter_map(|probe| refusal(key, probe)).collect();
    let after = |words: &str| said.iter().find_map(|text| Some(text.split_once(words)?.1.to_owned()));
    let bounds = after("must be between ").map(|bounds| bounds.replace(" and ", " to "));
    let told = bounds.or_else(|| after("`?` is not known; write ")).or_else(|| after("expected "));
    match told {
        Some(told) if told.starts_with("struct ") => "a table".to_owned(),
        Some(told) if told == "a string" => "a text".to_owned(),
        Some(told) => told,
        None => said.first().cloned().unwrap_or_default(),
    }
}

pub(super) fn told() -> String {
    let keys = all_keys();
    let defaults = defaults::told(&keys);
    let rows = keys.into_iter().zip(defaults).map(|(key, default)| vec![code(&key), default, expected(&key)]);
    format!(
        "\n## Keys of the configuration\n\nEach as `table.key`, with what it is if it isn't there, and what the parser says that it takes. Those under `site` stand in `[[site]]`; \
         where the top of the file has the same key, that is their default. \
         Defaults are those of a site with `app = \"ghost\"`; a dash is for what has none, or depends on others.\n\n{}",
        table(&["Key", "Default", "Takes"], rows)
    )
}
