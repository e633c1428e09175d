//! Snippets of a Caddyfile: `(name) { ... }`, put in place of each `import name`, wherever that stands.

use std::collections::BTreeMap;

use super::super::DEPTH_MAX;
use super::super::draft::Note;
use super::blocks::Block;

/// More than anybody writes, less than what a few snippets of snippets could make.
const BYTES_MAX: usize = 64 << 20;
const WORD_BYTES_MAX: usize = 64 << 10;
/// What a word costs beside its letters.
const WORD_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Snippets {
    known: BTreeMap<String, Snippet>,
    /// How much they made so far.
    bytes: usize,
}

#[derive(Debug)]
struct Snippet {
    written: Block,
    is_used: bool,
}

impl Snippets {
    /// Takes the snippets out of a file, and puts them where they are imported. An `import` of anything else stays, and
    /// so does one with a block, for what that hands to the snippet is not known here.
    ///
    /// # Errors
    /// Snippets that import themselves, or make too much, and in which line.
    pub(super) fn unfold(file: Vec<Block>) -> Result<(Vec<Block>, Vec<Note>), String> {
        let mut snippets = Self::default();
        let mut rest = Vec::new();
        for written in file {
            match written.name().strip_prefix('(').and_then(|name| name.strip_suffix(')')) {
                Some(name) => {
                    let name = name.to_owned();
                    snippets.known.insert(name, Snippet { written, is_used: false });
                }
                None => rest.push(written),
            }
        }
        let all = snippets.unfolded(&rest, &mut Vec::new())?;
        let unused = snippets.known.into_values().filter(|snippet| !snippet.is_used);
        let notes = unused.flat_map(|snippet| snippet.written.untaken("", ": no site imports it"));
        Ok((all, notes.collect()))
    }

    /// `within` has the snippets that are being put in.
    fn unfolded(&mut self, block: &[Block], within: &mut Vec<String>) -> Result<Vec<Block>, String> {
        let mut all = Vec::new();
        for one in block {
            let snippet = match one.words.as_slice() {
                [word, name, ..] if word == "import" => self.known.get_mut(name),
                _ => None,
            };
            let Some(snippet) = snippet else {
                let inner = one.block.as_deref().map(|inner| self.unfolded(inner, within)).transpose()?;
                all.push(Block { line: one.line, words: one.words.clone(), block: inner });
                continue;
            };
            let name = &one.words[1];
            if within.contains(name) || within.len() > DEPTH_MAX {
                return Err(format!("line {}: snippets that import each other have no end", one.line));
            }
            snippet.is_used = true;
            let written = snippet.written.block.iter().flatten();
            let bytes = &mut self.bytes;
            let inner = written
                .map(|inner| with_args(inner, &one.words[2..], bytes))
                .collect::<Result<Vec<_>, _>>()?;
            if one.block.is_some() {
                all.push(one.clone());
            }
            within.push(name.clone());
            all.extend(self.unfolded(&inner, within)?);
            within.pop();
        }
        Ok(all)
    }
}

/// A line of a snippet, with the arguments of its `import`. `bytes` is how much was made so far.
fn with_args(one: &Block, args: &[String], bytes: &mut usize) -> Result<Block, String> {
    let mut words = Vec::new();
    for word in &one.words {
        let replaced = match several(word, args) {
            Some(args) => args.to_vec(),
            None => vec![replaced(word, args).map_err(|why| format!("line {}: {why}", one.line))?],
        };
        *bytes += replaced.iter().map(|word| WORD_BYTES + word.len()).sum::<usize>();
        if *bytes > BYTES_MAX {
            return Err(format!("line {}: snippets make more than 64 MiB", one.line));
        }
        words.extend(replaced);
    }
    let inner = one.block.iter().flatten().map(|inner| with_args(inner, args, bytes));
    let inner = one.block.is_some().then(|| inner.collect()).transpose()?;
    Ok(Block { line: one.line, words, block: inner })
}

/// What `{args[:]}`, `{args[1:]}` and the like stand for: a word of its own for each.
fn several<'a>(word: &str, args: &'a [String]) -> Option<&'a [String]> {
    let (from, to) = word.strip_prefix("{args[")?.strip_suffix("]}")?.split_once(':')?;
    let at = |text: &str, otherwise| if text.is_empty() { Some(otherwise) } else { text.parse().ok() };
    args.get(at(from, 0)?..at(to, args.len())?)
}

/// With `{args[0]}` and the older `{args.0}` replaced. What has no argument stays, and is told of where it stands.
fn replaced(word: &str, args: &[String]) -> Result<String, String> {
    let mut made = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once("{args") {
        made += before;
        let found = after.split_once('}').and_then(|(index, after)| {
            let index = index.strip_prefix('.').or_else(|| index.strip_prefix('[')?.strip_suffix(']'))?;
            Some((args.get(index.parse::<usize>().ok()?)?, after))
        });
        match found {
            Some((arg, _)) if made.len() + arg.len() > WORD_BYTES_MAX => {
                return Err("arguments make a word longer than 64 KiB".to_owned());
            }
            Some((arg, after)) => {
                made += arg;
                rest = after;
            }
            None => {
                made += "{args";
                rest = after;
            }
        }
    }
    Ok(made + rest)
}

#[cfg(test)]
mod tests {
    use super::super::blocks::parse;
    use super::*;

    fn unfolded(text: &str) -> Result<String, String> {
        fn in_words(block: &[Block]) -> String {
            let one = |one: &Block| match &one.block {
                Some(inner) => format!("{}{{{}}}", one.words.join(" "), in_words(inner)),
                None => one.words.join(" "),
            };
            block.iter().map(one).collect::<Vec<_>>().join(";")
        }
        Snippets::unfold(parse(text)?).map(|(all, _)| in_words(&all))
    }

    #[test]
    fn snippets_stand_wherever_they_are_imported_with_their_arguments() {
        for (text, expected) in [
            ("(s) {\na {args[0]}-{args.1}\n}\nb {\nimport s 1 2\n}", "b{a 1-2}"),
            ("(s) {\na {args[1:]} {args[2]}\n}\nb {\nimport s 1 2\n}", "b{a 2 {args[2]}}"),
            ("(s) {\nt\n}\n(u) {\nh {\nimport s\n}\n}\nb {\nimport u\n}", "b{h{t}}"),
            ("(s) {\n{args[0]} {\nx\n}\n}\nimport s a\nimport s b\n", "a{x};b{x}"),
            ("b {\nimport other/*\n}", "b{import other/*}"),
            ("(s) {\nt\n}\nb {\nimport s {\nx\n}\n}", "b{import s{x};t}"),
        ] {
            assert_eq!(unfolded(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn snippets_without_an_end_are_refused() {
        let doubling = |args: &str| {
            let level =
                |at: usize| format!("(s{at}) {{\n{}}}\n", format!("import s{} {args}\n", at + 1).repeat(2));
            let text: String = (0..30).map(level).collect();
            text + "(s30) {\nx\n}\nb {\nimport s0 y\n}\n"
        };
        for (text, why) in [
            ("(s) {\nimport s\n}\nb {\nimport s\n}".to_owned(), "line 2: snippets that import each other"),
            (doubling(""), "snippets make more than 64 MiB"),
            (doubling("{args[0]}{args[0]}"), "longer than 64 KiB"),
            (doubling("{args[:]} {args[:]}"), "snippets make more than 64 MiB"),
        ] {
            let said = unfolded(&text).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
