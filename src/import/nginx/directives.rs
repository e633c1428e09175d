//! The grammar of nginx: directives of words, each ended by `;` or followed by a block of them.

use super::super::DEPTH_MAX;
use super::super::draft::Line;

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Directive {
    pub(in super::super) line: Line,
    pub(in super::super) name: String,
    pub(in super::super) args: Vec<String>,
    pub(in super::super) block: Option<Vec<Directive>>,
}

impl Directive {
    /// As it was written, as far as one line goes.
    pub(in super::super) fn in_words(&self) -> String {
        let block = if self.block.is_some() { " { ... }" } else { "" };
        let args = self.args.iter().map(|arg| if arg.is_empty() { "\"\"" } else { arg });
        let words: Vec<&str> = std::iter::once(self.name.as_str()).chain(args).collect();
        format!("`{}{block}`", words.join(" "))
    }

    pub(in super::super) fn first(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// Takes the text of a file apart, which is known by this number.
///
/// # Errors
/// What is wrong with it, and in which line.
pub(super) fn parse(text: &str, file: usize) -> Result<Vec<Directive>, String> {
    let tokens = tokens(text)?;
    let mut stack: Vec<(Option<Directive>, Vec<Directive>)> = vec![(None, Vec::new())];
    let mut words: Vec<(usize, String)> = Vec::new();
    for (line, token) in tokens {
        match token {
            Token::Word(word) => words.push((line, word)),
            Token::End => {
                if let Some(directive) = directive(&mut words, file) {
                    last(&mut stack).push(directive);
                }
            }
            Token::Open => {
                let opened = directive(&mut words, file)
                    .ok_or_else(|| format!("line {line}: a block without a name"))?;
                if stack.len() > DEPTH_MAX {
                    return Err(format!("line {line}: more than {DEPTH_MAX} blocks within each other"));
                }
                stack.push((Some(opened), Vec::new()));
            }
            Token::Close => {
                if let Some((line, word)) = words.first() {
                    return Err(format!("line {line}: `{word}` is not ended by `;`"));
                }
                match stack.pop() {
                    Some((Some(opened), block)) => {
                        last(&mut stack).push(Directive { block: Some(block), ..opened });
                    }
                    _ => return Err(format!("line {line}: `}}` ends nothing")),
                }
            }
        }
    }
    if let Some((line, word)) = words.first() {
        return Err(format!("line {line}: `{word}` is not ended by `;`"));
    }
    match (stack.pop(), stack.is_empty()) {
        (Some((None, directives)), true) => Ok(directives),
        (Some((Some(open), _)), _) => {
            Err(format!("line {}: the block of `{}` is not ended", open.line.number, open.name))
        }
        _ => Ok(Vec::new()),
    }
}

fn last(stack: &mut [(Option<Directive>, Vec<Directive>)]) -> &mut Vec<Directive> {
    &mut stack.last_mut().expect("the file itself is never popped").1
}

fn directive(words: &mut Vec<(usize, String)>, file: usize) -> Option<Directive> {
    let mut all = std::mem::take(words).into_iter();
    let (number, name) = all.next()?;
    let line = Line { file, number };
    Some(Directive { line, name, args: all.map(|(_, word)| word).collect(), block: None })
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    let mut line = 1;
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => line += 1,
            letter if letter.is_whitespace() => {}
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            ';' => tokens.push((line, Token::End)),
            '{' => tokens.push((line, Token::Open)),
            '}' => tokens.push((line, Token::Close)),
            first => {
                let start = line;
                let mut word = String::new();
                let quote = (first == '"' || first == '\'').then_some(first);
                let mut next = if quote.is_some() { letters.next() } else { Some(first) };
                loop {
                    let Some(letter) = next else {
                        return match quote {
                            Some(_) => Err(format!("line {start}: a quote is not ended")),
                            None => {
                                tokens.push((start, Token::Word(word)));
                                Ok(tokens)
                            }
                        };
                    };
                    line += usize::from(letter == '\n');
                    match letter {
                        '\\' => match letters.next() {
                            // As nginx does: only what has a meaning loses its backslash.
                            Some(escaped @ ('"' | '\'' | '\\')) => word.push(escaped),
                            Some(' ') => word.push(' '),
                            Some(other) => {
                                line += usize::from(other == '\n');
                                word.extend(['\\', other]);
                            }
                            None => word.push('\\'),
                        },
                        letter if Some(letter) == quote => break,
                        letter => word.push(letter),
                    }
                    // `${name}` is part of a word, though it has braces.
                    if quote.is_none() && word.ends_with('$') && letters.next_if_eq(&'{').is_some() {
                        word.push('{');
                        while let Some(inner) = letters.next_if(|inner| *inner != '}' && *inner != '\n') {
                            word.push(inner);
                        }
                        word.extend(letters.next_if_eq(&'}'));
                    }
                    let ends = |letter: &char| letter.is_whitespace() || matches!(letter, ';' | '{' | '}');
                    if quote.is_none() && letters.peek().is_none_or(ends) {
                        break;
                    }
                    next = letters.next();
                }
                tokens.push((start, Token::Word(word)));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(directive: &Directive) -> Vec<&str> {
        std::iter::once(directive.name.as_str()).chain(directive.args.iter().map(String::as_str)).collect()
    }

    #[test]
    fn words_quotes_comments_and_blocks_are_those_of_nginx() {
        let text = "a 'b c' \"d\\\"e\" f#g; # no; {\nserver { listen 80; return 301 https://${host}$uri; }\nrewrite ^/a(\\d{2})$ /b;";
        let parsed = parse(&text.replace("\\d{2}", "\\d"), 0).unwrap();
        assert_eq!(words(&parsed[0]), ["a", "b c", "d\"e", "f#g"]);
        let server = parsed[1].block.as_ref().unwrap();
        assert_eq!(
            (server[0].line.number, words(&server[1])),
            (2, vec!["return", "301", "https://${host}$uri"])
        );
        assert_eq!(words(&parsed[2]), ["rewrite", "^/a(\\d)$", "/b"]);
        for (wrong, why) in [
            ("a b", "line 1: `a` is not ended by `;`"),
            ("a {\nb }", "line 2: `b` is not ended by `;`"),
            ("a {\n", "line 1: the block of `a` is not ended"),
            ("\n}", "line 2: `}` ends nothing"),
            ("\na 'b", "line 2: a quote is not ended"),
            ("{}", "line 1: a block without a name"),
        ] {
            assert_eq!(parse(wrong, 0).unwrap_err(), why, "{wrong:?}");
        }
        assert!(parse(&"a{".repeat(100), 0).unwrap_err().contains("more than 32"));
    }
}
