//! A batch: some rows of one stream, as Arrow columns, with the keys of the rows once they have been hashed.
//!
//! Batches are what flows along the edges of the graph. They are cheap to clone (columns are shared) and never change.

use crate::key::Keys;
use crate::origin::Origin;
use crate::schema::{Kind, SYSTEM, Schema};
use crate::time::EventTime;
use crate::value::Cells;
use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType, UInt32Type};
use std::fmt::Write;
use std::sync::Arc;

/// Rows of one stream. Columns: see [`crate::schema`].
#[derive(Clone, Debug)]
pub struct Batch {
    records: RecordBatch,
    keys: Option<Arc<Keys>>,
}

/// Some rows of several batches, in an order of their own. Nothing is copied until it must be.
#[derive(Clone, Copy, Debug)]
pub struct Picked<'a> {
    /// The batches; those that have rows among these are of one schema.
    pub batches: &'a [Batch],
    /// The rows.
    pub places: &'a [Place],
}

/// A row among several batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The time that it is put in order by.
    pub point: EventTime,
    /// The number of its batch.
    pub batch: u32,
    /// Its number there.
    pub row: u32,
}

impl Picked<'_> {
    /// The rows as one batch; the keys come along.
    pub fn gathered(&self) -> Batch {
        let Picked { batches, places } = self;
        let [first, ..] = places else { return batches[0].slice(0, 0) };
        let one = &batches[first.batch as usize];
        if places.iter().all(|place| place.batch == first.batch) {
            let in_place = places.len() == one.len() && places.iter().zip(0..).all(|(place, row)| place.row == row);
            let rows = || places.iter().map(|place| place.row).collect::<Vec<_>>();
            return if in_place { one.clone() } else { one.take(&rows()) };
        }
        let (used, indices) = self.used();
        let records: Vec<&RecordBatch> = used.iter().map(|batch| batch.records()).collect();
        let records = compute::interleave_record_batch(&records, &indices).expect("batches of one schema");
        let keys: Option<Vec<&Keys>> = used.iter().map(|batch| batch.keys()).collect();
        Batch { records, keys: keys.map(|keys| Arc::new(Keys::interleave(&keys, &indices))) }
    }

    /// The batches that the rows are of, and each row's among these: the others may be of another schema.
    fn used(&self) -> (Vec<&Batch>, Vec<(usize, usize)>) {
        let (mut used, mut numbers) = (Vec::new(), vec![usize::MAX; self.batches.len()]);
        let index = |place: &Place| {
            let number = &mut numbers[place.batch as usize];
            if *number == usize::MAX {
                *number = used.len();
                used.push(&self.batches[place.batch as usize]);
            }
            (*number, place.row as usize)
        };
        let indices = self.places.iter().map(index).collect();
        (used, indices)
    }
}

/// The system columns of a batch that is being made.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Event times.
    pub times: Vec<EventTime>,
    /// Origins.
    pub origins: Vec<Origin>,
    /// Sequences.
    pub sequences: Vec<i64>,
    /// Stamps: null for a record that was on time. An empty vector means that all were.
    pub stamps: Vec<Option<EventTime>>,
}

impl Batch {
    /// A batch of these columns; `columns` are those of the schema's fields.
    ///
    /// Panics where lengths or types differ from the schema: that is a mistake in the part that made them.
    pub fn new(schema: &Schema, head: Head, columns: Vec<ArrayRef>) -> Batch {
        let rows = head.times.len();
        let stamps: ArrayRef = if head.stamps.is_empty() {
            new_null_array(&Kind::Time.arrow(), rows)
        } else {
            Arc::new(TimestampMicrosecondArray::from(head.stamps).with_timezone("UTC"))
        };
        let mut all: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(head.times).with_timezone("UTC")),
            Arc::new(UInt32Array::from(head.origins)),
            Arc::new(Int64Array::from(head.sequences)),
            stamps,
        ];
        all.extend(columns);
        let records = RecordBatch::try_new(schema.arrow().clone(), all);
        Batch { records: records.expect("columns of the planned schema"), keys: None }
    }

    /// A batch around records that have the system columns already.
    pub fn from_records(records: RecordBatch) -> Batch {
        debug_assert_eq!(records.schema().field(0).name(), "event_time");
        Batch { records, keys: None }
    }

    /// The same rows with other fields: the system columns stay, `columns` are those of `schema`.
    pub fn with_columns(&self, schema: &Schema, columns: Vec<ArrayRef>) -> Batch {
        let all = self.records.columns()[..SYSTEM].iter().cloned().chain(columns).collect();
        let records = RecordBatch::try_new(schema.arrow().clone(), all);
        Batch { records: records.expect("columns of the planned schema"), keys: None }
    }

    /// The same rows with their keys.
    pub fn with_keys(mut self, keys: Keys) -> Batch {
        debug_assert_eq!(keys.len(), self.len());
        self.keys = Some(Arc::new(keys));
        self
    }

    /// The same rows without keys: those of another step may differ.
    pub fn without_keys(mut self) -> Batch {
        self.keys = None;
        self
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.records.num_rows()
    }

    /// How much memory its columns hold, those that it shares included.
    pub fn bytes(&self) -> usize {
        self.records.get_array_memory_size()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The Arrow records, system columns first.
    pub fn records(&self) -> &RecordBatch {
        &self.records
    }

    /// The keys, once the exchange has made them.
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }

    /// The event times.
    pub fn times(&self) -> &[EventTime] {
        self.records.column(0).as_primitive::<TimestampMicrosecondType>().values()
    }

    /// The origins.
    pub fn origins(&self) -> &[Origin] {
        self.records.column(1).as_primitive::<UInt32Type>().values()
    }

    /// The sequences.
    pub fn sequences(&self) -> &[i64] {
        self.records.column(2).as_primitive::<Int64Type>().values()
    }

    /// The stamp of a row: `None` where the record was on time.
    pub fn stamp(&self, row: usize) -> Option<EventTime> {
        let stamps = self.stamps();
        (!stamps.is_null(row)).then(|| stamps.value(row))
    }

    /// The stamps; null where a record was on time.
    pub fn stamps(&self) -> &TimestampMicrosecondArray {
        self.records.column(3).as_primitive::<TimestampMicrosecondType>()
    }

    /// Whether any row is older than its partition's watermark was.
    pub fn any_late(&self) -> bool {
        self.stamps().null_count() < self.len()
    }

    /// The column of field `i` of the schema.
    pub fn column(&self, i: usize) -> &ArrayRef {
        self.records.column(SYSTEM + i)
    }

    /// The columns of all fields.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.records.columns()[SYSTEM..]
    }

    /// Some rows, in that order; the keys come along.
    pub fn take(&self, rows: &[u32]) -> Batch {
        let indices = UInt32Array::from(rows.to_vec());
        let records = compute::take_record_batch(&self.records, &indices).expect("rows of this batch");
        Batch { records, keys: self.keys.as_ref().map(|keys| Arc::new(keys.take(rows))) }
    }

    /// A run of rows, without copying; the keys are left behind.
    pub fn slice(&self, from: usize, rows: usize) -> Batch {
        Batch { records: self.records.slice(from, rows), keys: None }
    }

    /// The rows for which `keep` is true; the keys are left behind unless all rows stay.
    pub fn filter(&self, keep: &arrow::array::BooleanArray) -> Batch {
        let records = compute::filter_record_batch(&self.records, keep).expect("a mask of this batch's length");
        let keys = if records.num_rows() == self.len() { self.keys.clone() } else { None };
        Batch { records, keys }
    }

    /// All rows of several batches of one schema, one behind the other; without keys.
    pub fn concat(batches: &[Batch]) -> Batch {
        let [first, ..] = batches else { panic!("at least one batch is concatenated") };
        if batches.len() == 1 {
            return first.clone();
        }
        let schema = first.records.schema();
        let records = compute::concat_batches(&schema, batches.iter().map(|b| &b.records));
        Batch { records: records.expect("batches of one schema"), keys: None }
    }

    /// A row's fields as a JSON object on one line; nulls are written.
    pub fn row_json(&self, row: usize) -> String {
        let mut text = String::from("{");
        let schema = self.records.schema();
        for (i, column) in self.columns().iter().enumerate() {
            text.push_str(if i == 0 { "" } else { "," });
            write_json_text(&mut text, schema.field(SYSTEM + i).name());
            text.push(':');
            write_json(&mut text, column, row);
        }
        text.push('}');
        text
    }
}

/// Appends a value as JSON; see [`Cells::write_json`].
pub fn write_json(text: &mut String, column: &ArrayRef, row: usize) {
    Cells::of(column).write_json(text, row);
}

/// Appends text in quotes, escaped as JSON wants it.
pub fn write_json_text(text: &mut String, value: &str) {
    text.push('"');
    // All bytes are looked at, without a way out in between, because that compiles to vector instructions.
    if !value.bytes().fold(false, |any, byte| any | (byte < 0x20) | (byte == b'"') | (byte == b'\\')) {
        text.push_str(value);
        return text.push('"');
    }
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate().filter(|(_, b)| *b < 0x20 || *b == b'"' || *b == b'\\') {
        text.push_str(&value[from..at]);
        from = at + 1;
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            _ => write!(text, "\\u{byte:04x}").expect("writing to a String does not fail"),
        }
    }
    text.push_str(&value[from..]);
    text.push('"');
}

/// Appends the shortest digits that read back as the same float; `"NaN"`, `"inf"` and `"-inf"` in quotes.
pub fn write_json_float(text: &mut String, value: f64) {
    if !value.is_finite() {
        return write!(text, "\"{value}\"").expect("writing to a String does not fail");
    }
    let mut digits = zmij::Buffer::new();
    let written = digits.format_finite(value);
    if value.abs() < 1e15 {
        return text.push_str(written);
    }
    // Some versions write `1e+300`, some `1e300`; ours must not differ between builds.
    let (mantissa, exponent) = written.split_once('+').unwrap_or((written, ""));
    text.push_str(mantissa);
    text.push_str(exponent);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Field;
    use arrow::array::{BooleanArray, Float64Array, StringArray};

    fn batch() -> Batch {
        let schema = Schema::new([Field::new("sensor", Kind::Text), Field::new("value", Kind::Float)]);
        let head = Head {
            times: vec![3, 1, 2],
            origins: vec![0, 0, 1],
            sequences: vec![7, 8, 1],
            stamps: vec![None, Some(2), None],
        };
        let sensor = Arc::new(StringArray::from(vec![Some("a\"b"), None, Some("c")])) as ArrayRef;
        Batch::new(&schema, head, vec![sensor, Arc::new(Float64Array::from(vec![1.0, f64::NAN, 1e300]))])
    }

    #[test]
    fn rows_are_taken_with_their_keys() {
        let batch = batch();
        let keys = Keys::of(&[batch.column(0).clone()], 3);
        let taken = batch.with_keys(keys.clone()).take(&[2, 0]);
        assert_eq!((taken.times(), taken.sequences()), (&[2, 3][..], &[1, 7][..]));
        assert_eq!(taken.keys().expect("keys").key(0), keys.key(2));
    }

    #[test]
    fn late_rows_show() {
        let batch = batch();
        assert!(batch.any_late());
        assert_eq!((batch.stamp(0), batch.stamp(1)), (None, Some(2)));
        assert!(!batch.filter(&BooleanArray::from(vec![true, false, true])).any_late());
    }

    #[test]
    fn rows_read_as_json() {
        let rows: Vec<String> = (0..3).map(|row| batch().row_json(row)).collect();
        assert_eq!(
            rows,
            [r#"{"sensor":"a\"b","value":1.0}"#, r#"{"sensor":null,"value":"NaN"}"#, r#"{"sensor":"c","value":1e300}"#]
        );
        for row in rows {
            serde_json::from_str::<serde_json::Value>(&row).expect("JSON");
        }
    }
}
