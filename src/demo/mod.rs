//! Parts of the demo and of every load test: clocks, records, readers, a stand-in application.

pub mod cli;
pub mod client;
pub mod clock;
pub mod deeds;
pub mod history;
pub mod processes;
pub mod readers;
pub mod stand_in;
