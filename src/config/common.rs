//! What many sites have in common is kept once.
//!
//! Of a million sites, nearly all have the same deadlines, probes and hooks: those of the tables above them, or of a few
//! kinds. So a site has its own names and addresses, and leads to the rest.

use std::sync::Arc;

/// So many kinds are looked through for each site. More are kept, but not found again.
const KINDS_MAX: usize = 8;

/// The kinds of one part that were met last.
pub(crate) struct Kinds<T>(Vec<Arc<T>>);

impl<T> Default for Kinds<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Kinds<T> {
    /// `part`, or the one that is the same and was met before.
    pub(crate) fn one(&mut self, part: T) -> Arc<T> {
        if let Some(met) = self.0.iter().find(|met| ***met == part) {
            return met.clone();
        }
        if self.0.len() == KINDS_MAX {
            self.0.remove(0);
        }
        let part = Arc::new(part);
        self.0.push(part.clone());
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_kept_once() {
        let mut kinds = Kinds::default();
        let first = kinds.one("deadlines".to_owned());
        let other = kinds.one("others".to_owned());
        assert!(Arc::ptr_eq(&first, &kinds.one("deadlines".to_owned())));
        assert!(!Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn the_kinds_that_are_looked_through_are_bounded() {
        let mut kinds = Kinds::default();
        (0..100).for_each(|number| drop(kinds.one(number)));
        assert_eq!(kinds.0.len(), KINDS_MAX);
    }
}
