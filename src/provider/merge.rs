//! The file's sites and those of services, in one configuration.
//!
//! What the file says goes first, then who was created first. A service whose labels are no good, or which wants what
//! somebody else has, is left out alone and says why; all others go on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::labels::SITE;
use crate::config::{BackendSpec, Config, Site, SiteDefaults, Unfit};
use crate::core::swarm::{BadLabel, NETWORK, PORT, Wanted};

/// The label that lists the hosts.
const HOSTS: &str = "ghostpin.hosts";

/// What became of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub service: String,
    /// Its site; empty if it has none.
    pub site: String,
    /// Why it has no site, or its site no candidate: labels, what is wrong with them, and what to do.
    pub problems: Vec<String>,
    /// The task that is meant; empty if there is none.
    pub candidate: String,
    /// Tasks that run beside it, or all that run if nobody knows which is meant.
    pub rivals: Vec<String>,
    /// Its task is not there yet, or an update is under way.
    pub moving: bool,
}

/// Makes one configuration of both. It remembers the sites that it has made, for of thousands few change at a time; but
/// what it makes depends on nothing but what it is given.
#[derive(Debug, Default)]
pub struct Merge {
    defaults: Option<SiteDefaults>,
    made: BTreeMap<String, (Wanted, Made)>,
}

type Made = Result<Arc<Site>, Vec<BadLabel>>;

/// Who has a name or a host.
enum Owner<'a> {
    File(&'a str),
    Service(&'a str),
}

impl std::fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(site) => write!(f, "site `{site}` of the file"),
            Self::Service(service) => write!(f, "service `{service}`, which is older"),
        }
    }
}

impl Merge {
    /// `file` with the sites of `wanted`, whose order is that of their rights; and what became of each.
    pub fn merge(&mut self, file: &Config, wanted: &[Wanted]) -> (Config, Vec<ServiceView>) {
        self.make(file, wanted);
        if wanted.is_empty() {
            // Nobody asks for a name, so it needn't be known who has which of a million.
            return (file.clone(), Vec::new());
        }
        let mut config = file.clone();
        let mut names: HashMap<&str, Owner<'_>> = HashMap::new();
        let mut hosts: HashMap<&str, Owner<'_>> = HashMap::new();
        for site in &file.sites {
            names.insert(site.name.as_str(), Owner::File(site.name.as_str()));
            hosts.extend(site.hosts.iter().map(|host| (&**host, Owner::File(site.name.as_str()))));
        }
        let mut services = Vec::with_capacity(wanted.len());
        for service in wanted {
            let mut view = ServiceView {
                service: service.name.clone(),
                site: String::new(),
                problems: Vec::new(),
                candidate: service.candidate.as_ref().map_or_else(String::new, ToString::to_string),
                rivals: service.rivals.clone(),
                moving: service.moving,
            };
            let site = match self.made.get(&service.id) {
                Some((_, Ok(site))) => site,
                Some((_, Err(bad))) => {
                    view.problems = bad.iter().map(ToString::to_string).collect();
                    services.push(view);
                    continue;
                }
                None => continue,
            };
            let name = site.name.as_str();
            let taken = names.get(name).map(|owner| BadLabel::new(SITE, taken("site name", name, owner)));
            let host = site.hosts.iter().find_map(|host| Some((host, hosts.get(&**host)?)));
            let taken = taken
                .or_else(|| host.map(|(host, owner)| BadLabel::new(HOSTS, self::taken("host", host, owner))));
            if let Some(bad) = taken {
                view.problems.push(bad.to_string());
                services.push(view);
                continue;
            }
            names.insert(name, Owner::Service(&service.name));
            hosts.extend(site.hosts.iter().map(|host| (&**host, Owner::Service(service.name.as_str()))));
            view.site = name.to_owned();
            view.problems.extend(service.unreachable.as_ref().map(ToString::to_string));
            config.sites.push(site.clone());
            services.push(view);
        }
        (config, services)
    }

    /// Makes the sites that are new or have changed, and forgets those that are gone.
    fn make(&mut self, file: &Config, wanted: &[Wanted]) {
        if self.defaults.as_ref() != Some(&file.defaults) {
            self.made.clear();
            self.defaults = Some(file.defaults.clone());
        }
        let mut before = std::mem::take(&mut self.made);
        for service in wanted {
            let made = match before.remove(&service.id) {
                Some((same, made)) if same == *service => made,
                _ => site(&file.defaults, service).map(Arc::new),
            };
            self.made.insert(service.id.clone(), (service.clone(), made));
        }
    }
}

fn site(defaults: &SiteDefaults, service: &Wanted) -> Result<Site, Vec<BadLabel>> {
    let site = defaults.site(&service.name, &service.labels);
    let refused = service.refused.iter().cloned();
    match site {
        Ok(site) if service.refused.is_none() => Ok(Site {
            backends: service.candidate.iter().cloned().map(BackendSpec::Instance).collect(),
            unfit: unfit(service),
            provided: true,
            found_by: Some(found_by(service)),
            ..site
        }),
        Ok(_) => Err(refused.collect()),
        Err(bad) => Err(bad.into_iter().chain(refused).collect()),
    }
}

fn found_by(service: &Wanted) -> Box<str> {
    let labels = [PORT, NETWORK].map(|label| service.labels.get(label).map_or("", String::as_str));
    labels.join(" ").into()
}

fn unfit(service: &Wanted) -> Option<Box<Unfit>> {
    let unfit = Unfit { rivals: service.rivals.clone(), lost: service.lost.clone() };
    (unfit != Unfit::default()).then(|| Box::new(unfit))
}

fn taken(what: &str, which: &str, owner: &Owner<'_>) -> String {
    format!("the {what} `{which}` already belongs to {owner}; take another one, or remove one of the two")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/ghostpin.toml")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    const BLOG: &str = "[[site]]\nname = 'blog'\nhosts = ['blog.example']\nbackends = ['127.0.0.1:1']\n";

    fn service(name: &str, site: &str, hosts: &str) -> Wanted {
        let labels = [(SITE, site), (HOSTS, hosts), ("ghostpin.port", "80")];
        Wanted {
            id: format!("id-{name}"),
            created: String::new(),
            name: name.to_owned(),
            labels: labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into(),
            candidate: format!("{name}.1.t@10.0.0.1:80").parse().ok(),
            rivals: Vec::new(),
            lost: Vec::new(),
            refused: None,
            unreachable: None,
            moving: false,
        }
    }

    fn sites(config: &Config) -> Vec<&str> {
        config.sites.iter().map(|site| site.name.as_str()).collect()
    }

    #[test]
    fn services_stand_beside_the_sites_of_the_file() {
        let file = file(&format!("[hold]\ntimeout = '3s'\n{BLOG}"));
        let (config, views) = Merge::default().merge(&file, &[service("a", "shop", "shop.example")]);
        assert_eq!(sites(&config), ["blog", "shop"]);
        assert_eq!(config.sites[1].hold.timeout.as_secs(), 3, "the file's defaults hold for them, too");
        assert_eq!(config.sites[1].backends[0].to_string(), "a.1.t@10.0.0.1:80");
        assert_eq!((views[0].site.as_str(), &views[0].problems[..]), ("shop", &[][..]));
        assert_eq!(Config { sites: file.sites.clone(), ..config }, file, "nothing else is changed");
    }

    #[test]
    fn what_somebody_has_already_is_refused_and_all_others_go_on() {
        let wanted = [
            service("a", "blog", "a.example"),
            service("b", "b", "blog.example"),
            service("c", "c", "c.example"),
            service("d", "c", "d.example"),
            service("e", "e", "e.example,c.example"),
            // Nobody has what was refused.
            service("f", "f", "a.example"),
        ];
        let (config, views) = Merge::default().merge(&file(BLOG), &wanted);
        assert_eq!(sites(&config), ["blog", "c", "f"]);
        let told: Vec<&str> =
            views.iter().map(|view| view.problems.first().map_or("", String::as_str)).collect();
        for (told, expected) in told.iter().zip([
            "label ghostpin.site: the site name `blog` already belongs to site `blog` of the file",
            "label ghostpin.hosts: the host `blog.example` already belongs to site `blog` of the file",
            "",
            "label ghostpin.site: the site name `c` already belongs to service `c`, which is older",
            "label ghostpin.hosts: the host `c.example` already belongs to service `c`, which is older",
            "",
        ]) {
            assert!(told.starts_with(expected) && told.is_empty() == expected.is_empty(), "{told}");
        }
    }

    #[test]
    fn a_bad_label_disables_its_service_alone() {
        let mut bad = service("a", "a", "a.example");
        bad.labels.insert("ghostpin.hold.timeout".to_owned(), "5".to_owned());
        let portless = Wanted {
            refused: Some(BadLabel::new("ghostpin.port", "is missing")),
            ..service("b", "b", "b.example")
        };
        let (config, views) =
            Merge::default().merge(&file(BLOG), &[bad, portless, service("c", "c", "c.example")]);
        assert_eq!(sites(&config), ["blog", "c"]);
        assert!(views[0].problems[0].starts_with("label ghostpin.hold.timeout: "), "{:?}", views[0]);
        assert_eq!(views[1].problems, ["label ghostpin.port: is missing"]);
    }

    #[test]
    fn a_service_without_a_task_keeps_its_site() {
        let mut idle = service("a", "a", "a.example");
        idle.candidate = None;
        let (config, _) = Merge::default().merge(&file(""), &[idle]);
        assert_eq!((sites(&config), config.sites[0].backends.len()), (vec!["a"], 0));
    }

    #[test]
    fn what_has_not_changed_is_not_made_again() {
        let (mut merge, file) = (Merge::default(), file(BLOG));
        let mut wanted = [service("a", "a", "a.example"), service("b", "b", "b.example")];
        wanted[0].lost = vec!["a.1.s".to_owned()];
        let (before, _) = merge.merge(&file, &wanted);
        wanted[1].candidate = None;
        let (after, _) = merge.merge(&file, &wanted);
        assert!(Arc::ptr_eq(&before.sites[1], &after.sites[1]));
        assert_eq!(after.sites[1].lost(), ["a.1.s"]);
        assert!(!Arc::ptr_eq(&before.sites[2], &after.sites[2]));
        assert_eq!(after, Merge::default().merge(&file, &wanted).0, "what it remembers changes nothing");
    }

    #[test]
    fn ten_thousand_services_are_merged_in_no_time() {
        let (mut merge, file) = (Merge::default(), file(BLOG));
        let name = |number| format!("s{number}");
        let mut wanted: Vec<Wanted> =
            (0..10_000).map(|n| service(&name(n), &name(n), &format!("{}.example", name(n)))).collect();
        merge.merge(&file, &wanted);
        wanted[5_000].candidate = None;
        let began = std::time::Instant::now();
        let (config, views) = merge.merge(&file, &wanted);
        println!("one of 10,000 services has changed: merged in {:?}", began.elapsed());
        assert_eq!((config.sites.len(), views.len()), (10_001, 10_000));
        assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
    }
}
