//! Lines to columns: the decoders beside parsers that know every byte, in nanoseconds of CPU an event.
//!
//! `cargo bench --bench decoder [-- --events 1000000 --rounds 7]` decodes frames in memory, of the size that the file
//! source gives, on one thread: three of them again and again, which lie in the cache as what was just read does. The
//! workloads follow each other in every round, so that a slow moment of the machine falls on all; medians are printed,
//! and `x` is the ratio to the hand-written parser of the same run. The floors, a parser of exactly this line by
//! position and serde_json into a struct that borrows its text, fill vectors anew for every frame and check nothing
//! else.
//!
//! `cargo bench --bench decoder -- --fuzz 10000000 [--seed 1]` compares the decoders with the general ones instead
//! (`support/agree.rs`); half of the runs are of JSON, half of CSV.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock; nothing here reaches an output of the engine"
)]

#[path = "support/agree.rs"]
mod agree;
#[path = "support/w1.rs"]
mod w1;

use eagre::formats::csv::CsvDecoder;
use eagre::formats::json::JsonDecoder;
use eagre::formats::{Decoder, Fields, Frames, Layout, Rows, TimeFrom, Wanted};
use serde::Deserialize;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;

/// What the file source reads at a time.
const CHUNK: usize = 1 << 20;
/// Events from which frames are made.
const LINES: u64 = 20_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Something that makes rows of frames; gives their number.
type Program = Box<dyn FnMut(&Frames) -> usize>;

struct Workload {
    name: &'static str,
    frames: Vec<Frames>,
    program: Program,
    nanoseconds: Vec<f64>,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let option = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    if let Some(runs) = option("--fuzz") {
        let (runs, seed): (u64, u64) = (runs.parse()?, option("--seed").map_or(Ok(1), |text| text.parse())?);
        agree::json(seed, runs / 2);
        agree::csv(seed, runs / 2);
        println!("{runs} frames, seed {seed}: the decoders agree with the general ones");
        return Ok(());
    }
    let events: u64 = option("--events").map_or(Ok(1_000_000), |text| text.parse())?;
    let rounds: usize = option("--rounds").map_or(Ok(7), |text| text.parse())?;
    let only = option("--only").map_or("", String::as_str);
    let mut workloads = workloads()?;
    workloads.retain(|w| w.name.contains(only) || w.name.starts_with("floor"));
    for _ in 0..rounds {
        for workload in &mut workloads {
            workload.run(events)?;
        }
    }
    print(events, rounds, &mut workloads);
    Ok(())
}

fn workloads() -> Outcome<Vec<Workload>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("decoder");
    std::fs::create_dir_all(&folder)?;
    let text = std::fs::read_to_string(w1::generate(&folder, LINES)?.whole)?;
    let three = || wanted("ts='time(ms)'\nsensor='text'\nvalue='float'");
    let five = wanted("ts='time(ms)'\nsensor='text'\nvalue='float'\nhost='text'\nstatus='int'");
    let json = |wanted: &Wanted| program(JsonDecoder::new(wanted));
    let w1 = || frames("", text.lines().map(str::to_owned));
    let rewritten = |rewrite: fn(u64, Event<'_>, &str) -> String| {
        let mut state = 0;
        frames("", text.lines().map(|line| rewrite(random(&mut state), event(line), line)))
    };
    let csv = || frames("ts,sensor,value,host,status\n", text.lines().map(|line| cells(&event(line))));
    Ok(vec![
        Workload::new("floor: by position", w1(), by_position()),
        Workload::new("floor: typed serde_json", w1(), typed()),
        Workload::new("W1, 3 of 5 fields", w1(), json(&three())),
        Workload::new("W1, all 5 fields", w1(), json(&five)),
        Workload::new("W1, general decoder", w1(), program(JsonDecoder::general(&three()))),
        Workload::new("4 shapes, at random", rewritten(four_shapes), json(&three())),
        Workload::new("5 % fall back", rewritten(some_escapes), json(&three())),
        Workload::new("floats of 17 digits", rewritten(long_floats), json(&three())),
        Workload::new(
            "times as RFC 3339",
            rewritten(text_times),
            json(&wanted("ts='time'\nsensor='text'\nvalue='float'")),
        ),
        Workload::new("CSV, 3 of 5 fields", csv(), program(CsvDecoder::new(&three(), b','))),
        Workload::new("CSV, general decoder", csv(), program(CsvDecoder::general(&three(), b','))),
    ])
}

impl Workload {
    fn new(name: &'static str, frames: Vec<Frames>, program: Program) -> Workload {
        Workload { name, frames, program, nanoseconds: Vec::new() }
    }

    fn run(&mut self, events: u64) -> Outcome<()> {
        let (begun, mut rows) = (cpu()?, 0);
        while rows < events {
            let some: usize = self.frames.iter().map(&mut self.program).sum();
            assert_eq!(some as u64, LINES, "{} decodes every line", self.name);
            rows += LINES;
        }
        self.nanoseconds.push((cpu()? - begun) / rows as f64);
        Ok(())
    }
}

fn print(events: u64, rounds: usize, workloads: &mut [Workload]) {
    println!("{events} events; ns of CPU an event, median (least) of {rounds} rounds; x = times the first floor\n");
    let mut floor = None;
    for Workload { name, frames, nanoseconds, .. } in workloads {
        nanoseconds.sort_by(f64::total_cmp);
        let (median, least) = (nanoseconds[nanoseconds.len() / 2], nanoseconds[0]);
        let floor = *floor.get_or_insert(median);
        let bytes: usize = frames.iter().map(|f| f.bytes.len()).sum();
        let size = bytes as f64 / LINES as f64;
        println!("{name:<26} {size:>6.1} B/event {median:>7.1} ({least:>5.1}) ns {:>6.2} x", median / floor);
    }
}

/// Nanoseconds that this thread has been on a CPU.
fn cpu() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().ok_or("an empty schedstat")?.parse()?)
}

fn wanted(fields: &str) -> Wanted {
    let fields: Fields = toml::from_str(fields).expect("fields");
    let schema = fields.schema();
    let event_time = TimeFrom::Field("ts".to_owned(), fields.0["ts"]);
    Wanted { written: fields.written(&schema), event_time, schema }
}

fn program(mut decoder: impl Decoder + 'static) -> Program {
    Box::new(move |frames| {
        let Rows { times, bad, .. } = black_box(decoder.decode(frames));
        assert!(bad.is_empty(), "{:?}", bad.first());
        times.len()
    })
}

fn frames(header: &str, lines: impl Iterator<Item = String>) -> Vec<Frames> {
    let mut frames = Vec::new();
    let mut bytes = header.as_bytes().to_vec();
    for line in lines {
        if bytes.len() + line.len() + 1 > CHUNK {
            let whole = std::mem::replace(&mut bytes, header.as_bytes().to_vec());
            frames.push(Frames { bytes: whole, layout: Layout::Lines { at: 0 } });
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    frames.push(Frames { bytes, layout: Layout::Lines { at: 0 } });
    frames
}

#[derive(Deserialize)]
struct Event<'a> {
    ts: i64,
    sensor: &'a str,
    value: f64,
    host: &'a str,
    status: i64,
}

fn event(line: &str) -> Event<'_> {
    serde_json::from_str(line).expect("a line of W1")
}

fn cells(event: &Event<'_>) -> String {
    format!("{},{},{},{},{}", event.ts, event.sensor, event.value, event.host, event.status)
}

/// Another order, a field less, a field more.
fn four_shapes(random: u64, event: Event<'_>, line: &str) -> String {
    let Event { ts, sensor, value, host, status } = event;
    match random % 4 {
        0 => line.to_owned(),
        1 => format!(r#"{{"ts": {ts}, "value": {value}, "sensor": "{sensor}", "host": "{host}", "status": {status}}}"#),
        2 => format!(
            r#"{{"ts": {ts}, "sensor": "{sensor}", "value": {value}, "status": {status}, "unit": "C, mean of 60 seconds"}}"#
        ),
        _ => line.replace('}', r#", "unit": "C"}"#),
    }
}

/// A text with an escape is the general decoder's.
fn some_escapes(random: u64, _: Event<'_>, line: &str) -> String {
    if random.is_multiple_of(20) { line.replace("sensor-", "sensor\\u002d") } else { line.to_owned() }
}

fn long_floats(random: u64, event: Event<'_>, line: &str) -> String {
    let (from, to) = (format!("\"value\": {}", event.value), event.value + (random >> 11) as f64 / (1u64 << 53) as f64);
    line.replace(&from, &format!("\"value\": {to}"))
}

fn text_times(_: u64, event: Event<'_>, line: &str) -> String {
    line.replace(&event.ts.to_string(), &format!("\"{}\"", eagre::time::format(event.ts * 1000)))
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The columns that a floor fills.
#[derive(Default)]
struct Columns {
    times: Vec<i64>,
    values: Vec<f64>,
    ends: Vec<i32>,
    text: Vec<u8>,
}

impl Columns {
    #[inline(always)]
    fn push(&mut self, time: i64, sensor: &[u8], value: f64) {
        self.times.push(time * 1000);
        self.text.extend_from_slice(sensor);
        self.ends.push(self.text.len() as i32);
        self.values.push(value);
    }

    fn done(&mut self) -> usize {
        let rows = self.times.len();
        black_box(&*self);
        *self = Columns {
            times: Vec::with_capacity(rows),
            values: Vec::with_capacity(rows),
            ends: Vec::with_capacity(rows),
            text: Vec::with_capacity(self.text.len()),
        };
        rows
    }
}

fn typed() -> Program {
    let mut columns = Columns::default();
    Box::new(move |frames| {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &frames.bytes) {
            let Event { ts, sensor, value, .. } = serde_json::from_slice(&frames.bytes[from..end]).expect("W1");
            columns.push(ts, sensor.as_bytes(), value);
            from = end + 1;
        }
        columns.done()
    })
}

fn by_position() -> Program {
    let mut columns = Columns::default();
    Box::new(move |frames| {
        let bytes = frames.bytes.as_slice();
        let mut from = 0;
        while from < bytes.len() {
            let (time, at) = digits(bytes, from + 7, 0);
            let sensor = at + 13;
            let mut end = sensor;
            while bytes[end] != b'"' {
                end += 1;
            }
            let (whole, point) = digits(bytes, end + 12, 0);
            let (mantissa, behind) = digits(bytes, point + 1, whole);
            let value = mantissa as f64 / POWERS[behind - point - 1];
            columns.push(time, &bytes[sensor..end], value);
            from = behind + memchr::memchr(b'\n', &bytes[behind..]).expect("a whole line") + 1;
        }
        columns.done()
    })
}

const POWERS: [f64; 10] = [1., 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

#[inline(always)]
fn digits(bytes: &[u8], mut at: usize, mut value: i64) -> (i64, usize) {
    while bytes[at].is_ascii_digit() {
        value = value * 10 + i64::from(bytes[at] - b'0');
        at += 1;
    }
    (value, at)
}
