//! What the fault runs share.

pub mod clients;
pub mod balancer;
pub mod harness;
pub mod report;
