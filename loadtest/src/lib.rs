//! What the fault runs share.

pub mod balancer;
pub mod clients;
pub mod harness;
pub mod report;
