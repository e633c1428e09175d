//! What lies outside of this process and its store: backends that are asked how they are, and the process's own end.
//! A simulation has others in their place.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::probe::{self, Question, Seen};
use crate::config::Site;
use crate::core::Backend;
use crate::detour::{Detour, Errand};

/// How a backend is asked.
#[derive(Clone, Debug)]
pub enum Way {
    /// At its address.
    To(Backend),
    /// Through another edge.
    Through(Arc<Detour>, Errand),
}

/// See the module's text.
pub trait Outside {
    /// Asks a backend of this site once.
    fn ask<'a>(
        &'a self,
        way: &'a Way,
        site: &'a Arc<Site>,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Seen> + 'a>>;

    /// Ends the process with this code.
    fn end(&self, code: i32);
}

/// Sockets and the operating system.
///
/// Backends are asked on a thread of their own: when thousands of sites wait, asking takes as much time as all that is
/// decided upon the answers.
#[derive(Clone, Debug)]
pub struct System {
    prober: Handle,
}

impl System {
    /// Starts the thread. It ends with the process.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let prober = runtime.handle().clone();
        thread::Builder::new()
            .name("prober".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self { prober })
    }
}

impl Outside for System {
    fn ask<'a>(
        &'a self,
        way: &'a Way,
        site: &'a Arc<Site>,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Seen> + 'a>> {
        let (way, site) = (way.clone(), site.clone());
        // Who is asked no more is dropped with the set.
        let mut asked = JoinSet::new();
        asked.spawn_on(async move { probe::probe(&way, &site, question).await }, &self.prober);
        Box::pin(async move {
            match asked.join_next().await {
                Some(Ok(seen)) => seen,
                _ => Seen::NotAsked("the thread that asks has gone".to_owned()),
            }
        })
    }

    fn end(&self, code: i32) {
        std::process::exit(code);
    }
}
