//! The shapes of the records seen so far, so that the next is checked instead of searched.
//!
//! A record that the general decoder took is split into *leads*, the literal bytes before each value, and values:
//!
//! ```text
//! {"ts": 1767225600407, "sensor": "sensor-00670", "host": "edge-159"}
//! lead---              lead-------               lead-----          tail
//! ```
//! Records that begin alike share nodes of a tree: a node is a lead and where the value behind it goes, its children
//! are the leads that followed, and a path to a tail is a shape. Where lines of several shapes alternate, only the
//! first difference costs: another lead is compared. The one that fitted last is tried first.
//!
//! **Why this gives what the general decoder gives.** A record is taken when its leads are, byte for byte, those of a
//! record which the general decoder took, and its values, of whatever kind, are each a whole value of JSON. So it is
//! JSON with the same names in the same places: no wanted field comes twice, and those that are missing are those that
//! were missing there. Values go through the same rules of typing (`Table::place`). Anything else, each rejected
//! record among them, is `None` and the general decoder's. What was learned decides only how fast an answer is there.
//!
//! Nested objects and arrays in fields that nobody wants are leads and values like others.

use crate::formats::scan::{byte, is_utf8, number, number_end, string_end, text_end, words};
use crate::formats::table::{Found, Table};

/// The shapes that are known.
pub(super) struct Shapes {
    /// The first is the root: before a record.
    nodes: Vec<Node>,
    /// What may be spent on learning.
    credit: u32,
}

/// How much is kept; beyond, all is forgotten.
const NODES_MAX: usize = 1024;

/// Records with more values, or of more bytes, are not learned.
const VALUES_MAX: usize = 256;
const BYTES_MAX: usize = 16 * 1024;

/// How many shapes are learned at once; after that, one for each `LEARNING_COSTS` records that had to be read in
/// general, so that records which are never alike cost little more than they would without learning.
const CREDIT: u32 = 64 * LEARNING_COSTS;
const LEARNING_COSTS: u32 = 16;

struct Node {
    lead: Lead,
    role: Role,
    /// What may come next, the one that came last first: it, and each one's `sibling`.
    child: usize,
    sibling: usize,
}

const ROOT: usize = 0;
const NONE: usize = usize::MAX;

/// What is behind a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    /// A value that nobody wants.
    Skip,
    /// The value of a field.
    Field(usize),
    /// Nothing: the record is over, and these fields were not there.
    End(Box<[usize]>),
}

/// Bytes that have to be there; the first sixteen are compared at once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lead {
    words: u128,
    mask: u128,
    length: usize,
    /// What comes behind the first sixteen.
    rest: Box<[u8]>,
}

impl Shapes {
    /// None.
    pub(super) fn new() -> Shapes {
        Shapes { nodes: vec![Node::root()], credit: CREDIT }
    }

    /// Puts the record that begins at `from` into the table: where it ends, and which fields it does not have. Where
    /// `None`, the caller undoes what has been put. The end is that of a whole record only if the caller finds nothing
    /// but the end of a line or message there.
    #[inline]
    pub(super) fn read(&mut self, table: &mut Table, bytes: &[u8], from: usize) -> Option<(usize, &[usize])> {
        let (mut node, mut at) = (ROOT, from);
        loop {
            let (mut before, mut child) = (NONE, self.nodes[node].child);
            let end = loop {
                let candidate = self.nodes.get(child)?;
                if let Some(begin) = candidate.lead.behind(bytes, at) {
                    let end = match candidate.role {
                        Role::Skip => skip(bytes, begin),
                        Role::Field(field) => take(table, bytes, begin, field),
                        Role::End(_) => Some(begin),
                    };
                    if let Some(end) = end {
                        break end;
                    }
                }
                (before, child) = (child, candidate.sibling);
            };
            if before != NONE {
                self.bring_to_front(node, before, child);
            }
            (node, at) = (child, end);
            if matches!(self.nodes[node].role, Role::End(_)) {
                break;
            }
        }
        let Role::End(absent) = &self.nodes[node].role else { unreachable!("the loop ends at an end") };
        Some((at, absent))
    }

    /// Makes a child, which comes behind the child `before`, the first.
    fn bring_to_front(&mut self, parent: usize, before: usize, child: usize) {
        self.nodes[before].sibling = self.nodes[child].sibling;
        self.nodes[child].sibling = std::mem::replace(&mut self.nodes[parent].child, child);
    }

    /// Learns the shape of a record that the general decoder took.
    #[cold]
    pub(super) fn learn(&mut self, table: &Table, text: &str) {
        self.credit = (self.credit + 1).min(CREDIT);
        if self.credit < LEARNING_COSTS || text.len() > BYTES_MAX {
            return;
        }
        self.credit -= LEARNING_COSTS;
        let Some(path) = split(table, text) else { return };
        if self.nodes.len() + path.len() > NODES_MAX {
            self.nodes = vec![Node::root()];
        }
        let mut parent = ROOT;
        for (lead, role) in path {
            let (mut before, mut child) = (NONE, self.nodes[parent].child);
            while let Some(known) = self.nodes.get(child).filter(|node| node.lead != lead || node.role != role) {
                (before, child) = (child, known.sibling);
            }
            if child == NONE {
                child = self.nodes.len();
                let sibling = std::mem::replace(&mut self.nodes[parent].child, child);
                self.nodes.push(Node { lead, role, child: NONE, sibling });
            } else if before != NONE {
                self.bring_to_front(parent, before, child);
            }
            parent = child;
        }
    }
}

impl Node {
    fn root() -> Node {
        Node { lead: Lead::new(b""), role: Role::Skip, child: NONE, sibling: NONE }
    }
}

impl Lead {
    fn new(bytes: &[u8]) -> Lead {
        let (head, rest) = bytes.split_at(bytes.len().min(16));
        let mask = u128::MAX.checked_shr(128 - 8 * head.len() as u32).unwrap_or(0);
        Lead { words: words(head, 0), mask, length: bytes.len(), rest: rest.into() }
    }

    /// Where it ends, if it is there.
    #[inline(always)]
    fn behind(&self, bytes: &[u8], at: usize) -> Option<usize> {
        if (words(bytes, at) ^ self.words) & self.mask != 0 {
            return None;
        }
        let end = at + self.length;
        if self.length > 16 && bytes.get(at + 16..end) != Some(&self.rest) {
            return None;
        }
        Some(end)
    }
}

/// Behind a value that nobody wants.
#[inline(always)]
fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    match byte(bytes, at) {
        b'"' => string_end(bytes, at + 1),
        b'-' | b'0'..=b'9' => number_end(bytes, at),
        _ => literal(bytes, at).map(|(_, end)| end),
    }
}

/// Puts a value into the table, and gives where it ends.
#[inline(always)]
fn take(table: &mut Table, bytes: &[u8], at: usize, field: usize) -> Option<usize> {
    match byte(bytes, at) {
        b'"' => {
            let (end, ascii) = text_end(bytes, at + 1);
            let text = bytes.get(at + 1..end)?;
            let whole = byte(bytes, end) == b'"' && is_utf8(text, ascii);
            (whole && table.place_text(field, text)).then_some(end + 1)
        }
        b'-' | b'0'..=b'9' => match number(bytes, at)? {
            (Found::Int(value), end) => table.place(field, Found::Int(value)).then_some(end),
            (Found::Float(value), end) => table.place(field, Found::Float(value)).then_some(end),
            _ => None,
        },
        _ => {
            let (found, end) = literal(bytes, at)?;
            table.place(field, found).then_some(end)
        }
    }
}

fn literal(bytes: &[u8], at: usize) -> Option<(Found<'static>, usize)> {
    let rest = bytes.get(at..)?;
    [(&b"true"[..], Found::Bool(true)), (b"false", Found::Bool(false)), (b"null", Found::Null)]
        .into_iter()
        .find_map(|(word, found)| rest.starts_with(word).then_some((found, at + word.len())))
}

/// The leads and roles of a record that is right. `None` where it is too long, or a field's name is written with
/// escapes, or there is a line break in it: whether that ends the record depends on how it came.
fn split(table: &Table, text: &str) -> Option<Vec<(Lead, Role)>> {
    let bytes = text.as_bytes();
    let (mut path, mut absent) = (Vec::new(), table.wanted_columns());
    let (mut from, mut at, mut depth, mut field) = (0, 0, 0, None);
    while at < bytes.len() {
        let mut end = at + 1;
        match bytes[at] {
            b'\n' => return None,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b' ' | b'\t' | b'\r' | b',' | b':' => {}
            start => {
                end = skip(bytes, at)?;
                let named = start == b'"' && text[end..].trim_start().starts_with(':');
                if named && depth == 1 {
                    let name = &text[at + 1..end - 1];
                    if name.contains('\\') {
                        return None;
                    }
                    field = table.field(name);
                } else if !named {
                    let role = field.filter(|_| depth == 1).map_or(Role::Skip, Role::Field);
                    absent.retain(|f| role != Role::Field(*f));
                    path.push((Lead::new(&bytes[from..at]), role));
                    from = end;
                }
            }
        }
        at = end;
    }
    path.push((Lead::new(&bytes[from..]), Role::End(absent.into())));
    (path.len() <= VALUES_MAX).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Fields, TimeFrom, Wanted};

    fn table() -> Table {
        let fields: Fields = toml::from_str("i='int'\ns='text'\nf='float'").expect("fields");
        let schema = fields.schema();
        Table::new(&Wanted { written: fields.written(&schema), event_time: TimeFrom::Envelope, schema })
    }

    /// Learns records, and says of another whether it is of a known shape, and how many fields it lacks.
    fn check(learned: &[&str], text: &str, absent: Option<usize>) {
        let (mut table, mut shapes) = (table(), Shapes::new());
        learned.iter().for_each(|record| shapes.learn(&table, record));
        for behind in ["", "\n", "\n{\"i\": 1, \"s\": \"and more of it\"}"] {
            let found = shapes.read(&mut table, format!("{text}{behind}").as_bytes(), 0);
            assert_eq!(found.map(|(end, absent)| (end, absent.len())), absent.map(|n| (text.len(), n)), "{text}");
        }
    }

    #[test]
    fn a_known_shape_is_known_whatever_its_values() {
        let learned = [r#"{"i": 1, "skipped": "x", "s": "a", "f": 0.5}"#];
        check(&learned, learned[0], Some(0));
        check(&learned, r#"{"i": -123456789012, "skipped": 1e5, "s": "éé", "f": 1E5}"#, Some(0));
        check(&learned, r#"{"i": null, "skipped": true, "s": null, "f": 7}"#, Some(0));
        check(&learned, r#"{"i": 1, "skipped": "\u00e9\"", "s": "", "f": 1}"#, Some(0));
        check(&learned, r#"{"i": 1, "skipped": "x", "s": "\n", "f": 0.5}"#, None);
        check(&learned, r#"{"i": 1, "skipped": "x", "s": 5, "f": 0.5}"#, None);
        check(&learned, r#"{"i": 1.5, "skipped": "x", "s": "a", "f": 0.5}"#, None);
        check(&learned, r#"{"i": 1,  "skipped": "x", "s": "a", "f": 0.5}"#, None);
        check(&learned, r#"{"i": 1, "skipped": "x", "s": "a", "f": 0.5"#, None);
        check(&learned, r#"{"i": 1}"#, None);
        check(&[], r#"{"i": 1}"#, None);
    }

    #[test]
    fn several_shapes_share_what_is_alike() {
        let learned = [
            r#"{"i":1,"s":"a"}"#,
            r#"{"i":1,"f":1}"#,
            r#"{"i":1,"s":"a","very long and skipped":{"x":[1,true,[]],"s":5},"f":1}"#,
            "{}",
            r#" { "f" : 0.5 } "#,
        ];
        for (record, absent) in learned.iter().zip([1, 1, 0, 3, 2]) {
            check(&learned, record, Some(absent));
        }
        check(&learned, r#"{"i":1,"s":"a","very long and skipped":{"x":["",null,[]],"s":{}},"f":1}"#, None);
        check(&learned, r#"{"i":1,"s":"a","very long and skippet":{"x":[1,true,[]],"s":5},"f":1}"#, None);
        check(&learned, r#"{"i":1,"f":1,"s":"a"}"#, None);
    }

    #[test]
    fn what_may_mean_more_than_it_says_is_not_learned() {
        for record in ["{\"\\u0069\":1}", "{\n\"i\":1}", "{\"i\":1\n}"] {
            check(&[record], record, None);
        }
        let long = format!("{{\"i\":1{}}}", ",\"x\":1".repeat(VALUES_MAX));
        check(&[&long], &long, None);
    }

    #[test]
    fn learning_has_bounds() {
        let (mut table, mut shapes) = (table(), Shapes::new());
        for i in 0..100_000 {
            shapes.learn(&table, &format!("{{\"i\":1,\"field{i}\":2}}"));
            assert!(shapes.nodes.len() <= NODES_MAX);
        }
        let last = (0..100_000)
            .rev()
            .find(|i| shapes.read(&mut table, format!("{{\"i\":1,\"field{i}\":2}}").as_bytes(), 0).is_some());
        assert!(last.is_some_and(|i| i > 99_900), "what came last is known: {last:?}");
    }
}
