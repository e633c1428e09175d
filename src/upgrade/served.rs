//! The sites that the elder serves, told in words that a heir of another version understands as well; and what would become of
//! them if the heir took over. It is as much as a reload is judged by, but for keys that say neither who is served nor from where:
//! what those are like inside, each version knows for itself.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::config::Site;
use crate::core::guard::{Rule, Touched};

/// So many are told at a time: a message has its limit.
const AT_A_TIME: usize = 200;

/// A site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// Stands for its hosts and its backends, as they are written.
    pub digest: u64,
    /// A provider has brought it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provided: bool,
}

/// `[guard]` of the elder, which is in force until there is another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfGuard {
    /// The file that a reload of the elder would read.
    pub file: String,
    /// See [`Rule::share`].
    pub share: f64,
    /// See [`Rule::sites`].
    pub sites: usize,
    /// The edge that tries updates before the elder puts them in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
}

/// What would become of the elder's sites.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// How many are touched.
    pub touched: Touched,
    /// Some of those that would be gone or other than they were.
    pub examples: Vec<String>,
    /// Those of a provider are among them, which a reload would not take away.
    pub of_a_provider: usize,
}

impl Served {
    /// What is told of a site.
    pub fn of(site: &Site) -> Self {
        let hosts = site.hosts.iter().map(ToString::to_string);
        let backends = site.backends.iter().map(ToString::to_string);
        let digest = digest(hosts.chain([String::new()]).chain(backends));
        Self { name: site.name.to_string(), digest, provided: site.provided }
    }

    /// As they are told.
    pub fn in_parts(all: Vec<Self>) -> impl Iterator<Item = Vec<Self>> {
        let mut all = all.into_iter();
        std::iter::from_fn(move || Some(all.by_ref().take(AT_A_TIME).collect::<Vec<_>>()))
            .take_while(|part| !part.is_empty())
    }
}

/// The same in all versions, which what libraries hash by is not: 64-bit FNV-1a.
fn digest(words: impl Iterator<Item = String>) -> u64 {
    let bytes = words.flat_map(|word| word.into_bytes().into_iter().chain([b'\n']));
    bytes
        .fold(0xcbf2_9ce4_8422_2325, |so_far, byte| (so_far ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Change {
    /// From `before` to `now`. Whoever has a provider goes on with what that has brought.
    pub fn between(
        before: &[Served],
        now: impl IntoIterator<Item = Served>,
        has_provider: bool,
        examples: usize,
    ) -> Self {
        let mut now: HashMap<String, u64> = now.into_iter().map(|site| (site.name, site.digest)).collect();
        let mut change = Self::default();
        change.touched.of = before.len();
        for site in before {
            match now.remove(&site.name) {
                Some(digest) if digest == site.digest => continue,
                Some(_) => change.touched.changed += 1,
                None if site.provided && has_provider => continue,
                None => {
                    change.touched.removed += 1;
                    change.of_a_provider += usize::from(site.provided);
                }
            }
            if change.examples.len() < examples {
                change.examples.push(site.name.clone());
            }
        }
        change.touched.added = now.len();
        change
    }

    /// Whether the heir may put this in force, as a reload might; otherwise what it is that keeps it from that.
    ///
    /// # Errors
    /// What is to be done if it is meant.
    pub fn judge(&self, guard: &OfGuard) -> Result<(), String> {
        let Self { touched, of_a_provider, .. } = self;
        if !(Rule { share: guard.share, sites: guard.sites }).lets_pass(touched) {
            return Err(match of_a_provider {
                0 => format!(
                    "which waits for a word, as in a reload. If it is meant, have {} say so, `ghostpin reload`, \
                     `ghostpin confirm ID`, and upgrade then",
                    guard.file
                ),
                some => format!(
                    "and {some} of those that it removes a provider has brought that it doesn't name any more. If it is meant, \
                     stop the one process, and start the other"
                ),
            });
        }
        match &guard.canary {
            Some(canary) if touched.removed + touched.changed > 0 => Err(format!(
                "which is to be found good by `{canary}` first, the canary of [guard]: have {} say so, `ghostpin reload`, and \
                 upgrade when that is in force",
                guard.file
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::upgrade::ToHeir;
    use crate::upgrade::line::BYTES_MAX;

    /// Words such as `a` or `a1`: a site and what it is like. One with a `+` comes from a provider.
    fn sites(words: &str) -> Vec<Served> {
        let site = |word: &str| {
            let (name, digest) = word.trim_start_matches('+').split_at(1);
            let digest = digest.parse().unwrap_or_default();
            Served { name: name.to_owned(), digest, provided: word.starts_with('+') }
        };
        words.split_whitespace().map(site).collect()
    }

    fn change(before: &str, now: &str, has_provider: bool) -> (usize, usize, usize) {
        let touched = Change::between(&sites(before), sites(now), has_provider, 9).touched;
        assert_eq!(touched.of, sites(before).len());
        (touched.removed, touched.changed, touched.added)
    }

    #[test]
    fn what_is_gone_other_and_new_is_counted() {
        assert_eq!(change("a b c", "c b a", false), (0, 0, 0));
        assert_eq!(change("a b c", "a b1 d", false), (1, 1, 1));
        assert_eq!(change("", "a", false), (0, 0, 1));
        assert_eq!(change("a b", "", false), (2, 0, 0));
    }

    #[test]
    fn what_a_provider_has_brought_stays_with_the_provider() {
        assert_eq!(change("a +b +c", "a", true), (0, 0, 0));
        assert_eq!(change("a +b +c", "a c1", true), (0, 1, 0), "the file's goes first");
        assert_eq!(change("a +b +c", "a", false), (2, 0, 0));
    }

    #[test]
    fn the_rule_is_that_of_a_reload() {
        let guard = |canary: Option<&str>| OfGuard {
            file: "/etc/g.toml".to_owned(),
            share: 0.5,
            sites: 2,
            canary: canary.map(str::to_owned),
        };
        let judge = |before: &str, now: &str, canary: Option<&str>| {
            Change::between(&sites(before), sites(now), false, 9)
                .judge(&guard(canary))
                .err()
                .unwrap_or_default()
        };
        assert_eq!(judge("a b c d", "a b1 c1 d", None), "");
        assert!(judge("a b c d", "a1 b1 c1 d", None).contains("`ghostpin confirm ID`"));
        assert!(judge("a", "", None).contains("have /etc/g.toml say so"));
        assert!(judge("a +b", "", None).contains("1 of those that it removes a provider has brought"));
        assert_eq!(judge("", "", None), "");
        assert!(judge("a b", "a1 b", Some("edge-1")).contains("to be found good by `edge-1`"));
        assert_eq!(judge("a b", "a b c", Some("edge-1")), "", "what is new waits for nobody");
    }

    #[test]
    fn a_site_is_other_than_it_was_if_its_hosts_or_its_backends_are() {
        let of = |hosts: &str, backends: &str, more: &str| {
            let text = format!("[[site]]\nname = 'a'\nhosts = [{hosts}]\nbackends = [{backends}]\n{more}\n");
            let config =
                Config::parse(&text, Path::new("/etc/g.toml")).unwrap_or_else(|errors| panic!("{errors}"));
            Served::of(&config.sites[0])
        };
        let one = of("'a.example', 'b.example'", "'127.0.0.1:1', 'x.example:2'", "");
        // Another version is to come to the same.
        assert_eq!(one.digest, 0x6e26dc02a305c794);
        assert_eq!(
            one,
            of("'A.example', 'b.example'", "'127.0.0.1:1', 'x.example:2'", "hold.timeout = '9s'")
        );
        assert_ne!(one, of("'a.example'", "'127.0.0.1:1', 'x.example:2'", ""));
        assert_ne!(one, of("'a.example', 'b.example'", "'x.example:2', '127.0.0.1:1'", ""));
    }

    #[test]
    fn however_many_sites_there_are_no_message_about_them_is_too_long() {
        let longest = Served { name: "n".repeat(128), digest: u64::MAX, provided: true };
        let parts: Vec<_> = Served::in_parts(vec![longest; 1_001]).collect();
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 1_001);
        for part in parts {
            assert!(serde_json::to_vec(&ToHeir::Sites(part)).unwrap().len() <= BYTES_MAX);
        }
    }
}
