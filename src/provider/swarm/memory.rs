//! The services that there were, on the disk: a ghostpin that is started while no manager answers serves them.
//!
//! Only who they are is kept. Which task each is pinned to, the pin store says, which is never older.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::config::labels::SITE;
use crate::core::Backend;
use crate::core::swarm::Wanted;

/// The file's name in the folder of the pin store.
const FILE: &str = "swarm.json";

/// See the module's text.
pub(super) struct Memory {
    path: PathBuf,
    kept: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    id: String,
    created: String,
    name: String,
    labels: BTreeMap<String, String>,
}

impl Memory {
    /// In the folder of the pin store.
    pub(super) fn new(state: &std::path::Path) -> Self {
        Self { path: state.join(FILE), kept: Vec::new() }
    }

    /// The services of a former life, each on the backend that its site is pinned to, if that was one of its tasks.
    pub(super) fn recall(&mut self, pinned: &BTreeMap<String, Backend>) -> Vec<Wanted> {
        match self.read() {
            Ok(kept) => self.kept = kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                path = %self.path.display(), %error, "the services of the last run can't be read: the swarm is waited for"
            ),
        }
        let wanted = |kept: &Kept| {
            let is_task = |backend: &&Backend| {
                backend.name().is_some_and(|name| {
                    name.strip_prefix(&kept.name).is_some_and(|rest| rest.starts_with('.'))
                })
            };
            let pin = kept.labels.get(SITE).and_then(|site| pinned.get(site));
            Wanted {
                id: kept.id.clone(),
                created: kept.created.clone(),
                name: kept.name.clone(),
                labels: kept.labels.clone(),
                candidate: pin.filter(is_task).cloned(),
                rivals: Vec::new(),
                lost: Vec::new(),
                refused: None,
                unreachable: None,
                moving: false,
            }
        };
        self.kept.iter().map(wanted).collect()
    }

    /// Writes them down, if they are others than before.
    pub(super) fn keep(&mut self, wanted: &[Wanted]) {
        let kept = |wanted: &Wanted| Kept {
            id: wanted.id.clone(),
            created: wanted.created.clone(),
            name: wanted.name.clone(),
            labels: wanted.labels.clone(),
        };
        // One that is refused for its port would come back as a site.
        let kept: Vec<Kept> = wanted.iter().filter(|wanted| wanted.refused.is_none()).map(kept).collect();
        if kept == self.kept {
            return;
        }
        match self.write(&kept) {
            Ok(()) => self.kept = kept,
            Err(error) => tracing::warn!(
                path = %self.path.display(), %error, "the services can't be written down for the next start"
            ),
        }
    }

    fn read(&self) -> io::Result<Vec<Kept>> {
        Ok(serde_json::from_slice(&fs::read(&self.path)?)?)
    }

    fn write(&self, kept: &[Kept]) -> io::Result<()> {
        let beside = self.path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec(kept)?)?;
        fs::rename(beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> Wanted {
        Wanted {
            id: format!("id-{name}"),
            created: "2026".to_owned(),
            name: name.to_owned(),
            labels: [(SITE.to_owned(), name.to_owned())].into(),
            candidate: None,
            rivals: Vec::new(),
            lost: Vec::new(),
            refused: None,
            unreachable: None,
            moving: false,
        }
    }

    #[test]
    fn services_are_recalled_on_the_tasks_that_are_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::new(folder.path());
        assert_eq!(memory.recall(&BTreeMap::new()), []);
        let moving = Wanted { moving: true, candidate: "a.1.x@10.0.0.1:1".parse().ok(), ..wanted("a") };
        memory.keep(&[moving, wanted("b"), wanted("c")]);
        let pins = [("a", "a.1.y@10.0.0.2:1"), ("b", "127.0.0.1:1"), ("c", "cc.1.z@10.0.0.3:1")];
        let pins = pins.map(|(site, backend)| (site.to_owned(), backend.parse().unwrap())).into();
        let recalled = Memory::new(folder.path()).recall(&pins);
        let on_y = Wanted { candidate: "a.1.y@10.0.0.2:1".parse().ok(), ..wanted("a") };
        assert_eq!(
            recalled,
            [on_y, wanted("b"), wanted("c")],
            "what was pinned from a file, or by another service, is no task"
        );
    }

    #[test]
    fn a_broken_memory_is_no_reason_not_to_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "[{").unwrap();
        let mut memory = Memory::new(folder.path());
        assert_eq!(memory.recall(&BTreeMap::new()), []);
        memory.keep(&[wanted("a")]);
        assert_eq!(Memory::new(folder.path()).recall(&BTreeMap::new()).len(), 1);
    }
}
