//! The tests that remember nothing, run over whole batches, and the reasons that they give.

use super::memory::{Beyond, Unique};
use crate::batch::Batch;
use crate::expression::{Evaluated, Expression};
use crate::operator::{Instance, Outputs};
use crate::schema::Kind;
use crate::time::{self, Interval};
use crate::value::{Value, number_at, value_at};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All rules, planned.
#[derive(Default)]
pub(super) struct Checks {
    pub plain: Vec<Check>,
    pub unique: Vec<Unique>,
    pub beyond: Vec<Beyond>,
    pub uses: BTreeSet<String>,
    /// After how long a key that was not touched is forgotten.
    pub ttl: Option<Interval>,
}

/// A field and where it is.
pub(super) struct Named {
    pub name: String,
    pub index: usize,
}

/// A test that remembers nothing.
pub(super) struct Check {
    pub column: Named,
    pub test: Test,
    pub says: Option<String>,
}

pub(super) enum Test {
    Required,
    Type(Kind),
    Range(Option<f64>, Option<f64>),
    OneOf(Vec<Value>),
    Matches(Regex),
    Where(Expression),
}

/// The reasons against the rows of a batch.
#[derive(Default)]
pub(super) struct Broken(BTreeMap<u32, Vec<String>>);

impl Broken {
    /// Adds a reason against a row: what the rule says, or else this.
    pub fn add(&mut self, row: usize, says: &Option<String>, reason: impl FnOnce() -> String) {
        self.0.entry(row as u32).or_default().push(says.clone().unwrap_or_else(reason));
    }

    /// Whether anything speaks against a row.
    pub fn has(&self, row: usize) -> bool {
        self.0.contains_key(&(row as u32))
    }

    /// Sends the bad rows to `rejected` and the others on.
    pub fn part(self, batch: &Batch, out: &mut Outputs) {
        if self.0.is_empty() {
            return out.push(batch.clone());
        }
        for (row, reasons) in &self.0 {
            out.reject(batch, *row as usize, reasons.join("; "));
        }
        let good: BooleanArray = (0..batch.len() as u32).map(|row| Some(!self.0.contains_key(&row))).collect();
        out.push(batch.filter(&good));
    }
}

impl Checks {
    /// How many tests there are.
    pub fn len(&self) -> usize {
        self.plain.len() + self.unique.len() + self.beyond.len()
    }

    /// What the tests that remember nothing say of a batch.
    pub fn plain(&self, batch: &Batch) -> Broken {
        let mut broken = Broken::default();
        self.plain.iter().for_each(|check| check.run(batch, &mut broken));
        broken
    }
}

impl Check {
    fn run(&self, batch: &Batch, broken: &mut Broken) {
        if let Test::Where(condition) = &self.test {
            return self.run_condition(condition, batch, broken);
        }
        let column = batch.column(self.column.index);
        if matches!(self.test, Test::Required) && column.null_count() == 0 {
            return;
        }
        for row in 0..batch.len() {
            if !self.holds(column, row) {
                broken.add(row, &self.says, || self.reason(column, row));
            }
        }
    }

    /// A condition that is null holds; one that cannot be computed does not.
    fn run_condition(&self, condition: &Expression, batch: &Batch, broken: &mut Broken) {
        let Evaluated { values, failed } = condition.evaluate(batch);
        let values = values.as_boolean();
        let false_rows = (0..batch.len()).filter(|row| !values.is_null(*row) && !values.value(*row));
        false_rows.for_each(|row| broken.add(row, &self.says, || format!("`{condition}` does not hold")));
        for (row, reason) in failed {
            broken.add(row as usize, &self.says, || reason);
        }
    }

    fn holds(&self, column: &ArrayRef, row: usize) -> bool {
        if column.is_null(row) {
            return !matches!(self.test, Test::Required);
        }
        match &self.test {
            Test::Required | Test::Where(_) => true,
            Test::Type(kind) => is_of(*kind, column, row),
            Test::Range(min, max) => number_at(column, row).is_none_or(|number| {
                min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max) && !number.is_nan()
            }),
            Test::OneOf(values) => match text_at(column, row) {
                Some(text) => values.iter().any(|value| matches!(value, Value::Text(allowed) if allowed == text)),
                None => values.contains(&value_at(column, row)),
            },
            Test::Matches(regex) => text_at(column, row).is_none_or(|text| regex.is_match(text)),
        }
    }

    fn reason(&self, column: &ArrayRef, row: usize) -> String {
        let name = &self.column.name;
        let found = show(&value_at(column, row));
        match &self.test {
            Test::Required => format!("`{name}` is missing"),
            Test::Type(kind) => format!("`{name}` is {found}, which is no {kind}"),
            Test::Range(min, max) => match (min, max) {
                (Some(min), _) if number_at(column, row).is_some_and(|n| n < *min) => {
                    format!("`{name}` is {found}, below {min}")
                }
                (_, Some(max)) if number_at(column, row).is_some_and(|n| n > *max) => {
                    format!("`{name}` is {found}, above {max}")
                }
                _ => format!("`{name}` is {found}, which lies nowhere"),
            },
            Test::OneOf(values) => {
                let values: Vec<String> = values.iter().map(show).collect();
                format!("`{name}` is {found}, none of {}", values.join(", "))
            }
            Test::Matches(regex) => format!("`{name}` is {found}, which does not match {regex}"),
            Test::Where(condition) => format!("`{condition}` does not hold"),
        }
    }
}

fn text_at(column: &ArrayRef, row: usize) -> Option<&str> {
    (column.data_type() == &DataType::Utf8).then(|| column.as_string::<i32>().value(row))
}

/// Whether a value is of a kind, or reads as one.
fn is_of(kind: Kind, column: &ArrayRef, row: usize) -> bool {
    let Some(text) = text_at(column, row) else {
        let number = number_at(column, row);
        return match kind {
            // 2^63 is the first float that no integer holds.
            Kind::Int => number.is_none_or(|n| {
                n.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&n)
            }),
            Kind::Float => number.is_none_or(f64::is_finite),
            _ => true,
        };
    };
    match kind {
        Kind::Bool => text == "true" || text == "false",
        Kind::Int => text.parse::<i64>().is_ok(),
        Kind::Float => text.parse::<f64>().is_ok_and(f64::is_finite),
        Kind::Text => true,
        Kind::Time => time::parse(text).is_ok(),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => format!("{value:?}"),
        Value::Time(value) => time::format(*value),
    }
}

/// At work with rules that remember nothing.
pub(super) struct Validating {
    pub checks: Arc<Checks>,
}

impl Instance for Validating {
    fn on_batch(&mut self, _input: usize, batch: &Batch, out: &mut Outputs) {
        self.checks.plain(batch).part(batch, out);
    }
}
