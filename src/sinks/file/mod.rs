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
//!
//! # Exactly once
//!
//! With `[checkpoint]` in the job every row is in the files exactly once, whenever the process dies, and a job that
//! goes on keeps what is there:
//!
//! - **One file of lines** grows under its own name, and at every checkpoint the disk has it. When the job goes on it
//!   is cut back to there and the rows behind are written again: the same, because they come in order. Who follows the
//!   file may have seen these rows before. Compressed, each checkpoint ends a gzip member or a zstd frame, which any
//!   reader takes. A file that was taken away or emptied between two runs is begun anew; one that was changed is a
//!   failure.
//! - **Files that roll** are written aside, in the folder `.JOB.SINK.aside` below what `path` always begins with, and
//!   get their names when the first checkpoint after their end is there: **a file that is seen is whole, and does not
//!   change**. Names and numbers are those that a run without a crash gives. When the job ends or is stopped, files
//!   under way are closed and named too; if it goes on later, it begins their next part.
//! - **Parquet** is written aside as well, rolled or not; without `roll_size` and `roll_every` the one file is seen
//!   when the job ends. Since half a Parquet file cannot be gone on with, its rows are kept beside it in a journal
//!   (Arrow IPC, compressed), from which it is made once more after a crash. That costs the rows' bytes on disk once
//!   more, and time to go on: roll large outputs.
//! - Going back to an older checkpoint (`--from`) takes rows back: files of lines are cut, those that were complete
//!   since are made again.
//! - An error of `fsync` ends the job; it is never tried again. All files of a sink must lie on one disk, and be
//!   regular files: for a pipe write `delivery = "at_least_once"`. So delivered, rows that were written after the
//!   newest checkpoint are written again, and Parquet files that were not closed are lost.
//! - Rows are appended once more when a job with `append = true` dies before its first checkpoint.

mod durable;
mod files;
mod journal;
mod part;

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests;

use self::durable::{Asides, Numbers};
use self::files::Files;
use self::part::Kind;
use crate::fault::{Failure, Fault};
use crate::formats::encode::{Lines, Style};
use crate::schema::Schema;
use crate::sink::{Delivery, Opening, Shards, Sink, Size, Writer};
use crate::source::Resource;
use crate::time::{EventTime, Interval};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

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

    fn delivers_exactly_once(&self) -> bool {
        true
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        let ending = Ending::of(&self.path);
        let format = self.format.or(ending.format).unwrap_or(Format::Json);
        let template = self.template().map_err(|(message, help)| Failure::new(message).help(help))?;
        let compression = self.compression.or(ending.compression).unwrap_or(Compression::None);
        let lines = |style| Some(Lines::new(style, opening.input));
        let lines = match format {
            Format::Json => lines(Style::Json),
            Format::Csv => lines(Style::Csv),
            Format::Parquet => None,
        };
        let fields: Vec<_> = opening.input.fields().iter().map(|field| (&field.name, field.kind)).collect();
        let shape = format!("{} {format:?} {compression:?} {:?} {fields:?}", template.path, self.roll_every);
        let mut writer = Files {
            name: opening.name.to_owned(),
            kind: Arc::new(Kind { lines, schema: opening.input.clone(), compression }),
            append: self.append,
            keep: self.append || opening.resumes,
            spare: self.append || opening.resumes,
            exact: opening.delivery == Delivery::ExactlyOnce,
            roll_size: self.roll_size.map_or(u64::MAX, Size::bytes),
            roll_every: self.roll_every.map(Interval::micros),
            asides: Asides::new(&template.path, opening.job, opening.name),
            template,
            shape,
            numbers: Numbers::default(),
            open: BTreeMap::new(),
            complete: Vec::new(),
            sealed: 0,
            cut: None,
            is_gone: false,
        };
        if !opening.resumes {
            writer.clear()?;
        }
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
