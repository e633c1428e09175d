//! The words of a Caddyfile, told apart as Caddy does: quotes, heredocs, comments, and lines that go on.

/// One line. Words in quotes and heredocs may make it longer than one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) words: Vec<String>,
    /// Its last word was a `{`, which is none of the words.
    pub(super) opens: bool,
    /// It is a `}` and nothing else.
    pub(super) closes: bool,
}

/// Takes a text apart.
///
/// # Errors
/// What is wrong with it, and in which line: a quote that is not ended, say.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, String> {
    let mut lexer = Lexer { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let mut lines = Vec::new();
    let mut line = Line::default();
    loop {
        lexer.skip();
        match lexer.rest.chars().next() {
            end @ (None | Some('\n')) => {
                if line != Line::default() {
                    lines.push(std::mem::take(&mut line));
                }
                if end.is_none() {
                    return Ok(lines);
                }
                lexer.take(1);
            }
            Some(_) => {
                if line == Line::default() {
                    line.number = lexer.line;
                }
                if line.opens {
                    return Err(format!("line {}: a `{{` is followed by something else", line.number));
                }
                let is_bare = !lexer.rest.starts_with(['"', '`', '<']);
                let word = lexer.word()?;
                line.opens = is_bare && word == "{";
                line.closes = is_bare && word == "}" && line.words.is_empty();
                if !line.opens {
                    line.words.push(word);
                }
            }
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    /// So many bytes of the rest.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// How long a line's end is, if one begins there.
    fn line_end(text: &str) -> Option<usize> {
        let end = text.trim_start_matches('\r');
        end.starts_with('\n').then(|| text.len() - end.len() + 1)
    }

    /// Blanks within a line, its comment, and the end of one that goes on.
    fn skip(&mut self) {
        loop {
            let next = self.rest.chars().next();
            if let Some(end) = self.rest.strip_prefix('\\').and_then(Self::line_end) {
                self.take(1 + end);
            } else if let Some(blank) = next.filter(|letter| letter.is_whitespace() && *letter != '\n') {
                self.take(blank.len_utf8());
            } else if next == Some('#') {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else {
                return;
            }
        }
    }

    fn word(&mut self) -> Result<String, String> {
        match self.rest.chars().next() {
            Some('"') => self.quoted('"'),
            Some('`') => self.quoted('`'),
            _ => {
                let ends = |(at, letter): &(usize, char)| {
                    letter.is_whitespace()
                        || *letter == '\\' && Self::line_end(&self.rest[at + 1..]).is_some()
                };
                let end = self.rest.char_indices().find(ends).map_or(self.rest.len(), |(at, _)| at);
                let word = self.take(end);
                match (word.strip_prefix("<<"), Self::line_end(self.rest)) {
                    (Some(mark), Some(end)) => self.heredoc(mark, end),
                    // A backslash says that no heredoc begins here.
                    _ if word.starts_with("\\<") => Ok(word[1..].to_owned()),
                    _ => Ok(word.to_owned()),
                }
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let began = self.line;
        let mut word = String::new();
        self.take(1);
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                letter if letter == quote => {
                    self.take(at + 1);
                    return Ok(word);
                }
                // Nothing but a quote loses its backslash.
                '\\' if quote == '"' => match letters.next() {
                    Some((_, '"')) => word.push('"'),
                    other => {
                        word.push('\\');
                        word.extend(other.map(|(_, letter)| letter));
                    }
                },
                letter => word.push(letter),
            }
        }
        Err(format!("line {began}: a quote is not ended"))
    }

    /// The text up to the line that begins with the mark. How far that is indented, the text isn't.
    fn heredoc(&mut self, mark: &str, line_end: usize) -> Result<String, String> {
        let began = self.line;
        let is_mark = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if mark.is_empty() || !mark.chars().all(is_mark) {
            return Err(format!("line {began}: `<<{mark}` names nothing that a text could end with"));
        }
        self.take(line_end);
        let mut end = 0;
        for line in self.rest.split_inclusive('\n') {
            let blank = line.len() - line.trim_start().len();
            if line[blank..].starts_with(mark) {
                let text = self.take(end + blank + mark.len());
                let unindented = |inner: &'a str| inner.strip_prefix(&line[..blank]).unwrap_or(inner);
                return Ok(text[..end].lines().map(unindented).collect::<Vec<_>>().join("\n"));
            }
            end += line.len();
        }
        Err(format!("line {began}: the text `<<{mark}` is not ended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(usize, String)> {
        let joined = |line: Line| (line.number, line.words.join("|") + if line.opens { "|{" } else { "" });
        lines(text).unwrap().into_iter().map(joined).collect()
    }

    #[test]
    fn words_end_where_those_of_caddy_end() {
        for (text, expected) in [
            ("a \"b c\"d `e \"f`", "a|b c|d|e \"f"),
            ("a \"b\\\"c\" \"d\\\\\" e", "a|b\"c|d\\\\|e"),
            ("a b#c # d", "a|b#c"),
            ("a \\\n b\\\n c", "a|b|c"),
            ("a \\\r\n b \\\r\n c\r\n", "a|b|c"),
            ("\u{feff}a {", "a|{"),
            ("a \"{\"", "a|{"),
            ("a <<b c", "a|<<b|c"),
            ("a \\<<B\n", "a|<<B"),
            ("a <<B\n  x\n   \"y\n  B 2", "a|x\n \"y|2"),
        ] {
            assert_eq!(words(text), [(1, expected.to_owned())], "{text:?}");
        }
        assert!(!lines("a \"{\"").unwrap()[0].opens && !lines("\"}\"").unwrap()[0].closes);
        assert_eq!(words("a <<B\n}\nB\nc"), [(1, "a|}".to_owned()), (4, "c".to_owned())]);
        for (wrong, why) in [
            ("a\nb `c", "line 2: a quote is not ended"),
            ("a\nb <<C\nd C\n", "line 2: the text `<<C` is not ended"),
            ("a <<\n", "line 1: `<<` names nothing"),
            ("a { b }\n", "line 1: a `{` is followed by something else"),
        ] {
            let said = lines(wrong).unwrap_err();
            assert!(said.starts_with(why), "{wrong:?}: {said}");
        }
    }
}
