//! The fleet's store: etcd. It is given [`Command`]s and sends [`News`]; what to do with either is decided elsewhere.
//!
//! One thread with a runtime of its own, so that a keep-alive never waits for anything else. Nothing of consensus, leases
//! or elections is done here: a lease is etcd's, the controller is whoever won etcd's election.
//!
//! | key, below the prefix | what it says | who writes it |
//! |---|---|---|
//! | `sites/NAME` | a site's record | the controller, guarded by the revision of the one before |
//! | `edges/LEASE` | an edge's name, watermark and pending sites | that life of that edge; goes with its lease |
//! | `seen/LEASE` | whose backends it can't reach, and which newer pins it knows | the same |
//! | `canary/LEASE` | which sites an edge that tries updates has in force, and what it thinks of them | the same |
//! | `detours/LEASE` | where an edge takes requests for backends that others can't reach, and what to say there | the same |
//! | `asks/LEASE` | which backends the controller wants to know about | the controller |
//! | `controller/LEASE` | the name of an edge that stands for election; the oldest key has won | etcd's election |
//! | `wishes/ID`, `answers/ID` | what an operator has asked an edge for; what came of it | that edge; the controller |

pub mod canary;
pub mod controller;
pub mod detours;
pub mod edge;
pub mod join;
pub mod lease;
pub mod refusals;
pub mod store;
pub mod values;
pub mod wishes;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::sleep;

use crate::config::Cluster;
use crate::control::fleet::{Command, HasLeft, News};
use crate::core::fleet::edge::Effect;
use crate::core::fleet::{LeaseId, Moment};
use crate::detour::Detour;
use crate::lifeline::Lifeline;
pub use store::{Store, StoreError};

/// By so many tenths of its lease an edge ends before it: for clocks that differ, for the cut, and for one election of
/// etcd's, in which a leader that was left behind may answer a keep-alive.
pub const MARGIN_TENTHS: u32 = 3;

/// Where news go.
type Tell = Rc<dyn Fn(News)>;

/// Starts the thread. It works until the sender of commands is gone.
///
/// # Errors
/// If there is no thread to be had.
pub fn start(
    cluster: Cluster,
    detour: Option<Detour>,
    lifeline: Arc<Lifeline>,
    commands: mpsc::UnboundedReceiver<Command>,
    tell: impl Fn(News) + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("fleet".to_owned()).spawn(move || {
        LocalSet::new().block_on(&runtime, work(Store::new(cluster), detour, lifeline, commands, tell));
    })
}

/// What the thread does. `detour` is what this edge offers to others. Needs a `LocalSet`.
pub async fn work(
    store: Store,
    detour: Option<Detour>,
    lifeline: Arc<Lifeline>,
    commands: mpsc::UnboundedReceiver<Command>,
    tell: impl Fn(News) + 'static,
) {
    let (store, tell): (_, Tell) = (Rc::new(store), Rc::new(tell));
    store.refusals().tell_to(tell.clone());
    let fleet = Fleet {
        store,
        detour,
        lifeline,
        tell,
        life: None,
        revoking: watch::channel(HasLeft::Told).1,
        has_left: false,
        retired: watch::Sender::new(false),
    };
    fleet.work(commands).await;
}

/// What is under way for one life of this edge. It ends with it.
struct Life {
    lease: Option<LeaseId>,
    /// When that runs out, if it is not heard of again.
    runs_out: Rc<Cell<Moment>>,
    tasks: Vec<AbortHandle>,
    /// To the one who is, or wants to be, the controller.
    controller: Option<mpsc::UnboundedSender<Command>>,
    key: Rc<edge::Key>,
    /// What `seen/LEASE` is to say.
    seen: watch::Sender<Vec<u8>>,
    /// The same for `canary/LEASE`.
    tried: watch::Sender<Vec<u8>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

struct Fleet {
    store: Rc<Store>,
    detour: Option<Detour>,
    lifeline: Arc<Lifeline>,
    tell: Tell,
    life: Option<Life>,
    /// Ends when the last lease that was given back is over, and says how.
    revoking: watch::Receiver<HasLeft>,
    /// It was said in the log that the fleet is left, or is about to be.
    has_left: bool,
    /// Whether this process is to be the controller no more.
    retired: watch::Sender<bool>,
}

impl Fleet {
    async fn work(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Edge(effect) => self.edge(effect),
                Command::See { lease, seen } => {
                    if let Some(life) = self.life.as_ref().filter(|life| life.lease == Some(lease)) {
                        life.seen.send_replace(values::seen_bytes(&seen));
                    }
                }
                Command::SayTried { lease, says } => {
                    if let Some(life) = self.life.as_ref().filter(|life| life.lease == Some(lease)) {
                        life.tried.send_replace(canary::to_bytes(says.as_ref()));
                    }
                }
                Command::Wish { site, wish, by, answer } => {
                    let (store, now) = (self.store.clone(), self.lifeline.now());
                    tokio::task::spawn_local(async move {
                        let result = wishes::ask(&store, now, site, wish, by).await;
                        drop(answer.send(result));
                    });
                }
                Command::Look(answer) => {
                    let (store, own) = (self.store.clone(), self.life.as_ref().and_then(|life| life.lease));
                    tokio::task::spawn_local(async move {
                        let view = edge::look(&store, own).await;
                        drop(answer.send(view.map_err(|error| error.to_string())));
                    });
                }
                Command::SayLeft(asked) => {
                    let mut revoking = self.revoking.clone();
                    let is_first = !std::mem::replace(&mut self.has_left, true);
                    tokio::task::spawn_local(async move {
                        while revoking.changed().await.is_ok() {}
                        let how = *revoking.borrow();
                        match how {
                            HasLeft::Told if is_first => tracing::info!("the fleet is left"),
                            HasLeft::RanOut if is_first => tracing::warn!(
                                "the fleet is left: etcd could not be told, and the lease has run out"
                            ),
                            _ => {}
                        }
                        for one in asked {
                            let _ = one.send(Some(how));
                        }
                    });
                }
                Command::Retire => drop(self.retired.send_replace(true)),
                for_controller @ (Command::Write { .. }
                | Command::Resign
                | Command::Ask(_)
                | Command::Answer { .. }) => {
                    if let Some(controller) = self.life.as_ref().and_then(|life| life.controller.as_ref()) {
                        let _ = controller.send(for_controller);
                    }
                }
            }
        }
    }

    fn edge(&mut self, effect: Effect) {
        let (store, tell) = (self.store.clone(), self.tell.clone());
        match effect {
            Effect::Grant => {
                // What is left of a former life ends here.
                let (seen, tried) = (watch::Sender::new(Vec::new()), watch::Sender::new(Vec::new()));
                let (lease, tasks, key) = (None, Vec::new(), Rc::default());
                let runs_out = Rc::<Cell<Moment>>::default();
                let live = lease::live(store, self.lifeline.clone(), runs_out.clone(), tell);
                self.life = Some(Life { lease, runs_out, tasks, controller: None, key, seen, tried });
                let task = tokio::task::spawn_local(live);
                self.life.iter_mut().for_each(|life| life.tasks.push(task.abort_handle()));
            }
            Effect::Register(lease) => {
                let Some(life) = &mut self.life else { return };
                life.lease = Some(lease);
                let (controller, commands) = mpsc::unbounded_channel();
                life.controller = Some(controller);
                let (key, seen, tried) = (life.key.clone(), life.seen.subscribe(), life.tried.subscribe());
                let (telling, hearing) = (store.clone(), (store.clone(), tell.clone()));
                self.spawn(lease, async move {
                    edge::keep_told(&telling, &format!("seen/{lease}"), lease, seen).await;
                });
                self.spawn(lease, async move { edge::hear_what_is_asked(&hearing.0, &hearing.1).await });
                let (telling, hearing) = (store.clone(), (store.clone(), tell.clone()));
                self.spawn(lease, async move {
                    edge::keep_told(&telling, &format!("canary/{lease}"), lease, tried).await;
                });
                self.spawn(lease, async move { canary::hear(&hearing.0, &hearing.1).await });
                if let Some(detour) = self.detour.clone() {
                    let (store, tell) = (store.clone(), tell.clone());
                    self.spawn(lease, async move { detours::offer(&store, lease, &detour, &tell).await });
                }
                let (standing, retired) = ((store.clone(), tell.clone()), self.retired.subscribe());
                self.spawn(lease, async move {
                    edge::register(&store, lease, &key, &tell).await;
                    let (store, tell) = standing;
                    controller::stand_until(retired, store, lease, commands, tell).await;
                });
            }
            Effect::List(lease) => self.spawn(lease, async move { edge::list(&store, lease, &tell).await }),
            Effect::Watch { lease, from } => {
                self.spawn(lease, async move { edge::watch(&store, lease, from, &tell).await });
            }
            Effect::Tell { lease, watermark, pending } => {
                let Some(key) = self.life.as_ref().map(|life| life.key.clone()) else { return };
                self.spawn(lease, async move {
                    edge::tell(&store, lease, &key, watermark, &pending, &tell).await;
                });
            }
            Effect::Revoke(lease) => {
                // One that was granted when nobody wanted it any more was never registered.
                let life = self.life.take_if(|life| life.lease.is_none_or(|its| its == lease));
                let now = self.lifeline.now();
                let latest = now.plus(store.config().lease_ttl);
                let runs_out = life.map_or(latest, |life| life.runs_out.get());
                let (over, revoking) = watch::channel(HasLeft::RanOut);
                self.revoking = revoking;
                let left = runs_out.since(now);
                tokio::task::spawn_local(async move {
                    tokio::select! {
                        biased;
                        () = store.revoke(lease) => drop(over.send_replace(HasLeft::Told)),
                        () = sleep(left) => {}
                    }
                });
            }
            // The rest concerns gates, and is not sent here.
            _ => {}
        }
    }

    /// Works for this life, and for no other.
    fn spawn(&mut self, lease: LeaseId, work: impl Future<Output = ()> + 'static) {
        let Some(life) = self.life.as_mut().filter(|life| life.lease == Some(lease)) else { return };
        life.tasks.retain(|task| !task.is_finished());
        life.tasks.push(tokio::task::spawn_local(work).abort_handle());
    }
}
