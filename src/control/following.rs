//! What is left of a process that has handed its pins over: gates, and the requests that are behind them. It has no opinion
//! any more; the heir says what is to be shut, cut and opened, and hears what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::core::SiteName;
use crate::gate::{Gate, Report, SiteKey};
use crate::upgrade::elder::Heir;
use crate::upgrade::line::{Ear, Mouth};
use crate::upgrade::{self, ToElder, ToHeir};
use crate::workers::{Order, Workers};

/// The heir's shuttings have their numbers from here on, so that a late word about one of this process's own is told apart from
/// a word about the heir's of the same number.
const OF_HEIR: u64 = 1 << 32;

/// Another process decides now.
#[derive(Debug)]
pub struct Succession {
    /// Its number.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What can be said to it.
    pub mouth: Mouth<ToHeir>,
    /// Answered if it ends before this one, and nobody decides then. `None` for an edge of a fleet, which goes by the fleet's
    /// store.
    pub ended: Option<oneshot::Receiver<()>>,
}

/// See the module's text.
pub(super) struct Following {
    gates: BTreeMap<SiteName, Arc<Gate>>,
    names: HashMap<SiteKey, SiteName>,
    workers: Workers,
    mouth: Mouth<ToHeir>,
    ear: Ear<ToElder>,
    ended: oneshot::Sender<()>,
}

impl Following {
    pub(super) fn new(
        heir: Heir,
        gates: impl Iterator<Item = (SiteKey, SiteName, Arc<Gate>)>,
        workers: Workers,
    ) -> (Self, Succession) {
        let (pid, version) = (heir.pid(), heir.version().to_owned());
        let (mouth, ear, early) = heir.line();
        let (ended, at_the_end) = oneshot::channel();
        let succession = Succession { pid, version, mouth: mouth.clone(), ended: Some(at_the_end) };
        let mut following =
            Self { gates: BTreeMap::new(), names: HashMap::new(), workers, mouth, ear, ended };
        for (key, name, gate) in gates {
            following.names.insert(key, name.clone());
            following.gates.insert(name, gate);
        }
        early.into_iter().for_each(|message| following.told(message));
        (following, succession)
    }

    /// Until the heir has ended. The process ends at the latest when its last request has.
    pub(super) async fn run(mut self, mut reports: mpsc::UnboundedReceiver<Report>) {
        loop {
            tokio::select! {
                biased;
                said = self.ear.recv() => match said {
                    Some(packet) => self.told(packet.message),
                    None => break,
                },
                report = reports.recv() => match report {
                    Some(report) => self.report(report),
                    None => return,
                },
            }
        }
        tracing::error!(
            "the new process has ended, and nobody decides about pins: all requests of this one are cut"
        );
        for gate in self.gates.values() {
            gate.shut(0);
            gate.cut();
            self.workers.tell(Order::Cut(gate.site()));
        }
        let _ = self.ended.send(());
    }

    fn told(&self, message: ToElder) {
        match message {
            ToElder::Shut { site, generation } => match self.gates.get(&SiteName::from(site.as_str())) {
                Some(gate) => gate.shut(OF_HEIR + generation),
                // The site is new: nobody has ever been let in here.
                None => self.mouth.say(ToHeir::Left { site, generation }),
            },
            ToElder::Cut { site } => {
                let Some(gate) = self.gates.get(&SiteName::from(site.as_str())) else { return };
                gate.cut();
                self.workers.tell(Order::Cut(gate.site()));
            }
            ToElder::Open { site, epoch, backend } => {
                let Some(gate) = self.gates.get(&SiteName::from(site.as_str())) else { return };
                // One that this version can't read stays shut here: its requests wait, and are told to come again.
                let Some(pin) = upgrade::pin(epoch, &backend) else { return };
                if gate.pin().is_some_and(|before| before.epoch != pin.epoch) {
                    self.workers.tell(Order::Purge(gate.site()));
                }
                gate.open(pin);
            }
            ToElder::Gone { site } => {
                self.gates.get(&SiteName::from(site.as_str())).into_iter().for_each(|gate| gate.retire());
            }
            ToElder::Count { site, id } => {
                let gate = self.gates.get(&SiteName::from(site.as_str()));
                let (held, in_flight) = gate.map_or((0, 0), |gate| (gate.held(), gate.in_flight()));
                self.mouth.say(ToHeir::Counts { id, held, in_flight });
            }
            other => tracing::warn!(?other, "the new process says what was not expected"),
        }
    }

    fn report(&self, report: Report) {
        let name = |site: SiteKey| self.names.get(&site).map(ToString::to_string);
        let says = match report {
            Report::Left { site, generation } => {
                let generation = generation.checked_sub(OF_HEIR);
                name(site).zip(generation).map(|(site, generation)| ToHeir::Left { site, generation })
            }
            Report::Suspected { site, epoch } => {
                name(site).map(|site| ToHeir::Suspected { site, epoch: epoch.0 })
            }
            Report::Doubted { site, epoch } => {
                name(site).map(|site| ToHeir::Doubted { site, epoch: epoch.0 })
            }
            Report::Emptied { site, tally } => name(site).map(|site| ToHeir::Emptied { site, tally }),
            // Alone, there is time for ever.
            Report::Expired { .. } => None,
        };
        says.into_iter().for_each(|message| self.mouth.say(message));
    }
}
