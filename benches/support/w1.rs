//! W1, the workload of the comparison with other engines: one JSON line an event, the same bytes on every machine.
//!
//! 5,000 events a second of event time, out of order by up to 2 s, so that a watermark of the newest time less 2 s
//! never makes one late; sensors by Zipf's law (of 1,000 the first has 13 % of the events), values with a cycle, noise
//! and a few spikes. No dependency and no function of the C library: splitmix64, and a normal number is twelve uniform
//! ones. [`Variant`] says what else there is; the events of `Shapes` and `Odd` are those of `Plain`, written otherwise.

#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// 2026-01-01T00:00:00Z in milliseconds.
const START: u64 = 1_767_225_600_000;
const SEED: u64 = 42;
const PARTS: usize = 2;
const STATUS: [u16; 10] = [200, 200, 200, 200, 200, 200, 200, 404, 500, 503];

/// The XXH3 of the whole for some numbers of keys and events. Those of 5 million are of the bytes whose SHA-256 is
/// 238352ad20c392dba1897678fe6fe646ec7a8513471bdc1fd18923143a838b51 (1,000 keys) and
/// 5cef7937c6b238d4532849e353b3e91268b81ed0bb25c3378b4dc900eccf6bab (10,000 keys):
/// the files that other engines were measured with.
const KNOWN: [(usize, u64, u64); 3] = [
    (1_000, 1_000_000, 0xbbe3_3091_b202_5c22),
    (1_000, 5_000_000, 0x5f91_a9c1_80e2_6a54),
    (10_000, 5_000_000, 0xeabb_f3a0_a8c9_2e75),
];

/// How events come and are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// W1 itself.
    Plain,
    /// The lines alternate among four shapes: another spacing, another order, other fields.
    Shapes,
    /// Every twentieth line has something that no other has: an escape, an exponent, a nested value, more blanks.
    Odd,
    /// All sensors equally often, 250,000 events a second of event time: a million sensors in one window of 10 s.
    Crowd,
}

/// Which events.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    /// How they come and are written.
    pub variant: Variant,
    /// How many sensors.
    pub keys: usize,
    /// How many events.
    pub events: u64,
    /// Whether the part files are wanted too.
    pub parts: bool,
}

impl From<u64> for Data {
    /// W1 with so many events, as other engines were measured with.
    fn from(events: u64) -> Data {
        Data { variant: Variant::Plain, keys: 1_000, events, parts: true }
    }
}

/// The events in one file, and the same lines in two by sensor, in the same order.
pub struct Files {
    /// All events.
    pub whole: PathBuf,
    /// The events by sensor.
    pub parts: [PathBuf; PARTS],
}

impl Files {
    /// Where the files of some data are in a folder.
    pub fn of(folder: &Path, data: Data, extension: &str) -> Files {
        let variant = format!("{:?}", data.variant).to_lowercase();
        let name = |part: &str| folder.join(format!("w1-{variant}-{}-{}{part}.{extension}", data.keys, data.events));
        Files { whole: name(""), parts: [name(".p0"), name(".p1")] }
    }
}

/// Writes the events into a folder, unless they are there.
///
/// # Panics
///
/// When the bytes are not those that they were for other engines.
pub fn generate(folder: &Path, data: impl Into<Data>) -> io::Result<Files> {
    let data = data.into();
    let files = Files::of(folder, data, "jsonl");
    if !files.whole.exists() || (data.parts && !files.parts[1].exists()) {
        let new = files.whole.with_extension("new");
        let hash = write(&new, if data.parts { &files.parts } else { &[] }, data)?;
        let known = KNOWN.iter().find(|(keys, events, _)| (*keys, *events) == (data.keys, data.events));
        if let (Variant::Plain, Some((.., known))) = (data.variant, known) {
            assert_eq!(hash, *known, "the workload is no longer the one that other engines were measured with");
        }
        std::fs::rename(new, &files.whole)?;
    }
    Ok(files)
}

fn write(whole: &Path, parts: &[PathBuf], data: Data) -> io::Result<u64> {
    let open = |path: &Path| File::create(path).map(|file| BufWriter::with_capacity(1 << 20, file));
    let mut whole = open(whole)?;
    let mut parts = parts.iter().map(|path| open(path)).collect::<io::Result<Vec<_>>>()?;
    let mut workload = Workload::new(data);
    let mut hash = Xxh3::new();
    let mut line = Vec::with_capacity(200);
    for i in 0..data.events {
        line.clear();
        let part = workload.event(i, &mut line)?;
        hash.update(&line);
        whole.write_all(&line)?;
        if let Some(part) = parts.get_mut(part) {
            part.write_all(&line)?;
        }
    }
    parts.iter_mut().try_for_each(|part| part.flush())?;
    whole.flush().map(|()| hash.digest())
}

struct Workload {
    random: Random,
    variant: Variant,
    /// How often each rank comes, summed up.
    ranks: Vec<f64>,
    /// The sensor of each rank.
    order: Vec<usize>,
    sensors: Vec<Sensor>,
}

struct Sensor {
    name: String,
    host: String,
    base: f64,
    amplitude: f64,
    deviation: f64,
    phase: f64,
    part: usize,
}

impl Workload {
    fn new(data: Data) -> Workload {
        let mut random = Random(SEED);
        let ranks = (0..data.keys).scan(0.0, |sum, rank| {
            *sum += if data.variant == Variant::Crowd { 1.0 } else { 1.0 / (rank + 1) as f64 };
            Some(*sum)
        });
        let ranks = ranks.collect();
        let mut order: Vec<usize> = (0..data.keys).collect();
        for i in (1..data.keys).rev() {
            order.swap(i, (random.bits() % (i as u64 + 1)) as usize);
        }
        let sensors = (0..data.keys).map(|number| Sensor::new(number, &mut random)).collect();
        Workload { random, variant: data.variant, ranks, order, sensors }
    }

    /// Appends the line of the i-th event; gives its part.
    fn event(&mut self, i: u64, line: &mut Vec<u8>) -> io::Result<usize> {
        let random = &mut self.random;
        let u = random.unit();
        let delay = (2000.0 * u * u * u) as u64;
        let ts = START + 2000 + i / if self.variant == Variant::Crowd { 250 } else { 5 } - delay;
        let last = self.sensors.len() - 1;
        let x = random.unit() * self.ranks[last];
        let rank = self.ranks.partition_point(|sum| *sum <= x).min(last);
        let sensor = &self.sensors[self.order[rank]];
        // A day of 600 s: two parabolas that look like a sine.
        let phase = (((ts - START) % 600_000) as f64 / 600_000.0 + sensor.phase).fract();
        let cycle = if phase < 0.5 { 16.0 * phase * (0.5 - phase) } else { -16.0 * (phase - 0.5) * (1.0 - phase) };
        let mut value = sensor.base + sensor.amplitude * cycle + sensor.deviation * random.normal();
        if random.unit() < 0.0005 {
            let size = 8.0 + 8.0 * random.unit();
            value += if random.bits() & 1 == 0 { size } else { -size } * sensor.deviation;
        }
        let status = STATUS[(random.bits() % 10) as usize];
        let event = Event { ts, name: &sensor.name, value, host: &sensor.host, status };
        match (self.variant, i) {
            (Variant::Shapes, i) => event.shape(i % 4, line)?,
            (Variant::Odd, i) if i % 20 == 0 => event.odd(i / 20 % 4, line)?,
            _ => event.shape(0, line)?,
        }
        Ok(sensor.part)
    }
}

struct Event<'a> {
    ts: u64,
    name: &'a str,
    value: f64,
    host: &'a str,
    status: u16,
}

impl Event<'_> {
    /// A line of W1, or of another shape.
    fn shape(&self, which: u64, line: &mut Vec<u8>) -> io::Result<()> {
        let Event { ts, name, value, host, status } = self;
        match which {
            0 => {
                write!(line, r#"{{"ts": {ts}, "sensor": "{name}", "value": {value:.6}"#)?;
                self.rest(line)
            }
            1 => {
                write!(line, r#"{{"ts":{ts},"sensor":"{name}","value":{value:.6}"#)?;
                writeln!(line, r#","host":"{host}","status":{status}}}"#)
            }
            2 => {
                write!(line, r#"{{"sensor": "{name}", "host": "{host}", "status": {status}"#)?;
                writeln!(line, r#", "ts": {ts}, "value": {value:.6}}}"#)
            }
            _ => {
                write!(line, r#"{{"ts": {ts}, "sensor": "{name}", "value": {value:.6}"#)?;
                writeln!(line, r#", "status": {status}, "unit": "bar"}}"#)
            }
        }
    }

    /// A line with something that others have not.
    fn odd(&self, which: u64, line: &mut Vec<u8>) -> io::Result<()> {
        let Event { ts, name, value, .. } = self;
        match which {
            0 => {
                let all_but_first = &name[1..];
                write!(line, r#"{{"ts": {ts}, "sensor": "\u0073{all_but_first}", "value": {value:.6}"#)?;
            }
            1 => {
                // The shortest digits of the number that the six decimals stand for.
                let value = format!("{value:.6}").parse::<f64>().expect("what was just written");
                write!(line, r#"{{"ts": {ts}, "sensor": "{name}", "value": {value:e}"#)?;
            }
            2 => write!(line, r#"{{"ts": {ts}, "sensor": "{name}", "tags": {{"a": [1]}}, "value": {value:.6}"#)?,
            _ => write!(line, r#"{{ "ts" : {ts}, "sensor" : "{name}", "value" : {value:.6}"#)?,
        }
        self.rest(line)
    }

    fn rest(&self, line: &mut Vec<u8>) -> io::Result<()> {
        let Event { host, status, .. } = self;
        writeln!(line, r#", "host": "{host}", "status": {status}}}"#)
    }
}

impl Sensor {
    fn new(number: usize, random: &mut Random) -> Sensor {
        let name = format!("sensor-{number:05}");
        let h = random.bits();
        let (edge, line, region) = (h % 200, (h >> 8) % 9 + 1, (h >> 16) % 3 + 1);
        let host = format!("edge-{edge:03}.line-{line}.eu-west-{region}.example.net");
        let part = ((fnv1a(name.as_bytes()) >> 48) % PARTS as u64) as usize;
        let base = 20.0 + 80.0 * random.unit();
        let amplitude = 1.0 + 4.0 * random.unit();
        let deviation = 0.5 + 1.5 * random.unit();
        Sensor { name, host, base, amplitude, deviation, phase: random.unit(), part }
    }
}

struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let sum = (0..12).fold(0.0, |sum, _| sum + self.unit());
        sum - 6.0
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
