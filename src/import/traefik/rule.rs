//! Rules of Traefik's routers: which hosts and which paths they choose, as far as ghostpin can choose by them.

use super::super::DEPTH_MAX;

/// One way in which a request may meet a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) hosts: Vec<String>,
    /// Beginnings of paths; none for all.
    pub(super) paths: Vec<String>,
    /// What is chosen a little more widely than it was written.
    pub(super) notes: Vec<String>,
}

/// More than anybody writes, less than what parentheses could be multiplied to.
const CHOICES_MAX: usize = 256;

/// The ways in which a request may meet it.
///
/// # Errors
/// What of it ghostpin has nothing for.
pub(super) fn read(rule: &str) -> Result<Vec<Choice>, String> {
    let mut rest = rule.trim();
    let choices = any(&mut rest, 0)?;
    match rest {
        "" => Ok(choices),
        rest => Err(format!("`{rest}` is not understood")),
    }
}

fn any(rest: &mut &str, depth: usize) -> Result<Vec<Choice>, String> {
    let mut choices = all(rest, depth)?;
    while take(rest, "||") {
        choices.extend(all(rest, depth)?);
    }
    Ok(choices)
}

fn all(rest: &mut &str, depth: usize) -> Result<Vec<Choice>, String> {
    let mut choices = one(rest, depth)?;
    while take(rest, "&&") {
        let more = one(rest, depth)?;
        if choices.len() * more.len() > CHOICES_MAX {
            return Err("it has too many alternatives".to_owned());
        }
        let both = choices.iter().flat_map(|left| more.iter().map(|right| both(left, right)));
        choices = both.collect::<Result<_, _>>()?;
    }
    Ok(choices)
}

fn both(left: &Choice, right: &Choice) -> Result<Choice, String> {
    let one = |left: &[String], right: &[String], what: &str| match (left.is_empty(), right.is_empty()) {
        (false, false) => Err(format!("{what} that must be two things at once")),
        (true, _) => Ok(right.to_vec()),
        (_, true) => Ok(left.to_vec()),
    };
    Ok(Choice {
        hosts: one(&left.hosts, &right.hosts, "a host")?,
        paths: one(&left.paths, &right.paths, "a path")?,
        notes: [left.notes.clone(), right.notes.clone()].concat(),
    })
}

fn one(rest: &mut &str, depth: usize) -> Result<Vec<Choice>, String> {
    if depth > DEPTH_MAX {
        return Err("it has too many parentheses".to_owned());
    }
    if take(rest, "(") {
        let choices = any(rest, depth + 1)?;
        return if take(rest, ")") { Ok(choices) } else { Err("a parenthesis is not closed".to_owned()) };
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    if name.is_empty() || !take(rest, "(") {
        return Err(format!("`{}` is not understood", if name.is_empty() { rest } else { name }));
    }
    let mut values = Vec::new();
    loop {
        values.push(value(rest)?);
        if take(rest, ")") {
            break;
        }
        if !take(rest, ",") {
            return Err(format!("`{name}(...)` is not closed"));
        }
    }
    meaning(name, values).map(|choice| vec![choice])
}

/// A text in backticks, or in quotes.
fn value(rest: &mut &str) -> Result<String, String> {
    for quote in ['`', '"', '\''] {
        if let Some(inner) = rest.strip_prefix(quote) {
            let end = inner.find(quote).ok_or("a quote is not closed")?;
            *rest = inner[end + 1..].trim_start();
            return Ok(inner[..end].to_owned());
        }
    }
    Err(format!("`{rest}` is in no quotes"))
}

fn take(rest: &mut &str, what: &str) -> bool {
    match rest.strip_prefix(what) {
        Some(after) => {
            *rest = after.trim_start();
            true
        }
        None => false,
    }
}

fn meaning(name: &str, values: Vec<String>) -> Result<Choice, String> {
    let mut choice = Choice::default();
    match name {
        "Host" => choice.hosts = values,
        "HostRegexp" => {
            for pattern in values {
                let host = host_of(&pattern)
                    .ok_or_else(|| format!("`{pattern}` is neither one host nor all below a domain"))?;
                choice.notes.push(format!("`{pattern}` became `{host}`"));
                choice.hosts.push(host);
            }
        }
        // All of the host.
        "PathPrefix" if values.iter().any(|path| path == "/") => {}
        "PathPrefix" => choice.paths = values,
        "Path" => {
            for path in &values {
                choice.notes.push(format!("`{path}`: a route is a prefix, so it is for all below it, too"));
            }
            choice.paths = values;
        }
        name => return Err(format!("`{name}(...)`: only hosts and beginnings of paths are known")),
    }
    if choice.paths.iter().any(|path| path.contains(['{', '*'])) {
        return Err("a path is a plain prefix, no pattern".to_owned());
    }
    Ok(choice)
}

/// The host that a pattern stands for: `^blog\.example$`, or a domain with anything before it, as
/// `^[^.]+\.example\.org$` or, in version 2, `{any:.+}.example.org`.
fn host_of(pattern: &str) -> Option<String> {
    let plain = |text: &str| {
        let text = text.replace("\\.", ".");
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        (is_plain && text.contains('.')).then_some(text)
    };
    let below = |part: &str, domain: &str| {
        let is_anything = matches!(
            part,
            ".+" | ".*"
                | "[^.]+"
                | "[^\\.]+"
                | "\\w+"
                | "[a-z]+"
                | "[a-z0-9]+"
                | "[a-z0-9-]+"
                | "[a-z0-9\\-]+"
                | "[a-zA-Z]+"
                | "[a-zA-Z0-9]+"
                | "[a-zA-Z0-9-]+"
                | "[a-zA-Z0-9\\-]+"
        );
        plain(domain).filter(|_| is_anything).map(|domain| format!("*.{domain}"))
    };
    if let Some(inner) = pattern.strip_prefix('{') {
        // A pattern may have braces of its own.
        let (group, domain) = inner.rsplit_once("}.")?;
        let part = group.split_once(':').map_or(".+", |(_, part)| part);
        return below(part, domain);
    }
    let body = pattern.strip_prefix('^').unwrap_or(pattern).strip_suffix('$')?;
    if !pattern.starts_with('^') {
        return None;
    }
    if let Some(host) = plain(body) {
        return Some(host);
    }
    let (part, domain) = body.split_once("\\.")?;
    let part = part.strip_prefix('(').and_then(|part| part.strip_suffix(')')).unwrap_or(part);
    below(part, domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(rule: &str) -> Vec<String> {
        let in_words = |choice: Choice| format!("{}{}", choice.hosts.join(" "), choice.paths.join(" "));
        read(rule).unwrap().into_iter().map(in_words).collect()
    }

    #[test]
    fn hosts_and_beginnings_of_paths_are_understood_however_they_are_put_together() {
        for (rule, meaning) in [
            ("Host(`a.b`)", vec!["a.b"]),
            ("Host(`a.b`, `c.d`) && PathPrefix(`/`)", vec!["a.b c.d"]),
            ("Host(\"a.b\")||Host('c.d')", vec!["a.b", "c.d"]),
            ("(Host(`a.b`) || Host(`c.d`)) && PathPrefix(`/x`)", vec!["a.b/x", "c.d/x"]),
            ("Host(`a.b`) && (Path(`/x`) || PathPrefix(`/y`, `/z`))", vec!["a.b/x", "a.b/y /z"]),
            ("HostRegexp(`^[^.]+\\.shop\\.example$`)", vec!["*.shop.example"]),
            ("HostRegexp(`^(.+)\\.shop\\.example$`)", vec!["*.shop.example"]),
            ("HostRegexp(`{any:[a-z0-9-]+}.shop.example`)", vec!["*.shop.example"]),
            ("HostRegexp(`^blog\\.example$`)", vec!["blog.example"]),
        ] {
            assert_eq!(choices(rule), meaning, "{rule}");
        }
    }

    #[test]
    fn what_ghostpin_has_nothing_for_is_said() {
        for (rule, why) in [
            ("Host(`a.b`) && !PathPrefix(`/x`)", "`!PathPrefix(`/x`)` is not understood"),
            ("Method(`GET`)", "only hosts and beginnings of paths"),
            ("Host(`a.b`) && Host(`c.d`)", "two things at once"),
            ("HostRegexp(`.+\\.shop\\.example`)", "neither one host nor all below"),
            ("HostRegexp(`^(www|old)\\.shop\\.example$`)", "neither one host nor all below"),
            ("Host(`a.b`) && PathPrefix(`/{id}`)", "no pattern"),
            ("Host(`a.b", "a quote is not closed"),
            ("Host(`a.b`", "is not closed"),
            ("(Host(`a.b`)", "a parenthesis is not closed"),
            ("Host(a.b)", "is in no quotes"),
            ("Host(`a.b`) or", "`or` is not understood"),
            ("", "is not understood"),
        ] {
            let said = read(rule).unwrap_err();
            assert!(said.contains(why), "{rule}: {said}");
        }
        assert!(read(&"(".repeat(10_000)).unwrap_err().contains("too many parentheses"));
        let many = vec!["(Host(`a.b`) || PathPrefix(`/x`))"; 40].join(" && ");
        assert!(read(&many).is_err());
    }
}
