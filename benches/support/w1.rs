//! W1, the workload of the comparison with other engines: one JSON line an event, the same bytes on every machine.
//!
//! 5,000 events a second of event time, out of order by up to 2 s, so that a watermark of the newest time less 2 s
//! never makes one late; sensors by Zipf's law (the first has 13 % of the events), values with a cycle, noise and a few
//! spikes. No dependency and no function of the C library: splitmix64, and a normal number is twelve uniform ones.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// 2026-01-01T00:00:00Z in milliseconds.
const START: u64 = 1_767_225_600_000;
const SEED: u64 = 42;
const SENSORS: usize = 1000;
const PARTS: usize = 2;
const STATUS: [u16; 10] = [200, 200, 200, 200, 200, 200, 200, 404, 500, 503];

/// The XXH3 of the whole for some numbers of events. That of 5 million is of the bytes whose SHA-256 is
/// 238352ad20c392dba1897678fe6fe646ec7a8513471bdc1fd18923143a838b51, the file that other engines were measured with.
const KNOWN: [(u64, u64); 2] = [(1_000_000, 0xbbe3_3091_b202_5c22), (5_000_000, 0x5f91_a9c1_80e2_6a54)];

/// The events in one file, and the same lines in two by sensor, in the same order.
pub struct Files {
    /// All events.
    pub whole: PathBuf,
    /// The events by sensor.
    pub parts: [PathBuf; PARTS],
}

/// Writes so many events into a folder, unless they are there.
///
/// # Panics
///
/// When the bytes are not those that they were for other engines.
pub fn generate(folder: &Path, events: u64) -> io::Result<Files> {
    let whole = folder.join(format!("w1-{events}.jsonl"));
    let parts = [0, 1].map(|part| folder.join(format!("w1-{events}.p{part}.jsonl")));
    if !whole.exists() {
        let hash = write(&whole.with_extension("new"), &parts, events)?;
        if let Some((_, known)) = KNOWN.iter().find(|(of, _)| *of == events) {
            assert_eq!(hash, *known, "the workload is no longer the one that other engines were measured with");
        }
        std::fs::rename(whole.with_extension("new"), &whole)?;
    }
    Ok(Files { whole, parts })
}

fn write(whole: &Path, parts: &[PathBuf], events: u64) -> io::Result<u64> {
    let open = |path: &Path| File::create(path).map(|file| BufWriter::with_capacity(1 << 20, file));
    let mut whole = open(whole)?;
    let mut parts = parts.iter().map(|path| open(path)).collect::<io::Result<Vec<_>>>()?;
    let mut workload = Workload::new();
    let mut hash = Xxh3::new();
    let mut line = Vec::with_capacity(200);
    for i in 0..events {
        line.clear();
        let part = workload.event(i, &mut line)?;
        hash.update(&line);
        whole.write_all(&line)?;
        parts[part].write_all(&line)?;
    }
    parts.iter_mut().try_for_each(|part| part.flush())?;
    whole.flush().map(|()| hash.digest())
}

struct Workload {
    random: Random,
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
    fn new() -> Workload {
        let mut random = Random(SEED);
        let ranks = (0..SENSORS).scan(0.0, |sum, rank| {
            *sum += 1.0 / (rank + 1) as f64;
            Some(*sum)
        });
        let ranks = ranks.collect();
        let mut order: Vec<usize> = (0..SENSORS).collect();
        for i in (1..SENSORS).rev() {
            order.swap(i, (random.bits() % (i as u64 + 1)) as usize);
        }
        let sensors = (0..SENSORS).map(|number| Sensor::new(number, &mut random)).collect();
        Workload { random, ranks, order, sensors }
    }

    /// Appends the line of the i-th event; gives its part.
    fn event(&mut self, i: u64, line: &mut Vec<u8>) -> io::Result<usize> {
        let random = &mut self.random;
        let u = random.unit();
        let delay = (2000.0 * u * u * u) as u64;
        let ts = START + 2000 + i / 5 - delay;
        let x = random.unit() * self.ranks[SENSORS - 1];
        let rank = self.ranks.partition_point(|sum| *sum <= x).min(SENSORS - 1);
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
        let Sensor { name, host, part, .. } = sensor;
        writeln!(
            line,
            "{{\"ts\": {ts}, \"sensor\": \"{name}\", \"value\": {value:.6}, \
             \"host\": \"{host}\", \"status\": {status}}}"
        )?;
        Ok(*part)
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
