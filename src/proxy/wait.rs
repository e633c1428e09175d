//! Waiting at a gate: until it opens, the time is up, or the client leaves.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::answer::Refusal;
use super::connection::Connection;
use super::forward::Outgoing;
use super::worker::Worker;
use crate::alike::Likeness;
use crate::gate::{Entry, NotHeld, Part, Ticket, Turn};
use crate::published::PublishedSite;

/// The waiting of one request, over all its attempts.
#[derive(Debug, Default)]
pub struct Waited {
    /// When it began to wait for the first time.
    since: Option<Instant>,
    /// Its place in the order of arrival, which it keeps.
    ticket: Option<Ticket>,
    total: Duration,
    /// When it began to wait, if it is waiting.
    began: Option<Instant>,
}

impl Waited {
    /// Time spent waiting.
    pub fn total(&self) -> Duration {
        self.total + self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// It goes on waiting at another gate, which has its own order.
    pub fn elsewhere(&mut self) {
        self.ticket = None;
    }

    /// Waits for its turn. `like` is what others are that may have the same answer.
    pub async fn at(
        &mut self,
        worker: &Worker,
        site: &PublishedSite,
        connection: &Rc<Connection>,
        outgoing: &Outgoing,
        like: Option<Likeness>,
    ) -> Result<Turn, Refusal> {
        let hold = &site.config.hold;
        let path = outgoing.head.path();
        // An application's own timer gives up after a late answer, and comes again after a quick refusal.
        if hold.is_never_held(path) {
            let lease = site.gate.enter_past_the_queue().ok_or(Refusal::GateShut)?;
            return Ok(Turn { lease, part: Part::Alone });
        }
        let mut held = match site.gate.enter_or_hold(self.ticket, hold.max_requests, like) {
            Ok(Entry::Entered(lease)) => return Ok(Turn { lease, part: Part::Alone }),
            Ok(Entry::Held(held)) => held,
            Err(NotHeld::Full) => return Err(Refusal::TooManyHeld),
            Err(NotHeld::Retired) => return Err(Refusal::SiteRemoved),
        };
        self.ticket = Some(held.ticket());
        let began = *self.began.insert(Instant::now());
        let deadline = *self.since.get_or_insert(began) + hold.timeout;
        let left = async {
            // Without a body to read, the socket is watched all the while.
            match &outgoing.body {
                Some(_) => client_left(connection).await,
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            biased;
            turn = held.turn() => turn.ok_or(Refusal::SiteRemoved),
            () = tokio::time::sleep_until(deadline) => Err(Refusal::HeldTooLong),
            () = worker.holds_nobody() => Err(Refusal::Stopping),
            () = left => {
                // Nobody is there to read an answer: this goes with the connection.
                connection.kill();
                std::future::pending().await
            }
        };
        self.total = self.total();
        self.began = None;
        result
    }
}

/// Returns when the client has closed its connection.
///
/// The body of a held request is not read, and so nobody would come to its end. The socket is watched on a handle of
/// its own, for nothing but that.
async fn client_left(connection: &Connection) {
    // Without another file descriptor the request just waits: for its lease, or its deadline.
    let Ok(socket) = connection.watch().and_then(|socket| TcpStream::from_std(socket.into())) else {
        return std::future::pending().await;
    };
    while let Ok(ready) = socket.ready(Interest::READABLE).await {
        if ready.is_read_closed() {
            return;
        }
        // Bytes of the body: they are left where they are, and the next change is waited for.
        let _ = socket.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}
