//! Numbered places. A copy has the places of the original in common with it, but for those that are changed later.

use std::sync::Arc;

/// Places of one block: as many are copied for a change of one.
const BLOCK: usize = 256;

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Slots<T> {
    /// Each leads to its places in one step: requests come this way.
    blocks: Vec<Arc<[Option<T>]>>,
    free: Vec<u32>,
    /// The first that was never given out.
    next: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new(), next: 0 }
    }
}

impl<T: Clone> Slots<T> {
    /// What is at a place.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        self.blocks.get(number / BLOCK)?.get(number % BLOCK)?.as_ref()
    }

    /// Puts it at a free place.
    pub(super) fn add(&mut self, value: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            if self.blocks.len() * BLOCK == number as usize {
                self.blocks.push((0..BLOCK).map(|_| None).collect());
            }
            number
        });
        self.set(number, value);
        number
    }

    /// Puts it at a place that was given out, in place of what is there.
    pub(super) fn set(&mut self, number: u32, value: T) {
        *self.place(number) = Some(value);
    }

    /// Frees a place.
    pub(super) fn clear(&mut self, number: u32) {
        *self.place(number) = None;
        self.free.push(number);
    }

    /// All that is there, in the order of numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.iter().flatten())
    }

    fn place(&mut self, number: u32) -> &mut Option<T> {
        &mut Arc::make_mut(&mut self.blocks[number as usize / BLOCK])[number as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_its_own_way_and_shares_what_stays() {
        let mut first = Slots::default();
        let numbers: Vec<u32> = (0..1_000).map(|value| first.add(value)).collect();
        let mut second = first.clone();
        second.set(numbers[300], -1);
        second.clear(numbers[999]);
        assert_eq!(second.add(7), numbers[999], "a free place is used again");
        assert_eq!((first.get(numbers[300]), second.get(numbers[300])), (Some(&300), Some(&-1)));
        assert_eq!((first.get(numbers[999]), second.get(numbers[999])), (Some(&999), Some(&7)));
        assert_eq!(first.iter().sum::<i32>(), (0..1_000).sum::<i32>());
        let shared = first.blocks.iter().zip(&second.blocks).filter(|(one, other)| Arc::ptr_eq(one, other));
        assert_eq!(shared.count(), 2, "of four blocks, two were changed");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let mut slots = Slots::default();
        let number = slots.add("a");
        slots.clear(number);
        assert_eq!((slots.get(number), slots.get(number + 1), slots.iter().count()), (None, None, 0));
    }
}
