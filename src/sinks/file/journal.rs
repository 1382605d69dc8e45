//! The rows of a Parquet file that is under way, in a form that can be cut back: Parquet itself is whole only with its
//! footer.
//!
//! A journal is a row of frames: a length (u32, little-endian), then so many bytes, which are an Arrow IPC stream
//! compressed with zstd. Rows are gathered until a frame is worth it or the journal is sealed.

use super::durable::Mark;
use super::part::{Counted, How};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::mem;
use std::path::Path;

const FRAME_ROWS: usize = 8_192;
const LEVEL: i32 = 1;

/// The journal of a file that is under way.
pub struct Journal {
    file: Counted,
    waiting: Vec<RecordBatch>,
    rows: usize,
}

impl Journal {
    /// Begins the journal of the file at that place.
    pub fn create(at: &Path) -> io::Result<Journal> {
        let file = Counted::open(&at.with_extension("journal"), How::New, true)?;
        Ok(Journal { file, waiting: Vec::new(), rows: 0 })
    }

    /// Gives all records of a journal, in order, and goes on with it.
    pub fn reopen(at: &Path, each: impl FnMut(RecordBatch) -> io::Result<()>) -> io::Result<Journal> {
        read(&at.with_extension("journal"), each)?;
        let file = Counted::open(&at.with_extension("journal"), How::Kept, true)?;
        Ok(Journal { file, waiting: Vec::new(), rows: 0 })
    }

    /// The columns of the records of a journal; `None` where it has none.
    pub fn columns(at: &Path) -> io::Result<Option<SchemaRef>> {
        let mut file = BufReader::new(File::open(at.with_extension("journal"))?);
        let first = next(&mut file)?;
        first
            .map(|frame| StreamReader::try_new(&frame[..], None).map(|reader| reader.schema()).map_err(into_io))
            .transpose()
    }

    /// Takes records.
    pub fn write(&mut self, records: RecordBatch) -> io::Result<()> {
        self.rows += records.num_rows();
        self.waiting.push(records);
        if self.rows >= FRAME_ROWS { self.write_frame() } else { Ok(()) }
    }

    /// Makes all that was written durable, and says how far it has come.
    pub fn seal(&mut self) -> io::Result<Mark> {
        self.write_frame()?;
        self.file.sync()?;
        Ok(self.file.mark())
    }

    fn write_frame(&mut self) -> io::Result<()> {
        let waiting = mem::take(&mut self.waiting);
        self.rows = 0;
        let [first, ..] = &waiting[..] else { return Ok(()) };
        let frame = frame(&concat_batches(&first.schema(), &waiting).map_err(into_io)?).map_err(into_io)?;
        let bytes = zstd::encode_all(&frame[..], LEVEL)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&bytes)
    }
}

fn frame(records: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &records.schema())?;
    writer.write(records)?;
    writer.into_inner()
}

fn read(journal: &Path, mut each: impl FnMut(RecordBatch) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufReader::new(File::open(journal)?);
    while let Some(frame) = next(&mut file)? {
        for records in StreamReader::try_new(&frame[..], None).map_err(into_io)? {
            each(records.map_err(into_io)?)?;
        }
    }
    Ok(())
}

/// The next frame, decompressed; `None` at the end.
fn next(file: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    file.read_exact(&mut bytes)?;
    zstd::decode_all(&bytes[..]).map(Some)
}

fn into_io(error: ArrowError) -> io::Error {
    io::Error::other(error)
}
