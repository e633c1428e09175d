//! An edge's line to etcd, over relays of our own: what goes over it can be late, held back, or cut off just when
//! something is said on it. (Not every kernel has netem, and none knows what etcd is told.)

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Where the relays are, for every node: the bridge itself.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
/// What is late becomes later by so much of the time that goes by: less than all of it, so that something arrives always,
/// and nobody takes the line for dead.
const GROWTH: f64 = 0.9;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the edge to etcd.
    Up,
    /// From etcd to the edge.
    Down,
}

/// What a trap does when it is sprung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing arrives at etcd any more, from what was just said on.
    HoldUp,
    /// The same, and nothing at the edge.
    HoldBoth,
    /// The connection breaks, and this relay takes no other.
    Break,
}

/// How it goes, one way.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    held: bool,
    /// Since when what arrives is later and later, up to so much.
    late: Option<(Instant, Duration)>,
}

impl Flow {
    fn delay(&self, now: Instant) -> Duration {
        let Some((since, most)) = self.late else { return Duration::ZERO };
        now.saturating_duration_since(since).mul_f64(GROWTH).min(most)
    }
}

/// A word that an edge may say to etcd.
#[derive(Clone, Debug)]
struct Trap {
    word: Vec<u8>,
    then: Then,
}

struct Shared {
    up: watch::Sender<Flow>,
    down: watch::Sender<Flow>,
    trap: watch::Sender<Option<Trap>>,
}

/// See the module's text.
pub struct Line {
    shared: Arc<Shared>,
    relays: Vec<JoinHandle<()>>,
    /// Where the edge finds etcd.
    pub urls: Vec<String>,
}

impl Line {
    /// To these members, in this order.
    pub async fn to(members: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let shared = Shared {
            up: watch::Sender::default(),
            down: watch::Sender::default(),
            trap: watch::Sender::new(None),
        };
        let mut line = Self { shared: Arc::new(shared), relays: Vec::new(), urls: Vec::new() };
        for member in members {
            let listener = TcpListener::bind((HERE, 0)).await?;
            line.urls.push(format!("http://{}", listener.local_addr()?));
            line.relays.push(tokio::spawn(relay(listener, member, line.shared.clone())));
        }
        Ok(line)
    }

    fn way(&self, way: Way) -> &watch::Sender<Flow> {
        match way {
            Way::Up => &self.shared.up,
            Way::Down => &self.shared.down,
        }
    }

    /// What goes this way waits, until [`Self::flows`].
    pub fn hold(&self, way: Way) {
        self.way(way).send_modify(|flow| flow.held = true);
    }

    /// The same, both ways.
    pub fn hold_both(&self) {
        self.hold(Way::Up);
        self.hold(Way::Down);
    }

    /// What goes this way is later and later, up to so much.
    pub fn be_late(&self, way: Way, most: Duration) {
        self.way(way).send_modify(|flow| flow.late = Some((Instant::now(), most)));
    }

    /// What goes this way goes on, and is not late.
    pub fn goes_on(&self, way: Way) {
        self.way(way).send_replace(Flow::default());
    }

    /// Everything goes on, and nothing is late.
    pub fn flows(&self) {
        self.goes_on(Way::Up);
        self.goes_on(Way::Down);
    }

    /// Does that as soon as the edge says this word, before etcd hears of it.
    pub fn trap(&self, word: &str, then: Then) {
        self.shared.trap.send_replace(Some(Trap { word: word.as_bytes().to_vec(), then }));
    }

    /// Waits until it was said.
    pub async fn sprung(&self) {
        // The sender lives as long as this line.
        let _ = self.shared.trap.subscribe().wait_for(Option::is_none).await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.relays.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    /// What becomes of the line when this is said on it: `Break` is for the relay itself to do.
    fn spring(&self, said: &[u8]) -> Option<Then> {
        let mut sprung = None;
        self.trap.send_if_modified(|trap| {
            let is_said = |trap: &Trap| said.windows(trap.word.len()).any(|part| part == trap.word);
            sprung = trap.take_if(|trap| is_said(trap)).map(|trap| trap.then);
            if let Some(Then::HoldUp | Then::HoldBoth) = sprung {
                self.up.send_modify(|flow| flow.held = true);
            }
            if sprung == Some(Then::HoldBoth) {
                self.down.send_modify(|flow| flow.held = true);
            }
            sprung.is_some()
        });
        sprung
    }
}

/// Takes connections until it is told to break; those that there are go with it.
async fn relay(listener: TcpListener, member: SocketAddr, shared: Arc<Shared>) {
    let (broken, mut is_broken) = mpsc::channel::<()>(1);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Ok((edge, _)) = listener.accept() => {
                connections.spawn(connection(edge, member, shared.clone(), broken.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = is_broken.recv() => return,
        }
    }
}

async fn connection(edge: TcpStream, member: SocketAddr, shared: Arc<Shared>, broken: mpsc::Sender<()>) {
    let Ok(etcd) = TcpStream::connect(member).await else { return };
    let _ = (edge.set_nodelay(true), etcd.set_nodelay(true));
    let ((from_edge, to_edge), (from_etcd, to_etcd)) = (edge.into_split(), etcd.into_split());
    // Whoever ends it, it ends both ways.
    let breaks = tokio::select! {
        breaks = pump(from_edge, to_etcd, &shared.up, |said| shared.spring(said) == Some(Then::Break)) => breaks,
        breaks = pump(from_etcd, to_edge, &shared.down, |_| false) => breaks,
    };
    if breaks {
        let _ = broken.try_send(());
    }
}

/// Carries everything over, each part in its time. Ends when one side does, or when `breaks` says so, and tells whether
/// it did.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: &watch::Sender<Flow>,
    breaks: impl Fn(&[u8]) -> bool,
) -> bool {
    let (parts, mut arrived) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let take = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let part = &buffer[..count];
            if breaks(part) {
                return true;
            }
            let now = Instant::now();
            let due = now + way.borrow().delay(now);
            if parts.send((due, part.to_vec())).is_err() {
                break;
            }
        }
        false
    };
    let give = async {
        let mut flow = way.subscribe();
        while let Some((due, part)) = arrived.recv().await {
            sleep_until(due).await;
            if flow.wait_for(|flow| !flow.held).await.is_err() || to.write_all(&part).await.is_err() {
                break;
            }
        }
        false
    };
    tokio::select! {
        breaks = take => breaks,
        breaks = give => breaks,
    }
}
