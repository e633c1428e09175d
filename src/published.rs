//! The route table that requests read and the reconciler writes: one pointer, swapped whole.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;

use crate::config;
use crate::core::SiteName;
use crate::core::table::{Hosted, RouteTable};
use crate::gate::Gate;

/// What a request needs to know of its site. Everything but the gate changes only by publishing a new one.
#[derive(Debug)]
pub struct PublishedSite {
    /// Its gate: the same one over all reloads.
    pub gate: Arc<Gate>,
    /// Its configuration.
    pub config: Arc<config::Site>,
}

impl PublishedSite {
    /// Its name.
    pub fn name(&self) -> &SiteName {
        &self.config.name
    }
}

impl Hosted for Arc<PublishedSite> {
    fn name(&self) -> &SiteName {
        &self.config.name
    }

    fn hosts(&self) -> &[Box<str>] {
        &self.config.hosts
    }
}

/// The route table in force, and the settings that requests are served by.
#[derive(Debug)]
pub struct Published {
    /// Host to site.
    pub routes: RouteTable<Arc<PublishedSite>>,
    /// What connections are served by, by the number of their listener.
    pub listeners: Arc<[config::ListenerSettings]>,
    /// Peers that are believed.
    pub trusted_proxies: Arc<[ipnet::IpNet]>,
    /// Replaced pages.
    pub pages: config::Pages,
    /// How many of the requests that are like nearly all others leave a line; `None` if no request does.
    pub access_log: Option<config::Share>,
}

impl Published {
    /// What a process begins with: all that is configured, and no site.
    pub fn without_sites(config: &config::Config) -> Self {
        Self::new(RouteTable::default(), config)
    }

    /// These sites, and all else that is configured.
    pub fn new(routes: RouteTable<Arc<PublishedSite>>, config: &config::Config) -> Self {
        Self {
            routes,
            listeners: Self::settings(&config.listen),
            trusted_proxies: config.server.trusted_proxies.as_slice().into(),
            pages: config.pages.clone(),
            access_log: config.log.access.then_some(config.log.access_share),
        }
    }

    /// The settings of all listeners, for [`Published::listeners`].
    pub fn settings(listen: &config::Listen) -> Arc<[config::ListenerSettings]> {
        listen.all().map(|listener| listener.settings.clone()).collect()
    }
}

/// The writing end: held by the reconciler alone.
#[derive(Debug)]
pub struct Publisher(Arc<ArcSwap<Published>>);

/// A reading end. Each worker has its own: reading is a look at a pointer that seldom changes.
#[derive(Debug, Clone)]
pub struct Reader(Cache<Arc<ArcSwap<Published>>, Arc<Published>>);

impl Publisher {
    /// Begins with this.
    pub fn new(first: Published) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// From the next request on, this holds.
    pub fn publish(&self, next: Published) {
        self.0.store(Arc::new(next));
    }

    /// What holds now.
    pub fn current(&self) -> Arc<Published> {
        self.0.load_full()
    }

    /// A new reading end.
    pub fn reader(&self) -> Reader {
        Reader(Cache::new(self.0.clone()))
    }
}

impl Reader {
    /// What holds now.
    pub fn load(&mut self) -> &Arc<Published> {
        self.0.load()
    }
}
