//! The grammar of a Caddyfile: lines of words, of which the last may be a `{` that opens a block.

use super::super::DEPTH_MAX;

/// One line, and its block if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Block>>,
}

impl Block {
    /// As it was written, as far as one line goes.
    pub(super) fn in_words(&self) -> String {
        let block = if self.block.is_some() { " { ... }" } else { "" };
        format!("`{}{block}`", self.words.join(" "))
    }
}

/// Takes a text apart. One without braces around its only site is taken as that site.
///
/// # Errors
/// What is wrong with it, and in which line.
pub(super) fn parse(text: &str) -> Result<Vec<Block>, String> {
    let mut stack: Vec<Block> = vec![Block { block: Some(Vec::new()), ..Block::default() }];
    let mut open_head: Option<Block> = None;
    for (line, mut words) in lines(text)? {
        // The head of a site may go on over lines that end with a comma.
        if let Some(head) = open_head.take() {
            words.splice(0..0, head.words);
        }
        if stack.len() == 1 && words.last().is_some_and(|word| word.ends_with(',')) {
            open_head = Some(Block { line, words, block: None });
            continue;
        }
        if words == ["}"] {
            match stack.len() {
                1 => return Err(format!("line {line}: `}}` ends nothing")),
                _ => close(&mut stack),
            }
            continue;
        }
        let opens = words.last().is_some_and(|word| word == "{");
        if opens {
            words.pop();
            if stack.len() > DEPTH_MAX {
                return Err(format!("line {line}: more than {DEPTH_MAX} blocks within each other"));
            }
            stack.push(Block { line, words, block: Some(Vec::new()) });
        } else {
            add(&mut stack, Block { line, words, block: None });
        }
    }
    if let Some(open) = stack.get(1) {
        return Err(format!("line {}: this block is not ended: {}", open.line, open.words.join(" ")));
    }
    let all = stack.pop().and_then(|root| root.block).unwrap_or_default();
    // Without braces, the first line is the head of all that follows.
    match all.split_first() {
        Some((head, rest))
            if head.block.is_none() && head.words.first().is_some_and(|word| word != "import") =>
        {
            Ok(vec![Block { block: Some(rest.to_vec()), ..head.clone() }])
        }
        _ => Ok(all),
    }
}

fn close(stack: &mut Vec<Block>) {
    if let Some(done) = stack.pop() {
        add(stack, done);
    }
}

fn add(stack: &mut [Block], block: Block) {
    if let Some(Block { block: Some(inner), .. }) = stack.last_mut() {
        inner.push(block);
    }
}

/// Lines with their words; what is in quotes is one word, also over several lines.
fn lines(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut lines = Vec::new();
    let (mut line, mut began, mut words) = (1, 1, Vec::new());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => {
                if !words.is_empty() {
                    lines.push((began, std::mem::take(&mut words)));
                }
                line += 1;
                began = line;
            }
            '\\' if letters.next_if_eq(&'\n').is_some() => line += 1,
            letter if letter.is_whitespace() => {}
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            quote @ ('"' | '`') => {
                let start = line;
                let mut word = String::new();
                loop {
                    match letters.next() {
                        Some('\\') if quote == '"' && letters.next_if_eq(&'"').is_some() => word.push('"'),
                        Some(letter) if letter == quote => break,
                        Some(letter) => {
                            line += usize::from(letter == '\n');
                            word.push(letter);
                        }
                        None => return Err(format!("line {start}: a quote is not ended")),
                    }
                }
                words.push(word);
            }
            first => {
                let mut word = String::from(first);
                while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace()) {
                    word.push(letter);
                }
                words.push(word);
            }
        }
    }
    if !words.is_empty() {
        lines.push((began, words));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_words_quotes_and_blocks_are_those_of_caddy() {
        let text = "a.example,\nb.example {\n\trespond \"two\nlines\" 200 # no\n\treverse_proxy {\n\t\tto c:1 \\\n d:2\n\t}\n}\n";
        let parsed = parse(text).unwrap();
        assert_eq!(parsed[0].words, ["a.example,", "b.example"]);
        let inner = parsed[0].block.as_ref().unwrap();
        assert_eq!((inner[0].line, &inner[0].words[1]), (3, &"two\nlines".to_owned()));
        assert_eq!(inner[1].block.as_ref().unwrap()[0].words, ["to", "c:1", "d:2"]);
        let bare = parse("a.example\nreverse_proxy b:1\n").unwrap();
        assert_eq!((bare.len(), bare[0].block.as_ref().unwrap()[0].words[0].as_str()), (1, "reverse_proxy"));
        for (wrong, why) in [
            ("a {\n", "line 1: this block is not ended: a"),
            ("a {\n}\n}", "line 3: `}` ends nothing"),
            ("a \"b", "line 1: a quote is not ended"),
        ] {
            assert_eq!(parse(wrong).unwrap_err(), why, "{wrong:?}");
        }
        assert!(parse(&"a {\n".repeat(100)).unwrap_err().contains("more than 32"));
    }
}
