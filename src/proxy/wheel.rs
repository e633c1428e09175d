//! A timing wheel: who is to be looked at, and when. A round then costs what is due in it, and not all that is there.

use crate::clock::Tick;

/// Ticks that one turn of the wheel takes: nothing is due later than that.
const TURN: u32 = 32;

/// Keys by the tick at which they are due.
#[derive(Debug)]
pub struct Wheel {
    spokes: [Vec<(usize, Tick)>; TURN as usize],
    /// All up to this tick has been taken.
    taken: Tick,
}

impl Wheel {
    /// An empty one.
    pub fn new(now: Tick) -> Self {
        Self { spokes: Default::default(), taken: now }
    }

    /// Puts a key in. Returns when it is going to be taken out: at `at`, if the wheel goes as far and has not passed it.
    pub fn put(&mut self, key: usize, at: Tick) -> Tick {
        let at = Tick(at.0.clamp(self.taken.0 + 1, self.taken.0 + TURN));
        self.spokes[(at.0 % TURN) as usize].push((key, at));
        at
    }

    /// Takes out what is due, with the tick at which it was.
    pub fn take(&mut self, now: Tick) -> impl Iterator<Item = (usize, Tick)> {
        let first = self.taken.0 + 1;
        let last = now.0.min(self.taken.0 + TURN);
        self.taken = self.taken.max(now);
        (first..=last).flat_map(|tick| std::mem::take(&mut self.spokes[(tick % TURN) as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wheel: &mut Wheel, now: u32) -> Vec<usize> {
        wheel.take(Tick(now)).map(|(key, _)| key).collect()
    }

    #[test]
    fn a_key_is_taken_once_and_when_it_is_due() {
        let mut wheel = Wheel::new(Tick(10));
        wheel.put(1, Tick(11));
        wheel.put(2, Tick(13));
        wheel.put(3, Tick(13));
        assert!(taken(&mut wheel, 10).is_empty());
        assert_eq!(taken(&mut wheel, 12), [1]);
        assert!(taken(&mut wheel, 12).is_empty());
        assert_eq!(taken(&mut wheel, 13), [2, 3]);
    }

    #[test]
    fn what_is_overdue_or_far_away_is_taken_at_the_next_chance() {
        let mut wheel = Wheel::new(Tick(10));
        assert_eq!(wheel.put(1, Tick(3)), Tick(11));
        assert_eq!(wheel.put(2, Tick(1000)), Tick(10 + TURN));
        assert_eq!(taken(&mut wheel, 11), [1]);
        assert_eq!(taken(&mut wheel, 10 + TURN), [2]);
    }

    #[test]
    fn nothing_is_forgotten_when_rounds_fail_to_come() {
        let mut wheel = Wheel::new(Tick(10));
        for key in 0..TURN {
            wheel.put(key as usize, Tick(11 + key));
        }
        let all: Vec<usize> = (0..TURN as usize).collect();
        assert_eq!(taken(&mut wheel, 10_000), all);
        assert_eq!(wheel.put(1, Tick(5)), Tick(10_001));
    }
}
