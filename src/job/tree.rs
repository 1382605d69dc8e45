//! A job file as a tree of values that remember where they came from.
//!
//! TOML's own types lose either the places (`toml::Value`) or the right to be changed (`Spanned` borrows the text); a
//! fault needs the first, overrides the second.

use super::faulty::{Located, Place};
use crate::fault::Fault;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its places.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The place of the key that names it.
    pub key: Place,
    /// The place of the value; for a table, of its header.
    pub at: Place,
    pub value: Tree,
    /// Keys that were taken out because their values are wrong, so that nobody misses them.
    pub lost: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Tree {
    Leaf(toml::Value),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<(String, Node)>),
}

impl Node {
    /// Reads a TOML document. A syntax error is the only fault then; a number out of range is one of many.
    pub fn parse(text: &str, faults: &mut Vec<Located>) -> Option<Node> {
        match DeTable::parse(text) {
            Ok(table) => {
                let place = |span: Range<usize>| Place::File(span.start, span.end);
                let table = Spanned::new(0..0, DeValue::Table(table.into_inner()));
                Node::build(Place::File(0, 0), table, &place, faults)
            }
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                faults.push(Located::at(
                    &Place::File(span.start, span.end),
                    format!("not TOML: {}", error.message().trim()),
                ));
                None
            }
        }
    }

    /// The value of an override: TOML where it reads as TOML, else the text itself.
    pub fn overriding(raw: &str, place: &Place, text_only: bool) -> Node {
        let node = |value| Node { key: place.clone(), at: place.clone(), value, lost: Vec::new() };
        let parsed = DeValue::parse(raw).ok().filter(|value| !text_only || value.get_ref().is_str());
        let built = parsed.and_then(|value| Node::build(place.clone(), value, &|_| place.clone(), &mut Vec::new()));
        built.unwrap_or_else(|| node(Tree::Leaf(toml::Value::String(raw.to_owned()))))
    }

    fn build(
        key: Place,
        value: Spanned<DeValue<'_>>,
        place: &dyn Fn(Range<usize>) -> Place,
        faults: &mut Vec<Located>,
    ) -> Option<Node> {
        let at = place(value.span());
        let value = match value.into_inner() {
            DeValue::Table(table) => {
                let mut entries = Vec::new();
                for (name, value) in table {
                    let built = Node::build(place(name.span()), value, place, faults);
                    entries.extend(built.map(|node| (name.into_inner().into_owned(), node)));
                }
                entries.sort_by(|a, b| a.1.key.cmp(&b.1.key));
                Tree::Table(entries)
            }
            DeValue::Array(values) => {
                let built = values.into_iter().filter_map(|v| Node::build(place(v.span()), v, place, faults));
                Tree::List(built.collect())
            }
            leaf => match scalar(leaf) {
                Ok(value) => Tree::Leaf(value),
                Err(message) => {
                    faults.push(Located::at(&at, message));
                    return None;
                }
            },
        };
        Some(Node { key, at, value, lost: Vec::new() })
    }

    /// The same value as TOML's own type.
    pub fn to_toml(&self) -> toml::Value {
        match &self.value {
            Tree::Leaf(value) => value.clone(),
            Tree::List(nodes) => toml::Value::Array(nodes.iter().map(Node::to_toml).collect()),
            Tree::Table(entries) => toml::Value::Table(entries.iter().map(|(k, n)| (k.clone(), n.to_toml())).collect()),
        }
    }

    /// The entries of a table; nothing for other values.
    pub fn entries(&self) -> &[(String, Node)] {
        match &self.value {
            Tree::Table(entries) => entries,
            _ => &[],
        }
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, Tree::Table(_))
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Tree::Leaf(toml::Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match &self.value {
            Tree::Leaf(toml::Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// What it is, as a fault says it.
    pub fn shown(&self) -> String {
        match &self.value {
            Tree::Leaf(value) => value.to_string(),
            Tree::List(_) => "a list".into(),
            Tree::Table(_) => "a table".into(),
        }
    }

    /// The value of a key, or the element of that number.
    pub fn child(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Tree::Table(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, node)| node),
            Tree::List(nodes) => nodes.get(name.parse::<usize>().ok()?),
            Tree::Leaf(_) => None,
        }
    }

    fn child_mut(&mut self, name: &str) -> Option<&mut Node> {
        match &mut self.value {
            Tree::Table(entries) => entries.iter_mut().find(|(key, _)| key == name).map(|(_, node)| node),
            Tree::List(nodes) => nodes.get_mut(name.parse::<usize>().ok()?),
            Tree::Leaf(_) => None,
        }
    }

    /// Takes a key out of a table.
    pub fn take(&mut self, name: &str) -> Option<Node> {
        match &mut self.value {
            Tree::Table(entries) => entries.iter().position(|(key, _)| key == name).map(|i| entries.remove(i).1),
            _ => None,
        }
    }

    /// The deepest node on a path, and how much of the path led there.
    pub fn find(&self, path: &[String]) -> (&Node, usize) {
        let (mut node, mut done) = (self, 0);
        while done < path.len() {
            // A key may itself have dots in it.
            let step = (done + 1..=path.len()).find_map(|end| Some((node.child(&path[done..end].join("."))?, end)));
            match step {
                Some((child, end)) => (node, done) = (child, end),
                None => break,
            }
        }
        (node, done)
    }

    /// Takes out what a path leads to, so that the rest can be read. Of a list of one, the list goes. False when
    /// there is nothing to take.
    pub fn prune(&mut self, path: &[String]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let Some(parent) = parents.iter().try_fold(&mut *self, |node, name| node.child_mut(name)) else { return false };
        match &mut parent.value {
            Tree::Table(entries) => {
                let Some(at) = entries.iter().position(|(key, _)| key == last) else { return false };
                entries.remove(at);
                parent.lost.push(last.clone());
                true
            }
            Tree::List(nodes) if nodes.len() > 1 => match last.parse::<usize>() {
                Ok(at) if at < nodes.len() => {
                    nodes.remove(at);
                    true
                }
                _ => false,
            },
            Tree::List(_) => self.prune(parents),
            Tree::Leaf(_) => false,
        }
    }

    /// Puts a value at a path, with tables above it where there are none.
    pub fn set(&mut self, path: &[String], node: Node) {
        let Some((name, rest)) = path.split_first() else {
            self.at = node.at;
            self.value = node.value;
            return;
        };
        if let Some(child) = self.child_mut(name) {
            return child.set(rest, node);
        }
        if !self.is_table() {
            self.value = Tree::Table(Vec::new());
        }
        let mut child =
            Node { key: node.key.clone(), at: node.at.clone(), value: Tree::Table(Vec::new()), lost: Vec::new() };
        child.set(rest, node);
        if let Tree::Table(entries) = &mut self.value {
            entries.push((name.clone(), child));
        }
    }

    /// Where a fault of the part belongs that this node configures. A setting that is not written is named instead.
    pub fn locate(&self, fault: Fault) -> Located {
        let path = segments(&fault.path);
        let (node, found) = self.find(&path);
        let named = found == path.len() || !node.is_table() || fault.message.contains(path[found].as_str());
        let message = if named { fault.message } else { format!("`{}`: {}", path[found..].join("."), fault.message) };
        Located { place: node.at.clone(), message, help: fault.help }
    }
}

/// The names on a path, with `rules[0]` as two of them.
pub(super) fn segments(path: &[String]) -> Vec<String> {
    let split = |name: &String| {
        let (head, indexes) = name.split_once('[').filter(|_| name.ends_with(']')).unwrap_or((name, ""));
        let head = (!head.is_empty()).then(|| head.to_owned());
        let indexes: Vec<String> = indexes.split(['[', ']']).filter(|i| !i.is_empty()).map(str::to_owned).collect();
        head.into_iter().chain(indexes).collect::<Vec<_>>()
    };
    path.iter().flat_map(split).collect()
}

fn scalar(value: DeValue<'_>) -> Result<toml::Value, String> {
    Ok(match value {
        DeValue::String(text) => toml::Value::String(text.into_owned()),
        DeValue::Integer(number) => toml::Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| format!("`{number}` does not fit into 64 bits"))?,
        ),
        DeValue::Float(number) => {
            toml::Value::Float(number.as_str().parse().map_err(|_| format!("`{number}` is not a number"))?)
        }
        DeValue::Boolean(truth) => toml::Value::Boolean(truth),
        DeValue::Datetime(time) => toml::Value::Datetime(time),
        DeValue::Array(_) | DeValue::Table(_) => unreachable!("the caller takes lists and tables apart"),
    })
}
