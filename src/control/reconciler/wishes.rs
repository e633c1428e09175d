//! What operators want: it is put before the core, once there is something to go by.

use super::*;
use crate::core::health::State;

/// A handoff to a backend that was not looked at yet: right after the start, after an election, or when it was just
/// added. It waits for the look.
#[derive(Debug)]
pub(super) struct Unseen {
    site: SiteName,
    to: String,
    by: String,
    pub(super) asker: Asker,
}

/// What has become of a wish, once it stands in the fleet's store: the next controller goes by that alone.
#[derive(Debug)]
pub(super) struct Unsaid {
    site: SiteName,
    id: WishId,
    result: Result<Option<Pin>, Refused>,
}

/// Who wishes something, and is told what has become of it.
#[derive(Debug)]
pub(super) enum Asker {
    /// This process was asked.
    Here(oneshot::Sender<Result<Option<Pin>, WishError>>),
    /// Another edge was, and looks into the fleet's store for the answer to the wish of this name.
    Elsewhere { id: String, commands: mpsc::UnboundedSender<Command> },
}

impl Asker {
    /// Said at once: what this process tells the store after that, it hears after that.
    pub(super) fn told(self, result: Result<Option<Pin>, WishError>) {
        match self {
            // Whoever asked may have gone meanwhile.
            Self::Here(answer) => drop(answer.send(result)),
            Self::Elsewhere { id, commands } => drop(commands.send(Command::Answer { id, result })),
        }
    }
}

impl Reconciler {
    pub(super) fn wished(&mut self, site: SiteName, wanted: Wanted, by: String, asker: Asker) {
        let Some(&key) = self.by_name.get(&site) else {
            return asker.told(Err(WishError::NoSite(site)));
        };
        let wish = match wanted {
            Wanted::Hold => Wish::Hold,
            Wanted::Release => Wish::Release,
            Wanted::Handoff(to) => match self.find_candidate(key, &to) {
                Some(backend) if self.is_unseen(key, &backend) => {
                    self.schedule.hasten((key, backend), Class::Urgent, Instant::now());
                    return self.unseen.push(Unseen { site, to, by, asker });
                }
                Some(to) => Wish::Handoff { to },
                None => return asker.told(Err(Refused::NoCandidate.into())),
            },
        };
        self.next_wish += 1;
        self.wishes.insert(self.next_wish, asker);
        if let Some(entry) = self.sites.get_mut(&key) {
            if wish == Wish::Release
                && entry.core.is_on_hold()
                && let Some(open) = &mut entry.open
            {
                open.entry_mut().note = Some(format!("released by {by}"));
            }
            entry.wished_by = Some(by.into());
        }
        self.step(key, Input::Wished { id: self.next_wish, wish });
    }

    /// Something was seen, or sites have changed: whoever waited for that goes on.
    pub(super) fn look_at_unseen(&mut self) {
        for Unseen { site, to, by, asker } in std::mem::take(&mut self.unseen) {
            self.wished(site, Wanted::Handoff(to), by, asker);
        }
    }

    /// The core has done what was wished, or has refused it.
    pub(super) fn fulfilled(&mut self, key: SiteKey, id: WishId, result: Result<Option<Pin>, Refused>) {
        let Some(entry) = self.sites.get(&key) else { return };
        self.unsaid.push(Unsaid { site: entry.name().clone(), id, result });
        self.say_what_stands();
    }

    /// Answers wishes, as far as the store has what has become of them.
    pub(super) fn say_what_stands(&mut self) {
        let ledger = self.fleet.as_ref().and_then(|fleet| fleet.ledger.as_ref());
        let stands = |unsaid: &mut Unsaid| ledger.is_none_or(|ledger| ledger.is_settled(&unsaid.site));
        let said: Vec<Unsaid> = self.unsaid.extract_if(.., stands).collect();
        for Unsaid { id, result, .. } in said {
            if let Some(asker) = self.wishes.remove(&id) {
                asker.told(result.map_err(WishError::from));
            }
        }
    }

    /// Whether somebody still waits for an answer.
    pub(super) fn owes_an_answer(&self) -> bool {
        !self.wishes.is_empty() || !self.unseen.is_empty()
    }

    /// Tells all who still wait that this process does not decide any more.
    pub(super) fn give_up_wishes(&mut self, why: impl Fn() -> WishError) {
        let unseen = std::mem::take(&mut self.unseen).into_iter().map(|unseen| unseen.asker);
        for asker in std::mem::take(&mut self.wishes).into_values().chain(unseen) {
            asker.told(Err(why()));
        }
    }

    fn is_unseen(&self, key: SiteKey, backend: &Backend) -> bool {
        let Some(entry) = self.sites.get(&key) else { return false };
        let candidate = entry.core.candidates().iter().find(|candidate| candidate.backend == *backend);
        candidate.is_some_and(|candidate| candidate.health.state() == State::Unknown)
    }

    /// A candidate by its text, or by the name that it was resolved from.
    fn find_candidate(&self, key: SiteKey, text: &str) -> Option<Backend> {
        let mut candidates =
            self.sites.get(&key)?.core.candidates().iter().map(|candidate| &candidate.backend);
        let names = |backend: &&Backend| backend.name() == Some(text) || backend.to_string() == text;
        candidates.find(names).cloned()
    }
}
