//! The admin API: where operators look at all of it, and wish like any other provider.
//!
//! It has a thread of its own, so that looking never slows a request, and it decides nothing: what it is asked for
//! goes to the reconciler as a message.

pub mod dashboard;
mod explain;
mod fleet;
mod guard;
mod metrics;
pub mod peer;
pub mod problem;
mod routes;

#[cfg(test)]
mod tests;

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use axum::serve;
use axum::serve::Listener;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

pub use explain::Doors;
pub use guard::Guard;
use peer::Peer;

use crate::app::Reload;
use crate::config::ListenAddress;
use crate::observe::logging::Logs;
use crate::observe::metrics::WorkerMetrics;
use crate::observe::otlp::Traced;
use crate::provider::swarm;
use crate::published::Reader;
use crate::watchdog::Stalls;

/// The OpenAPI document that describes all routes.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// A bound admin address.
pub enum Bound {
    /// A TCP address.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Context {
    /// Reloads, and the way to the reconciler.
    pub reload: Reload,
    /// Where readers come in.
    pub listening: Arc<[ListenAddress]>,
    /// The same, by what they speak.
    pub doors: Arc<Doors>,
    /// Counters of the workers.
    pub metrics: Arc<[Arc<WorkerMetrics>]>,
    /// The route table that requests are served by.
    pub reader: Reader,
    /// The swarm, if one is watched.
    pub swarm: Option<swarm::Watched>,
    /// What all who look at the dashboard have in common.
    pub dashboard: Arc<dashboard::Shared>,
    /// Who may ask.
    pub guard: Guard,
    /// ghostpin was asked to stop.
    pub stopping: Arc<AtomicBool>,
    /// Workers that stand still.
    pub stalls: Arc<Stalls>,
    /// What was traced.
    pub traced: Traced,
    /// What was not logged.
    pub logs: Logs,
    /// The door is shut: streams end, and who watched asks whoever comes next.
    pub shut: watch::Receiver<bool>,
}

impl Context {
    /// The swarm as operators see it, if one is watched.
    fn swarm_view(&self) -> Option<swarm::SwarmView> {
        let services = self.reload.services().to_vec();
        self.swarm.as_ref().map(|watched| swarm::SwarmView { services, ..watched.view() })
    }
}

/// The admin API at work.
#[derive(Debug)]
pub struct Serving {
    shut: watch::Sender<bool>,
    last_requests: oneshot::Sender<Duration>,
    ended: oneshot::Receiver<()>,
}

impl Serving {
    /// Takes no new connection for now: they stay in the queue, which may be another process's as well.
    pub fn shut(&self) {
        self.shut.send_replace(true);
    }

    /// Takes them again.
    pub fn open(&self) {
        self.shut.send_replace(false);
    }

    /// Takes no new connection any more; what this returns is ready when all that was asked has been answered. Whoever has come
    /// in less than `last_requests` ago may have a request on its way, which is waited for.
    pub fn end(self, last_requests: Duration) -> impl Future<Output = ()> {
        self.shut();
        let Self { shut, last_requests: tell, ended } = self;
        let _ = tell.send(last_requests);
        async move {
            let _ = ended.await;
            drop(shut);
        }
    }
}

/// Serves the admin API on a thread of its own, through a door that `shut` is about.
///
/// # Errors
/// No thread can be had.
pub fn spawn(bound: Bound, context: Context, shut: watch::Sender<bool>) -> std::io::Result<Serving> {
    let (last_requests, told) = oneshot::channel();
    let (at_the_end, ended) = oneshot::channel();
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only a few file descriptors");
        if let Err(error) = runtime.block_on(answer(bound, context, told)) {
            tracing::error!(%error, "the admin API has ended");
        }
        let _ = at_the_end.send(());
    })?;
    Ok(Serving { shut, last_requests, ended })
}

async fn answer(bound: Bound, context: Context, ends: oneshot::Receiver<Duration>) -> std::io::Result<()> {
    let (came, last_came) = watch::channel(Instant::now());
    let is_shut = context.shut.clone();
    let ends = async move {
        let last_requests = ends.await.unwrap_or_default();
        let until = *last_came.borrow() + last_requests;
        tokio::time::sleep_until(until).await;
    };
    let routes = routes::all(context).into_make_service_with_connect_info::<Peer>();
    match bound {
        Bound::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serve(Door { listener, is_shut, came }, routes).with_graceful_shutdown(ends).await
        }
        Bound::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            serve(Door { listener, is_shut, came }, routes).with_graceful_shutdown(ends).await
        }
    }
}

/// A listener that can be shut.
pub struct Door<L> {
    listener: L,
    is_shut: watch::Receiver<bool>,
    /// When somebody has come in last.
    came: watch::Sender<Instant>,
}

/// Returns when it is so.
async fn until(is_shut: &mut watch::Receiver<bool>, shut: bool) {
    if is_shut.wait_for(|is_shut| *is_shut == shut).await.is_err() {
        // Nobody opens or shuts it any more.
        std::future::pending::<()>().await;
    }
}

impl<L: Listener> Listener for Door<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            until(&mut self.is_shut, false).await;
            tokio::select! {
                biased;
                () = until(&mut self.is_shut, true) => {}
                accepted = self.listener.accept() => {
                    self.came.send_replace(Instant::now());
                    return accepted;
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
