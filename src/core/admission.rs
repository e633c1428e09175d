//! The word of a gate: its door, its epoch and the number of leases out, in 64 bits.
//!
//! Reading the epoch and counting the request must be one step. In two steps a whole handoff fits in between, and
//! a request that was counted for nobody goes to a backend that has just been fenced. One atomic addition on one
//! word is such a step: what it returns says whether the door was open, and under which epoch the lease counts.
//! This file has the arithmetic; `gate` performs it on an atomic, and the model checker on a plain number.
//!
//! Layout, from the top: 1 bit door (1 = shut), 31 bits of the epoch, 32 bits of leases.

use super::Epoch;

const SHUT: u64 = 1 << 63;
const EPOCH_SHIFT: u32 = 32;
const EPOCH_MASK: u64 = (1 << 31) - 1;
const LEASES_MASK: u64 = (1 << 32) - 1;

/// What is added to the word to enter, and subtracted to leave.
pub const ONE_LEASE: u64 = 1;

/// The word of a gate. Only the low 31 bits of the epoch are kept in it: enough to tell neighbours apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word(pub u64);

impl Word {
    /// A gate that has never been open.
    pub const NEW: Self = Self(SHUT);

    /// No lease is given out by an addition on this word.
    pub fn is_shut(self) -> bool {
        self.0 & SHUT != 0
    }

    /// Leases out, and requests that are just about to find that the door is shut.
    pub fn leases(self) -> u32 {
        (self.0 & LEASES_MASK) as u32
    }

    /// Whether leases given out by this word count for `epoch`.
    pub fn is_of(self, epoch: Epoch) -> bool {
        (self.0 >> EPOCH_SHIFT) & EPOCH_MASK == epoch.0 & EPOCH_MASK
    }

    /// The door shut, all else as it was.
    pub fn shut(self) -> Self {
        Self(self.0 | SHUT)
    }

    /// The same leases under `epoch`, with the door still shut: the queue is served first.
    pub fn under(self, epoch: Epoch) -> Self {
        Self(SHUT | (epoch.0 & EPOCH_MASK) << EPOCH_SHIFT | self.0 & LEASES_MASK)
    }

    /// The door open, all else as it was.
    pub fn open(self) -> Self {
        Self(self.0 & !SHUT)
    }

    /// Shut, and all leases gone: none is out and none can be given out.
    pub fn is_fenced(self) -> bool {
        self.is_shut() && self.leases() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_and_shutting_keep_the_count_of_leases() {
        let word = Word(Word::NEW.0 + 3 * ONE_LEASE).under(Epoch(7)).open();
        assert!(!word.is_shut() && word.is_of(Epoch(7)));
        assert_eq!(word.leases(), 3);
        assert!(word.shut().is_shut() && !word.shut().is_fenced());
        assert_eq!(word.shut().leases(), 3);
    }

    #[test]
    fn an_epoch_is_told_from_its_neighbours_at_any_size() {
        for epoch in [1, (1 << 31) - 1, 1 << 31, u64::from(u32::MAX), u64::MAX - 1] {
            let word = Word::NEW.under(Epoch(epoch));
            assert!(word.is_of(Epoch(epoch)));
            assert!(!word.is_of(Epoch(epoch - 1)) && !word.is_of(Epoch(epoch + 1)));
        }
    }

    #[test]
    fn a_gate_is_fenced_only_when_shut_and_empty() {
        assert!(Word::NEW.is_fenced());
        assert!(!Word::NEW.under(Epoch(1)).open().is_fenced());
        assert!(!Word(Word::NEW.0 + ONE_LEASE).is_fenced());
    }
}
