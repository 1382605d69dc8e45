//! Batches to lines of text: JSON and CSV.
//!
//! A row is written as its `event_time` (RFC 3339) and then its fields, nulls too; origin, sequence and stamp are the
//! engine's own and stay out. Types are looked up once for a batch and labels are made once for a schema. The
//! bytes depend on the row alone.
//!
//! ```text
//! json   {"event_time":"2026-01-01T00:00:00.407Z","sensor":"a","value":1.5,"note":null}
//! csv    event_time,sensor,value,note                   header, once
//!        2026-01-01T00:00:00.407Z,a,1.5,                null: nothing; empty text: ""
//! ```
//! Floats have the shortest digits that read back as the same float. NaN and infinities are text in JSON (`"NaN"`,
//! `"inf"`), because it has no number for them, and bare in CSV. CSV is quoted as RFC 4180 says; lines end with `\n`.

use crate::batch::{Batch, write_json_float, write_json_text};
use crate::schema::Schema;
use crate::time::{EventTime, TimeText};
use crate::value::Cells;
use arrow::array::Array;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt::Write;
use std::ops::Range;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// An object on every line.
    Json,
    /// Comma-separated values.
    Csv,
}

/// Writes the rows of one schema as lines.
#[derive(Clone, Debug)]
pub struct Lines {
    style: Style,
    header: String,
    /// What is written before the event time, and before each field.
    labels: Vec<String>,
}

impl Lines {
    /// Lines of a stream with these fields.
    pub fn new(style: Style, schema: &Schema) -> Lines {
        let (mut header, mut labels) = (String::new(), Vec::new());
        for name in std::iter::once("event_time").chain(schema.names()) {
            let first = labels.is_empty();
            labels.push(label(style, name, first));
            if style == Style::Csv {
                header.push_str(if first { "" } else { "," });
                write_csv_text(&mut header, name);
            }
        }
        Lines { style, header, labels }
    }

    /// The first line of a file, without its end; JSON has none.
    pub fn header(&self) -> Option<&str> {
        (self.style == Style::Csv).then_some(&self.header)
    }

    /// The rows of a batch, ready to be written.
    pub fn rows<'a>(&'a self, batch: &'a Batch) -> LineRows<'a> {
        let cells = batch.columns().iter().map(|column| (Cells::of(column), TimeText::default())).collect();
        LineRows { lines: self, times: batch.times(), time: TimeText::default(), cells }
    }

    /// Appends some rows of a batch, each with its `\n`.
    pub fn write(&self, batch: &Batch, rows: Range<usize>, text: &mut String) {
        let mut ready = self.rows(batch);
        for row in rows {
            ready.write(row, text);
            text.push('\n');
        }
    }
}

/// The rows of a batch, to be written one by one.
pub struct LineRows<'a> {
    lines: &'a Lines,
    times: &'a [EventTime],
    time: TimeText,
    /// The columns; beside each of times the text of the last.
    cells: Vec<(Cells<'a>, TimeText)>,
}

impl LineRows<'_> {
    /// Appends a row, without the end of the line.
    pub fn write(&mut self, row: usize, text: &mut String) {
        match self.lines.style {
            Style::Json => self.write_json(row, text),
            Style::Csv => self.write_csv(row, text),
        }
    }

    fn write_json(&mut self, row: usize, text: &mut String) {
        text.push_str(&self.lines.labels[0]);
        text.push_str(self.time.of(self.times[row]));
        text.push('"');
        for (label, (cells, time)) in self.lines.labels[1..].iter().zip(&mut self.cells) {
            text.push_str(label);
            match cells {
                Cells::Time(times) if !times.is_null(row) => {
                    text.push('"');
                    text.push_str(time.of(times.value(row)));
                    text.push('"');
                }
                cells => cells.write_json(text, row),
            }
        }
        text.push('}');
    }

    fn write_csv(&mut self, row: usize, text: &mut String) {
        text.push_str(self.time.of(self.times[row]));
        for (cells, time) in &mut self.cells {
            text.push(',');
            write_csv(text, *cells, row, time);
        }
    }
}

/// What stands before a column's value.
fn label(style: Style, name: &str, first: bool) -> String {
    match (style, first) {
        (Style::Json, true) => format!("{{\"{name}\":\""),
        (Style::Json, false) => {
            let mut label = String::from(",");
            write_json_text(&mut label, name);
            label + ":"
        }
        (Style::Csv, true) => String::new(),
        (Style::Csv, false) => ",".to_owned(),
    }
}

fn write_csv(text: &mut String, cells: Cells<'_>, row: usize, time: &mut TimeText) {
    if cells.is_null(row) {
        return;
    }
    match cells {
        Cells::Text(cells) => write_csv_text(text, cells.value(row)),
        Cells::Time(cells) => text.push_str(time.of(cells.value(row))),
        Cells::Float(cells) if cells.value(row).is_finite() => write_json_float(text, cells.value(row)),
        Cells::Float(cells) => write!(text, "{}", cells.value(row)).expect("writing to a String does not fail"),
        other => other.write_json(text, row),
    }
}

/// Appends text, in quotes where it must be: also when it is empty, because nothing at all is a null.
fn write_csv_text(text: &mut String, value: &str) {
    let plain = !value.is_empty() && !value.bytes().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'));
    if plain {
        return text.push_str(value);
    }
    text.push('"');
    for (i, piece) in value.split('"').enumerate() {
        text.push_str(if i == 0 { "" } else { "\"\"" });
        text.push_str(piece);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::schema::{Field, Kind};
    use crate::value::{ColumnBuilder, Value};

    /// Rows of all kinds, the last of them null; the field of text has a name that must be quoted.
    fn sample() -> (Schema, Batch) {
        let fields = [Field::new("ok", Kind::Bool), Field::new("n", Kind::Int), Field::new("v", Kind::Float)];
        let schema = Schema::new(fields).with([Field::new("a,\"b\"", Kind::Text), Field::new("at", Kind::Time)]);
        let rows: [[Value; 5]; 4] = [
            [true.into(), Value::Int(7), 0.1.into(), "plain".into(), Value::Time(1_767_225_600_000_000)],
            [false.into(), i64::MIN.into(), f64::NAN.into(), "a,\"b\"\nc\u{1}\\é".into(), Value::Time(0)],
            [true.into(), Value::Int(0), f64::NEG_INFINITY.into(), "".into(), Value::Time(1)],
            [const { Value::Null }; 5],
        ];
        let mut columns: Vec<ColumnBuilder> = schema.fields().iter().map(|f| ColumnBuilder::new(f.kind)).collect();
        for row in rows {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        let times = vec![1_767_225_600_407_000, -1, 0, 1_000];
        let head = Head { times, origins: vec![0; 4], sequences: (0..4).collect(), ..Head::default() };
        let columns = columns.iter_mut().map(ColumnBuilder::finish).collect();
        let batch = Batch::new(&schema, head, columns);
        (schema, batch)
    }

    fn check(style: Style, header: Option<&str>, expected: &str) {
        let (schema, batch) = sample();
        let lines = Lines::new(style, &schema);
        assert_eq!(lines.header(), header);
        let mut text = String::new();
        lines.write(&batch, 0..4, &mut text);
        assert_eq!(text, expected);
    }

    #[test]
    fn rows_as_json() {
        let expected = concat!(
            r#"{"event_time":"2026-01-01T00:00:00.407Z","ok":true,"n":7,"v":0.1,"a,\"b\"":"plain","at":"2026-01-01T00:00:00Z"}"#,
            "\n",
            r#"{"event_time":"1969-12-31T23:59:59.999999Z","ok":false,"n":-9223372036854775808,"v":"NaN","#,
            r#""a,\"b\"":"a,\"b\"\nc\u0001\\é","at":"1970-01-01T00:00:00Z"}"#,
            "\n",
            r#"{"event_time":"1970-01-01T00:00:00Z","ok":true,"n":0,"v":"-inf","a,\"b\"":"","at":"1970-01-01T00:00:00.000001Z"}"#,
            "\n",
            r#"{"event_time":"1970-01-01T00:00:00.001Z","ok":null,"n":null,"v":null,"a,\"b\"":null,"at":null}"#,
            "\n"
        );
        check(Style::Json, None, expected);
        for line in expected.lines() {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(value.as_object().map(|object| object.len()), Some(6));
        }
    }

    #[test]
    fn rows_as_csv() {
        let expected = concat!(
            "2026-01-01T00:00:00.407Z,true,7,0.1,plain,2026-01-01T00:00:00Z\n",
            "1969-12-31T23:59:59.999999Z,false,-9223372036854775808,NaN,\"a,\"\"b\"\"\nc\u{1}\\é\",1970-01-01T00:00:00Z\n",
            "1970-01-01T00:00:00Z,true,0,-inf,\"\",1970-01-01T00:00:00.000001Z\n",
            "1970-01-01T00:00:00.001Z,,,,,\n"
        );
        check(Style::Csv, Some("event_time,ok,n,v,\"a,\"\"b\"\"\",at"), expected);
    }

    /// The significant digits of a number.
    fn digits(number: &str) -> String {
        let mantissa = number.split('e').next().unwrap_or_default();
        mantissa.replace(['-', '.'], "").trim_matches('0').to_owned()
    }

    #[test]
    fn floats_read_back_as_themselves() {
        let mut bits = 1u64;
        let mut text = String::new();
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for value in [f64::from_bits(bits), (bits >> 40) as f64 / 1000.0] {
                if value.is_finite() {
                    text.clear();
                    write_json_float(&mut text, value);
                    assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{text}");
                    assert_eq!(digits(&text).len(), digits(&format!("{value:e}")).len(), "{text}");
                }
            }
        }
    }
}
