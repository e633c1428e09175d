//! Whose turn it is: managers are asked one after the other, so that a leader that was cut off is not the only one who is
//! heard. One that is slow has the next one asked beside it, and one that fails is left alone for a while.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::Answers;
use super::manager::Api;
use crate::config::provider::Swarm;

/// A manager that failed is left alone for so long at first, then for twice as long each time.
const LEFT_ALONE: Duration = Duration::from_secs(1);
const LEFT_ALONE_DOUBLINGS: u32 = 4;

/// The managers, and how they have done.
pub(super) struct Turns {
    managers: Vec<Turn>,
    next: usize,
    timeout: Duration,
}

struct Turn {
    api: Rc<Api>,
    failures: u32,
    left_alone_until: Option<Instant>,
}

/// What a manager has come to.
pub(super) type Asked = (usize, Result<Answers, String>);

impl Turns {
    pub(super) fn new(config: &Swarm) -> Self {
        let turn = |address: &crate::config::provider::Manager| Turn {
            api: Rc::new(Api::new(address.clone(), config.tls.clone())),
            failures: 0,
            left_alone_until: None,
        };
        Self { managers: config.managers.iter().map(turn).collect(), next: 0, timeout: config.timeout }
    }

    pub(super) fn apis(&self) -> impl Iterator<Item = Rc<Api>> {
        self.managers.iter().map(|turn| turn.api.clone())
    }

    /// A round: asks one after the other until one is `believed`. At the first one, all are asked and all are heard, the
    /// newest answer first by `newest`.
    pub(super) fn begin(&mut self) -> Round {
        let now = Instant::now();
        let count = self.managers.len();
        let (well, others): (Vec<usize>, Vec<usize>) = (0..count)
            .map(|step| (self.next + step) % count)
            .partition(|number| self.managers[*number].left_alone_until.is_none_or(|until| until <= now));
        self.next = (self.next + 1) % count;
        // Those who are left alone are asked when nobody else is believed: a leader that was cut off answers at once.
        let order = well.into_iter().chain(others).collect();
        Round { order, asked: JoinSet::new(), outstanding: Vec::new() }
    }

    /// Asks the next one, if there is one.
    pub(super) fn ask(&self, round: &mut Round) -> bool {
        let Some(number) = round.order.pop_front() else { return false };
        let (api, timeout) = (self.managers[number].api.clone(), self.timeout);
        round.outstanding.push(number);
        round.asked.spawn_local(async move {
            let answer = tokio::time::timeout(timeout, api.look()).await;
            (
                number,
                answer.unwrap_or_else(|_| Err(format!("has not answered for {} ms", timeout.as_millis()))),
            )
        });
        true
    }

    /// The next answer, or failure. Whoever has said nothing for a quarter of the time has the next one asked beside it.
    pub(super) async fn answer(&self, round: &mut Round) -> Option<Asked> {
        loop {
            if round.asked.is_empty() && !self.ask(round) {
                return None;
            }
            let patience = self.timeout / 4;
            tokio::select! {
                Some(joined) = round.asked.join_next() => {
                    let Ok((number, answer)) = joined else { continue };
                    round.outstanding.retain(|other| *other != number);
                    return Some((number, answer));
                }
                () = tokio::time::sleep(patience), if !round.order.is_empty() => {
                    self.ask(round);
                }
            }
        }
    }

    pub(super) fn was_well(&mut self, number: usize) {
        self.managers[number].failures = 0;
        self.managers[number].left_alone_until = None;
    }

    pub(super) fn has_failed(&mut self, number: usize) {
        let turn = &mut self.managers[number];
        turn.left_alone_until =
            Some(Instant::now() + LEFT_ALONE * (1 << turn.failures.min(LEFT_ALONE_DOUBLINGS)));
        turn.failures += 1;
    }
}

/// Who is asked at the moment, and who may be.
pub(super) struct Round {
    order: VecDeque<usize>,
    asked: JoinSet<Asked>,
    outstanding: Vec<usize>,
}

impl Round {
    /// Those who were asked, and had others asked beside them before they said anything.
    pub(super) fn slow(self) -> Vec<usize> {
        self.outstanding
    }
}
