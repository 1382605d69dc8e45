//! Reads records from files: JSON lines, CSV or Parquet.
//!
//! ```toml
//! [source.readings]
//! kind = "file"
//! path = "data/*.jsonl.gz"        # or a list; * ? [a-z] and ** match; "-" is standard input
//! fields = { ts = "time(ms)", sensor = "text", value = "float" }
//! event_time = "ts"
//! ```
//!
//! ## Partitions
//!
//! Each file is a partition, named by its path, in order of name. Its records are read in the file's order; their
//! sequence is the position of their first byte in the file (decompressed), or the row's number in Parquet.
//!
//! ## Settings
//!
//! - `path`: a file, a pattern, `-` for standard input, or a list of these.
//! - `format`: `json` (one object a line), `csv` or `parquet`. By default what the file's ending says: `.json`,
//!   `.jsonl`, `.ndjson`, `.csv`, `.tsv`, `.parquet`; `.gz` or `.zst` may follow.
//! - `fields`: the fields and what they are. Required for JSON and CSV; without it Parquet offers all columns it can.
//! - `event_time`: the field that says when a record happened; one of kind time. In what another job has written it is
//!   `"event_time"`, which is then no field of its own.
//! - `compression`: `none`, `gzip`, `zstd`, or `auto` (by default), which goes by the ending.
//! - `follow`: when true, goes on reading lines that are appended to plain files, and files that appear under a
//!   pattern. A line is read once its line break is there. A file that is cut, replaced or removed is not read on, and
//!   that is said; let a new file have a new name. Compressed files and Parquet are taken to be whole when they appear.
//! - `delimiter`: between the cells of CSV; a comma by default, a tab for `.tsv`.
//! - `header`: when false, CSV has no header line, and `columns` names the columns in order.
//! - `line_bytes_max`: a longer line is rejected, 32 MiB by default.
//!
//! ## What goes wrong
//!
//! A record that cannot be decoded goes to `rejected` with what was found and what would be right; all others get
//! through. A file that cannot be read, or not to its end (half a Parquet file, a gzip stream that ends early, a CSV
//! header without a wanted column) gives what it has, then one record in `rejected` that names it; all other files are
//! read.

mod reader;
mod stream;

use crate::fault::{self, Failure, Fault};
use crate::formats::csv::CsvDecoder;
use crate::formats::json::JsonDecoder;
use crate::formats::parquet::schema_of;
use crate::formats::{Decoder, Fields, MakeDecoder, TimeFrom, TimeUnit, Wanted, Written};
use crate::schema::{Kind, SYSTEM_NAMES, Schema};
use crate::source::{Feed, Position, Reader, Resource, Source, Wake};
use reader::{ParquetReader, TextReader, Unreadable};
use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stream::Stream;

/// The configuration of a file source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// A file, a pattern, "-" for standard input, or a list of these.
    path: Paths,
    /// What the files hold; by default what their ending says.
    format: Option<Format>,
    /// The fields of a record, and what they are.
    fields: Option<Fields>,
    /// The field that says when a record happened.
    event_time: String,
    /// How the files are compressed; by default what their ending says.
    #[serde(default)]
    compression: Compression,
    /// Whether to go on reading files that grow, and files that appear.
    #[serde(default)]
    follow: bool,
    /// What lies between the cells of CSV.
    delimiter: Option<char>,
    /// Whether CSV begins with a line that names the columns.
    #[serde(default = "yes")]
    header: bool,
    /// The names of the columns of CSV without a header line.
    #[serde(default)]
    columns: Vec<String>,
    /// A longer line is rejected.
    #[serde(default = "line_bytes_max")]
    line_bytes_max: usize,
}

fn yes() -> bool {
    true
}

fn line_bytes_max() -> usize {
    32 << 20
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Cells between delimiters.
    Csv,
    /// Parquet.
    Parquet,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As the ending says.
    #[default]
    Auto,
    /// It is not.
    None,
    /// By gzip; several streams one behind the other are one.
    Gzip,
    /// By zstd.
    Zstd,
}

/// Some paths, written as one or as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<String>);

/// How much is read at a time, and decoded as one piece.
const CHUNK_BYTES: usize = 1 << 20;

/// How often to look for new files.
const DISCOVER: Duration = Duration::from_secs(1);

const STANDARD_INPUT: &str = "-";

/// What the event time is called in files that a job wrote: another job may read them by it.
const EVENT_TIME: &str = SYSTEM_NAMES[0];

const ENDINGS: [(&str, Format); 7] = [
    ("json", Format::Json),
    ("jsonl", Format::Json),
    ("ndjson", Format::Json),
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("parquet", Format::Parquet),
    ("pq", Format::Parquet),
];

impl Source for FileSource {
    const NAME: &'static str = "file";

    fn reads(&self) -> Vec<Resource> {
        let resource = |path: &String| match path.as_str() {
            STANDARD_INPUT => Resource::StandardInput,
            path => Resource::File(path.to_owned()),
        };
        self.path.0.iter().map(resource).collect()
    }

    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema> {
        let before = faults.len();
        self.check_paths(faults);
        if self.path.0.is_empty() {
            return None;
        }
        let format = self.known_format().map_err(|fault| faults.push(fault)).ok();
        if let Some(format) = format {
            self.check_settings(format, faults);
        }
        // Fields that are declared are known whatever else is wrong: steps that name others are told in the same pass.
        let declared = self.fields.as_ref().is_some_and(|fields| !fields.0.is_empty());
        if faults.len() > before && !declared {
            return None;
        }
        let schema = self.schema(format?).map_err(|fault| faults.push(fault)).ok()?;
        self.check_event_time(&schema, faults);
        Some(schema)
    }

    fn open(&self, _name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        Ok(Box::new(self.feed(wanted)?))
    }
}

impl FileSource {
    fn feed(&self, wanted: &Schema) -> Result<FileFeed, Failure> {
        let wrong = |fault: Fault| Failure::new(fault.to_string());
        let format = self.known_format().map_err(wrong)?;
        let schema = self.schema(format).map_err(wrong)?;
        let lines = match format {
            Format::Csv => {
                Lines::Csv { delimiter: self.delimiter_byte().map_err(wrong)?, columns: self.columns.clone() }
            }
            Format::Json | Format::Parquet => Lines::Json,
        };
        let settings = Settings {
            format,
            lines,
            compression: self.compression,
            follow: self.follow,
            line_bytes_max: self.line_bytes_max,
            chunk_bytes: CHUNK_BYTES,
            wanted: self.wanted(&schema, wanted),
        };
        let feed = FileFeed { patterns: self.path.0.clone(), settings, known: Mutex::default() };
        if feed.partitions()?.is_empty() && !self.follow {
            let patterns: Vec<&str> = self.path.0.iter().map(String::as_str).collect();
            let failure = Failure::new(format!("no file matches {}{}", fault::list(&patterns), working_folder()));
            return Err(match nearest_path(patterns[0]) {
                Some(help) => failure.help(help),
                None => failure,
            });
        }
        Ok(feed)
    }

    fn check_paths(&self, faults: &mut Vec<Fault>) {
        if self.path.0.is_empty() {
            faults.push(
                Fault::at("path", "no path is given")
                    .help("write a file, a pattern such as \"data/*.jsonl\", or \"-\""),
            );
        }
        for path in self.path.0.iter().filter(|p| *p != STANDARD_INPUT) {
            if is_pattern(path) {
                if let Err(error) = glob::Pattern::new(path) {
                    faults.push(Fault::at(
                        "path",
                        format!("`{path}` is no pattern: {} at character {}", error.msg, error.pos + 1),
                    ));
                }
            } else if Path::new(path).is_dir() {
                let fault = Fault::at("path", format!("`{path}` is a folder"));
                faults.push(fault.help(format!("its files are `{}/*`", path.trim_end_matches('/'))));
            } else if !Path::new(path).exists() {
                let fault = Fault::at("path", format!("no file `{path}`{}", working_folder()));
                faults.push(match nearest_path(path) {
                    Some(help) => fault.help(help),
                    None => fault,
                });
            }
        }
    }

    /// The format that is set, or the one that all endings say.
    fn known_format(&self) -> Result<Format, Fault> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let mut found: Option<(&str, Format)> = None;
        for path in &self.path.0 {
            let ending = ending(path);
            let Some((_, format)) = ENDINGS.iter().find(|(name, _)| *name == ending) else {
                let fault = Fault::at("format", format!("the ending of `{path}` does not say what it holds"));
                return Err(fault.help("write format = \"json\", \"csv\" or \"parquet\""));
            };
            match found {
                Some((first, other)) if other != *format => {
                    let fault = Fault::at("path", format!("`{first}` and `{path}` are of different formats"));
                    return Err(fault.help("make a source for each, and a `union` step"));
                }
                _ => found = Some((path, *format)),
            }
        }
        found.map(|(_, format)| format).ok_or_else(|| Fault::at("path", "no path is given"))
    }

    fn check_settings(&self, format: Format, faults: &mut Vec<Fault>) {
        if format != Format::Parquet && self.fields.as_ref().is_none_or(|fields| fields.0.is_empty()) {
            let fault = Fault::at("fields", "the fields of a record are not given");
            faults
                .push(fault.help("write for example fields = { ts = \"time\", sensor = \"text\", value = \"float\" }"));
        }
        let names = self.fields.iter().flat_map(|fields| fields.0.keys());
        for name in names.filter(|name| SYSTEM_NAMES.contains(&name.as_str())) {
            if name != EVENT_TIME || self.event_time != EVENT_TIME {
                let path = vec!["fields".into(), name.clone()];
                faults.push(Fault { path, message: format!("`{name}` is a name of Eagre's own"), help: None });
            }
        }
        if self.line_bytes_max == 0 {
            faults.push(Fault::at("line_bytes_max", "no line fits into 0 bytes").help("the default is 33554432"));
        }
        if format == Format::Parquet {
            if self.path.0.iter().any(|p| p == STANDARD_INPUT) {
                faults.push(
                    Fault::at("path", "Parquet is read from its end, which standard input does not have")
                        .help("name a file"),
                );
            }
            if !matches!(self.compression, Compression::Auto | Compression::None) {
                faults.push(Fault::at("compression", "Parquet is compressed inside").help("leave `compression` out"));
            }
        }
        if format == Format::Csv {
            self.check_csv(faults);
        } else {
            let given = [
                ("delimiter", self.delimiter.is_some()),
                ("header", !self.header),
                ("columns", !self.columns.is_empty()),
            ];
            for (name, _) in given.iter().filter(|(_, given)| *given) {
                faults.push(Fault::at(name, format!("`{name}` is a setting of CSV, and these files are not")));
            }
        }
    }

    fn check_csv(&self, faults: &mut Vec<Fault>) {
        if let Err(fault) = self.delimiter_byte() {
            faults.push(fault);
        }
        if self.header && !self.columns.is_empty() {
            faults.push(
                Fault::at("columns", "the header line names the columns")
                    .help("write header = false where there is none"),
            );
        }
        if self.header {
            return;
        }
        let fault = |message: String| Fault::at("columns", message).help("write the names of all columns in order");
        if self.columns.is_empty() {
            return faults.push(fault("CSV without a header line does not name its columns".to_owned()));
        }
        let columns: BTreeSet<&str> = self.columns.iter().map(String::as_str).collect();
        if columns.len() < self.columns.len() {
            faults.push(fault("two columns have one name".to_owned()));
        }
        for name in
            self.fields.iter().flat_map(|fields| fields.0.keys()).filter(|name| !columns.contains(name.as_str()))
        {
            faults.push(fault(format!("field `{name}` is none of the columns")));
        }
    }

    fn delimiter_byte(&self) -> Result<u8, Fault> {
        let tabs = self.path.0.iter().any(|path| ending(path) == "tsv");
        match self.delimiter {
            None => Ok(if tabs { b'\t' } else { b',' }),
            Some(c) if c.is_ascii() && !"\"\r\n".contains(c) => Ok(c as u8),
            Some(c) => Err(Fault::at("delimiter", format!("{c:?} cannot lie between cells"))
                .help("one ASCII character such as \",\" or \";\"")),
        }
    }

    /// The fields that are declared, or all that the first readable Parquet file has.
    fn schema(&self, format: Format) -> Result<Schema, Fault> {
        if let Some(fields) = &self.fields {
            return Ok(fields.schema().filtered(|name| !SYSTEM_NAMES.contains(&name)));
        }
        if format != Format::Parquet {
            return Err(Fault::at("fields", "the fields of a record are not given"));
        }
        let files = matching(&self.path.0).map_err(|failure| Fault::at("path", failure.message))?;
        let mut wrong =
            Fault::at("fields", "there is no file yet whose columns could be offered").help("declare the fields");
        for path in files {
            let opened = File::open(&path).map_err(|error| Failure::new(error.to_string()));
            match opened.and_then(schema_of) {
                Ok(schema) => return Ok(schema),
                Err(failure) => wrong = Fault::at("path", format!("{path}: {}", failure.message)),
            }
        }
        Err(wrong)
    }

    fn check_event_time(&self, schema: &Schema, faults: &mut Vec<Fault>) {
        let fault = |message: String| Fault::at("event_time", message);
        let kind = match &self.fields {
            Some(fields) => fields.0.get(&self.event_time).map(|written| written.kind),
            None if self.event_time == EVENT_TIME => Some(Kind::Time),
            None => schema.field(&self.event_time).map(|f| f.kind),
        };
        match kind {
            Some(Kind::Time) => {}
            Some(kind) => {
                let written = if kind.is_number() { "time(ms)" } else { "time" };
                let fault =
                    fault(format!("field `{}` is of kind {kind}, and an event time is a time", self.event_time));
                faults.push(fault.help(format!("declare it in `fields` as {} = \"{written}\"", self.event_time)));
            }
            None => {
                let fault = fault(format!("no field `{}`", self.event_time));
                faults.push(fault.nearest(&self.event_time, schema.names()));
            }
        }
    }

    fn wanted(&self, offered: &Schema, wanted: &Schema) -> Wanted {
        let written = |name: &str| match &self.fields {
            Some(fields) => fields.0[name],
            None => {
                let kind = offered.field(name).map_or(Kind::Time, |f| f.kind);
                Written { kind, unit: TimeUnit::Text }
            }
        };
        Wanted {
            written: wanted.names().map(written).collect(),
            event_time: TimeFrom::Field(self.event_time.clone(), written(&self.event_time)),
            schema: wanted.clone(),
        }
    }
}

/// What the readers of all files have in common.
#[derive(Clone)]
struct Settings {
    format: Format,
    lines: Lines,
    compression: Compression,
    follow: bool,
    line_bytes_max: usize,
    chunk_bytes: usize,
    wanted: Wanted,
}

/// How lines are records.
#[derive(Clone)]
enum Lines {
    Json,
    /// `columns` are those of files without a header line.
    Csv {
        delimiter: u8,
        columns: Vec<String>,
    },
}

struct FileFeed {
    patterns: Vec<String>,
    settings: Settings,
    /// The partitions in the order in which they were found.
    known: Mutex<Vec<String>>,
}

impl FileFeed {
    fn reader(&self, path: &str, from: Option<Position>, wake: Wake) -> Result<Box<dyn Reader>, Failure> {
        let Settings { format, wanted, follow, .. } = &self.settings;
        if *format == Format::Parquet {
            return Ok(Box::new(ParquetReader::open(path, wanted, from.unwrap_or(0))?));
        }
        let compression = match self.settings.compression {
            Compression::Auto if path.ends_with(".gz") => Compression::Gzip,
            Compression::Auto if path.ends_with(".zst") => Compression::Zstd,
            Compression::Auto => Compression::None,
            set => set,
        };
        let stream = match path {
            STANDARD_INPUT => Stream::piped(std::io::stdin(), compression, wake),
            path => Stream::open(path, compression, *follow),
        };
        let stream = stream.map_err(|error| Failure::new(error.to_string()))?;
        Ok(Box::new(TextReader::new(path, stream, &self.settings, wanted.clone(), from)))
    }
}

impl Feed for FileFeed {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        let mut known = self.known.lock().expect("no thread panics while it lists files");
        if known.is_empty() || self.settings.follow {
            let found = match matching(&self.patterns) {
                // A folder that cannot be listed just now, because it is being moved, is looked at again.
                Err(_) if !known.is_empty() => return Ok(known.clone()),
                found => found?,
            };
            let new: Vec<String> = found.into_iter().filter(|path| !known.contains(path)).collect();
            known.extend(new);
        }
        Ok(known.clone())
    }

    fn open(&self, partition: &str, from: Option<Position>, wake: Wake) -> Result<Box<dyn Reader>, Failure> {
        let wanted = &self.settings.wanted;
        if reader::is_broken(from) {
            return Ok(Box::new(Unreadable::new(partition, &Failure::new("said before"), wanted, from)));
        }
        // One file that cannot be read does not stop the others: it is said in `rejected`.
        let opened = self.reader(partition, from, wake);
        Ok(opened.unwrap_or_else(|failure| Box::new(Unreadable::new(partition, &failure, wanted, from))))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        let wanted = self.settings.wanted.clone();
        match (self.settings.format, &self.settings.lines) {
            (Format::Parquet, _) => None,
            (_, Lines::Csv { delimiter, .. }) => {
                let delimiter = *delimiter;
                Some(Arc::new(move || Box::new(CsvDecoder::new(&wanted, delimiter)) as Box<dyn Decoder>))
            }
            (_, Lines::Json) => Some(Arc::new(move || Box::new(JsonDecoder::new(&wanted)) as Box<dyn Decoder>)),
        }
    }

    fn discovers(&self) -> Option<Duration> {
        (self.settings.follow && self.patterns.iter().any(|p| is_pattern(p))).then_some(DISCOVER)
    }

    fn total(&self) -> Option<u64> {
        if self.settings.follow || self.patterns.iter().any(|p| p == STANDARD_INPUT) {
            return None;
        }
        let known = self.known.lock().expect("no thread panics while it lists files");
        Some(known.iter().map(|path| fs::metadata(path).map_or(0, |m| m.len())).sum())
    }
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// What stands behind the last dot of a path, without that of the compression, in lower case.
fn ending(path: &str) -> String {
    let path = [".gz", ".zst"].iter().find_map(|packed| path.strip_suffix(packed)).unwrap_or(path);
    path.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
}

/// The files of all patterns, each once, in order of name within a pattern.
fn matching(patterns: &[String]) -> Result<Vec<String>, Failure> {
    let mut all: Vec<String> = Vec::new();
    for pattern in patterns {
        let mut found = Vec::new();
        if is_pattern(pattern) {
            let paths =
                glob::glob(pattern).map_err(|e| Failure::new(format!("`{pattern}` is no pattern: {}", e.msg)))?;
            for path in paths {
                let path = path.map_err(|error| Failure::new(error.to_string()))?;
                if path.is_file() {
                    let name = path.to_str().ok_or_else(|| Failure::new(format!("the name {path:?} is not UTF-8")));
                    found.push(name?.to_owned());
                }
            }
            found.sort();
        } else {
            found.push(pattern.clone());
        }
        found.retain(|path| !all.contains(path));
        all.append(&mut found);
    }
    Ok(all)
}

fn working_folder() -> String {
    std::env::current_dir().map_or_else(|_| String::new(), |path| format!(" in {}", path.display()))
}

/// Advice for a path that is not there: the nearest name in the last folder of it that is.
fn nearest_path(path: &str) -> Option<String> {
    let mut folder = PathBuf::new();
    for part in Path::new(path).components() {
        let next = folder.join(part);
        if next.is_dir() {
            folder = next;
            continue;
        }
        let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        let names: BTreeSet<String> =
            fs::read_dir(listed).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let name = part.as_os_str().to_string_lossy();
        if !is_pattern(&name)
            && let Some(near) = fault::nearest(&name, names.iter().map(String::as_str))
        {
            return Some(format!("did you mean `{}`?", folder.join(near).display()));
        }
        let shown: Vec<&str> =
            names.iter().map(String::as_str).filter(|n| !n.starts_with('.')).take(NAMES_SHOWN_MAX).collect();
        return (!shown.is_empty()).then(|| format!("`{}` has {}", listed.display(), fault::list(&shown)));
    }
    None
}

const NAMES_SHOWN_MAX: usize = 8;

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Paths, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }

            fn visit_str<E>(self, path: &str) -> Result<Paths, E> {
                Ok(Paths(vec![path.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = list.next_element()? {
                    paths.push(path);
                }
                Ok(Paths(paths))
            }
        }
        from.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Paths {
    fn schema_name() -> Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            "description": "A file, a pattern such as data/*.jsonl, \"-\" for standard input, or a list of these." })
    }
}

#[cfg(test)]
mod tests;
