//! How an edge of a fleet makes room for a new process. That one is another edge, with a lease of its own, so that no pin
//! changes hands: only the disk does, on which an edge remembers what it has seen, and the office of the controller.

use super::handing_over::open_again;
use super::*;
use crate::control::following::Succession;
use crate::control::store::PinStore;
use crate::upgrade::elder::Heir;

/// What operators wish may take so long, before another edge is the controller. That one hears of a swarm; this one does no more.
const LAST_WISHES: Duration = Duration::from_secs(5);

/// What a heir that was lent the disk has come to.
#[derive(Debug)]
pub struct Lent {
    answer: oneshot::Sender<Result<Succession, NotTaken>>,
    became: Result<Heir, Returned>,
}

/// It has not taken over, and has ended.
#[derive(Debug)]
struct Returned {
    why: String,
    store: Result<PinStore, String>,
}

impl Reconciler {
    /// Lends the disk to the heir. Until it serves, or has failed, this process goes on as an edge that remembers in its
    /// memory alone: its lease waits for nobody.
    pub(super) fn lend_disk(&mut self, ask: HandOver) {
        let HandOver { mut heir, answer, .. } = ask;
        self.has_lent = true;
        let nowhere = Writer::to(|_| {});
        std::mem::replace(&mut self.writer, nowhere).close();
        let (messages, state) = (self.messages.clone(), self.config.server.state.clone());
        tokio::task::spawn_local(async move {
            let became = match heir.take_over(Vec::new()).await {
                Ok(()) => Ok(heir),
                Err(why) => {
                    // It may have the store open.
                    drop(heir);
                    Err(Returned { why, store: open_again(&state).await })
                }
            };
            let _ = messages.send(Message::Lent(Lent { answer, became }));
        });
    }

    /// The heir serves, or has failed.
    pub(super) fn lent(&mut self, lent: Lent) {
        let Lent { answer, became } = lent;
        self.has_lent = became.is_ok();
        self.weigh_untried();
        let outcome = match became {
            Ok(heir) => {
                self.retires = Some(Instant::now() + LAST_WISHES);
                let (pid, version) = (heir.pid(), heir.version().to_owned());
                Ok(Succession { pid, version, mouth: heir.line().0, ended: None })
            }
            Err(Returned { why, store }) => {
                Err(NotTaken::Failed(match store.and_then(|store| self.remember_again(store)) {
                    Ok(()) => why,
                    Err(error) => {
                        let why = format!("{why}; and the pin store can't be opened any more: {error}");
                        tracing::error!(why, "this edge remembers nothing until ghostpin is restarted");
                        why
                    }
                }))
            }
        };
        drop(answer.send(outcome));
    }

    /// What this edge has seen meanwhile goes to the disk as well.
    fn remember_again(&mut self, mut store: PinStore) -> Result<(), String> {
        let stored = store.read_all().map_err(|error| error.to_string())?;
        self.write_to(store)?;
        let known = self.fleet.iter().flat_map(|fleet| &fleet.known);
        for (name, pin) in known.filter(|(name, pin)| stored.get(name) != Some(pin)) {
            self.writer.write(Commit { site: None, name: name.clone(), pin: pin.clone() });
        }
        Ok(())
    }

    /// A handoff whose hook has just ended may come to its own end: the next controller would run the hook again.
    pub(super) fn postpone_retirement(&mut self) {
        self.retires = self.retires.map(|_| Instant::now() + LAST_WISHES);
    }

    /// Is the controller no more, nor stands for it. To be called when no hook runs, for the next one may run it again, and if
    /// it can be, when no operator waits for an answer: the next one doesn't know what became of a wish.
    pub(super) fn retire_from_office(&mut self) {
        self.retires = None;
        let Some(fleet) = &mut self.fleet else { return };
        fleet.retired = true;
        self.step_down();
        self.pass_on(Command::Retire);
    }
}
