//! What became of the keys of a step from one checkpoint to another.

use super::tables::{Row, Table, told};
use crate::time;
use crate::value::Value;
use serde_json::{Map, Value as Json, json};
use std::cmp::Ordering;

/// What became of the keys of a step.
#[derive(Default)]
pub struct Difference {
    /// The rows that came, went or changed, in order of key and window.
    pub changes: Vec<Change>,
    /// How many rows are as they were.
    pub same: usize,
}

/// A row that came, went or changed.
pub struct Change {
    /// The key, as a person reads it.
    pub key: String,
    /// The start of its window, where windows are remembered apart.
    pub window: Option<i64>,
    /// What became of it.
    pub what: What,
}

/// What became of a row. Values stand behind the names of their columns.
pub enum What {
    /// It came.
    Added(Vec<(String, Value)>),
    /// It went.
    Removed(Vec<(String, Value)>),
    /// It changed: what each value was, and what it is.
    Changed(Vec<(String, Value, Value)>),
}

/// Compares the tables of a step. O(rows).
pub fn compare(a: &Table, b: &Table) -> Difference {
    let mut difference = Difference::default();
    let columns = columns(a, b);
    let (mut old, mut new) = (a.rows.iter().peekable(), b.rows.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return difference,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => (&old.key, a.window_of(old)).cmp(&(&new.key, b.window_of(new))),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        let what = match (was, is) {
            (Some(was), Some(is)) => {
                let changed = changed(&columns, was, is);
                if changed.is_empty() {
                    difference.same += 1;
                    continue;
                }
                What::Changed(changed)
            }
            (Some(was), None) => What::Removed(values(a, was)),
            (None, Some(is)) => What::Added(values(b, is)),
            (None, None) => return difference,
        };
        let (row, table) = was.map(|row| (row, a)).or(is.map(|row| (row, b))).expect("one of them is there");
        difference.changes.push(Change { key: row.key(), window: table.window_of(row), what });
    }
}

/// Every column by name, with its place in each table.
fn columns(a: &Table, b: &Table) -> Vec<(String, Option<usize>, Option<usize>)> {
    let place = |table: &Table, name: &str| table.fields.iter().position(|field| field.name == name);
    let mut names: Vec<&str> = a.fields.iter().map(|field| field.name.as_str()).collect();
    names.extend(b.fields.iter().map(|field| field.name.as_str()).filter(|name| place(a, name).is_none()));
    names.into_iter().map(|name| (name.to_owned(), place(a, name), place(b, name))).collect()
}

fn changed(columns: &[(String, Option<usize>, Option<usize>)], was: &Row, is: &Row) -> Vec<(String, Value, Value)> {
    let value = |row: &Row, at: Option<usize>| at.map_or(Value::Null, |at| row.value(at).clone());
    let pairs = columns.iter().map(|(name, old, new)| (name.clone(), value(was, *old), value(is, *new)));
    pairs.filter(|(_, old, new)| !same(old, new)).collect()
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

fn values(table: &Table, row: &Row) -> Vec<(String, Value)> {
    let known = |(at, name)| Some((name, row.value(at).clone())).filter(|(_, value)| *value != Value::Null);
    table.fields.iter().map(|field| field.name.clone()).enumerate().filter_map(known).collect()
}

impl Difference {
    /// How many rows came, went and changed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&What) -> bool| self.changes.iter().filter(|change| is(&change.what)).count();
        (
            count(|what| matches!(what, What::Added(_))),
            count(|what| matches!(what, What::Removed(_))),
            count(|what| matches!(what, What::Changed(_))),
        )
    }
}

impl Change {
    /// One line for people: `~ pump-17  count 3 -> 5`.
    pub fn line(&self) -> String {
        let list = |values: &[(String, Value)]| {
            let shown = values.iter().filter(|(name, _)| !name.starts_with("window_"));
            shown.map(|(name, value)| format!("{name} {}", short(value))).collect::<Vec<_>>().join(", ")
        };
        let (sign, values) = match &self.what {
            What::Added(values) => ('+', list(values)),
            What::Removed(values) => ('-', list(values)),
            What::Changed(values) => {
                let one =
                    |(name, old, new): &(String, Value, Value)| format!("{name} {} -> {}", short(old), short(new));
                ('~', values.iter().map(one).collect::<Vec<_>>().join(", "))
            }
        };
        let window = self.window.map_or(String::new(), |start| format!(" [{}]", time::format(start)));
        format!("{sign} {}{window}  {values}", self.key)
    }

    /// The same for programs.
    pub fn json(&self, step: &str) -> Json {
        let list = |values: &[(String, Value)]| {
            let values = values.iter().map(|(name, value)| (name.clone(), plain(value)));
            Json::Object(values.collect::<Map<_, _>>())
        };
        let mut object = json!({ "step": step, "key": self.key });
        if let Some(start) = self.window {
            object["window_start"] = json!(time::format(start));
        }
        match &self.what {
            What::Added(values) => object["added"] = list(values),
            What::Removed(values) => object["removed"] = list(values),
            What::Changed(values) => {
                let pairs = values.iter().map(|(name, old, new)| (name.clone(), json!([plain(old), plain(new)])));
                object["changed"] = Json::Object(pairs.collect());
            }
        }
        object
    }
}

/// How much of a text is told to people.
const TOLD: usize = 60;

fn short(value: &Value) -> String {
    let text = told(value);
    if text.chars().count() <= TOLD { text } else { text.chars().take(TOLD).chain(['…']).collect() }
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) if value.is_finite() => json!(value),
        other => json!(told(other)),
    }
}
