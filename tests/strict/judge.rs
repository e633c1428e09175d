//! Compares what came of a case with what the case demands. No I/O: its own tests show it made-up results.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::case::{After, Behind, Case, Reaches, Values, expand};
use super::parse::{Answer, Framing, Request, values};
use super::recorder::{Item, asked};
use super::talk::{End, Talk, last_target};

/// All that is wrong with what came of a case, one line each.
pub(crate) fn judge(behind: Behind, case: &Case, token: &str, talk: &Talk, items: &[&Item]) -> Vec<String> {
    let mut wrong = Vec::new();
    if case.refused_by.contains(&behind) && requests(token, items).0.len() == 1 {
        judge_refused_by_backend(case, token, talk, items, &mut wrong);
        return wrong;
    }
    let accepted = case.accepts() && talk.answers.first().is_some_and(|answer| answer.status == 200);
    judge_answers(case, talk, accepted, &mut wrong);
    judge_end(case, talk, accepted, &mut wrong);
    judge_backend(case, token, talk, items, accepted, &mut wrong);
    wrong
}

/// What was passed on is what it should be, and the backend's word is all that the client hears of it.
fn judge_refused_by_backend(case: &Case, token: &str, talk: &Talk, items: &[&Item], wrong: &mut Vec<String>) {
    match talk.answers.as_slice() {
        [answer] if answer.saw.is_none() && answer.status >= 400 => {}
        answers => wrong.push(format!("answers {answers:?}, expected a refusal by the backend")),
    }
    if !matches!(talk.end, End::Open | End::Closed) {
        wrong.push(format!("the connection ended: {:?}", talk.end));
    }
    let (requests, lasts) = requests(token, items);
    if requests.len() + lasts != items.len() || lasts != usize::from(talk.last.is_some()) {
        wrong.push(format!("{} items and {lasts} last requests", items.len()));
    }
    for request in requests {
        judge_request(&case.meaning(), token, request, wrong);
    }
}

/// Those of the case, and how often the last one came.
pub(crate) fn requests<'a>(token: &str, items: &[&'a Item]) -> (Vec<&'a Request>, usize) {
    let last = format!("GET {} HTTP/1.1", last_target(token));
    let all = items.iter().filter_map(|item| match item {
        Item::Whole(request) => Some(request),
        Item::Broken { .. } | Item::Cut { .. } => None,
    });
    let (lasts, requests): (Vec<_>, Vec<_>) = all.partition(|request| request.line == last.as_bytes());
    (requests, lasts.len())
}

fn judge_answers(case: &Case, talk: &Talk, accepted: bool, wrong: &mut Vec<String>) {
    let statuses: Vec<u16> = talk.answers.iter().map(|answer| answer.status).collect();
    match statuses.first() {
        None if case.answer.is_empty() => {}
        None => wrong.push(format!("no answer, expected one of {:?}", case.answer)),
        // Whoever has left may be told that he has, but never that all went well.
        Some(first) if case.answer.is_empty() && *first >= 400 => {}
        Some(first) if !case.answer.contains(first) => {
            wrong.push(format!("answered {first}, expected one of {:?}", case.answer));
        }
        Some(_) => {}
    }
    if accepted && talk.interim != case.interim {
        wrong.push(format!("interim answers {:?}, expected {:?}", talk.interim, case.interim));
    }
    let further = statuses.get(1..).unwrap_or_default();
    let (next, refusal) = further.split_at(further.len().min(if accepted { case.next.len() } else { 0 }));
    if accepted && (next.len() < case.next.len() || next.iter().any(|status| *status != 200)) {
        wrong.push(format!("the requests behind the first were answered {next:?}"));
    }
    match refusal {
        [] if accepted && !case.next_answer.is_empty() => {
            wrong.push(format!("no refusal of the last request, expected {:?}", case.next_answer));
        }
        [] => {}
        [status] if accepted && case.next_answer.contains(status) => {}
        extra => wrong.push(format!("answers {extra:?} to what is no request or not to be accepted")),
    }
}

fn judge_end(case: &Case, talk: &Talk, accepted: bool, wrong: &mut Vec<String>) {
    let goes_on = accepted && case.next_answer.is_empty() && !case.close_after_send;
    let after = case.after.unwrap_or(if goes_on { After::Open } else { After::Closed });
    let is_open = talk.last.as_ref().is_some_and(|answer| answer.status == 200);
    match (&talk.end, after) {
        (End::Closed, After::Closed | After::Either) => {}
        (End::Open, After::Open | After::Either) if is_open => {}
        (End::Closed, After::Open) => wrong.push("the connection was closed".into()),
        (End::Open, _) if is_open => {
            wrong.push("the connection was not closed: a further request was answered".into());
        }
        (end, _) => wrong.push(format!("the connection ended: {end:?}, last answer {:?}", talk.last)),
    }
}

fn judge_backend(
    case: &Case,
    token: &str,
    talk: &Talk,
    items: &[&Item],
    accepted: bool,
    wrong: &mut Vec<String>,
) {
    let (mut requests, lasts) = requests(token, items);
    // They may have come over several connections, whose order says nothing. That of the answers does.
    requests.sort_by_key(|request| {
        let asked = asked(&request.line);
        let is_to_it = |answer: &Answer| answer.saw.as_ref() == Some(&asked);
        talk.answers.iter().position(is_to_it).unwrap_or(usize::MAX)
    });
    for item in items {
        match item {
            Item::Whole(_) => {}
            Item::Broken { why, .. } => wrong.push(format!("the backend was sent what is no request: {why}")),
            Item::Cut { .. }
                if !accepted && (case.reaches == Reaches::NoWholeRequest || case.close_after_send) => {}
            Item::Cut { .. } => wrong.push("the backend was sent a part of a request".into()),
        }
    }
    if lasts != usize::from(talk.last.is_some()) {
        wrong.push(format!("the backend saw the last request {lasts} times"));
    }
    let expected = if accepted { case.requests } else { 0 };
    if requests.len() != expected {
        wrong.push(format!("the backend saw {} requests, expected {expected}", requests.len()));
    }
    if !accepted {
        return;
    }
    if let Some(first) = requests.first() {
        judge_request(&case.meaning(), token, first, wrong);
    }
    for (request, line) in requests.iter().skip(1).zip(&case.next) {
        expect_one_of("a further request line", &request.line, std::slice::from_ref(line), token, wrong);
    }
    for (answer, request) in talk.answers.iter().zip(&requests) {
        if answer.saw.as_ref() != Some(&asked(&request.line)) {
            wrong.push(format!(
                "the answer to {} is one to {:?}",
                asked(&request.line),
                answer.saw.as_deref().unwrap_or_default()
            ));
        }
    }
}

/// What a request must mean when it comes to a backend.
pub(crate) struct Meaning<'a> {
    pub(crate) line: Option<&'a Values>,
    pub(crate) fields: &'a BTreeMap<String, Values>,
    pub(crate) absent: &'a [String],
    pub(crate) body: Option<&'a str>,
    pub(crate) framing: Option<Framing>,
}

impl Case {
    fn meaning(&self) -> Meaning<'_> {
        Meaning {
            line: self.line.as_ref(),
            fields: &self.fields,
            absent: &self.absent,
            body: self.body.as_deref(),
            framing: self.framing,
        }
    }
}

pub(crate) fn judge_request(meaning: &Meaning<'_>, token: &str, seen: &Request, wrong: &mut Vec<String>) {
    if let Some(line) = meaning.line {
        expect_one_of("the request line", &seen.line, line.all(), token, wrong);
    }
    for (name, expected) in meaning.fields {
        let expected: Vec<Vec<u8>> = expected.all().iter().map(|value| expand(value, token)).collect();
        let found: Vec<&[u8]> = values(&seen.fields, &name.to_ascii_lowercase()).collect();
        if found != expected {
            wrong.push(format!("field {name} is [{}], expected [{}]", shown(&found), shown(&expected)));
        }
    }
    for name in meaning.absent {
        let found: Vec<&[u8]> = values(&seen.fields, &name.to_ascii_lowercase()).collect();
        if !found.is_empty() {
            wrong.push(format!("field {name} is [{}], expected none", shown(&found)));
        }
    }
    if let Some(body) = meaning.body {
        expect_one_of("the body", &seen.body, &[body.to_owned()], token, wrong);
    }
    if meaning.framing.is_some_and(|framing| framing != seen.framing) {
        wrong.push(format!("the framing is {:?}, expected {:?}", seen.framing, meaning.framing));
    }
}

fn expect_one_of(what: &str, found: &[u8], expected: &[String], token: &str, wrong: &mut Vec<String>) {
    let expected: Vec<Vec<u8>> = expected.iter().map(|one| expand(one, token)).collect();
    if !expected.iter().any(|one| one == found) {
        wrong.push(format!("{what} is [{}], expected [{}]", shown(&[found]), shown(&expected)));
    }
}

fn shown(all: &[impl AsRef<[u8]>]) -> String {
    all.iter().map(|one| escaped(one.as_ref())).collect::<Vec<_>>().join(" | ")
}

/// Readable, and short enough to be read.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    const SHOWN: usize = 400;
    match bytes.get(..SHOWN) {
        Some(begin) if bytes.len() > SHOWN => {
            format!("{} ... {} bytes in all", begin.escape_ascii(), bytes.len())
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

/// All that a reader needs to see why a case has failed.
pub(crate) fn report(case: &Case, manners: &str, wrong: &[String], talk: &Talk, items: &[&Item]) -> String {
    let mut text = format!("{}: {} ({}), sent {manners}\n", case.file, case.name, case.section);
    for line in wrong {
        let _ = writeln!(text, "    WRONG     {line}");
    }
    let _ = writeln!(text, "    why       {}", case.why);
    let _ = writeln!(text, "    sent      {}", escaped(&expand(&case.send, "{case}")));
    let answers = talk.answers.iter().chain(&talk.last).map(|answer| match &answer.saw {
        Some(saw) => format!("{} to {saw}", answer.status),
        None => format!("{} by the proxy", answer.status),
    });
    let answers = answers.collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "    answered  {answers} (interim {:?}), then {:?}", talk.interim, talk.end);
    write_items(&mut text, items);
    text
}

/// What came at the backend.
pub(crate) fn write_items(text: &mut String, items: &[&Item]) {
    for item in items {
        let kind = match item {
            Item::Whole(_) => "a request",
            Item::Broken { .. } => "no request",
            Item::Cut { .. } => "a part",
        };
        let _ = writeln!(text, "    backend   {kind}: {}", escaped(item.raw()));
    }
}
