//! Whether an answer is as new as what was heard before.
//!
//! A leader that was cut off from the others goes on answering with what it knew, for a quarter of a minute. Indices come
//! from one counter over all objects, so they tell: an object never goes back, and an answer that holds an index as high
//! as the highest that was ever seen holds everything before it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::{Snapshot, Stale};

/// What may be old is believed when nothing newer was heard for so long. A leader without a majority answers for up to
/// 17 s (measured); a swarm that was restored from a backup, or whose newest object was removed, stays as it is.
pub const BELIEVED_AFTER: Duration = Duration::from_secs(30);

/// What was heard, by its indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Fresh {
    cluster: Option<String>,
    seen: BTreeMap<String, u64>,
    highest: u64,
    /// When an answer was as new as all before it.
    newest_at: Option<Duration>,
}

impl Fresh {
    /// Judges an answer; `returned` is a task in it that has ended before.
    pub(super) fn judge(
        &self,
        snapshot: &Snapshot,
        returned: Option<&str>,
        now: Duration,
    ) -> Result<(), Stale> {
        let Err(stale) = self.compare(snapshot, returned) else { return Ok(()) };
        let heard_newer = self.newest_at.is_some_and(|at| now < at + BELIEVED_AFTER);
        if heard_newer || !stale.may_come_true() { Err(stale) } else { Ok(()) }
    }

    /// Takes in an answer that is believed.
    pub(super) fn take(&mut self, snapshot: &Snapshot, now: Duration) {
        self.cluster = snapshot.cluster.clone().or(self.cluster.take());
        self.seen = objects(snapshot).map(|(object, index)| (object.key(), index)).collect();
        self.highest = highest(snapshot);
        self.newest_at = Some(now);
    }

    /// The highest index of what is believed.
    pub(super) fn index(&self) -> u64 {
        self.highest
    }

    fn compare(&self, snapshot: &Snapshot, returned: Option<&str>) -> Result<(), Stale> {
        if !snapshot.error.is_empty() {
            return Err(Stale::Troubled(snapshot.error.clone()));
        }
        let managers: Vec<bool> = snapshot.nodes.iter().filter_map(|node| node.manager).collect();
        let reached = managers.iter().filter(|reached| **reached).count();
        if 2 * reached <= managers.len() && !managers.is_empty() {
            return Err(Stale::NoQuorum { reached, managers: managers.len() });
        }
        if let (Some(ours), Some(theirs)) = (&self.cluster, &snapshot.cluster)
            && ours != theirs
        {
            return Err(Stale::OtherSwarm(theirs.clone()));
        }
        for (object, index) in objects(snapshot) {
            if let Some(seen) = self.seen.get(&object.key()).filter(|seen| index < **seen) {
                return Err(Stale::GoneBack { object: object.to_string(), index, seen: *seen });
            }
        }
        if let Some(task) = returned {
            return Err(Stale::Returned(task.to_owned()));
        }
        let index = highest(snapshot);
        if index < self.highest {
            return Err(Stale::Behind { index, seen: self.highest });
        }
        Ok(())
    }
}

/// One of the things that have an index.
struct Object<'a> {
    kind: &'static str,
    id: &'a str,
}

impl Object<'_> {
    fn key(&self) -> String {
        // Identities are random: those of two kinds are never the same.
        self.id.to_owned()
    }
}

impl std::fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

fn objects(snapshot: &Snapshot) -> impl Iterator<Item = (Object<'_>, u64)> {
    let services = snapshot.services.iter().map(|one| ("service", &one.id, one.index));
    let tasks = snapshot.tasks.iter().map(|one| ("task", &one.id, one.index));
    let nodes = snapshot.nodes.iter().map(|one| ("node", &one.id, one.index));
    services.chain(tasks).chain(nodes).map(|(kind, id, index)| (Object { kind, id }, index))
}

fn highest(snapshot: &Snapshot) -> u64 {
    objects(snapshot).map(|(_, index)| index).max().unwrap_or(0)
}
