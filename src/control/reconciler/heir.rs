//! What this process does beside the one that it has taken over from: whoever is fenced here is fenced there as well.

use super::*;
use crate::control::view::SiteView;
use crate::core::handoff::Found;
use crate::core::heir::Fences;
use crate::upgrade::line::{Ear, Mouth};
use crate::upgrade::{ToElder, ToHeir};

/// Whoever asks for a site waits no longer for what the elder has of it.
const COUNTS_MAX: Duration = Duration::from_millis(500);

/// What a heir knows of its elder.
pub struct ElderParts {
    /// What is said to it.
    pub mouth: Mouth<ToElder>,
    /// What it says.
    pub ear: Ear<ToHeir>,
    /// Sites that it has not just served.
    pub unsettled: BTreeMap<SiteName, Found>,
    /// Called when it does no more what one process does at a time.
    pub rested: Box<dyn FnOnce()>,
}

/// The elder, while it has requests.
pub(super) struct Elder {
    mouth: Mouth<ToElder>,
    fences: Fences,
    /// Who waits for what it has of a site, by a number of ours.
    asked: BTreeMap<u64, (SiteName, oneshot::Sender<Option<SiteView>>)>,
    next_ask: u64,
    rested: Option<Box<dyn FnOnce()>>,
    /// Who wait for its end. They hear of it when this is dropped.
    awaited: Vec<oneshot::Sender<()>>,
}

impl Elder {
    /// Whatever it says goes to `messages`. Needs a `LocalSet`.
    pub(super) fn new(parts: ElderParts, messages: mpsc::UnboundedSender<Message>) -> Self {
        let ElderParts { mouth, mut ear, unsettled, rested } = parts;
        tokio::task::spawn_local(async move {
            while let Some(packet) = ear.recv().await {
                let _ = messages.send(Message::Elder(Some(packet.message)));
            }
            let _ = messages.send(Message::Elder(None));
        });
        Self {
            mouth,
            fences: Fences::new(unsettled),
            asked: BTreeMap::new(),
            next_ask: 0,
            rested: Some(rested),
            awaited: Vec::new(),
        }
    }

    /// The first effects of a site.
    pub(super) fn take_up(&mut self, entry: &mut SiteEntry) -> Vec<Effect> {
        let name = entry.name().clone();
        self.fences.take_up(&name, &mut entry.core)
    }

    pub(super) fn shut(&mut self, site: &SiteName, generation: u64) {
        self.fences.shut(site, generation);
        self.mouth.say(ToElder::Shut { site: site.to_string(), generation });
    }

    pub(super) fn cut(&self, site: &SiteName) {
        self.mouth.say(ToElder::Cut { site: site.to_string() });
    }

    pub(super) fn open(&mut self, site: &SiteName, pin: &Pin) {
        if self.fences.opened(site) {
            self.mouth.say(ToElder::open(site, pin));
        }
    }

    fn is_gone(&self, site: &SiteName) {
        self.mouth.say(ToElder::Gone { site: site.to_string() });
    }

    fn has_rested(&mut self) {
        if let Some(rested) = self.rested.take() {
            rested();
        }
    }
}

impl Reconciler {
    /// Whether the process that this one has taken over from still has requests.
    pub(super) fn has_elder(&self) -> bool {
        self.elder.is_some()
    }

    /// To be called when all sites are taken up: requests there may wait for others.
    pub(super) fn tell_elder_what_is_gone(&self) {
        if let Some(elder) = &self.elder {
            elder.fences.not_taken_up().for_each(|site| elder.is_gone(site));
        }
    }

    /// Somebody waits until it has none.
    pub(super) fn wait_for_elder(&mut self, answer: oneshot::Sender<()>) {
        match &mut self.elder {
            Some(elder) => elder.awaited.push(answer),
            None => drop(answer.send(())),
        }
    }

    /// Somebody asks for a site, of which the elder may have requests as well.
    pub(super) fn look_at_site(&mut self, site: SiteName, answer: oneshot::Sender<Option<SiteView>>) {
        let Some(elder) = &mut self.elder else { return drop(answer.send(self.view(&site))) };
        let id = elder.next_ask;
        elder.next_ask += 1;
        elder.mouth.say(ToElder::Count { site: site.to_string(), id });
        elder.asked.insert(id, (site, answer));
        let messages = self.messages.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(COUNTS_MAX).await;
            let _ = messages.send(Message::ElderSilent { ask: id });
        });
    }

    /// The elder has `held` and `in_flight` of the site that was asked for; nothing, if it doesn't say in time.
    pub(super) fn elder_counts(&mut self, ask: u64, held: usize, in_flight: u32) {
        let asked = self.elder.as_mut().and_then(|elder| elder.asked.remove(&ask));
        let Some((site, answer)) = asked else { return };
        let mut view = self.view(&site);
        if let Some(view) = &mut view {
            view.summary.held += held;
            view.summary.in_flight += in_flight;
        }
        let _ = answer.send(view);
    }

    fn view(&self, site: &SiteName) -> Option<SiteView> {
        let entry = self.by_name.get(site).and_then(|key| self.sites.get(key))?;
        let mut view = entry.view(self.last_entries(site));
        if self.elder.as_ref().is_some_and(|elder| elder.fences.waits_for_elder(site)) {
            view.waiting_for += "; the process before this one still has requests of it";
        }
        Some(view)
    }

    /// This process's last lease is gone; the elder's may not be.
    pub(super) fn left_here(&mut self, key: SiteKey, generation: u64) {
        if let (Some(elder), Some(entry)) = (&mut self.elder, self.sites.get(&key))
            && !elder.fences.left_here(entry.name(), generation)
        {
            return;
        }
        self.step(key, Input::Left { generation });
    }

    /// What the elder's requests have come to.
    pub(super) fn elder_says(&mut self, message: Option<ToHeir>) {
        let Some(elder) = &mut self.elder else { return };
        match message {
            Some(ToHeir::Left { site, generation }) => {
                let site = SiteName::from(site.as_str());
                if elder.fences.left_there(&site, generation) {
                    self.left_everywhere(&site, generation);
                }
            }
            Some(ToHeir::Suspected { site, epoch }) => {
                let site = SiteName::from(site.as_str());
                elder.fences.shut_there(&site);
                match self.by_name.get(&site).or_else(|| self.leaving.get(&site)) {
                    Some(&key) => self.report(Report::Suspected { site: key, epoch: Epoch(epoch) }),
                    None => elder.is_gone(&site),
                }
            }
            Some(ToHeir::Doubted { site, epoch }) => {
                if let Some((key, _)) = self.entry_of(&SiteName::from(site.as_str())) {
                    self.report(Report::Doubted { site: key, epoch: Epoch(epoch) });
                }
            }
            Some(ToHeir::Emptied { site, tally }) => {
                if let Some((key, _)) = self.entry_of(&SiteName::from(site.as_str())) {
                    self.report(Report::Emptied { site: key, tally });
                }
            }
            Some(ToHeir::Counts { id, held, in_flight }) => self.elder_counts(id, held, in_flight),
            Some(ToHeir::Rested) => elder.has_rested(),
            Some(other) => tracing::warn!(?other, "the process before this one says what was not expected"),
            None => {
                elder.has_rested();
                tracing::info!("the process before this one has ended");
                let Some(elder) = self.elder.take() else { return };
                for (site, answer) in elder.asked.into_values() {
                    let _ = answer.send(self.view(&site));
                }
                for (site, generation) in elder.fences.elder_gone() {
                    self.left_everywhere(&site, generation);
                }
            }
        }
    }

    fn left_everywhere(&mut self, site: &SiteName, generation: u64) {
        if let Some((key, _)) = self.entry_of(site) {
            self.step(key, Input::Left { generation });
        }
    }
}
