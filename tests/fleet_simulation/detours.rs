//! Requests that an edge brings to a backend for another one: what the proxy does at both ends, without the bytes.

use std::time::Duration;

use ghostpin::detour::{Detour, Errand};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::backends::Refused;
use super::edge::World;
use super::history::What;
use super::readers::{PATIENCE, Readers};
use super::sites;

/// What the line between two edges takes.
const LINE: Duration = Duration::from_millis(1);

/// A connection to another edge, as that one has it.
pub(crate) struct Asked {
    errand: Errand,
    /// The backend is connected.
    is_there: oneshot::Sender<()>,
    /// The request comes.
    request: oneshot::Receiver<()>,
    /// The backend has answered.
    answer: oneshot::Sender<()>,
    /// The one who asked is there.
    line: oneshot::Receiver<()>,
}

/// A connection to a backend through another edge. It ends with this.
pub(crate) struct Through {
    request: Option<oneshot::Sender<()>>,
    answer: oneshot::Receiver<()>,
    _line: oneshot::Sender<()>,
}

impl Through {
    pub(crate) async fn connect(world: &World, detour: &Detour, errand: Errand) -> Result<Self, Refused> {
        sleep(LINE).await;
        let edge = sites::edge_at(detour.address);
        let other = world.detours.borrow().get(&edge).cloned().ok_or(Refused)?;
        let ((is_there, there), (request, requested)) = (oneshot::channel(), oneshot::channel());
        let ((answer, answered), (line, is_up)) = (oneshot::channel(), oneshot::channel());
        let asked = Asked { errand, is_there, request: requested, answer, line: is_up };
        other.send(asked).map_err(|_| Refused)?;
        there.await.map_err(|_| Refused)?;
        Ok(Self { request: Some(request), answer: answered, _line: line })
    }

    /// Sends the request, and waits for its answer.
    pub(crate) async fn answer(&mut self) -> Result<(), Refused> {
        let request = self.request.take().expect("it is sent once");
        request.send(()).map_err(|()| Refused)?;
        (&mut self.answer).await.map_err(|_| Refused)
    }
}

impl Readers {
    /// Takes requests of other edges as long as this one lives.
    pub(crate) fn carry_for_others(&self) {
        let (other, mut asked) = mpsc::unbounded_channel::<Asked>();
        self.world.detours.borrow_mut().insert(self.edge, other);
        let readers = self.clone();
        spawn_local(async move {
            while let Some(Asked { errand, is_there, request, answer, line }) = asked.recv().await {
                let mut readers = readers.clone();
                spawn_local(async move {
                    tokio::select! {
                        biased;
                        _ = line => {}
                        () = readers.carry(errand, is_there, request, answer) => {}
                    }
                });
            }
        });
    }

    /// Ends when the one who asked has, or the lease is cut.
    async fn carry(
        &mut self,
        errand: Errand,
        is_there: oneshot::Sender<()>,
        request: oneshot::Receiver<()>,
        answer: oneshot::Sender<()>,
    ) {
        let Some(site) = self.reader.load().routes.site(&errand.site).cloned() else { return };
        let Some(lease) = site.gate.enter() else { return };
        let pin = lease.pin().clone();
        if pin.epoch != errand.epoch || site.gate.detour().is_some() {
            return;
        }
        let (backends, backend) = (&self.world.backends, pin.backend.to_string());
        let connected = timeout(PATIENCE, backends.connect(self.edge, &backend));
        match self.unless_cut(&lease, connected).await {
            Ok(Ok(Ok(()))) if lease.may_hand_over() => {}
            Ok(Ok(Err(Refused))) => return site.gate.suspect(pin.epoch),
            Ok(Err(_)) => return site.gate.doubt(pin.epoch),
            Ok(Ok(Ok(()))) | Err(_) => return,
        }
        sleep(LINE).await;
        let _ = is_there.send(());
        if !matches!(self.unless_cut(&lease, request).await, Ok(Ok(()))) || !lease.may_hand_over() {
            return;
        }
        self.world.history.tell(Some(self.edge), What::Carried(self.under(&site, &lease)));
        let answered = self.unless_cut(&lease, backends.answer(self.edge, &backend)).await;
        if matches!(answered, Ok(Ok(()))) && lease.may_hand_over() {
            sleep(LINE).await;
            let _ = answer.send(());
            let _ = self.unless_cut(&lease, std::future::pending::<()>()).await;
        }
    }
}
