//! One edge as a simulated process: the real reconciler, gates and store's client on tasks of their own, which stop when it
//! is frozen and are dropped when it crashes. Its disk is what it keeps.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ghostpin::clock::Clock;
use ghostpin::cluster;
use ghostpin::config::{Config, Secret, Site};
use ghostpin::control::Controller;
use ghostpin::control::fleet::FleetParts;
use ghostpin::control::outside::{Outside, Way};
use ghostpin::control::probe::{Question, Seen};
use ghostpin::control::reconciler::{Message, Parts, Reconciler, channel};
use ghostpin::control::writer::{Commit, Committed, Writer};
use ghostpin::core::fleet::edge::Terms;
use ghostpin::core::fleet::{Moment, goes_back};
use ghostpin::core::{self, Epoch, SiteName};
use ghostpin::detour::Detour;
use ghostpin::gate::HoldBudget;
use ghostpin::lifeline::Lifeline;
use ghostpin::published::{Published, Publisher, Reader};
use ghostpin::workers::Workers;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::backends::{Backends, Refused};
use super::detours::{Asked, Through};
use super::dice::Dice;
use super::history::{History, Under, What};
use super::network::{self, Dial};
use super::readers::Readers;
use super::sites;

/// What all edges share: the world that they are in.
pub(crate) struct World {
    pub(crate) history: Rc<History>,
    pub(crate) backends: Backends,
    /// Edges that take requests for others, while they run.
    pub(crate) detours: RefCell<BTreeMap<usize, mpsc::UnboundedSender<Asked>>>,
    pub(crate) dials: mpsc::UnboundedSender<Dial>,
    /// How many of the sites there are.
    pub(crate) sites: Cell<usize>,
}

type Disk = Rc<RefCell<BTreeMap<SiteName, core::Pin>>>;

/// A running process.
struct Life {
    tasks: LocalSet,
    reader: Reader,
    lifeline: Arc<Lifeline>,
    ended: Rc<Cell<bool>>,
}

/// See the module's text.
pub(crate) struct Edge {
    number: usize,
    world: Rc<World>,
    life: Option<Life>,
    disk: Disk,
    dice: Dice,
    /// By how much its clock is fast or slow.
    rate: f64,
    /// What was seen of its gates last.
    shown: BTreeMap<SiteName, (Option<Under>, Option<u64>)>,
    switch: Rc<Switch>,
}

/// What is done to an edge from outside.
#[derive(Default)]
pub(crate) struct Switch {
    pub(crate) frozen: Cell<bool>,
    /// It was asked to leave the fleet.
    pub(crate) drained: Cell<bool>,
    /// It is to run.
    pub(crate) on: Cell<bool>,
    /// When somebody starts it again.
    pub(crate) restart: Cell<Option<Duration>>,
    /// While it runs.
    pub(crate) controller: RefCell<Option<Controller>>,
}

impl Edge {
    pub(crate) fn new(number: usize, world: Rc<World>, mut dice: Dice) -> Self {
        // Half a per cent at most.
        let rate = 1.0 + (dice.roll(101) as f64 - 50.0) / 10_000.0;
        let (life, disk, shown, switch) = (None, Disk::default(), BTreeMap::new(), Rc::default());
        Self { number, world, life, disk, dice, rate, shown, switch }
    }

    pub(crate) fn switch(&self) -> Rc<Switch> {
        self.switch.clone()
    }

    /// Lets it work, unless it is frozen; then tells what is to be seen of its gates.
    pub(crate) fn poll(&mut self, cx: &mut std::task::Context<'_>) {
        match (self.switch.on.get(), &self.life) {
            (true, None) => self.life = Some(self.boot()),
            (false, Some(_)) => self.stop(),
            _ => {}
        }
        if let Some(life) = self.life.as_mut().filter(|_| !self.switch.frozen.get()) {
            // It never ends by itself: some tasks go on for ever.
            let _ = Pin::new(&mut life.tasks).poll(cx);
        }
        if self.life.as_ref().is_some_and(|life| life.ended.get()) {
            self.world.history.tell(Some(self.number), What::Fault("ends itself".to_owned()));
            self.switch.on.set(false);
            self.switch.restart.set(Some(self.world.history.now() + Duration::from_secs(1)));
            self.stop();
        }
        self.show();
    }

    fn stop(&mut self) {
        self.life = None;
        self.world.detours.borrow_mut().remove(&self.number);
        self.switch.controller.take();
        self.show();
    }

    fn show(&mut self) {
        let mut now = BTreeMap::new();
        if let Some(life) = &mut self.life {
            let is_over = life.lifeline.is_over();
            for number in 0..sites::ALL {
                let Some(site) = life.reader.load().routes.lookup(&sites::host(number)).cloned() else {
                    continue;
                };
                let Some(pin) = site.gate.pin() else { continue };
                let under = || Under {
                    site: site.name().to_string(),
                    epoch: pin.epoch.0,
                    backend: pin.backend.to_string(),
                };
                let open = (site.gate.lets_in() && !is_over).then(under);
                let out = (site.gate.in_flight() > 0 && !is_over).then_some(pin.epoch.0);
                now.insert(site.name().clone(), (open, out));
            }
        }
        let (history, edge) = (&self.world.history, Some(self.number));
        for (site, (_, out)) in &self.shown {
            if out.is_some() && !now.contains_key(site) {
                history.tell(edge, What::Out { site: site.to_string(), epoch: None });
            }
        }
        for (site, (open, out)) in &now {
            let (open_before, out_before) = self.shown.get(site).cloned().unwrap_or_default();
            if let Some(open) = open.as_ref().filter(|open| open_before.as_ref() != Some(open)) {
                history.tell(edge, What::Opened(open.clone()));
            }
            if *out != out_before {
                history.tell(edge, What::Out { site: site.to_string(), epoch: *out });
            }
        }
        self.shown = now;
    }

    fn boot(&mut self) -> Life {
        let config = sites::config(self.number, self.world.sites.get());
        let publisher = Publisher::new(Published::without_sites(&config));
        let (rate, began) = (self.rate, Instant::now());
        // A machine has been up for a while.
        let offset = Duration::from_secs(1000 * (1 + self.number as u64)) + self.world.history.now();
        let lifeline = Arc::new(Lifeline::over_by(move || Moment(offset + began.elapsed().mul_f64(rate))));
        let (controller, messages, received) = channel();
        let tasks = LocalSet::new();
        let life =
            Life { reader: publisher.reader(), lifeline: lifeline.clone(), ended: Rc::default(), tasks };
        self.switch.drained.set(false);
        self.switch.controller.replace(Some(controller));
        let process = Process {
            number: self.number,
            world: self.world.clone(),
            disk: self.disk.clone(),
            seed: self.dice.next(),
            ended: life.ended.clone(),
        };
        life.tasks
            .spawn_local(async move { process.run(config, publisher, lifeline, messages, received).await });
        life
    }
}

struct Process {
    number: usize,
    world: Rc<World>,
    disk: Disk,
    seed: u64,
    ended: Rc<Cell<bool>>,
}

impl Process {
    /// What `app` does with the real parts.
    async fn run(
        self,
        config: Config,
        publisher: Publisher,
        lifeline: Arc<Lifeline>,
        messages: mpsc::UnboundedSender<Message>,
        received: mpsc::UnboundedReceiver<Message>,
    ) {
        let cluster = config.cluster.clone().expect("it is one of many edges");
        let (commands, for_store) = mpsc::unbounded_channel();
        let (tell, dials, edge) = (messages.clone(), self.world.dials.clone(), self.number);
        let tell = move |news| drop(tell.send(Message::Fleet(news)));
        let store = network::store(edge, cluster.clone(), dials);
        let (edge, address) = (cluster.name.clone(), sites::detour(self.number));
        let detour = Detour { edge, address, token: Secret::new("token".to_owned()) };
        spawn_local(cluster::work(store, Some(detour), lifeline.clone(), for_store, tell));

        let (reports, reported) = mpsc::unbounded_channel();
        let (orders, for_worker) = mpsc::unbounded_channel();
        let clock = Clock::start();
        let readers = Readers {
            world: self.world.clone(),
            edge: self.number,
            reader: publisher.reader(),
            clock: clock.clone(),
            cuts: Rc::default(),
        };
        let margin = cluster.lease_ttl * cluster::MARGIN_TENTHS / 10;
        let parts = Parts {
            budget: Arc::new(HoldBudget::new(config.hold_total.max_requests)),
            config,
            pins: self.disk.borrow().clone(),
            first_epoch: Epoch(1),
            writer: self.writer(messages.clone()),
            workers: Workers::new(vec![orders]),
            publisher,
            clock,
            reports,
            outside: Rc::new(Elsewhere {
                world: self.world.clone(),
                edge: self.number,
                ended: self.ended.clone(),
            }),
            seed: self.seed,
            elder: None,
            fleet: Some(FleetParts {
                terms: Terms { margin, cut_max: cluster.lease_ttl },
                commands,
                lifeline,
            }),
        };
        let reconciler = Reconciler::new(parts, messages);
        spawn_local(reconciler.run(received, reported));
        readers.carry_for_others();
        readers.come(Dice::new(self.seed), for_worker).await;
    }

    /// Writes pins one after the other, and takes its time: what is not written when the edge crashes is lost.
    fn writer(&self, messages: mpsc::UnboundedSender<Message>) -> Writer {
        let (commits, mut received) = mpsc::unbounded_channel::<Commit>();
        let (disk, mut dice) = (self.disk.clone(), Dice::of(&self.seed.to_le_bytes()));
        spawn_local(async move {
            while let Some(Commit { site, name, pin }) = received.recv().await {
                sleep(Duration::from_millis(dice.roll(20) as u64)).await;
                let mut disk = disk.borrow_mut();
                let result = match disk.get(&name) {
                    stored if goes_back(stored, Some(&pin)) => Err(format!("{stored:?} is newer")),
                    _ => {
                        disk.insert(name, pin.clone());
                        Ok(())
                    }
                };
                let _ = messages.send(Message::Committed(vec![Committed { site, pin, result }]));
            }
        });
        Writer::to(move |commit| drop(commits.send(commit)))
    }
}

/// Backends as this edge sees them.
struct Elsewhere {
    world: Rc<World>,
    edge: usize,
    ended: Rc<Cell<bool>>,
}

impl Outside for Elsewhere {
    fn ask<'a>(
        &'a self,
        way: &'a Way,
        site: &'a Arc<Site>,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Seen> + 'a>> {
        let backends = &self.world.backends;
        let asked = async move {
            match way {
                Way::To(backend) => {
                    backends.connect(self.edge, &backend.to_string()).await?;
                    backends.answer(self.edge, &backend.to_string()).await
                }
                Way::Through(detour, errand) => {
                    Through::connect(&self.world, detour, errand.clone()).await?.answer().await
                }
            }
        };
        Box::pin(async move {
            match timeout(question.patience(&site.health), asked).await {
                Ok(Ok(())) => Seen::Well,
                Ok(Err(Refused)) => Seen::Refused,
                Err(_) => Seen::TimedOut,
            }
        })
    }

    fn end(&self, _: i32) {
        self.ended.set(true);
    }
}
