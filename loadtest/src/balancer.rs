//! What many put before their edges: a balancer of TCP connections. It looks at each edge's `/readyz`, and sends nobody to an
//! edge that doesn't say 200 there. It knows nothing of HTTP otherwise, and nothing is tried twice but a connection that
//! was refused.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ghostpin::cli::client::{Client, PATIENCE, Place};
use http::{Method, StatusCode};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, timeout};

/// Time between two looks at an edge, and what a look may take. `server.shutdown_delay` has to be longer than both together.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_millis(500);

/// One edge.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Where readers are sent.
    pub door: SocketAddr,
    /// Where it says how it is.
    pub admin: Place,
}

#[derive(Debug)]
struct Seen {
    edge: Edge,
    is_ready: AtomicBool,
    /// Connections that it was given.
    given: AtomicU64,
}

/// See the module's text. It ends when it is dropped, and what goes through it too.
#[derive(Debug)]
pub struct Balancer {
    /// Where readers come.
    pub address: SocketAddr,
    seen: Arc<[Seen]>,
    tasks: Vec<JoinHandle<()>>,
}

impl Balancer {
    /// Listens there, before these edges. Nobody is sent to one that was not looked at yet.
    ///
    /// # Errors
    /// If it can't listen.
    pub async fn start(listen: SocketAddr, edges: impl IntoIterator<Item = Edge>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let seen = |edge| Seen { edge, is_ready: AtomicBool::new(false), given: AtomicU64::new(0) };
        let seen: Arc<[Seen]> = edges.into_iter().map(seen).collect();
        let mut tasks: Vec<_> = (0..seen.len()).map(|at| tokio::spawn(look_at(seen.clone(), at))).collect();
        tasks.push(tokio::spawn(accept(listener, seen.clone())));
        Ok(Self { address, seen, tasks })
    }

    /// Which edges readers are sent to now.
    pub fn ready(&self) -> Vec<bool> {
        self.seen.iter().map(|seen| seen.is_ready.load(Ordering::Relaxed)).collect()
    }

    /// How many connections each edge was given.
    pub fn given(&self) -> Vec<u64> {
        self.seen.iter().map(|seen| seen.given.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn look_at(all: Arc<[Seen]>, at: usize) {
    let seen = &all[at];
    let client = Client {
        place: seen.edge.admin.clone(),
        told_by: "the balancer".to_owned(),
        token: None,
        actor: "balancer".to_owned(),
        patience: PATIENCE,
    };
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let reply =
            timeout(LOOK_MAX, client.send(client.request(Method::GET, "/readyz", Bytes::new()))).await;
        let is_ready = matches!(reply, Ok(Ok(reply)) if reply.status == StatusCode::OK);
        seen.is_ready.store(is_ready, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, seen: Arc<[Seen]>) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((reader, _)) = accepted {
                    connections.spawn(relay(reader, seen.clone(), next.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// To the next edge that is ready, or the one after it if it refuses. With none, the reader's connection just ends.
async fn relay(mut reader: TcpStream, seen: Arc<[Seen]>, next: Arc<AtomicUsize>) {
    let _ = reader.set_nodelay(true);
    let first = next.fetch_add(1, Ordering::Relaxed);
    for at in (0..seen.len()).map(|n| (first + n) % seen.len()) {
        let Seen { edge, is_ready, given } = &seen[at];
        if !is_ready.load(Ordering::Relaxed) {
            continue;
        }
        if let Ok(mut to) = TcpStream::connect(edge.door).await {
            given.fetch_add(1, Ordering::Relaxed);
            let _ = to.set_nodelay(true);
            // How it ended is told by what the reader had of it.
            let _ = copy_bidirectional(&mut reader, &mut to).await;
            return;
        }
    }
}
