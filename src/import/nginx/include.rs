//! `include`: what the files say that it names, wherever it stands.

use std::path::{Path, PathBuf};

use super::super::draft::{Draft, Line};
use super::super::{DEPTH_MAX, text_of};
use super::directives::{Directive, parse};
use crate::config;

/// How many files are read, each time that one is, and their lengths together: a few that name each other would else
/// take all memory.
const FILES_MAX: usize = 20_000;
const BYTES_MAX: usize = 32 << 20;

/// What is known while files are read.
pub(super) struct Includes<'a> {
    folder: &'a Path,
    draft: &'a mut Draft,
    /// The files that are being read, each of which named the next.
    stack: Vec<PathBuf>,
    bytes: usize,
}

impl<'a> Includes<'a> {
    pub(super) fn new(folder: &'a Path, draft: &'a mut Draft) -> Self {
        Self { folder, draft, stack: Vec::new(), bytes: 0 }
    }

    /// The same directives, with what is included in place of each `include`.
    ///
    /// # Errors
    /// Files name each other, or are too many.
    pub(super) fn unfold(&mut self, directives: Vec<Directive>) -> Result<Vec<Directive>, String> {
        let mut all = Vec::with_capacity(directives.len());
        for one in directives {
            match (one.name.as_str(), one.block) {
                ("include", None) => {
                    self.include(one.args.first().map_or("", String::as_str), one.line, &mut all)?
                }
                (_, Some(block)) => all.push(Directive { block: Some(self.unfold(block)?), ..one }),
                (_, None) => all.push(Directive { block: None, ..one }),
            }
        }
        Ok(all)
    }

    fn include(&mut self, pattern: &str, line: Line, all: &mut Vec<Directive>) -> Result<(), String> {
        let files = config::files_of(self.folder, &[pattern.to_owned()]);
        if files.is_empty() {
            self.draft.note(line, format!("`include {pattern}`: there is no such file"));
        }
        for file in files {
            let read = file.and_then(|file| Ok((text_of(&file)?, file)));
            let (text, file) = match read {
                Ok(read) => read,
                Err(why) => {
                    self.draft.note(line, format!("`include {pattern}` was not read: {why}"));
                    continue;
                }
            };
            self.bytes += text.len();
            let refused = if self.stack.contains(&file) {
                Some("this file is being read already, so it includes itself")
            } else if self.stack.len() >= DEPTH_MAX {
                Some("files include each other too deep")
            } else if self.draft.included.len() >= FILES_MAX || self.bytes > BYTES_MAX {
                Some("more than 20,000 files, or 32 MiB of them, are included")
            } else {
                None
            };
            if let Some(why) = refused {
                let line = self.draft.words(line);
                return Err(format!("{line}: `include {pattern}`: {}: {why}", file.display()));
            }
            let short = file.strip_prefix(self.folder).unwrap_or(&file);
            self.draft.included.push(short.display().to_string());
            match parse(&text, self.draft.included.len()) {
                Ok(directives) => {
                    self.stack.push(file);
                    all.extend(self.unfold(directives)?);
                    self.stack.pop();
                }
                Err(why) => {
                    self.draft
                        .note(line, format!("`include {pattern}` was not read: {}: {why}", file.display()));
                }
            }
        }
        Ok(())
    }
}
