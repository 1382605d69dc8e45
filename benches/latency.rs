//! How long a record takes: from the moment it is due until the sink's writer has the row that was made of it.
//!
//! `cargo bench --bench latency [-- --rate 100000 --seconds 10 --workers 2]`: records of 100 keys at that rate, through
//! windows of one record, into a sink that notes the time. The source is asked again after a millisecond, like the
//! generator. `--answer 20`: what is flushed is acknowledged 20 ms later, as by a broker that is far. `--slow 60`
//! instead gives as fast as it can into a sink that takes a tenth of that, for 60 seconds, and prints the memory that
//! the process holds.
#![allow(clippy::disallowed_methods, reason = "a benchmark of time; nothing here reaches an output of the engine")]

use arrow::array::{ArrayRef, Int64Array};
use eagre::batch::Batch;
use eagre::fault::{Failure, Fault};
use eagre::formats::{MakeDecoder, Rows};
use eagre::job::{Overrides, plan};
use eagre::schema::{Field, Kind, Schema};
use eagre::sink::{Opening, Shards, Sink, Writer};
use eagre::source::{Feed, Position, Read, Reader, Source, Wake};
use eagre::value::{Value, value_at};
use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The beginning of time for this process.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds that records took.
static TOOK: LazyLock<Mutex<Histogram<u64>>> =
    LazyLock::new(|| Mutex::new(Histogram::new_with_max(60_000_000_000, 3).expect("bounds of a minute")));

static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// The first so many seconds are not counted.
const WARM_UP: Duration = Duration::from_secs(1);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let option = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let rate: u64 = option("--rate").map_or(Ok(100_000), |text| text.parse())?;
    let seconds: u64 = option("--seconds").map_or(Ok(10), |text| text.parse())?;
    let workers: usize = option("--workers").map_or(Ok(2), |text| text.parse())?;
    match option("--slow") {
        Some(seconds) => slow(seconds.parse()?, workers),
        None => {
            let answer_ms: u64 = option("--answer").map_or(Ok(0), |text| text.parse())?;
            latency(rate, seconds, workers, option("--epoch").map_or("", String::as_str), answer_ms)
        }
    }
}

fn latency(rate: u64, seconds: u64, workers: usize, epoch: &str, answer_ms: u64) -> Outcome<()> {
    let windows = "[step.windows]\nkind = 'aggregate'\ninput = 'due'\nkey = 'key'\nwindow = { count = 1 }\n\
                   aggregates = { due = 'max(due)' }\n";
    let count = rate * (seconds + WARM_UP.as_secs());
    let sink = format!("[sink.told]\nkind = 'told'\ninput = 'windows'\nanswer_ms = {answer_ms}\n");
    let engine = if epoch.is_empty() { String::new() } else { format!("[engine]\nepoch = '{epoch}'\n") };
    run(
        &format!("{engine}[source.due]\nkind = 'due'\nrate = {rate}\ncount = {count}\n{windows}{sink}"),
        workers,
        || {},
    )?;
    let took = TOOK.lock().map_err(|_| "the sink panicked")?;
    let ms = |quantile: f64| took.value_at_quantile(quantile) as f64 / 1e6;
    println!("{rate} records/s for {seconds} s on {workers} workers: {} records told", WRITTEN.load(Relaxed));
    println!(
        "ms: p50 {:.2}, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}; processor {:.3} of one",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        took.max() as f64 / 1e6,
        cpu_s()? / BEGUN.elapsed().as_secs_f64(),
    );
    Ok(())
}

/// A sink that takes one batch in 100 ms; prints the resident memory ten times.
fn slow(seconds: u64, workers: usize) -> Outcome<()> {
    let sink = "[sink.told]\nkind = 'told'\ninput = 'due'\nslow_ms = 100\n";
    let job = format!("[source.due]\nkind = 'due'\nrate = 0\ncount = 1000000000000\n{sink}");
    let (every, mut due) = (Duration::from_secs(seconds) / 10, Duration::ZERO);
    println!("seconds  resident MB  records written");
    run(&job, workers, move || {
        if BEGUN.elapsed() >= due {
            due += every;
            let resident = resident_mb().unwrap_or(f64::NAN);
            println!("{:>7.1} {resident:>12.1} {:>16}", BEGUN.elapsed().as_secs_f64(), WRITTEN.load(Relaxed));
        }
        if BEGUN.elapsed() >= Duration::from_secs(seconds) {
            std::process::exit(0);
        }
    })
}

fn run(job: &str, workers: usize, mut look: impl FnMut()) -> Outcome<()> {
    let registry = eagre::standard().source::<Due>("").sink::<Told>("");
    let job = format!("name = 'latency'\n{job}");
    let plan = plan(&job, "latency.toml", &Overrides::default(), &registry).map_err(|f| f.render(false))?;
    LazyLock::force(&BEGUN);
    let mut job = eagre::engine::start(plan, workers).map_err(|failure| failure.to_string())?;
    while !job.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
        look();
    }
    job.wait().map(drop).map_err(|failure| failure.to_string().into())
}

fn resident_mb() -> Outcome<f64> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split(' ').nth(1).ok_or("a number of pages")?.parse::<f64>()? * 4096.0 / 1e6)
}

fn cpu_s() -> Outcome<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit_once(") ").ok_or("a name")?.1.split(' ').skip(11).take(2);
    Ok(fields.map(|ticks| ticks.parse::<f64>().unwrap_or(f64::NAN) / 100.0).sum())
}

/// `kind = "due"`: records that say when they were due, two partitions of them.
#[derive(Clone, Deserialize, JsonSchema)]
struct Due {
    /// In a second, all partitions together; 0 is as many as possible.
    rate: u64,
    count: u64,
}

const PARTITIONS: u64 = 2;
const KEYS: i64 = 100;

impl Source for Due {
    const NAME: &'static str = "due";

    fn plan(&self, _: &mut Vec<Fault>) -> Option<Schema> {
        Some(Schema::new(["due", "key"].map(|name| Field::new(name, Kind::Int))))
    }

    fn open(&self, _: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        assert_eq!(wanted.names().collect::<Vec<_>>(), ["due", "key"]);
        Ok(Box::new(self.clone()))
    }
}

impl Feed for Due {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok((0..PARTITIONS).map(|p| p.to_string()).collect())
    }

    fn open(&self, _: &str, _: Option<Position>, _: Wake) -> Result<Box<dyn Reader>, Failure> {
        let period = (PARTITIONS * 1_000_000_000).checked_div(self.rate).unwrap_or(0) as i64;
        Ok(Box::new(Falling { given: 0, count: (self.count / PARTITIONS) as i64, period, opened: nanos() }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }

    fn invents_time(&self) -> bool {
        true
    }
}

fn nanos() -> i64 {
    BEGUN.elapsed().as_nanos() as i64
}

struct Falling {
    given: i64,
    count: i64,
    period: i64,
    opened: i64,
}

impl Reader for Falling {
    fn read(&mut self, limit: usize) -> Result<Read, Failure> {
        if self.given == self.count {
            return Ok(Read::End);
        }
        let due = match self.period {
            0 => i64::MAX,
            period => (nanos() - self.opened) / period,
        };
        let until = due.min(self.given + limit as i64).min(self.count);
        if until <= self.given {
            return Ok(Read::Idle(Duration::from_millis(1)));
        }
        let numbers = self.given..until;
        self.given = until;
        let due: Vec<i64> = numbers.clone().map(|number| self.opened + (number + 1) * self.period).collect();
        let times = match self.period {
            0 => numbers.clone().collect(),
            _ => due.iter().map(|due| due / 1_000).collect(),
        };
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers.clone().map(|number| number % KEYS)));
        let columns = vec![Arc::new(Int64Array::from(due)) as ArrayRef, keys];
        Ok(Read::Rows(Rows { columns, times, sequences: numbers.collect(), bad: Vec::new() }))
    }

    fn position(&self) -> Position {
        self.given
    }
}

/// `kind = "told"`: notes when rows come.
#[derive(Clone, Deserialize, JsonSchema)]
struct Told {
    #[serde(default)]
    slow_ms: u64,
    #[serde(default)]
    answer_ms: u64,
}

impl Sink for Told {
    const NAME: &'static str = "told";

    fn plan(&self, _: &Schema, _: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        Shards::PerWorker
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        let due = opening.input.index_of("due").expect("the field `due`");
        Ok(Box::new(Noting {
            due,
            slow: Duration::from_millis(self.slow_ms),
            answer: Duration::from_millis(self.answer_ms),
            flushes: VecDeque::new(),
        }))
    }
}

struct Noting {
    due: usize,
    slow: Duration,
    /// How long an acknowledgement takes.
    answer: Duration,
    /// When those flushes were begun that are not acknowledged.
    flushes: VecDeque<Instant>,
}

impl Writer for Noting {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        std::thread::sleep(self.slow);
        WRITTEN.fetch_add(batch.len() as u64, Relaxed);
        let now = nanos();
        let mut took = TOOK.lock().expect("no writer panics while it notes");
        for row in (0..batch.len()).filter(|_| self.slow.is_zero()) {
            if let Value::Int(due) = value_at(batch.column(self.due), row)
                && due > WARM_UP.as_nanos() as i64
            {
                took.saturating_record((now - due).max(1) as u64);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.flushes.push_back(Instant::now());
        Ok(())
    }

    fn flushing(&mut self) -> Result<usize, Failure> {
        while self.flushes.pop_front_if(|begun| begun.elapsed() >= self.answer).is_some() {}
        Ok(self.flushes.len())
    }
}
