//! Readers of one edge: each does with the gate and its lease what the proxy does for a request that changes nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ghostpin::alike::{Likeness, Room, Shared};
use ghostpin::clock::Clock;
use ghostpin::detour::{Detour, Errand};
use ghostpin::gate::{Entry, Lease, Part, SiteKey, Ticket, Turn};
use ghostpin::http1::{Length, RequestHead, ResponseHead};
use ghostpin::published::{PublishedSite, Reader};
use ghostpin::workers::Order;
use http::StatusCode;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::backends::Refused;
use super::detours::Through;
use super::dice::Dice;
use super::edge::World;
use super::history::{Under, What};
use super::sites;

/// Mean time between two readers, in milliseconds.
const PAUSE: usize = 60;
/// How long a connection, and the beginning of an answer, are waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How often one is sent again.
const ATTEMPTS_MAX: usize = 5;

/// See the module's text.
#[derive(Clone)]
pub(crate) struct Readers {
    pub(crate) world: Rc<World>,
    pub(crate) edge: usize,
    pub(crate) reader: Reader,
    pub(crate) clock: Clock,
    /// Wakes those whose lease is cut.
    pub(crate) cuts: Rc<RefCell<BTreeMap<SiteKey, Rc<Notify>>>>,
}

/// Why an attempt came to no answer.
pub(crate) enum Failed {
    Cut,
    Refused,
    Silent,
}

impl Readers {
    /// They come as long as the edge lives. `orders` are the worker's.
    pub(crate) async fn come(mut self, mut dice: Dice, mut orders: mpsc::UnboundedReceiver<Order>) {
        let (cuts, mut late) = (self.cuts.clone(), Dice::of(&dice.next().to_le_bytes()));
        spawn_local(async move {
            while let Some(order) = orders.recv().await {
                if let Order::Cut(site) = order {
                    sleep(Duration::from_millis(late.roll(4) as u64)).await;
                    let cut = cuts.borrow().get(&site).cloned();
                    cut.iter().for_each(|cut| cut.notify_waiters());
                }
            }
        });
        loop {
            sleep(Duration::from_millis(dice.roll(PAUSE) as u64)).await;
            self.clock.look();
            let host = sites::host(dice.roll(sites::ALL));
            let Some(site) = self.reader.load().routes.lookup(&host).cloned() else { continue };
            let (reader, taking) = (self.clone(), dice.roll(30));
            spawn_local(async move { reader.read(&site, Duration::from_millis(taking as u64)).await });
        }
    }

    /// One reader, who takes so long to take the answer.
    async fn read(&self, site: &PublishedSite, taking: Duration) {
        let (asked, mut ticket) = (self.world.history.now(), None);
        let deadline = Instant::now() + site.config.hold.timeout;
        for _ in 0..ATTEMPTS_MAX {
            let Some(Turn { mut lease, part }) = enter(site, &mut ticket, deadline).await else { return };
            if let Part::Follows(answer) = part {
                if lease.is_cut() || !lease.may_deliver() {
                    continue;
                }
                let (under, made) = told_by(&answer);
                self.world.history.tell(Some(self.edge), What::Shared { made, asked });
                self.world.history.tell(Some(self.edge), What::Delivered { under, asked });
                let _ = self.unless_cut(&lease, sleep(taking)).await;
                return;
            }
            let (epoch, gate) = (lease.pin().epoch, lease.gate().clone());
            let made = self.world.history.now();
            let answered = self.attempt(&lease, site).await;
            lease.answered(answered.is_ok());
            match answered {
                Ok(()) if lease.may_deliver() => {
                    let under = self.under(site, &lease);
                    if let Part::Leads(leads) = part {
                        let room = leads.rooms().take().expect("answers of a few bytes");
                        leads.shares(&Arc::new(telling(&under, made, room)));
                    }
                    self.world.history.tell(Some(self.edge), What::Delivered { under, asked });
                    if gate.detour().is_none() {
                        gate.note_well(self.clock.now().0);
                    }
                    // The lease is out until the last byte is through.
                    let _ = self.unless_cut(&lease, sleep(taking)).await;
                    return;
                }
                Ok(()) | Err(Failed::Cut) => {}
                Err(Failed::Refused) => gate.suspect(epoch),
                Err(Failed::Silent) => return gate.doubt(epoch),
            }
        }
    }

    pub(crate) fn under(&self, site: &PublishedSite, lease: &Lease) -> Under {
        let pin = lease.pin();
        Under { site: site.name().to_string(), epoch: pin.epoch.0, backend: pin.backend.to_string() }
    }

    async fn attempt(&self, lease: &Lease, site: &PublishedSite) -> Result<(), Failed> {
        if let Some(detour) = lease.gate().detour() {
            return self.attempt_through(&detour, lease, site).await;
        }
        let (backends, backend) = (&self.world.backends, lease.pin().backend.to_string());
        let connected = timeout(PATIENCE, backends.connect(self.edge, &backend));
        match self.unless_cut(lease, connected).await? {
            Ok(Ok(())) => {}
            Ok(Err(Refused)) => return Err(Failed::Refused),
            Err(_) => return Err(Failed::Silent),
        }
        if !lease.may_hand_over() {
            return Err(Failed::Cut);
        }
        self.world.history.tell(Some(self.edge), What::Handed(self.under(site, lease)));
        match self.unless_cut(lease, timeout(PATIENCE, backends.answer(self.edge, &backend))).await? {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refused)) => Err(Failed::Refused),
            Err(_) => Err(Failed::Silent),
        }
    }

    async fn attempt_through(
        &self,
        detour: &Detour,
        lease: &Lease,
        site: &PublishedSite,
    ) -> Result<(), Failed> {
        let errand = Errand { site: site.name().clone(), epoch: lease.pin().epoch };
        let connected = timeout(PATIENCE, Through::connect(&self.world, detour, errand));
        let Ok(Ok(mut through)) = self.unless_cut(lease, connected).await? else {
            return Err(Failed::Refused);
        };
        if !lease.may_hand_over() {
            return Err(Failed::Cut);
        }
        match self.unless_cut(lease, timeout(PATIENCE, through.answer())).await? {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refused)) => Err(Failed::Refused),
            Err(_) => Err(Failed::Silent),
        }
    }

    /// What a worker does with a flight: drops it when its lease is cut.
    pub(crate) async fn unless_cut<T>(
        &self,
        lease: &Lease,
        work: impl Future<Output = T>,
    ) -> Result<T, Failed> {
        let cut = self.cuts.borrow_mut().entry(lease.gate().site()).or_default().clone();
        let is_cut = async {
            loop {
                let next = cut.notified();
                if lease.is_cut() {
                    return;
                }
                next.await;
            }
        };
        tokio::select! {
            biased;
            () = is_cut => Err(Failed::Cut),
            done = work => Ok(done),
        }
    }
}

/// Enters, or waits as long as a reader does.
async fn enter(site: &PublishedSite, ticket: &mut Option<Ticket>, deadline: Instant) -> Option<Turn> {
    let alone = |lease| Some(Turn { lease, part: Part::Alone });
    if ticket.is_none()
        && let Some(lease) = site.gate.enter()
    {
        return alone(lease);
    }
    // All ask for the same page.
    let head = RequestHead::parse(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n", 1).expect("a request");
    let like = Likeness::of(&head, false, |_| false);
    match site.gate.enter_or_hold(*ticket, site.config.hold.max_requests, like).ok()? {
        Entry::Entered(lease) => alone(lease),
        Entry::Held(mut held) => {
            *ticket = Some(held.ticket());
            timeout_at(deadline, held.turn()).await.ok()?
        }
    }
}

/// An answer that says by whom it was given, under which epoch, and when it was asked for.
fn telling(under: &Under, made: Duration, room: Room) -> Shared {
    let text = format!("{} {} {} {}", under.site, under.epoch, under.backend, made.as_nanos());
    let length = Length::Exactly(text.len() as u64);
    Shared::new(ResponseHead::new(StatusCode::OK), length, room.keep(text.into()))
}

fn told_by(answer: &Shared) -> (Under, Duration) {
    let text = std::str::from_utf8(&answer.body).expect("a text");
    let words: Vec<&str> = text.split(' ').collect();
    let [site, epoch, backend, made] = words[..] else { panic!("{text}") };
    let under = Under { site: site.into(), epoch: epoch.parse().expect("a number"), backend: backend.into() };
    (under, Duration::from_nanos(made.parse().expect("a number")))
}
