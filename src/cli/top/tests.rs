//! Keys, and pages as they are drawn.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::draw;
use super::model::{Model, Process, Seen};

fn seen(at: Instant, answers: u64, sites: serde_json::Value, fleet: serde_json::Value) -> Seen {
    let status: Process = serde_json::from_value(json!({
        "version": "9.9", "pid": 1, "sites": 4, "longest_handoff_ms": 0, "commits_failed": 0,
        "phases": {"vacant": 1, "proving": 0, "serving": 2, "draining": 1, "fencing": 0},
        "held": 7, "held_max": 100, "in_flight": 3, "conflicts": 0, "handoffs": 5, "handoffs_by": [],
        "probes": 9, "late_answers": 0, "refused_update": null, "refused_update_ms": null, "reloads": 1,
        "last_reload_ms": null, "answers": answers,
    }))
    .unwrap();
    let sites = serde_json::from_value(sites).unwrap();
    Seen { at, status, sites, fleet: serde_json::from_value(fleet).unwrap(), page: None }
}

fn site(name: &str, phase: &str, handoff: serde_json::Value) -> serde_json::Value {
    json!({"name": name, "phase": phase, "epoch": 3, "backend": "b:1", "open": phase == "serving", "held": 7,
        "in_flight": 1, "conflicts": [], "handoff": handoff})
}

fn drawn(model: &Model) -> Vec<String> {
    drawn_on(120, model)
}

fn drawn_on(columns: u16, model: &Model) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, 14)).unwrap();
    terminal.draw(|frame| draw::draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..14).map(row).collect()
}

fn press(model: &mut Model, code: KeyCode) -> bool {
    model.take(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

#[test]
fn a_page_tells_rates_handoffs_and_edges() {
    let began = Instant::now();
    let mut model = Model::new("127.0.0.1:9180".to_owned());
    let moving = site("moving", "draining", json!({"cause": "planned", "for_ms": 3100, "phase_for_ms": 400}));
    let sites = json!([moving, site("calm", "serving", json!(null))]);
    let edge = |name: &str, pending: &[&str]| {
        json!({"name": name, "lease": "1f", "watermark": 7,
        "pending": pending, "controller": name == "a", "this": name == "b"})
    };
    let fleet = json!({"controller": "a", "edges": [edge("a", &[]), edge("b", &["moving"])], "fenced": []});
    model.saw(seen(began, 100, sites.clone(), json!(null)));
    assert!(drawn(&model)[1].starts_with("- requests/s"), "one look is no rate");
    model.saw(seen(began + Duration::from_secs(2), 1100, sites, fleet));
    let rows = drawn(&model);
    assert_eq!(rows[0], "ghostpin 9.9 at 127.0.0.1:9180");
    assert_eq!(rows[1], "500 requests/s   3 in flight   7 held of 100   5 handoffs have ended");
    assert_eq!(rows[2], "4 sites: 2 serving, 1 draining, 1 vacant");
    assert!(rows[5].starts_with("moving") && rows[5].contains("planned 3.1 s (0.4 s)"), "{rows:#?}");
    assert!(rows[6].starts_with("calm") && rows[7].is_empty(), "{rows:#?}");
    assert_eq!(rows[10..13], ["EDGES", "a, decides", "b, this one, handoffs of 1 site wait for it"]);
    model.missed("nobody answers".to_owned());
    assert_eq!(drawn(&model)[3], "nobody answers", "and what was seen last stays");
    assert!(drawn(&model)[5].starts_with("moving"));
}

#[test]
fn however_narrow_it_is_the_site_is_told_and_what_matters_least_is_left_out() {
    let mut model = Model::new("127.0.0.1:9180".to_owned());
    let moving = site(
        "magazine.example",
        "draining",
        json!({"cause": "planned", "for_ms": 3100, "phase_for_ms": 400}),
    );
    model.saw(seen(Instant::now(), 100, json!([moving]), json!(null)));
    for (columns, head) in [
        (130, "SITE PHASE HANDOFF HELD IN FLIGHT EPOCH BACKEND CONFLICTS"),
        (100, "SITE PHASE HANDOFF HELD IN FLIGHT EPOCH BACKEND"),
        (80, "SITE PHASE HANDOFF HELD BACKEND"),
        (60, "SITE PHASE HANDOFF"),
        (40, "SITE PHASE"),
        (16, "SITE"),
    ] {
        let rows = drawn_on(columns, &model);
        assert_eq!(rows[4].split_whitespace().collect::<Vec<_>>().join(" "), head, "{columns}: {rows:#?}");
        assert!(rows[5].starts_with("magazine.example"), "{columns}: {rows:#?}");
        let is_whole = rows[5].contains("planned 3.1 s (0.4 s)") || !head.contains("HANDOFF");
        assert!(is_whole, "{columns}: {rows:#?}");
    }
}

#[test]
fn no_more_sites_are_asked_for_than_there_is_room_for() {
    let model = Model::new(String::new());
    assert_eq!(model.asked(draw::rows(24)).rows, 18);
    assert_eq!(model.asked(draw::rows(3)).rows, 0);
}

#[test]
fn keys_search_choose_and_leave() {
    let mut model = Model::new(String::new());
    let sites = json!([site("a", "serving", json!(null)), site("b", "serving", json!(null))]);
    model.saw(seen(Instant::now(), 0, sites, json!(null)));
    for code in
        [KeyCode::Char('/'), KeyCode::Char('q'), KeyCode::Char('x'), KeyCode::Backspace, KeyCode::Enter]
    {
        assert!(press(&mut model, code));
    }
    assert_eq!(model.asked(1).search, "q", "while one types, q is a letter");
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.asked(1).search, "");
    for code in [KeyCode::Down, KeyCode::Down, KeyCode::Enter] {
        press(&mut model, code);
    }
    assert_eq!(model.asked(1).site.as_deref(), Some("b"), "the last one is as far as it goes");
    assert!(press(&mut model, KeyCode::Char('q')), "back to the list");
    assert!(!press(&mut model, KeyCode::Char('q')));
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(!model.take(&Event::Key(control_c)));
}
