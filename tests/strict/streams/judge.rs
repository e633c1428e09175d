//! Compares what came of a stream with what its case demands. No I/O: its own tests show it made-up results.

use std::fmt::Write as _;

use super::super::case::{Behind, Reaches};
use super::super::judge::{escaped, judge_request, requests, write_items};
use super::super::parse::values;
use super::super::recorder::{Item, asked};
use super::super::stage::is_in_pieces;
use super::super::talk::last_target;
use super::case::StreamCase;
use super::talk::{Outcome, Talk};

/// All that is wrong, one line each.
pub(super) fn judge(
    behind: Behind,
    case: &StreamCase,
    token: &str,
    talk: &Talk,
    items: &[&Item],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let (requests, lasts) = requests(token, items);
    let is_refused_behind = case.refused_by.contains(&behind) && requests.len() == 1;
    let accepted = match &talk.case {
        Outcome::Answered { status, .. } if is_refused_behind => {
            if *status < 400 || *status == case.granted {
                wrong.push(format!("answered {status}, expected a refusal by the backend"));
            }
            true
        }
        Outcome::Answered { status, body } => {
            let accepted = *status == case.granted;
            let is_early = accepted && case.answered_early && is_in_pieces(token);
            if !is_early && !case.answer.contains(status) {
                wrong.push(format!("answered {status}, expected one of {:?}", case.answer));
            }
            // An answer to HEAD, and one that isn't the backend's own, have nothing to compare.
            let asked = requests.first().map(|request| asked(&request.line)).unwrap_or_default();
            if *status == 200 && !asked.starts_with("HEAD ") && *body != asked.as_bytes() {
                wrong.push(format!("the answer is one to {}, and not to {asked}", escaped(body)));
            }
            accepted
        }
        // Both say of a malformed request that it is one (RFC 9113, 8.1.1 and 5.4).
        Outcome::Reset(code) | Outcome::GoAway(code)
            if *code != 0 && case.answer.iter().any(|status| *status != case.granted) =>
        {
            false
        }
        other => {
            wrong.push(format!("{other:?}, expected one of {:?}", case.answer));
            false
        }
    };
    let expected_body = format!("GET {}", last_target(token)).into_bytes();
    match &talk.last {
        None if matches!(talk.case, Outcome::GoAway(_)) => {}
        Some(Outcome::Answered { status: 200, body }) if *body == expected_body => {}
        last => wrong.push(format!("the stream behind it: {last:?}")),
    }
    if lasts != usize::from(talk.last.is_some()) {
        wrong.push(format!("the backend saw the last request {lasts} times"));
    }
    let announced = !accepted && case.reaches == Reaches::WhatWasAnnounced && requests.len() <= 1;
    let expected = usize::from(accepted);
    if requests.len() != expected && !announced {
        wrong.push(format!("the backend saw {} requests, expected {expected}", requests.len()));
    }
    for item in items {
        match item {
            Item::Whole(_) => {}
            Item::Broken { why, .. } => wrong.push(format!("the backend was sent what is no request: {why}")),
            Item::Cut { .. } if !accepted && case.reaches != Reaches::Nothing => {}
            Item::Cut { .. } => wrong.push("the backend was sent a part of a request".into()),
        }
    }
    if let (true, Some(first)) = (accepted || announced, requests.first()) {
        judge_request(&case.meaning(), token, first, &mut wrong);
        for name in &case.once {
            let count = values(&first.fields, name).count();
            if count != 1 {
                wrong.push(format!("field {name} is there {count} times"));
            }
        }
    }
    wrong
}

/// All that a reader needs to see why a case has failed.
pub(super) fn report(
    case: &StreamCase,
    manners: &str,
    wrong: &[String],
    talk: &Talk,
    items: &[&Item],
) -> String {
    let mut text = format!("http2/{}: {} ({}), sent {manners}\n", case.file, case.name, case.section);
    for line in wrong {
        let _ = writeln!(text, "    WRONG     {line}");
    }
    let _ = writeln!(text, "    why       {}", case.why);
    if let Some(why) = &case.deviates {
        let _ = writeln!(text, "    deviates  {why}");
    }
    let sent = case.sent("{case}");
    for (name, value) in sent.head.iter().chain(sent.trailers.iter().flatten()) {
        let _ = writeln!(text, "    sent      [{}] = [{}]", escaped(name), escaped(value));
    }
    for data in &sent.data {
        let _ = writeln!(text, "    data      [{}]", escaped(data));
    }
    let _ = writeln!(text, "    came      {:?}, then {:?}", talk.case, talk.last);
    write_items(&mut text, items);
    text
}
