//! The grammar of a `haproxy.cfg`: sections of lines of words.

/// What begins a section, however it is indented.
const KINDS: [&str; 18] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "userlist",
    "resolvers",
    "peers",
    "cache",
    "mailers",
    "program",
    "ring",
    "http-errors",
    "fcgi-app",
    "crt-store",
    "log-forward",
    "log-profile",
    "traces",
];

/// A line's number, and its words.
pub(super) type Line = (usize, Vec<String>);

/// One section: its line, its words, and the lines in it.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) line: usize,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
}

/// Takes a text apart: the sections, and lines that are in none.
///
/// # Errors
/// What is wrong with it, and in which line.
pub(super) fn sections(text: &str) -> Result<(Vec<Section>, Vec<Line>), String> {
    let (mut sections, mut strays): (Vec<Section>, _) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line_number = number + 1;
        let words = words(line).map_err(|why| format!("line {line_number}: {why}"))?;
        let Some(first) = words.first() else { continue };
        if KINDS.contains(&first.as_str()) {
            let (kind, name) = (first.clone(), words.get(1).cloned().unwrap_or_default());
            sections.push(Section { line: line_number, kind, name, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push((line_number, words));
        } else {
            strays.push((line_number, words));
        }
    }
    match sections.is_empty() {
        true => Err("line 1: no section such as `frontend` or `backend`".to_owned()),
        false => Ok((sections, strays)),
    }
}

/// The words of a line, without its comment and its quotes.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '#' if quote.is_none() => break,
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            letter if quote == Some(letter) => quote = None,
            '\\' if quote != Some('\'') => {
                let escaped =
                    letters.next_if(|next| next.is_whitespace() || matches!(next, '\\' | '#' | '"' | '\''));
                // What has no meaning keeps its backslash: most of it is in patterns.
                word.get_or_insert_default().push(escaped.unwrap_or('\\'));
            }
            letter if letter.is_whitespace() && quote.is_none() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quote is not ended") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_comments_are_those_of_haproxy() {
        for (line, expected) in [
            ("a  \"b c\" 'd \"e' # f", "a|b c|d \"e"),
            ("a b\\ c \\# d\\.e \"f\\\"g\" 'h\\'", "a|b c|#|d\\.e|f\"g|h\\"),
            ("a b\"c d\"e \"\" f#g", "a|bc de||f"),
        ] {
            assert_eq!(words(line).unwrap().join("|"), expected, "{line}");
        }
        assert_eq!(sections("global\n a 'b").unwrap_err(), "line 2: a quote is not ended");
    }
}
