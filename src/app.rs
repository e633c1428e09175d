//! The composition root: builds all rooms, binds all sockets, and only then starts. It alone knows every room.

mod account;
mod aside;
mod certificates;
mod doors;
mod fleet;
mod heir;
mod kept;
mod provided;
mod reload;
mod signals;
mod upgrade;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, timeout, timeout_at};

use crate::acme;
use crate::certs::Certificates;
use crate::clock::Clock;
use crate::config::{Config, Listen, ListenAddress, Loaded};
use crate::control::outside::System;
use crate::control::reconciler::{self, ElderParts, Message, Parts, Reconciler};
use crate::control::store::{Opened, Origin, PinStore};
use crate::control::writer::Writer;
use crate::gate::HoldBudget;
use crate::notify::{self, Told};
use crate::observe::access::AccessLog;
use crate::observe::logging::{self, Ending, Logs};
use crate::observe::otlp::{self, Traced};
use crate::observe::trace::Tracer;
use crate::provider::swarm;
use crate::proxy::tls::{self, Tls};
use crate::proxy::worker;
use crate::published::{Published, Publisher};
use crate::tenure::Tenures;
use crate::upgrade::heir::Elder;
use crate::upgrade::leftover::{Leftover, NoLock};
use crate::upgrade::program::own_program;
use crate::upgrade::request;
use crate::upgrade::{OfStore, ToElder, ToHeir};
use crate::watchdog;
use crate::workers::{Order, Workers};
use account::Teller;
use doors::{Doors, Inherited};
use heir::Before;
use provided::Composed;
pub use reload::Reload;
use signals::Signals;
use upgrade::{Succeeded, Upgrades};

/// Once nobody decides about pins any more, what a reader is told that it may come again may take so long to be written.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Of an operator who has connected just before another process took over the question may still be on its way for so long.
const LAST_QUESTIONS: Duration = Duration::from_secs(1);

/// Of the time that a stop may take, the part for which held requests still wait. What is left is for their answers.
const HELD_PART: f64 = 0.9;

/// Memory is to be had by the page of 4 KiB. The allocator asks for huge ones, and each is filled with zeros by whoever
/// touches it first, with all that its thread serves waiting for that.
fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay allowed");
    }
}

/// Runs until a signal ends it, or another process has taken over.
///
/// # Errors
/// What keeps ghostpin from starting. Once it runs, nothing does.
pub fn run(path: &Path, adopt: bool) -> Result<()> {
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let prepared = Prepared::new(path)?;
        // Of an edge that was upgraded the fleet's store knows.
        if prepared.config.cluster.is_none() {
            until_nobody_is_left(&prepared.config).await.context("[server] state")?;
        }
        // Not before: whoever is upgraded just now has closed its store for a moment, and would never have it again.
        let opened = PinStore::open(&prepared.config.server.state, adopt)?;
        let doors = Doors::open(&prepared.config, &mut Inherited::of_systemd(&prepared.config))?;
        // Who comes from now on waits for what is read first, and is not refused.
        doors.listen()?;
        prepared.serve(doors, opened, None).await
    })
}

/// Returns when no process has requests that was upgraded before it could be told that its heir has died.
async fn until_nobody_is_left(config: &Config) -> Result<(), NoLock> {
    let none = Leftover::until_none(&config.server.state, Duration::ZERO).await;
    if !matches!(none, Err(NoLock::Taken)) {
        return none;
    }
    tracing::warn!(
        "a process that was upgraded before still has requests, or one is being upgraded: this one waits for the end of that"
    );
    Leftover::until_none(&config.server.state, config.server.shutdown_timeout + LAST_ANSWERS).await
}

/// The same, in the place of the process that has started this one for that.
///
/// # Errors
/// Why this process can't take over. The other one goes on then.
pub fn run_as_heir(path: &Path) -> Result<()> {
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let mut elder = Elder::found()?;
        match heir::take_over(path, &mut elder).await {
            Ok((prepared, doors, opened, before)) => {
                prepared.serve(doors, opened, Some((elder, before))).await
            }
            Err(error) => {
                elder.fail(format!("{error:#}")).await;
                Err(error)
            }
        }
    })
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// All that can be had before the pins are: the configuration, and what is read and started because of it.
struct Prepared {
    path: PathBuf,
    program: PathBuf,
    loaded: Loaded,
    config: Config,
    certificates: Option<Arc<Certificates>>,
    outside: Rc<System>,
    logs: Logs,
    /// What was logged is written when this is dropped.
    ending: Ending,
    access: AccessLog,
    tracer: Tracer,
    traced: Traced,
}

impl Prepared {
    fn new(path: &Path) -> Result<Self> {
        // Before whatever lies there is replaced by what it is to be upgraded to.
        let program = own_program();
        // Paths in the file are relative to its folder, which must be the same one at every reload.
        let path = std::path::absolute(path)?;
        let loaded = Loaded::load(&path, None)?;
        let config = loaded.config.clone();
        let (logs, access) = logging::start(&config.log)?;
        let ending = logs.ending();
        let (tracer, traced) =
            otlp::start(config.traces.as_ref()).map_err(anyhow::Error::msg).context("[traces] endpoint")?;
        take_small_pages();
        // Each client's connection may want one to a backend.
        crate::net::prepare_for_files(2 * config.limits.max_connections)
            .context("preparing for connections")?;
        let certificates = certificates::open(&config)?;
        let outside = Rc::new(System::start().context("starting the thread that asks backends")?);
        Ok(Self {
            path,
            program,
            loaded,
            config,
            certificates,
            outside,
            logs,
            ending,
            access,
            tracer,
            traced,
        })
    }

    /// Serves until the end. Beside an elder, from the moment that it is told so.
    async fn serve(self, mut doors: Doors, opened: Opened, before: Option<(Elder, Before)>) -> Result<()> {
        let Self { path, program, loaded, config, certificates, outside, logs, access, .. } = self;
        let Self { tracer, traced, ending: _ending, .. } = self;
        let seed = seed();
        let mut store = opened.store;
        let of_store = OfStore { state: config.server.state.display().to_string(), folder: store.folder() };
        let pins = store.read_all()?;
        match &opened.origin {
            Origin::FirstStart => {
                tracing::info!(state = %config.server.state.display(), "first start: a new pin store")
            }
            Origin::Found => tracing::info!(pins = pins.len(), "pins read"),
            Origin::Adopted { set_aside } => {
                tracing::warn!(?set_aside, "the pin store was made anew, as told")
            }
        }
        let pinned = pins.iter().map(|(site, pin)| (site.to_string(), pin.backend.clone())).collect();
        let recalled = config.swarm.is_some().then(|| swarm::recalled(&config.server.state, &pinned));
        let recalled = recalled.unwrap_or_default();
        let (composed, mut config, services) = Composed::begun(loaded, recalled.clone());
        if before.is_none() {
            doors.open_to_requests(&config, &mut Inherited::default());
        }
        let (addresses, listeners) = (doors.addresses(), doors.for_workers(config.server.threads)?);
        let admin = doors.admin()?;
        let token = before.as_ref().and_then(|(_, before)| before.fleet.as_ref()?.token.clone());
        let detour = fleet::detour(&config, &addresses, token)?;
        let handed_on = fleet::handed_on(&config, detour.as_ref());
        let clock = Clock::start();
        let publisher = Publisher::new(Published::without_sites(&config));
        let (orders, for_workers): (Vec<_>, Vec<_>) =
            (0..config.server.threads).map(|_| mpsc::unbounded_channel()).unzip();
        let workers = Workers::new(orders);
        let (controller, messages, received) = reconciler::channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let for_writer = messages.clone();
        let report = move |all| drop(for_writer.send(Message::Committed(all)));
        let writer = Writer::start(store, report).context("starting the pin writer")?;
        let server = config.server.clone();
        let stopping = Arc::new(AtomicBool::new(false));
        // Other edges are there for who comes again; alone, there is only this process until the next one is there.
        let held = server.shutdown_timeout.mul_f64(HELD_PART);
        let held_at_stop = if config.cluster.is_some() { Duration::ZERO } else { held };
        let tenures = Rc::new(if before.is_some() { Tenures::waiting() } else { Tenures::begun() });
        let begin = tenures.clone();
        let for_elder = before.as_ref().map(|(elder, _)| elder.mouth.clone());
        // An edge of a fleet is no less one because another process was there before it: only the store says what it does.
        let (elder, edge_before) = match before {
            Some((elder, _)) if config.cluster.is_some() => (None, Some(elder)),
            other => (other, None),
        };
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
            outside,
            seed,
            fleet: fleet::join(&config, detour.clone(), messages.clone())?,
            elder: elder.map(|(Elder { mouth, ear }, before)| ElderParts {
                mouth,
                ear,
                unsettled: before.unsettled,
                rested: Box::new(move || begin.begin()),
            }),
        };
        // Who serves them has them. Kept here as well, a site that a reload replaces would stay in memory for ever.
        config.sites = Vec::new();
        let public_port = config.tls.public_port.unwrap_or_else(|| first_port(&config, &addresses));
        let challenges = acme::Challenges::default();
        let authority =
            certificates::order(&config, certificates.as_ref(), &challenges, seed, tenures.one())?;
        let ordering = config.acme.as_ref().zip(authority.clone()).map(|(acme, authority)| tls::Ordering {
            authority,
            challenges: challenges.clone(),
            wait: acme.wait,
        });
        let tls = certificates.clone().map(|certificates| Tls::new(certificates, ordering, public_port));
        let tls = tls.transpose().context("preparing TLS")?;
        let reader = parts.publisher.reader();
        let counted: Vec<_> = (0..server.threads).map(|_| worker::metrics()).collect();
        let reconciler = Reconciler::new(parts, messages).counting(counted.iter().cloned());
        let mut waits = Some(reconciler.run(received, reported));
        // A fleet is to be joined first.
        let deciding = waits.take_if(|_| config.cluster.is_some()).map(tokio::task::spawn_local);
        if let Some(mut elder) = edge_before {
            // Who can't join has accepted nobody yet.
            if let Err(error) = fleet::joined(&controller, &config).await {
                elder.fail(format!("{error:#}")).await;
                return Err(error);
            }
            let begin = tenures.clone();
            tokio::task::spawn_local(async move {
                elder.until_rested().await;
                begin.begin();
            });
        }
        // Before, the elder is the only one who accepts.
        if let Err(error) = doors.listen() {
            // No handoff is to wait for the lease of a process that ends.
            fleet::leave(&controller, config.cluster.as_ref()).await;
            return Err(error);
        }
        // The route table is published: from here on, every host is known that is going to be.
        let reload = Reload::new(&path, controller.clone(), certificates)
            .telling(authority.map(|one| (one, reader.clone())))
            .serving(composed, &services);
        reload.tell_names();
        let common = worker::Common {
            clock,
            reader: reader.clone(),
            census: Arc::default(),
            tls,
            challenges,
            detour: detour.map(|detour| detour.token),
            access,
            tracer,
            seed,
        };
        let mut handles = Vec::new();
        for (number, ((listeners, orders), counted)) in
            listeners.into_iter().zip(for_workers).zip(counted).enumerate()
        {
            let handle = worker::spawn(number, listeners, orders, counted, common.clone());
            handles.push(handle.context("starting a worker thread")?);
        }
        let watching = config.swarm.clone().map(|watched| {
            let sites = provided::Provided { reload: reload.clone(), reader: reader.clone() };
            let state = config.server.state.clone();
            let parts = swarm::Parts { config: watched, state, pinned, recalled };
            swarm::start(parts, sites, tenures.one())
        });
        let swarm = watching.transpose().context("starting the thread for [provider.swarm]")?;
        let pulses = handles.iter().map(|handle| handle.pulse.clone()).collect();
        let journal = controller.clone();
        let tell = Box::new(move |site, kind, note| journal.note(site, kind, note));
        let stalls = watchdog::start(pulses, reader.clone(), config.server.watchdog, tell, logs.clone());
        let shut = watch::Sender::new(false);
        let context = crate::admin::Context {
            reload: reload.clone(),
            listening: addresses.as_slice().into(),
            doors: Arc::new(crate::admin::Doors::new(&config, &addresses, public_port)),
            metrics: handles.iter().map(|handle| handle.metrics.clone()).collect(),
            reader: reader.clone(),
            swarm: swarm.clone(),
            dashboard: Arc::default(),
            guard: crate::admin::Guard {
                token: config.admin.token.clone(),
                listen: config.admin.listen.clone(),
            },
            stopping: stopping.clone(),
            stalls: stalls.context("starting the thread that watches the workers")?,
            logs: logs.clone(),
            traced: traced.clone(),
            shut: shut.subscribe(),
        };
        let administering = crate::admin::spawn(admin, context, shut).context("starting the admin thread")?;
        // Before anybody hears that this process is the one to be asked to stop.
        let mut signals = Signals::new().context("listening for signals")?;
        if let Some(elder) = for_elder {
            // Whoever has moved the file away meanwhile has told the elder.
            logs.reopen();
            elder.say(ToElder::Taken);
        }
        let deciding = deciding.or_else(|| waits.map(tokio::task::spawn_local));
        for address in &addresses {
            tracing::info!(%address, "listening");
        }
        notify::tell(Told::Ready);
        let (asks, mut asked) = mpsc::channel(1);
        let listening = doors
            .requests()?
            .map(|requests| tokio::task::spawn_local(request::listen(requests, asks.clone())));
        let is_to_stop = Cell::new(false);
        let upgrades = Upgrades {
            program,
            config: &path,
            state: &server.state,
            doors: &doors,
            controller: controller.clone(),
            admin: &administering,
            teller: Teller {
                reload: reload.clone(),
                reader: reader.clone(),
                store: of_store,
                fleet: handed_on,
            },
            timeout: server.upgrade_timeout,
            probation: server.upgrade_probation,
            handing_over: Mutex::default(),
            is_to_stop: &is_to_stop,
        };
        let succeeded = tokio::select! {
            biased;
            succeeded = upgrades.until_succeeded(&mut asked) => Some(succeeded),
            // An upgrade that has come so far that pins change hands is let come to its end: only then it is known whose they are.
            _ = async {
                signals.until_stop(&reload, &logs, &asks).await;
                is_to_stop.set(true);
                // In a fleet the new process may take a while to join.
                stopping.store(true, Ordering::Relaxed);
                upgrades.handing_over.lock().await
            } => None,
        };
        let why = if succeeded.is_some() {
            // Who asks from now on asks the other one.
            listening.inspect(|listening| listening.abort());
            "another upgrade has taken over"
        } else {
            request::STOPPING
        };
        tokio::task::spawn_local(request::refuse(asked, why));
        let ended = move || handles.into_iter().for_each(worker::Handle::join);
        let Some(Succeeded { succession, _leftover }) = succeeded else {
            stopping.store(true, Ordering::Relaxed);
            notify::tell(Told::Stopping);
            workers.tell(Order::Farewell);
            // Readers still come until the balancer has noticed. Who asks again doesn't want to wait for it.
            tokio::select! {
                () = tokio::time::sleep(server.shutdown_delay) => {}
                () = signals.until_stop(&reload, &logs, &asks) => {}
            }
            let files = doors.close();
            workers.tell(Order::Stop { timeout: server.shutdown_timeout, held: held_at_stop });
            // Gates are opened as ever meanwhile: who waits at one is answered.
            let until = Instant::now() + server.shutdown_timeout;
            tokio::task::spawn_blocking(ended).await?;
            // What an elder still has it cuts when nobody decides any more.
            let _ = timeout_at(until, controller.until_alone()).await;
            fleet::leave(&controller, config.cluster.as_ref()).await;
            dismiss(deciding, administering.end(Duration::ZERO)).await;
            traced.end();
            // Left behind, they would look as if somebody listened.
            files.iter().for_each(|file| drop(std::fs::remove_file(file)));
            return Ok(());
        };
        notify::tell(Told::MainPid(succession.pid));
        // It was meant for whoever serves.
        let passed_on = signals.take_what_is_left();
        for (signal, is_wanted) in [
            (Signal::HUP, passed_on.reload),
            // Whoever has moved the file away just now may have told this process, when the other had opened it again.
            (Signal::USR1, logs.reopen() || passed_on.reopen),
            (Signal::TERM, passed_on.stop || is_to_stop.get()),
        ] {
            if is_wanted {
                signals::pass_on(signal, succession.pid);
            }
        }
        // The sockets are the other process's as well: what waits in their queues is accepted there.
        let mut administered = pin!(administering.end(LAST_QUESTIONS));
        let until = Instant::now() + server.shutdown_timeout;
        drop(doors.close());
        workers.tell(Order::Stop { timeout: server.shutdown_timeout, held });
        tenures.end().await;
        succession.mouth.say(ToHeir::Rested);
        let mut ended = tokio::task::spawn_blocking(ended);
        let mut cut = pin!(async {
            tokio::select! {
                () = nobody_decides(succession.ended) => {}
                () = signals.until_cut(&logs, succession.pid) => {}
            }
        });
        let is_cut = tokio::select! {
            done = &mut ended => { done?; false }
            () = &mut cut => true,
        };
        let mut all_are_answered = false;
        if is_cut {
            workers.tell(Order::Stop { timeout: LAST_ANSWERS, held: Duration::ZERO });
            ended.await?;
        } else {
            // What an operator has asked this process for, it sees to.
            tokio::select! {
                in_time = timeout_at(until, &mut administered) => all_are_answered = in_time.is_ok(),
                () = &mut cut => {}
            }
        }
        fleet::leave(&controller, config.cluster.as_ref()).await;
        if !all_are_answered {
            dismiss(deciding, administered).await;
        }
        traced.end();
        Ok(())
    }
}

/// Whoever still asks is told that nobody decides here any more.
async fn dismiss(deciding: Option<JoinHandle<()>>, administered: impl Future<Output = ()>) {
    deciding.iter().for_each(JoinHandle::abort);
    let _ = timeout(LAST_ANSWERS, administered).await;
}

/// Returns when the process that has taken over from this one has ended, if this one goes by its word.
async fn nobody_decides(ended: Option<oneshot::Receiver<()>>) {
    match ended {
        Some(ended) => drop(ended.await),
        None => std::future::pending().await,
    }
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
