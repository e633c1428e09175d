//! Conditions of HAProxy: which hosts and which beginnings of paths they ask for, as far as ghostpin can choose by them.

use std::collections::BTreeMap;

/// What must hold together. None of either is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) hosts: Vec<String>,
    pub(super) paths: Vec<String>,
    /// Paths in any case, which ghostpin tells apart.
    pub(super) is_caseless: bool,
}

/// The `acl` lines of a section.
#[derive(Debug, Default)]
pub(super) struct Acls<'a>(BTreeMap<&'a str, Option<Choice>>);

impl<'a> Acls<'a> {
    /// Adds a line. Several of one name are alternatives.
    ///
    /// # Errors
    /// Why it can't be gone by.
    pub(super) fn add(&mut self, name: &'a str, asks: &[&str]) -> Result<(), &'static str> {
        // An alternative that is not known makes the others no less true.
        let found = test(asks).ok_or("only hosts and beginnings of paths are known")?;
        let known = self.0.entry(name).or_insert_with(|| Some(Choice::default()));
        let Some(choice) = known else { return Err("hosts and paths are alternatives here") };
        choice.hosts.extend(found.hosts);
        choice.paths.extend(found.paths);
        choice.is_caseless |= found.is_caseless;
        if !choice.hosts.is_empty() && !choice.paths.is_empty() {
            *known = None;
            return Err("hosts and paths are alternatives here, and neither is taken over");
        }
        Ok(())
    }

    /// The ways in which a condition holds: names of `acl` lines, or tests in braces.
    ///
    /// # Errors
    /// What of it ghostpin has nothing for.
    pub(super) fn choices(&self, condition: &[&str]) -> Result<Vec<Choice>, String> {
        let alternatives = condition.split(|word| matches!(*word, "||" | "or"));
        alternatives.map(|terms| self.all(terms)).collect()
    }

    fn all(&self, terms: &[&str]) -> Result<Choice, String> {
        let mut both = Choice::default();
        let mut words = terms.iter();
        while let Some(word) = words.next() {
            let found = match *word {
                "{" => test(&words.by_ref().take_while(|word| **word != "}").copied().collect::<Vec<_>>()),
                name => self.0.get(name).cloned().flatten(),
            };
            match found {
                Some(found) if !found.hosts.is_empty() && both.hosts.is_empty() => both.hosts = found.hosts,
                Some(found) if !found.paths.is_empty() && both.paths.is_empty() => {
                    (both.paths, both.is_caseless) = (found.paths, found.is_caseless);
                }
                _ => {
                    return Err(format!(
                        "`{word}` is no plain question for a host or the beginning of a path"
                    ));
                }
            }
        }
        match both == Choice::default() {
            true => Err("it asks for nothing".to_owned()),
            false => Ok(both),
        }
    }
}

/// What a test asks for, if it is about a host or about the beginning of a path.
fn test(asks: &[&str]) -> Option<Choice> {
    let (what, rest) = asks.split_first()?;
    let (mut is_ending, mut is_caseless) = (false, false);
    let mut values = Vec::new();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-i" => is_caseless = true,
            "-m" => match rest.next() {
                Some(&"str") => {}
                Some(&"end") => is_ending = true,
                _ => return None,
            },
            flag if flag.starts_with('-') => return None,
            value => values.push(value.to_owned()),
        }
    }
    let below = |values: Vec<String>| -> Option<Vec<String>> {
        values.into_iter().map(|value| value.strip_prefix('.').map(|domain| format!("*.{domain}"))).collect()
    };
    let hosts = |hosts| Choice { hosts, ..Choice::default() };
    // What a converter makes of it is something else, unless it only takes the port away.
    let (what, converters) = what.split_once(',').unwrap_or((what, ""));
    if !matches!(
        converters,
        "" | "lower" | "field(1,:)" | "host_only" | "lower,field(1,:)" | "field(1,:),lower"
    ) {
        return None;
    }
    match what.to_ascii_lowercase().as_str() {
        "hdr(host)" | "req.hdr(host)" | "ssl_fc_sni" if !is_ending => Some(hosts(values)),
        "hdr(host)" | "req.hdr(host)" | "hdr_end(host)" => below(values).map(hosts),
        "path_beg" if !is_ending => Some(Choice { paths: values, is_caseless, ..Choice::default() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_hold_together_and_alternatives_hold_each() {
        let mut acls = Acls::default();
        for (name, asks, is_known) in [
            ("a", vec!["hdr(host)", "-i", "a.example"], true),
            ("b", vec!["hdr(host),lower", "b.example"], true),
            ("x", vec!["path_beg", "/x"], true),
            ("phone", vec!["hdr_sub(user-agent)", "Mobile"], false),
            ("mapped", vec!["hdr(host),map(/f)", "a"], false),
            ("mixed", vec!["hdr(host)", "m.example"], true),
            ("mixed", vec!["path_beg", "/m"], false),
        ] {
            assert_eq!(acls.add(name, &asks).is_ok(), is_known, "{name}");
        }
        for (condition, expected) in [
            ("a", Some("a.example ")),
            ("a x", Some("a.example /x")),
            ("a or b x", Some("a.example |b.example /x")),
            ("x || { path_beg /y }", Some(" /x| /y")),
            ("a b", None),
            ("a phone", None),
            ("a || phone", None),
            ("!a", None),
            ("mixed", None),
            ("", None),
        ] {
            let words: Vec<&str> = condition.split_whitespace().collect();
            let in_words = |one: &Choice| format!("{} {}", one.hosts.join(" "), one.paths.join(" "));
            let found = acls.choices(&words).ok();
            let found = found.map(|all| all.iter().map(in_words).collect::<Vec<_>>().join("|"));
            assert_eq!(found.as_deref(), expected, "{condition}");
        }
    }
}
