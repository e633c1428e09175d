//! What the fault runs share.

pub mod report;
