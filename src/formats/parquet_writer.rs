//! Batches to a Parquet file: `event_time` and the fields, compressed with zstd; origin, sequence and stamp stay out.
//!
//! A Parquet file can be read once its footer is there, that is after [`ParquetWriter::finish`]. Until then whole row
//! groups go out as they fill (131,072 rows or 64 MiB), so memory stays bounded. The rows and their order are those of
//! the batches; where pages end depends on how the rows were cut, so two files of the same rows may differ in their
//! bytes.

use crate::batch::Batch;
use crate::schema::{SYSTEM, SYSTEM_NAMES, Schema};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

const ROWS_MAX: usize = 1 << 17;
const BYTES_MAX: usize = 64 << 20;

/// Writes records of one schema as Parquet.
pub struct ParquetWriter<W: Write + Send>(ArrowWriter<W>);

impl<W: Write + Send> ParquetWriter<W> {
    /// A file of records with these columns, into `target`.
    pub fn new(schema: SchemaRef, target: W) -> io::Result<ParquetWriter<W>> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROWS_MAX))
            .set_created_by(concat!("eagre ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        ArrowWriter::try_new(target, schema, Some(properties)).map(ParquetWriter).map_err(into_io)
    }

    /// Appends records.
    pub fn write(&mut self, records: &RecordBatch) -> io::Result<()> {
        self.0.write(records).map_err(into_io)?;
        if self.0.in_progress_size() >= BYTES_MAX { self.0.flush().map_err(into_io) } else { Ok(()) }
    }

    /// How many bytes the file has so far, about: those in memory are counted as they will be compressed.
    pub fn bytes(&self) -> u64 {
        (self.0.bytes_written() + self.0.in_progress_size()) as u64
    }

    /// Writes the last rows and the footer.
    pub fn finish(&mut self) -> io::Result<()> {
        self.0.finish().map(drop).map_err(into_io)
    }

    /// What is written to.
    pub fn target(&self) -> &W {
        self.0.inner()
    }

    /// The same, to be waited for; nothing may be written to it.
    pub fn target_mut(&mut self) -> &mut W {
        self.0.inner_mut()
    }
}

/// The columns that go into the file of a stream with these fields.
pub fn columns(schema: &Schema) -> SchemaRef {
    let all = schema.arrow().fields();
    Arc::new(ArrowSchema::new(kept(all.len()).map(|i| all[i].clone()).collect::<Vec<_>>()))
}

/// What goes into the file of the rows of a batch.
pub fn records(batch: &Batch) -> RecordBatch {
    let all = batch.records();
    let kept: Vec<usize> = kept(all.num_columns()).collect();
    all.project(&kept).expect("columns of this batch")
}

/// Gives the first records of a file that is complete, as many as `rows` says, piece by piece.
pub fn read(path: &Path, rows: u64, mut each: impl FnMut(RecordBatch) -> io::Result<()>) -> io::Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(into_io)?;
    let reader = reader.with_limit(usize::try_from(rows).unwrap_or(usize::MAX)).build().map_err(into_io)?;
    reader.into_iter().try_for_each(|records| each(records.map_err(io::Error::other)?))
}

/// How many rows a file has that is complete.
pub fn rows_of(path: &Path) -> io::Result<u64> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(into_io)?;
    Ok(reader.metadata().file_metadata().num_rows() as u64)
}

/// The event time and the fields.
fn kept(columns: usize) -> impl Iterator<Item = usize> {
    debug_assert_eq!(SYSTEM_NAMES[0], "event_time");
    std::iter::once(0).chain(SYSTEM..columns)
}

fn into_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::schema::{Field, Kind};
    use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Float64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn written(cuts: &[usize]) -> Vec<u8> {
        let schema = Schema::new([Field::new("value", Kind::Float)]);
        let mut writer = ParquetWriter::new(columns(&schema), Vec::new()).expect("memory");
        let mut from = 0;
        for rows in cuts {
            let times: Vec<i64> = (from..from + rows).map(|i| i as i64).collect();
            let values: Vec<Option<f64>> = times.iter().map(|t| (t % 7 != 0).then_some(*t as f64 / 8.0)).collect();
            let head = Head { sequences: times.clone(), origins: vec![0; *rows], times, ..Head::default() };
            let batch = Batch::new(&schema, head, vec![Arc::new(Float64Array::from(values)) as ArrayRef]);
            writer.write(&records(&batch)).expect("memory");
            from += rows;
        }
        writer.finish().expect("memory");
        writer.target().clone()
    }

    fn read_back(bytes: &[u8]) -> (usize, arrow::array::RecordBatch) {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("a.parquet");
        std::fs::write(&path, bytes).expect("a file");
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).expect("the file")).expect("Parquet");
        let (groups, schema) = (reader.metadata().num_row_groups(), reader.schema().clone());
        let batches: Vec<_> = reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
        (groups, concat_batches(&schema, &batches).expect("one schema"))
    }

    #[test]
    fn a_file_reads_back_however_its_batches_were_cut() {
        let (groups, all) = read_back(&written(&[200_000]));
        assert_eq!((groups, &all), (2, &read_back(&written(&[1, 99_999, 100_000])).1));
        assert_eq!(
            all.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(),
            ["event_time", "value"]
        );
        let values = all.column(1).as_primitive::<Float64Type>();
        assert_eq!((all.num_rows(), values.null_count(), values.value(8)), (200_000, 28_572, 1.0));
    }
}
