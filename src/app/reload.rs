//! A reload: the file is read again, checked whole, and put in force by all that it concerns; or by nobody.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::aside::aside;
use super::certificates::sources;
use super::kept;
use super::provided::Composed;
use crate::acme;
use crate::certs::Certificates;
use crate::config::{Config, Loaded};
use crate::control::{Applied, Controller};
use crate::core::swarm::Wanted;
use crate::provider::merge::ServiceView;
use crate::published::Reader;

/// Reads the configuration again and puts it in force.
#[derive(Clone, Debug)]
pub struct Reload {
    path: PathBuf,
    /// The state folder of this process, if it has one. What the file says of it now is for the next one.
    state: Option<PathBuf>,
    /// The certificates, where there is TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// The way to the reconciler.
    pub controller: Controller,
    /// Who orders certificates, and what tells which names are served.
    names: Option<(acme::Authority, Reader)>,
    /// What the file and the providers want. Held by whoever puts it in force, so that each sees what the other said last.
    composed: Arc<tokio::sync::Mutex<Composed>>,
    /// What became of the providers' services.
    services: Arc<Mutex<Arc<[ServiceView]>>>,
}

impl Reload {
    /// From this file, named from the root, to the reconciler at the other end.
    pub fn new(path: &Path, controller: Controller, certificates: Option<Arc<Certificates>>) -> Self {
        let (composed, services) = (Arc::default(), Arc::new(Mutex::new([].into())));
        let path = path.to_owned();
        Self { path, state: None, certificates, controller, names: None, composed, services }
    }

    /// This is in force from the start on, and what providers may add to.
    pub(super) fn serving(self, composed: Composed, views: &[ServiceView]) -> Self {
        let state = composed.file.as_ref().map(|file| file.config.server.state.clone());
        self.now_stand(views);
        let composed = Arc::new(tokio::sync::Mutex::new(composed));
        Self { state, composed, ..self }
    }

    /// Tells who orders certificates which names are served after each reload.
    pub(super) fn telling(self, names: Option<(acme::Authority, Reader)>) -> Self {
        Self { names, ..self }
    }

    /// Does so now, from what is published: whoever comes last tells the newest.
    pub(super) fn tell_names(&self) {
        let Some((authority, reader)) = &self.names else { return };
        let published = reader.clone().load().clone();
        let hosts = published.routes.sites().flat_map(|site| &site.config.hosts).map(|host| &**host);
        let (wildcards, exact): (Vec<&str>, Vec<&str>) = hosts.partition(|host| host.starts_with("*."));
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

    /// What became of the providers' services, those first that were created first.
    pub fn services(&self) -> Arc<[ServiceView]> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a reload would put in force now: the file, read again, with what providers have brought.
    ///
    /// # Errors
    /// What is wrong with it, by file, line and key.
    pub async fn wanted(&self) -> Result<Config, String> {
        let before = self.composed.lock().await.file.clone();
        let file = self.read(before).await?;
        let Composed { wanted, merge, .. } = &mut *self.composed.lock().await;
        Ok(merge.merge(&file.config, wanted).0)
    }

    /// From now on, these services are wanted.
    ///
    /// # Errors
    /// Why nothing was put in force.
    pub(super) async fn provide(&self, services: Vec<Wanted>) -> Result<Vec<ServiceView>, String> {
        let mut composed = self.composed.lock().await;
        let Composed { file, wanted, merge, .. } = &mut *composed;
        let file = file.as_ref().ok_or("the file is not known")?;
        let (config, views) = merge.merge(&file.config, &services);
        let applied = self.controller.provide(config).await?;
        *wanted = services;
        self.now_stand(&views);
        if !(applied.added.is_empty() && applied.removed.is_empty() && applied.changed.is_empty()) {
            self.tell_names();
        }
        Ok(views)
    }

    fn now_stand(&self, views: &[ServiceView]) {
        *self.services.lock().unwrap_or_else(PoisonError::into_inner) = views.into();
    }

    /// Reads what of the file is not as it was before, and leaves it at that.
    async fn read(&self, before: Option<Arc<Loaded>>) -> Result<Arc<Loaded>, String> {
        let path = self.path.clone();
        let read = aside(move || Loaded::load(&path, before.as_deref())).await?;
        read.map(Arc::new).map_err(|errors| errors.to_string())
    }

    /// Puts it in force: all of it, or nothing.
    async fn apply(&self, config: Config) -> Result<Applied, String> {
        let Some(certificates) = self.certificates.clone() else {
            return self.controller.apply(config).await;
        };
        let sources = sources(&config);
        let survey = blocking(move || sources.survey()).await?;
        let survey = survey.inspect_err(|why| self.controller.refused_update(why.clone()))?;
        let applied = self.controller.apply(config).await?;
        if applied.waits.is_some() {
            return Ok(applied);
        }
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
        let mut composed = self.composed.lock().await;
        let read = self.read(composed.file.clone()).await;
        self.put_in_force(&mut composed, read).await
    }

    /// The file that has waited for the canary may be put in force.
    fn go_on(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut composed = self.composed.lock().await;
            if let Some(read) = composed.untried.take() {
                // What becomes of it is logged.
                drop(self.put_in_force(&mut composed, Ok(read)).await);
            }
        })
    }

    async fn put_in_force(
        &self,
        composed: &mut Composed,
        read: Result<Arc<Loaded>, String>,
    ) -> Result<Applied, String> {
        let Composed { file, untried, wanted, merge } = composed;
        let applied = match read {
            Ok(read) => {
                let (config, views) = merge.merge(&read.config, wanted);
                let applied = self.apply(config).await;
                *untried = None;
                if applied.as_ref().is_ok_and(|applied| applied.waits.is_some()) {
                    *untried = Some(read);
                    let (good, this) = (self.controller.clone(), self.clone());
                    tokio::spawn(async move {
                        if good.until_good().await {
                            this.go_on().await;
                        }
                    });
                } else if applied.is_ok() {
                    let before = file.replace(read);
                    // A million sites are not let go of in no time.
                    drop(aside(move || drop(before)));
                    self.now_stand(&views);
                }
                applied
            }
            Err(why) => {
                self.controller.refused_update(why.clone());
                Err(why)
            }
        };
        if self.controller.is_over()
            && let Err(why) = &applied
        {
            // It is not the file's fault, and who serves next reads it again.
            tracing::info!(why, "the configuration is not reloaded by this process");
            return applied;
        }
        match (&applied, &self.state) {
            (Ok(Applied { waits: Some(_), .. }), _) => {}
            (Ok(_), _) => self.tell_names(),
            (Err(why), Some(state)) => match kept::keep(state, &self.path, why) {
                Ok(copy) => tracing::info!(copy = %copy.display(), "what was refused is kept"),
                Err(error) => tracing::warn!(%error, "what was refused can't be kept"),
            },
            (Err(_), None) => {}
        }
        match &applied {
            Ok(Applied { waits: Some(why), .. }) => {
                tracing::warn!(why, "the new configuration waits: the old one stays")
            }
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
