//! What the fault runs share.

pub mod harness;
pub mod report;
