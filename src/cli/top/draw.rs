//! How it looks: a head, the sites, the edges if there are any, and what can be typed.

use anstream::adapter::strip_str;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, TableState};

use super::super::print::plural;
use super::model::{Model, Seen};
use crate::control::view::{SiteSummary, UnderWay};

/// Lines above the sites, and below them.
const HEAD: u16 = 4;
const FOOT: u16 = 1;
/// Lines for the edges of a fleet; of more, it is said how many there are.
const EDGES_MAX: usize = 6;

/// How many sites there is room for.
pub(super) fn rows(height: u16) -> usize {
    usize::from(height.saturating_sub(HEAD + 1 + FOOT))
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let Some(seen) = &model.seen else { return };
    let edges = edges(seen);
    let tall = u16::try_from(edges.len()).unwrap_or(0);
    let [head, middle, below, foot] = Layout::vertical([
        Constraint::Length(HEAD),
        Constraint::Min(2),
        Constraint::Length(tall),
        Constraint::Length(FOOT),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(model, seen)), head);
    match &seen.page {
        Some(page) if model.site.is_some() => {
            frame.render_widget(Paragraph::new(strip_str(page).to_string()), middle);
        }
        _ => sites(frame, middle, model, seen),
    }
    frame.render_widget(Paragraph::new(edges), below);
    frame.render_widget(Paragraph::new(keys(model)), foot);
}

fn heading(model: &Model, seen: &Seen) -> Vec<Line<'static>> {
    let status = &seen.status.status;
    let rate = model.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let first = format!("ghostpin {} at {}", status.version, model.place);
    let second = format!(
        "{rate} requests/s   {} in flight   {} held of {}   {} handoffs have ended",
        status.in_flight, status.held, status.held_max, status.handoffs
    );
    let phases = &status.phases;
    let mut third = vec![Span::raw(format!("{} sites: {} serving", status.sites, phases.serving))];
    let others = [
        ("draining", phases.draining, Color::Yellow),
        ("fencing", phases.fencing, Color::Yellow),
        ("proving", phases.proving, Color::Yellow),
        ("vacant", phases.vacant, Color::Red),
        ("with a conflict", status.conflicts, Color::Red),
        ("stalled workers", seen.status.stalled_workers, Color::Red),
    ];
    for (word, count, color) in others {
        if count > 0 {
            third.push(Span::styled(format!(", {count} {word}"), Style::new().fg(color)));
        }
    }
    let trouble = match (&model.missed, &status.refused_update) {
        (Some(why), _) => Line::from(why.replace('\n', " ")).red(),
        (None, Some(why)) => {
            let first_line = why.lines().next().unwrap_or_default();
            Line::from(format!("the last update was refused: {first_line}")).red()
        }
        (None, None) => Line::default(),
    };
    vec![Line::from(first).bold(), Line::from(second), Line::from(third), trouble]
}

/// A column of the sites.
struct Column {
    head: &'static str,
    /// Narrower it would say nothing.
    least: u16,
    /// Its part of what is left when all have their least.
    share: u16,
    cell: fn(&SiteSummary) -> String,
}

/// Those that matter least stand last in `MATTERS`, and are left out first.
const COLUMNS: [Column; 8] = [
    Column { head: "SITE", least: 16, share: 3, cell: |site| site.name.clone() },
    Column { head: "PHASE", least: 18, share: 0, cell: SiteSummary::state },
    Column {
        head: "HANDOFF",
        least: 22,
        share: 0,
        cell: |site| site.handoff.as_ref().map_or_else(String::new, under_way),
    },
    Column { head: "HELD", least: 6, share: 0, cell: |site| site.held.to_string() },
    Column { head: "IN FLIGHT", least: 9, share: 0, cell: |site| site.in_flight.to_string() },
    Column { head: "EPOCH", least: 6, share: 0, cell: |site| site.epoch.to_string() },
    Column { head: "BACKEND", least: 14, share: 2, cell: |site| site.backend.clone() },
    Column { head: "CONFLICTS", least: 14, share: 2, cell: |site| site.conflicts.join(", ") },
];
const MATTERS: [&str; 8] = ["SITE", "PHASE", "HANDOFF", "HELD", "BACKEND", "IN FLIGHT", "EPOCH", "CONFLICTS"];

/// The columns that there is room for, each with its width.
fn columns(width: u16) -> Vec<(&'static Column, u16)> {
    let shown = |count: usize| COLUMNS.iter().filter(move |column| MATTERS[..count].contains(&column.head));
    // Between two columns there is a blank.
    let least = |count: usize| shown(count).map(|column| column.least + 1).sum::<u16>() - 1;
    let count = (1..=COLUMNS.len()).rev().find(|count| least(*count) <= width).unwrap_or(1);
    let spare = width.saturating_sub(least(count));
    let shares: u16 = shown(count).map(|column| column.share).sum();
    shown(count).map(|column| (column, column.least + spare / shares * column.share)).collect()
}

fn sites(frame: &mut Frame<'_>, area: Rect, model: &Model, seen: &Seen) {
    let columns = columns(area.width);
    let head = Row::new(columns.iter().map(|(column, _)| column.head));
    let row = |site: &SiteSummary| {
        let color = match site.state().as_str() {
            "serving" if site.conflicts.is_empty() => Color::Reset,
            "serving" | "vacant" | "serving, held here" => Color::Red,
            _ => Color::Yellow,
        };
        let cells: Vec<String> = columns.iter().map(|(column, _)| (column.cell)(site)).collect();
        Row::new(cells).style(Style::new().fg(color))
    };
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
    let table = Table::new(seen.sites.iter().map(row), widths)
        .header(head.style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(Some(model.selected));
    frame.render_stateful_widget(table, area, &mut state);
}

/// `planned 3.1 s (0.4 s)`: since it began, and since its phase did.
fn under_way(UnderWay { cause, for_ms, phase_for_ms }: &UnderWay) -> String {
    let seconds = |millis: &u64| *millis as f64 / 1e3;
    let cause = cause.as_deref().unwrap_or("followed");
    format!("{cause} {:.1} s ({:.1} s)", seconds(for_ms), seconds(phase_for_ms))
}

fn edges(seen: &Seen) -> Vec<Line<'static>> {
    let Some(fleet) = &seen.fleet else { return Vec::new() };
    let mut lines = vec![Line::from("EDGES").bold()];
    for edge in fleet.edges.iter().take(EDGES_MAX) {
        let marks = [(edge.controller, ", decides"), (edge.this, ", this one")];
        let marks: String = marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect();
        let pending = match edge.pending.len() {
            0 => String::new(),
            count => format!(", handoffs of {} wait for it", plural(count, "site")),
        };
        lines.push(Line::from(format!("{}{marks}{pending}", edge.name)));
    }
    if fleet.edges.len() > EDGES_MAX {
        lines.push(Line::from(format!("... and {} more", fleet.edges.len() - EDGES_MAX)));
    }
    if fleet.controller.is_empty() {
        lines.push(Line::from("No edge decides now: nothing moves until one is elected.").red());
    }
    lines
}

fn keys(model: &Model) -> Line<'static> {
    if model.is_typing {
        return Line::from(format!("/{}_   Enter keeps it, Esc forgets it", model.search)).reversed();
    }
    if model.site.is_some() {
        return Line::from("Esc or q back").reversed();
    }
    let search = if model.search.is_empty() { String::new() } else { format!(" [{}]", model.search) };
    let troubled = if model.troubled { " [only those]" } else { "" };
    Line::from(format!("q quit   / search{search}   t troubled{troubled}   up, down, Enter one site"))
        .reversed()
}
