//! The records of a partition of the generator, one after the other: a pure function of the settings.
//!
//! A [`Partition`] lets its sensors speak in turn and sends what they say on its way; a [`Sensor`] has a stream of
//! chance for each thing that chance decides.

use super::{Generator, OutOfOrder};
use crate::stats::elementary::sin_turns;
use crate::stats::random::Random;
use crate::time::{self, EventTime};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Normal,
    Spike,
    Shift,
    Loop,
    Duplicate,
}

impl Truth {
    pub(super) fn word(self) -> &'static str {
        match self {
            Truth::Normal => "normal",
            Truth::Spike => "spike",
            Truth::Shift => "shift",
            Truth::Loop => "loop",
            Truth::Duplicate => "duplicate",
        }
    }
}

/// A reading of a sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) time: EventTime,
    /// Number of the sensor in its partition.
    pub(super) sensor: u32,
    pub(super) truth: Truth,
    pub(super) value: f64,
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A record on its way; sorted by when it comes.
struct Delayed {
    comes: EventTime,
    /// Counts what was sent on its way: first come, first served.
    number: u64,
    record: Record,
}

impl Delayed {
    fn rank(&self) -> (EventTime, u64) {
        (self.comes, self.number)
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Delayed) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Delayed) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Delayed) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// The records of a partition, one after the other.
///
/// Its sensors speak in turn. Slot `q` is reading `q / sensors` of sensor `q % sensors`; it gives none (a dropout), one
/// or two records (a duplicate), and each comes at once or later.
pub(super) struct Partition {
    settings: Generator,
    pub(super) sensors: Vec<Sensor>,
    /// How many readings have been taken.
    pub(super) slot: u64,
    /// Which sensor's turn it is, and which of its readings: the slot, divided.
    turn: (usize, u64),
    under_way: BinaryHeap<Reverse<Delayed>>,
    sent: u64,
    /// How many records are still to come, where `count` says so.
    pub(super) remaining: Option<u64>,
    ended: bool,
}

impl Partition {
    pub(super) fn new(settings: &Generator, number: u64) -> Partition {
        let numbers = (number..settings.sensors).step_by(settings.partitions.max(1) as usize);
        Partition {
            sensors: numbers.map(|i| Sensor::new(settings, i)).collect(),
            slot: 0,
            turn: (0, 0),
            under_way: BinaryHeap::new(),
            sent: 0,
            remaining: settings.records_of(number),
            ended: false,
            settings: settings.clone(),
        }
    }

    /// When the next reading happens, unless that is after the end.
    fn next_time(&self) -> Option<EventTime> {
        let interval = self.settings.interval.micros();
        let sensor = self.sensors.get(self.turn.0)?;
        let since = i64::try_from(self.turn.1).ok()?.checked_mul(interval)?.checked_add(sensor.offset)?;
        let within = self.settings.duration.is_none_or(|duration| since < duration.micros());
        within.then(|| self.settings.start.0.checked_add(since)).flatten()
    }

    /// Takes the next reading and sends its records on their way.
    fn speak(&mut self, time: EventTime) {
        let (j, reading) = self.turn;
        self.slot += 1;
        self.turn = if j + 1 == self.sensors.len() { (0, reading + 1) } else { (j + 1, reading) };
        let Some(mut record) = self.sensors[j].read(&self.settings, j as u32, reading, time) else { return };
        let comes = time + self.sensors[j].delay(&self.settings);
        self.send(comes, record);
        if self.sensors[j].doubles(&self.settings) {
            record.truth = Truth::Duplicate;
            let comes = comes.max(time + self.sensors[j].delay(&self.settings));
            self.send(comes, record);
        }
    }

    fn send(&mut self, comes: EventTime, record: Record) {
        self.under_way.push(Reverse(Delayed { comes, number: self.sent, record }));
        self.sent += 1;
    }
}

impl Iterator for Partition {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.remaining == Some(0) {
            return None;
        }
        while !self.ended {
            // Whatever comes before the next reading happens cannot be overtaken any more.
            let Some(time) = self.next_time() else {
                self.ended = true;
                break;
            };
            if self.under_way.peek().is_some_and(|Reverse(first)| first.comes <= time) {
                break;
            }
            self.speak(time);
        }
        let Reverse(first) = self.under_way.pop()?;
        self.remaining = self.remaining.map(|n| n - 1);
        Some(first.record)
    }
}

/// A sensor and what is going on with it.
pub(super) struct Sensor {
    pub(super) name: String,
    pub(super) site: &'static str,
    /// How long after the start its first reading is.
    offset: i64,
    level: f64,
    height: f64,
    phase: f64,
    deviation: f64,
    /// Chance, one stream for each thing it decides, so that a setting changes nothing but what it is about.
    noise: Random,
    plane: Random,
    spikes: Rhythm,
    shifts: Rhythm,
    dropouts: Rhythm,
    loops: Rhythm,
    delays: Random,
    doubles: Random,
    /// By how much the level is moved just now.
    shifted: f64,
    silent_until: EventTime,
    /// The first reading of the loop that it is in, or was in last, and the one behind it.
    looping: (u64, u64),
}

const SITES: [&str; 4] = ["north", "east", "south", "west"];

impl Sensor {
    fn new(settings: &Generator, number: u64) -> Sensor {
        let random = Random::new(settings.seed).split(number);
        let mut nature = random.split(0);
        let rhythm = |stream: u64, every: Option<u64>| Rhythm::new(random.split(stream), every);
        let digits = (settings.sensors - 1).to_string().len().max(2);
        let offset = i128::from(settings.interval.micros()) * i128::from(number) / i128::from(settings.sensors);
        Sensor {
            name: format!("sensor-{number:0digits$}"),
            site: SITES[nature.pick(4) as usize],
            offset: offset as i64,
            level: 15.0 + 10.0 * nature.unit(),
            height: 2.0 + 3.0 * nature.unit(),
            phase: 0.1 * nature.unit(),
            deviation: settings.noise * (0.5 + nature.unit()),
            noise: random.split(1),
            plane: random.split(2),
            spikes: rhythm(3, settings.spikes.map(|s| s.every)),
            shifts: rhythm(4, settings.shifts.map(|s| s.every)),
            dropouts: rhythm(5, settings.dropouts.map(|s| s.every)),
            loops: rhythm(6, settings.loops.map(|s| s.every)),
            delays: random.split(7),
            doubles: random.split(8),
            shifted: 0.0,
            silent_until: time::BEFORE_ALL,
            looping: (0, 0),
        }
    }

    /// Reading number `reading`; none while it is silent. Chance is drawn all the same, so that silence changes no
    /// later reading.
    fn read(&mut self, settings: &Generator, sensor: u32, reading: u64, time: EventTime) -> Option<Record> {
        let (mut value, mut truth) = (self.level_at(settings, time), Truth::Normal);
        let ((x, y), looping) = self.place(settings, reading);
        if looping {
            truth = Truth::Loop;
        }
        if let Some(shifts) = settings.shifts
            && self.shifts.strikes(reading)
        {
            let size = shifts.size * self.deviation * self.shifts.sign();
            self.shifted = if self.shifted == 0.0 { size } else { 0.0 };
            truth = Truth::Shift;
        }
        value += self.shifted + self.deviation * self.noise.normal();
        if let Some(spikes) = settings.spikes
            && self.spikes.strikes(reading)
        {
            value += spikes.size * self.deviation * self.spikes.sign();
            truth = Truth::Spike;
        }
        if let Some(dropouts) = settings.dropouts
            && self.dropouts.strikes(reading)
        {
            self.silent_until = time.saturating_add(dropouts.length.micros());
        }
        let record = Record { time, sensor, truth, value: rounded(value), x: rounded(x), y: rounded(y) };
        (time >= self.silent_until).then_some(record)
    }

    /// The value without noise.
    fn level_at(&self, settings: &Generator, time: EventTime) -> f64 {
        let cycle = settings.cycle.micros();
        let turns = time.rem_euclid(cycle) as f64 / cycle as f64;
        self.level + self.height * sin_turns(turns + self.phase)
    }

    /// Where the point (x, y) is, and whether it is going round: on the unit circle with a little noise, else in a
    /// cloud about the origin.
    fn place(&mut self, settings: &Generator, reading: u64) -> ((f64, f64), bool) {
        let (a, b) = (self.plane.normal(), self.plane.normal());
        let Some(loops) = settings.loops else { return ((0.4 * a, 0.4 * b), false) };
        if self.loops.strikes(reading) {
            self.looping = (reading, reading + loops.length);
        }
        if !(self.looping.0..self.looping.1).contains(&reading) {
            return ((0.4 * a, 0.4 * b), false);
        }
        let turns = ((reading - self.looping.0) % loops.period) as f64 / loops.period as f64;
        ((sin_turns(turns + 0.25) + 0.08 * a, sin_turns(turns) + 0.08 * b), true)
    }

    /// How much later than it happened the next record comes.
    fn delay(&mut self, settings: &Generator) -> i64 {
        let Some(OutOfOrder { share, max }) = settings.out_of_order else { return 0 };
        let (late, how) = (self.delays.unit() < share, self.delays.unit());
        if late { 1 + (how * max.micros() as f64) as i64 } else { 0 }.min(max.micros())
    }

    /// Whether the record just sent is sent once more.
    fn doubles(&mut self, settings: &Generator) -> bool {
        settings.duplicates > 0.0 && self.doubles.unit() < settings.duplicates
    }
}

/// Sensors give so many decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Something that strikes a sensor now and then: after every reading with the same probability.
struct Rhythm {
    random: Random,
    every: u64,
    next: u64,
}

impl Rhythm {
    fn new(random: Random, every: Option<u64>) -> Rhythm {
        let mut rhythm = Rhythm { random, every: every.unwrap_or(0), next: 0 };
        rhythm.next = rhythm.gap();
        rhythm
    }

    fn gap(&mut self) -> u64 {
        1 + (self.random.exponential() * self.every as f64) as u64
    }

    /// Whether it strikes at this reading; asked once for every reading.
    fn strikes(&mut self, reading: u64) -> bool {
        let now = reading >= self.next;
        if now {
            self.next = reading + self.gap();
        }
        now
    }

    fn sign(&mut self) -> f64 {
        if self.random.pick(2) == 0 { 1.0 } else { -1.0 }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn settings(text: &str) -> Generator {
        toml::from_str(text).expect("settings")
    }

    pub const ALL: &str = "sensors = 7\npartitions = 3\nduration = \"10m\"\nout_of_order = {}\nspikes = { every = 50 }\nshifts = { every = 100 }\n\
        dropouts = { every = 200 }\nduplicates = 0.02\nloops = { every = 150, length = 60 }\ntruth = true\n";

    pub fn all(settings: &Generator) -> Vec<Record> {
        (0..settings.partitions).flat_map(|p| Partition::new(settings, p)).collect()
    }

    #[test]
    fn records_depend_neither_on_the_end_nor_on_the_rate() {
        let whole = all(&settings("partitions = 1\ncount = 4000\nout_of_order = {}\nspikes = {}"));
        assert_eq!(whole.len(), 4_000);
        let half = settings("partitions = 1\ncount = 2000\nout_of_order = {}\nspikes = {}\nrate = \"5/s\"");
        assert_eq!(whole[..2_000], all(&half));
        let counts: Vec<usize> =
            (0..3).map(|p| Partition::new(&settings("partitions = 3\ncount = 11"), p).count()).collect();
        assert_eq!(counts, [4, 4, 3]);
    }

    #[test]
    fn a_sensor_says_the_same_in_any_number_of_partitions() {
        let of = |partitions: &str| {
            let mut records = all(&settings(&ALL.replace("partitions = 3", partitions)));
            records.sort_by(|a, b| {
                (a.time, a.value.to_bits(), a.truth.word()).cmp(&(b.time, b.value.to_bits(), b.truth.word()))
            });
            records.into_iter().map(|r| (r.time, r.value, r.x, r.y, r.truth)).collect::<Vec<_>>()
        };
        assert_eq!(of("partitions = 3"), of("partitions = 1"));
    }

    #[test]
    fn nothing_is_later_than_promised() {
        let settings = settings(ALL);
        for p in 0..3 {
            let (mut newest, mut late) = (i64::MIN, 0);
            for record in Partition::new(&settings, p) {
                newest = newest.max(record.time);
                assert!(newest - record.time <= 1_500_000);
                late += u64::from(record.time < newest);
            }
            assert!(late > 10, "{late}");
        }
        let times: Vec<i64> =
            all(&super::tests::settings("partitions = 1\ncount = 1000")).iter().map(|r| r.time).collect();
        assert!(times.is_sorted() && times[0] == 1_767_225_600_000_000);
    }

    #[test]
    fn disturbances_are_as_frequent_and_as_large_as_told() {
        let settings = settings(
            "sensors = 10\nduration = \"20000s\"\nspikes = { every = 100, size = 20 }\nshifts = { every = 1000 }\nduplicates = 0.05\ncycle = \"1d\"",
        );
        let records = all(&settings);
        let share = |truth: Truth| records.iter().filter(|r| r.truth == truth).count() as f64 / records.len() as f64;
        for (truth, expected) in
            [(Truth::Spike, 0.01 / 1.05), (Truth::Shift, 0.001 / 1.05), (Truth::Duplicate, 0.05 / 1.05)]
        {
            assert!((share(truth) / expected - 1.0).abs() < 0.25, "{truth:?}: {}", share(truth));
        }
        let calm = all(&super::tests::settings("sensors = 10\nduration = \"20000s\"\ncycle = \"1d\""));
        let spikes = records.iter().filter(|r| r.truth == Truth::Spike);
        let beside =
            spikes.map(|r| (r, calm.iter().find(|c| c.time == r.time && c.x == r.x).expect("the same reading")));
        assert!(beside.take(50).all(|(spike, calm)| (spike.value - calm.value).abs() > 2.0));
    }

    #[test]
    fn silences_are_silent_and_loops_go_round() {
        let settings = settings(
            "sensors = 1\npartitions = 1\nduration = \"20000s\"\ndropouts = { every = 500, length = \"90s\" }\nloops = {}",
        );
        let records = all(&settings);
        let gaps = records.windows(2).filter(|pair| pair[1].time - pair[0].time >= 90_000_000).count();
        assert!((20..80).contains(&gaps), "{gaps}");
        let radii: Vec<f64> =
            records.iter().filter(|r| r.truth == Truth::Loop).map(|r| (r.x * r.x + r.y * r.y).sqrt()).collect();
        assert!(radii.len() > 300 && radii.iter().all(|r| (0.5..1.5).contains(r)));
    }

    #[test]
    fn bits_are_pinned() {
        let records = all(&settings("sensors = 3\npartitions = 1\ncount = 3\nspikes = {}\nout_of_order = {}"));
        let numbers: Vec<(i64, f64, f64, f64)> =
            records.iter().map(|r| (r.time - 1_767_225_600_000_000, r.value, r.x, r.y)).collect();
        assert_eq!(
            numbers,
            [(0, 22.1528, -0.3011, -0.1306), (333_333, 17.3436, -0.4023, 0.1021), (666_666, 23.7849, 0.0134, 0.5231)]
        );
    }
}
