//! What the data plane costs without reading and decoding: batches in memory, through the exchange, into sums by key
//! and window, beside the same in raw timely with a flat struct.
//!
//! `cargo bench --bench exchange [-- --events 20000000 --rounds 5]`, with one and two workers. Each run is a process of
//! its own; what start-up costs (a run of 1,000 events) is taken off. Both count what they summed, and the counts must
//! be right.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock, and its floor may hash as it likes; nothing here reaches an output of the engine"
)]

#[path = "support/child.rs"]
mod child;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use child::{Usage, measure};
use eagre::batch::Batch;
use eagre::fault::{Failure, Fault};
use eagre::formats::{MakeDecoder, Rows};
use eagre::job::{Overrides, plan};
use eagre::schema::{Field, Kind, Schema};
use eagre::sink::{Opening, Shards, Sink, Writer};
use eagre::source::{Feed, Position, Read, Reader, Source, Wake};
use eagre::value::{Value, value_at};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Capability, Input, Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

const KEYS: u64 = 1_000;
const FEW: u64 = 1_000;
/// Microseconds from one event to the next, and in a window.
const STEP: u64 = 10;
const WINDOW: u64 = 10_000_000;
/// Rows of a batch.
const ROWS: u64 = 8_192;

const PROGRAMS: [&str; 3] = ["floor", "int", "text"];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [program, workers, events] = &arguments[..]
        && PROGRAMS.contains(&program.as_str())
    {
        let (workers, events) = (workers.parse()?, events.parse()?);
        let counted = if program == "floor" { floor(workers, events)? } else { engine(program, workers, events)? };
        assert_eq!(counted, events, "every event is in one window");
        return Ok(());
    }
    let option = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let events: u64 = option("--events").map_or(Ok(20_000_000), |text| text.parse())?;
    let rounds: usize = option("--rounds").map_or(Ok(5), |text| text.parse())?;
    let mut runs: BTreeMap<(usize, &str), Vec<(Usage, Usage)>> = BTreeMap::new();
    for _ in 0..rounds {
        for (workers, program) in [1, 2].into_iter().flat_map(|w| PROGRAMS.map(|p| (w, p))) {
            let [few, full] = [FEW, events].map(|events| {
                let mut command = Command::new(std::env::current_exe().expect("this program"));
                measure(command.args([program, &workers.to_string(), &events.to_string()]))
            });
            runs.entry((workers, program)).or_default().push((few?, full?));
        }
    }
    print(events, rounds, &runs);
    Ok(())
}

fn print(events: u64, rounds: usize, runs: &BTreeMap<(usize, &str), Vec<(Usage, Usage)>>) {
    println!("batches in memory, exchange, sums by {KEYS} keys and 10 s: {events} events, medians of {rounds} rounds");
    println!("workers program             CPU ns/event   x floor   events/s");
    let median = |key: &(usize, &str), of: &dyn Fn(&(Usage, Usage)) -> f64| {
        let mut values: Vec<f64> = runs[key].iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let net = |(few, full): &(Usage, Usage)| (full.cpu_s() - few.cpu_s()) * 1e9 / (events - FEW) as f64;
    for key @ (workers, program) in runs.keys() {
        let name = if *program == "floor" { "raw timely, a struct".into() } else { format!("eagre, key of {program}") };
        let (cpu, floor) = (median(key, &net), median(&(*workers, "floor"), &net));
        let rate = events as f64 / median(key, &|(_, full)| full.wall_s);
        println!("{workers:>7} {name:<20} {cpu:>11.1} {:>9.2} {rate:>10.0}", cpu / floor);
    }
}

/// A well mixed number for each of the first numbers.
fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// An event of the floor: 32 bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Event {
    time: u64,
    key: u64,
    value: f64,
    sequence: u64,
}

/// Events that the floor gives out at once, and how many such steps it may be ahead.
const FLOOR_STEP: u64 = 65_536;

/// Count and sum of each key.
type Sums = HashMap<u64, (u64, f64)>;

fn floor(workers: usize, events: u64) -> Outcome<u64> {
    let counted = Arc::new(AtomicU64::new(0));
    let count = counted.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (mine, workers) = (worker.index() as u64, worker.peers() as u64);
        let (mut input, probe, count) = (InputHandle::new(), ProbeHandle::new(), count.clone());
        worker.dataflow::<u64, _, _>(|scope| {
            let events = scope.input_from(&mut input).container::<Vec<Event>>();
            let by_key = Exchange::new(|event: &Event| mixed(event.key));
            let sums = events.unary_frontier(by_key, "sums", |_, _| {
                let mut windows: BTreeMap<u64, (Capability<u64>, Sums)> = BTreeMap::new();
                move |(input, frontier), output| {
                    input.for_each(|cap, events| {
                        for event in events.drain(..) {
                            let end = (event.time / WINDOW + 1) * WINDOW;
                            let window = windows.entry(end).or_insert_with(|| (cap.delayed(&end, 0), Sums::new()));
                            let sum = window.1.entry(event.key).or_default();
                            *sum = (sum.0 + 1, sum.1 + event.value);
                        }
                    });
                    while let Some(window) = windows.first_entry().filter(|w| !frontier.less_than(w.key())) {
                        let (end, (cap, sums)) = window.remove_entry();
                        count.fetch_add(sums.values().map(|sum| sum.0).sum(), Relaxed);
                        let mut session = output.session(&cap);
                        session.give_iterator(sums.into_iter().map(|(key, sum)| (end, key, sum.1)));
                    }
                }
            });
            sums.container::<Vec<(u64, u64, f64)>>().probe_with(&probe);
        });
        for sequence in (0..events).filter(|sequence| sequence / FLOOR_STEP % workers == mine) {
            let (time, key) = (sequence * STEP, mixed(sequence) % KEYS);
            if sequence % FLOOR_STEP == 0 {
                input.advance_to(time);
                while probe.less_than(&time.saturating_sub(4 * FLOOR_STEP * STEP * workers)) {
                    worker.step();
                }
            }
            input.send(Event { time, key, value: key as f64, sequence });
        }
    });
    let ended: Result<Vec<()>, String> = guards?.join().into_iter().collect();
    ended?;
    Ok(counted.load(Relaxed))
}

fn engine(key: &str, workers: usize, events: u64) -> Outcome<u64> {
    let job = format!(
        "name = 'exchange'\nworkers = {workers}\n\
         [source.memory]\nkind = 'memory'\nevents = {events}\npartitions = {workers}\ntext = {}\n\
         [step.sums]\nkind = 'aggregate'\ninput = 'memory'\nkey = 'key'\nwindow = '10s'\n\
         aggregates = {{ count = 'count()', sum = 'sum(value)' }}\n\
         [sink.nowhere]\nkind = 'count'\ninput = 'sums'\n",
        key == "text"
    );
    let registry = eagre::standard().source::<Memory>("").sink::<Count>("");
    let plan = plan(&job, "exchange.toml", &Overrides::default(), &registry).map_err(|f| f.render(false))?;
    let mut job = eagre::engine::start(plan, workers).map_err(|failure| failure.to_string())?;
    job.wait().map_err(|failure| failure.to_string())?;
    Ok(COUNTED.load(Relaxed))
}

/// `kind = "memory"`: batches that were there before, given again and again under later times.
#[derive(Clone, Deserialize, JsonSchema)]
struct Memory {
    events: u64,
    partitions: u64,
    text: bool,
}

impl Source for Memory {
    const NAME: &'static str = "memory";

    fn plan(&self, _: &mut Vec<Fault>) -> Option<Schema> {
        let key = if self.text { Kind::Text } else { Kind::Int };
        Some(Schema::new([Field::new("key", key), Field::new("value", Kind::Float)]))
    }

    fn open(&self, _: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        assert_eq!(wanted.names().collect::<Vec<_>>(), ["key", "value"]);
        Ok(Box::new(self.clone()))
    }
}

/// How many batches there are in memory.
const BATCHES: u64 = 32;

impl Memory {
    fn columns(&self, batch: u64) -> Vec<ArrayRef> {
        let keys = || (batch * ROWS..(batch + 1) * ROWS).map(|sequence| mixed(sequence) % KEYS);
        let key: ArrayRef = match self.text {
            true => Arc::new(StringArray::from_iter_values(keys().map(|key| format!("sensor-{key:05}")))),
            false => Arc::new(Int64Array::from_iter_values(keys().map(|key| key as i64))),
        };
        vec![key, Arc::new(Float64Array::from_iter_values(keys().map(|key| key as f64)))]
    }
}

impl Feed for Memory {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok((0..self.partitions).map(|p| p.to_string()).collect())
    }

    fn open(&self, partition: &str, _: Option<Position>, _: Wake) -> Result<Box<dyn Reader>, Failure> {
        let number: u64 = partition.parse().expect("a number");
        let events = self.events / self.partitions + u64::from(number < self.events % self.partitions);
        let batches = (0..BATCHES.min(events.div_ceil(ROWS))).map(|batch| self.columns(batch)).collect();
        Ok(Box::new(Remembered { batches, at: 0, events, step: STEP * self.partitions }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }

    fn total(&self) -> Option<u64> {
        Some(self.events)
    }

    fn invents_time(&self) -> bool {
        true
    }
}

struct Remembered {
    batches: Vec<Vec<ArrayRef>>,
    at: u64,
    events: u64,
    step: u64,
}

impl Reader for Remembered {
    fn read(&mut self, _: usize) -> Result<Read, Failure> {
        let rows = ROWS.min(self.events - self.at);
        if rows == 0 {
            return Ok(Read::End);
        }
        let columns = &self.batches[(self.at / ROWS) as usize % self.batches.len()];
        let columns = columns.iter().map(|column| column.slice(0, rows as usize)).collect();
        let numbers = self.at..self.at + rows;
        self.at += rows;
        let times = numbers.clone().map(|number| (number * self.step) as i64).collect();
        let sequences = numbers.map(|number| number as i64).collect();
        Ok(Read::Rows(Rows { columns, times, sequences, bad: Vec::new() }))
    }

    fn position(&self) -> Position {
        self.at as Position
    }
}

static COUNTED: AtomicU64 = AtomicU64::new(0);

/// `kind = "count"`: adds up the counts of the windows.
#[derive(Deserialize, JsonSchema)]
struct Count {}

impl Sink for Count {
    const NAME: &'static str = "count";

    fn plan(&self, _: &Schema, _: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        Shards::PerWorker
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Ok(Box::new(Counter(opening.input.index_of("count").expect("a count"))))
    }
}

struct Counter(usize);

impl Writer for Counter {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        for row in 0..batch.len() {
            if let Value::Int(count) = value_at(batch.column(self.0), row) {
                COUNTED.fetch_add(count as u64, Relaxed);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
