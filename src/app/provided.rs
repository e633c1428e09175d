//! The file's sites and those of providers, put in force as one configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reload::Reload;
use crate::config::{Config, Loaded};
use crate::core::SiteName;
use crate::core::swarm::Wanted;
use crate::provider::Sites;
use crate::provider::merge::{Merge, ServiceView};
use crate::published::Reader;

/// What both have said last. Who changes one of them puts it in force with the other.
#[derive(Debug, Default)]
pub(super) struct Composed {
    /// The file, as it was read last; `None` if nothing may be added to it.
    pub(super) file: Option<Arc<Loaded>>,
    /// The file that waits for the canary of the fleet.
    pub(super) untried: Option<Arc<Loaded>>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) merge: Merge,
}

impl Composed {
    /// What is served from the start on: the file's sites, and those of the services that were there the last time. Their
    /// readers come before their provider has been asked.
    pub(super) fn begun(file: Loaded, recalled: Vec<Wanted>) -> (Self, Config, Vec<ServiceView>) {
        let mut merge = Merge::default();
        let (config, views) = merge.merge(&file.config, &recalled);
        (Self { file: Some(Arc::new(file)), untried: None, wanted: recalled, merge }, config, views)
    }
}

/// A provider's way in.
pub(super) struct Provided {
    pub(super) reload: Reload,
    pub(super) reader: Reader,
}

impl Sites for Provided {
    async fn provide(&self, wanted: Vec<Wanted>) -> Result<Vec<ServiceView>, String> {
        self.reload.provide(wanted).await
    }

    fn note(&self, site: &str, kind: &'static str, note: String) {
        self.reload.controller.note(SiteName::from(site), kind, note);
    }

    fn is_waited_for(&mut self, sites: &BTreeSet<String>) -> bool {
        let published = self.reader.load();
        published
            .routes
            .sites()
            .any(|site| !site.gate.is_open() && site.gate.held() > 0 && sites.contains(site.name().as_str()))
    }
}
