//! YAML and TOML as one kind of tree, in which everything knows its line. It is for configurations: what is no list and no table is a text.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle};
use toml::de::{DeTable, DeValue};

use super::DEPTH_MAX;

/// More than any file that somebody wrote; less than what a few aliases of aliases could make of one.
const NODES_MAX: usize = 1_000_000;

/// Something in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Also numbers and truth values, as they are written; nothing is an empty one.
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn table(line: usize) -> Self {
        Self { line, value: Value::Table(Vec::new()) }
    }

    /// What a table has under this key, whose case doesn't matter.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, node)| node)
    }

    /// What a table has; nothing, of anything else.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Table(entries) => entries,
            Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// What a list has; nothing, of anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Text(_) | Value::Table(_) => &[],
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Table(_) => None,
        }
    }

    /// Several words: a list of texts, or one text with commas.
    pub(super) fn words(&self) -> Vec<&str> {
        match &self.value {
            Value::Text(text) => text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect(),
            Value::List(items) => items.iter().filter_map(Self::as_text).collect(),
            Value::Table(_) => Vec::new(),
        }
    }

    /// Whether another one says the same, in whatever lines and order.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        let (own, its) = (self.entries(), other.entries());
        self.as_text() == other.as_text()
            && own.len() == its.len()
            && own.iter().all(|(key, node)| other.get(key).is_some_and(|there| node.says_as(there)))
            && self.items().len() == other.items().len()
            && self.items().iter().zip(other.items()).all(|(one, two)| one.says_as(two))
    }

    /// The table under these keys, which is made where it isn't there yet. What stands in its way is replaced.
    pub(super) fn make(&mut self, line: usize, path: &[&str]) -> &mut Self {
        let Some((key, rest)) = path.split_first() else { return self };
        if !matches!(self.value, Value::Table(_)) {
            self.value = Value::Table(Vec::new());
        }
        let Value::Table(entries) = &mut self.value else { unreachable!("it is one now") };
        let at = entries.iter().position(|(name, _)| name.eq_ignore_ascii_case(key)).unwrap_or_else(|| {
            entries.push(((*key).to_owned(), Self::table(line)));
            entries.len() - 1
        });
        entries[at].1.make(line, rest)
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Text(_) => 0,
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Table(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }
}

/// Reads TOML.
///
/// # Errors
/// What is wrong with it, and in which line.
pub(super) fn from_toml(text: &str) -> Result<Node, String> {
    let line_at =
        |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("line {}: {}", line_at(at), error.message())
    })?;
    let entries = entries_of(table.get_ref(), &line_at, 0)?;
    Ok(Node { line: 1, value: Value::Table(entries) })
}

fn entries_of(
    table: &DeTable<'_>,
    line_at: &impl Fn(usize) -> usize,
    depth: usize,
) -> Result<Vec<(String, Node)>, String> {
    let mut found: Vec<(Range<usize>, String, Node)> = Vec::new();
    for (key, value) in table.iter() {
        let line = line_at(key.span().start);
        found.push((
            key.span(),
            key.get_ref().to_string(),
            node_of(value.get_ref(), line, line_at, depth + 1)?,
        ));
    }
    // The parser sorts by name.
    found.sort_by_key(|(span, ..)| span.start);
    Ok(found.into_iter().map(|(_, key, node)| (key, node)).collect())
}

fn node_of(
    value: &DeValue<'_>,
    line: usize,
    line_at: &impl Fn(usize) -> usize,
    depth: usize,
) -> Result<Node, String> {
    if depth > DEPTH_MAX {
        return Err(too_deep(line));
    }
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(is_so) => Value::Text(is_so.to_string()),
        DeValue::Integer(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Float(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => {
            let node = |item: &toml::Spanned<DeValue<'_>>| {
                node_of(item.get_ref(), line_at(item.span().start), line_at, depth + 1)
            };
            Value::List(items.iter().map(node).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Table(entries_of(table, line_at, depth)?),
    };
    Ok(Node { line, value })
}

fn too_deep(line: usize) -> String {
    format!("line {line}: more than {DEPTH_MAX} blocks within each other")
}

/// Reads YAML, of which the first document counts. Aliases and `<<` are filled in.
///
/// # Errors
/// What is wrong with it, and in which line.
pub(super) fn from_yaml(text: &str) -> Result<Node, String> {
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        let line = span.start.line();
        match builder.take(event, line)? {
            Some(node) if root.is_none() => root = Some(node),
            Some(_) => return Err(format!("line {line}: a second document: import it by itself")),
            None => {}
        }
    }
    root.ok_or_else(|| "line 1: there is nothing in it".to_owned())
}

/// A list or a table that has begun.
struct Open {
    anchor: usize,
    node: Node,
    /// The key whose value comes next, and its line.
    key: Option<(usize, String)>,
}

struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    /// Takes the next event; the tree, if it was the last one of it.
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<Option<Node>, String> {
        let node = |value| Node { line, value };
        match event {
            Event::SequenceStart(anchor, _) => self.begin(anchor, node(Value::List(Vec::new()))),
            Event::MappingStart(anchor, _) => self.begin(anchor, node(Value::Table(Vec::new()))),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { anchor, node, .. }) => self.put(anchor, node),
                None => Ok(None),
            },
            Event::Scalar(text, style, anchor, _) => {
                let is_nothing = style == ScalarStyle::Plain && matches!(&*text, "~" | "null");
                let text = if is_nothing { String::new() } else { text.into_owned() };
                self.put(anchor, node(Value::Text(text)))
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.put(0, node),
                None => Err(format!("line {line}: an alias of what it stands in")),
            },
            _ => Ok(None),
        }
    }

    fn begin(&mut self, anchor: usize, node: Node) -> Result<Option<Node>, String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(node.line));
        }
        self.open.push(Open { anchor, node, key: None });
        Ok(None)
    }

    fn put(&mut self, anchor: usize, node: Node) -> Result<Option<Node>, String> {
        self.nodes += node.size();
        if self.nodes > NODES_MAX {
            return Err(format!("line {}: more than {NODES_MAX} values, counting aliases", node.line));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(Open { node: around, key, .. }) = self.open.last_mut() else { return Ok(Some(node)) };
        match &mut around.value {
            Value::Text(_) => {}
            Value::List(items) => items.push(node),
            Value::Table(entries) => match key.take() {
                None => {
                    let text = node.as_text().map(str::to_owned);
                    let text = text.ok_or_else(|| format!("line {}: a key that is no text", node.line))?;
                    *key = Some((node.line, text));
                }
                Some((_, name)) if name == "<<" => merge(entries, node),
                // What begins a line further down is known by its name.
                Some((line, name)) => entries.push((name, Node { line, ..node })),
            },
        }
        Ok(None)
    }
}

/// What is there already stays.
fn merge(entries: &mut Vec<(String, Node)>, node: Node) {
    match node.value {
        Value::Table(more) => {
            for (name, node) in more {
                if !entries.iter().any(|(known, _)| *known == name) {
                    entries.push((name, node));
                }
            }
        }
        Value::List(tables) => tables.into_iter().for_each(|table| merge(entries, table)),
        Value::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_toml_of_one_meaning_are_one_tree() {
        let yaml = "http:\n  a: [x, \"1\"]\n  b:\n    - c: true\n";
        let toml = "[http]\na = [\"x\", 1]\n[[http.b]]\nc = true\n";
        let (yaml, toml) = (from_yaml(yaml).unwrap(), from_toml(toml).unwrap());
        let words = |node: &Node| node.get("HTTP").unwrap().get("a").unwrap().words().join(" ");
        assert_eq!((words(&yaml), words(&toml)), ("x 1".to_owned(), "x 1".to_owned()));
        let c = |node: &Node| {
            let c = &node.get("http").unwrap().get("b").unwrap().items()[0].get("c").unwrap().clone();
            (c.line, c.as_text().unwrap().to_owned())
        };
        assert_eq!((c(&yaml), c(&toml)), ((4, "true".to_owned()), (4, "true".to_owned())));
    }

    #[test]
    fn aliases_and_merges_are_filled_in() {
        let text = "x: &x {a: 1, b: 2}\ny:\n  b: 3\n  <<: *x\nz: *x\n";
        let root = from_yaml(text).unwrap();
        let y = root.get("y").unwrap();
        assert_eq!((y.get("a").unwrap().as_text(), y.get("b").unwrap().as_text()), (Some("1"), Some("3")));
        assert_eq!(root.get("z").unwrap().entries(), root.get("x").unwrap().entries());
    }

    #[test]
    fn what_would_take_all_memory_or_stack_is_refused_with_its_line() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let all = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs += &format!("a{level}: &a{level} [{all}]\n");
        }
        let why = from_yaml(&laughs).unwrap_err();
        assert!(why.starts_with("line ") && why.contains("values, counting aliases"), "{why}");
        for deep in [from_yaml(&"[".repeat(10_000)), from_toml(&format!("a = {}", "[".repeat(10_000)))] {
            assert!(deep.unwrap_err().starts_with("line 1: "));
        }
        assert!(from_yaml("a: &a [*a]\n").unwrap_err().starts_with("line 1: "));
        assert_eq!(from_yaml("a: b\n c: d\n").unwrap_err().split(':').next(), Some("line 2"));
    }
}
