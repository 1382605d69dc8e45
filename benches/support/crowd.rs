//! A million keys in memory: a source that goes through all keys again and again, and a sink that notes when rows come.
//! The source can go on from a position, so that a job with it can be killed and go on.

use super::Outcome;
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use eagre::batch::Batch;
use eagre::fault::{Failure, Fault};
use eagre::formats::{MakeDecoder, Rows};
use eagre::registry::Registry;
use eagre::schema::{Field, Kind, Schema};
use eagre::sink::{Opening, Shards, Sink, Writer};
use eagre::source::{Feed, Position, Read, Reader, Source, Wake};
use eagre::value::{Value, value_at};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fs;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The beginning of time for this process, by both clocks.
pub static BEGUN: LazyLock<(Instant, u64)> = LazyLock::new(|| {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_nanos() as u64;
    (Instant::now(), unix)
});

/// For each row that says when it was due: that, in nanoseconds since [`BEGUN`], and how long it took in microseconds.
pub static TOOK: Mutex<Vec<(i64, u32)>> = Mutex::new(Vec::new());

/// Rows that the sink has.
pub static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since [`BEGUN`] when the first record was given out, and when the first row came.
pub static FIRST: [AtomicI64; 2] = [AtomicI64::new(0), AtomicI64::new(0)];

/// What other parts the jobs have.
pub fn registry() -> Registry {
    eagre::standard().source::<Crowd>("").sink::<Told>("")
}

/// Nanoseconds since [`BEGUN`].
pub fn nanos() -> i64 {
    BEGUN.0.elapsed().as_nanos() as i64
}

/// Processor time of this process.
pub fn cpu_s() -> Outcome<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit_once(") ").ok_or("a name")?.1.split(' ').skip(11).take(2);
    Ok(fields.map(|ticks| ticks.parse::<f64>().unwrap_or(f64::NAN) / 100.0).sum())
}

/// `kind = "crowd"`: the first records as fast as they are taken, the others at a rate, in two partitions.
#[derive(Clone, Deserialize, JsonSchema)]
struct Crowd {
    keys: u64,
    /// Of all partitions together: given as fast as possible.
    fill: u64,
    /// Of all partitions together, those of the fill included.
    count: u64,
    /// In a second, all partitions together, behind the fill; 0 is as many as possible.
    rate: u64,
}

const PARTITIONS: i64 = 2;

/// How long the source waits after the fill.
const PAUSE: i64 = 500_000_000;

/// When the first record behind the fill is due, in all partitions: the rows of one wait until the other has come as
/// far.
static RATED_FROM: OnceLock<i64> = OnceLock::new();

impl Source for Crowd {
    const NAME: &'static str = "crowd";

    fn plan(&self, _: &mut Vec<Fault>) -> Option<Schema> {
        Some(Schema::new(
            [("due", Kind::Int), ("key", Kind::Text), ("value", Kind::Float)].map(|(n, k)| Field::new(n, k)),
        ))
    }

    fn open(&self, _: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        assert_eq!(wanted.names().collect::<Vec<_>>(), ["due", "key", "value"]);
        Ok(Box::new(self.clone()))
    }
}

impl Feed for Crowd {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok((0..PARTITIONS).map(|p| p.to_string()).collect())
    }

    fn open(&self, partition: &str, from: Option<Position>, _: Wake) -> Result<Box<dyn Reader>, Failure> {
        let each = |all: u64| all as i64 / PARTITIONS;
        Ok(Box::new(Walking {
            partition: partition.parse().map_err(|_| Failure::new("a partition is a number"))?,
            keys: self.keys as i64,
            given: from.unwrap_or(0),
            fill: each(self.fill),
            count: each(self.count),
            period: (PARTITIONS * 1_000_000_000).checked_div(self.rate as i64).unwrap_or(0),
        }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }

    fn invents_time(&self) -> bool {
        true
    }
}

struct Walking {
    partition: i64,
    keys: i64,
    given: i64,
    fill: i64,
    count: i64,
    period: i64,
}

/// 2026-01-01T00:00:00Z in microseconds.
const START: i64 = 1_767_225_600_000_000;

/// Has no factor in common with a round number of keys, so that all come before one comes again.
const STRIDE: i64 = 7_919;

impl Walking {
    /// How far may be given now, and when a record is due.
    fn due(&mut self, limit: i64) -> (i64, i64) {
        if self.given < self.fill || self.period == 0 {
            let end = if self.given < self.fill { self.fill } else { self.count };
            return ((self.given + limit).min(end), 0);
        }
        let from = *RATED_FROM.get_or_init(|| nanos() + PAUSE);
        let due = self.fill + ((nanos() - from) / self.period).max(0);
        (due.min(self.given + limit).min(self.count), from)
    }
}

impl Reader for Walking {
    fn read(&mut self, limit: usize) -> Result<Read, Failure> {
        if self.given == self.count {
            return Ok(Read::Idle(Duration::from_millis(100)));
        }
        let (until, from) = self.due(limit as i64);
        if until <= self.given {
            return Ok(Read::Idle(Duration::from_millis(1)));
        }
        FIRST[0].compare_exchange(0, nanos(), Relaxed, Relaxed).ok();
        let numbers = self.given..until;
        self.given = until;
        let all = |number: i64| number * PARTITIONS + self.partition;
        let due = |number: i64| if from == 0 { 0 } else { from + (number - self.fill + 1) * self.period };
        let keys = numbers.clone().map(|n| format!("sensor-{:07}", all(n) * STRIDE % self.keys));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(numbers.clone().map(due))),
            Arc::new(StringArray::from_iter_values(keys)),
            Arc::new(Float64Array::from_iter_values(numbers.clone().map(|n| (all(n) * STRIDE % 1_009) as f64))),
        ];
        let times = numbers.clone().map(|n| START + all(n)).collect();
        Ok(Read::Rows(Rows { columns, times, sequences: numbers.collect(), bad: Vec::new() }))
    }

    fn position(&self) -> Position {
        self.given
    }
}

/// `kind = "told"`: notes when rows come.
#[derive(Clone, Deserialize, JsonSchema)]
struct Told {}

impl Sink for Told {
    const NAME: &'static str = "told";

    fn plan(&self, _: &Schema, _: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        Shards::PerWorker
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Ok(Box::new(Noting { due: opening.input.index_of("due") }))
    }
}

struct Noting {
    due: Option<usize>,
}

impl Writer for Noting {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let Some(column) = self.due else { return Ok(()) };
        let now = nanos();
        FIRST[1].compare_exchange(0, now, Relaxed, Relaxed).ok();
        let mut took = TOOK.lock().expect("no writer panics while it notes");
        for row in 0..batch.len() {
            if let Value::Int(due) = value_at(batch.column(column), row)
                && due > 0
            {
                took.push((due, ((now - due).max(0) / 1_000) as u32));
            }
        }
        WRITTEN.fetch_add(batch.len() as u64, Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
