//! A site as the labels of a service: `ghostpin.hold.timeout=5s` is what `timeout = "5s"` in `[site.hold]` is in a file.
//!
//! The labels are written down as the table that they stand for, one a line, and read like any other: same keys, same
//! units, same bounds, same defaults. What runs programs or reads files here can't be said by a label: whoever may start a
//! service need not be allowed to do that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Site;
use super::errors::{ConfigErrors, Source};
use super::parse::split;
use super::raw::RawFile;
use super::site::Sites;
use crate::core::swarm::{BadLabel, NETWORK, PORT, PREFIX};

/// The label that names the site.
pub const SITE: &str = "ghostpin.site";
/// The label that lists the hosts.
const HOSTS: &str = "ghostpin.hosts";
/// Labels whose values are lists, written with commas.
const LISTS: [&str; 4] = ["hosts", "hold.harmless_cookies", "hold.never", "health.expect"];
/// Tables whose values are texts, whatever they look like.
const TEXTS: [&str; 1] = ["headers."];
/// Keys of a site that only a file can say, and why.
const IN_A_FILE: [(&str, &str); 7] = [
    ("backends", "the tasks of the service are its backends; remove it"),
    ("name", "the name of the site is the value of ghostpin.site; remove it"),
    ("hooks", "a label can't run programs on the edge; give the site in a file, with its backends"),
    ("certificate", "a label can't name files of the edge; put the certificate into the folder of [tls]"),
    ("key", "a label can't name files of the edge; put the certificate into the folder of [tls]"),
    ("route", "a label can't send requests elsewhere; give the site in a file"),
    ("warm_standby", r#"only "allow" and "refuse" can be said by a label: there is no `start` hook"#),
];

/// What sites get that don't say it themselves: `[https]`, `[hold]`, `[health]`, `[handoff]` and `[upstream]`.
#[derive(Clone, Debug)]
pub struct SiteDefaults(Arc<RawFile>);

impl PartialEq for SiteDefaults {
    /// Equal are those that make the same sites.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.samples().eq(other.samples())
    }
}

impl SiteDefaults {
    /// Sites that together have all of it.
    pub(super) fn samples(&self) -> impl Iterator<Item = Result<Site, Vec<BadLabel>>> {
        // What is below `hsts` shows only where there is one.
        let samples = [("ghostpin.app", "ghost"), ("ghostpin.app", "generic"), ("ghostpin.https.hsts", "1s")];
        samples.into_iter().map(|more| {
            let labels = [(SITE, "a"), (HOSTS, "a"), more];
            self.site("a", &labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into())
        })
    }

    pub(super) fn of(top: RawFile) -> Self {
        let mut kept = RawFile::default();
        (kept.https, kept.hold, kept.health) = (top.https, top.hold, top.health);
        (kept.handoff, kept.upstream, kept.cluster) = (top.handoff, top.upstream, top.cluster);
        Self(Arc::new(kept))
    }

    /// The site that a service's labels describe, without backends.
    ///
    /// # Errors
    /// All labels that are no good.
    pub fn site(&self, service: &str, labels: &BTreeMap<String, String>) -> Result<Site, Vec<BadLabel>> {
        let mut bad = Vec::new();
        // Line 1 begins the table, so that the label of line n + 2 is number n.
        let mut text = String::from("[[site]]\n");
        let mut lines: Vec<&str> = Vec::new();
        for (label, value) in labels {
            match line(label, value) {
                Ok(None) => {}
                Ok(Some(line)) => {
                    text += &line;
                    lines.push(label);
                }
                Err(why) => bad.push(BadLabel::new(label, why)),
            }
        }
        for (label, example) in [(SITE, "blog"), (HOSTS, "blog.example,www.blog.example")] {
            if !labels.contains_key(label) {
                bad.push(BadLabel::new(label, format!("is missing; add {label}={example}, say")));
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let mut errors = ConfigErrors::default();
        let source = Source::new(Path::new(service), &text);
        let (_, sites) = split(&text, &source, &mut errors);
        let mut all = Sites::of_a_provider();
        all.add_all(sites, &source, &self.0, &mut errors);
        match errors.unless_any(all.list.pop()) {
            Ok(Some(site)) => Ok(Arc::unwrap_or_clone(site)),
            Ok(None) => Err(vec![BadLabel::new(SITE, "there is no site in the labels")]),
            Err(errors) => Err(errors
                .iter()
                .map(|error| {
                    let at = error.line.and_then(|line| lines.get(line.checked_sub(2)?));
                    let named = error.key.strip_prefix("site.").map(|key| match key {
                        "name" => SITE.to_owned(),
                        key => format!("{PREFIX}{key}"),
                    });
                    let label = at.map(|label| (*label).to_owned()).or(named);
                    BadLabel { label: label.unwrap_or_else(|| SITE.to_owned()), why: error.message.clone() }
                })
                .collect()),
        }
    }
}

/// The line that a label stands for; `None` if it is not about the site itself.
fn line(label: &str, value: &str) -> Result<Option<String>, String> {
    if label == PORT || label == NETWORK {
        return Ok(None);
    }
    let key = if label == SITE { "name" } else { label.strip_prefix(PREFIX).unwrap_or(label) };
    let first = key.split('.').next().unwrap_or(key);
    let forbidden = IN_A_FILE.iter().find(|(name, _)| *name == first && label != SITE);
    if let Some((_, why)) = forbidden.filter(|(name, _)| *name != "warm_standby" || value == "restart") {
        return Err((*why).to_owned());
    }
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if !key.split('.').all(fits) {
        return Err(
            "is no key; write words of letters, digits, `-` and `_` with dots between them".to_owned()
        );
    }
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let value = if LISTS.contains(&key) {
        let parts = value.split(',').map(|part| text(part.trim())).collect::<Vec<_>>();
        format!("[{}]", parts.join(", "))
    } else if key != "name" && !TEXTS.iter().any(|table| key.starts_with(table)) && is_bare(value) {
        value.to_owned()
    } else {
        text(value)
    };
    Ok(Some(format!("{key} = {value}\n")))
}

/// It is a number or a truth value, which TOML has without quotes.
fn is_bare(value: &str) -> bool {
    let digits = (1..=18).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    matches!(value, "true" | "false") || digits && (value == "0" || !value.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn labels(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = [("ghostpin.site", "blog"), (HOSTS, "blog.example, www.blog.example"), (PORT, "2368")];
        all.iter().chain(extra).map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
    }

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/ghostpin.toml")).unwrap()
    }

    fn read(extra: &[(&str, &str)]) -> Result<Site, Vec<BadLabel>> {
        config("").defaults.site("blog", &labels(extra))
    }

    #[test]
    fn whatever_sites_inherit_makes_other_defaults() {
        for top in [
            "[https]\nredirect = true",
            "[https]\nhsts = \"5m\"",
            "[https]\nhsts_subdomains = true",
            "[hold]\ntimeout = \"3s\"",
            "[health]\nhost = \"a\"",
            "[handoff]\ndrain_timeout = \"1s\"",
            "[upstream]\nkeep_alive = \"1s\"",
        ] {
            assert_ne!(config(top).defaults, config("").defaults, "{top}");
            assert_eq!(config(top).defaults, config(top).defaults, "{top}");
        }
    }

    #[test]
    fn a_site_given_by_labels_is_the_one_that_a_file_would_give() {
        let top = "[hold]\ntimeout = \"3s\"\n[health]\nfall = 4\n";
        let in_a_file = r#"
            [[site]]
            name = "blog"
            hosts = ["blog.example", "www.blog.example"]
            backends = ["127.0.0.1:1"]
            app = "generic"
            failover = "manual"
            https.redirect = false
            hold.max_requests = 7
            hold.never = ["/a/", "/b/"]
            health.expect = ["200", "301-302"]
            health.path = "/well"
            headers.X-Site-Id = "42"
            headers.X-Flag = "true"
            upstream.keep_alive = "2s"
        "#;
        let extra = [
            ("ghostpin.app", "generic"),
            ("ghostpin.failover", "manual"),
            ("ghostpin.https.redirect", "false"),
            ("ghostpin.hold.max_requests", "7"),
            ("ghostpin.hold.never", "/a/,/b/"),
            ("ghostpin.health.expect", "200, 301-302"),
            ("ghostpin.health.path", "/well"),
            ("ghostpin.headers.X-Site-Id", "42"),
            ("ghostpin.headers.X-Flag", "true"),
            ("ghostpin.upstream.keep_alive", "2s"),
        ];
        let file = config(&format!("{top}{in_a_file}"));
        let site = file.defaults.site("blog", &labels(&extra)).unwrap_or_else(|bad| panic!("{bad:?}"));
        let expected = Site { backends: [].into(), ..(*file.sites[0]).clone() };
        assert_eq!(site, expected);
    }

    #[test]
    fn a_bad_label_is_named_with_what_to_do() {
        for (label, value, expected) in [
            ("ghostpin.site", "my blog", "is no name; write ASCII letters"),
            (HOSTS, "https://blog.example", "write the host only"),
            (HOSTS, "blog.example,blog.example", "listed twice"),
            (HOSTS, "", "must not be empty"),
            ("ghostpin.hold.timeout", "5", r#"write "5s" for seconds"#),
            ("ghostpin.hold.timeout", "1d", "between 10ms and 10m"),
            ("ghostpin.hold.timeot", "5s", "did you mean `timeout`?"),
            ("ghostpin.hold", "5s", "invalid type"),
            ("ghostpin.app", "wordpress", "write ghost or generic"),
            ("ghostpin.health.fall", "two", "without quotes"),
            ("ghostpin.hooks.fence.command", "rm", "can't run programs"),
            ("ghostpin.certificate", "/etc/shadow", "can't name files"),
            ("ghostpin.backends", "10.0.0.1:1", "the tasks of the service"),
            ("ghostpin.warm_standby", "restart", "no `start` hook"),
            ("ghostpin.a b", "c", "is no key"),
            ("ghostpin.headers.X-A", "a\nb", "visible ASCII"),
            ("ghostpin.site\n", "x", "is no key"),
            ("ghostpin.", "x", "is no key"),
        ] {
            let bad = read(&[(label, value)]).unwrap_err();
            let found = bad.iter().find(|bad| bad.label == label || label.starts_with(&bad.label));
            let told = found.unwrap_or_else(|| panic!("{label}: {bad:?}")).to_string();
            assert!(told.contains(expected), "{label}={value:?}: {told}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let defaults = config("").defaults;
        let told: Vec<String> =
            defaults.site("blog", &BTreeMap::new()).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(
            told[0].contains("add ghostpin.site=blog") && told[1].contains("add ghostpin.hosts=blog.example"),
            "{told:?}"
        );
    }

    #[test]
    fn defaults_are_the_same_if_their_tables_are() {
        let of = |text: &str| config(text).defaults;
        let site = "[[site]]\nname = \"a\"\nhosts = [\"a\"]\nbackends = [\"127.0.0.1:1\"]";
        assert_eq!(of("[hold]\ntimeout = \"3s\""), of(&format!("[hold]\ntimeout = \"3s\"\n{site}")));
        assert_eq!(of("[hold]\ntimeout = \"15s\""), of(""), "what is written is the default");
        assert_ne!(of("[hold]\ntimeout = \"3s\""), of("[hold]\ntimeout = \"4s\""));
    }
}
