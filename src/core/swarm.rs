//! A swarm: which services are sites, and which task is the candidate of each.
//!
//! Managers are asked again and again, and what they answer is news, not truth: [`Swarm`] refuses what is older than what it
//! has heard, never goes back to a task that has ended, and chooses none of two that are meant to run. Of its services
//! it tells what they are to be ([`Wanted`]), or why they can't ([`BadLabel`]); what the labels say beyond their tasks'
//! addresses is for the configuration to read.
//!
//! A manager that says nothing changes nothing: only an answer removes a service.

mod fresh;
mod place;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::fresh::Fresh;
use self::place::Way;
use super::Backend;

pub use self::fresh::BELIEVED_AFTER;
pub use self::place::{BadLabel, NETWORK, PORT};
pub use self::words::*;

/// What the labels that are meant for us begin with.
pub const PREFIX: &str = "ghostpin.";
/// Tasks of one place that are remembered after they have ended. An old answer is half a minute old at most, and no
/// place has so many tasks in that time.
const ENDED_MAX: usize = 64;
/// A task that is missing from so many answers in a row has ended: the lists of one answer are read one after the other.
const MISSED_MAX: u8 = 2;

/// What a service is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The service's identity.
    pub id: String,
    /// When it was created: who was first has a name or a host that two want.
    pub created: String,
    /// Its name.
    pub name: String,
    /// Its labels that are meant for us.
    pub labels: BTreeMap<String, String>,
    /// The task that is meant: nobody, or one.
    pub candidate: Option<Backend>,
    /// Tasks that run beside it, or all that run if nobody knows which is meant: a conflict.
    pub rivals: Vec<String>,
    /// Tasks whose node is down.
    pub lost: Vec<String>,
    /// Why there can be no site.
    pub refused: Option<BadLabel>,
    /// Why there is no way to its task.
    pub unreachable: Option<BadLabel>,
    /// Something is about to happen: an update is under way, or its task is not there yet.
    pub moving: bool,
}

/// A place of a service, and those who have been in it.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Tasks that are meant to run.
    known: BTreeMap<String, Known>,
    /// Those that have ended, the last one at the end, and their nodes.
    ended: VecDeque<(String, String)>,
}

/// A task that is meant to run.
#[derive(Clone, Debug, Default)]
struct Known {
    /// In how many answers in a row it was missing.
    missed: u8,
    node: String,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Swarm {
    fresh: Fresh,
    /// By service and place.
    slots: BTreeMap<(String, String), Slot>,
    /// The last task of each service that was alone.
    meant: BTreeMap<String, String>,
    /// Tasks that had a pin when we began.
    pinned: BTreeSet<String>,
    wanted: Vec<Wanted>,
}

impl Swarm {
    /// Knows nothing yet, but who has the pins that the store has: of two tasks that run, that one is meant.
    pub fn new<'a>(pinned: impl IntoIterator<Item = &'a Backend>) -> Self {
        let task = |backend: &Backend| Some(backend.name()?.rsplit_once('.')?.1.to_owned());
        Self { pinned: pinned.into_iter().filter_map(task).collect(), ..Self::default() }
    }

    /// Takes in an answer. `now` is counted from any moment, which stays the same.
    ///
    /// # Errors
    /// Why it is not believed; then nothing has changed.
    pub fn take(&mut self, snapshot: &Snapshot, now: Duration) -> Result<(), Stale> {
        let returned = snapshot.tasks.iter().find(|task| !task.is_over() && self.has_ended(task));
        self.fresh.judge(snapshot, returned.map(|task| task.id.as_str()), now)?;
        self.fresh.take(snapshot, now);
        self.remember(snapshot);
        let nodes = snapshot.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut tasks: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
        for task in snapshot.tasks.iter().filter(|task| !task.is_over() && !self.has_ended(task)) {
            tasks.entry(&task.service).or_default().push(task);
        }
        let is_ours = |service: &&Service| service.labels.keys().any(|label| label.starts_with(PREFIX));
        let services: Vec<&Service> = snapshot.services.iter().filter(is_ours).collect();
        self.wanted = services
            .into_iter()
            .map(|service| {
                self.want(service, tasks.get(service.id.as_str()).map_or(&[], Vec::as_slice), &nodes)
            })
            .collect();
        self.wanted.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(())
    }

    /// What is believed: the services that are meant for us, those first that were created first.
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// The highest index of what is believed; 0 before the first answer.
    pub fn index(&self) -> u64 {
        self.fresh.index()
    }

    fn has_ended(&self, task: &Task) -> bool {
        let slot = self.slots.get(&(task.service.clone(), task.place()));
        slot.is_some_and(|slot| slot.has_ended(&task.id))
    }

    /// Who is there, who is missing, and who has ended.
    fn remember(&mut self, snapshot: &Snapshot) {
        let services: BTreeSet<&str> = snapshot.services.iter().map(|service| service.id.as_str()).collect();
        self.slots.retain(|(service, _), _| services.contains(service.as_str()));
        self.meant.retain(|service, _| services.contains(service.as_str()));
        for missing in self.slots.values_mut().flat_map(|slot| slot.known.values_mut()) {
            missing.missed += 1;
        }
        for task in snapshot.tasks.iter().filter(|task| services.contains(task.service.as_str())) {
            let slot = self.slots.entry((task.service.clone(), task.place())).or_default();
            if task.is_over() {
                slot.end(&task.id, &task.node);
            } else if !slot.has_ended(&task.id) {
                slot.known.insert(task.id.clone(), Known { missed: 0, node: task.node.clone() });
            }
        }
        for slot in self.slots.values_mut() {
            let (gone, known) = std::mem::take(&mut slot.known)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(_, known)| known.missed >= MISSED_MAX);
            slot.known = known;
            gone.iter().for_each(|(id, known)| slot.end(id, &known.node));
        }
    }

    fn want(&mut self, service: &Service, tasks: &[&Task], nodes: &BTreeMap<&str, &Node>) -> Wanted {
        let mut running: Vec<&Task> = tasks.iter().copied().filter(|task| task.runs()).collect();
        running.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        let mut wanted = Wanted {
            id: service.id.clone(),
            created: service.created.clone(),
            name: service.name.clone(),
            labels: service
                .labels
                .iter()
                .filter(|(label, _)| label.starts_with(PREFIX))
                .map(|(label, value)| (label.clone(), value.clone()))
                .collect(),
            candidate: None,
            rivals: Vec::new(),
            lost: self.lost(service, nodes),
            refused: None,
            unreachable: None,
            moving: service.updating || running.is_empty() && !tasks.is_empty(),
        };
        let task = self.choose(service, &running);
        wanted.rivals = running
            .iter()
            .filter(|rival| task.is_none_or(|task| task.id != rival.id && !task.replaces(rival, service)))
            .map(|rival| format!("{}.{}.{}", service.name, rival.place(), rival.id))
            .collect();
        match (Way::of(service), task) {
            (Err(bad), _) => wanted.refused = Some(bad),
            (Ok(_), None) => {}
            (Ok(way), Some(task)) => match way.to(task, nodes) {
                Ok(address) => {
                    let name = format!("{}.{}.{}", service.name, task.place(), task.id);
                    wanted.candidate = Some(Backend::resolved(&name, address));
                }
                Err(bad) => wanted.unreachable = Some(bad),
            },
        }
        wanted
    }

    /// Its tasks on nodes that are down, whatever has become of them.
    fn lost(&self, service: &Service, nodes: &BTreeMap<&str, &Node>) -> Vec<String> {
        let first = (service.id.clone(), String::new());
        let of_service = self.slots.range(first..).take_while(|((id, _), _)| *id == service.id);
        let is_down = |node: &str| nodes.get(node).is_some_and(|node| node.down);
        of_service
            .flat_map(|((_, place), slot)| {
                let known = slot.known.iter().map(|(id, known)| (id, &known.node));
                let ended = slot.ended.iter().map(|(id, node)| (id, node));
                let lost = known.chain(ended).filter(|(_, node)| is_down(node));
                lost.map(move |(id, _)| format!("{}.{place}.{id}", service.name))
            })
            .collect()
    }

    /// The task that is meant, if that can be told.
    fn choose<'a>(&mut self, service: &Service, running: &[&'a Task]) -> Option<&'a Task> {
        let newest = *running.last()?;
        if running.iter().all(|task| task.id == newest.id || newest.replaces(task, service)) {
            self.meant.insert(service.id.clone(), newest.id.clone());
            return Some(newest);
        }
        let meant = self.meant.get(&service.id);
        let is_meant = |task: &&&Task| match meant {
            Some(meant) => task.id == *meant,
            None => self.pinned.contains(&task.id),
        };
        running.iter().find(is_meant).copied()
    }
}

impl Slot {
    fn has_ended(&self, id: &str) -> bool {
        self.ended.iter().any(|(ended, _)| ended == id)
    }

    fn end(&mut self, id: &str, node: &str) {
        self.known.remove(id);
        if !self.has_ended(id) {
            self.ended.push_back((id.to_owned(), node.to_owned()));
        }
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }
}

impl Task {
    /// It is the new one of an update that starts it before the old one is stopped.
    fn replaces(&self, old: &Task, service: &Service) -> bool {
        service.updating && self.place() == old.place() && (&self.created, &self.id) > (&old.created, &old.id)
    }
}

#[cfg(test)]
mod tests;
