//! The paths that a file names, in `use` lines and in the middle of code, each from its crate's root.

use std::path::Path;

use super::source::{Source, Token};

/// A path and the line it is named on.
pub(crate) struct Named {
    /// Its segments; `super` and `self` are replaced by what they stand for.
    pub(crate) path: Vec<String>,
    /// From 1.
    pub(crate) line: usize,
}

/// All paths of at least two segments in a file, in order.
pub(crate) fn named(source: &Source, file: &Path) -> Vec<Named> {
    let module = module_of(file);
    let mut found = Vec::new();
    let tokens = source.tokens.as_slice();
    let mut at = 0;
    while at < tokens.len() {
        let inside = at > 0 && matches!(tokens[at - 1].text.as_str(), "::" | ".");
        if tokens[at].text == "use" {
            at = tree(tokens, at + 1, &[], &mut found);
        } else if is_name(&tokens[at]) && !inside {
            let end = path_end(tokens, at);
            if end > at + 1 {
                found.push(Named { path: segments(&tokens[at..end]), line: tokens[at].line });
            }
            at = end;
        } else {
            at += 1;
        }
    }
    for named in &mut found {
        named.path = absolute(&module, std::mem::take(&mut named.path));
    }
    found
}

/// Reads one `use` tree from `at` on; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "as" => at += 2,
            "*" => {
                path.push("*".to_owned());
                at += 1;
            }
            _ if is_name(token) => {
                path.push(token.text.clone());
                at += 1;
            }
            _ => break,
        }
    }
    found.push(Named { path, line });
    at
}

fn path_end(tokens: &[Token], start: usize) -> usize {
    let mut end = start + 1;
    while tokens.get(end).is_some_and(|token| token.text == "::") && tokens.get(end + 1).is_some_and(is_name)
    {
        end += 2;
    }
    end
}

fn segments(tokens: &[Token]) -> Vec<String> {
    tokens.iter().filter(|token| token.text != "::").map(|token| token.text.clone()).collect()
}

fn is_name(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// `src/core/table.rs` is `crate::core::table`.
fn module_of(file: &Path) -> Vec<String> {
    let inner = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let names = inner.iter().map(|part| part.to_string_lossy().into_owned());
    let module = names.filter(|name| !matches!(name.as_str(), "mod" | "lib" | "main"));
    std::iter::once("crate".to_owned()).chain(module).collect()
}

fn absolute(module: &[String], path: Vec<String>) -> Vec<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let selves = path.iter().take_while(|segment| *segment == "self").count();
    // In a nested module `super` stays nearer than this says, so it never hides a step out of the room.
    match (supers, selves) {
        (0, 0) => path,
        _ => {
            let base = &module[..module.len().saturating_sub(supers).max(1)];
            base.iter().cloned().chain(path.into_iter().skip(supers + selves)).collect()
        }
    }
}
