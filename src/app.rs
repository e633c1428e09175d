//! The composition root: builds all rooms, binds all sockets, and only then starts. It alone knows every room.

mod aside;
mod certificates;
mod fleet;
mod provided;
mod reload;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::acme;
use crate::clock::Clock;
use crate::config::{Config, Listen, ListenAddress, Loaded};
use crate::control::outside::System;
use crate::control::reconciler::{self, Message, Parts, Reconciler};
use crate::control::store::{Origin, PinStore};
use crate::control::writer::Writer;
use crate::gate::HoldBudget;
use crate::observe::logging;
use crate::provider::swarm;
use crate::proxy::listener::{self, Kind, Listener};
use crate::proxy::tls::{self, Tls};
use crate::proxy::worker;
use crate::published::{Published, Publisher};
use crate::workers::{Order, Workers};
pub use reload::Reload;

/// Of the time that a stop may take, the part for which held requests still wait. What is left is for their answers.
const HELD_PART: f64 = 0.9;

/// Memory is to be had by the page of 4 KiB. The allocator asks for huge ones, and each is filled with zeros by whoever
/// touches it first, with all that its thread serves waiting for that.
fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay allowed");
    }
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps ghostpin from starting. Once it runs, nothing does.
pub fn run(path: &Path, adopt: bool) -> Result<()> {
    // Paths in the file are relative to its folder, which must be the same one at every reload.
    let path = &std::path::absolute(path)?;
    let loaded = Loaded::load(path, None)?;
    let mut config = loaded.config.clone();
    logging::start(&config.log)?;
    take_small_pages();
    // Each client's connection may want one to a backend.
    crate::net::prepare_for_files(2 * config.limits.max_connections).context("preparing for connections")?;
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
    let certificates = certificates::open(&config)?;
    let (listeners, addresses) = bind_all(&config)?;
    let admin = crate::admin::bind(&config.admin).context("[admin] listen")?;

    let detour = fleet::detour(&config, &addresses)?;
    let clock = Clock::start();
    let publisher = Publisher::new(Published::without_sites(&config));
    let (orders, for_workers): (Vec<_>, Vec<_>) =
        (0..config.server.threads).map(|_| mpsc::unbounded_channel()).unzip();
    let workers = Workers::new(orders);
    let (controller, messages, received) = reconciler::channel();
    let (reports, reported) = mpsc::unbounded_channel();
    let for_writer = messages.clone();
    let report = move |all| drop(for_writer.send(Message::Committed(all)));
    let (writer, _writing) = Writer::start(store, report).context("starting the pin writer")?;
    let (shutdown_delay, shutdown_timeout) = (config.server.shutdown_delay, config.server.shutdown_timeout);
    let stopping = Arc::new(AtomicBool::new(false));
    // Other edges are there for who comes again; alone, there is only this process until the next one is there.
    let held = if config.cluster.is_some() { Duration::ZERO } else { shutdown_timeout.mul_f64(HELD_PART) };
    let pinned = pins.iter().map(|(site, pin)| (site.to_string(), pin.backend.clone())).collect();
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
        outside: Rc::new(System::start().context("starting the thread that asks backends")?),
        seed,
        fleet: fleet::join(&config, detour.clone(), messages.clone())?,
    };
    // Who serves them has them. Kept here as well, a site that a reload replaces would stay in memory for ever.
    config.sites = Vec::new();
    let public_port = config.tls.public_port.unwrap_or_else(|| first_port(&config, &addresses));
    let challenges = acme::Challenges::default();
    let authority = certificates::order(&config, certificates.as_ref(), &challenges, seed)?;
    let ordering = config.acme.as_ref().zip(authority.clone()).map(|(acme, authority)| tls::Ordering {
        authority,
        challenges: challenges.clone(),
        wait: acme.wait,
    });
    let tls = certificates.clone().map(|certificates| Tls::new(certificates, ordering, public_port));
    let tls = tls.transpose().context("preparing TLS")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let reader = parts.publisher.reader();
    local.block_on(&runtime, async {
        let reconciler = Reconciler::new(parts, messages);
        // The route table is published: from here on, every host is known that is going to be.
        let reload = Reload::new(path, controller.clone(), certificates)
            .telling(authority.map(|one| (one, reader.clone())))
            .serving(loaded);
        reload.tell_names();
        let common = worker::Common {
            clock,
            reader: reader.clone(),
            census: Arc::default(),
            tls,
            challenges,
            detour: detour.map(|detour| detour.token),
            seed,
        };
        let mut handles = Vec::new();
        for (number, (listeners, orders)) in listeners.into_iter().zip(for_workers).enumerate() {
            let handle = worker::spawn(number, listeners, orders, common.clone());
            handles.push(handle.context("starting a worker thread")?);
        }
        let watching = config.swarm.clone().map(|watched| {
            let sites = provided::Provided { reload: reload.clone(), reader: reader.clone() };
            swarm::start(swarm::Parts { config: watched, state: config.server.state.clone(), pinned }, sites)
        });
        let swarm = watching.transpose().context("starting the thread for [provider.swarm]")?;
        let context = crate::admin::Context {
            reload: reload.clone(),
            listening: addresses.as_slice().into(),
            metrics: handles.iter().map(|handle| handle.metrics.clone()).collect(),
            reader: reader.clone(),
            swarm: swarm.clone(),
            guard: crate::admin::Guard {
                token: config.admin.token.clone(),
                listen: config.admin.listen.clone(),
            },
            stopping: stopping.clone(),
        };
        crate::admin::spawn(admin, context).context("starting the admin thread")?;
        tokio::task::spawn_local(reconciler.run(received, reported));
        for address in &addresses {
            tracing::info!(%address, "listening");
        }
        until_stopped(reload.clone()).await?;
        stopping.store(true, Ordering::Relaxed);
        // Readers still come until the balancer has noticed. Who asks again doesn't want to wait for it.
        tokio::select! {
            () = tokio::time::sleep(shutdown_delay) => {}
            asked = until_stopped(reload) => asked?,
        }
        workers.tell(Order::Stop { timeout: shutdown_timeout, held });
        // Gates are opened as ever meanwhile: who waits at one is answered.
        let ended = move || handles.into_iter().for_each(worker::Handle::join);
        tokio::task::spawn_blocking(ended).await?;
        anyhow::Ok(())
    })?;
    for address in addresses.iter().chain([&config.admin.listen]) {
        if let ListenAddress::Unix(path) = address {
            // Left behind, it would look as if somebody listened.
            let _ = std::fs::remove_file(path);
        }
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

/// For each worker its listeners; and the addresses that they listen on.
fn bind_all(config: &Config) -> Result<(Vec<Vec<Listener>>, Vec<ListenAddress>)> {
    let mut workers: Vec<Vec<Listener>> = Vec::new();
    workers.resize_with(config.server.threads, Vec::new);
    let mut addresses: Vec<ListenAddress> = Vec::new();
    let Listen { http, https, edges, .. } = &config.listen;
    for (key, list, kind) in [
        ("[listen] http", http.as_slice(), Kind::Http),
        ("[listen] https", https.as_slice(), Kind::Https),
        ("[cluster] detour", edges.as_slice(), Kind::Edges),
    ] {
        for listener in list {
            let address = &listener.address;
            let (address, bound) = listener::bind(address, config.server.threads)
                .with_context(|| format!("{key}: can't listen on {address}"))?;
            let number = addresses.len();
            addresses.push(address);
            for (worker, bound) in workers.iter_mut().zip(bound) {
                worker.push(Listener { bound, number, kind });
            }
        }
    }
    Ok((workers, addresses))
}

/// The port of the first listener of TLS; that of its default, if there is none.
fn first_port(config: &Config, addresses: &[ListenAddress]) -> u16 {
    let port = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    };
    let Listen { http, https, .. } = &config.listen;
    addresses[http.len()..][..https.len()].iter().find_map(port).unwrap_or(443)
}

/// Different in each life of the process. Only jitter and names hang on it, no secret.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(thread::current().id())
}
