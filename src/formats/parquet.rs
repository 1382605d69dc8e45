//! Parquet to columns: some rows at a time, only the columns that are wanted, each cast to its field's kind.
//!
//! - A field of a file is of the kind that holds its Arrow type ([`Kind::of`]); columns that no kind holds (lists,
//!   structures, bytes) are not offered.
//! - The job may say how a field is written: an int as a float, an int as a time in a unit, text as a time.
//! - A row is rejected where a value does not fit its kind (an unsigned integer beyond 63 bits) or the event time is
//!   null.
//! - A row's sequence is its number in the file.

use crate::fault::{self, Failure};
use crate::formats::table::bad;
use crate::formats::{Bad, Rows, TimeFrom, TimeUnit, Wanted, Written};
use crate::schema::{Field, Kind, SYSTEM_NAMES, Schema};
use crate::time::{self, EventTime};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{self, CastOptions};
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit as ArrowUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::fs::File;
use std::sync::Arc;

/// The fields that a file offers, in its order: those of a kind, with a name that no system column has.
pub fn schema_of(file: File) -> Result<Schema, Failure> {
    Ok(offered(open(file)?.schema()))
}

/// The rows of a file, from one of them on.
pub struct RowGroups {
    batches: ParquetRecordBatchReader,
    wanted: Wanted,
    rows: i64,
    next: i64,
}

impl RowGroups {
    /// Opens a file at row number `from`; gives up to `batch` rows at a time. The error says which field is not there
    /// or of which kind it is, or why the file is no Parquet.
    pub fn open(file: File, wanted: Wanted, from: i64, batch: usize) -> Result<RowGroups, Failure> {
        let builder = open(file)?;
        let rows = builder.metadata().file_metadata().num_rows();
        let names = names(&wanted);
        for (name, written) in &names {
            check_field(builder.schema(), name, *written)?;
        }
        let roots = names.iter().filter_map(|(name, _)| builder.schema().index_of(name).ok());
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.collect::<Vec<_>>());
        let skip = usize::try_from(from).map_err(|_| Failure::new(format!("row {from} is before the first")))?;
        let batches = builder.with_projection(mask).with_offset(skip).with_batch_size(batch).build();
        Ok(RowGroups { batches: batches.map_err(|e| broken(&e))?, wanted, rows, next: from })
    }

    /// The number of rows in the file.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// The number of the row that comes next.
    pub fn next_row(&self) -> i64 {
        self.next
    }

    /// The next rows; `None` behind the last.
    pub fn read(&mut self) -> Result<Option<Rows>, Failure> {
        let Some(batch) = self.batches.next() else { return Ok(None) };
        let batch = batch.map_err(|e| Failure::new(format!("after row {}: {e}", self.next)))?;
        let rows = rows(&self.wanted, &batch, self.next)?;
        self.next += batch.num_rows() as i64;
        Ok(Some(rows))
    }
}

fn open(file: File) -> Result<ParquetRecordBatchReaderBuilder<File>, Failure> {
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| broken(&e))
}

fn broken(error: &parquet::errors::ParquetError) -> Failure {
    Failure::new(format!("not a whole Parquet file: {error}"))
        .help("write it again: a Parquet file is read from its end")
}

fn offered(schema: &SchemaRef) -> Schema {
    let fields = schema.fields().iter().filter(|f| !SYSTEM_NAMES.contains(&f.name().as_str()));
    Schema::new(fields.filter_map(|f| Kind::of(f.data_type()).map(|kind| Field::new(f.name(), kind))))
}

/// The wanted fields and the event time's, each once.
fn names(wanted: &Wanted) -> Vec<(String, Written)> {
    let mut names: Vec<_> = wanted.schema.names().map(str::to_owned).zip(wanted.written.iter().copied()).collect();
    if let TimeFrom::Field(name, written) = &wanted.event_time
        && wanted.schema.index_of(name).is_none()
    {
        names.push((name.clone(), *written));
    }
    names
}

fn check_field(schema: &SchemaRef, name: &str, written: Written) -> Result<(), Failure> {
    let Ok(field) = schema.field_with_name(name) else {
        let near = fault::nearest(name, schema.fields().iter().map(|f| f.name().as_str()));
        let near = near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
        return Err(Failure::new(format!("no column `{name}`{near}")));
    };
    let fits = match (Kind::of(field.data_type()), written.kind) {
        (Some(Kind::Int), Kind::Float) => true,
        (Some(Kind::Int | Kind::Float), Kind::Time) => written.unit != TimeUnit::Text,
        (Some(Kind::Text), Kind::Time) => written.unit == TimeUnit::Text,
        (kind, wanted) => kind == Some(wanted),
    };
    if fits {
        return Ok(());
    }
    Err(Failure::new(format!("column `{name}`: found {}, wanted {}", field.data_type(), written.kind)))
}

fn rows(wanted: &Wanted, batch: &RecordBatch, first: i64) -> Result<Rows, Failure> {
    let mut misfits: Vec<Option<String>> = vec![None; batch.num_rows()];
    let column = |name: &str, written: Written, misfits: &mut Vec<Option<String>>| {
        let from = batch.column_by_name(name).expect("a column that opening has checked");
        let to = cast(from, written)?;
        note_misfits(name, written.kind, from, &to, misfits);
        Ok::<ArrayRef, Failure>(to)
    };
    let mut columns = Vec::new();
    for (field, written) in wanted.schema.fields().iter().zip(&wanted.written) {
        columns.push(column(&field.name, *written, &mut misfits)?);
    }
    let TimeFrom::Field(name, written) = &wanted.event_time else {
        return Err(Failure::new("a Parquet file has no envelopes").help("name the field that is the event time"));
    };
    let times = column(name, *written, &mut misfits)?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    for row in (0..batch.num_rows()).filter(|row| times.is_null(*row)) {
        misfits[row].get_or_insert_with(|| format!("field `{name}`: found null, wanted the event time"));
    }
    split(batch, first, columns, times, misfits)
}

/// Takes the misfits out of the rows.
fn split(
    batch: &RecordBatch,
    first: i64,
    columns: Vec<ArrayRef>,
    times: &TimestampMicrosecondArray,
    misfits: Vec<Option<String>>,
) -> Result<Rows, Failure> {
    let all = 0..batch.num_rows();
    if misfits.iter().all(Option::is_none) {
        let sequences = all.map(|row| first + row as i64).collect();
        return Ok(Rows { columns, times: times.values().to_vec(), sequences, bad: Vec::new() });
    }
    let keep: BooleanArray = misfits.iter().map(|m| Some(m.is_none())).collect();
    let columns = columns.iter().map(|c| compute::filter(c, &keep)).collect::<Result<_, _>>()?;
    let mut rows = Rows { columns, ..Rows::default() };
    for (row, misfit) in misfits.into_iter().enumerate() {
        let sequence = first + row as i64;
        match misfit {
            Some(reason) => rows.bad.push(bad_row(batch, row, sequence, rows.times.len(), reason)?),
            None => {
                rows.times.push(times.value(row));
                rows.sequences.push(sequence);
            }
        }
    }
    Ok(rows)
}

fn bad_row(batch: &RecordBatch, row: usize, sequence: i64, after: usize, reason: String) -> Result<Bad, Failure> {
    let options = FormatOptions::default().with_null("null");
    let mut payload = String::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let value = ArrayFormatter::try_new(column, &options)?.value(row).to_string();
        payload.push_str(&format!("{}{}={value}", if payload.is_empty() { "" } else { " " }, field.name()));
    }
    Ok(bad(sequence, after, reason, payload.as_bytes()))
}

/// A value that was there and is not after the cast did not fit.
fn note_misfits(name: &str, kind: Kind, from: &ArrayRef, to: &ArrayRef, misfits: &mut [Option<String>]) {
    if to.null_count() == from.logical_null_count() {
        return;
    }
    let before = from.logical_nulls();
    for (row, misfit) in misfits.iter_mut().enumerate() {
        if to.is_null(row) && before.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            misfit.get_or_insert_with(|| format!("field `{name}`: found a value that is no {kind} of 64 bits"));
        }
    }
}

/// A column as its field's kind has it; null where a value does not fit.
fn cast(from: &ArrayRef, written: Written) -> Result<ArrayRef, Failure> {
    let to =
        |to: &DataType| compute::cast_with_options(from, to, &CastOptions { safe: true, ..CastOptions::default() });
    if written.kind != Kind::Time {
        return Ok(to(&written.kind.arrow())?);
    }
    let times: TimestampMicrosecondArray = match (Kind::of(from.data_type()), from.data_type()) {
        (Some(Kind::Int), _) => {
            to(&DataType::Int64)?.as_primitive::<Int64Type>().unary_opt(|number| written.unit.micros(number))
        }
        (Some(Kind::Float), _) => {
            let scale = written.unit.micros(1).map_or(1e-3, |micros| micros as f64);
            let micros =
                |number: f64| Some((number * scale).round()).filter(|m| m.abs() < 9e18).map(|m| m as EventTime);
            to(&DataType::Float64)?.as_primitive::<Float64Type>().unary_opt(micros)
        }
        (Some(Kind::Text), _) => {
            let texts = to(&DataType::Utf8)?;
            texts.as_string::<i32>().iter().map(|text| text.and_then(|t| time::parse(t).ok())).collect()
        }
        // Only the label of the zone changes: the numbers count from 1970 UTC whatever it says.
        (_, DataType::Timestamp(_, zone)) => to(&DataType::Timestamp(ArrowUnit::Microsecond, zone.clone()))?
            .as_primitive::<TimestampMicrosecondType>()
            .clone(),
        _ => to(&DataType::Timestamp(ArrowUnit::Microsecond, None))?.as_primitive::<TimestampMicrosecondType>().clone(),
    };
    Ok(Arc::new(times.with_timezone("UTC")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::table::text_of;
    use arrow::array::{
        Date32Array, Float32Array, Int32Array, Int64Array, StringArray, TimestampNanosecondArray, UInt64Array,
    };
    use parquet::arrow::ArrowWriter;

    fn file(columns: Vec<(&str, ArrayRef)>) -> File {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).expect("columns");
        let file = tempfile::tempfile().expect("a temporary file");
        let mut writer =
            ArrowWriter::try_new(file.try_clone().expect("a file"), batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("a written batch");
        writer.close().expect("a closed file");
        file
    }

    fn example() -> File {
        file(vec![
            ("ns", Arc::new(TimestampNanosecondArray::from(vec![Some(1_999), None, Some(3_000)]))),
            ("day", Arc::new(Date32Array::from(vec![0, 1, 20_000]))),
            ("ms", Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(i64::MAX)]))),
            ("text", Arc::new(StringArray::from(vec![Some("2026-01-01"), Some("x"), None]))),
            ("small", Arc::new(Int32Array::from(vec![7, 8, 9]))),
            ("half", Arc::new(Float32Array::from(vec![0.5, f32::NAN, -1.0]))),
            ("huge", Arc::new(UInt64Array::from(vec![1, u64::MAX, 3]))),
            ("bytes", Arc::new(arrow::array::BinaryArray::from(vec![&b"x"[..], b"y", b"z"]))),
        ])
    }

    fn wanted(fields: &str, event_time: &str) -> Wanted {
        let fields: crate::formats::Fields = toml::from_str(fields).expect("fields");
        let schema = fields.schema();
        Wanted {
            written: fields.written(&schema),
            event_time: TimeFrom::Field(event_time.into(), fields.0[event_time]),
            schema,
        }
    }

    fn check(fields: &str, event_time: &str, from: i64, expected: &str) {
        let wanted = wanted(fields, event_time);
        let mut text = String::new();
        match RowGroups::open(example(), wanted.clone(), from, 2) {
            Err(failure) => text = failure.message,
            Ok(mut groups) => {
                while let Some(rows) = groups.read().expect("rows") {
                    text += &text_of(&wanted, rows);
                }
                assert_eq!(groups.next_row(), groups.rows());
            }
        }
        assert_eq!(text, expected, "{fields}");
    }

    #[test]
    fn a_file_offers_the_columns_that_a_kind_holds() {
        let schema = schema_of(example()).expect("a schema");
        let expected = "{\"ns\": Time, \"day\": Time, \"ms\": Int, \"text\": Text, \"small\": Int, \"half\": Float, \"huge\": Int}";
        assert_eq!(format!("{schema:?}"), expected);
    }

    #[test]
    fn rows_are_cast_or_say_why_not() {
        check(
            "ns='time'\nsmall='float'\nhalf='float'",
            "ns",
            0,
            "\
0 1970-01-01T00:00:00.000001Z {\"half\":0.5,\"ns\":\"1970-01-01T00:00:00.000001Z\",\"small\":7.0}
1 ! field `ns`: found null, wanted the event time
2 1970-01-01T00:00:00.000003Z {\"half\":-1.0,\"ns\":\"1970-01-01T00:00:00.000003Z\",\"small\":9.0}
",
        );
        check(
            "ms='time(ms)'\nhuge='int'",
            "ms",
            0,
            "\
0 1970-01-01T00:00:00.001Z {\"huge\":1,\"ms\":\"1970-01-01T00:00:00.001Z\"}
1 ! field `huge`: found a value that is no int of 64 bits
2 ! field `ms`: found a value that is no time of 64 bits
",
        );
        check("day='time'\n", "day", 2, "2 2024-10-04T00:00:00Z {\"day\":\"2024-10-04T00:00:00Z\"}\n");
        check(
            "text='time'\n",
            "text",
            0,
            "\
0 2026-01-01T00:00:00Z {\"text\":\"2026-01-01T00:00:00Z\"}
1 ! field `text`: found a value that is no time of 64 bits
2 ! field `text`: found null, wanted the event time
",
        );
        check("day='time'", "day", 3, "");
    }

    #[test]
    fn fields_that_are_not_there_are_said() {
        check("day='time'\nsmal='int'", "day", 0, "no column `smal`, did you mean `small`?");
        check("day='time'\nhalf='int'", "day", 0, "column `half`: found Float32, wanted int");
        check("day='time'\nbytes='text'", "day", 0, "column `bytes`: found Binary, wanted text");
        check("ms='time'", "ms", 0, "column `ms`: found Int64, wanted time");
    }
}
