//! ghostpin: a front door for applications that may run only one instance at a time.

#![warn(missing_docs)]

pub mod config;
pub mod control;
pub mod core;
pub mod gate;
