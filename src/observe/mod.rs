//! What operators see: log lines, the access log, traces, metrics, the journal of handoffs, and what each worker is at.

pub mod access;
pub mod catalogue;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod otlp;
pub mod process;
pub mod pulse;
pub mod text;
pub mod trace;
