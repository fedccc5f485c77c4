//! A file as it was written: which bytes each value has, and what an alias stands for. For edits in place, which leave every other byte
//! as it is.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use libyaml_safer::{Event, EventData, Parser, ScalarStyle};
use zeroize::Zeroizing;

use super::Mark;
use super::diagnosis::mark_of_parser;
use super::merging::Merging;
use super::resolver::Tag;

/// The nodes of a file that [`super::load`] accepts, in the order in which they begin; an alias is no node.
pub struct Written {
    nodes: Vec<WrittenNode>,
    /// The pairs of each map with what it merges, while they are made.
    flat: HashMap<usize, Vec<(Occurrence, Occurrence)>>,
    /// The entries of each map, merged.
    merged: HashMap<usize, Vec<(Occurrence, Occurrence)>>,
}

/// One node.
pub struct WrittenNode {
    /// Its bytes in the file, without its anchor and tag. A block scalar's begin at its `|` or `>` and end with its last line that is
    /// not blank, without that line's break.
    pub span: Range<usize>,
    /// Where it begins, anchor and tag included.
    pub mark: Mark,
    /// What it holds.
    pub content: Content,
}

/// What a node holds.
pub enum Content {
    /// One value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Occurrence>),
    /// A map as it was written: `<<` is a key like any other, and a key may stand twice.
    Map(Vec<(Occurrence, Occurrence)>),
}

/// One value.
pub struct Scalar {
    /// Its text after YAML, before Jinja. May be a secret.
    pub text: Zeroizing<String>,
    /// How it was written.
    pub style: Style,
    /// What dbt takes it for.
    pub kind: Kind,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `|` or `>`
    Block,
}

/// What dbt takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text, which it renders as Jinja; a date is one to it.
    Text,
    /// Nothing.
    Null,
    /// `true`, `no`, …
    Bool,
    /// A whole number or a float.
    Number,
    /// `<<`
    Merge,
    /// What it cannot use.
    Other,
}

/// A place where a node stands: at its own, or by an alias.
#[derive(Clone)]
pub struct Occurrence {
    /// Which node.
    pub node: usize,
    /// The bytes of `*name`, where it is an alias.
    pub alias: Option<Range<usize>>,
}

impl Written {
    /// Reads a file that [`super::load`] has accepted; none for any other, and for an empty one.
    pub fn of(bytes: &[u8], merging: Merging) -> Option<Self> {
        let whole = std::str::from_utf8(bytes).ok()?;
        let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
        let mut reader = Reader {
            text,
            offset: whole.len() - text.len(),
            walked: (0, 0),
            nodes: Vec::new(),
            anchors: HashMap::new(),
            open: Vec::new(),
        };
        let mut parser = Parser::new(text).ok()?;
        loop {
            let event = parser.parse().ok()?;
            if matches!(event.data, EventData::StreamEnd) {
                break;
            }
            reader.take(event)?;
        }
        let mut written = Self {
            nodes: reader.nodes,
            flat: HashMap::new(),
            merged: HashMap::new(),
        };
        for number in 0..written.nodes.len() {
            written.flatten(number, merging);
        }
        let flat = std::mem::take(&mut written.flat);
        for (number, pairs) in &flat {
            let unique = written.unique(pairs);
            written.merged.insert(*number, unique);
        }
        (!written.nodes.is_empty()).then_some(written)
    }

    /// The outermost node.
    pub fn root(&self) -> Occurrence {
        Occurrence {
            node: 0,
            alias: None,
        }
    }

    /// A node.
    pub fn node(&self, number: usize) -> &WrittenNode {
        &self.nodes[number]
    }

    /// All nodes.
    pub fn nodes(&self) -> &[WrittenNode] {
        &self.nodes
    }

    /// A scalar.
    pub fn scalar(&self, number: usize) -> Option<&Scalar> {
        match &self.nodes[number].content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The entries of a map as dbt has them, by the keys that are texts: merged, and of equal keys the last. None for anything that is
    /// no map.
    pub fn entries(&self, number: usize) -> impl Iterator<Item = Entry<'_>> {
        let merged = self.merged.get(&number).map_or(&[][..], Vec::as_slice);
        merged.iter().map(|(key, value)| Entry {
            name: self.scalar(key.node).map_or("", |scalar| &scalar.text),
            key: key.clone(),
            value: value.clone(),
        })
    }

    /// The value under a key of a map.
    pub fn entry(&self, number: usize, name: &str) -> Option<Entry<'_>> {
        self.entries(number).find(|entry| entry.name == name)
    }

    /// What `<<` names stands before the map's own, since the last of equal keys counts. Each map is flattened once, however many name it.
    fn flatten(&mut self, number: usize, merging: Merging) {
        let Content::Map(pairs) = &self.nodes[number].content else {
            return;
        };
        if self.flat.contains_key(&number) {
            return;
        }
        let mut sources = Vec::new();
        let mut own = Vec::new();
        for (key, value) in pairs {
            match self.scalar(key.node) {
                Some(scalar) if scalar.kind == Kind::Merge => {
                    let mut named = match &self.nodes[value.node].content {
                        Content::List(items) => items.iter().map(|item| item.node).collect(),
                        _ => vec![value.node],
                    };
                    if merging == Merging::FirstWins {
                        named.reverse();
                    }
                    sources.extend(named);
                }
                Some(scalar) if scalar.kind == Kind::Text => {
                    own.push((key.clone(), value.clone()));
                }
                _ => {}
            }
        }
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for source in sources {
            self.flatten(source, merging);
            for (key, value) in self.flat.get(&source).into_iter().flatten() {
                if merging == Merging::FirstWins || seen.insert(self.object(key.node)) {
                    all.push((key.clone(), value.clone()));
                }
            }
        }
        all.extend(own);
        self.flat.insert(number, all);
    }

    /// The Python object that holds a key's text: CPython has one for every text of at most one Latin-1 character.
    fn object(&self, node: usize) -> (Option<usize>, Option<char>) {
        let text = self.scalar(node).map_or("", |scalar| &scalar.text);
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (first, None) if first.is_none_or(|first| first <= '\u{ff}') => (None, first),
            _ => (Some(node), None),
        }
    }

    /// Of equal keys the last, at the first one's place.
    fn unique(&self, pairs: &[(Occurrence, Occurrence)]) -> Vec<(Occurrence, Occurrence)> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut unique: Vec<(Occurrence, Occurrence)> = Vec::new();
        for (key, value) in pairs {
            let name = self.scalar(key.node).map_or("", |scalar| &scalar.text);
            match places.get(name) {
                Some(place) => unique[*place] = (key.clone(), value.clone()),
                None => {
                    places.insert(name, unique.len());
                    unique.push((key.clone(), value.clone()));
                }
            }
        }
        unique
    }
}

/// One entry of a map.
pub struct Entry<'a> {
    /// The key's text.
    pub name: &'a str,
    /// The key.
    pub key: Occurrence,
    /// The value.
    pub value: Occurrence,
}

struct Reader<'a> {
    text: &'a str,
    /// The bytes of the byte order mark before the text.
    offset: usize,
    /// A number of characters, and their bytes: marks nearly always grow, so the text is walked about once.
    walked: (u64, usize),
    nodes: Vec<WrittenNode>,
    anchors: HashMap<String, usize>,
    open: Vec<Open>,
}

struct Open {
    node: usize,
    key: Option<Occurrence>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event) -> Option<()> {
        let start = self.bytes(event.start_mark.index);
        let end = self.bytes(event.end_mark.index);
        let mark = mark_of_parser(event.start_mark);
        match event.data {
            EventData::Scalar {
                anchor,
                tag,
                value,
                plain_implicit,
                style,
                ..
            } => {
                let tag = tag.filter(|name| name != "!");
                let kind = kind(match &tag {
                    Some(tag) => Tag::of_name(tag),
                    None if plain_implicit => Tag::of_plain(&value),
                    None => Tag::Str,
                });
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let span = self.without_properties(start..end);
                // A block scalar's end is where the next token begins.
                let span = match style {
                    Style::Block => {
                        span.start..span.start + self.text[span.clone()].trim_end().len()
                    }
                    _ => span,
                };
                let scalar = Scalar {
                    text: Zeroizing::new(value),
                    style,
                    kind,
                };
                self.add(anchor, span, mark, Content::Scalar(scalar));
            }
            EventData::SequenceStart { anchor, .. } => {
                let node = self.add(anchor, start..end, mark, Content::List(Vec::new()));
                self.open.push(Open { node, key: None });
            }
            EventData::MappingStart { anchor, .. } => {
                let node = self.add(anchor, start..end, mark, Content::Map(Vec::new()));
                self.open.push(Open { node, key: None });
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                let open = self.open.pop()?;
                self.nodes[open.node].span.end = end + self.offset;
            }
            EventData::Alias { anchor } => {
                let node = *self.anchors.get(&anchor)?;
                let alias = Some(start + self.offset..end + self.offset);
                self.attach(Occurrence { node, alias });
            }
            EventData::StreamStart
            | EventData::StreamEnd
            | EventData::DocumentStart
            | EventData::DocumentEnd => {}
        }
        Some(())
    }

    fn add(
        &mut self,
        anchor: Option<String>,
        span: Range<usize>,
        mark: Mark,
        content: Content,
    ) -> usize {
        let node = self.nodes.len();
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, node);
        }
        self.nodes.push(WrittenNode {
            span: span.start + self.offset..span.end + self.offset,
            mark,
            content,
        });
        self.attach(Occurrence { node, alias: None });
        node
    }

    fn attach(&mut self, occurrence: Occurrence) {
        let Some(open) = self.open.last_mut() else {
            return;
        };
        match &mut self.nodes[open.node].content {
            Content::Scalar(_) => {}
            Content::List(items) => items.push(occurrence),
            Content::Map(pairs) => match open.key.take() {
                None => open.key = Some(occurrence),
                Some(key) => pairs.push((key, occurrence)),
            },
        }
    }

    /// A scalar's event begins at its anchor or tag.
    fn without_properties(&self, span: Range<usize>) -> Range<usize> {
        let mut start = span.start;
        loop {
            let rest = &self.text[start..span.end];
            let word = match rest.chars().next() {
                // An anchor may stand right before a quote, which is no part of its name.
                Some('&') => {
                    1 + length_while(&rest[1..], |ch| {
                        ch.is_ascii_alphanumeric() || "_-".contains(ch)
                    })
                }
                Some('!') => length_while(rest, |ch| !ch.is_ascii_whitespace() && !is_break(ch)),
                Some(' ' | '\t' | '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}') => {
                    length_while(rest, |ch| ch == ' ' || ch == '\t' || is_break(ch))
                }
                Some('#') => length_while(rest, |ch| !is_break(ch)),
                _ => return start..span.end,
            };
            start += word;
        }
    }

    /// The byte at which a character begins.
    fn bytes(&mut self, character: u64) -> usize {
        if character < self.walked.0 {
            self.walked = (0, 0);
        }
        let (mut count, mut at) = self.walked;
        for ch in self.text[at..].chars() {
            if count == character {
                break;
            }
            count += 1;
            at += ch.len_utf8();
        }
        self.walked = (count, at);
        at
    }
}

fn kind(tag: Tag) -> Kind {
    match tag {
        Tag::Str | Tag::Timestamp | Tag::Equals => Kind::Text,
        Tag::Null => Kind::Null,
        Tag::Bool => Kind::Bool,
        Tag::Int | Tag::Float => Kind::Number,
        Tag::Merge => Kind::Merge,
        _ => Kind::Other,
    }
}

fn length_while(text: &str, member: impl Fn(char) -> bool) -> usize {
    text.find(|ch| !member(ch)).unwrap_or(text.len())
}

/// libyaml's line breaks.
fn is_break(ch: char) -> bool {
    matches!(ch, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::{Content, Kind, Merging, Written};

    fn spans(text: &str) -> Vec<&str> {
        let written = Written::of(text.as_bytes(), Merging::FirstWins).expect("it is read");
        let scalars = written.nodes().iter();
        scalars
            .filter(|node| matches!(node.content, Content::Scalar(_)))
            .map(|node| &text[node.span.clone()])
            .collect()
    }

    #[test]
    fn a_scalar_s_bytes_are_its_own_whatever_stands_around_it() {
        for (text, expected) in [
            ("a: b # c\n", vec!["a", "b"]),
            ("a: &x b\nc: *x\n", vec!["a", "b", "c"]),
            ("a: &x !!str 'it''s'   # c\n", vec!["a", "'it''s'"]),
            ("a: !!str &x\n  # c\n  \"b\"\n", vec!["a", "\"b\""]),
            ("\u{feff}ä: ö\n", vec!["ä", "ö"]),
            ("a: b\n  c\nd: e", vec!["a", "b\n  c", "d", "e"]),
            (
                "a: |- # c\n  b\n\n  c\n\n# d\ne: f\n",
                vec!["a", "|- # c\n  b\n\n  c", "e", "f"],
            ),
            ("a: &x >\r\n  b\r\nc:\r\n", vec!["a", ">\r\n  b", "c", ""]),
            (
                "{\"a\":&x 'b',c: [d,\"e\"]}",
                vec!["\"a\"", "'b'", "c", "d", "\"e\""],
            ),
            ("a: |\n  b", vec!["a", "|\n  b"]),
            ("a: !<tag:yaml.org,2002:str> b", vec!["a", "b"]),
        ] {
            assert_eq!(spans(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_alias_and_its_anchor_are_one_node() {
        let text = "a: &x b\nc: *x\n";
        let written = Written::of(text.as_bytes(), Merging::FirstWins).expect("it is read");
        let entries: Vec<_> = written.entries(0).collect();
        assert_eq!(entries[0].value.node, entries[1].value.node);
        assert_eq!(entries[0].value.alias, None);
        let alias = entries[1].value.alias.clone().expect("an alias");
        assert_eq!(&text[alias], "*x");
    }

    #[test]
    fn entries_are_merged_as_pyyaml_merges() {
        let merged = |text: &str, merging| {
            let written = Written::of(text.as_bytes(), merging).expect("it is read");
            let z = written.entry(0, "z").expect("a map").value.node;
            let mut found: Vec<String> = written
                .entries(z)
                .map(|entry| {
                    let scalar = written.scalar(entry.value.node).expect("a scalar");
                    format!("{}{}", entry.name, scalar.text.as_str())
                })
                .collect();
            found.sort_unstable();
            found.join(" ")
        };
        let text = "x: &x {aa: 1, bb: 2}\ny: &y {<<: *x, bb: 3, cc: 4}\nz: {aa: 5, <<: [*y, *x], cc: 6, '<<': 7, cc: 8}\n";
        assert_eq!(merged(text, Merging::FirstWins), "<<7 aa5 bb3 cc8");
        let text = "x: &x {aa: 1, b: 2}\ny: &y {aa: 3, b: 4}\nz: {<<: [*x, *y]}\n";
        assert_eq!(merged(text, Merging::FirstWins), "aa1 b2");
        // A text of one character is one object, which is left out the second time.
        assert_eq!(merged(text, Merging::LastWins), "aa3 b2");
    }

    #[test]
    fn kinds_are_dbt_s() {
        let text = "[a, '1', 1, 1.5, yes, ~, 2024-01-31, !!str 1, !!binary eA==]";
        let written = Written::of(text.as_bytes(), Merging::FirstWins).expect("it is read");
        let kinds: Vec<Kind> = (1..written.nodes().len())
            .filter_map(|node| written.scalar(node).map(|scalar| scalar.kind))
            .collect();
        use Kind::{Bool, Null, Number, Other, Text};
        assert_eq!(
            kinds,
            [Text, Text, Number, Number, Bool, Null, Text, Text, Other]
        );
    }
}
