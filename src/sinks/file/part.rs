//! One file that is written to: lines, plain or compressed, or Parquet.
//!
//! A compressed file is a row of gzip members or zstd frames. [`Part::seal`] ends one, so that the file can be cut back
//! to there; the next row begins another.

use super::Compression;
use super::durable::{self, Mark};
use super::journal::Journal;
use crate::batch::Batch;
use crate::fault::Failure;
use crate::formats::encode::Lines;
use crate::formats::parquet_writer::{self, ParquetWriter};
use crate::schema::Schema;
use arrow::array::RecordBatch;
use flate2::write::GzEncoder;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is written into the files of a sink.
pub struct Kind {
    /// `None` for Parquet.
    pub lines: Option<Lines>,
    /// The fields.
    pub schema: Schema,
    /// How lines are compressed.
    pub compression: Compression,
}

/// Where the bytes of a file lie while it is written.
pub enum Place {
    /// Under its own name; what is there already is kept or not.
    Own { how: How },
    /// Aside, under another name, until it is complete.
    Aside { number: u64, path: PathBuf },
}

/// A file that is written to.
pub struct Part {
    /// Its own name.
    pub path: PathBuf,
    /// Its number among the files aside.
    pub aside: Option<u64>,
    /// How many rows it has.
    pub rows: u64,
    compression: Compression,
    target: Target,
    /// Lines that are not written yet.
    text: String,
    /// How many of the rows the operating system has.
    rows_written: u64,
    /// The rows of a Parquet file once more, in a form that survives a crash.
    journal: Option<Journal>,
    /// Whether its folder is still to be told to the disk.
    is_new: bool,
}

/// Where the bytes of a file go.
enum Target {
    /// A plain file, or a compressed one between two members.
    Plain(Counted),
    Gzip(GzEncoder<Counted>),
    Zstd(zstd::Encoder<'static, Counted>),
    Parquet(Box<ParquetWriter<Counted>>),
    /// Lost by an error.
    Gone,
}

/// How many bytes of lines are gathered before they are written.
const TEXT_MAX: usize = 256 * 1024;

impl Part {
    /// Begins a file, or goes on with it where what is there is kept. With `sealable` it must be one that can be cut.
    pub fn open(path: PathBuf, place: &Place, kind: &Kind, sealable: bool) -> Result<Part, Failure> {
        let (at, how, aside) = match place {
            Place::Own { how } => (path.as_path(), *how, None),
            Place::Aside { number, path } => (path.as_path(), How::New, Some(*number)),
        };
        let file = Counted::open(at, how, sealable).map_err(|error| cannot_open(&path, &error))?;
        if sealable && !file.regular {
            let message = format!("nothing is delivered exactly once to {}, which is no regular file", path.display());
            return Err(Failure::new(message).help("write delivery = \"at_least_once\""));
        }
        let is_new = file.bytes == 0;
        let mut part = Part { is_new, ..Part::around(path, aside, file, kind)? };
        if let (Place::Aside { path: at, .. }, None) = (place, &kind.lines) {
            part.journal = Some(Journal::create(at).map_err(|error| part.failure(error))?);
        }
        Ok(part)
    }

    /// Goes on with a file of lines aside, which has been cut back.
    pub fn reopen(path: PathBuf, number: u64, at: &Path, rows: u64, kind: &Kind) -> Result<Part, Failure> {
        let file = Counted::open(at, How::Kept, true).map_err(|error| cannot_open(&path, &error))?;
        Ok(Part { rows, rows_written: rows, ..Part::around(path, Some(number), file, kind)? })
    }

    /// Makes a Parquet file aside once more, out of its journal, which has been cut back.
    pub fn replay(path: PathBuf, number: u64, at: &Path, kind: &Kind) -> Result<Part, Failure> {
        let cannot = |error| cannot_open(&path, &error);
        // What is there may be another's.
        durable::remove(at).map_err(cannot)?;
        let file = Counted::open(at, How::New, true).map_err(cannot)?;
        let columns = Journal::columns(at).map_err(cannot)?.unwrap_or_else(|| parquet_writer::columns(&kind.schema));
        let target = Target::Parquet(Box::new(ParquetWriter::new(columns, file).map_err(cannot)?));
        let mut part = Part::of(path, Some(number), target, kind);
        let journal = Journal::reopen(at, |records| part.write_parquet(&records));
        part.journal = Some(journal.map_err(|error| part.failure(error))?);
        Ok(part)
    }

    /// Takes the first rows of a Parquet file that is complete; how many there were.
    pub fn import(&mut self, from: &Path, rows: u64) -> Result<u64, Failure> {
        let before = self.rows;
        let read = parquet_writer::read(from, rows, |records| self.write_records(records));
        read.map_err(|error| self.failure(error))?;
        Ok(self.rows - before)
    }

    fn around(path: PathBuf, aside: Option<u64>, file: Counted, kind: &Kind) -> Result<Part, Failure> {
        let header = kind.lines.as_ref().and_then(Lines::header).filter(|_| file.bytes == 0);
        let text = header.map_or(String::new(), |header| format!("{header}\n"));
        let target = match &kind.lines {
            Some(_) => Target::Plain(file),
            None => {
                let writer = ParquetWriter::new(parquet_writer::columns(&kind.schema), file);
                Target::Parquet(Box::new(writer.map_err(|error| cannot_open(&path, &error))?))
            }
        };
        Ok(Part { text, ..Part::of(path, aside, target, kind) })
    }

    fn of(path: PathBuf, aside: Option<u64>, target: Target, kind: &Kind) -> Part {
        let (text, compression) = (String::new(), kind.compression);
        Part { path, aside, rows: 0, compression, target, text, rows_written: 0, journal: None, is_new: false }
    }

    /// Whether it is Parquet.
    pub fn is_parquet(&self) -> bool {
        matches!(self.target, Target::Parquet(_))
    }

    /// Takes as many of the rows as fit below `roll_size`, but at least one; says how many.
    pub fn write(&mut self, batch: &Batch, rows: Range<usize>, kind: &Kind, roll_size: u64) -> Result<usize, Failure> {
        let Some(lines) = &kind.lines else {
            let records = parquet_writer::records(&batch.slice(rows.start, rows.len()));
            self.write_records(records).map_err(|error| self.failure(error))?;
            return Ok(rows.len());
        };
        let mut ready = lines.rows(batch);
        for row in rows.clone() {
            ready.write(row, &mut self.text);
            self.text.push('\n');
            self.rows += 1;
            if self.text.len() >= TEXT_MAX {
                self.hand_over()?;
            }
            if self.bytes() >= roll_size {
                return Ok(row + 1 - rows.start);
            }
        }
        Ok(rows.len())
    }

    fn write_records(&mut self, records: RecordBatch) -> io::Result<()> {
        self.write_parquet(&records)?;
        self.journal.as_mut().map_or(Ok(()), |journal| journal.write(records))
    }

    fn write_parquet(&mut self, records: &RecordBatch) -> io::Result<()> {
        self.rows += records.num_rows() as u64;
        match &mut self.target {
            Target::Parquet(writer) => writer.write(records),
            _ => Ok(()),
        }
    }

    /// How large the file is; of what waits to be compressed nothing is counted.
    pub fn bytes(&self) -> u64 {
        match &self.target {
            Target::Plain(file) => {
                file.bytes + if self.compression == Compression::None { self.text.len() as u64 } else { 0 }
            }
            Target::Gzip(encoder) => encoder.get_ref().bytes,
            Target::Zstd(encoder) => encoder.get_ref().bytes,
            Target::Parquet(writer) => writer.bytes(),
            Target::Gone => 0,
        }
    }

    /// Gives the lines gathered so far to the file or the compressor.
    fn hand_over(&mut self) -> Result<(), Failure> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.begin_member().map_err(|error| self.failure(error))?;
        let text = self.text.as_bytes();
        let written = match &mut self.target {
            Target::Plain(file) => file.write_whole(text),
            Target::Gzip(encoder) => encoder.write_all(text),
            Target::Zstd(encoder) => encoder.write_all(text),
            Target::Parquet(_) | Target::Gone => Ok(()),
        };
        written.map_err(|error| self.failure(error))?;
        self.text.clear();
        if matches!(self.target, Target::Plain(_)) {
            self.rows_written = self.rows;
        }
        Ok(())
    }

    fn begin_member(&mut self) -> io::Result<()> {
        self.target = match (mem::replace(&mut self.target, Target::Gone), self.compression) {
            (Target::Plain(file), Compression::Gzip) => {
                Target::Gzip(GzEncoder::new(file, flate2::Compression::default()))
            }
            (Target::Plain(file), Compression::Zstd) => Target::Zstd(zstd::Encoder::new(file, 0)?),
            (other, _) => other,
        };
        Ok(())
    }

    fn end_member(&mut self) -> io::Result<()> {
        self.target = match mem::replace(&mut self.target, Target::Gone) {
            Target::Gzip(encoder) => Target::Plain(encoder.finish()?),
            Target::Zstd(encoder) => Target::Plain(encoder.finish()?),
            other => other,
        };
        Ok(())
    }

    /// Gives all there is to the operating system, where it can be read already.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.rows_written == self.rows || matches!(self.target, Target::Parquet(_)) {
            return Ok(());
        }
        self.hand_over()?;
        let flushed = match &mut self.target {
            Target::Gzip(encoder) => encoder.flush(),
            Target::Zstd(encoder) => encoder.flush(),
            Target::Plain(_) | Target::Parquet(_) | Target::Gone => Ok(()),
        };
        flushed.map_err(|error| self.failure(error))?;
        self.rows_written = self.rows;
        Ok(())
    }

    /// Makes all rows so far durable; how far the file, or its journal, may be cut back to have them again.
    pub fn seal(&mut self) -> Result<Mark, Failure> {
        if let Some(journal) = &mut self.journal {
            let mark = journal.seal();
            return mark.map_err(|error| self.failure(error));
        }
        self.hand_over()?;
        let ended = self.end_member().and_then(|()| self.sync());
        ended.map_err(|error| self.failure(error))?;
        self.rows_written = self.rows;
        match &self.target {
            Target::Plain(file) => Ok(file.mark()),
            _ => Ok(Mark::default()),
        }
    }

    /// Ends the file and waits until the disk has it.
    pub fn close(&mut self) -> Result<(), Failure> {
        self.hand_over()?;
        let ended = self.end_member().and_then(|()| match &mut self.target {
            Target::Parquet(writer) => writer.finish(),
            _ => Ok(()),
        });
        ended.and_then(|()| self.sync()).map_err(|error| self.failure(error))
    }

    /// Waits until the disk has the file; one that lies aside is in a folder that others look after.
    fn sync(&mut self) -> io::Result<()> {
        let file = match &mut self.target {
            Target::Plain(file) => file,
            Target::Parquet(writer) => writer.target_mut(),
            Target::Gzip(_) | Target::Zstd(_) | Target::Gone => return Ok(()),
        };
        file.sync()?;
        if mem::take(&mut self.is_new) && self.aside.is_none() && file.regular {
            durable::sync_folder(durable::folder_of(&self.path))?;
        }
        Ok(())
    }

    fn failure(&self, error: io::Error) -> Failure {
        let path = self.path.display();
        let so_far = match self.target {
            _ if self.aside.is_some() => "the rows that the last checkpoint has of it are kept".to_owned(),
            Target::Parquet(_) => "the file has no footer yet and cannot be read".to_owned(),
            _ => format!("{} of {} rows had been written", self.rows_written, self.rows),
        };
        let failure = Failure::new(format!("cannot write to {path}: {error}; {so_far}"));
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                let help = "the disk is full: make room or choose another `path`, then run the job again; \
                    `compression` makes files smaller";
                failure.help(help)
            }
            ErrorKind::FileTooLarge => failure.help("the file is as large as the system allows: set `roll_size`"),
            ErrorKind::NotFound => failure.help("only one run of a job may write there; run it again to go on"),
            _ => failure.help("check the disk, then run the job again"),
        }
    }
}

fn cannot_open(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot open {} for writing: {error}", path.display()))
        .help("check the path, and who may write to its folder")
}

/// What becomes of what a file has when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is kept.
    Kept,
    /// It is taken away.
    Emptied,
    /// The file must not be there.
    New,
}

/// A file that knows how many bytes it has, and the last of them.
pub struct Counted {
    file: fs::File,
    bytes: u64,
    tail: Vec<u8>,
    regular: bool,
    /// How many bytes the disk has for sure.
    synced: Option<u64>,
    /// Where it lies, if nobody else may write there.
    alone_at: Option<PathBuf>,
}

impl Counted {
    /// Opens a file; with `alone`, one that no other run of the job writes to.
    pub fn open(path: &Path, how: How, alone: bool) -> io::Result<Counted> {
        durable::make_folder(durable::folder_of(path))?;
        let mut options = fs::OpenOptions::new();
        match how {
            How::Kept => options.append(true).create(true),
            How::Emptied => options.write(true).create(true),
            How::New => options.append(true).create_new(true),
        };
        let file = options.open(path)?;
        let regular = file.metadata()?.is_file();
        if regular && alone && durable::is_locked_by_another(&file)? {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "another run of the job writes to it"));
        }
        if regular && how == How::Emptied {
            file.set_len(0)?;
        }
        let bytes = if regular { file.metadata()?.len() } else { 0 };
        let tail = if bytes == 0 { Vec::new() } else { durable::tail_of(path, bytes)? };
        let alone_at = (regular && alone).then(|| path.to_owned());
        Ok(Counted { file, bytes, tail, regular, synced: None, alone_at })
    }

    /// How far it has come.
    pub fn mark(&self) -> Mark {
        Mark::new(self.bytes, &self.tail)
    }

    /// Writes all or, as far as the file allows it, nothing: a full disk leaves no half of a line behind.
    fn write_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = self.bytes;
        self.write_all(bytes).inspect_err(|_| {
            if self.regular && self.file.set_len(before).is_ok() {
                self.bytes = before;
            }
        })
    }

    /// Waits until the disk has all of it. An error is never tried again: the kernel may have dropped the data, and the
    /// next `fsync` says that all is well.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.regular && self.synced != Some(self.bytes) {
            self.file.sync_all()?;
            self.synced = Some(self.bytes);
        }
        match &self.alone_at {
            Some(path) if !durable::leads_to(path, &self.file)? => {
                let message = "it is not in its place: another run of the job has taken over, or somebody took it away";
                Err(io::Error::new(ErrorKind::NotFound, message))
            }
            _ => Ok(()),
        }
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        durable::keep_tail(&mut self.tail, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
