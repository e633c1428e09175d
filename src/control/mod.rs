//! The control plane: who decides about pins, and what makes them last.

pub mod store;
