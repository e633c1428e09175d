//! Updates that touch too many sites at once wait for somebody's word, whoever they come from; those of the file that touch any
//! wait for the canary's, where there is one.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use super::*;
use crate::config::changes::Changes;
use crate::control::view::WaitingUpdate;
use crate::core::canary::{Awaited, Fingerprint};
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
    /// The updates that somebody has given their word for. Each is for the next one of its source, whatever becomes of that.
    confirmed: BTreeMap<Source, String>,
    /// What of the file waits for the canary.
    untried: Option<Untried>,
}

/// An update that is to be tried elsewhere first.
#[derive(Debug)]
struct Untried {
    /// What it leads to.
    fingerprint: Fingerprint,
    awaits: Awaited,
    /// Told when it has been found good.
    until_good: Vec<oneshot::Sender<()>>,
}

impl Guarded {
    pub(super) fn waiting(&self) -> Vec<WaitingUpdate> {
        self.waiting.values().cloned().collect()
    }

    /// The update of this source that waits.
    pub(super) fn waits(&self, source: Source) -> Option<String> {
        self.waiting.get(&source).map(|waiting| waiting.id.clone())
    }

    /// The word that was given for an update of this source, if there is one.
    fn word(&self, source: Source) -> Option<&String> {
        self.confirmed.get(&source)
    }

    /// Takes the word that was given for an update of this source, if there is one.
    pub(super) fn take_word(&mut self, source: Source) -> Option<String> {
        self.confirmed.remove(&source)
    }
}

/// An update that may not be made at once.
#[derive(Debug)]
struct Weighed {
    id: String,
    touched: Touched,
    /// Sites that it removes or changes; some of them.
    examples: Vec<String>,
    /// What of it waits for the canary, if anything does.
    awaits: Option<Awaited>,
    needs_word: bool,
    /// What it waits for, and what to do.
    why: String,
}

impl Reconciler {
    /// Why these changes would have to wait; `None` if they may be made now.
    fn weigh(&self, source: Source, changes: &Changes, fingerprint: Option<Fingerprint>) -> Option<Weighed> {
        let of = self.by_name.len();
        let (known, new): (Vec<_>, Vec<_>) =
            changes.put.iter().partition(|site| self.by_name.contains_key(&site.name));
        let changed: Vec<_> = known.into_iter().filter(|site| !self.only_moves(site)).collect();
        let touched = Touched { of, removed: changes.gone.len(), changed: changed.len(), added: new.len() };
        // Who has one service takes that back like this; a file without any site is more often a slip.
        let was_the_only_one = source == Source::Provider && of == 1;
        let needs_word = !was_the_only_one && !self.config.guard.rule.lets_pass(&touched);
        // What only comes touches nobody, and where the pins of new sites are made is not where they are tried.
        let is_tried_first = source == Source::File && touched.removed + touched.changed > 0;
        let awaits = fingerprint.filter(|_| is_tried_first).and_then(|fingerprint| self.awaits(fingerprint));
        if !needs_word && awaits.is_none() {
            return None;
        }
        let id = id(&changes.gone, changed.iter().copied().chain(new));
        let why = match &awaits {
            Some(awaits) if !needs_word => self.waits_for_canary(awaits, &id),
            _ => format!("more at once than [guard] allows. If that is meant: `ghostpin confirm {id}`"),
        };
        let names = changes.gone.iter().chain(changed.iter().map(|site| &site.name));
        let examples = names.take(EXAMPLES).map(ToString::to_string).collect();
        Some(Weighed { id, touched, examples, awaits, needs_word, why })
    }

    /// What a reload that leads to `config` would do, and what it would wait for.
    pub(super) fn plan(&mut self, mut config: Config) -> Plan {
        let mut plan = Plan::between(&self.config, &config, |name| self.pinned_backend(name));
        let changes = changes::between(&self.config.sites, &mut config.sites);
        let fingerprint = self.fingerprint_after(&changes, &config.defaults);
        let waits = self.weigh(Source::File, &changes, fingerprint);
        let confirmed = self.guarded.word(Source::File);
        let is_confirmed = |weighed: &Weighed| confirmed == Some(&weighed.id);
        plan.waits = waits.filter(|weighed| !is_confirmed(weighed)).map(|weighed| weighed.why);
        plan
    }

    /// Whether these changes may be made now. `fingerprint` is what they lead to, where updates are tried on one edge first.
    /// Returns what they wait for, if that is no matter of somebody's word; the error says what to do if they are meant.
    pub(super) fn may_change(
        &mut self,
        source: Source,
        changes: &Changes,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Option<String>, String> {
        let word = self.guarded.take_word(source);
        if source == Source::File {
            // Whatever waited for the canary, this takes its place.
            self.guarded.untried = None;
        }
        let Some(weighed) = self.weigh(source, changes, fingerprint) else {
            self.guarded.waiting.remove(&source);
            return Ok(None);
        };
        let Weighed { id, touched, examples, awaits, needs_word, why } = weighed;
        if word.as_deref() == Some(&id) {
            tracing::warn!(id, "an update that would {touched} was confirmed");
            self.guarded.waiting.remove(&source);
            return Ok(None);
        }
        let named = examples.join(", ");
        let text = match needs_word {
            true => format!(
                "it would {touched} at once, more than [guard] allows, so it waits: nothing was changed. Among them: {named}. \
                 If that is meant: `ghostpin confirm {id}`"
            ),
            false => {
                format!(
                    "it would {touched}, and waits: nothing was changed. Among them: {named}. It is {why}"
                )
            }
        };
        let known = self.guarded.waiting.get(&source).filter(|waiting| waiting.id == id);
        let since_ms = known.map_or_else(|| millis(SystemTime::now()), |known| known.since_ms);
        let is_new = known.is_none();
        let waiting = WaitingUpdate {
            id,
            source: source.word().to_owned(),
            removed: touched.removed,
            changed: touched.changed,
            added: touched.added,
            of: touched.of,
            examples,
            since_ms,
            waits_for: if needs_word { "word" } else { "canary" }.to_owned(),
            why,
        };
        self.guarded.waiting.insert(source, waiting);
        if is_new {
            self.note(SiteName::from("-"), "update_waits", text.clone());
        }
        if needs_word {
            return Err(text);
        }
        self.guarded.untried = awaits.zip(fingerprint).map(|(awaits, fingerprint)| Untried {
            fingerprint,
            awaits,
            until_good: Vec::new(),
        });
        Ok(Some(text))
    }

    /// In words, with what to do.
    fn waits_for_canary(&self, awaits: &Awaited, id: &str) -> String {
        let canary = self.config.guard.canary.as_ref().map_or("", |canary| &canary.edge);
        format!(
            "to be found good by `{canary}` first, the canary of [guard]; {awaits}. It is put in force by itself then; without \
             that: `ghostpin confirm {id}`"
        )
    }

    /// What the canary says may be news to what waits for it.
    pub(super) fn weigh_untried(&mut self) {
        if self.has_lent {
            // Nothing is put in force meanwhile; it is weighed again if this process goes on.
            return;
        }
        let Some(fingerprint) = self.guarded.untried.as_ref().map(|untried| untried.fingerprint) else {
            return;
        };
        let awaits = self.awaits(fingerprint);
        let Some(untried) = &mut self.guarded.untried else { return };
        let Some(awaits) = awaits else {
            // It goes on waiting until whoever wants it has put it in force.
            for told in untried.until_good.drain(..) {
                let _ = told.send(());
            }
            return;
        };
        if untried.awaits == awaits {
            return;
        }
        untried.awaits = awaits.clone();
        let Some(id) = self.guarded.waiting.get(&Source::File).map(|waiting| waiting.id.clone()) else {
            return;
        };
        let why = self.waits_for_canary(&awaits, &id);
        if matches!(awaits, Awaited::Canary | Awaited::Word(_)) {
            self.note(SiteName::from("-"), "update_waits", format!("update {id} is {why}"));
        }
        if let Some(waiting) = self.guarded.waiting.get_mut(&Source::File) {
            waiting.why = why;
        }
    }

    /// Tells when what waits of the file has been found good by the canary.
    pub(super) fn until_good(&mut self, answer: oneshot::Sender<()>) {
        if let Some(untried) = &mut self.guarded.untried {
            untried.until_good.push(answer);
            self.weigh_untried();
        }
    }

    /// The update of this name is meant. Returns who wants it, if it waits.
    pub(super) fn confirm(&mut self, id: String) -> Option<Source> {
        let waiting = self.guarded.waiting.iter().find(|(_, waiting)| waiting.id == id);
        let source = *waiting?.0;
        self.guarded.confirmed.insert(source, id);
        Some(source)
    }
}

/// The same for the same changes, and no other: what is confirmed is what was looked at. Where a provider has its instances
/// run meanwhile is none of them.
fn id<'a>(gone: &[SiteName], put: impl Iterator<Item = &'a Arc<config::Site>>) -> String {
    let mut hasher = FixedState::default().build_hasher();
    for name in gone {
        name.as_str().hash(&mut hasher);
    }
    for site in put {
        let settled =
            site.provided.then(|| config::Site { backends: Box::default(), unfit: None, ..(**site).clone() });
        format!("{:?}", settled.as_ref().unwrap_or(site)).hash(&mut hasher);
    }
    format!("{:08x}", hasher.finish() >> 32)
}
