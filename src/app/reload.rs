//! A reload: the file is read again, checked whole, and put in force by all that it concerns; or by nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::certificates::sources;
use crate::acme;
use crate::certs::Certificates;
use crate::config::Config;
use crate::control::{Applied, Controller};
use crate::published::Reader;

/// Reads the configuration again and puts it in force.
#[derive(Clone, Debug)]
pub struct Reload {
    path: PathBuf,
    /// The certificates, where there is TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// The way to the reconciler.
    pub controller: Controller,
    /// Who orders certificates, and what tells which names are served.
    names: Option<(acme::Authority, Reader)>,
}

impl Reload {
    /// From this file, named from the root, to the reconciler at the other end.
    pub fn new(path: &Path, controller: Controller, certificates: Option<Arc<Certificates>>) -> Self {
        Self { path: path.to_owned(), certificates, controller, names: None }
    }

    /// Tells who orders certificates which names are served after each reload.
    pub(super) fn telling(self, names: Option<(acme::Authority, Reader)>) -> Self {
        Self { names, ..self }
    }

    /// Does so now, from what is published: whoever comes last tells the newest.
    pub(super) fn tell_names(&self) {
        let Some((authority, reader)) = &self.names else { return };
        let published = reader.clone().load().clone();
        let hosts = published.routes.sites().iter().flat_map(|site| &site.config.hosts);
        let (wildcards, exact): (Vec<&String>, Vec<&String>) = hosts.partition(|host| host.starts_with("*."));
        authority.names_changed(exact, wildcards);
    }

    /// Who orders certificates, if somebody does.
    pub fn authority(&self) -> Option<&acme::Authority> {
        self.names.as_ref().map(|(authority, _)| authority)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, and leaves it at that.
    ///
    /// # Errors
    /// What is wrong with it, by file, line and key.
    pub async fn read(&self) -> Result<Config, String> {
        let path = self.path.clone();
        // Reading thousands of files takes a while, and nobody waits for it here.
        blocking(move || Config::load(&path)).await?.map_err(|errors| errors.to_string())
    }

    /// Puts it in force: all of it, or nothing.
    async fn apply(&self, config: Config) -> Result<Applied, String> {
        let Some(certificates) = self.certificates.clone() else {
            return self.controller.apply(config).await;
        };
        let sources = sources(&config);
        let survey = blocking(move || sources.survey()).await??;
        let applied = self.controller.apply(config).await?;
        let reloaded = blocking(move || certificates.reload(survey)).await?;
        tracing::info!(
            read = reloaded.read,
            removed = reloaded.removed,
            problems = reloaded.problems,
            "the certificates were reloaded"
        );
        Ok(applied)
    }

    /// Does it. The error says what is wrong with the new one, by file, line and key; then the old one stays.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn reload(&self) -> Result<Applied, String> {
        let applied = match self.read().await {
            Ok(config) => self.apply(config).await,
            Err(why) => {
                self.controller.refused_update(why.clone());
                Err(why)
            }
        };
        if applied.is_ok() {
            self.tell_names();
        }
        match &applied {
            Ok(applied) => tracing::info!(
                added = applied.added.len(),
                removed = applied.removed.len(),
                changed = applied.changed.len(),
                unchanged = applied.unchanged,
                needs_restart = ?applied.needs_restart,
                "the configuration was reloaded"
            ),
            Err(why) => tracing::error!(why, "the new configuration was refused: the old one stays"),
        }
        applied
    }
}

/// Does what takes a while, on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|panicked| panicked.to_string())
}
