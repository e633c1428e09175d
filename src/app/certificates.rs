//! Where the configuration says that certificates come from: files, and an authority that is asked for them.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::acme;
use crate::certs::{Certificates, Place, Sources};
use crate::config::{self, Config};
use crate::tenure::Tenure;

/// The certificates that are shown, if any listener needs them.
pub(super) fn open(config: &Config) -> Result<Option<Arc<Certificates>>> {
    if config.listen.https.is_empty() {
        return Ok(None);
    }
    // From now on there are private keys in memory, and memory must not get into files.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("keeping private keys out of core dumps")?;
    let survey = sources(config).survey().map_err(anyhow::Error::msg)?;
    Ok(Some(Certificates::open(survey)))
}

/// Where they are.
pub(super) fn sources(config: &Config) -> Sources {
    let of_site = |site: &Arc<config::Site>| {
        let files = site.certificate.clone()?;
        let hosts = site.hosts.iter().map(|host| host.to_string()).collect();
        Some(Place::of_site(site.name.as_str().into(), hosts, files.certificate, files.key))
    };
    Sources {
        folder: config.tls.certificates.clone(),
        acme: config.acme.as_ref().map(|_| acme::certificates_in(&config.server.state)),
        sites: config.sites.iter().filter_map(of_site).collect(),
    }
}

/// Starts who orders them, if the configuration says where. What is ordered is shown at once.
pub(super) fn order(
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
    challenges: &acme::Challenges,
    seed: u64,
    tenure: Tenure,
) -> Result<Option<acme::Authority>> {
    let Some(acme) = config.acme.clone() else { return Ok(None) };
    let certificates = certificates.cloned();
    let parts = acme::Parts {
        config: acme,
        state: config.server.state.clone(),
        challenges: challenges.clone(),
        installed: Arc::new(move |name, path| {
            tracing::info!(name, path = %path.display(), "a certificate was issued");
            // What is wrong with it was logged, and is listed.
            let _ = certificates.as_ref().map(|all| all.take(Place::acme(path.to_owned())));
        }),
        seed,
    };
    acme::start(parts, tenure).map(Some).context("[acme]")
}
