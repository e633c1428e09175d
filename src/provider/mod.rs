//! Providers: where sites come from besides the file.
//!
//! A provider watches something and says which services there are; [`merge`] makes sites of them, beside those of the
//! file. Whoever composes the process gives it a way to put them in force ([`Sites`]); it knows nothing of pins.

pub mod merge;
pub mod swarm;

use std::collections::BTreeSet;

use crate::core::swarm::Wanted;
use merge::ServiceView;

/// Where a provider's services go.
pub trait Sites: 'static {
    /// From now on, these services are wanted. Returns what became of each, in the same order.
    ///
    /// # Errors
    /// Why nothing was put in force.
    fn provide(&self, wanted: Vec<Wanted>) -> impl Future<Output = Result<Vec<ServiceView>, String>>;

    /// Something for the journal of a site.
    fn note(&self, site: &str, kind: &'static str, note: String);

    /// Whether one of these sites waits for somebody to serve it.
    fn is_waited_for(&mut self, sites: &BTreeSet<String>) -> bool;
}
