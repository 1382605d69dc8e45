//! How the floor programs read: the events of a file, one after another, and nothing kept of them.
//!
//! [`Parser::Hand`] knows the order and spacing of the fields: it is the physical limit and no JSON parser.
//! [`Parser::Serde`] is serde_json into a struct that borrows its text. [`Parser::Arrow`] is the parquet crate's own
//! reader of the three columns that the jobs use. Reads are of 1 MiB; there is no validation but the parser's.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const CHUNK: usize = 1 << 20;

/// How events are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parser {
    /// By position.
    Hand,
    /// By serde_json.
    Serde,
    /// From Parquet.
    Arrow,
}

/// The name of each parser.
pub const PARSERS: [(Parser, &str); 3] =
    [(Parser::Hand, "hand"), (Parser::Serde, "serde_json"), (Parser::Arrow, "arrow")];

/// Calls `each` with time (ms), sensor and value of every event of a file.
///
/// # Panics
///
/// When the file is not W1.
pub fn events(parser: Parser, path: &Path, mut each: impl FnMut(u64, &[u8], f64) -> io::Result<()>) -> io::Result<()> {
    match parser {
        Parser::Hand => lines(path, |line| {
            let (ts, sensor, value) = hand(line);
            each(ts, sensor, value)
        }),
        Parser::Serde => lines(path, |line| {
            let event: Event<'_> = serde_json::from_slice(line).expect("a line of W1");
            let _ = (event.host, event.status);
            each(event.ts, event.sensor.as_bytes(), event.value)
        }),
        Parser::Arrow => rows(path, each),
    }
}

/// Calls `each` with every line of a file, without its break.
fn lines(path: &Path, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0u8; 2 * CHUNK];
    let mut held = 0;
    loop {
        if held + CHUNK > buffer.len() {
            buffer.resize(held + CHUNK, 0);
        }
        let read = file.read(&mut buffer[held..held + CHUNK])?;
        let end = held + read;
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', &buffer[..end]) {
            each(&buffer[from..at])?;
            from = at + 1;
        }
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(from..end, 0);
        held = end - from;
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    ts: u64,
    #[serde(borrow)]
    sensor: Cow<'a, str>,
    value: f64,
    #[serde(default)]
    host: &'a str,
    status: i64,
}

/// `{"ts": 1767225600407, "sensor": "sensor-00670", "value": 74.314404, ...`
#[inline(always)]
fn hand(line: &[u8]) -> (u64, &[u8], f64) {
    const POWERS: [f64; 10] = [1., 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
    let (mut i, mut ts) = (7, 0u64);
    while line[i].is_ascii_digit() {
        ts = ts * 10 + u64::from(line[i] - b'0');
        i += 1;
    }
    i += 13;
    let from = i;
    while line[i] != b'"' {
        i += 1;
    }
    let sensor = &line[from..i];
    i += 12;
    let negative = line[i] == b'-';
    i += usize::from(negative);
    let (mut mantissa, mut decimals) = (0i64, 0);
    while line[i].is_ascii_digit() {
        mantissa = mantissa * 10 + i64::from(line[i] - b'0');
        i += 1;
    }
    if line[i] == b'.' {
        i += 1;
        while line[i].is_ascii_digit() {
            mantissa = mantissa * 10 + i64::from(line[i] - b'0');
            i += 1;
            decimals += 1;
        }
    }
    let value = mantissa as f64 / POWERS[decimals];
    (ts, sensor, if negative { -value } else { value })
}

fn rows(path: &Path, mut each: impl FnMut(u64, &[u8], f64) -> io::Result<()>) -> io::Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let columns = ProjectionMask::columns(reader.parquet_schema(), ["ts", "sensor", "value"]);
    for batch in reader.with_projection(columns).with_batch_size(8192).build()? {
        let batch = batch.map_err(io::Error::other)?;
        let column = |name| batch.column_by_name(name).expect("a column of W1");
        let (times, values) =
            (column("ts").as_primitive::<TimestampMicrosecondType>(), column("value").as_primitive::<Float64Type>());
        let sensors = column("sensor").as_string::<i32>();
        for i in 0..batch.num_rows() {
            each(times.value(i) as u64 / 1000, sensors.value(i).as_bytes(), values.value(i))?;
        }
    }
    Ok(())
}
