//! `eagre demo`: an answer in ten seconds. Sensors with hidden faults are watched; what was found is told in sentences,
//! and held against the truth, which the engine did not see.

use super::args::DemoArguments;
use super::{FAILED, print, put, show, wrong};
use crate::batch::Batch;
use crate::engine;
use crate::fault::{Failure, Fault};
use crate::job::{self, Overrides};
use crate::registry::Registry;
use crate::schema::Schema;
use crate::sink::{Opening, Shards, Sink, Writer};
use crate::time;
use crate::value::{Row, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const JOB: &str = include_str!("demo.toml");
/// Alerts that are told in full.
const TOLD: usize = 8;

/// Runs the demonstration.
pub fn demo(arguments: &DemoArguments, registry: Registry) -> ExitCode {
    let registry = registry.sink::<Story>("");
    let overrides = Overrides::default()
        .set(format!("source.sensors.seed={}", arguments.seed))
        .set(format!("source.sensors.count={}", arguments.records));
    let plan = match job::plan(JOB, "demo.toml", &overrides, &registry) {
        Ok(plan) => plan,
        Err(faulty) => return wrong(&faulty.render(false)),
    };
    let readings = show::grouped(arguments.records);
    let told =
        put(&format!("{readings} readings of 20 sensors, some of them faulty. What stood out, and against what:\n\n"));
    if let Err(code) = told {
        return code;
    }
    let workers = usize::from(arguments.workers);
    match engine::start(plan, workers).and_then(|mut job| job.wait()) {
        Ok(status) => print(&tale(&status, workers)),
        Err(failure) => {
            say!("error: {failure}");
            ExitCode::from(FAILED)
        }
    }
}

/// What was found, kept until the end.
static FOUND: Mutex<Vec<Found>> = Mutex::new(Vec::new());

struct Found {
    sensor: String,
    time: i64,
    values: BTreeMap<String, Value>,
}

/// How many readings were made faulty.
static FAULTY: AtomicU64 = AtomicU64::new(0);

/// A sink that keeps alerts to tell of them, or counts what was made faulty.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Story {
    #[serde(default)]
    truth: bool,
}

impl Sink for Story {
    const NAME: &'static str = "story";

    fn plan(&self, _input: &Schema, _faults: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        Shards::One
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Ok(Box::new(Teller { fields: opening.input.clone(), truth: self.truth }))
    }
}

struct Teller {
    fields: Schema,
    truth: bool,
}

impl Writer for Teller {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        if self.truth {
            FAULTY.fetch_add(batch.len() as u64, Ordering::Relaxed);
            return Ok(());
        }
        let mut found = FOUND.lock().expect("nobody panics while telling");
        for row in (0..batch.len()).map(|row| Row::new(batch, row)) {
            let values: BTreeMap<String, Value> =
                self.fields.names().enumerate().map(|(i, name)| (name.to_owned(), row.value(i))).collect();
            let sensor = match values.get("sensor") {
                Some(Value::Text(sensor)) => sensor.clone(),
                _ => "?".into(),
            };
            found.push(Found { sensor, time: row.time(), values });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Found {
    fn number(&self, field: &str) -> f64 {
        match self.values.get(field) {
            Some(Value::Float(number)) => *number,
            Some(Value::Int(number)) => *number as f64,
            _ => f64::NAN,
        }
    }

    fn clock(&self, field: &str) -> String {
        match self.values.get(field) {
            Some(Value::Time(at)) => time::format(*at)[11..19].to_owned(),
            _ => "?".into(),
        }
    }

    fn is(&self, truth: &str) -> bool {
        matches!(self.values.get("truth"), Some(Value::Text(said)) if said == truth)
    }

    /// One alert in one sentence.
    fn sentence(&self) -> String {
        format!(
            "{} {} read {:.2}, {:+.1} deviations from the {:.2} ± {:.2} of its last {} readings ({} to {})",
            &time::format(self.time)[11..19],
            self.sensor,
            self.number("value"),
            self.number("z"),
            self.number("mean"),
            self.number("deviation"),
            self.number("baseline_count"),
            self.clock("baseline_from"),
            self.clock("baseline_until"),
        )
    }
}

fn tale(status: &engine::Status, workers: usize) -> String {
    let mut found = std::mem::take(&mut *FOUND.lock().expect("nobody panics while telling"));
    found.sort_by(|a, b| {
        b.number("z").abs().total_cmp(&a.number("z").abs()).then_with(|| (a.time, &a.sensor).cmp(&(b.time, &b.sensor)))
    });
    let mut tale: Vec<String> = found.iter().take(TOLD).map(|alert| format!("  {}", alert.sentence())).collect();
    if found.len() > TOLD {
        tale.push(format!("  and {} less striking", show::count(found.len() - TOLD, "alert")));
    }
    let right = found.iter().filter(|alert| !alert.is("normal")).count();
    let read: u64 = status.sources.iter().map(|(s, _)| s.records).sum();
    let took = show::duration(status.elapsed);
    let rate = show::short(read as f64 / status.elapsed.as_secs_f64());
    let faulty = show::count(FAULTY.load(Ordering::Relaxed) as usize, "reading");
    let (right, alerts) = (show::grouped(right as u64), show::count(found.len(), "alert"));
    tale.push(if found.is_empty() {
        format!("Nothing; {faulty} had been made faulty by the generator.")
    } else {
        format!("\n{right} of {alerts} point at one of the {faulty} that the generator had made faulty.")
    });
    let (readings, workers) = (show::count(read as usize, "reading"), show::count(workers, "worker"));
    tale.push(format!(
        "{readings} in {took} on {workers}, {rate}/s. On any number of workers: the same alerts, to the bit."
    ));
    tale.push("\nNext: eagre run dataflows/quickstart.toml\n".into());
    tale.join("\n")
}
