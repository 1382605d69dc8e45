//! Parts for tests: a log in memory that is read at random speeds, and a sink that collects lines.

use eagre::batch::Batch;
use eagre::fault::{Failure, Fault};
use eagre::formats::{MakeDecoder, Rows};
use eagre::registry::Registry;
use eagre::schema::{Field, Kind, SYSTEM, Schema};
use eagre::sink::{Opening, Shards, Sink, Writer};
use eagre::source::{Feed, Position, Read, Reader, Source, Wake};
use eagre::stats::random::Random;
use eagre::value::{ColumnBuilder, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// A record of a test log.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, in microseconds.
    pub time: i64,
    /// Its key.
    pub key: String,
    /// Its group, for a second key.
    pub site: String,
    /// Its value.
    pub value: Option<f64>,
}

/// The partitions of each log, by name.
static LOGS: Mutex<BTreeMap<String, Vec<Vec<Event>>>> = Mutex::new(BTreeMap::new());
/// The lines that each collecting sink was given.
static COLLECTED: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

/// Puts a log where a `log` source finds it.
pub fn put_log(name: &str, partitions: Vec<Vec<Event>>) {
    LOGS.lock().unwrap().insert(name.into(), partitions);
}

/// Takes what a `collect` sink was given.
pub fn take_lines(name: &str) -> Vec<String> {
    COLLECTED.lock().unwrap().remove(name).unwrap_or_default()
}

/// The standard parts and those of tests.
pub fn registry() -> Registry {
    eagre::standard().source::<Log>("").sink::<Collect>("")
}

/// `kind = "log"`: the log of that name, read in pieces whose sizes the seed decides.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Log {
    log: String,
    #[serde(default)]
    seed: u64,
    /// Whether partitions fall silent at their end instead of ending.
    #[serde(default)]
    endless: bool,
}

impl Source for Log {
    const NAME: &'static str = "log";

    fn plan(&self, _faults: &mut Vec<Fault>) -> Option<Schema> {
        let fields = [("key", Kind::Text), ("site", Kind::Text), ("value", Kind::Float)];
        Some(Schema::new(fields.map(|(name, kind)| Field::new(name, kind))))
    }

    fn open(&self, _name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        let log = LOGS.lock().unwrap().get(&self.log).cloned();
        let partitions = log.ok_or_else(|| Failure::new(format!("no log `{}`", self.log)))?;
        Ok(Box::new(LogFeed { partitions, wanted: wanted.clone(), seed: self.seed, endless: self.endless }))
    }
}

struct LogFeed {
    partitions: Vec<Vec<Event>>,
    wanted: Schema,
    seed: u64,
    endless: bool,
}

impl Feed for LogFeed {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok((0..self.partitions.len()).map(|p| format!("log[{p}]")).collect())
    }

    fn open(&self, partition: &str, from: Option<Position>, _wake: Wake) -> Result<Box<dyn Reader>, Failure> {
        let number: usize = partition["log[".len()..partition.len() - 1].parse().unwrap();
        let random = Random::new(self.seed.wrapping_mul(31).wrapping_add(number as u64));
        let events = self.partitions[number].clone();
        Ok(Box::new(LogReader {
            events,
            wanted: self.wanted.clone(),
            at: from.unwrap_or(0) as usize,
            random,
            endless: self.endless,
        }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }
}

struct LogReader {
    events: Vec<Event>,
    wanted: Schema,
    at: usize,
    random: Random,
    endless: bool,
}

impl Reader for LogReader {
    fn read(&mut self, _limit: usize) -> Result<Read, Failure> {
        if self.at == self.events.len() {
            return Ok(if self.endless { Read::Idle(Duration::from_millis(5)) } else { Read::End });
        }
        if self.random.next_u64().is_multiple_of(4) {
            return Ok(Read::Idle(Duration::from_micros(self.random.next_u64() % 300)));
        }
        let size = 1 + (self.random.next_u64() as usize) % 40;
        let piece = &self.events[self.at..(self.at + size).min(self.events.len())];
        let columns = self.wanted.fields().iter().map(|field| {
            let mut column = ColumnBuilder::new(field.kind);
            piece.iter().for_each(|e| column.push(value(e, &field.name)));
            column.finish()
        });
        let rows = Rows {
            columns: columns.collect(),
            times: piece.iter().map(|e| e.time).collect(),
            sequences: (self.at as i64..(self.at + piece.len()) as i64).collect(),
            bad: Vec::new(),
        };
        self.at += piece.len();
        Ok(Read::Rows(rows))
    }

    fn position(&self) -> Position {
        self.at as i64
    }
}

fn value(event: &Event, field: &str) -> Value {
    match field {
        "key" => event.key.as_str().into(),
        "site" => event.site.as_str().into(),
        _ => event.value.into(),
    }
}

/// `kind = "collect"`: keeps every row as a line of text, with the bits of its floats.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Collect {
    into: String,
    #[serde(default)]
    slow_ms: u64,
}

impl Sink for Collect {
    const NAME: &'static str = "collect";

    fn plan(&self, _input: &Schema, _faults: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        Shards::PerWorker
    }

    fn open(&self, _opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Ok(Box::new(Collector { into: self.into.clone(), slow: Duration::from_millis(self.slow_ms) }))
    }
}

struct Collector {
    into: String,
    slow: Duration,
}

impl Writer for Collector {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        std::thread::sleep(self.slow);
        let lines = (0..batch.len()).map(|row| line(batch, row));
        COLLECTED.lock().unwrap().entry(self.into.clone()).or_default().extend(lines);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A row as text: time, origin, sequence, stamp, and every field; floats by their bits.
fn line(batch: &Batch, row: usize) -> String {
    let stamp = batch.stamp(row).map_or(String::new(), |s| format!("^{s}"));
    let mut text = format!("{} {}@{}{stamp}", batch.times()[row], batch.origins()[row], batch.sequences()[row]);
    let schema = batch.records().schema();
    for (i, column) in batch.columns().iter().enumerate() {
        let value = match eagre::value::value_at(column, row) {
            Value::Float(f) => format!("{f:?}/{:016x}", f.to_bits()),
            value => format!("{value:?}"),
        };
        text.push_str(&format!(" {}={value}", schema.field(SYSTEM + i).name()));
    }
    text
}
