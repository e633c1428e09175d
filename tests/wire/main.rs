//! What ghostpin promises on the wire, tried with the real program, real sockets, and backends and clients whose every
//! byte is scripted here. Each test is named after the promise that it holds ghostpin to.
//!
//! Nothing waits for luck: a test waits for a condition, up to [`harness::PATIENCE`], and a condition that does not
//! come is a failure.

mod access;
mod cut;
mod deadlines;
mod fields;
mod floods;
mod guard;
mod harness;
mod heirs;
mod held;
mod http2;
mod kept;
mod listeners;
mod manners;
mod once;
mod reload;
mod shared;
mod stop;
mod stream;
mod tls;
mod traces;
mod tunnel;
mod upgrade;
mod watchdog;
