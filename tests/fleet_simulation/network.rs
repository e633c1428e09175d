//! The lines between edges and etcd's members: each may be slow, cut in one direction or both, or broken.
//!
//! What is sent into a line that is cut arrives when it is whole again, as TCP has it; a line that breaks takes its
//! connections along.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::{Channel, Client};
use ghostpin::cluster::{Store, store};
use ghostpin::config::Cluster;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::changing::Changing;
use super::dice::Dice;
use super::etcd::Etcd;
use super::grpc::Local;
use super::sites::MEMBERS;

/// What is under way at most, in bytes.
const UNDER_WAY_MAX: usize = 64 * 1024;
/// The most that a line delays, in milliseconds, if nothing is wrong with it.
pub(crate) const USUAL_DELAY: usize = 3;

/// From an edge to a member, and back.
pub(crate) const THERE: usize = 0;
pub(crate) const BACK: usize = 1;

struct Link {
    whole: [Changing<bool>; 2],
    breaks: Changing<u64>,
    delay: Cell<usize>,
}

/// An edge wants a connection to a member.
pub(crate) struct Dial {
    edge: usize,
    member: usize,
    io: DuplexStream,
    taken: oneshot::Sender<()>,
}

/// See the module's text.
pub(crate) struct Network {
    links: Vec<Vec<Link>>,
    etcd: Rc<Etcd>,
    dice: RefCell<Dice>,
}

impl Network {
    /// Needs a `LocalSet`.
    pub(crate) fn start(
        edges: usize,
        etcd: Rc<Etcd>,
        dice: Dice,
        mut dials: mpsc::UnboundedReceiver<Dial>,
    ) -> Rc<Self> {
        let link = |_| Link {
            whole: [Changing::new(true), Changing::new(true)],
            breaks: Changing::new(0),
            delay: Cell::new(USUAL_DELAY),
        };
        let links = (0..edges).map(|_| (0..etcd.members()).map(link).collect()).collect();
        let network = Rc::new(Self { links, etcd, dice: RefCell::new(dice) });
        let carrying = network.clone();
        spawn_local(async move {
            while let Some(dial) = dials.recv().await {
                let network = carrying.clone();
                spawn_local(async move { network.carry(dial).await });
            }
        });
        network
    }

    pub(crate) fn set_whole(&self, edge: usize, member: usize, direction: usize, whole: bool) {
        self.links[edge][member].whole[direction].set(whole);
    }

    pub(crate) fn set_delay(&self, edge: usize, member: usize, milliseconds: usize) {
        self.links[edge][member].delay.set(milliseconds);
    }

    /// Breaks what is connected now.
    pub(crate) fn break_off(&self, edge: usize, member: usize) {
        let breaks = &self.links[edge][member].breaks;
        breaks.set(breaks.get() + 1);
    }

    fn delay(&self, link: &Link) -> Duration {
        Duration::from_millis(self.dice.borrow_mut().roll(link.delay.get()) as u64)
    }

    async fn carry(&self, dial: Dial) {
        let Dial { edge, member, io, mut taken } = dial;
        let link = &self.links[edge][member];
        let connecting = async {
            for direction in [THERE, BACK] {
                link.whole[direction].until(|whole| whole).await;
                sleep(self.delay(link)).await;
            }
        };
        tokio::select! {
            biased;
            () = taken.closed() => return,
            () = connecting => {}
        }
        if !self.etcd.is_up(member) || taken.send(()).is_err() {
            return;
        }
        let (far, served) = duplex(UNDER_WAY_MAX);
        let ((from_edge, to_edge), (from_member, to_member)) = (split(io), split(far));
        let breaks = link.breaks.get();
        tokio::select! {
            biased;
            () = link.breaks.differs_from(breaks) => {}
            () = self.etcd.goes_down(member) => {}
            () = self.pump(link, THERE, from_edge, to_member) => {}
            () = self.pump(link, BACK, from_member, to_edge) => {}
            () = self.etcd.serve(member, served) => {}
        }
    }

    async fn pump(
        &self,
        link: &Link,
        direction: usize,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer).await;
            sleep(self.delay(link)).await;
            link.whole[direction].until(|whole| whole).await;
            let Ok(size @ 1..) = read else { return };
            if to.write_all(&buffer[..size]).await.is_err() {
                return;
            }
        }
    }
}

/// The real client of an edge, on these lines.
pub(crate) fn store(edge: usize, cluster: Cluster, dials: mpsc::UnboundedSender<Dial>) -> Store {
    Store::connected_by(cluster, move |url, options| {
        let member = MEMBERS.iter().position(|member| *member == url).expect("it is a member");
        let dialer = Dialer { edge, member, dials: dials.clone() };
        let endpoint = tonic::transport::Endpoint::from_static(MEMBERS[member])
            .executor(Local)
            .connect_timeout(store::CONNECT_MAX)
            .http2_keep_alive_interval(store::SILENCE_MAX)
            .keep_alive_timeout(store::SILENCE_MAX)
            .keep_alive_while_idle(true);
        Client::from_channel(Channel::Tonic(endpoint.connect_with_connector_lazy(dialer)), Some(options))
    })
}

/// Connects one edge to one member.
struct Dialer {
    edge: usize,
    member: usize,
    dials: mpsc::UnboundedSender<Dial>,
}

impl tonic::codegen::Service<Uri> for Dialer {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, io) = duplex(UNDER_WAY_MAX);
        let (taken, is_taken) = oneshot::channel();
        // The network lives as long as the simulation.
        let _ = self.dials.send(Dial { edge: self.edge, member: self.member, io, taken });
        Box::pin(async move {
            is_taken.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(TokioIo::new(near))
        })
    }
}
