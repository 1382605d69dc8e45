//! Single values, and columns made of them one by one.

use crate::batch::{Batch, write_json_float, write_json_text};
use crate::origin::Origin;
use crate::schema::Kind;
use crate::time::{self, EventTime};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::array::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A value of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A time.
    Time(EventTime),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$variant(value.into())
            }
        }
    )*};
}
value_from!(bool => Bool, i64 => Int, u32 => Int, f64 => Float, &str => Text, String => Text);

impl<V: Into<Value>> From<Option<V>> for Value {
    fn from(value: Option<V>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// A row of a batch.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    batch: &'a Batch,
    row: usize,
}

impl<'a> Row<'a> {
    /// Row number `row` of a batch.
    pub fn new(batch: &'a Batch, row: usize) -> Row<'a> {
        Row { batch, row }
    }

    /// The batch it is a row of.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// Its number there.
    pub fn index(&self) -> usize {
        self.row
    }

    /// When it happened.
    pub fn time(&self) -> EventTime {
        self.batch.times()[self.row]
    }

    /// Where it came from.
    pub fn origin(&self) -> Origin {
        self.batch.origins()[self.row]
    }

    /// Its place there.
    pub fn sequence(&self) -> i64 {
        self.batch.sequences()[self.row]
    }

    /// The number in a field, int or float; `None` for null, and for what is no number.
    #[inline]
    pub fn number(&self, field: usize) -> Option<f64> {
        number_at(self.batch.column(field), self.row)
    }

    /// The text in a field.
    pub fn text(&self, field: usize) -> Option<&'a str> {
        let column = self.batch.column(field);
        (column.data_type() == &DataType::Utf8 && !column.is_null(self.row))
            .then(|| column.as_string::<i32>().value(self.row))
    }

    /// The value of a field.
    pub fn value(&self, field: usize) -> Value {
        value_at(self.batch.column(field), self.row)
    }
}

/// The number in a row of a column, int or float.
#[inline]
pub fn number_at(column: &ArrayRef, row: usize) -> Option<f64> {
    if let Some(floats) = column.as_primitive_opt::<Float64Type>() {
        return (!floats.is_null(row)).then(|| floats.value(row));
    }
    let ints = column.as_primitive_opt::<Int64Type>()?;
    (!ints.is_null(row)).then(|| ints.value(row) as f64)
}

/// The value in a row of a column.
pub fn value_at(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(..) => Value::Time(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        _ => Value::Text(column.as_string::<i32>().value(row).to_owned()),
    }
}

/// A column whose type has been looked up, once, to be read row by row.
#[derive(Clone, Copy, Debug)]
pub enum Cells<'a> {
    /// Of bools.
    Bool(&'a BooleanArray),
    /// Of integers.
    Int(&'a PrimitiveArray<Int64Type>),
    /// Of floats.
    Float(&'a PrimitiveArray<Float64Type>),
    /// Of text.
    Text(&'a StringArray),
    /// Of times.
    Time(&'a PrimitiveArray<TimestampMicrosecondType>),
    /// Of origins.
    Origin(&'a PrimitiveArray<UInt32Type>),
}

impl<'a> Cells<'a> {
    /// The cells of a column of a batch, a system column or a field's.
    pub fn of(column: &'a ArrayRef) -> Cells<'a> {
        match column.data_type() {
            DataType::Boolean => Cells::Bool(column.as_boolean()),
            DataType::Int64 => Cells::Int(column.as_primitive()),
            DataType::Float64 => Cells::Float(column.as_primitive()),
            DataType::Timestamp(..) => Cells::Time(column.as_primitive()),
            DataType::UInt32 => Cells::Origin(column.as_primitive()),
            _ => Cells::Text(column.as_string()),
        }
    }

    /// Whether a row has no value.
    pub fn is_null(self, row: usize) -> bool {
        match self {
            Cells::Bool(cells) => cells.is_null(row),
            Cells::Int(cells) => cells.is_null(row),
            Cells::Float(cells) => cells.is_null(row),
            Cells::Text(cells) => cells.is_null(row),
            Cells::Time(cells) => cells.is_null(row),
            Cells::Origin(cells) => cells.is_null(row),
        }
    }

    /// Appends a row's value as JSON: times as RFC 3339, a NaN or an infinity as text, because JSON has no number for
    /// it.
    pub fn write_json(self, text: &mut String, row: usize) {
        if self.is_null(row) {
            return text.push_str("null");
        }
        match self {
            Cells::Bool(cells) => text.push_str(if cells.value(row) { "true" } else { "false" }),
            Cells::Int(cells) => text.push_str(itoa::Buffer::new().format(cells.value(row))),
            Cells::Origin(cells) => text.push_str(itoa::Buffer::new().format(cells.value(row))),
            Cells::Float(cells) => write_json_float(text, cells.value(row)),
            Cells::Text(cells) => write_json_text(text, cells.value(row)),
            Cells::Time(cells) => {
                text.push('"');
                time::write_to(text, cells.value(row));
                text.push('"');
            }
        }
    }
}

/// A column of one kind that is being made value by value.
#[derive(Debug)]
pub enum ColumnBuilder {
    /// Of bools.
    Bool(BooleanBuilder),
    /// Of integers.
    Int(Int64Builder),
    /// Of floats.
    Float(Float64Builder),
    /// Of text.
    Text(StringBuilder),
    /// Of times.
    Time(TimestampMicrosecondBuilder),
}

impl ColumnBuilder {
    /// An empty column of a kind.
    pub fn new(kind: Kind) -> ColumnBuilder {
        match kind {
            Kind::Bool => ColumnBuilder::Bool(BooleanBuilder::new()),
            Kind::Int => ColumnBuilder::Int(Int64Builder::new()),
            Kind::Float => ColumnBuilder::Float(Float64Builder::new()),
            Kind::Text => ColumnBuilder::Text(StringBuilder::new()),
            Kind::Time => ColumnBuilder::Time(TimestampMicrosecondBuilder::new()),
        }
    }

    /// Appends a value; an integer becomes a float in a column of floats, whatever else does not fit is a mistake of
    /// the part that gives it, and panics.
    pub fn push(&mut self, value: Value) {
        match (self, value) {
            (column, Value::Null) => column.push_null(),
            (ColumnBuilder::Bool(b), Value::Bool(v)) => b.append_value(v),
            (ColumnBuilder::Int(b), Value::Int(v)) => b.append_value(v),
            (ColumnBuilder::Float(b), Value::Float(v)) => b.append_value(v),
            (ColumnBuilder::Float(b), Value::Int(v)) => b.append_value(v as f64),
            (ColumnBuilder::Text(b), Value::Text(v)) => b.append_value(v),
            (ColumnBuilder::Time(b), Value::Time(v) | Value::Int(v)) => b.append_value(v),
            (column, value) => panic!("{value:?} was given for a column {column:?}"),
        }
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        match self {
            ColumnBuilder::Bool(b) => b.append_null(),
            ColumnBuilder::Int(b) => b.append_null(),
            ColumnBuilder::Float(b) => b.append_null(),
            ColumnBuilder::Text(b) => b.append_null(),
            ColumnBuilder::Time(b) => b.append_null(),
        }
    }

    /// The column so far; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Bool(b) => Arc::new(b.finish()),
            ColumnBuilder::Int(b) => Arc::new(b.finish()),
            ColumnBuilder::Float(b) => Arc::new(b.finish()),
            ColumnBuilder::Text(b) => Arc::new(b.finish()),
            ColumnBuilder::Time(b) => Arc::new(b.finish().with_timezone("UTC")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_the_columns_they_went_into() {
        let values = [Value::Bool(true), Value::Int(-3), Value::Float(0.5), Value::Text("é".into()), Value::Time(7)];
        for (kind, value) in Kind::ALL.into_iter().zip(values) {
            let mut column = ColumnBuilder::new(kind);
            column.push(value.clone());
            column.push(Value::Null);
            let column = column.finish();
            assert_eq!(column.data_type(), &kind.arrow());
            assert_eq!((value_at(&column, 0), value_at(&column, 1)), (value, Value::Null));
        }
    }
}
