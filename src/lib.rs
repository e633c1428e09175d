//! ghostpin: a front door for applications that may run only one instance at a time.
//!
//! The way of a request: [`proxy::listener`] accepts, [`published`] names the site, [`gate`] gives a lease or holds,
//! [`proxy::forward`] sends what [`http1`] has read, and [`core::retry`] decides what becomes of an attempt that had no answer.
//!
//! The way of a handoff: a wish, a probe or a refused connection reaches the [`control::reconciler`];
//! [`core::handoff`] says what is to be done; the gate is shut, fenced and opened, and the pin is stored in between.

// `println!` and `eprintln!` fall over where nothing can be written: cli::print says what becomes of that.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod acme;
pub mod admin;
pub mod alike;
pub mod app;
pub mod broken;
pub mod certs;
pub mod certs_dev;
pub mod cli;
pub mod clock;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod config;
pub mod control;
pub mod core;
pub mod demo;
pub mod detour;
pub mod gate;
pub mod http1;
pub mod import;
pub mod lifeline;
pub mod net;
pub mod notify;
pub mod observe;
pub mod provider;
pub mod proxy;
pub mod published;
#[cfg(test)]
mod reference;
pub mod supervise;
pub mod tenure;
pub mod upgrade;
pub mod watchdog;
pub mod workers;
