//! The sites in the order of their names, and those with a text in them: one long text that is looked through at the speed
//! of memory. It is made when somebody looks, and made again when the sites are others.

use std::sync::{Arc, Weak};

use memchr::memmem;

use crate::core::SiteName;
use crate::core::table::Hosted;
use crate::published::Published;

/// Ends each name and each host; neither can have one.
const END: char = '\n';

/// See the module's text.
#[derive(Debug)]
pub(super) struct Index {
    of: Weak<Published>,
    names: Vec<SiteName>,
    /// For each site its name, in lower case, and its hosts.
    text: String,
    /// Where each site begins in that.
    starts: Vec<usize>,
}

/// What a search finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// How many there are.
    pub(super) total: usize,
    /// Those of the window.
    pub(super) names: Vec<SiteName>,
}

impl Index {
    /// Of these sites, which are those that `of` serves.
    pub(super) fn new<'s, S: Hosted + 's>(of: Weak<Published>, sites: impl Iterator<Item = &'s S>) -> Self {
        let mut sites: Vec<_> = sites.collect();
        sites.sort_by_cached_key(|site| site.name().as_str().to_lowercase());
        let (mut text, mut starts) = (String::new(), Vec::with_capacity(sites.len()));
        for site in &sites {
            starts.push(text.len());
            text += &site.name().as_str().to_lowercase();
            text.push(END);
            for host in site.hosts() {
                text += host;
                text.push(END);
            }
        }
        text.shrink_to_fit();
        let names = sites.into_iter().map(|site| site.name().clone()).collect();
        Self { of, names, text, starts }
    }

    /// Whether it is one of these sites.
    pub(super) fn is_of(&self, published: &Arc<Published>) -> bool {
        std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(published))
    }

    /// Sites with this text in their name or in one of their hosts, whatever the case: first those whose name begins with it.
    pub(super) fn find(&self, text: &str, from: usize, count: usize) -> Found {
        let text = text.trim().to_lowercase();
        if text.is_empty() {
            let names = self.names.iter().skip(from).take(count).cloned().collect();
            return Found { total: self.names.len(), names };
        }
        if text.contains(END) {
            // It would be found across the end of one name and the beginning of the next.
            return Found::default();
        }
        let name = |site: &usize| {
            let rest = &self.text[*site..];
            rest.split(END).next().unwrap_or_default()
        };
        let first = self.starts.partition_point(|site| name(site) < text.as_str());
        let beginning = self.starts[first..].partition_point(|site| name(site).starts_with(&text));
        let mut total = beginning;
        let mut names: Vec<_> = (first..first + beginning).skip(from).take(count).collect();
        let (finder, mut at) = (memmem::Finder::new(&text), 0);
        while let Some(place) = finder.find(&self.text.as_bytes()[at..]) {
            let next = self.starts.partition_point(|start| *start <= at + place);
            at = self.starts.get(next).copied().unwrap_or(self.text.len());
            let site = next - 1;
            if (first..first + beginning).contains(&site) {
                continue;
            }
            if total >= from && names.len() < count {
                names.push(site);
            }
            total += 1;
        }
        Found { total, names: names.into_iter().map(|site| self.names[site].clone()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Site(SiteName, Vec<Box<str>>);

    impl Hosted for Site {
        fn name(&self) -> &SiteName {
            &self.0
        }

        fn hosts(&self) -> &[Box<str>] {
            &self.1
        }
    }

    fn index() -> Index {
        let site =
            |name: &str, hosts: &[&str]| Site(name.into(), hosts.iter().map(|host| (*host).into()).collect());
        let sites = [
            site("shop", &["shop.example", "www.shop.example"]),
            site("Blog-2", &["two.example"]),
            site("blog-10", &["ten.example", "blog-1.example"]),
            site("blog-1", &["one.example"]),
            site("a-blog", &["a.example"]),
        ];
        Index::new(Weak::new(), sites.iter())
    }

    fn found(text: &str, from: usize, count: usize) -> (usize, Vec<String>) {
        let Found { total, names } = index().find(text, from, count);
        (total, names.iter().map(ToString::to_string).collect())
    }

    fn all(text: &str) -> Vec<String> {
        let (total, names) = found(text, 0, 100);
        assert_eq!(total, names.len(), "{text}");
        names
    }

    #[test]
    fn sites_are_found_by_any_part_of_a_name_or_host_those_that_begin_with_it_first() {
        assert_eq!(all(""), ["a-blog", "blog-1", "blog-10", "Blog-2", "shop"]);
        assert_eq!(all("blog"), ["blog-1", "blog-10", "Blog-2", "a-blog"]);
        assert_eq!(all(" BLOG-2 "), ["Blog-2"]);
        assert_eq!(all("blog-1"), ["blog-1", "blog-10"]);
        assert_eq!(all("blog-1.ex"), ["blog-10"]);
        assert_eq!(all(".example"), ["a-blog", "blog-1", "blog-10", "Blog-2", "shop"]);
        assert_eq!(all("www"), ["shop"]);
        for nothing in ["none", "shop\n", "example\nwww", "shop-", "\u{e9}"] {
            assert_eq!(all(nothing), if nothing == "shop\n" { vec!["shop"] } else { vec![] }, "{nothing:?}");
        }
    }

    #[test]
    fn a_window_begins_where_the_one_before_has_ended() {
        for text in ["", "blog", "example"] {
            let (total, whole) = found(text, 0, 100);
            for size in 1..=total + 1 {
                let windows = (0..=total).step_by(size).map(|from| found(text, from, size));
                let joined: Vec<_> =
                    windows.flat_map(|(of, names)| [(of == total).then_some(names)]).collect();
                let joined: Option<Vec<Vec<String>>> = joined.into_iter().collect();
                assert_eq!(joined.map(|all| all.concat()), Some(whole.clone()), "{text} by {size}");
            }
        }
    }
}
