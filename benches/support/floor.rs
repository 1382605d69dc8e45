//! The floor: what this machine can do when nothing but J1 is done.
//!
//! Tumbling windows of 10 s for each sensor with count, sum, min, max, mean and population stddev, in event time with a
//! watermark 2 s behind; one thread for each part file, 1 MiB reads, rows written as they close. No validation, no
//! faults, no state that could be kept, one job for ever. [`Parser::Hand`] knows the order and spacing of the fields:
//! it is the physical limit and no JSON parser. [`Parser::Serde`] is serde_json into a struct that borrows its text.

use hashbrown::HashTable;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const WINDOW: u64 = 10_000;
const DELAY: u64 = 2_000;
const CHUNK: usize = 1 << 20;

/// How lines are read.
#[derive(Clone, Copy)]
pub enum Parser {
    /// By position.
    Hand,
    /// By serde_json.
    Serde,
}

/// Runs the job, one thread for each input; the rows of the i-th go to `{output}.{i}`.
pub fn run(parser: Parser, output: &Path, inputs: &[PathBuf]) -> io::Result<()> {
    std::thread::scope(|scope| {
        let threads = inputs.iter().enumerate().map(|(i, input)| {
            let output = output.with_added_extension(i.to_string());
            scope.spawn(move || windows(parser, input, &output))
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that ends"))
    })
}

fn windows(parser: Parser, input: &Path, output: &Path) -> io::Result<()> {
    let mut state =
        Windows { names: Names::default(), panes: VecDeque::new(), newest: 0, next_end: 0, rows: Out::new(output)? };
    match parser {
        Parser::Hand => lines(input, |line| state.add(hand(line)))?,
        Parser::Serde => lines(input, |line| {
            let event: Event = serde_json::from_slice(line).expect("a line of W1");
            let _ = (event.host, event.status);
            state.add((event.ts, event.sensor.as_bytes(), event.value))
        })?,
    }
    while !state.panes.is_empty() {
        state.close()?;
    }
    state.rows.to.flush()
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
    sensor: &'a str,
    value: f64,
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

#[derive(Clone, Copy)]
struct Summary {
    count: u64,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
}

const NOTHING: Summary = Summary { count: 0, sum: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

struct Windows {
    names: Names,
    /// Start, and a summary for each sensor; contiguous.
    panes: VecDeque<(u64, Vec<Summary>)>,
    newest: u64,
    next_end: u64,
    rows: Out,
}

impl Windows {
    #[inline(always)]
    fn add(&mut self, (ts, sensor, value): (u64, &[u8], f64)) -> io::Result<()> {
        let id = self.names.number(sensor);
        let start = ts - ts % WINDOW;
        if self.panes.is_empty() {
            self.next_end = start + WINDOW;
            self.panes.push_back((start, Vec::new()));
        }
        while self.panes[0].0 > start {
            self.panes.push_front((self.panes[0].0 - WINDOW, Vec::new()));
            self.next_end = self.panes[0].0 + WINDOW;
        }
        while self.panes[self.panes.len() - 1].0 < start {
            self.panes.push_back((self.panes[self.panes.len() - 1].0 + WINDOW, Vec::new()));
        }
        let pane = ((start - self.panes[0].0) / WINDOW) as usize;
        let summaries = &mut self.panes[pane].1;
        if id >= summaries.len() {
            summaries.resize(id + 1, NOTHING);
        }
        let summary = &mut summaries[id];
        summary.count += 1;
        summary.sum += value;
        summary.squares += value * value;
        summary.min = if value < summary.min { value } else { summary.min };
        summary.max = if value > summary.max { value } else { summary.max };
        self.newest = self.newest.max(ts);
        while self.newest >= self.next_end + DELAY {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.next_end += WINDOW;
        let Some((start, summaries)) = self.panes.pop_front() else { return Ok(()) };
        let some = summaries.iter().enumerate().filter(|(_, summary)| summary.count > 0);
        some.into_iter().try_for_each(|(id, summary)| self.rows.write(start, &self.names.names[id], summary))
    }
}

struct Out {
    to: BufWriter<File>,
    row: Vec<u8>,
}

impl Out {
    fn new(path: &Path) -> io::Result<Out> {
        Ok(Out { to: BufWriter::with_capacity(CHUNK, File::create(path)?), row: Vec::new() })
    }

    fn write(&mut self, start: u64, sensor: &[u8], of: &Summary) -> io::Result<()> {
        let row = &mut self.row;
        let mean = of.sum / of.count as f64;
        let stddev = (of.squares / of.count as f64 - mean * mean).max(0.0).sqrt();
        row.clear();
        row.extend(b"{\"window_start\":");
        serde_json::to_writer(&mut *row, &start)?;
        row.extend(b",\"sensor\":\"");
        row.extend(sensor);
        row.extend(b"\",\"count\":");
        serde_json::to_writer(&mut *row, &of.count)?;
        for (name, value) in [("sum", of.sum), ("min", of.min), ("max", of.max), ("mean", mean), ("stddev", stddev)] {
            row.extend(b",\"");
            row.extend(name.as_bytes());
            row.extend(b"\":");
            serde_json::to_writer(&mut *row, &value)?;
        }
        row.extend(b"}\n");
        self.to.write_all(row)
    }
}

/// Sensors by number.
#[derive(Default)]
struct Names {
    table: HashTable<u32>,
    names: Vec<Vec<u8>>,
}

impl Names {
    #[inline(always)]
    fn number(&mut self, name: &[u8]) -> usize {
        let hash = fx(name);
        let Names { table, names } = self;
        if let Some(number) = table.find(hash, |number| names[*number as usize] == name) {
            return *number as usize;
        }
        table.insert_unique(hash, names.len() as u32, |number| fx(&names[*number as usize]));
        names.push(name.to_vec());
        names.len() - 1
    }
}

/// The multiply-and-rotate hash of rustc, by words of eight bytes.
#[inline(always)]
fn fx(bytes: &[u8]) -> u64 {
    const K: u64 = 0x517c_c1b7_2722_0a95;
    let add = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(K);
    let mut words = bytes.chunks_exact(8);
    let mut hash = 0;
    for word in &mut words {
        hash = add(hash, u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    words.remainder().iter().fold(hash, |hash, byte| add(hash, u64::from(*byte))).rotate_left(26)
}
