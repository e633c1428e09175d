//! What is wrong with a configuration, in the words an operator needs: which file, which line, which key, what to do.
//!
//! Errors are collected rather than returned one by one: who has to mend a file wants to see all of it at once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Errors that are kept; the rest is only counted. A generated file with 100,000 equal mistakes must not flood a log.
pub const MAX_ERRORS: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: Arc<Path>,
    /// The line, from 1; `None` if the whole file is meant.
    pub line: Option<usize>,
    /// The key, such as `site.hold.timeout`; empty if the whole file is meant.
    pub key: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// All that is wrong with a configuration; never empty. Its `Display` is one line an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    omitted: usize,
}

impl ConfigErrors {
    /// The errors in the order of the files and their lines, at most [`MAX_ERRORS`].
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// How many there are, with those that are only counted.
    pub fn count(&self) -> usize {
        self.errors.len() + self.omitted
    }

    pub(super) fn add(&mut self, at: Place<'_>, key: impl Into<String>, message: impl Into<String>) {
        if self.errors.len() == MAX_ERRORS {
            self.omitted += 1;
            return;
        }
        let file = Arc::clone(&at.source.name);
        self.errors.push(ConfigError { file, line: at.line, key: key.into(), message: message.into() });
    }

    /// `value`, if nothing was wrong.
    pub(super) fn unless_any<T>(mut self, value: T) -> Result<T, Self> {
        if self.errors.is_empty() {
            return Ok(value);
        }
        // Checks run in an order of their own. Sorted by line within a file, an operator mends from top to bottom.
        let mut files: Vec<Arc<Path>> = Vec::new();
        for error in &self.errors {
            if !files.contains(&error.file) {
                files.push(Arc::clone(&error.file));
            }
        }
        self.errors.sort_by_key(|error| (files.iter().position(|file| *file == error.file), error.line));
        Err(self)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\n... and {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// One file that was read.
#[derive(Debug)]
pub(super) struct Source {
    name: Arc<Path>,
    /// Offsets at which its lines begin.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: &Path, text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), lines }
    }

    /// The folder that relative paths in this file start from.
    pub(super) fn folder(&self) -> PathBuf {
        self.name.parent().unwrap_or(Path::new("")).to_owned()
    }

    /// The line that has the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> Place<'_> {
        Place { source: self, line: Some(self.lines.partition_point(|start| *start <= offset)) }
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Place<'_> {
        Place { source: self, line: None }
    }
}

/// Where the checks of a file, or of one site in it, report to.
pub(super) struct Report<'s, 'e> {
    pub(super) source: &'s Source,
    pub(super) errors: &'e mut ConfigErrors,
    /// Whether all of it could be read. What could not has been reported and left out; that it is missing now, is no news.
    pub(super) whole: bool,
}

impl Report<'_, '_> {
    /// What begins at `at` is wrong.
    pub(super) fn wrong(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        self.errors.add(self.source.at(at), key, message);
    }

    /// Something is missing in what begins at `at`.
    pub(super) fn missing(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        if self.whole {
            self.wrong(at, key, message);
        }
    }
}

/// A line of a file, or a whole file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    source: &'a Source,
    line: Option<usize>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source.name.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
