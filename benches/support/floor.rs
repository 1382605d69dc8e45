//! The floor: what this machine can do when nothing but one job is done.
//!
//! The jobs of the comparison with other engines (cases.rs says what they ask), each for one [`Parser`]: event time
//! with a watermark 2 s behind the newest; one thread for each part file; rows written as they become final. No
//! validation, no faults, no late records, no state that could be kept, one job for ever.

use super::read::{Parser, events};
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How far the watermark is behind the newest event, in milliseconds.
const DELAY: u64 = 2_000;
const CHUNK: usize = 1 << 20;

/// Runs a job (`j1`, `j1p`, `j2` or `j3`), one thread for each input; the rows of the i-th go to `{output}.{i}`.
///
/// # Panics
///
/// On any other job.
pub fn run(job: &str, parser: Parser, output: &Path, inputs: &[PathBuf]) -> io::Result<()> {
    std::thread::scope(|scope| {
        let threads = inputs.iter().enumerate().map(|(i, input)| {
            let output = output.with_added_extension(i.to_string());
            scope.spawn(move || {
                let rows = Rows::new(&output)?;
                match job {
                    "j1" => windows::<10_000, 1, false>(parser, input, rows),
                    "j1p" => windows::<10_000, 1, true>(parser, input, rows),
                    "j2" => windows::<5_000, 12, false>(parser, input, rows),
                    "j3" => scores(parser, input, rows),
                    other => panic!("no floor for {other}"),
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that ends"))
    })
}

fn windows<const PANE: u64, const PANES: usize, const QUANTILES: bool>(
    parser: Parser,
    input: &Path,
    rows: Rows,
) -> io::Result<()> {
    let mut state = Windows::<PANE, PANES, QUANTILES> {
        sensors: Sensors::default(),
        places: Vec::new(),
        panes: VecDeque::new(),
        newest: 0,
        next_end: 0,
        rows,
    };
    events(parser, input, |ts, sensor, value| state.add(ts, sensor, value))?;
    while !state.panes.is_empty() {
        state.close()?;
    }
    state.rows.to.flush()
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

impl Summary {
    #[inline(always)]
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
    }

    fn merge(&mut self, other: &Summary) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// Windows of `PANES` panes of `PANE` ms each, one for every pane at which one can begin.
struct Windows<const PANE: u64, const PANES: usize, const QUANTILES: bool> {
    sensors: Sensors,
    /// For each sensor, where it is in the last even and the last odd pane that it was in: no more than two are open
    /// for events, because a pane is longer than the delay.
    places: Vec<[Place; 2]>,
    /// Contiguous.
    panes: VecDeque<Pane>,
    newest: u64,
    /// The end of the window that is told next.
    next_end: u64,
    rows: Rows,
}

#[derive(Clone, Copy)]
struct Place {
    pane: u64,
    at: u32,
}

/// The sensors of a pane, in the order in which they came.
struct Pane {
    /// Its start by its length.
    number: u64,
    sensors: Vec<u32>,
    summaries: Vec<Summary>,
    /// With quantiles only.
    values: Vec<Vec<f64>>,
}

impl Pane {
    fn new(number: u64) -> Pane {
        Pane { number, sensors: Vec::new(), summaries: Vec::new(), values: Vec::new() }
    }
}

impl<const PANE: u64, const PANES: usize, const QUANTILES: bool> Windows<PANE, PANES, QUANTILES> {
    #[inline(always)]
    fn add(&mut self, ts: u64, sensor: &[u8], value: f64) -> io::Result<()> {
        let sensor = self.sensors.number(sensor);
        if sensor == self.places.len() {
            self.places.push([Place { pane: u64::MAX, at: 0 }; 2]);
        }
        let number = ts / PANE;
        let at = self.pane(number);
        let pane = &mut self.panes[at];
        let place = &mut self.places[sensor][(number & 1) as usize];
        if place.pane != number {
            *place = Place { pane: number, at: pane.sensors.len() as u32 };
            pane.sensors.push(sensor as u32);
            pane.summaries.push(NOTHING);
            if QUANTILES {
                pane.values.push(Vec::new());
            }
        }
        pane.summaries[place.at as usize].add(value);
        if QUANTILES {
            pane.values[place.at as usize].push(value);
        }
        self.newest = self.newest.max(ts);
        while self.newest >= self.next_end + DELAY {
            self.close()?;
        }
        Ok(())
    }

    /// Where a pane is; made if it is not there.
    #[inline(always)]
    fn pane(&mut self, number: u64) -> usize {
        if self.panes.is_empty() {
            self.panes.push_back(Pane::new(number));
            self.next_end = (number + 1) * PANE;
        }
        while self.panes[0].number > number {
            self.panes.push_front(Pane::new(self.panes[0].number - 1));
            self.next_end -= PANE;
        }
        while self.panes[self.panes.len() - 1].number < number {
            self.panes.push_back(Pane::new(self.panes[self.panes.len() - 1].number + 1));
        }
        (number - self.panes[0].number) as usize
    }

    /// Tells the next window and drops the pane that no other needs.
    fn close(&mut self) -> io::Result<()> {
        let end = self.next_end / PANE;
        self.next_end += PANE;
        let (begin, start) = (end - PANES as u64, (end - PANES as u64) * PANE);
        if PANES > 1 {
            let mut all = vec![NOTHING; self.sensors.names.len()];
            for pane in self.panes.iter().filter(|pane| pane.number < end) {
                for (sensor, summary) in pane.sensors.iter().zip(&pane.summaries) {
                    all[*sensor as usize].merge(summary);
                }
            }
            for (name, summary) in self.sensors.names.iter().zip(&all).filter(|(_, summary)| summary.count > 0) {
                self.rows.window(start, name, summary, None)?;
            }
        }
        if self.panes.front().is_none_or(|pane| pane.number > begin) {
            return Ok(());
        }
        let Some(mut pane) = self.panes.pop_front() else { return Ok(()) };
        if PANES == 1 {
            for (i, sensor) in pane.sensors.iter().enumerate() {
                let values = if QUANTILES { Some(&mut pane.values[i]) } else { None };
                self.rows.window(start, &self.sensors.names[*sensor as usize], &pane.summaries[i], values)?;
            }
        }
        Ok(())
    }
}

/// How many values before it a value is compared with.
const BASELINE: usize = 99;
/// The square of the threshold: a z of 4.39 beside the 99 values before is one of 4 within the 100 with its own.
const SQUARE: f64 = 15.84 / 0.8217;

fn scores(parser: Parser, input: &Path, rows: Rows) -> io::Result<()> {
    let (sensors, waiting) = (Sensors::default(), vec![Vec::new(); 2 * DELAY as usize]);
    let mut state = Scores { sensors, baselines: Vec::new(), waiting, newest: 0, released: 0, rows };
    events(parser, input, |ts, sensor, value| state.add(ts, sensor, value))?;
    state.release(state.newest + 1)?;
    state.rows.to.flush()
}

struct Scores {
    sensors: Sensors,
    baselines: Vec<Baseline>,
    /// What came at each millisecond of the last so many, as it came.
    waiting: Vec<Vec<(u32, f64)>>,
    newest: u64,
    /// All before this have been given out.
    released: u64,
    rows: Rows,
}

struct Baseline {
    values: [f64; BASELINE],
    count: usize,
    next: usize,
    /// Taken off all values, so that the sums stay small.
    first: f64,
    sum: f64,
    squares: f64,
}

impl Scores {
    #[inline(always)]
    fn add(&mut self, ts: u64, sensor: &[u8], value: f64) -> io::Result<()> {
        let sensor = self.sensors.number(sensor);
        if sensor == self.baselines.len() {
            let values = [0.0; BASELINE];
            self.baselines.push(Baseline { values, count: 0, next: 0, first: value, sum: 0.0, squares: 0.0 });
        }
        if self.newest == 0 {
            (self.newest, self.released) = (ts, ts - DELAY);
        }
        let turn = self.waiting.len() as u64;
        self.waiting[(ts % turn) as usize].push((sensor as u32, value));
        if ts > self.newest {
            self.newest = ts;
            self.release(ts - DELAY)?;
        }
        Ok(())
    }

    /// Scores what is older, in order of time.
    fn release(&mut self, until: u64) -> io::Result<()> {
        let turn = self.waiting.len() as u64;
        for ts in self.released..until {
            let mut here = std::mem::take(&mut self.waiting[(ts % turn) as usize]);
            for (sensor, value) in here.drain(..) {
                let baseline = &mut self.baselines[sensor as usize];
                if let Some((mean, deviation, z)) = baseline.score(value) {
                    self.rows.score(ts, &self.sensors.names[sensor as usize], [value, mean, deviation, z])?;
                }
                baseline.push(value);
            }
            self.waiting[(ts % turn) as usize] = here;
        }
        self.released = until;
        Ok(())
    }
}

impl Baseline {
    #[inline(always)]
    fn score(&self, value: f64) -> Option<(f64, f64, f64)> {
        let mean = self.sum / BASELINE as f64;
        let variance = self.squares / BASELINE as f64 - mean * mean;
        let difference = value - self.first - mean;
        let far = self.count == BASELINE && variance > 0.0 && difference * difference > SQUARE * variance;
        far.then(|| (mean + self.first, variance.sqrt(), difference / variance.sqrt()))
    }

    #[inline(always)]
    fn push(&mut self, value: f64) {
        let value = value - self.first;
        let old = std::mem::replace(&mut self.values[self.next], value);
        self.sum += value - old;
        self.squares += value * value - old * old;
        self.count = (self.count + 1).min(BASELINE);
        self.next += 1;
        if self.next == BASELINE {
            // Afresh, so that rounding does not add up.
            self.next = 0;
            self.sum = self.values.iter().sum();
            self.squares = self.values.iter().map(|value| value * value).sum();
        }
    }
}

/// Where rows go, as JSON lines.
struct Rows {
    to: BufWriter<File>,
    row: Vec<u8>,
}

impl Rows {
    fn new(path: &Path) -> io::Result<Rows> {
        Ok(Rows { to: BufWriter::with_capacity(CHUNK, File::create(path)?), row: Vec::new() })
    }

    fn window(&mut self, start: u64, sensor: &[u8], of: &Summary, values: Option<&mut Vec<f64>>) -> io::Result<()> {
        let mean = of.sum / of.count as f64;
        let stddev = (of.squares / of.count as f64 - mean * mean).max(0.0).sqrt();
        self.begin("window_start", start, sensor)?;
        self.row.extend(b",\"count\":");
        serde_json::to_writer(&mut self.row, &of.count)?;
        self.numbers([("sum", of.sum), ("min", of.min), ("max", of.max), ("mean", mean), ("stddev", stddev)])?;
        if let Some(values) = values {
            values.sort_unstable_by(f64::total_cmp);
            self.numbers([("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map(|(name, q)| (name, quantile(values, q))))?;
        }
        self.end()
    }

    fn score(&mut self, ts: u64, sensor: &[u8], [value, mean, deviation, z]: [f64; 4]) -> io::Result<()> {
        self.begin("ts", ts, sensor)?;
        self.numbers([("value", value), ("mean", mean), ("deviation", deviation), ("z", z)])?;
        self.end()
    }

    fn begin(&mut self, name: &str, time: u64, sensor: &[u8]) -> io::Result<()> {
        self.row.clear();
        self.row.extend(b"{\"");
        self.row.extend(name.as_bytes());
        self.row.extend(b"\":");
        serde_json::to_writer(&mut self.row, &time)?;
        self.row.extend(b",\"sensor\":\"");
        self.row.extend(sensor);
        self.row.push(b'"');
        Ok(())
    }

    fn numbers<const N: usize>(&mut self, numbers: [(&str, f64); N]) -> io::Result<()> {
        for (name, value) in numbers {
            self.row.extend(b",\"");
            self.row.extend(name.as_bytes());
            self.row.extend(b"\":");
            serde_json::to_writer(&mut self.row, &value)?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.row.extend(b"}\n");
        self.to.write_all(&self.row)
    }
}

/// Interpolated between the neighbours in values that are in order.
fn quantile(values: &[f64], q: f64) -> f64 {
    let at = q * (values.len() - 1) as f64;
    let below = values[at as usize];
    values.get(at as usize + 1).map_or(below, |above| below + (above - below) * at.fract())
}

/// Sensors by number.
#[derive(Default)]
struct Sensors {
    table: HashTable<u32>,
    names: Vec<Vec<u8>>,
}

impl Sensors {
    #[inline(always)]
    fn number(&mut self, name: &[u8]) -> usize {
        let hash = fx(name);
        let Sensors { table, names } = self;
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
