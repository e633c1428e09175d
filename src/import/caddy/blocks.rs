//! The grammar of a Caddyfile: lines of words, of which the last may be a `{` that opens a block.

use super::super::DEPTH_MAX;
use super::super::draft::Note;
use super::words::{Line, lines};

/// One line, and its block if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Block>>,
}

impl Block {
    /// Its first word.
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// As it was written, as far as one line goes.
    pub(super) fn in_words(&self) -> String {
        let block = if self.block.is_some() { " { ... }" } else { "" };
        format!("`{}{block}`", self.words.join(" "))
    }

    /// It and every line in it, as what became nothing, with what is to be said of its head.
    pub(super) fn untaken(&self, before: &str, why: &str) -> Vec<Note> {
        let mut notes =
            vec![Note { line: self.line.into(), text: format!("{before}{}{why}", self.in_words()) }];
        for inner in self.block.iter().flatten() {
            notes.extend(inner.untaken("", &format!(" in `{}`", self.words.join(" "))));
        }
        notes
    }
}

/// Takes a text apart. A site without braces has all that follows it.
///
/// # Errors
/// What is wrong with it, and in which line.
pub(super) fn parse(text: &str) -> Result<Vec<Block>, String> {
    let mut stack: Vec<Block> = vec![Block { block: Some(Vec::new()), ..Block::default() }];
    let mut open_head: Option<Vec<String>> = None;
    for Line { number: line, mut words, opens, closes } in lines(text)? {
        // The head of a site may go on over lines that end with a comma.
        if let Some(head) = open_head.take() {
            words.splice(0..0, head);
        }
        if stack.len() == 1 && !opens && words.last().is_some_and(|word| word.ends_with(',')) {
            open_head = Some(words);
            continue;
        }
        if closes {
            match stack.len() {
                1 => return Err(format!("line {line}: `}}` ends nothing")),
                _ => close(&mut stack),
            }
        } else if opens {
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
    let mut all = stack.pop().and_then(|root| root.block).unwrap_or_default();
    // Without braces, a line is the head of all that follows.
    if let Some(head) = all.iter().position(|one| one.block.is_none() && one.name() != "import") {
        let rest = all.split_off(head + 1);
        all[head].block = Some(rest);
    }
    Ok(all)
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
        for (wrong, why) in [
            ("a {\n", "line 1: this block is not ended: a"),
            ("a {\n}\n}", "line 3: `}` ends nothing"),
            ("a \"b", "line 1: a quote is not ended"),
        ] {
            assert_eq!(parse(wrong).unwrap_err(), why, "{wrong:?}");
        }
        assert!(parse(&"a {\n".repeat(100)).unwrap_err().contains("more than 32"));
    }

    #[test]
    fn a_site_without_braces_has_all_that_follows_also_after_options() {
        for before in ["", "{\n\temail a@b.example\n}\n", "(s) {\n}\nimport other\n"] {
            let parsed = parse(&format!("{before}a.example\nreverse_proxy b:1\nlog\n")).unwrap();
            let site = parsed.last().unwrap();
            assert_eq!((site.words[0].as_str(), site.block.as_ref().unwrap().len()), ("a.example", 2));
        }
    }
}
