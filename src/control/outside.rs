//! What lies outside of this process and its store: backends that are asked how they are, and the process's own end.
//! A simulation has others in their place.

use std::pin::Pin;

use super::probe::{self, Question, Seen};
use crate::config::Health;
use crate::core::Backend;

/// See the module's text.
pub trait Outside {
    /// Asks a backend once.
    fn ask<'a>(
        &'a self,
        backend: &'a Backend,
        health: &'a Health,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Seen> + 'a>>;

    /// Ends the process with this code.
    fn end(&self, code: i32);
}

/// Sockets and the operating system.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Outside for System {
    fn ask<'a>(
        &'a self,
        backend: &'a Backend,
        health: &'a Health,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Seen> + 'a>> {
        Box::pin(probe::probe(backend, health, question))
    }

    fn end(&self, code: i32) {
        std::process::exit(code);
    }
}
