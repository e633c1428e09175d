//! Rust text as a row of tokens: names and signs, without comments, strings, characters and test modules.

/// A token and the line it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// A name, `::`, or one sign.
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
}

/// The tokens of one file.
pub(crate) struct Source {
    /// In the order of the text.
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    /// Takes a text apart. Good enough for formatted code that compiles; it does not judge.
    pub(crate) fn parse(text: &str) -> Self {
        let mut tokens = Vec::new();
        let (mut rest, mut line) = (text, 1);
        while let Some(first) = rest.chars().next() {
            let (length, token) = match comment_or_literal(rest) {
                Some(length) => (length, false),
                None if rest.starts_with("::") => (2, true),
                None if in_name(first) => (rest.find(|c| !in_name(c)).unwrap_or(rest.len()), true),
                None => (first.len_utf8(), !first.is_whitespace()),
            };
            let (head, tail) = rest.split_at(length);
            if token {
                tokens.push(Token { text: head.to_owned(), line });
            }
            line += head.matches('\n').count();
            rest = tail;
        }
        Self { tokens: without_tests(&tokens) }
    }
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment, string, character or lifetime that a text begins with.
fn comment_or_literal(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let prefixed = ["b", "c", "r", "br", "cr"].iter().find_map(|prefix| {
        let rest = text.strip_prefix(prefix)?;
        rest.starts_with(['"', '#', '\'']).then_some((prefix.len(), rest))
    });
    let (prefix, rest) = prefixed.unwrap_or((0, text));
    if text[..prefix].contains('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if rest[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = &rest[hashes + 1..];
            return Some(prefix + hashes + 1 + body.find(&end).map_or(body.len(), |at| at + end.len()));
        }
        return None;
    }
    match rest.chars().next()? {
        '"' => Some(prefix + quoted(rest, '"')),
        '\'' => {
            let mut after = rest.chars().skip(1);
            let (one, two) = (after.next()?, after.next());
            // 'a' and '\n' are characters; 'a without a closing quote is a lifetime, and only its quote is dropped.
            if one == '\\' || two == Some('\'') {
                Some(prefix + quoted(rest, '\''))
            } else {
                Some(prefix + 1)
            }
        }
        _ => None,
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Drops what stands under `#[cfg(test)]`: an item up to its closing brace, or up to its semicolon.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().map(|token| token.text.as_str()).take(MARK.len()).eq(MARK) {
            at = end_of_item(tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
