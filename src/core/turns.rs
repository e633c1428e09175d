//! Whose turn it is among those who wait at a gate: they go in the order of arrival, and of those that are alike one goes
//! for all.
//!
//! While that one is under way, those who came before it went wait for its answer, and those who came later for their
//! own turn after it: an application that is just starting is not to make the same page many times at once.

use std::collections::{BTreeMap, BTreeSet};

/// A place in the order of arrival. A request that comes back keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Those who wait. `K` tells which of them are alike.
#[derive(Debug)]
pub struct Turns<K> {
    /// Those whose turn comes by itself.
    line: BTreeSet<Ticket>,
    alike: BTreeMap<K, Alike>,
}

/// Those that are alike.
#[derive(Debug, Default)]
struct Alike {
    waiting: BTreeSet<Ticket>,
    /// One of them is under way, and none of the others is in the line: up to this one, they wait for its answer.
    under_way: Option<Ticket>,
    /// An answer was for the one that went alone: each of the others goes for itself as well.
    apart: bool,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { line: BTreeSet::new(), alike: BTreeMap::new() }
    }
}

impl<K: Clone + Ord> Turns<K> {
    /// One more waits. What it is like is given back as the others have it, so that many don't keep it many times.
    pub fn join(&mut self, ticket: Ticket, like: Option<K>) -> Option<K> {
        let Some(like) = like else {
            self.line.insert(ticket);
            return None;
        };
        let like = self.alike.get_key_value(&like).map(|(known, _)| known.clone()).unwrap_or(like);
        let alike = self.alike.entry(like.clone()).or_default();
        alike.waiting.insert(ticket);
        if alike.under_way.is_none() {
            self.line.insert(ticket);
        }
        Some(like)
    }

    /// One waits no more.
    pub fn leave(&mut self, ticket: Ticket, like: Option<&K>) {
        self.line.remove(&ticket);
        let Some(like) = like else { return };
        let Some(alike) = self.alike.get_mut(like) else { return };
        alike.waiting.remove(&ticket);
        if alike.waiting.is_empty() && alike.under_way.is_none() {
            self.alike.remove(like);
        }
    }

    /// Whose turn it is.
    pub fn first(&self) -> Option<Ticket> {
        self.line.first().copied()
    }

    /// Its turn has come. Whether it goes for others as well: then [`Self::answered`] or [`Self::apart`] has to follow.
    pub fn go(&mut self, ticket: Ticket, like: Option<&K>) -> bool {
        self.leave(ticket, like);
        let Some(alike) = like.and_then(|like| self.alike.get_mut(like)) else { return false };
        if alike.apart || alike.under_way.is_some() {
            return false;
        }
        alike.under_way = alike.waiting.last().copied();
        for waiting in &alike.waiting {
            self.line.remove(waiting);
        }
        alike.under_way.is_some()
    }

    /// The one that went for others has an answer for all of them. Returns who they are; they wait no more.
    pub fn answered(&mut self, like: &K) -> Vec<Ticket> {
        let Some(alike) = self.alike.get_mut(like) else { return Vec::new() };
        let Some(last) = alike.under_way.take() else { return Vec::new() };
        let later = alike.waiting.split_off(&Ticket(last.0 + 1));
        let answered = std::mem::replace(&mut alike.waiting, later);
        self.line.extend(&alike.waiting);
        if alike.waiting.is_empty() {
            self.alike.remove(like);
        }
        answered.into_iter().collect()
    }

    /// The one that went for others has no answer for them: another goes. `for_good` if none ever will have, so that each
    /// goes for itself.
    pub fn apart(&mut self, like: &K, for_good: bool) {
        let Some(alike) = self.alike.get_mut(like) else { return };
        alike.under_way = None;
        alike.apart = for_good;
        self.line.extend(&alike.waiting);
        if alike.waiting.is_empty() {
            self.alike.remove(like);
        }
    }

    /// Nobody is under way any more whose answer would matter, and what was seen of answers says nothing about the next
    /// ones.
    pub fn begin_anew(&mut self) {
        let line = &mut self.line;
        self.alike.retain(|_, alike| {
            alike.under_way = None;
            alike.apart = false;
            line.extend(&alike.waiting);
            !alike.waiting.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: Option<&str> = Some("/");

    fn turns(waiting: &[(u64, Option<&'static str>)]) -> Turns<&'static str> {
        let mut turns = Turns::default();
        for (ticket, like) in waiting {
            turns.join(Ticket(*ticket), *like);
        }
        turns
    }

    /// All whose turn comes by itself, one after the other.
    fn order(turns: &Turns<&str>) -> Vec<u64> {
        turns.line.iter().map(|ticket| ticket.0).collect()
    }

    #[test]
    fn the_order_is_that_of_arrival() {
        let turns = turns(&[(3, None), (1, FRONT), (2, Some("/about"))]);
        assert_eq!(order(&turns), [1, 2, 3]);
    }

    #[test]
    fn one_goes_for_all_that_are_alike_and_nobody_else_waits_for_it() {
        let mut turns = turns(&[(1, FRONT), (2, None), (3, FRONT), (4, Some("/about")), (5, FRONT)]);
        assert!(turns.go(Ticket(1), FRONT.as_ref()));
        assert_eq!(order(&turns), [2, 4]);
        assert_eq!(turns.answered(&"/"), [Ticket(3), Ticket(5)]);
        assert_eq!(order(&turns), [2, 4]);
    }

    #[test]
    fn who_comes_when_it_is_under_way_waits_for_the_next_one() {
        let mut turns = turns(&[(1, FRONT), (2, FRONT)]);
        assert!(turns.go(Ticket(1), FRONT.as_ref()));
        turns.join(Ticket(3), FRONT);
        turns.join(Ticket(4), FRONT);
        assert_eq!(turns.first(), None);
        assert_eq!(turns.answered(&"/"), [Ticket(2)]);
        assert!(turns.go(Ticket(3), FRONT.as_ref()));
        assert_eq!(turns.answered(&"/"), [Ticket(4)]);
        assert!(turns.alike.is_empty() && turns.line.is_empty());
    }

    #[test]
    fn who_is_alone_goes_for_nobody() {
        let mut turns = turns(&[(1, FRONT), (2, None)]);
        assert!(!turns.go(Ticket(1), FRONT.as_ref()));
        assert!(!turns.go(Ticket(2), None));
        assert!(turns.alike.is_empty() && turns.line.is_empty());
    }

    #[test]
    fn without_an_answer_for_all_the_next_one_goes_or_each_for_itself() {
        let mut turns = turns(&[(1, FRONT), (2, FRONT), (3, FRONT), (4, FRONT)]);
        assert!(turns.go(Ticket(1), FRONT.as_ref()));
        turns.apart(&"/", false);
        assert!(turns.go(Ticket(2), FRONT.as_ref()));
        turns.apart(&"/", true);
        assert_eq!(order(&turns), [3, 4]);
        assert!(!turns.go(Ticket(3), FRONT.as_ref()));
        turns.begin_anew();
        turns.join(Ticket(5), FRONT);
        assert!(turns.go(Ticket(4), FRONT.as_ref()));
    }

    #[test]
    fn who_leaves_is_not_answered() {
        let mut turns = turns(&[(1, FRONT), (2, FRONT), (3, FRONT)]);
        assert!(turns.go(Ticket(1), FRONT.as_ref()));
        turns.leave(Ticket(2), FRONT.as_ref());
        assert_eq!(turns.answered(&"/"), [Ticket(3)]);
    }

    /// Whatever happens, in any order, everybody who waits is either in the line or waits for one that is under way.
    #[test]
    fn nobody_is_forgotten() {
        const OPERATIONS: usize = 8;
        const LENGTH: u32 = 6;
        for number in 0..OPERATIONS.pow(LENGTH) {
            let (mut turns, mut waiting) = (Turns::default(), Vec::new());
            for at in 0..LENGTH {
                match number / OPERATIONS.pow(at) % OPERATIONS {
                    operation @ 0..=1 => {
                        let one = (Ticket(at.into()), FRONT.filter(|_| operation == 0));
                        turns.join(one.0, one.1);
                        waiting.push(one);
                    }
                    2 => {
                        let Some(first) = turns.first() else { continue };
                        let place = waiting.iter().position(|one| one.0 == first).expect("it waits");
                        turns.go(first, waiting.remove(place).1.as_ref());
                    }
                    3 if !waiting.is_empty() => {
                        let (ticket, like) = waiting.remove(0);
                        turns.leave(ticket, like.as_ref());
                    }
                    4 => {
                        let answered = turns.answered(&"/");
                        waiting.retain(|one| !answered.contains(&one.0));
                    }
                    5 => turns.apart(&"/", false),
                    6 => turns.apart(&"/", true),
                    _ => turns.begin_anew(),
                }
                let is_under_way = turns.alike.get("/").is_some_and(|alike| alike.under_way.is_some());
                let own_turn = |one: &&(Ticket, Option<&str>)| one.1.is_none() || !is_under_way;
                let expected: Vec<u64> = waiting.iter().filter(own_turn).map(|one| one.0.0).collect();
                assert_eq!(order(&turns), expected, "{number}, {at}");
            }
        }
    }
}
