//! The task that keeps certificates: asks the planner what to do, does it, and tells those who wait.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};

use super::ask;
use super::ca::Ca;
use super::order::{self, Means, Trouble};
use super::store::{Remembered, Store};
use super::{AuthorityStatus, Message, Parts, Status, Unavailable};
use crate::core::orders::{
    Coverage, Dice, Ended, Failure, Heard, LOOK_USUAL, Order, Planner, Time, Want, Window,
};

/// Questions to `acme.ask` at a time; whoever comes then is told to come back.
const ASKS_MAX: usize = 100;
/// How long a no of `acme.ask` is remembered, so that a flood of handshakes is not a flood of questions.
const NO_HOLDS: Duration = Duration::from_secs(60);
/// Names that were said no to; beyond that the list is begun anew.
const NOES_MAX: usize = 10_000;
/// The longest time between two looks at the time of day, which may be set.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);
/// Least time between two counts of all certificates.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);
/// The same, when one has been added.
const COUNT_INTERVAL_AFTER_CHANGE: Duration = Duration::from_secs(1);

type Answer = oneshot::Sender<Result<(), Unavailable>>;

/// What a task has come to.
enum Done {
    Ordered(Order, Result<Ended, Trouble>),
    Asked(Arc<str>, Result<(), String>),
    Looked(Arc<str>, Option<(Window, u64)>),
}

/// What a task is for, should it panic.
enum Task {
    Order(Order),
    Ask(Arc<str>),
    Look,
}

/// What all tasks share.
struct Shared {
    parts: Parts,
    store: Store,
    authorities: Vec<Ca>,
}

/// See the [module](self).
pub(super) struct Keeper {
    shared: Rc<Shared>,
    planner: Planner,
    tasks: JoinSet<Done>,
    for_what: HashMap<Id, Task>,
    waiting: HashMap<Arc<str>, Vec<Answer>>,
    asking: HashMap<Arc<str>, Vec<Answer>>,
    noes: HashMap<Arc<str>, (Instant, String)>,
    looking: bool,
    status: Arc<Mutex<Status>>,
    counted: Option<Instant>,
    changed: bool,
}

impl Keeper {
    pub(super) fn new(
        parts: Parts,
        store: Store,
        remembered: Remembered,
        dice: Dice,
        status: Arc<Mutex<Status>>,
    ) -> Self {
        let config = &parts.config;
        let authorities: Vec<Ca> =
            config.authorities.iter().map(|ca| Ca::new(ca.clone(), config.contact.clone())).collect();
        let mut planner = Planner::new(config.on_demand, authorities.len(), dice);
        let now = now();
        for (number, ca) in authorities.iter().enumerate() {
            if let Some((until, failures)) = remembered.authorities.get(ca.directory()) {
                planner.restore_authority(number, *until, *failures);
            }
        }
        let unfinished: std::collections::HashSet<&String> = remembered.unfinished.iter().collect();
        let unknown = remembered.unfinished.iter().filter(|name| !remembered.names.contains_key(*name));
        for name in unknown {
            planner.restore(name, Default::default(), true, now);
        }
        for (name, record) in &remembered.names {
            planner.restore(name, record.clone(), unfinished.contains(name), now);
        }
        tracing::info!(names = remembered.names.len(), unfinished = unfinished.len(), "certificates read");
        Self {
            shared: Rc::new(Shared { parts, store, authorities }),
            planner,
            tasks: JoinSet::new(),
            for_what: HashMap::new(),
            waiting: HashMap::new(),
            asking: HashMap::new(),
            noes: HashMap::new(),
            looking: false,
            status,
            counted: None,
            changed: false,
        }
    }

    pub(super) async fn run(mut self, mut received: mpsc::UnboundedReceiver<Message>) {
        loop {
            self.act();
            self.tell_status();
            let now = now();
            let wake = self.planner.wake(now);
            // The planner counts whole seconds.
            let pause = if self.changed { COUNT_INTERVAL_AFTER_CHANGE } else { LOOK_AT_CLOCK };
            let pause =
                wake.map_or(pause, |at| pause.min(Duration::from_secs(at.0.saturating_sub(now.0).max(1))));
            tokio::select! {
                message = received.recv() => match message {
                    Some(Message::Want(name, answer)) => self.wanted(name, answer),
                    Some(Message::Serve(served)) => {
                        self.planner.serve(served, now);
                        self.counted = None;
                    }
                    // Every handle is gone, the process ends.
                    None => return,
                },
                Some(joined) = self.tasks.join_next_with_id() => match joined {
                    Ok((id, done)) => {
                        self.for_what.remove(&id);
                        self.done(done);
                    }
                    Err(error) => self.panicked(&error),
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Begins what is to be begun.
    fn act(&mut self) {
        let now = now();
        for order in self.planner.begin(now) {
            tracing::info!(name = %order.name, authority = self.shared.authorities[order.authority].directory(), renewal = order.renewal, attempt = order.attempt, "an order begins");
            self.status(|status| status.begun += 1);
            let (shared, given) = (self.shared.clone(), order.clone());
            let work = async move {
                let result = shared.order(&given).await;
                Done::Ordered(given, result)
            };
            self.start(Task::Order(order), work);
        }
        // One at a time: a suggestion is never urgent.
        if !self.looking
            && let Some(name) = self.planner.look(now)
        {
            self.looking = true;
            let shared = self.shared.clone();
            let work = async move {
                let window = shared.window(&name).await;
                Done::Looked(name, window)
            };
            self.start(Task::Look, work);
        }
    }

    fn start(&mut self, task: Task, work: impl Future<Output = Done> + 'static) {
        let handle = self.tasks.spawn_local(work);
        self.for_what.insert(handle.id(), task);
    }

    /// Somebody waits for a name.
    fn wanted(&mut self, name: Arc<str>, answer: Answer) {
        let covered = self.planner.coverage(&name);
        if covered != Some(Coverage::Wildcard) || self.planner.is_good(&name, now()) {
            return self.want(name, answer);
        }
        if let Some(asking) = self.asking.get_mut(&name) {
            return asking.push(answer);
        }
        if self.waiting.contains_key(&name) {
            return self.want(name, answer);
        }
        let Some(url) = self.shared.parts.config.ask.clone() else {
            return tell(answer, Err(Unavailable::NotAllowed("it is not set".to_owned())));
        };
        match self.noes.get(&name) {
            Some((at, why)) if at.elapsed() < NO_HOLDS => {
                return tell(answer, Err(Unavailable::NotAllowed(why.clone())));
            }
            _ => {}
        }
        if self.asking.len() >= ASKS_MAX {
            return tell(answer, Err(Unavailable::Busy));
        }
        self.asking.insert(name.clone(), vec![answer]);
        let asked = name.clone();
        let work = async move {
            let result = ask::may_be_ordered(&url, &asked).await;
            Done::Asked(asked, result)
        };
        self.start(Task::Ask(name), work);
    }

    /// Somebody waits for a name that may be ordered.
    fn want(&mut self, name: Arc<str>, answer: Answer) {
        let now = now();
        match self.planner.want(&name, now) {
            Want::Good => tell(answer, Ok(())),
            Want::Wait => self.waiting.entry(name).or_default().push(answer),
            Want::Later(at) => {
                tell(answer, Err(Unavailable::Later(Duration::from_secs(at.0.saturating_sub(now.0)))));
            }
            Want::NotServed => tell(answer, Err(Unavailable::NotServed)),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Ordered(order, result) => self.ordered(order, result),
            Done::Asked(name, result) => {
                for answer in self.asking.remove(&name).unwrap_or_default() {
                    match &result {
                        Ok(()) => self.want(name.clone(), answer),
                        Err(why) => tell(answer, Err(Unavailable::NotAllowed(why.clone()))),
                    }
                }
                if let Err(why) = result {
                    tracing::debug!(%name, why, "acme.ask does not allow a name");
                    if self.noes.len() >= NOES_MAX {
                        self.noes.clear();
                    }
                    self.noes.insert(name, (Instant::now(), why));
                }
            }
            Done::Looked(name, found) => {
                self.looking = false;
                let (window, again_in) =
                    found.map_or((None, LOOK_USUAL), |(window, again)| (Some(window), again));
                self.planner.looked(&name, window, again_in, now());
            }
        }
    }

    fn ordered(&mut self, order: Order, result: Result<Ended, Trouble>) {
        let (name, now) = (&*order.name, now());
        let authority = self.shared.authorities[order.authority].directory();
        let (ended, outcome) = match result {
            Ok(ended) => (ended, Ok(())),
            Err(Trouble { failure, why }) => {
                tracing::warn!(name, authority, ?failure, why, "an order has failed");
                (Ended::Failed(failure), Err(Unavailable::Failed(why)))
            }
        };
        // What the authority may still be at is taken up again rather than ordered twice.
        let interrupted = matches!(
            ended,
            Ended::Failed(
                Failure::Unavailable | Failure::Silent | Failure::Ours | Failure::RateLimited { .. }
            )
        );
        let heard = self.planner.ended(name, ended, now);
        let (until, failures) =
            self.planner.authorities().nth(order.authority).expect("the planner has as many");
        let record = self.planner.record(name);
        let kept = self.shared.store.ended(name, record.as_ref(), interrupted, (authority, until, failures));
        if let Err(error) = kept {
            tracing::error!(name, %error, "the end of an order could not be written down");
        }
        match &outcome {
            Ok(()) => {
                let renew_at =
                    record.and_then(|record| record.certificate).map(|certificate| certificate.renew_at);
                tracing::info!(name, authority, renew_at = ?renew_at.map(|at| at.0), "a certificate was issued");
                self.changed = true;
                self.status(|status| status.issued += 1);
                (self.shared.parts.installed)(name, &self.shared.store.path(name));
            }
            Err(_) => self.status(|status| status.failed += 1),
        }
        if heard == Heard::Over {
            for answer in self.waiting.remove(name).unwrap_or_default() {
                tell(answer, outcome.clone());
            }
        }
    }

    fn panicked(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a task of the certificates has ended badly");
        let why = || "an error of ghostpin itself; see its log".to_owned();
        match self.for_what.remove(&error.id()) {
            Some(Task::Order(order)) => {
                self.ordered(order, Err(Trouble { failure: Failure::Ours, why: why() }));
            }
            Some(Task::Ask(name)) => self.done(Done::Asked(name, Err(why()))),
            Some(Task::Look) => self.looking = false,
            None => {}
        }
    }

    fn status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell_status(&mut self) {
        let now = now();
        // Counting looks at all names.
        let least = if self.changed { COUNT_INTERVAL_AFTER_CHANGE } else { COUNT_INTERVAL };
        let good = self.counted.is_none_or(|at| at.elapsed() >= least).then(|| self.planner.good(now));
        if good.is_some() {
            (self.counted, self.changed) = (Some(Instant::now()), false);
        }
        let names = self.shared.authorities.iter().map(|ca| ca.directory().to_owned());
        let authorities = names.zip(self.planner.authorities()).map(|(directory, (until, failures))| {
            let backoff_until = (until > now).then(|| time_of_day(until));
            AuthorityStatus { directory, backoff_until, failures }
        });
        let authorities = authorities.collect();
        self.status(|status| {
            status.queued = self.planner.queued();
            status.under_way = self.planner.under_way();
            status.authorities = authorities;
            if let Some((valid, soonest)) = good {
                (status.valid, status.soonest_end) = (valid, soonest.map(time_of_day));
            }
        });
    }
}

impl Shared {
    async fn order(&self, order: &Order) -> Result<Ended, Trouble> {
        // Whether the first one may be ordered was asked when somebody wanted it.
        if order.coverage == Coverage::Wildcard && order.renewal {
            let allowed = match &self.parts.config.ask {
                Some(url) => ask::may_be_ordered(url, &order.name).await,
                None => Err("acme.ask is not set".to_owned()),
            };
            allowed.map_err(|why| Trouble { failure: Failure::Ours, why })?;
        }
        let means = Means {
            ca: &self.authorities[order.authority],
            store: &self.store,
            challenges: &self.parts.challenges,
            kinds: &self.parts.config.challenges,
        };
        order::carry_out(order, means).await
    }

    async fn window(&self, name: &str) -> Option<(Window, u64)> {
        let pem = self.store.certificate(name)?;
        // Suggestions come from who issued it; almost always that is the first.
        let account = self.authorities.first()?.account(&self.store).await.ok()?;
        order::window(&account, &pem).await
    }
}

fn tell(answer: Answer, result: Result<(), Unavailable>) {
    // Who is gone doesn't want to know.
    let _ = answer.send(result);
}

fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn time_of_day(time: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.0)
}
