//! Parquet to columns: some rows at a time, only the columns that are wanted, each cast to its field's kind.
//!
//! - A field of a file is of the kind that holds its Arrow type ([`Kind::of`]); columns that no kind holds (lists,
//!   structures, bytes) are not offered.
//! - The job may say how a field is written: an int as a float, an int as a time in a unit, text as a time.
//! - A row is rejected where a value does not fit its kind (an unsigned integer beyond 63 bits, a time that is not of
//!   the years 1 to 9999) or the event time is null.
//! - A row's sequence is its number in the file.

use crate::fault::{self, Failure};
use crate::formats::table::{TIMES, bad};
use crate::formats::{Bad, Rows, TimeFrom, TimeUnit, Wanted, Written};
use crate::schema::{Field, Kind, SYSTEM_NAMES, Schema};
use crate::time;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{self, CastOptions};
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit as ArrowUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

/// The fields that a file offers, in its order: those of a kind, with a name that no system column has.
pub fn schema_of(file: File) -> Result<Schema, Failure> {
    Ok(offered(metadata(&file)?.schema()))
}

/// The rows of a file, from one of them on: read here some at a time, or row group by row group elsewhere.
pub struct RowGroups {
    file: File,
    metadata: ArrowReaderMetadata,
    columns: Columns,
    /// The row group that is being read.
    open: Option<ParquetRecordBatchReader>,
    /// The row group that comes next, and how many of its rows are left out.
    group: usize,
    skip: usize,
    next: i64,
    /// The number of the first row of the row group that is being read.
    begins: i64,
}

/// What is read of every row group, and how many rows at a time.
#[derive(Clone)]
struct Columns {
    mask: ProjectionMask,
    wanted: Wanted,
    batch: usize,
}

impl RowGroups {
    /// Opens a file at row number `from`; gives up to `batch` rows at a time. The error says which field is not there
    /// or of which kind it is, or why the file is no Parquet.
    pub fn open(file: File, wanted: Wanted, from: i64, batch: usize) -> Result<RowGroups, Failure> {
        let metadata = metadata(&file)?;
        let names = names(&wanted);
        for (name, written) in &names {
            check_field(metadata.schema(), name, *written)?;
        }
        let roots = names.iter().filter_map(|(name, _)| metadata.schema().index_of(name).ok());
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.collect::<Vec<_>>());
        let mut skip = usize::try_from(from).map_err(|_| Failure::new(format!("row {from} is before the first")))?;
        let mut group = 0;
        while group < metadata.metadata().num_row_groups() && rows_of(&metadata, group) <= skip {
            skip -= rows_of(&metadata, group);
            group += 1;
        }
        let columns = Columns { mask, wanted, batch };
        Ok(RowGroups { file, metadata, columns, open: None, group, skip, next: from, begins: 0 })
    }

    /// The number of rows in the file.
    pub fn rows(&self) -> i64 {
        self.metadata.metadata().file_metadata().num_rows()
    }

    /// The number of the row that comes next.
    pub fn next_row(&self) -> i64 {
        self.next
    }

    /// The next rows; `None` behind the last.
    pub fn read(&mut self) -> Result<Option<Rows>, Failure> {
        loop {
            let Some(open) = &mut self.open else {
                if self.group == self.metadata.metadata().num_row_groups() {
                    return Ok(None);
                }
                let group = self.next_group();
                let file = self.file.try_clone().map_err(|e| Failure::new(e.to_string()))?;
                self.open = Some(group.reader(file)?);
                continue;
            };
            if let Some(rows) = self.columns.read(open, self.next)? {
                self.next += (rows.times.len() + rows.bad.len()) as i64;
                return Ok(Some(rows));
            }
            self.open = None;
        }
    }

    /// The rest of the row group that is being read, or the next as a whole, to be read elsewhere; `None` where there
    /// is none, or where what is wanted of it takes more than `bytes_max`.
    pub fn take(&mut self, bytes_max: usize) -> Option<RowGroup> {
        let number = self.group - usize::from(self.open.is_some());
        let group = self.metadata.metadata().row_groups().get(number)?;
        let leaves = group.columns().iter().enumerate().filter(|(leaf, _)| self.columns.mask.leaf_included(*leaf));
        let bytes: i64 = leaves.map(|(_, column)| column.uncompressed_size()).sum();
        if usize::try_from(bytes).is_ok_and(|bytes| bytes > bytes_max) {
            return None;
        }
        if self.open.take().is_some() {
            (self.group, self.skip) = (number, (self.next - self.begins) as usize);
        }
        let group = self.next_group();
        self.next += group.rows() as i64;
        Some(group)
    }

    fn next_group(&mut self) -> RowGroup {
        let (number, skip) = (self.group, std::mem::take(&mut self.skip));
        (self.group, self.begins) = (number + 1, self.next - skip as i64);
        RowGroup { metadata: self.metadata.clone(), columns: self.columns.clone(), number, skip, first: self.next }
    }
}

/// A row group that is still to be read.
pub struct RowGroup {
    metadata: ArrowReaderMetadata,
    columns: Columns,
    number: usize,
    skip: usize,
    /// The number of its first row.
    first: i64,
}

impl RowGroup {
    /// Reads all rows, by a file of its own: reading moves its place. With the error goes the number of the row that
    /// could not be read; those before it are given.
    pub fn read(self, file: File, give: &mut dyn FnMut(Rows)) -> Result<(), (i64, Failure)> {
        let mut next = self.first;
        let mut open = self.reader(file).map_err(|failure| (next, failure))?;
        while let Some(rows) = self.columns.read(&mut open, next).map_err(|failure| (next, failure))? {
            next += (rows.times.len() + rows.bad.len()) as i64;
            give(rows);
        }
        let (found, wanted) = (next - self.first, self.rows() as i64);
        let wrong = || Failure::new(format!("row group {} has {found} rows, wanted {wanted}", self.number));
        if found == wanted { Ok(()) } else { Err((next, wrong())) }
    }

    fn rows(&self) -> usize {
        rows_of(&self.metadata, self.number) - self.skip
    }

    fn reader(&self, file: File) -> Result<ParquetRecordBatchReader, Failure> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let builder = builder.with_projection(self.columns.mask.clone()).with_row_groups(vec![self.number]);
        let builder = builder.with_offset(self.skip).with_batch_size(self.columns.batch);
        builder.build().map_err(|e| broken(&e))
    }
}

impl Columns {
    fn read(&self, from: &mut ParquetRecordBatchReader, next: i64) -> Result<Option<Rows>, Failure> {
        let Some(batch) = from.next() else { return Ok(None) };
        let batch = batch.map_err(|e| Failure::new(format!("after row {next}: {e}")))?;
        rows(&self.wanted, &batch, next).map(Some)
    }
}

fn metadata(file: &File) -> Result<ArrowReaderMetadata, Failure> {
    ArrowReaderMetadata::load(file, ArrowReaderOptions::default()).map_err(|e| broken(&e))
}

fn rows_of(metadata: &ArrowReaderMetadata, group: usize) -> usize {
    usize::try_from(metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
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

/// The rows that do not fit, and why.
type Misfits = BTreeMap<usize, String>;

fn rows(wanted: &Wanted, batch: &RecordBatch, first: i64) -> Result<Rows, Failure> {
    let mut misfits = Misfits::new();
    let column = |name: &str, written: Written, misfits: &mut Misfits| {
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
    if times.null_count() > 0 {
        for row in (0..batch.num_rows()).filter(|row| times.is_null(*row)) {
            misfits.entry(row).or_insert_with(|| format!("field `{name}`: found null, wanted the event time"));
        }
    }
    split(batch, first, columns, times, misfits)
}

/// Takes the misfits out of the rows.
fn split(
    batch: &RecordBatch,
    first: i64,
    columns: Vec<ArrayRef>,
    times: &TimestampMicrosecondArray,
    mut misfits: Misfits,
) -> Result<Rows, Failure> {
    let all = 0..batch.num_rows();
    if misfits.is_empty() {
        let sequences = all.map(|row| first + row as i64).collect();
        return Ok(Rows { columns, times: times.values().to_vec(), sequences, bad: Vec::new() });
    }
    let keep: BooleanArray = all.clone().map(|row| Some(!misfits.contains_key(&row))).collect();
    let columns = columns.iter().map(|c| compute::filter(c, &keep)).collect::<Result<_, _>>()?;
    let mut rows = Rows { columns, ..Rows::default() };
    for row in all {
        let sequence = first + row as i64;
        match misfits.remove(&row) {
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
fn note_misfits(name: &str, kind: Kind, from: &ArrayRef, to: &ArrayRef, misfits: &mut Misfits) {
    if to.null_count() == from.logical_null_count() {
        return;
    }
    let before = from.logical_nulls();
    let wanted = if kind == Kind::Time { "of the years 1 to 9999" } else { "of 64 bits" };
    for row in (0..to.len()).filter(|row| to.is_null(*row)) {
        if before.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            misfits.entry(row).or_insert_with(|| format!("field `{name}`: found a value that is no {kind} {wanted}"));
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
        (Some(Kind::Float), _) => to(&DataType::Float64)?
            .as_primitive::<Float64Type>()
            .unary_opt(|number| written.unit.micros_of_float(number)),
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
    let all_fit = times.values().iter().fold(true, |all, time| all & TIMES.contains(time));
    let times = if all_fit { times } else { times.unary_opt(|time| Some(time).filter(|time| TIMES.contains(time))) };
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
    use parquet::file::properties::WriterProperties;

    fn file(columns: Vec<(&str, ArrayRef)>) -> File {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).expect("columns");
        let file = tempfile::tempfile().expect("a temporary file");
        // Two row groups: one of two rows, one of one.
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let target = file.try_clone().expect("a file");
        let mut writer = ArrowWriter::try_new(target, batch.schema(), Some(properties)).expect("a writer");
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
                assert_eq!(by_groups(&wanted, from, 0), text, "{fields}");
                assert_eq!(by_groups(&wanted, from, 1), text, "{fields}");
            }
        }
        assert_eq!(text, expected, "{fields}");
    }

    /// The same, each row group on its own, but for some rows that are read before.
    fn by_groups(wanted: &Wanted, from: i64, before: usize) -> String {
        let mut groups = RowGroups::open(example(), wanted.clone(), from, 1).expect("a file");
        assert!(groups.take(0).is_none(), "all take more than no memory");
        let mut text = String::new();
        for rows in std::iter::from_fn(|| groups.read().expect("rows")).take(before) {
            text += &text_of(wanted, rows);
        }
        while let Some(group) = groups.take(1 << 20) {
            group.read(example(), &mut |rows| text += &text_of(wanted, rows)).expect("rows");
        }
        assert_eq!(groups.next_row(), groups.rows());
        text
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
2 ! field `ms`: found a value that is no time of the years 1 to 9999
",
        );
        check("day='time'\n", "day", 2, "2 2024-10-04T00:00:00Z {\"day\":\"2024-10-04T00:00:00Z\"}\n");
        check(
            "text='time'\n",
            "text",
            0,
            "\
0 2026-01-01T00:00:00Z {\"text\":\"2026-01-01T00:00:00Z\"}
1 ! field `text`: found a value that is no time of the years 1 to 9999
2 ! field `text`: found null, wanted the event time
",
        );
        check("day='time'", "day", 3, "");
        check(
            "day='time'",
            "day",
            1,
            "1 1970-01-02T00:00:00Z {\"day\":\"1970-01-02T00:00:00Z\"}\n2 2024-10-04T00:00:00Z {\"day\":\"2024-10-04T00:00:00Z\"}\n",
        );
    }

    #[test]
    fn times_are_those_of_the_years_1_to_9999() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("float", Arc::new(Float32Array::from(vec![1.5, -1.0, 1e30]))),
            ("us", Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN, 5]))),
            ("stamp", Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, 7, i64::MAX]))),
        ];
        let read = |field: &str, kind: &str| {
            let wanted = wanted(&format!("{field}='{kind}'"), field);
            let mut groups = RowGroups::open(file(columns.clone()), wanted, 0, 3).expect("a file");
            let rows: Vec<Rows> = std::iter::from_fn(|| groups.read().expect("rows")).collect();
            let reasons = rows.iter().flat_map(|r| r.bad.iter().map(|b| b.reason.clone())).collect::<Vec<_>>();
            (rows.iter().flat_map(|r| r.times.clone()).collect::<Vec<_>>(), reasons)
        };
        let bad = |field: &str| format!("field `{field}`: found a value that is no time of the years 1 to 9999");
        assert_eq!(read("us", "time(us)"), (vec![5], vec![bad("us"), bad("us")]));
        assert_eq!(read("stamp", "time"), (vec![7], vec![bad("stamp"), bad("stamp")]));
        assert_eq!(read("float", "time(s)"), (vec![1_500_000, -1_000_000], vec![bad("float")]));
        assert_eq!(read("float", "time(ns)"), (vec![0, -1], vec![bad("float")]));
    }

    #[test]
    fn fields_that_are_not_there_are_said() {
        check("day='time'\nsmal='int'", "day", 0, "no column `smal`, did you mean `small`?");
        check("day='time'\nhalf='int'", "day", 0, "column `half`: found Float32, wanted int");
        check("day='time'\nbytes='text'", "day", 0, "column `bytes`: found Binary, wanted text");
        check("ms='time'", "ms", 0, "column `ms`: found Int64, wanted time");
    }
}
