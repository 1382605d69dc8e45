//! Rows that are being made, value by value, by a decoder of text: the rules of typing, the same for every format.
//!
//! - A value fits its field or the record is rejected with the field's name, what was found and what was wanted.
//! - An integer is a fine float. A float is a fine int when it is whole and at most 2^53, so that its digits are exact;
//!   an integer beyond 64 bits fits no int.
//! - A null, or a field that a record does not have, is null; but the event time must be there.
//! - A field that comes twice rejects its record: neither of the two is more right.
//! - A time is RFC 3339 text, or a number in the unit that the job gives, of the years 1 to 9999.
//! - Only wanted fields are looked at: whatever else a record has may be anything.
//!
//! A record is put together in place. Where one of its values does not fit, what it has put into the columns is undone.

use crate::formats::{Bad, PAYLOAD_BYTES_MAX, Rows, TimeFrom, TimeUnit, Wanted, Written};
use crate::schema::Kind;
use crate::time::{self, EventTime};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::array::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use std::fmt::Write;
use std::mem;
use std::sync::Arc;

/// A value as a decoder found it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Array,
    Object,
}

/// A value that fits its column.
enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a [u8]),
    Time(EventTime),
}

/// The columns, and the record that is being put into them.
pub(crate) struct Table {
    fields: Vec<Field>,
    buckets: Box<[u16; 256]>,
    columns: Vec<Column>,
    event_time: Option<usize>,
    /// Counts the records begun; a field whose `seen` is this number has been put.
    record: u64,
    time: Option<EventTime>,
    rows: Rows,
}

struct Field {
    name: String,
    written: Written,
    column: Option<usize>,
    seen: u64,
    /// The next field of the same bucket.
    next: u16,
}

const NONE: u16 = u16::MAX;

/// Whole floats up to here are exact integers.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The years 1 to 9999, in microseconds.
pub(crate) const TIMES: std::ops::RangeInclusive<EventTime> = -62_135_596_800_000_000..=253_402_300_799_999_999;

impl Table {
    /// An empty table of the wanted fields, and of the event time's field.
    pub(crate) fn new(wanted: &Wanted) -> Table {
        let named = wanted.schema.names().zip(&wanted.written).enumerate();
        let mut fields: Vec<Field> = named.map(|(i, (name, written))| Field::new(name, *written, Some(i))).collect();
        let event_time = match &wanted.event_time {
            TimeFrom::Envelope => None,
            TimeFrom::Field(name, written) => Some(wanted.schema.index_of(name).unwrap_or_else(|| {
                fields.push(Field::new(name, *written, None));
                fields.len() - 1
            })),
        };
        let mut buckets = Box::new([NONE; 256]);
        for (i, field) in fields.iter_mut().enumerate() {
            let head = &mut buckets[bucket(&field.name)];
            field.next = mem::replace(head, i as u16);
        }
        let columns = wanted.schema.fields().iter().map(|f| Column::new(f.kind)).collect();
        Table { fields, buckets, columns, event_time, record: 1, time: None, rows: Rows::default() }
    }

    /// The number of the field of that name, if it is wanted.
    #[inline]
    pub(crate) fn field(&self, name: &str) -> Option<usize> {
        let mut at = self.buckets[bucket(name)];
        while at != NONE {
            let field = &self.fields[at as usize];
            if field.name == name {
                return Some(at as usize);
            }
            at = field.next;
        }
        None
    }

    /// The names of the fields that are looked for.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.name.as_str())
    }

    /// How a field is written.
    pub(crate) fn written(&self, field: usize) -> Written {
        self.fields[field].written
    }

    /// Puts a value of the record that is being read; the error is the reason why the record is rejected.
    #[inline]
    pub(crate) fn put(&mut self, field: usize, found: Found<'_>) -> Result<(), String> {
        let target = &mut self.fields[field];
        if target.seen == self.record {
            return Err(format!("field `{}` comes twice, wanted once", target.name));
        }
        target.seen = self.record;
        let Some(cell) = fit(target.written, found) else { return Err(misfit(target, found)) };
        if self.event_time == Some(field) {
            match cell {
                Cell::Time(time) => self.time = Some(time),
                _ => return Err(format!("field `{}`: found null, wanted the event time", target.name)),
            }
        }
        if let Some(column) = target.column {
            self.columns[column].push(cell);
        }
        Ok(())
    }

    /// Puts a value of a field that has none yet in this record, as [`Table::put`] would; says whether it fits. One
    /// record is either put or placed, and [`Table::close`] ends one that was placed.
    #[inline(always)]
    pub(crate) fn place(&mut self, field: usize, found: Found<'_>) -> bool {
        let target = &self.fields[field];
        let Some(cell) = fit(target.written, found) else { return false };
        if self.event_time == Some(field) {
            let Cell::Time(time) = cell else { return false };
            self.time = Some(time);
        }
        if let Some(column) = target.column {
            self.columns[column].push(cell);
        }
        true
    }

    /// Places a text, which is UTF-8.
    #[inline(always)]
    pub(crate) fn place_text(&mut self, field: usize, text: &[u8]) -> bool {
        let target = &self.fields[field];
        match (target.written.kind, target.column) {
            (Kind::Text, Some(column)) => {
                self.columns[column].push(Cell::Text(text));
                true
            }
            _ => std::str::from_utf8(text).is_ok_and(|text| self.place(field, Found::Text(text))),
        }
    }

    /// Ends a record of which all fields but `absent` have been placed, as [`Table::commit`] would; says whether it
    /// is one.
    #[inline(always)]
    pub(crate) fn close(&mut self, absent: &[usize], sequence: i64, envelope: Option<EventTime>) -> bool {
        let time = if self.event_time.is_some() { self.time.take() } else { envelope.filter(in_envelope) };
        let Some(time) = time else { return false };
        for field in absent {
            if let Some(column) = self.fields[*field].column {
                self.columns[column].push(Cell::Null);
            }
        }
        self.rows.times.push(time);
        self.rows.sequences.push(sequence);
        true
    }

    /// Takes back what has been put or placed since the last record.
    pub(crate) fn undo(&mut self) {
        let rows = self.rows.times.len();
        self.columns.iter_mut().for_each(|c| c.truncate(rows));
        self.time = None;
    }

    /// The fields that have a column.
    pub(crate) fn wanted_columns(&self) -> Vec<usize> {
        (0..self.fields.len()).filter(|field| self.fields[*field].column.is_some()).collect()
    }

    /// Ends a record. `envelope` is the time of the envelope that it came in.
    #[inline]
    pub(crate) fn commit(&mut self, sequence: i64, envelope: Option<EventTime>) -> Result<(), String> {
        let time = match self.event_time {
            Some(field) => self
                .time
                .take()
                .ok_or_else(|| format!("no field `{}`, which is the event time", self.fields[field].name))?,
            None => envelope.filter(in_envelope).ok_or("the message has no timestamp")?,
        };
        for field in &self.fields {
            if let (true, Some(column)) = (field.seen != self.record, field.column) {
                self.columns[column].push(Cell::Null);
            }
        }
        self.rows.times.push(time);
        self.rows.sequences.push(sequence);
        self.record += 1;
        Ok(())
    }

    /// Ends a record that does not fit, and undoes what it has put.
    #[cold]
    pub(crate) fn reject(&mut self, sequence: i64, reason: String, payload: &[u8]) {
        self.undo();
        self.record += 1;
        self.rows.bad.push(bad(sequence, self.rows.times.len(), reason, payload));
    }

    /// The rows so far; the table is empty again.
    pub(crate) fn finish(&mut self) -> Rows {
        Rows {
            columns: self.columns.iter_mut().map(Column::finish).collect(),
            times: renew(&mut self.rows.times),
            sequences: renew(&mut self.rows.sequences),
            bad: mem::take(&mut self.rows.bad),
        }
    }
}

impl Field {
    fn new(name: &str, written: Written, column: Option<usize>) -> Field {
        Field { name: name.to_owned(), written, column, seen: 0, next: NONE }
    }
}

/// A record that could not be decoded, with so much of its payload as is kept.
pub(crate) fn bad(sequence: i64, after: usize, reason: String, payload: &[u8]) -> Bad {
    let payload = payload[..payload.len().min(PAYLOAD_BYTES_MAX)].to_vec();
    Bad { sequence, after, reason, payload }
}

/// No rows, but a record that could not be decoded.
pub(crate) fn only_bad(wanted: &Wanted, bad: Bad) -> Rows {
    let columns = wanted.schema.fields().iter().map(|f| Column::new(f.kind).finish()).collect();
    Rows { columns, bad: vec![bad], ..Rows::default() }
}

/// Why bytes are not text: which byte, and where.
pub(crate) fn not_utf8(bytes: &[u8]) -> String {
    let at = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), |_| 0);
    let byte = bytes.get(at).copied().unwrap_or_default();
    format!("not UTF-8: found byte 0x{byte:02x}, column {}; wanted text in UTF-8", at + 1)
}

/// Whether an envelope says a time at all.
fn in_envelope(time: &EventTime) -> bool {
    (0..=*TIMES.end()).contains(time)
}

/// Names differ most in their length, their first byte and their last.
#[inline]
fn bucket(name: &str) -> usize {
    let bytes = name.as_bytes();
    let (first, last) = (bytes.first().copied().unwrap_or(0), bytes.last().copied().unwrap_or(0));
    (bytes.len() * 31 + usize::from(first) * 7 + usize::from(last)) & 255
}

/// The value as its field wants it, if it fits.
#[inline(always)]
fn fit(written: Written, found: Found<'_>) -> Option<Cell<'_>> {
    Some(match (written.kind, found) {
        (_, Found::Null) => Cell::Null,
        (Kind::Bool, Found::Bool(value)) => Cell::Bool(value),
        (Kind::Int, Found::Int(value)) => Cell::Int(value),
        (Kind::Int, Found::Float(value)) if value.fract() == 0.0 && value.abs() <= WHOLE_MAX => Cell::Int(value as i64),
        (Kind::Float, Found::Float(value)) => Cell::Float(value),
        (Kind::Float, Found::Int(value)) => Cell::Float(value as f64),
        (Kind::Text, Found::Text(value)) => Cell::Text(value.as_bytes()),
        (Kind::Time, found) => Cell::Time(time_of(written.unit, found).filter(|t| TIMES.contains(t))?),
        _ => return None,
    })
}

#[inline]
fn time_of(unit: TimeUnit, found: Found<'_>) -> Option<EventTime> {
    match found {
        Found::Text(text) if unit == TimeUnit::Text => time::parse(text).ok(),
        Found::Int(number) => unit.micros(number),
        Found::Float(number) => unit.micros_of_float(number),
        _ => None,
    }
}

#[cold]
fn misfit(field: &Field, found: Found<'_>) -> String {
    let wanted = match (field.written.kind, field.written.unit) {
        (Kind::Time, TimeUnit::Text) => "time as text such as \"2026-01-31T12:00:00Z\"".to_owned(),
        (Kind::Time, unit) => format!("time as a number of {}, of the years 1 to 9999", unit_name(unit)),
        (Kind::Int, _) if matches!(found, Found::Float(f) if f.abs() > WHOLE_MAX) => "int of 64 bits".to_owned(),
        (kind, _) => kind.to_string(),
    };
    let found = match found {
        Found::Null => "null".to_owned(),
        Found::Bool(value) => value.to_string(),
        Found::Int(value) => format!("number {value}"),
        Found::Float(value) => format!("number {value:?}"),
        Found::Text(text) => {
            let mut quoted = String::from("text ");
            let short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            write!(quoted, "{short:?}").expect("writing to a String does not fail");
            quoted.push_str(if short.len() < text.len() { "…" } else { "" });
            quoted
        }
        Found::Array => "an array".to_owned(),
        Found::Object => "an object".to_owned(),
    };
    format!("field `{}`: found {found}, wanted {wanted}", field.name)
}

/// How much of a misfitting text a reason shows; the payload has all of it.
const SHOWN_CHARS_MAX: usize = 40;

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Text => "text",
        TimeUnit::Seconds => "seconds",
        TimeUnit::Millis => "milliseconds",
        TimeUnit::Micros => "microseconds",
        TimeUnit::Nanos => "nanoseconds",
    }
}

/// A column that can be cut back to fewer rows.
struct Column {
    values: Values,
    /// Up to the last null.
    nulls: NullBufferBuilder,
}

enum Values {
    Bool(BooleanBufferBuilder),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text { offsets: Vec<i32>, text: Vec<u8> },
    Time(Vec<i64>),
}

impl Column {
    fn new(kind: Kind) -> Column {
        let values = match kind {
            Kind::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            Kind::Int => Values::Int(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Text => Values::Text { offsets: vec![0], text: Vec::new() },
            Kind::Time => Values::Time(Vec::new()),
        };
        Column { values, nulls: NullBufferBuilder::new(0) }
    }

    #[inline(always)]
    fn push(&mut self, cell: Cell<'_>) {
        if matches!(cell, Cell::Null) {
            self.nulls.append_n_non_nulls(self.values.len() - self.nulls.len());
            self.nulls.append_null();
        }
        match (&mut self.values, cell) {
            (Values::Int(values), Cell::Int(value)) | (Values::Time(values), Cell::Time(value)) => values.push(value),
            (Values::Float(values), Cell::Float(value)) => values.push(value),
            (Values::Text { offsets, text }, Cell::Text(value)) => {
                text.extend_from_slice(value);
                offsets.push(text_offset(text));
            }
            (Values::Bool(values), Cell::Bool(value)) => values.append(value),
            (Values::Bool(values), _) => values.append(false),
            (Values::Int(values) | Values::Time(values), _) => values.push(0),
            (Values::Float(values), _) => values.push(0.0),
            (Values::Text { offsets, text }, _) => offsets.push(text_offset(text)),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Values::Bool(values) => values.truncate(rows),
            Values::Int(values) | Values::Time(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Text { offsets, text } => {
                offsets.truncate(rows + 1);
                text.truncate(offsets[rows] as usize);
            }
        }
    }

    /// The array; as much room is kept ready for the next one.
    fn finish(&mut self) -> ArrayRef {
        self.nulls.append_n_non_nulls(self.values.len() - self.nulls.len());
        let nulls: Option<NullBuffer> = self.nulls.finish().filter(|nulls| nulls.null_count() > 0);
        match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => Arc::new(Int64Array::new(ScalarBuffer::from(renew(values)), nulls)),
            Values::Float(values) => Arc::new(Float64Array::new(ScalarBuffer::from(renew(values)), nulls)),
            Values::Time(values) => {
                let times = TimestampMicrosecondArray::new(ScalarBuffer::from(renew(values)), nulls);
                Arc::new(times.with_timezone("UTC"))
            }
            Values::Text { offsets, text } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(renew(offsets)));
                offsets.push(0);
                Arc::new(StringArray::new(ends, Buffer::from_vec(renew(text)), nulls))
            }
        }
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Bool(values) => values.len(),
            Values::Int(values) | Values::Time(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Text { offsets, .. } => offsets.len() - 1,
        }
    }
}

fn text_offset(text: &[u8]) -> i32 {
    i32::try_from(text.len()).expect("a frame is smaller than 2 GiB")
}

/// Leaves room for as many values, and some more, so that a frame with a few more rows does not move them.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len() + values.len() / 8);
    mem::replace(values, room)
}

/// How tests see rows: `sequence time {json}` a line for a row, `sequence ! reason` for what was rejected.
#[cfg(test)]
pub(crate) fn text_of(wanted: &Wanted, rows: Rows) -> String {
    use crate::batch::{Batch, Head};
    let Rows { columns, times, sequences, bad } = rows;
    let head = Head { times, origins: vec![0; sequences.len()], sequences, stamps: Vec::new() };
    let batch = Batch::new(&wanted.schema, head, columns);
    let mut bad = bad.into_iter().peekable();
    let mut text = String::new();
    for row in 0..=batch.len() {
        while let Some(bad) = bad.next_if(|b| b.after <= row) {
            writeln!(text, "{} ! {}", bad.sequence, bad.reason).expect("writing to a String does not fail");
        }
        if row < batch.len() {
            let (sequence, time) = (batch.sequences()[row], time::format(batch.times()[row]));
            writeln!(text, "{sequence} {time} {}", batch.row_json(row)).expect("writing to a String does not fail");
        }
    }
    assert_eq!(bad.next(), None, "what was rejected lies between the rows");
    text
}
