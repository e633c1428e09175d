//! What must hold of any bytes, whoever has made them: the seeded tests and the fuzzers give their inputs to the functions
//! here, which say what is wrong. An input alone decides everything, the pieces it comes in too.

pub(crate) mod answers;
pub(crate) mod bodies;
pub(crate) mod compare;
pub(crate) mod dice;
pub(crate) mod forwarded;
pub(crate) mod ours;
// The strict reader of the recording backend. It shares no code with ghostpin.
#[allow(dead_code)]
#[path = "../../strict/parse.rs"]
pub(crate) mod parse;
pub(crate) mod pipe;
pub(crate) mod proxied;
pub(crate) mod requests;
pub(crate) mod theirs;

use std::path::Path;

use ghostpin::config::Config;
use ghostpin::http1::Length;
use http::Method;

use compare::Allowed;
use dice::Dice;
use pipe::Manner;

/// What an input was good for: a run in which nothing is ever accepted tests nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Requests, answers or bodies that were accepted to their ends.
    pub(crate) accepted: usize,
    pub(crate) allowed: Vec<Allowed>,
}

/// Everything that ghostpin accepts of a client's connection is written to a backend as exactly one request.
pub(crate) fn request(data: &[u8]) -> Result<Found, String> {
    let mut dice = Dice::of(data);
    let reading = ours::read(data, Manner::Whole, ours::USUAL);
    ours::check_pieces(data, &reading, Manner::any(&mut dice))?;
    requests::check_strict(data, &reading)?;
    for accepted in &reading.requests {
        requests::check_written(accepted, &mut dice)?;
    }
    let accepted = reading.requests.iter().filter(|accepted| accepted.is_whole).count();
    Ok(Found { accepted, allowed: Vec::new() })
}

/// What ghostpin accepts of a client's connection, hyper accepts, and reads the same.
pub(crate) fn differential(data: &[u8]) -> Result<Found, String> {
    let mut dice = Dice::of(data);
    let ours = ours::read(data, Manner::any(&mut dice), ours::USUAL);
    let theirs = theirs::read(data, Manner::any(&mut dice), ours::USUAL);
    let allowed = compare::compare(&ours, &theirs)?;
    let accepted = ours.requests.iter().filter(|accepted| accepted.is_whole).count();
    Ok(Found { accepted, allowed })
}

/// Every answer that ghostpin accepts of a backend goes to every client as one answer.
pub(crate) fn response(data: &[u8]) -> Result<Found, String> {
    let mut dice = Dice::of(data);
    let mut accepted = 0;
    for asked in [Method::GET, Method::HEAD] {
        accepted += usize::from(answers::check_answer(data, &asked, &mut dice)?);
    }
    Ok(Found { accepted, allowed: Vec::new() })
}

/// A body is the same in whatever pieces it comes. The first byte says how many of the following are the lengths of
/// pieces; the rest is the body, read as chunks, as so many bytes, and as what is written again.
pub(crate) fn chunked(data: &[u8]) -> Result<Found, String> {
    let Some((&count, rest)) = data.split_first() else { return Ok(Found::default()) };
    let (sizes, text) = rest.split_at(usize::from(count).min(rest.len()));
    let mut end = 0;
    let ends: Vec<usize> = sizes
        .iter()
        .map(|size| {
            end += usize::from(*size);
            end
        })
        .collect();
    let mut dice = Dice::of(data);
    let read = bodies::check_splits(Length::Chunked, text, &ends)?;
    bodies::check_splits(Length::Exactly(1 + u64::from(count)), text, &ends)?;
    bodies::check_splits(Length::UntilClose, text, &ends)?;
    if read.end.is_err() {
        return Ok(Found::default());
    }
    let mut trailers = ghostpin::http1::Fields::default();
    for (name, value) in &read.trailers {
        trailers.push(std::str::from_utf8(name).unwrap_or_default(), value);
    }
    bodies::check_outbox(&read.body, (!trailers.is_empty()).then_some(&trailers), &mut dice)?;
    Ok(Found { accepted: 1, allowed: Vec::new() })
}

/// A header of the PROXY protocol names the same client in whatever pieces it comes, or is refused.
pub(crate) fn proxied(data: &[u8]) -> Result<Found, String> {
    let accepted = usize::from(proxied::check(data, &mut Dice::of(data))?);
    Ok(Found { accepted, allowed: Vec::new() })
}

/// Who asks is said once to a backend, and by nobody who isn't believed.
pub(crate) fn forwarded(data: &[u8]) -> Result<Found, String> {
    let mut dice = Dice::of(data);
    let reading = ours::read(data, Manner::Whole, ours::USUAL);
    for accepted in &reading.requests {
        forwarded::check(&accepted.head, &mut dice)?;
    }
    Ok(Found { accepted: reading.requests.len(), allowed: Vec::new() })
}

/// A configuration is read or refused, and who refuses says where.
pub(crate) fn config(data: &[u8]) -> Result<Found, String> {
    let Ok(text) = std::str::from_utf8(data) else { return Ok(Found::default()) };
    // No file of this machine is read because of what chance has written. Relative names lead to a folder that isn't there.
    let names_files = ["include", "page", "\\u", "\\U", "\\x"].iter().any(|word| text.contains(word));
    if names_files && text.contains(['/', '\\']) {
        return Ok(Found::default());
    }
    let origin = Path::new("/nonexistent/ghostpin/ghostpin.toml");
    let Err(errors) = Config::parse(text, origin) else {
        return Ok(Found { accepted: 1, allowed: Vec::new() });
    };
    if errors.count() == 0 || errors.to_string().is_empty() {
        return Err("it is refused without a reason".into());
    }
    let lines = text.split('\n').count();
    for error in errors.iter().filter(|error| error.file.as_ref() == origin) {
        // The parser does not say where it was nested too deeply: the whole file is meant.
        let is_of_all = error.message == "not TOML: recursion limit" && error.line.is_none();
        if !is_of_all && !error.line.is_some_and(|line| 1 <= line && line <= lines)
            || error.message.is_empty()
        {
            return Err(format!("an error is in no line of {lines}: {error:?}"));
        }
    }
    Ok(Found::default())
}
