//! Readings of sensors that do not exist: a daily cycle with noise, and on request everything that real streams have:
//! records out of order, spikes, level shifts, silences, duplicates, loops. For trying things out, for tests and for
//! benchmarks, with the truth beside it.
//!
//! ```toml
//! [source.readings]
//! kind = "generator"
//! sensors = 20                    # sensor i belongs to partition i % partitions
//! partitions = 2
//! seed = 1
//! start = "2026-01-01T00:00:00Z"  # event time of the first record
//! interval = "1s"                 # of event time, between two readings of a sensor
//! count = 100000                  # records in all; or duration = "1d" of event time; neither: without end
//! rate = "1000/s"                 # of the clock; "max": as fast as possible
//! cycle = "24h"                   # a wave of this length, of another height and phase for every sensor
//! noise = 0.5                     # deviation of the noise of a middling sensor
//!
//! out_of_order = { share = 0.05, max = "1500ms" }     # so many come later than they happened, by at most this
//! spikes = { every = 500, size = 8 }                  # one in so many of a sensor's readings is so far off
//! shifts = { every = 5000, size = 4 }                 # its level moves, and moves back as much later
//! dropouts = { every = 3000, length = "30s" }         # it says nothing for a while
//! loops = { every = 2000, length = 300, period = 30 } # x and y go round in a circle of radius 1, for so many readings
//! duplicates = 0.01                                   # share of records that come twice
//! truth = true                                        # a field that says what each record is
//! truth_file = "truth.jsonl"                          # all that is not normal, as JSON lines; wants an end
//! ```
//!
//! Fields: `sensor`, `site`, `value`, `x`, `y`, and `truth` (`normal`, `spike`, `shift`, `loop`, `duplicate`; a shift
//! is marked where it begins). What is left out does not happen; `spikes = {}` takes the numbers above. Without `rate`,
//! a bounded generator runs as fast as it can and one without end as fast as its sensors would speak.
//!
//! # What it guarantees
//!
//! Record `k` of a partition has sequence `k` and depends on the settings alone, to the bit: not on the machine,
//! `rate`, `count`, the fields in use, the number of workers, or how reads are cut. A sensor's readings do not depend
//! on `partitions` either. Within a partition records come in order of event time, save those that `out_of_order`
//! delays, and none is later than its `max`.
//!
//! # What it costs
//!
//! A few random draws and a sine for each record. To go on at record `k`, all before it are made once more, at the same
//! price each.

mod partition;

use crate::batch::{Batch, Head};
use crate::fault::{Failure, Fault};
use crate::formats::encode::{Lines, Style};
use crate::formats::{MakeDecoder, Rows};
use crate::schema::{Field, Kind, Schema};
use crate::source::{Feed, Position, Read, Reader, Source, Wake};
use crate::time::{Interval, Start};
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use partition::{Partition, Record, Sensor, Truth};
use schemars::JsonSchema;
use serde::Deserialize;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The settings of a generator.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Generator {
    /// How many sensors there are.
    pub sensors: u64,
    /// How many partitions; sensor i belongs to partition i % partitions.
    pub partitions: u64,
    /// Another seed gives other numbers.
    pub seed: u64,
    /// The event time of the first record.
    pub start: Start,
    /// The event time between two readings of a sensor.
    pub interval: Interval,
    /// How many records in all.
    pub count: Option<u64>,
    /// How much event time.
    pub duration: Option<Interval>,
    /// How many records per second of the clock.
    pub rate: Option<Rate>,
    /// The length of the wave that every sensor follows.
    pub cycle: Interval,
    /// The deviation of the noise.
    pub noise: f64,
    /// Records that come later than they happened.
    pub out_of_order: Option<OutOfOrder>,
    /// Single readings far off.
    pub spikes: Option<Spikes>,
    /// Moves of a sensor's level.
    pub shifts: Option<Shifts>,
    /// Times when a sensor says nothing.
    pub dropouts: Option<Dropouts>,
    /// Times when x and y go round in a circle.
    pub loops: Option<Loops>,
    /// The share of records that come twice.
    pub duplicates: f64,
    /// Whether there is a field that says what each record is.
    pub truth: bool,
    /// A file for all records that are not normal, as JSON lines.
    pub truth_file: Option<String>,
}

impl Default for Generator {
    fn default() -> Generator {
        Generator {
            sensors: 20,
            partitions: 2,
            seed: 1,
            start: Start(1_767_225_600_000_000),
            interval: Interval::from_secs(1),
            count: None,
            duration: None,
            rate: None,
            cycle: Interval::from_secs(86_400),
            noise: 0.5,
            out_of_order: None,
            spikes: None,
            shifts: None,
            dropouts: None,
            loops: None,
            duplicates: 0.0,
            truth: false,
            truth_file: None,
        }
    }
}

/// Records per second of the clock; `None` is as many as possible.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Rate(Option<f64>);

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Rate, String> {
        if text.trim() == "max" {
            return Ok(Rate(None));
        }
        let wrong = || format!("`{text}` is not a rate; write for example \"1000/s\", \"50/m\" or \"max\"");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = [("s", 1.0), ("m", 60.0), ("h", 3_600.0)]
            .into_iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or_else(wrong)?
            .1;
        let number: f64 = number.trim().replace('_', "").parse().map_err(|_| wrong())?;
        if number.is_finite() && number > 0.0 { Ok(Rate(Some(number / seconds))) } else { Err(wrong()) }
    }
}

macro_rules! disturbance {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $field:ident: $kind:ty = $value:expr,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$what])* pub $field: $kind,)* }

        impl Default for $name {
            fn default() -> $name {
                $name { $($field: $value,)* }
            }
        }
    };
}

disturbance! {
    /// Records that come later than they happened.
    OutOfOrder {
        /// Which share of all records.
        share: f64 = 0.05,
        /// By how much event time at most.
        max: Interval = Interval::from_millis(1_500),
    }
}
disturbance! {
    /// Single readings far off.
    Spikes {
        /// One in so many readings of a sensor, on average.
        every: u64 = 500,
        /// By how many deviations of the sensor's noise.
        size: f64 = 8.0,
    }
}
disturbance! {
    /// Moves of a sensor's level, and back.
    Shifts {
        /// So many readings apart, on average.
        every: u64 = 5_000,
        /// By how many deviations of the sensor's noise.
        size: f64 = 4.0,
    }
}
disturbance! {
    /// Times when a sensor says nothing.
    Dropouts {
        /// So many readings apart, on average.
        every: u64 = 3_000,
        /// For how much event time.
        length: Interval = Interval::from_secs(30),
    }
}
disturbance! {
    /// Times when x and y go round in a circle.
    Loops {
        /// So many readings apart, on average.
        every: u64 = 2_000,
        /// For how many readings.
        length: u64 = 300,
        /// In how many readings once round.
        period: u64 = 30,
    }
}

impl Source for Generator {
    const NAME: &'static str = "generator";

    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema> {
        let before = faults.len();
        let mut require = |right: bool, path: &str, message: &str| {
            if !right {
                faults.push(Fault::at(path, message));
            }
        };
        require((1..=SENSORS_MAX).contains(&self.sensors), "sensors", "there are 1 to 10,000,000 sensors");
        require(self.partitions >= 1, "partitions", "there is at least 1 partition");
        require(
            self.partitions <= self.sensors.max(1),
            "partitions",
            "there are more partitions than sensors, so some would be empty",
        );
        require(!self.interval.is_zero(), "interval", "the interval between readings is longer than nothing");
        require(!self.cycle.is_zero(), "cycle", "a cycle is longer than nothing");
        require(self.noise.is_finite() && self.noise >= 0.0, "noise", "noise is a deviation: a number from 0 up");
        require((0.0..=1.0).contains(&self.duplicates), "duplicates", "a share is a number from 0 to 1");
        let share = self.out_of_order.unwrap_or_default().share;
        require((0.0..=1.0).contains(&share), "out_of_order.share", "a share is a number from 0 to 1");
        for (path, every) in self.rhythms() {
            require(every >= 1, path, "this is a number of readings, from 1 up");
        }
        let sizes = [("spikes.size", self.spikes.map(|s| s.size)), ("shifts.size", self.shifts.map(|s| s.size))];
        for (path, size) in sizes {
            require(size.is_none_or(f64::is_finite), path, "a size is a number of deviations");
        }
        let endless = self.truth_file.is_some() && !self.bounded();
        require(
            !endless,
            "truth_file",
            "the truth about records without end does not fit in a file: set `count` or `duration`",
        );
        (faults.len() == before).then(|| self.schema())
    }

    fn open(&self, name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        if let Some(path) = &self.truth_file {
            self.write_truth(name, path).map_err(|error| {
                Failure::new(format!("cannot write the truth to {path}: {error}"))
                    .help("name a place that can be written to, or leave `truth_file` out")
            })?;
        }
        let columns = wanted.names().filter_map(Column::of).collect();
        Ok(Box::new(Generated { settings: self.clone(), name: name.to_owned(), columns }))
    }
}

const SENSORS_MAX: u64 = 10_000_000;

impl Generator {
    fn schema(&self) -> Schema {
        let all = Column::ALL.into_iter().filter(|(_, _, column)| self.truth || *column != Column::Truth);
        Schema::new(all.map(|(name, kind, _)| Field::new(name, kind)))
    }

    fn bounded(&self) -> bool {
        self.count.is_some() || self.duration.is_some()
    }

    /// All settings that count readings.
    fn rhythms(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let loops = self.loops.unwrap_or_default();
        [
            ("spikes.every", self.spikes.unwrap_or_default().every),
            ("shifts.every", self.shifts.unwrap_or_default().every),
            ("dropouts.every", self.dropouts.unwrap_or_default().every),
            ("loops.every", loops.every),
            ("loops.length", loops.length),
            ("loops.period", loops.period),
        ]
        .into_iter()
    }

    /// Records per second of the clock for a partition: its share of the sensors, so that all keep step in event time.
    fn pace(&self, partition: u64) -> Option<f64> {
        let rate = match self.rate {
            Some(rate) => rate.0,
            None if self.bounded() => None,
            None => Some(self.sensors as f64 * 1e6 / self.interval.micros() as f64),
        };
        let mine = (self.sensors + self.partitions - 1 - partition) / self.partitions;
        rate.map(|rate| rate * mine as f64 / self.sensors as f64)
    }

    /// How many records a partition has, if that is settled.
    fn records_of(&self, partition: u64) -> Option<u64> {
        let count = self.count?;
        Some(count / self.partitions + u64::from(partition < count % self.partitions))
    }

    fn partition_name(&self, name: &str, partition: u64) -> String {
        format!("{name}[{partition}]")
    }

    /// Makes all records once, partition by partition, and writes those that are not normal.
    fn write_truth(&self, name: &str, path: &str) -> std::io::Result<()> {
        let schema = Schema::new([
            Field::new("partition", Kind::Text),
            Field::new("record", Kind::Int),
            Field::new("sensor", Kind::Text),
            Field::new("truth", Kind::Text),
        ]);
        let lines = Lines::new(Style::Json, &schema);
        let mut file = std::fs::File::create(path)?;
        for p in 0..self.partitions {
            let mut partition = Partition::new(self, p);
            let place = self.partition_name(name, p);
            let (mut text, mut sequence) = (String::new(), -1);
            while let Some(record) = partition.next() {
                sequence += 1;
                if record.truth == Truth::Normal {
                    continue;
                }
                let head =
                    Head { times: vec![record.time], origins: vec![0], sequences: vec![sequence], ..Head::default() };
                let sensor = partition.sensors[record.sensor as usize].name.as_str();
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(StringArray::from(vec![place.as_str()])),
                    Arc::new(Int64Array::from(vec![sequence])),
                    Arc::new(StringArray::from(vec![sensor])),
                    Arc::new(StringArray::from(vec![record.truth.word()])),
                ];
                lines.write(&Batch::new(&schema, head, columns), 0..1, &mut text);
            }
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

/// The fields there are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Column {
    Sensor,
    Site,
    Value,
    X,
    Y,
    Truth,
}

impl Column {
    const ALL: [(&'static str, Kind, Column); 6] = [
        ("sensor", Kind::Text, Column::Sensor),
        ("site", Kind::Text, Column::Site),
        ("value", Kind::Float, Column::Value),
        ("x", Kind::Float, Column::X),
        ("y", Kind::Float, Column::Y),
        ("truth", Kind::Text, Column::Truth),
    ];

    fn of(name: &str) -> Option<Column> {
        Column::ALL.into_iter().find(|(n, ..)| *n == name).map(|(_, _, column)| column)
    }

    /// The column of this field of some records.
    fn build(self, records: &[Record], sensors: &[Sensor]) -> ArrayRef {
        let texts = |text: &dyn Fn(&Record) -> &'static str| {
            Arc::new(StringArray::from_iter_values(records.iter().map(text))) as ArrayRef
        };
        let floats = |number: &dyn Fn(&Record) -> f64| {
            Arc::new(Float64Array::from_iter_values(records.iter().map(number))) as ArrayRef
        };
        match self {
            Column::Sensor => Arc::new(StringArray::from_iter_values(
                records.iter().map(|r| sensors[r.sensor as usize].name.as_str()),
            )),
            Column::Site => texts(&|r| sensors[r.sensor as usize].site),
            Column::Value => floats(&|r| r.value),
            Column::X => floats(&|r| r.x),
            Column::Y => floats(&|r| r.y),
            Column::Truth => texts(&|r| r.truth.word()),
        }
    }
}

/// A generator that is open.
struct Generated {
    settings: Generator,
    name: String,
    columns: Vec<Column>,
}

impl Feed for Generated {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok((0..self.settings.partitions).map(|p| self.settings.partition_name(&self.name, p)).collect())
    }

    fn open(&self, partition: &str, from: Option<Position>, _wake: Wake) -> Result<Box<dyn Reader>, Failure> {
        let number = (0..self.settings.partitions).find(|p| self.settings.partition_name(&self.name, *p) == partition);
        let number =
            number.ok_or_else(|| Failure::new(format!("generator `{}` has no partition `{partition}`", self.name)))?;
        let mut records = Partition::new(&self.settings, number);
        let first = from.unwrap_or(0);
        for _ in 0..first {
            records.next();
        }
        let pace = self.settings.pace(number).map(|rate| Pace { rate, opened: now(), first });
        Ok(Box::new(Generating { records, columns: self.columns.clone(), position: first, pace }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }

    fn invents_time(&self) -> bool {
        true
    }

    fn total(&self) -> Option<u64> {
        let settings = &self.settings;
        let readings = settings.duration.map(|duration| {
            let (duration, interval) = (duration.micros() as u64, settings.interval.micros() as u64);
            duration.div_ceil(interval) * settings.sensors
        });
        settings.count.or(readings)
    }
}

/// When records are due.
struct Pace {
    rate: f64,
    opened: Instant,
    first: Position,
}

impl Pace {
    /// How many records are due at most, of which so many have been given; or how long to wait.
    fn due(&self, position: Position) -> Result<usize, Duration> {
        let given = (position - self.first) as f64;
        let due = now().duration_since(self.opened).as_secs_f64() * self.rate - given;
        if due >= 1.0 {
            Ok(due as usize)
        } else {
            Err(Duration::from_secs_f64((1.0 - due) / self.rate).max(Duration::from_millis(1)))
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the clock decides when a record is given, never what is in it")]
fn now() -> Instant {
    Instant::now()
}

/// A partition that is being read.
struct Generating {
    records: Partition,
    columns: Vec<Column>,
    position: Position,
    pace: Option<Pace>,
}

impl Reader for Generating {
    fn read(&mut self, limit: usize) -> Result<Read, Failure> {
        let due = match self.pace.as_ref().map_or(Ok(usize::MAX), |pace| pace.due(self.position)) {
            Ok(due) => due.min(limit.max(1)),
            Err(wait) => return Ok(Read::Idle(wait)),
        };
        let mut records = Vec::with_capacity(due.min(1 << 16));
        records.extend(self.records.by_ref().take(due));
        if records.is_empty() {
            return Ok(Read::End);
        }
        let first = self.position;
        self.position += records.len() as i64;
        Ok(Read::Rows(Rows {
            columns: self.columns.iter().map(|column| column.build(&records, &self.records.sensors)).collect(),
            times: records.iter().map(|record| record.time).collect(),
            sequences: (first..self.position).collect(),
            bad: Vec::new(),
        }))
    }

    fn position(&self) -> Position {
        self.position
    }

    fn progress(&self) -> u64 {
        if self.records.remaining.is_some() { self.position as u64 } else { self.records.slot }
    }
}

#[cfg(test)]
mod tests {
    use super::partition::tests::{ALL, all, settings};
    use super::*;
    use arrow::array::AsArray;

    fn feed(settings: &Generator) -> Box<dyn Feed> {
        let schema = settings.plan(&mut Vec::new()).expect("a plan");
        Source::open(settings, "readings", &schema).expect("a feed")
    }

    /// The rest of a partition, as text, read a few records at a time.
    fn read(feed: &dyn Feed, partition: &str, from: Option<Position>, limit: usize) -> Vec<String> {
        let mut reader = feed.open(partition, from, Arc::new(|| ())).expect("a reader");
        let mut rows = Vec::new();
        loop {
            match reader.read(limit).expect("records") {
                Read::Rows(read) => {
                    let (sensor, value) = (
                        read.columns[0].as_string::<i32>(),
                        read.columns[2].as_primitive::<arrow::datatypes::Float64Type>(),
                    );
                    let row = |i: usize| {
                        format!("{} {} {} {}", read.sequences[i], read.times[i], sensor.value(i), value.value(i))
                    };
                    rows.extend((0..read.times.len()).map(row));
                }
                Read::Idle(wait) => std::thread::sleep(wait),
                Read::End => return rows,
                Read::Frames(_) | Read::Errand(_) => panic!("a generator gives rows"),
            }
        }
    }

    #[test]
    fn records_do_not_depend_on_how_they_are_read() {
        let feed = feed(&settings(ALL));
        for partition in feed.partitions().expect("partitions") {
            let whole = read(&*feed, &partition, None, 100_000);
            assert!(whole.len() > 900, "{}", whole.len());
            assert_eq!(whole, read(&*feed, &partition, None, 7));
            assert_eq!(whole[500..], read(&*feed, &partition, Some(500), 64));
        }
    }

    #[test]
    fn the_truth_is_in_the_file() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("truth.jsonl");
        let settings = settings(&format!("{ALL}truth_file = {:?}", path.to_str().expect("a path")));
        let feed = feed(&settings);
        let text = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(text.lines().count(), all(&settings).iter().filter(|r| r.truth != Truth::Normal).count());
        let first: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        let record = first["record"].as_u64().expect("a number") as usize;
        let row = &read(&*feed, "readings[0]", None, 1_000)[record];
        assert!(row.contains(first["sensor"].as_str().expect("a name")), "{row} {first}");
    }

    #[test]
    fn faults_name_the_setting() {
        let wrong = settings(
            "sensors = 2\npartitions = 3\ninterval = \"0\"\nduplicates = 1.5\nspikes = { every = 0 }\ntruth_file = \"t\"\nnoise = -1",
        );
        let mut faults = Vec::new();
        assert!(wrong.plan(&mut faults).is_none());
        let paths: Vec<String> = faults.iter().map(|fault| fault.path.join(".")).collect();
        assert_eq!(paths, ["partitions", "interval", "noise", "duplicates", "spikes.every", "truth_file"]);
        for text in [
            "rate = \"fast\"",
            "rate = \"-1/s\"",
            "rate = \"10\"",
            "start = \"soon\"",
            "speed = 1",
            "spikes = { often = 3 }",
        ] {
            assert!(toml::from_str::<Generator>(text).is_err(), "{text}");
        }
        assert_eq!(settings("rate = \"90/m\"").rate, Some(Rate(Some(1.5))));
    }

    #[test]
    fn records_come_when_they_are_due() {
        let feed = feed(&settings("partitions = 1\ncount = 300\nrate = \"10000/s\""));
        let (opened, whole) = (now(), read(&*feed, "readings[0]", None, 50));
        assert_eq!(whole.len(), 300);
        assert!(now().duration_since(opened) >= Duration::from_millis(30));
        let pace = |text: &str| settings(text).pace(0);
        assert_eq!(pace("sensors = 40"), Some(20.0));
        assert_eq!(pace("count = 40"), None);
        assert_eq!(pace("count = 40\nrate = \"90/m\""), Some(0.75));
    }
}
