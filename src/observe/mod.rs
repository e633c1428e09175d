//! What operators see: log lines, the access log, metrics, the journal of handoffs, and what each worker is at.

pub mod access;
pub mod catalogue;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod pulse;
pub mod text;
