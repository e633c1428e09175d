//! Where log lines go and what they look like. They are written on threads of their own: who logs never waits for a disk or a
//! pipe. What comes when too much waits is dropped, and counted.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::access::AccessLog;
use super::access::form::Form;
use super::access::out::{Again, JOURNAL, LogFile, Out};
use super::catalogue::LOG_DROPPED;
use super::text::Text;
use crate::config::{AccessTo, Log, LogFormat};

/// Lines that wait to be written, of each log: some megabytes.
const WAITING_MAX: usize = 16_384;
/// How long the end waits for what is still to be written.
const END_MAX: Duration = Duration::from_secs(1);

/// What keeps lines from being written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level filter can't be understood.
    #[error("[log] level = \"{level}\": {source}: write `info`, or `warn,ghostpin=debug`")]
    Level {
        /// As written.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The place of the access log can't be written to.
    #[error("[log] access_to = \"{}\": {source}: name a file in a folder that ghostpin may write to", path.display())]
    Access {
        /// As written.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// All logs of this process, for those who look after them.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    file: Option<(Again, NonBlocking)>,
    log: Option<ErrorCounter>,
    access: Option<ErrorCounter>,
    /// Lines of the access log that could not be written.
    lost: Arc<AtomicU64>,
    guards: Mutex<Vec<WorkerGuard>>,
}

/// Has what waits written when it is dropped.
#[derive(Debug)]
pub struct Ending(Logs);

impl Logs {
    /// Has the access log go on in the file that has its path now; `false` if it goes to no file. Nobody waits for that: its
    /// place may stand still.
    pub fn reopen(&self) -> bool {
        let Some((again, lines)) = &self.0.file else { return false };
        again.wish();
        // Nothing to write, and yet something to be woken by. Where there is no room for it, nobody sleeps.
        let _ = lines.clone().write_all(b"");
        true
    }

    /// Has what waits written, or gives that up after a second. Nothing is written after that.
    pub fn end(&self) {
        let guards = std::mem::take(&mut *self.0.guards.lock().unwrap_or_else(PoisonError::into_inner));
        let (done, all_done) = mpsc::channel::<()>();
        for guard in guards {
            let done = done.clone();
            // Each waits for its own log only, and says on standard output, which may be that log, if it waits in vain.
            let _ = thread::Builder::new().name("log-end".to_owned()).spawn(move || drop((guard, done)));
        }
        drop(done);
        let _ = all_done.recv_timeout(END_MAX);
    }

    /// Calls [`Self::end`] when the answer is dropped.
    pub fn ending(&self) -> Ending {
        Ending(self.clone())
    }

    /// Writes the metrics.
    pub fn render(&self, text: &mut Text) {
        let of = |counter: &Option<ErrorCounter>| {
            counter.as_ref().map_or(0, |counter| counter.dropped_lines() as u64)
        };
        let mut dropped = text.family(&LOG_DROPPED);
        dropped.add(&["log"], of(&self.0.log));
        dropped.add(&["access"], of(&self.0.access) + self.0.lost.load(Ordering::Relaxed));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Sends this process's log lines to its standard error, and those about requests to where they are wanted. To be called once.
///
/// # Errors
/// What was written can't be understood, or a place can't be written to.
pub fn start(log: &Log) -> Result<(Logs, AccessLog), LogError> {
    let bad_level = |source| LogError::Level { level: log.level.clone(), source };
    let filter = EnvFilter::try_new(&log.level).map_err(bad_level)?;
    let (lines, guard) = aside("log", io::stderr());
    let mut inner = Inner { log: Some(lines.error_counter()), ..Inner::default() };
    let mut guards = vec![guard];
    let access = access(log, &mut inner, &mut guards)?;
    inner.guards = Mutex::new(guards);
    // Whoever looks for a word in a file is not to find colours in it.
    let has_colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(has_colours);
    match log.format {
        LogFormat::Human => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok((Logs(Arc::new(inner)), access))
}

fn access(log: &Log, inner: &mut Inner, guards: &mut Vec<WorkerGuard>) -> Result<AccessLog, LogError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LogError::Access { path, source }
    };
    let lost = inner.lost.clone();
    let ((lines, guard), form) = match &log.access_to {
        AccessTo::Log => return Ok(AccessLog::default()),
        AccessTo::Stdout => (aside("access-log", Out::stdout(lost)), log.access_format.into()),
        AccessTo::Journald => {
            let socket = Path::new(JOURNAL);
            let out = Out::journal(socket, lost).map_err(failed(socket))?;
            (aside("access-log", out), Form::Journal)
        }
        AccessTo::File(path) => {
            let file = LogFile::open(path).map_err(failed(path))?;
            let again = file.again();
            let (lines, guard) = aside("access-log", Out::file(file, lost));
            inner.file = Some((again, lines.clone()));
            ((lines, guard), log.access_format.into())
        }
    };
    inner.access = Some(lines.error_counter());
    guards.push(guard);
    Ok(AccessLog::new(form, lines))
}

/// A thread that writes what it is handed over.
fn aside(name: &str, out: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let builder = NonBlockingBuilder::default().buffered_lines_limit(WAITING_MAX).lossy(true);
    builder.thread_name(name).finish(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Share;
    use crate::observe::access::Record;
    use crate::observe::access::tests::record;

    /// Stands still until it is told to go on.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_stands_still_stops_nobody_and_what_it_misses_is_counted() {
        let (go_on, wait) = mpsc::channel();
        let (lines, guard) = aside("stuck", Stuck(wait));
        let counter = lines.error_counter();
        let access = AccessLog::new(Form::Json, lines);
        let every = Record { share: Share::ALL, ..record(200) };
        // One is being written, and so many wait.
        let sent = WAITING_MAX + 1 + 100;
        (0..sent).for_each(|_| access.write(&every));
        let logs = Logs(Arc::new(Inner { access: Some(counter), ..Inner::default() }));
        let mut text = Text::default();
        logs.render(&mut text);
        let text = text.into_string();
        let line = text.lines().find(|line| line.contains("{log=\"access\"}")).unwrap();
        let dropped: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        // The first one may not have been taken up yet.
        assert!((100..=101).contains(&dropped), "{dropped}");
        drop(go_on);
        drop(guard);
    }
}
