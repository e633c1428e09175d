//! Which sites a reload is about. Of a million, few change at a time; the others cost a look at a pointer each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Site;
use crate::core::SiteName;

/// What becomes of sites.
#[derive(Debug, Default)]
pub struct Changes {
    /// Those that are gone.
    pub gone: Vec<SiteName>,
    /// Those that are new, or other than they were.
    pub put: Vec<Arc<Site>>,
    /// So many are as they were.
    pub unchanged: usize,
}

/// Compares the sites in force with `new`. Those of `new` that are as they were become the ones in force, so that each
/// is kept once.
pub fn between(old: &[Arc<Site>], new: &mut [Arc<Site>]) -> Changes {
    // A site whose text has not changed was not even read again.
    let same = |(one, other): &(&Arc<Site>, &Arc<Site>)| Arc::ptr_eq(one, other);
    let before = old.iter().zip(&*new).take_while(same).count();
    let (old, new) = (&old[before..], &mut new[before..]);
    let behind = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let (old, end) = (&old[..old.len() - behind], new.len() - behind);
    let new = &mut new[..end];

    let mut changes = Changes { unchanged: before + behind, ..Changes::default() };
    let known: HashMap<&SiteName, &Arc<Site>, RandomState> =
        old.iter().map(|site| (&site.name, site)).collect();
    for site in &mut *new {
        match known.get(&site.name) {
            Some(known) if Arc::ptr_eq(known, site) || *known == site => {
                *site = (*known).clone();
                changes.unchanged += 1;
            }
            _ => changes.put.push(site.clone()),
        }
    }
    let wanted: HashSet<&SiteName, RandomState> = new.iter().map(|site| &site.name).collect();
    changes.gone = old.iter().map(|site| &site.name).filter(|name| !wanted.contains(name)).cloned().collect();
    changes
}

/// `site`, where `after` says that it runs. Who looks after instances moves them by itself when a machine is lost: that is no
/// change of what anybody wants. To look for them in another way is one.
pub fn moved(site: &Site, after: &Site) -> Site {
    if site.found_by != after.found_by {
        return site.clone();
    }
    Site { backends: after.backends.clone(), unfit: after.unfit.clone(), ..site.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    /// Sites by name; a letter behind it stands for another configuration.
    fn sites(names: &str) -> Vec<Arc<Site>> {
        let site = |word: &str| {
            let (name, hold) = word.split_at(1);
            let timeout = if hold.is_empty() { 3 } else { 4 };
            format!(
                "[[site]]\nname = '{name}'\nhosts = ['{name}.example']\nbackends = ['127.0.0.1:1']\nhold.timeout = '{timeout}s'\n"
            )
        };
        let text: String = names.split_whitespace().map(site).collect();
        Config::parse(&text, Path::new("/etc/ghostpin.toml"))
            .unwrap_or_else(|errors| panic!("{errors}"))
            .sites
    }

    fn names(sites: &[Arc<Site>]) -> Vec<&str> {
        sites.iter().map(|site| site.name.as_str()).collect()
    }

    #[test]
    fn what_is_gone_new_or_other_is_told_and_all_else_is_kept_once() {
        for (before, after, gone, put, unchanged) in [
            ("", "a b", "", "a b", 0),
            ("a b c d", "a b c d", "", "", 4),
            ("a b c d", "a x c d", "b", "x", 3),
            ("a b c d", "a bx c d", "", "b", 3),
            ("a b c d", "d c b a", "", "", 4),
            ("a b c d", "n a b c d", "", "n", 4),
            ("a b c d", "a d", "b c", "", 2),
            ("a b c", "", "a b c", "", 0),
        ] {
            let old = sites(before);
            // As it is read from a file again: equal, and not the same.
            let mut new = sites(after);
            let changes = between(&old, &mut new);
            let told: Vec<&str> = changes.gone.iter().map(SiteName::as_str).collect();
            assert_eq!(told, gone.split_whitespace().collect::<Vec<_>>(), "{before} to {after}");
            assert_eq!(
                names(&changes.put),
                put.split_whitespace().collect::<Vec<_>>(),
                "{before} to {after}"
            );
            assert_eq!(changes.unchanged, unchanged, "{before} to {after}");
            assert_eq!(names(&new).join(" "), after.replace('x', if put == "x" { "x" } else { "" }));
            let kept = new.iter().filter(|site| old.iter().any(|one| Arc::ptr_eq(one, site))).count();
            assert_eq!(kept, unchanged, "{before} to {after}: each that stays is the one in force");
        }
    }

    #[test]
    fn sites_that_were_not_read_again_are_unchanged() {
        let old = sites("a b c d e");
        let mut new = old.clone();
        new.remove(2);
        new.insert(0, sites("n").remove(0));
        let changes = between(&old, &mut new);
        assert_eq!((names(&changes.put), changes.unchanged), (vec!["n"], 4));
        assert_eq!(changes.gone, [SiteName::from("c")]);
    }
}
