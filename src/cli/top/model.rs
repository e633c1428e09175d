//! What `ghostpin top` knows, what it asks for, and what keys do to it. It draws nothing and reads nothing.

use std::time::Instant;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde::Deserialize;

use crate::control::fleet::FleetView;
use crate::control::view::{SiteSummary, Status};

/// The longest text to search for, in characters.
const SEARCH_MAX: usize = 64;

/// The process as a whole.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Process {
    #[serde(flatten)]
    pub(super) status: Status,
    /// Answers since the start.
    pub(super) answers: u64,
    /// One of an older version does not say it.
    #[serde(default)]
    pub(super) stalled_workers: usize,
}

impl Process {
    pub(super) fn is_in_fleet(&self) -> bool {
        self.status.fleet.is_some()
    }
}

/// What one look has brought.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) status: Process,
    pub(super) sites: Vec<SiteSummary>,
    pub(super) fleet: Option<FleetView>,
    /// All about the site that was chosen.
    pub(super) page: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) search: String,
    pub(super) troubled: bool,
    pub(super) rows: usize,
    pub(super) site: Option<String>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Model {
    /// Who is asked.
    pub(super) place: String,
    pub(super) seen: Option<Seen>,
    /// Why the last look brought nothing.
    pub(super) missed: Option<String>,
    /// Answers a second between the last two looks.
    pub(super) rate: Option<f64>,
    pub(super) search: String,
    /// Keys go into the search.
    pub(super) is_typing: bool,
    pub(super) troubled: bool,
    pub(super) selected: usize,
    /// The site of which all is shown.
    pub(super) site: Option<String>,
}

impl Model {
    pub(super) fn new(place: String) -> Self {
        Self {
            place,
            seen: None,
            missed: None,
            rate: None,
            search: String::new(),
            is_typing: false,
            troubled: false,
            selected: 0,
            site: None,
        }
    }

    /// What is wanted now, with so many lines to show it.
    pub(super) fn asked(&self, rows: usize) -> Asked {
        Asked { search: self.search.clone(), troubled: self.troubled, rows, site: self.site.clone() }
    }

    /// A look has brought this.
    pub(super) fn saw(&mut self, seen: Seen) {
        self.missed = None;
        self.rate = self.seen.as_ref().and_then(|before| {
            let passed = seen.at.duration_since(before.at).as_secs_f64();
            // A ghostpin that was started anew counts anew.
            let answers = seen.status.answers.checked_sub(before.status.answers)?;
            (passed > 0.0).then(|| answers as f64 / passed)
        });
        self.selected = self.selected.min(seen.sites.len().saturating_sub(1));
        self.seen = Some(seen);
    }

    /// A look has brought nothing.
    pub(super) fn missed(&mut self, why: String) {
        self.missed = Some(why);
        self.rate = None;
    }

    fn sites(&self) -> &[SiteSummary] {
        self.seen.as_ref().map_or(&[], |seen| &seen.sites)
    }

    /// Takes what was typed. `false` ends it.
    pub(super) fn take(&mut self, event: &Event) -> bool {
        let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
            return true;
        };
        let is_control = modifiers.contains(KeyModifiers::CONTROL);
        match code {
            KeyCode::Char('c') if is_control => return false,
            KeyCode::Esc if self.is_typing || !self.search.is_empty() => {
                self.is_typing = false;
                self.search.clear();
            }
            KeyCode::Enter if self.is_typing => self.is_typing = false,
            KeyCode::Backspace if self.is_typing => drop(self.search.pop()),
            KeyCode::Char(_) if self.is_typing && self.search.chars().count() >= SEARCH_MAX => {}
            KeyCode::Char(letter) if self.is_typing => self.search.push(*letter),
            KeyCode::Esc | KeyCode::Char('q') if self.site.is_some() => self.site = None,
            KeyCode::Esc | KeyCode::Char('q') => return false,
            KeyCode::Char('/') => (self.is_typing, self.site) = (true, None),
            KeyCode::Char('t') => self.troubled = !self.troubled,
            KeyCode::Down | KeyCode::Char('j') => {
                self.selected = (self.selected + 1).min(self.sites().len().saturating_sub(1));
            }
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = self.sites().len().saturating_sub(1),
            KeyCode::Enter => self.site = self.sites().get(self.selected).map(|site| site.name.clone()),
            _ => {}
        }
        true
    }
}
