//! Updates that touch too many sites at once wait for somebody's word, whoever they come from.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use super::*;
use crate::config::changes::Changes;
use crate::control::view::WaitingUpdate;
use crate::core::guard::Touched;

/// Names of sites that are told, of those that an update touches.
const EXAMPLES: usize = 5;

/// Who wants an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The file.
    File,
    /// A provider.
    Provider,
}

impl Source {
    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Provider => "provider",
        }
    }
}

/// What waits, and what somebody has given their word for.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    waiting: BTreeMap<Source, WaitingUpdate>,
    confirmed: Option<String>,
}

impl Guarded {
    pub(super) fn waiting(&self) -> Vec<WaitingUpdate> {
        self.waiting.values().cloned().collect()
    }
}

impl Reconciler {
    /// Whether these changes may be made now. The error says what to do if they are meant.
    pub(super) fn may_change(&mut self, source: Source, changes: &Changes) -> Result<(), String> {
        let of = self.by_name.len();
        let is_known = |site: &&Arc<config::Site>| self.by_name.contains_key(&site.name);
        let changed: Vec<_> = changes.put.iter().filter(is_known).collect();
        let touched = Touched {
            of,
            removed: changes.gone.len(),
            changed: changed.len(),
            added: changes.put.len() - changed.len(),
        };
        // Who has one service takes that back like this; a file without any site is more often a slip.
        let was_the_only_one = source == Source::Provider && of == 1;
        if was_the_only_one || self.config.guard.lets_pass(&touched) {
            self.guarded.waiting.remove(&source);
            return Ok(());
        }
        let id = id(changes);
        if self.guarded.confirmed.take_if(|confirmed| *confirmed == id).is_some() {
            tracing::warn!(id, "an update that would {touched} was confirmed");
            self.guarded.waiting.remove(&source);
            return Ok(());
        }
        let names = changes.gone.iter().chain(changed.iter().map(|site| &site.name));
        let examples: Vec<String> = names.take(EXAMPLES).map(ToString::to_string).collect();
        let text = format!(
            "it would {touched} at once, more than [guard] allows, so it waits: nothing was changed. Among them: {}. \
             If that is meant: `ghostpin confirm {id}`",
            examples.join(", ")
        );
        let known = self.guarded.waiting.get(&source).filter(|waiting| waiting.id == id);
        let since_ms = known.map_or_else(|| millis(SystemTime::now()), |known| known.since_ms);
        let is_new = known.is_none();
        let waiting = WaitingUpdate {
            id,
            source: source.word().to_owned(),
            removed: touched.removed,
            changed: touched.changed,
            added: touched.added,
            of,
            examples,
            since_ms,
        };
        self.guarded.waiting.insert(source, waiting);
        if is_new {
            self.note(SiteName::from("-"), "update_waits", text.clone());
        }
        Err(text)
    }

    /// The update of this name is meant. Returns who wants it, if it waits.
    pub(super) fn confirm(&mut self, id: String) -> Option<Source> {
        let waiting = self.guarded.waiting.iter().find(|(_, waiting)| waiting.id == id);
        let source = *waiting?.0;
        self.guarded.confirmed = Some(id);
        Some(source)
    }
}

/// The same for the same changes, and no other: what is confirmed is what was looked at.
fn id(changes: &Changes) -> String {
    let mut hasher = FixedState::default().build_hasher();
    for name in &changes.gone {
        name.as_str().hash(&mut hasher);
    }
    for site in &changes.put {
        format!("{site:?}").hash(&mut hasher);
    }
    format!("{:08x}", hasher.finish() >> 32)
}
