//! Results into files: JSON lines, CSV or Parquet, compressed or not, in one file or rolled by size or time.
//!
//! ```toml
//! [sink.archive]
//! kind = "file"
//! input = "windows"
//! path = "out/{name}/%Y-%m-%d/%H.json.gz"  # {name}: the sink's; {part}: the file's number; %...: the time (strftime)
//! # format = "json"        # json, csv or parquet; without it, by the path: .json .jsonl .ndjson .csv .parquet
//! # compression = "gzip"   # none, gzip or zstd; without it, by the path: .gz .zst
//! # append = false         # true: write behind what is there already
//! roll_size = "100MB"      # a new file when this one has so many bytes
//! roll_every = "1h"        # a file for every hour of event time
//! ```
//!
//! - A file appears with its first row, its folders with it. **What an earlier run left at the same path is replaced**;
//!   with `append = true` it is kept and written on (not Parquet, whose footer ends a file).
//! - Rows are written in order of event time, once the watermark has passed them (corrections and late records: at the
//!   time when they are told), so **lines are the same bytes in every run**, on any number of workers (compressed, the
//!   same once unpacked). When the job is stopped, rows that still waited for the watermark are written as well. A file
//!   that also takes what a source rejects, which has no time of its own, is written as rows come.
//! - No other sink may write the same file, and no source of the job read it, however it is called (links, `..`). Not
//!   seen are files whose names have the time in them (`%...`).
//! - With `roll_size` or `roll_every` files are numbered from 0: at `{part}`, or as `-00000` before the extension where
//!   the path has no `{part}`. Numbers begin again wherever another part of the path changes. With `append = true` the
//!   first number is one that no file has.
//! - `roll_every` goes by the rows' **event time**, not by the clock: each row lies in the file of its own hour,
//!   whenever it came, and `%...` in the path is the hour's beginning. The eight newest hours are open at a time; a row
//!   for one that is closed begins its next part.
//! - At every epoch what there is goes to the operating system, so a file can be followed as it grows; at the end of
//!   the job, or of the file, to the disk. Parquet is the exception: it can be read when the file is closed, and what
//!   was not closed is lost with the process.
//! - When the disk is full the job fails and says how far it came. A plain file then ends with a whole row.

use crate::batch::Batch;
use crate::fault::{Failure, Fault};
use crate::formats::encode::{Lines, Style};
use crate::formats::parquet_writer::ParquetWriter;
use crate::schema::Schema;
use crate::sink::{Opening, Shards, Sink, Writer};
use crate::source::Resource;
use crate::time::{EventTime, Interval, floor_to};
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The settings of a sink into files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSink {
    /// Where the file is; may name {name}, {part} and parts of the time.
    pub path: String,
    /// How rows are written.
    pub format: Option<Format>,
    /// How the file is compressed.
    pub compression: Option<Compression>,
    /// Whether to write behind what is there.
    #[serde(default)]
    pub append: bool,
    /// The size at which a new file begins.
    pub roll_size: Option<Size>,
    /// The event time that one file holds.
    pub roll_every: Option<Interval>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object on every line.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// A number of bytes, as `"100MB"` or `"64KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Size(u64);

impl Size {
    /// Reads `"500KB"`, `"1.5 MiB"`; the error says what would be right.
    pub fn parse(text: &str) -> Result<Size, String> {
        Size::try_from(text.to_owned())
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Size, String> {
        let wrong = || format!("`{text}` is not a size; write for example \"500KB\", \"100MB\" or \"1GiB\"");
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let unit = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text[at..])).ok_or_else(wrong)?.1;
        let bytes = text[..at].trim().parse::<f64>().map_err(|_| wrong())? * unit;
        if (1.0..1e18).contains(&bytes) { Ok(Size(bytes as u64)) } else { Err(wrong()) }
    }
}

const SIZES: [(&str, f64); 7] = [
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

impl Sink for FileSink {
    const NAME: &'static str = "file";

    fn writes(&self) -> Option<Resource> {
        let path = self.template().map_or_else(|_| self.path.clone(), |template| template.path);
        Some(Resource::File(path))
    }

    fn plan(&self, _input: &Schema, faults: &mut Vec<Fault>) {
        let ending = Ending::of(&self.path);
        let format = self.format.or(ending.format);
        if self.path.trim().is_empty() {
            faults.push(Fault::at("path", "the path is empty").help("write for example path = \"out/{name}.json\""));
        } else if format.is_none() {
            let message = format!("`{}` does not say how rows are written", self.path);
            faults.push(Fault::at("path", message).help("end it in .json, .csv or .parquet, or set format = \"json\""));
        }
        if format == Some(Format::Parquet) {
            if self.append {
                faults.push(
                    Fault::at("append", "a Parquet file cannot be appended to")
                        .help("set roll_size: each run then begins new files"),
                );
            }
            if self.compression.or(ending.compression).is_some() {
                let path = if self.compression.is_some() { "compression" } else { "path" };
                faults.push(Fault::at(path, "Parquet compresses its own pages, with zstd").help("leave it out"));
            }
        }
        if self.roll_every.is_some_and(Interval::is_zero) {
            faults.push(
                Fault::at("roll_every", "a file holds more than no time").help("write for example roll_every = \"1h\""),
            );
        }
        faults.extend(self.unknown_words());
        if let Err((message, help)) = self.template().map(drop) {
            faults.push(Fault::at("path", message).help(help));
        }
    }

    fn shards(&self) -> Shards {
        Shards::InOrder
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        let ending = Ending::of(&self.path);
        let format = self.format.or(ending.format).unwrap_or(Format::Json);
        let template = self.template().map_err(|(message, help)| Failure::new(message).help(help))?;
        let writer = Files {
            name: opening.name.to_owned(),
            schema: opening.input.clone(),
            lines: match format {
                Format::Json => Some(Lines::new(Style::Json, opening.input)),
                Format::Csv => Some(Lines::new(Style::Csv, opening.input)),
                Format::Parquet => None,
            },
            compression: self.compression.or(ending.compression).unwrap_or(Compression::None),
            append: self.append,
            roll_size: self.roll_size.map_or(u64::MAX, |size| size.0),
            roll_every: self.roll_every.map(Interval::micros),
            template,
            parts: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        writer.clear()?;
        Ok(Box::new(writer))
    }
}

impl FileSink {
    /// Words in braces that stand for nothing would be the name of a file.
    fn unknown_words(&self) -> Vec<Fault> {
        let braces = self.path.match_indices('{').map(|(at, _)| &self.path[at..]);
        let unknown = braces.filter(|rest| !["{name}", "{part}"].iter().any(|known| rest.starts_with(known)));
        let fault = |rest: &str| {
            let word = &rest[..rest.find('}').map_or(rest.len(), |end| end + 1)];
            let fault = Fault::at("path", format!("`{word}` stands for nothing in a path"));
            fault.help("{name} is the sink's name, {part} the file's number")
        };
        unknown.map(fault).collect()
    }

    /// The path with a place for the number where files are numbered; or what is wrong with it and what would be right.
    fn template(&self) -> Result<Template, (String, String)> {
        let rolls = self.roll_size.is_some() || self.roll_every.is_some();
        let mut path = self.path.clone();
        if rolls && !path.contains("{part}") {
            path.insert_str(path.len() - Ending::of(&path).length, "-{part}");
        }
        if !rolls && path.contains("{part}") {
            return Err((
                "files are numbered by {part}, but there is only one".into(),
                "set roll_size or roll_every too".into(),
            ));
        }
        let names_time = path.replace("%%", "").contains('%');
        if names_time && self.roll_every.is_none() {
            let help = "set roll_every too, or write %% for a percent sign".to_owned();
            return Err(("the path names a time, but one file holds all times".into(), help));
        }
        let template = Template { path };
        template.at(0).map_err(|reason| {
            (format!("`{}`: {reason}", self.path), "write for example %Y-%m-%d/%H; %% is a percent sign".to_owned())
        })?;
        Ok(template)
    }
}

/// What the end of a path says.
struct Ending {
    format: Option<Format>,
    compression: Option<Compression>,
    /// How many bytes of the path it takes.
    length: usize,
}

impl Ending {
    fn of(path: &str) -> Ending {
        let name = &path[path.rfind('/').map_or(0, |at| at + 1)..];
        let last = |name: &str| name.rfind('.').map(|at| (name[at + 1..].to_ascii_lowercase(), name.len() - at));
        let mut ending = Ending { format: None, compression: None, length: 0 };
        let mut rest = name;
        if let Some((word, length)) = last(rest) {
            ending.compression = match word.as_str() {
                "gz" | "gzip" => Some(Compression::Gzip),
                "zst" | "zstd" => Some(Compression::Zstd),
                _ => None,
            };
            if ending.compression.is_some() {
                ending.length = length;
                rest = &rest[..rest.len() - length];
            }
        }
        if let Some((word, length)) = last(rest) {
            ending.length += length;
            ending.format = match word.as_str() {
                "json" | "jsonl" | "ndjson" => Some(Format::Json),
                "csv" => Some(Format::Csv),
                "parquet" => Some(Format::Parquet),
                _ => None,
            };
        }
        ending
    }
}

/// A path with places to be filled.
struct Template {
    path: String,
}

impl Template {
    /// The path for rows of a time, names and numbers still to be filled in.
    fn at(&self, time: EventTime) -> Result<String, String> {
        let time = jiff::Timestamp::from_microsecond(time).map_err(|error| error.to_string())?;
        jiff::fmt::strtime::format(&self.path, &time.to_zoned(jiff::tz::TimeZone::UTC))
            .map_err(|error| error.to_string())
    }
}

/// All files of a sink.
struct Files {
    name: String,
    schema: Schema,
    /// `None` for Parquet.
    lines: Option<Lines>,
    compression: Compression,
    append: bool,
    roll_size: u64,
    roll_every: Option<i64>,
    template: Template,
    /// The next number, by the path with the number left open.
    parts: BTreeMap<String, u64>,
    /// The files that are written to, by the beginning of their time.
    open: BTreeMap<EventTime, Part>,
}

const OPEN_MAX: usize = 8;

impl Files {
    /// Takes away what an earlier run left, so that a run without results does not show the old ones.
    fn clear(&self) -> Result<(), Failure> {
        if self.append || self.template.path.contains("{part}") {
            return Ok(());
        }
        let path = self.path_at(0)?.replace("{name}", &self.name);
        if !fs::metadata(&path).is_ok_and(|found| found.is_file()) {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|error| {
            Failure::new(format!("cannot replace {path}: {error}")).help("check who may write to its folder")
        })
    }

    fn path_at(&self, time: EventTime) -> Result<String, Failure> {
        self.template.at(time).map_err(|reason| Failure::new(format!("no file name for rows of this time: {reason}")))
    }

    /// The beginning of the time whose file a row belongs to.
    fn period(&self, time: EventTime) -> EventTime {
        self.roll_every.map_or(0, |every| floor_to(time, every, 0))
    }

    /// The file for rows of a period, opened now if need be.
    fn part(&mut self, period: EventTime) -> Result<&mut Part, Failure> {
        if !self.open.contains_key(&period) {
            while self.open.len() >= OPEN_MAX {
                let (_, mut oldest) = self.open.pop_first().expect("there are some");
                oldest.close()?;
            }
            let path = self.next_path(period)?;
            let part = Part::open(path, self)?;
            self.open.insert(period, part);
        }
        Ok(self.open.get_mut(&period).expect("just put there"))
    }

    /// The next path of a period: the first that no file of this run has and, where files are kept, none of an earlier
    /// one.
    fn next_path(&mut self, period: EventTime) -> Result<PathBuf, Failure> {
        let unnumbered = self.path_at(period)?.replace("{name}", &self.name);
        let numbered = unnumbered.contains("{part}");
        let next = self.parts.entry(unnumbered.clone()).or_insert(0);
        loop {
            let path = PathBuf::from(unnumbered.replace("{part}", &format!("{next:05}")));
            *next += 1;
            if !(numbered && self.append && path.exists()) {
                return Ok(path);
            }
        }
    }

    /// Writes rows of one period, which lie behind each other.
    fn write_run(&mut self, batch: &Batch, mut rows: Range<usize>, period: EventTime) -> Result<(), Failure> {
        let roll_size = self.roll_size;
        let lines = self.lines.clone();
        while !rows.is_empty() {
            let part = self.part(period)?;
            rows.start += part.write(batch, rows.clone(), lines.as_ref(), roll_size)?;
            if part.bytes() >= roll_size {
                self.open.remove(&period).map_or(Ok(()), |mut part| part.close())?;
            }
        }
        Ok(())
    }
}

impl Writer for Files {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let times = batch.times();
        let mut from = 0;
        while from < batch.len() {
            let period = self.period(times[from]);
            let rows = times[from..].iter().take_while(|time| self.period(**time) == period).count();
            self.write_run(batch, from..from + rows, period)?;
            from += rows;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.open.values_mut().try_for_each(Part::flush)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        std::mem::take(&mut self.open).values_mut().try_for_each(Part::close)
    }
}

/// A file that is written to.
struct Part {
    path: PathBuf,
    target: Target,
    /// Lines that are not written yet.
    text: String,
    rows: u64,
    /// How many of the rows the operating system has.
    rows_written: u64,
}

/// Where the bytes of a file go.
enum Target {
    Plain(Counted),
    Gzip(GzEncoder<Counted>),
    Zstd(zstd::Encoder<'static, Counted>),
    Parquet(Box<ParquetWriter<Counted>>),
}

/// How many bytes of lines are gathered before they are written.
const TEXT_MAX: usize = 256 * 1024;

impl Part {
    fn open(path: PathBuf, files: &Files) -> Result<Part, Failure> {
        let cannot = |error: io::Error| {
            let path = path.display();
            Failure::new(format!("cannot open {path} for writing: {error}"))
                .help("check the path, and who may write to its folder")
        };
        let file = Counted::open(&path, files.append).map_err(cannot)?;
        let header = files.lines.as_ref().and_then(Lines::header).filter(|_| file.bytes == 0);
        let text = header.map_or(String::new(), |header| format!("{header}\n"));
        let target = match (&files.lines, files.compression) {
            (None, _) => Target::Parquet(Box::new(ParquetWriter::new(&files.schema, file).map_err(cannot)?)),
            (_, Compression::None) => Target::Plain(file),
            (_, Compression::Gzip) => Target::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            (_, Compression::Zstd) => Target::Zstd(zstd::Encoder::new(file, 0).map_err(cannot)?),
        };
        Ok(Part { path, target, text, rows: 0, rows_written: 0 })
    }

    /// Takes as many of the rows as fit below `roll_size`, but at least one; says how many.
    fn write(
        &mut self,
        batch: &Batch,
        rows: Range<usize>,
        lines: Option<&Lines>,
        roll_size: u64,
    ) -> Result<usize, Failure> {
        let Some(lines) = lines else {
            self.rows += rows.len() as u64;
            if let Target::Parquet(writer) = &mut self.target {
                let written = writer.write(&batch.slice(rows.start, rows.len()));
                written.map_err(|error| self.failure(error))?;
            }
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

    /// How large the file is; of what waits to be compressed nothing is counted.
    fn bytes(&self) -> u64 {
        match &self.target {
            Target::Plain(file) => file.bytes + self.text.len() as u64,
            Target::Gzip(encoder) => encoder.get_ref().bytes,
            Target::Zstd(encoder) => encoder.get_ref().bytes,
            Target::Parquet(writer) => writer.bytes(),
        }
    }

    /// Gives the lines gathered so far to the file or the compressor.
    fn hand_over(&mut self) -> Result<(), Failure> {
        let text = self.text.as_bytes();
        let written = match &mut self.target {
            Target::Plain(file) => file.write_whole(text),
            Target::Gzip(encoder) => encoder.write_all(text),
            Target::Zstd(encoder) => encoder.write_all(text),
            Target::Parquet(_) => Ok(()),
        };
        written.map_err(|error| self.failure(error))?;
        self.text.clear();
        if matches!(self.target, Target::Plain(_)) {
            self.rows_written = self.rows;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.rows_written == self.rows || matches!(self.target, Target::Parquet(_)) {
            return Ok(());
        }
        self.hand_over()?;
        let flushed = match &mut self.target {
            Target::Gzip(encoder) => encoder.flush(),
            Target::Zstd(encoder) => encoder.flush(),
            Target::Plain(_) | Target::Parquet(_) => Ok(()),
        };
        flushed.map_err(|error| self.failure(error))?;
        self.rows_written = self.rows;
        Ok(())
    }

    /// Ends the file and waits until the disk has it.
    fn close(&mut self) -> Result<(), Failure> {
        self.hand_over()?;
        let ended = match &mut self.target {
            Target::Plain(file) => file.sync(),
            Target::Gzip(encoder) => encoder.try_finish().and_then(|()| encoder.get_mut().sync()),
            Target::Zstd(encoder) => encoder.do_finish().and_then(|()| encoder.get_mut().sync()),
            Target::Parquet(writer) => writer.finish().and_then(|()| writer.target().sync()),
        };
        ended.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: io::Error) -> Failure {
        let path = self.path.display();
        let so_far = match self.target {
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
            _ => failure.help("check the disk, then run the job again"),
        }
    }
}

/// A file that knows how many bytes it has.
struct Counted {
    file: fs::File,
    bytes: u64,
    regular: bool,
}

impl Counted {
    fn open(path: &Path, append: bool) -> io::Result<Counted> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut options = fs::OpenOptions::new();
        options.create(true);
        if append {
            options.append(true)
        } else {
            options.write(true).truncate(true)
        };
        let file = options.open(path)?;
        let found = file.metadata()?;
        Ok(Counted { bytes: if found.is_file() { found.len() } else { 0 }, regular: found.is_file(), file })
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

    fn sync(&self) -> io::Result<()> {
        if self.regular { self.file.sync_all() } else { Ok(()) }
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::origin::Origins;
    use crate::schema::{Field, Kind};
    use crate::sink::Delivery;
    use arrow::array::{ArrayRef, Int64Array};
    use std::io::Read;
    use std::sync::Arc;

    fn schema() -> Schema {
        Schema::new([Field::new("n", Kind::Int)])
    }

    /// Rows with these event times, in seconds; `n` counts from the first.
    fn batch(seconds: &[i64]) -> Batch {
        let numbers: Vec<i64> = (0..seconds.len() as i64).collect();
        let times = seconds.iter().map(|s| s * 1_000_000).collect();
        let head = Head { times, origins: vec![0; seconds.len()], sequences: numbers.clone(), ..Head::default() };
        Batch::new(&schema(), head, vec![Arc::new(Int64Array::from(numbers)) as ArrayRef])
    }

    fn settings(text: &str) -> FileSink {
        toml::from_str(text).expect("settings")
    }

    fn open(text: &str) -> Box<dyn Writer> {
        let (settings, mut faults) = (settings(text), Vec::new());
        settings.plan(&schema(), &mut faults);
        assert_eq!(faults, []);
        let (schema, origins) = (schema(), Origins::default());
        settings
            .open(Opening {
                job: "job",
                delivery: Delivery::AtLeastOnce,
                resumes: false,
                name: "alerts",
                input: &schema,
                shard: (0, 1),
                origins: &origins,
            })
            .expect("a writer")
    }

    /// Runs a sink with some batches (event times in seconds) and gives the files by name, read and decompressed.
    fn run(folder: &Path, text: &str, batches: &[&[i64]]) -> BTreeMap<String, String> {
        let mut writer = open(&text.replace("FOLDER", folder.to_str().expect("a path")));
        for seconds in batches {
            writer.write(&batch(seconds)).expect("written");
            writer.flush().expect("flushed");
        }
        writer.finish().expect("finished");
        let mut files = BTreeMap::new();
        gather(folder, folder, &mut files);
        files
    }

    fn gather(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                gather(root, &path, files);
                continue;
            }
            let bytes = fs::read(&path).expect("a file");
            let name = path.strip_prefix(root).expect("below").display().to_string();
            let mut text = String::new();
            if name.ends_with(".gz") {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
            } else if name.ends_with(".zst") {
                text = String::from_utf8(zstd::decode_all(&bytes[..]).expect("zstd")).expect("text");
            } else {
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            files.insert(name, text);
        }
    }

    fn json(rows: &[(&str, i64)]) -> String {
        rows.iter().map(|(time, n)| format!("{{\"event_time\":\"1970-01-01T{time}Z\",\"n\":{n}}}\n")).collect()
    }

    fn check(text: &str, batches: &[&[i64]], expected: &[(&str, String)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = run(folder.path(), text, batches);
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, text)| (name.to_string(), text.clone())).collect();
        assert_eq!(files, expected, "{text}");
    }

    #[test]
    fn files_hold_what_was_written() {
        let rows = json(&[("00:00:01", 0), ("00:00:02", 1), ("00:00:03", 0)]);
        let csv = "event_time,n\n1970-01-01T00:00:01Z,0\n1970-01-01T00:00:02Z,1\n1970-01-01T00:00:03Z,0\n".to_owned();
        let batches: &[&[i64]] = &[&[1, 2], &[], &[3]];
        check("path = 'FOLDER/a/b/{name}.json'", batches, &[("a/b/alerts.json", rows.clone())]);
        check("path = 'FOLDER/x.jsonl.gz'", batches, &[("x.jsonl.gz", rows.clone())]);
        check("path = 'FOLDER/x.zst'\nformat = 'json'", batches, &[("x.zst", rows.clone())]);
        check("path = 'FOLDER/x.csv'", batches, &[("x.csv", csv.clone())]);
        check("path = 'FOLDER/x.csv.gz'\ncompression = 'gzip'", batches, &[("x.csv.gz", csv)]);
        check("path = 'FOLDER/100%%.json'", batches, &[("100%.json", rows)]);
        check("path = 'FOLDER/x.json'", &[], &[]);
    }

    #[test]
    fn files_roll_by_size() {
        let row = |n| json(&[("00:00:01", n)]);
        let text = "path = 'FOLDER/x.json'\nroll_size = '60B'";
        check(text, &[&[1, 1, 1], &[1]], &[("x-00000.json", row(0) + &row(1)), ("x-00001.json", row(2) + &row(0))]);
        let text = "path = 'FOLDER/{part}/x.csv'\nroll_size = '20B'";
        let csv = |n| format!("event_time,n\n1970-01-01T00:00:01Z,{n}\n");
        check(text, &[&[1, 1]], &[("00000/x.csv", csv(0)), ("00001/x.csv", csv(1))]);
    }

    #[test]
    fn files_roll_by_event_time_whatever_the_order() {
        let hour = |h: i64| h * 3_600;
        let times: &[&[i64]] = &[&[hour(1), hour(2)], &[hour(1) + 5, hour(2) + 5]];
        let first = json(&[("01:00:00", 0), ("01:00:05", 0)]);
        let second = json(&[("02:00:00", 1), ("02:00:05", 1)]);
        let text = "path = 'FOLDER/%Y/%H.json'\nroll_every = '1h'";
        check(text, times, &[("1970/01-00000.json", first), ("1970/02-00000.json", second)]);
        // A tenth hour closes the first; what still comes for it begins another part.
        let many: Vec<i64> = (0..9).map(hour).chain([0]).collect();
        let mut expected: Vec<(String, String)> =
            (0..9).map(|h| (format!("{h:02}-00000.json"), json(&[(&format!("{h:02}:00:00"), h)]))).collect();
        expected.push(("00-00001.json".into(), json(&[("00:00:00", 9)])));
        let expected: Vec<(&str, String)> = expected.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        check("path = 'FOLDER/%H.json'\nroll_every = '1h'", &[&many], &expected);
    }

    #[test]
    fn an_earlier_run_is_replaced_or_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let go = |text: &str, batches: &[&[i64]]| run(folder.path(), text, batches);
        let (a, b) = (json(&[("00:00:01", 0)]), json(&[("00:00:02", 0)]));
        let plain = "path = 'FOLDER/x.json'";
        assert_eq!(go(plain, &[&[1]])["x.json"], a);
        assert_eq!(go(plain, &[&[2]])["x.json"], b);
        let append = "path = 'FOLDER/x.json'\nappend = true";
        assert_eq!(go(append, &[&[1]])["x.json"], b.clone() + &a);
        assert!(!go(plain, &[]).contains_key("x.json"));
        let zipped = "path = 'FOLDER/x.csv.gz'\nappend = true";
        go(zipped, &[&[1]]);
        assert_eq!(go(zipped, &[&[2]])["x.csv.gz"], "event_time,n\n1970-01-01T00:00:01Z,0\n1970-01-01T00:00:02Z,0\n");
        let parts = "path = 'FOLDER/p.json'\nappend = true\nroll_size = '1MB'";
        go(parts, &[&[1]]);
        let files = go(parts, &[&[2]]);
        assert_eq!((&files["p-00000.json"], &files["p-00001.json"]), (&a, &b));
    }

    #[test]
    fn parquet_rolls_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = run(folder.path(), "path = 'FOLDER/%d.parquet'\nroll_every = '1d'", &[&[1, 86_400], &[2]]);
        assert_eq!(files.keys().collect::<Vec<_>>(), ["01-00000.parquet", "02-00000.parquet"]);
        let file = fs::File::open(folder.path().join("01-00000.parquet")).expect("a file");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 10).expect("Parquet");
        assert_eq!(reader.map(|batch| batch.expect("rows").num_rows()).sum::<usize>(), 2);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_told() {
        for text in [
            "format = 'json'",
            "format = 'csv'\ncompression = 'gzip'",
            "format = 'json'\ncompression = 'zstd'",
            "format = 'parquet'",
        ] {
            let mut writer = open(&format!("path = '/dev/full'\n{text}"));
            let rows = batch(&[1, 2, 3]);
            let failure =
                writer.write(&rows).and_then(|()| writer.flush()).and_then(|()| writer.finish()).expect_err("full");
            let message = failure.to_string();
            assert!(message.contains("/dev/full") && message.contains("No space left"), "{message}");
            assert!(message.contains("0 of 3 rows") || message.contains("no footer"), "{message}");
            assert!(message.contains("make room"), "{message}");
        }
        let failure = open("path = '/dev/null/x.json'").write(&batch(&[1])).expect_err("no folder");
        assert!(failure.to_string().starts_with("cannot open /dev/null/x.json for writing"), "{failure}");
    }

    /// `mount -t tmpfs -o size=64k tmpfs FOLDER` first, and name FOLDER in the file `/tmp/eagre-small-disk`.
    #[test]
    #[ignore = "needs a small disk"]
    fn a_full_disk_leaves_whole_rows() {
        let folder = fs::read_to_string("/tmp/eagre-small-disk").expect("the name of a small disk");
        let path = PathBuf::from(folder.trim()).join("x.json");
        let mut writer = open(&format!("path = {path:?}"));
        let seconds: Vec<i64> = (0..100).collect();
        let failure =
            (0..1_000).find_map(|_| writer.write(&batch(&seconds)).and_then(|()| writer.flush()).err()).expect("full");
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.len() > 40_000 && text.ends_with("}\n"), "{} bytes", text.len());
        assert!(failure.message.contains(&format!("{} of", text.lines().count())), "{failure}");
    }

    #[test]
    fn faults_name_the_setting() {
        let check = |text: &str, expected: &[&str]| {
            let mut faults = Vec::new();
            settings(text).plan(&schema(), &mut faults);
            let found: Vec<String> = faults.iter().map(|fault| fault.path.join(".")).collect();
            assert_eq!(found, expected, "{text}: {faults:?}");
        };
        check("path = ''", &["path"]);
        check("path = 'out/x'", &["path"]);
        check("path = 'x.parquet'\nappend = true\ncompression = 'gzip'", &["append", "compression"]);
        check("path = 'x.parquet.gz'", &["path"]);
        check("path = 'x-{part}.json'", &["path"]);
        check("path = '{nme}/{name}{.json'", &["path", "path"]);
        check("path = '%H.json'", &["path"]);
        check("path = '%!.json'\nroll_every = '1h'", &["path"]);
        check("path = 'x.json'\nroll_every = '0'", &["roll_every"]);
        for text in [
            "path = 'x'\nroll_size = '10'",
            "path = 'x'\nroll_size = '-1MB'",
            "path = 'x'\ncompression = 'zip'",
            "format = 'json'",
        ] {
            assert!(toml::from_str::<FileSink>(text).is_err(), "{text}");
        }
        assert_eq!(settings("path = 'x'\nroll_size = '1.5 MiB'").roll_size, Some(Size(1_572_864)));
    }
}
