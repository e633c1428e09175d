//! The composition root: builds all rooms, binds all sockets, and only then starts. It alone knows every room.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::clock::Clock;
use crate::config::{AdminListen, Config};
use crate::control::reconciler::{self, Message, Parts, Reconciler};
use crate::control::store::{Origin, PinStore};
use crate::control::writer::Writer;
use crate::control::{Applied, Controller};
use crate::core::table::RouteTable;
use crate::gate::HoldBudget;
use crate::observe::logging;
use crate::proxy::{listener, worker};
use crate::published::{Published, Publisher};
use crate::workers::{Order, Workers};

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps ghostpin from starting. Once it runs, nothing does.
pub fn run(path: &Path, adopt: bool) -> Result<()> {
    // Paths in the file are relative to its folder, which must be the same one at every reload.
    let path = &std::path::absolute(path)?;
    let config = Config::load(path)?;
    logging::start(&config.log)?;
    let seed = seed();
    let opened = PinStore::open(&config.server.state, adopt)?;
    let mut store = opened.store;
    let pins = store.read_all()?;
    match &opened.origin {
        Origin::FirstStart => {
            tracing::info!(state = %config.server.state.display(), "first start: a new pin store")
        }
        Origin::Found => tracing::info!(pins = pins.len(), "pins read"),
        Origin::Adopted { set_aside } => tracing::warn!(?set_aside, "the pin store was made anew, as told"),
    }
    let (listeners, addresses) = bind_all(&config)?;
    let admin = crate::admin::bind(&config.admin).context("[admin] listen")?;

    let clock = Clock::start();
    let publisher = Publisher::new(Published {
        routes: RouteTable::build(std::iter::empty())?,
        limits: config.limits,
        trusted_proxies: [].into(),
        balancers: [].into(),
        pages: config.pages.clone(),
        access_log: config.log.access,
    });
    let (orders, for_workers): (Vec<_>, Vec<_>) =
        (0..config.server.threads).map(|_| mpsc::unbounded_channel()).unzip();
    let workers = Workers::new(orders);
    let (controller, messages, received) = reconciler::channel();
    let (reports, reported) = mpsc::unbounded_channel();
    let for_writer = messages.clone();
    let report = move |all| drop(for_writer.send(Message::Committed(all)));
    let (writer, _writing) = Writer::start(store, report).context("starting the pin writer")?;
    let shutdown_timeout = config.server.shutdown_timeout;
    let parts = Parts {
        budget: Arc::new(HoldBudget::new(config.hold_total.max_requests)),
        config: config.clone(),
        pins,
        first_epoch: opened.first_epoch,
        writer,
        workers: workers.clone(),
        publisher,
        clock: clock.clone(),
        reports,
        seed,
    };
    let reload = Reload::new(path, controller.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let reader = parts.publisher.reader();
    let handles = local.block_on(&runtime, async {
        let reconciler = Reconciler::new(parts, messages);
        // The route table is published: from here on, every host is known that is going to be.
        let common = worker::Common { clock, reader: reader.clone(), census: Arc::default(), seed };
        let mut handles = Vec::new();
        for (number, (listeners, orders)) in listeners.into_iter().zip(for_workers).enumerate() {
            let handle = worker::spawn(number, listeners, orders, common.clone());
            handles.push(handle.context("starting a worker thread")?);
        }
        let context = crate::admin::Context {
            reload: reload.clone(),
            listening: addresses.as_slice().into(),
            metrics: handles.iter().map(|handle| handle.metrics.clone()).collect(),
            reader,
            guard: crate::admin::Guard {
                token: config.admin.token.clone(),
                listen: config.admin.listen.clone(),
            },
        };
        crate::admin::spawn(admin, context).context("starting the admin thread")?;
        tokio::task::spawn_local(reconciler.run(received, reported));
        for address in &addresses {
            tracing::info!(%address, "listening");
        }
        until_stopped(reload).await?;
        anyhow::Ok(handles)
    })?;
    workers.tell(Order::Stop(shutdown_timeout));
    handles.into_iter().for_each(worker::Handle::join);
    if let AdminListen::Unix(path) = &config.admin.listen {
        // Left behind, it would look as if somebody listened.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Reloads at each SIGHUP, and returns at SIGTERM or SIGINT.
async fn until_stopped(reload: Reload) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
            _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
            _ = hangup.recv() => {
                let _ = reload.reload().await;
                continue;
            }
        }
        return Ok(());
    }
}

/// Reads the configuration again and puts it in force.
#[derive(Clone, Debug)]
pub struct Reload {
    path: PathBuf,
    /// The way to the reconciler.
    pub controller: Controller,
}

impl Reload {
    /// From this file, named from the root, to the reconciler at the other end.
    pub fn new(path: &Path, controller: Controller) -> Self {
        Self { path: path.to_owned(), controller }
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
        match tokio::task::spawn_blocking(move || Config::load(&path)).await {
            Ok(loaded) => loaded.map_err(|errors| errors.to_string()),
            Err(panicked) => Err(panicked.to_string()),
        }
    }

    /// Does it. The error says what is wrong with the new one, by file, line and key; then the old one stays.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn reload(&self) -> Result<Applied, String> {
        let applied = match self.read().await {
            Ok(config) => self.controller.apply(config).await,
            Err(why) => {
                self.controller.refused_update(why.clone());
                Err(why)
            }
        };
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

/// For each worker its listeners; and the addresses that they listen on.
fn bind_all(config: &Config) -> Result<(Vec<Vec<TcpListener>>, Vec<SocketAddr>)> {
    let mut workers: Vec<Vec<TcpListener>> = Vec::new();
    workers.resize_with(config.server.threads, Vec::new);
    let mut addresses = Vec::new();
    for address in &config.listen.http {
        let bound = listener::bind(*address, config.server.threads)
            .with_context(|| format!("[listen] http: can't listen on {address}"))?;
        addresses.push(bound[0].local_addr()?);
        for (worker, listener) in workers.iter_mut().zip(bound) {
            worker.push(listener);
        }
    }
    Ok((workers, addresses))
}

/// Different in each life of the process. Only jitter and names hang on it, no secret.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(thread::current().id())
}
