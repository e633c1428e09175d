//! The gate of the model: the real word, with what the real gate does around it cut into its atomic steps.

use ghostpin::core::admission::{ONE_LEASE, Word};
use ghostpin::core::{Epoch, Pin};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gate {
    pub(crate) word: Word,
    /// What a lease reads after it was counted.
    pub(crate) pin: Option<Pin>,
    /// Held requests are being let go, with the door still shut.
    pub(crate) releasing: bool,
    /// Generation to report when the last lease is gone.
    pub(crate) leaving: Option<u64>,
    /// Leases of this epoch, and of older ones, have been told to end.
    pub(crate) cut: Option<Epoch>,
    /// Leavers that saw the count fall to zero behind a shut door, and have yet to look again under the lock.
    pub(crate) about_to_report: u8,
}

impl Gate {
    pub(crate) const NEW: Self =
        Self { word: Word::NEW, pin: None, releasing: false, leaving: None, cut: None, about_to_report: 0 };

    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.pin.as_ref().map(|pin| pin.epoch)
    }

    /// The one atomic step of entering: the epoch that the lease counts for, if the door was open.
    pub(crate) fn add_one(&mut self) -> Option<Epoch> {
        let before = self.word;
        self.word = Word(before.0 + ONE_LEASE);
        if before.is_shut() { None } else { self.epoch() }
    }

    /// A held request is let go, under the lock.
    pub(crate) fn let_one_go(&mut self) -> Option<Epoch> {
        self.word = Word(self.word.0 + ONE_LEASE);
        self.epoch()
    }

    pub(crate) fn take_one_off(&mut self) {
        let before = self.word;
        self.word = Word(before.0 - ONE_LEASE);
        self.about_to_report += u8::from(before.is_shut() && before.leases() == 1);
    }

    /// Under the lock: the generation to report, if the last lease is gone and nobody has said so yet.
    pub(crate) fn look_again(&mut self) -> Option<u64> {
        if self.word.is_fenced() { self.leaving.take() } else { None }
    }

    pub(crate) fn shut(&mut self, generation: u64) -> Option<u64> {
        self.word = self.word.shut();
        self.releasing = false;
        self.leaving = Some(generation);
        self.look_again()
    }

    pub(crate) fn open(&mut self, pin: Pin) {
        self.word = self.word.under(pin.epoch);
        self.pin = Some(pin);
        self.releasing = true;
        self.leaving = None;
    }

    pub(crate) fn open_door_behind_the_last(&mut self) {
        self.word = self.word.open();
        self.releasing = false;
    }

    /// A request found that the backend of its lease refuses connections: whether it was the one who shut the gate.
    pub(crate) fn suspect(&mut self, epoch: Epoch) -> bool {
        let is_open = self.releasing || !self.word.is_shut();
        let shuts = is_open && self.epoch() == Some(epoch);
        if shuts {
            self.word = self.word.shut();
            self.releasing = false;
        }
        shuts
    }

    pub(crate) fn lets_in(&self) -> bool {
        !self.word.is_shut()
    }
}
