//! What this edge does where updates are tried on one edge of the fleet first: as the canary, it looks what comes of one, and
//! says so; as another, it hears of that. What waits for it is kept in [`super::guarded`].
//!
//! Nothing of this decides about pins.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::*;
use crate::config::changes::Changes;
use crate::config::{SiteDefaults, fingerprint};
use crate::control::fleet::Command;
use crate::control::view::CanaryView;
use crate::core::canary::{self, Answers, Awaited, Fingerprint, Says, Standing, Verdict};
use crate::core::fleet::edge::Life;
use crate::observe::metrics::{self, WorkerMetrics};

/// Sites that are probed for one update. Of more, the first by name stand for all.
const LOOKS_MAX: usize = 1_000;
/// Sites that are probed if the update has left none that it could be told from.
const OTHERS: usize = 10;
/// Probes under way at a time.
const LOOKS_AT_ONCE: usize = 50;
/// Time until the next look, where there was nothing to judge by.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Canary {
    /// The workers' counters.
    metrics: Vec<Arc<WorkerMetrics>>,
    /// Of the sites in force; there if updates are tried somewhere.
    in_force: Option<Fingerprint>,
    /// What all edges of the canary's name say.
    says: Vec<Says>,
    // As the canary.
    own: Option<Own>,
    /// What was counted at two moments: the first one is at least the time of a trial ago, if this process is that old.
    counted: Option<[(Instant, Answers); 2]>,
    told: Option<(LeaseId, Option<Says>)>,
    trials: u64,
}

/// What the canary thinks.
#[derive(Debug)]
struct Own {
    standing: Standing,
    why: String,
    /// There until it is good: what was well before a bad update is what the next one is compared with.
    trial: Option<Trial>,
}

/// An update that is tried.
#[derive(Debug)]
pub(super) struct Trial {
    number: u64,
    /// Sites that it touches and that were served before; `None` after a start, when nothing is known of before: all that
    /// the fleet says to serve.
    served: Option<BTreeSet<SiteName>>,
    /// Those of them that had a conflict.
    in_conflict: BTreeSet<SiteName>,
    before: Answers,
    /// What was counted when it was put in force.
    began_with: Answers,
    ends: Instant,
    /// What was seen of it by the eye, while probes are under way.
    seen: Option<canary::Trial>,
}

impl Reconciler {
    /// Counts what the workers answer.
    #[must_use]
    pub fn counting(mut self, metrics: impl IntoIterator<Item = Arc<WorkerMetrics>>) -> Self {
        self.canary.metrics = metrics.into_iter().collect();
        self
    }

    /// Whose name the canary has, if there is to be one.
    fn canary(&self) -> Option<&config::Canary> {
        self.fleet.as_ref().and(self.config.guard.canary.as_ref())
    }

    fn is_canary(&self) -> bool {
        let own = self.config.cluster.as_ref().map(|cluster| &cluster.name);
        self.canary().is_some_and(|canary| Some(&canary.edge) == own)
    }

    /// The edge that tries updates before this one puts them in force.
    pub(super) fn canary_elsewhere(&self) -> Option<&config::Canary> {
        self.canary().filter(|_| !self.is_canary())
    }

    /// What these changes lead to; `None` where nothing is tried first. It takes as long as what has changed is big.
    pub(super) fn fingerprint_after(
        &mut self,
        changes: &Changes,
        defaults: &SiteDefaults,
    ) -> Option<Fingerprint> {
        self.canary()?;
        let before = self.canary.in_force.unwrap_or_else(|| fingerprint::of(&self.config));
        self.canary.in_force = Some(before);
        let touched = changes.gone.iter().chain(changes.put.iter().map(|site| &site.name));
        let was = touched.filter_map(|name| self.sites.get(self.by_name.get(name)?));
        let without = was.fold(before, |all, entry| all.without(fingerprint::of_site(&entry.config)));
        let with = changes.put.iter().fold(without, |all, site| all.with(fingerprint::of_site(site)));
        let defaults = [defaults, &self.config.defaults].map(fingerprint::of_defaults);
        Some(with.with(defaults[0]).without(defaults[1]))
    }

    /// What an update that leads there waits for; `None` if it may be put in force here.
    pub(super) fn awaits(&self, wanted: Fingerprint) -> Option<Awaited> {
        let canary = self.canary_elsewhere()?;
        let says: Vec<Says> =
            self.canary.says.iter().filter(|says| says.edge == canary.edge).cloned().collect();
        canary::awaits(wanted, &says)
    }

    /// Edges say something of updates that they have tried.
    pub(super) fn canaries_say(&mut self, says: Vec<Says>) {
        self.canary.says = says;
        self.weigh_untried();
    }

    pub(super) fn canary_view(&self) -> Option<CanaryView> {
        let edge = self.canary()?.edge.clone();
        let says = match self.is_canary() {
            true => self.own_says(),
            false => self.canary.says.iter().rfind(|says| says.edge == edge).cloned(),
        };
        let here = self.canary.in_force.map_or_else(String::new, |print| print.to_string());
        Some(match says {
            Some(Says { fingerprint, standing, why, .. }) => CanaryView {
                edge,
                says: word(standing).to_owned(),
                why,
                fingerprint: fingerprint.to_string(),
                here,
            },
            None => CanaryView {
                edge,
                says: "gone".to_owned(),
                why: String::new(),
                fingerprint: String::new(),
                here,
            },
        })
    }

    // As the canary.

    /// The trial of these changes, before they are made; `None` if this edge is not the canary, or there is nothing to try.
    pub(super) fn trial_of(&self, source: Source, changes: &Changes) -> Option<Trial> {
        let canary = self.canary().filter(|_| self.is_canary() && source == Source::File)?;
        let own = self.canary.own.as_ref();
        let changed =
            changes.put.iter().map(|site| &site.name).filter(|name| self.by_name.contains_key(*name));
        let changed: Vec<&SiteName> = changed.collect();
        let is_asked_again = own.is_some_and(|own| own.standing == Standing::Bad);
        if changed.is_empty() && changes.gone.is_empty() && !is_asked_again {
            return None;
        }
        let entries = || changed.iter().filter_map(|name| self.sites.get(self.by_name.get(*name)?));
        let named = |is: fn(&SiteEntry) -> bool| {
            entries().filter(|entry| is(entry)).map(|entry| entry.name().clone()).collect::<BTreeSet<_>>()
        };
        let mut trial = Trial {
            number: self.canary.trials + 1,
            served: Some(named(is_served)),
            in_conflict: named(|entry| entry.count_conflicts() > 0),
            before: self.answers_before(),
            began_with: self.answers(),
            ends: Instant::now() + canary.time,
            seen: None,
        };
        if let Some(former) = own.and_then(|own| own.trial.as_ref()) {
            trial.before = former.before;
            trial.in_conflict.retain(|site| !former.touches(site));
            trial.in_conflict.extend(former.in_conflict.iter().cloned());
            trial.served = trial.served.zip(former.served.as_ref()).map(|(served, former)| &served | former);
        }
        Some(trial)
    }

    /// All of it is in force. `trial` is what is tried of it.
    pub(super) fn is_in_force(&mut self, fingerprint: Option<Fingerprint>, trial: Option<Trial>) {
        let Some(canary) = self.canary() else {
            self.canary.in_force = None;
            return self.canary.own = None;
        };
        let ends = Instant::now() + canary.time;
        self.canary.in_force = fingerprint.or_else(|| Some(fingerprint::of(&self.config)));
        if !self.is_canary() {
            return self.canary.own = None;
        }
        let is_first = self.canary.own.is_none();
        let first = is_first.then(|| Trial {
            number: self.canary.trials + 1,
            served: None,
            in_conflict: BTreeSet::new(),
            before: Answers::default(),
            began_with: self.answers(),
            ends,
            seen: None,
        });
        let Some(trial) = trial.or(first) else { return };
        self.canary.trials = trial.number;
        self.canary.own = Some(Own { standing: Standing::Trying, why: String::new(), trial: Some(trial) });
    }

    fn answers(&self) -> Answers {
        let workers = &self.canary.metrics;
        Answers { all: metrics::answers(workers), own_errors: metrics::own_errors(workers) }
    }

    /// What was answered for a while until now.
    fn answers_before(&self) -> Answers {
        let from = self.canary.counted.map_or_else(Answers::default, |counted| counted[0].1);
        self.answers().since(from)
    }

    fn own_says(&self) -> Option<Says> {
        let (canary, own) = self.canary().zip(self.canary.own.as_ref())?;
        let (edge, fingerprint) = (canary.edge.clone(), self.canary.in_force?);
        Some(Says { edge, fingerprint, standing: own.standing, why: own.why.clone() })
    }

    /// With each look of an edge at its own clock.
    pub(super) fn look_after_canary(&mut self) {
        let now = Instant::now();
        if let Some(time) = self.canary().filter(|_| self.is_canary()).map(|canary| canary.time) {
            let counted = self.answers();
            let [_, last] = self.canary.counted.get_or_insert([(now, counted); 2]);
            if last.0 + time <= now {
                self.canary.counted = Some([*last, (now, counted)]);
            }
            self.look_at_trial(now);
        }
        self.say_tried();
    }

    /// Tells the fleet's store, if there is something else to be told.
    fn say_tried(&mut self) {
        let Some((fleet, lease)) = self.fleet.as_ref().and_then(|fleet| Some((fleet, fleet.edge.lease()?)))
        else {
            return;
        };
        let told = (lease, self.own_says().filter(|_| self.is_canary()));
        let is_nothing = told.1.is_none() && self.canary.told.as_ref().is_none_or(|before| before.0 != lease);
        if !is_nothing && self.canary.told.as_ref() != Some(&told) {
            fleet.tell(Command::SayTried { lease, says: told.1.clone() });
            self.canary.told = Some(told);
        }
    }

    /// If it has been tried for long enough: has its sites probed by their new settings. The controller goes by those when it
    /// has them, however well readers are served here.
    fn look_at_trial(&mut self, now: Instant) {
        let Some(fleet) = &self.fleet else { return };
        // An edge that is cut off serves nothing, whatever it has in force.
        if fleet.edge.is_fenced() || !matches!(fleet.edge.life(), Life::Following(_)) {
            return;
        }
        let Some(trial) = self
            .canary
            .own
            .as_ref()
            .filter(|own| own.standing == Standing::Trying)
            .and_then(|own| own.trial.as_ref())
        else {
            return;
        };
        if trial.seen.is_some() || now < trial.ends {
            return;
        }
        let entry = |name: &SiteName| self.sites.get(self.by_name.get(name)?).map(AsRef::as_ref);
        let is_the_fleets = |entry: &&SiteEntry| {
            fleet.edge.record(entry.name()).is_some_and(|record| record.serves().is_some())
        };
        let touched: Vec<&SiteEntry> = match &trial.served {
            Some(served) => served.iter().filter_map(entry).collect(),
            None => self.by_name.keys().filter_map(entry).filter(is_the_fleets).collect(),
        };
        let (served, lost): (Vec<_>, Vec<_>) = touched.into_iter().partition(|entry| is_served(entry));
        let raised = served
            .iter()
            .filter(|entry| entry.count_conflicts() > 0 && !trial.in_conflict.contains(entry.name()));
        let names =
            |entries: Vec<&SiteEntry>| entries.into_iter().map(|entry| entry.name().clone()).collect();
        let seen = canary::Trial {
            before: trial.before,
            since: self.answers().since(trial.began_with),
            answering: 0,
            in_conflict: match trial.served {
                Some(_) => names(raised.copied().collect()),
                None => Vec::new(),
            },
            lost: names(lost),
        };
        let others =
            || self.by_name.keys().filter_map(entry).filter(|entry| is_served(entry)).take(OTHERS).collect();
        let to_probe: Vec<&SiteEntry> =
            if served.is_empty() { others() } else { served.into_iter().take(LOOKS_MAX).collect() };
        let to_probe = to_probe.into_iter().map(|entry| (entry.config.clone(), to_ask(entry)));
        let looks = probe_all(self.outside.clone(), to_probe.collect());
        let (messages, number) = (self.messages.clone(), trial.number);
        if let Some(trial) = self.canary.own.as_mut().and_then(|own| own.trial.as_mut()) {
            trial.seen = Some(seen);
        }
        tokio::task::spawn_local(async move {
            let (answering, silent) = looks.await;
            let _ = messages.send(Message::Tried { trial: number, answering, silent });
        });
    }

    /// The probes of a trial have ended.
    pub(super) fn tried(&mut self, number: u64, answering: usize, silent: Vec<SiteName>) {
        let Some(own) = &mut self.canary.own else { return };
        let Some(trial) = own.trial.as_mut().filter(|trial| trial.number == number) else { return };
        let Some(mut seen) = trial.seen.take() else { return };
        seen.answering = answering;
        seen.lost.extend(silent.into_iter().filter(|site| trial.touches(site)));
        let (standing, note) = match canary::judge(&seen) {
            Verdict::Open => {
                trial.ends = Instant::now() + AGAIN_AFTER;
                return;
            }
            Verdict::Good => (Standing::Good, "the others may put it in force".to_owned()),
            Verdict::Bad(why) => (Standing::Bad, why.to_string()),
        };
        own.standing = standing;
        match standing {
            Standing::Bad => {
                tracing::warn!(why = note, "what is in force here is bad: the other edges don't take it");
                own.why.clone_from(&note);
            }
            _ => own.trial = None,
        }
        let is = word(standing);
        self.note(SiteName::from("-"), "update_tried", format!("the sites in force are found {is}: {note}"));
        self.say_tried();
    }
}

impl Trial {
    fn touches(&self, site: &SiteName) -> bool {
        self.served.as_ref().is_none_or(|served| served.contains(site))
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Trying => "trying",
        Standing::Good => "good",
        Standing::Bad => "bad",
    }
}

fn is_served(entry: &SiteEntry) -> bool {
    *entry.core.phase() == Phase::Serving && entry.gate.lets_in()
}

/// Who is to answer for a site: whoever has the pin, or, if the update has no place for that one, any that it has.
fn to_ask(entry: &SiteEntry) -> Vec<Backend> {
    let pinned = entry.core.pin().map(|pin| &pin.backend);
    let listed = entry.core.candidates().iter().filter(|candidate| candidate.listed);
    let listed: Vec<Backend> = listed.map(|candidate| candidate.backend.clone()).collect();
    match pinned.filter(|pinned| listed.contains(pinned)) {
        Some(pinned) => vec![pinned.clone()],
        None => listed,
    }
}

/// How many sites answered, and which did not.
async fn probe_all(
    outside: Rc<dyn Outside>,
    sites: Vec<(Arc<config::Site>, Vec<Backend>)>,
) -> (usize, Vec<SiteName>) {
    let (mut looks, places) = (JoinSet::new(), Rc::new(Semaphore::new(LOOKS_AT_ONCE)));
    for (site, backends) in sites {
        let (outside, places) = (outside.clone(), places.clone());
        looks.spawn_local(async move {
            let _place = places.acquire().await;
            let answers = answers(&*outside, &site, &backends).await;
            (site.name.clone(), answers)
        });
    }
    let (mut answering, mut silent) = (0, Vec::new());
    while let Some(looked) = looks.join_next().await {
        match looked {
            Ok((_, true)) => answering += 1,
            Ok((site, false)) => silent.push(site),
            Err(error) => tracing::error!(%error, "a look at a site has panicked"),
        }
    }
    silent.sort_unstable();
    (answering, silent)
}

/// Whether one of them answers as before a handoff, given as many chances as a failing backend is.
async fn answers(outside: &dyn Outside, site: &Arc<config::Site>, backends: &[Backend]) -> bool {
    for chance in 0..site.health.fall {
        if chance > 0 {
            tokio::time::sleep(site.health.interval).await;
        }
        for backend in backends {
            let way = Way::To(backend.clone());
            if outside.ask(&way, site, Question::Liveness).await.is_well()
                && outside.ask(&way, site, Question::Proof).await.is_well()
            {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests;
