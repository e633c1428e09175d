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

pub use explain::Doors;
pub use guard::Guard;
use peer::Peer;

use crate::app::Reload;
use crate::config::ListenAddress;
use crate::net::bind_unix;
use crate::observe::logging::Logs;
use crate::observe::metrics::WorkerMetrics;
use crate::observe::otlp::Traced;
use crate::provider::swarm;
use crate::published::Reader;
use crate::watchdog::Stalls;

/// The OpenAPI document that describes all routes.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// How long connections still have for one more request when no new one is taken.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

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
}

impl Context {
    /// The swarm as operators see it, if one is watched.
    fn swarm_view(&self) -> Option<swarm::SwarmView> {
        let services = self.reload.services().to_vec();
        self.swarm.as_ref().map(|watched| swarm::SwarmView { services, ..watched.view() })
    }
}

/// Binds the admin address. A socket file that a former life left behind is replaced; one that answers is not.
///
/// # Errors
/// The address is in use, or can't be had.
pub fn bind(address: &ListenAddress) -> std::io::Result<Bound> {
    match address {
        ListenAddress::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Bound::Tcp(listener))
        }
        ListenAddress::Unix(path) => Ok(Bound::Unix(bind_unix(path)?)),
    }
}

/// The admin API at work. Dropped, it takes no connection any more, and ends those that have nothing to ask.
#[derive(Debug)]
pub struct Serving {
    is_shut: watch::Sender<bool>,
    _until: oneshot::Sender<()>,
}

impl Serving {
    /// Takes no new connection for now: they stay in the queue, which may be another process's as well.
    pub fn shut(&self) {
        self.is_shut.send_replace(true);
    }

    /// Takes them again.
    pub fn open(&self) {
        self.is_shut.send_replace(false);
    }
}

/// Serves the admin API on a thread of its own.
///
/// # Errors
/// No thread can be had.
pub fn spawn(bound: Bound, context: Context) -> std::io::Result<Serving> {
    let (until, dropped) = oneshot::channel();
    let (shut, is_shut) = watch::channel(false);
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only a few file descriptors");
        // Who has just come in has a request on its way.
        let ends = async {
            let _: Result<(), _> = dropped.await;
            tokio::time::sleep(LAST_REQUESTS).await;
        };
        if let Err(error) = runtime.block_on(answer(bound, context, is_shut, ends)) {
            tracing::error!(%error, "the admin API has ended");
        }
    })?;
    Ok(Serving { is_shut: shut, _until: until })
}

async fn answer(
    bound: Bound,
    context: Context,
    is_shut: watch::Receiver<bool>,
    ends: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = routes::all(context).into_make_service_with_connect_info::<Peer>();
    match bound {
        Bound::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serve(Door { listener, is_shut }, routes).with_graceful_shutdown(ends).await
        }
        Bound::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            serve(Door { listener, is_shut }, routes).with_graceful_shutdown(ends).await
        }
    }
}

/// A listener that can be shut.
pub struct Door<L> {
    listener: L,
    is_shut: watch::Receiver<bool>,
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
                accepted = self.listener.accept() => return accepted,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
