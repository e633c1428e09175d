//! Between the handoff core and the ledger: how a controller goes on from a record, and what a step of a site's handoff
//! asks of the gates of all edges.

use super::ledger::Wanted;
use super::{Fence, Record, RecordPhase, goes_back};
use crate::core::Pin;
use crate::core::handoff::{Draining, Effect, Found, Phase, Proving, Site};

/// The newest pin of a site: the store's, unless an edge has `known` a newer one.
pub fn newest<'a>(known: Option<&'a Pin>, stored: Option<&'a Record>) -> Option<&'a Pin> {
    let stored = stored.map(|record| &record.pin);
    if goes_back(known, stored) { known } else { stored }
}

/// Has a core that was made with the [`newest`] pin go on from what the store says.
pub fn take_over(core: &mut Site, known: Option<&Pin>, stored: Option<&Record>) -> Vec<Effect> {
    if core.pin().is_none() {
        return core.begin();
    }
    let is_behind = goes_back(known, stored.map(|record| &record.pin));
    core.take_over(match stored.map(|record| &record.phase) {
        Some(RecordPhase::Serve) if !is_behind => Found::Serving,
        Some(RecordPhase::Fence(fence)) if !is_behind => {
            Found::Fenced { to: fence.to.clone(), hold: fence.hold, started: None }
        }
        _ => Found::Fenced { to: None, hold: false, started: None },
    })
}

/// What a step of the core asks of the gates of all edges, in this order, and what is left to be done by the controller.
pub fn wanted(core: &Site, effects: Vec<Effect>) -> (Vec<Wanted>, Vec<Effect>) {
    let to = match core.phase() {
        Phase::Draining(Draining::Move { target }) | Phase::Proving { target, .. } => Some(target.clone()),
        Phase::Fencing { target, .. } => target.clone(),
        _ => None,
    };
    let fence = Fence { cut: effects.contains(&Effect::Cut), to, hold: core.is_on_hold() };
    let (mut of_the_fleet, mut others) = (Vec::new(), Vec::new());
    for effect in effects {
        of_the_fleet.push(match (effect, core.pin()) {
            (Effect::Shut { generation }, Some(pin)) => {
                Wanted::Shut { generation, pin: pin.clone(), fence: fence.clone() }
            }
            // It is part of what the fence says.
            (Effect::Cut, Some(_)) => continue,
            (Effect::Open(pin), _) => Wanted::Open(pin),
            (Effect::Commit(pin), _) => Wanted::Commit(pin),
            (effect, _) => {
                others.push(effect);
                continue;
            }
        });
    }
    let is_fenced =
        !matches!(core.phase(), Phase::Serving | Phase::Proving { step: Proving::Committing, .. });
    if let Some(pin) = core.pin().filter(|_| is_fenced) {
        of_the_fleet.push(Wanted::Fence { pin: pin.clone(), fence });
    }
    (of_the_fleet, others)
}

#[cfg(test)]
mod tests;
