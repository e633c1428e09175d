//! By what edges of a fleet know that they want the same sites, without being told all of a million.
//!
//! What one machine may have otherwise than another is left out: the paths of certificates, and what an edge does when it is cut
//! off. So is what a provider says, which each edge hears at another moment; what the file gives those sites is in it.

use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use super::{Config, Site, SiteDefaults};
use crate::core::canary::Fingerprint;

/// Of a whole configuration. Each site is written out for it: where one is known, go on from that.
pub fn of(config: &Config) -> Fingerprint {
    let empty = of_defaults(&config.defaults);
    config.sites.iter().fold(empty, |all, site| all.with(of_site(site)))
}

/// The part of one site.
pub fn of_site(site: &Site) -> Fingerprint {
    // All fields are named, so that a new one can't be forgotten.
    let Site {
        name,
        hosts,
        backends,
        unfit: _,
        app,
        failover,
        warm_standby,
        partition: _,
        https,
        certificate: _,
        hold,
        health,
        hooks,
        handoff,
        upstream,
        tell_epoch,
        headers,
        routes,
        provided,
        found_by: _,
    } = site;
    if *provided {
        return Fingerprint::default();
    }
    let who = (name, hosts, backends, app, failover, warm_standby);
    let how = (https, hold, health, hooks, handoff, upstream, tell_epoch, headers, routes);
    digest(format_args!("{who:?}{how:?}"))
}

/// The part of what sites get that a provider brings.
pub fn of_defaults(defaults: &SiteDefaults) -> Fingerprint {
    let samples = defaults.samples().filter_map(Result::ok);
    samples.fold(Fingerprint::default(), |all, site| all.with(of_site(&site)))
}

/// Takes in a text as it is written.
struct Digest<H>(H);

impl<H: Hasher> Write for Digest<H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn digest(text: fmt::Arguments<'_>) -> Fingerprint {
    let mut digest = Digest(FixedState::default().build_hasher());
    // It takes whatever it is given.
    let _ = digest.write_fmt(text);
    Fingerprint(digest.0.finish())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::changes;
    use crate::core::SiteName;

    /// As of an edge, with these tables and so many sites.
    fn config(folder: &str, tables: &str, sites: &[&str]) -> Config {
        let mut text = format!("{tables}\n");
        for (number, more) in sites.iter().enumerate() {
            text += &format!(
                "[[site]]\nname = 's{number}'\nhosts = ['s{number}.example']\nbackends = ['127.0.0.1:1']\n{more}\n"
            );
        }
        let path = Path::new(folder).join("ghostpin.toml");
        Config::parse(&text, &path).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn cluster(name: &str) -> String {
        format!("[cluster]\netcd = ['http://127.0.0.1:2379']\nname = '{name}'\n")
    }

    #[test]
    fn edges_with_the_same_sites_agree_whatever_differs_between_their_machines() {
        let of_a = cluster("a") + "partition = 'serve'\n[listen]\nhttp = ['127.0.0.1:1']\n";
        let of_b = cluster("b") + "[listen]\nhttp = ['127.0.0.1:2']\n[limits]\nmax_headers = 70\n";
        let certificate = "certificate = 's.crt'\nkey = 's.key'";
        let (a, b) = (config("/a", &of_a, &["", certificate]), config("/b", &of_b, &["", certificate]));
        assert_eq!(of(&a), of(&b));
        let mut turned = b;
        turned.sites.reverse();
        assert_eq!(of(&a), of(&turned), "whatever the order of the files");
    }

    #[test]
    fn each_key_of_a_site_makes_another_one() {
        let with = |tables: &str, more: &str| of(&config("/a", tables, &[more]));
        let plain = with("", "");
        for more in [
            "hold.timeout = '9s'",
            "health.path = '/well'",
            "upstream.keep_alive = '2s'",
            "app = 'generic'",
            "headers = { X-Site-Id = '7' }",
            "tell_epoch = true",
        ] {
            assert_ne!(plain, with("", more), "{more}");
        }
        assert_ne!(plain, of(&config("/a", "", &["", ""])));
        assert_ne!(plain, with("[hold]\ntimeout = '9s'", ""), "what it inherits is its own");
        let none = |tables| of(&config("/a", tables, &[]));
        assert_ne!(none(""), none("[hold]\ntimeout = '9s'"), "a provider's sites inherit it as well");
    }

    #[test]
    fn what_changes_is_enough_to_go_on_from_the_one_before() {
        let old = config("/a", "", &["", "", ""]);
        let mut new = config("/a", "", &["hold.timeout = '9s'", "", "", ""]);
        new.sites.remove(2);
        let before = of(&old);
        let changes = changes::between(&old.sites, &mut new.sites);
        let was = |name: &SiteName| old.sites.iter().find(|site| site.name == *name);
        let touched = changes.gone.iter().chain(changes.put.iter().map(|site| &site.name));
        let without = touched.filter_map(was).fold(before, |all, site| all.without(of_site(site)));
        assert_eq!(changes.put.iter().fold(without, |all, site| all.with(of_site(site))), of(&new));
    }

    #[test]
    fn what_a_provider_brings_is_no_part_of_it() {
        let mut config = config("/a", "", &["", ""]);
        let before = of(&config);
        let mut provided = Site::clone(&config.sites[0]);
        provided.provided = true;
        config.sites.push(provided.into());
        assert_eq!(of(&config), before);
    }
}
