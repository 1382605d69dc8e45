//! What every part of a running job counts, always: cheap to count, ready to be shown, summed over workers when asked.

use super::health::{Condition, Monitor, Seen};
use super::threads::Threads;
use super::wall;
use crate::batch::Batch;
use crate::checkpoint::manifest::{self, Manifest};
use crate::fault::Failure;
use crate::job::plan::Plan;
use crate::sink::Trouble;
use crate::source::Feed;
use crate::time::{BEFORE_ALL, EventTime};
use crate::value::Row;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The counts of a job.
pub struct Metrics {
    /// One for each source.
    pub sources: Vec<Source>,
    /// For each step, and behind them for what puts rows in order for each sink, one for each worker.
    pub steps: Vec<Vec<Step>>,
    /// One for each sink.
    pub sinks: Vec<Sink>,
    /// What checkpoints there are.
    pub checkpoints: Checkpoints,
    /// Who has had how much of the processors.
    pub threads: Arc<Threads>,
}

/// What is known of the checkpoints of a run.
#[derive(Default)]
pub struct Checkpoints {
    made: Mutex<(u64, Option<Made>)>,
    trouble: Mutex<Option<String>>,
}

/// A checkpoint that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its number.
    pub id: u64,
    /// When it was begun, in microseconds since 1970 by the clock.
    pub begun_at: EventTime,
    /// How long it took, in microseconds.
    pub took: i64,
    /// How much it comes to, files that earlier ones wrote included.
    pub bytes: u64,
    /// The bytes that were written for it, by step.
    pub written: Vec<(String, u64)>,
}

impl Made {
    /// How old it is at `now`, in microseconds since 1970: what came since it was begun would be read again.
    pub fn age(&self, now: EventTime) -> Duration {
        Duration::from_micros(now.saturating_sub(self.begun_at).max(0) as u64)
    }

    /// What is told of a checkpoint.
    pub fn of(manifest: &Manifest) -> Made {
        let mine = format!("{:010}", manifest.id);
        let written = |step: &manifest::Step| {
            let files = step.parts.iter().chain(step.waiting.iter().map(|waiting| &waiting.file));
            let bytes = files.filter(|file| file.name.starts_with(&mine)).map(|file| file.bytes).sum();
            (step.name.clone(), bytes)
        };
        Made {
            id: manifest.id,
            begun_at: manifest.begun_at,
            took: manifest.took,
            bytes: manifest.files().map(|file| file.bytes).sum(),
            written: manifest.steps.iter().map(written).filter(|(_, bytes)| *bytes > 0).collect(),
        }
    }
}

impl Checkpoints {
    /// Notes a checkpoint that is there.
    pub fn note(&self, made: Made) {
        let mut all = self.made.lock().expect("nobody panics while noting a checkpoint");
        *all = (all.0 + 1, Some(made));
    }

    /// Notes what could not be done beside them, or that it could.
    pub fn trouble(&self, failure: Option<Failure>) {
        *self.trouble.lock().expect("nobody panics while saying what is wrong") = failure.map(|f| f.to_string());
    }

    /// How many were made, the newest, and what could not be done beside them.
    pub fn read(&self) -> (u64, Option<Made>, Option<String>) {
        let (count, made) = self.made.lock().expect("nobody panics while noting a checkpoint").clone();
        (count, made, said(&self.trouble))
    }
}

/// What the checkpoints of a step took and wrote on one worker.
#[derive(Default)]
pub struct Saved {
    copy: Tally,
    write: Tally,
    bytes: Tally,
    groups: Tally,
}

impl Saved {
    /// A checkpoint was copied, on the worker, for so long in all.
    pub fn copied(&self, time: Duration) {
        self.copy.note(time.as_nanos() as u64);
    }

    /// It was encoded and written, off the worker, for so long.
    pub fn written(&self, time: Duration, groups: usize, bytes: u64) {
        self.write.note(time.as_nanos() as u64);
        self.groups.note(groups as u64);
        self.bytes.note(bytes);
    }
}

#[derive(Default)]
struct Tally {
    newest: AtomicU64,
    most: AtomicU64,
    total: AtomicU64,
}

impl Tally {
    fn note(&self, number: u64) {
        self.newest.store(number, Relaxed);
        self.most.fetch_max(number, Relaxed);
        self.total.fetch_add(number, Relaxed);
    }
}

/// A number that every checkpoint has: that of the newest, the largest, and all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// Of the newest.
    pub newest: u64,
    /// The largest of all.
    pub most: u64,
    /// All together.
    pub total: u64,
}

/// What the checkpoints of a step took and wrote, over all workers of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SavedCounts {
    /// Nanoseconds of copying on the worker: of the slowest, and all together.
    pub copy_ns: Tallied,
    /// Nanoseconds of encoding and writing on other threads: of the slowest, and all together.
    pub write_ns: Tallied,
    /// Bytes written; the most are those of one worker.
    pub bytes: Tallied,
    /// Key groups written; the most are those of one worker.
    pub groups: Tallied,
}

fn read_saved(workers: &[Step]) -> SavedCounts {
    let tally = |of: fn(&Saved) -> &Tally, newest: fn(u64, u64) -> u64| {
        workers.iter().map(|worker| of(&worker.saved)).fold(Tallied::default(), |all, tally| Tallied {
            newest: newest(all.newest, tally.newest.load(Relaxed)),
            most: all.most.max(tally.most.load(Relaxed)),
            total: all.total + tally.total.load(Relaxed),
        })
    };
    SavedCounts {
        copy_ns: tally(|saved| &saved.copy, u64::max),
        write_ns: tally(|saved| &saved.write, u64::max),
        bytes: tally(|saved| &saved.bytes, |a, b| a + b),
        groups: tally(|saved| &saved.groups, |a, b| a + b),
    }
}

/// How many batches wait.
#[derive(Default)]
pub struct Queue {
    now: AtomicI64,
    most: AtomicI64,
}

impl Queue {
    /// So many come.
    pub fn add(&self, batches: usize) {
        let now = self.now.fetch_add(batches as i64, Relaxed) + batches as i64;
        self.most.fetch_max(now, Relaxed);
    }

    /// One goes.
    pub fn take(&self) {
        self.now.fetch_sub(1, Relaxed);
    }

    fn read(&self) -> (i64, i64) {
        (self.now.load(Relaxed), self.most.load(Relaxed))
    }
}

/// The counts of a source.
#[derive(Default)]
pub struct Source {
    /// Records given on.
    pub records: AtomicU64,
    /// Batches given on.
    pub batches: AtomicU64,
    /// Records that could not be decoded, or lay too far in the future.
    pub rejected: AtomicU64,
    /// Why the first of them was rejected, and where it is.
    pub why: Why,
    /// Records older than their partition's watermark.
    pub late: AtomicU64,
    /// How far the source has been read, in the unit of its total.
    pub progress: AtomicU64,
    /// Nanoseconds of reading and stamping.
    pub busy: AtomicU64,
    /// Batches that wait to be taken by workers.
    pub queue: Queue,
    /// What is wrong with the outside world.
    trouble: Mutex<Option<String>>,
    /// Whether some of it answers all the same.
    answers_in_part: AtomicBool,
    /// What could not be shown elsewhere.
    remark: Mutex<Option<String>>,
    monitor: Mutex<Monitor>,
}

/// The counts of a step on one worker.
pub struct Step {
    /// Records taken in.
    pub records: AtomicU64,
    /// Batches taken in.
    pub batches: AtomicU64,
    /// Records given out.
    pub out: AtomicU64,
    /// Records rejected.
    pub rejected: AtomicU64,
    /// Why the first of them was rejected, and where it is.
    pub why: Why,
    /// Records found late.
    pub late: AtomicU64,
    /// Nanoseconds at work.
    pub busy: AtomicU64,
    /// Records that wait to be put in order.
    pub waiting: AtomicU64,
    /// Keys that have state.
    pub keys: AtomicU64,
    /// The watermark last applied.
    pub watermark: AtomicI64,
    /// The epoch that is open.
    pub epoch: AtomicU64,
    /// What its checkpoints took and wrote.
    pub saved: Arc<Saved>,
}

/// The counts of a sink.
#[derive(Default)]
pub struct Sink {
    /// Records written.
    pub records: AtomicU64,
    /// Batches that wait to be written.
    pub queue: Queue,
    /// Nanoseconds of writing.
    pub busy: AtomicU64,
    /// Flushes and publications that are under way.
    pub under_way: AtomicI64,
    /// Those that have come to their end.
    pub flushed: AtomicU64,
    monitor: Mutex<Monitor>,
    /// What its writers say of the outside world.
    pub troubles: Mutex<Vec<Trouble>>,
}

impl Metrics {
    /// Zeros for all parts of a plan.
    pub fn new(plan: &Plan, workers: usize) -> Metrics {
        Metrics {
            sources: plan.sources.iter().map(|_| Source::default()).collect(),
            steps: (0..plan.steps.len() + plan.sinks.len())
                .map(|_| (0..workers).map(|_| Step::new()).collect())
                .collect(),
            sinks: plan.sinks.iter().map(|_| Sink::default()).collect(),
            checkpoints: Checkpoints::default(),
            threads: Arc::default(),
        }
    }
}

impl Step {
    /// Counts the time since it began to work.
    pub fn worked(&self, begun: Instant) {
        self.busy.fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
    }

    fn new() -> Step {
        let zero = AtomicU64::default;
        Step {
            records: zero(),
            batches: zero(),
            out: zero(),
            rejected: zero(),
            why: Why::default(),
            late: zero(),
            busy: zero(),
            waiting: zero(),
            keys: zero(),
            watermark: AtomicI64::new(BEFORE_ALL),
            epoch: zero(),
            saved: Arc::default(),
        }
    }
}

/// The reason of the first rejection, kept to be told.
#[derive(Default)]
pub struct Why(OnceLock<String>);

impl Why {
    /// Keeps the reason of the first record of a batch of rejected ones, if it is the first.
    pub fn note(&self, rejected: &Batch) {
        self.0.get_or_init(|| {
            let row = Row::new(rejected, 0);
            let [reason, place] = [1, 2].map(|field| row.text(field).unwrap_or_default());
            format!("{place}: {reason}")
        });
    }

    /// The reason, if there is one.
    pub fn told(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// The counts of a source at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// See [`Source`].
    pub records: u64,
    /// See [`Source`].
    pub rejected: u64,
    /// See [`Source`].
    pub why: Option<String>,
    /// See [`Source`].
    pub late: u64,
    /// See [`Source`].
    pub progress: u64,
    /// See [`Source`].
    pub busy_ns: u64,
    /// See [`Source`].
    pub queue: i64,
    /// The most that ever waited.
    pub queue_most: i64,
    /// How the source is.
    pub condition: Condition,
}

/// The counts of a step at one moment, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCounts {
    /// See [`Step`].
    pub records: u64,
    /// See [`Step`].
    pub batches: u64,
    /// See [`Step`].
    pub out: u64,
    /// See [`Step`].
    pub rejected: u64,
    /// See [`Step`]; of the first worker that rejected any.
    pub why: Option<String>,
    /// See [`Step`].
    pub late: u64,
    /// Whether its keys grow without end, as it seems.
    pub grows: bool,
    /// Nanoseconds at work, for each worker.
    pub busy_ns: Vec<u64>,
    /// See [`Step`].
    pub waiting: u64,
    /// See [`Step`].
    pub keys: u64,
    /// The least watermark of all workers.
    pub watermark: EventTime,
    /// The least open epoch of all workers.
    pub epoch: u64,
    /// What its checkpoints took and wrote.
    pub saved: SavedCounts,
}

/// The counts of a sink at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// See [`Sink`].
    pub records: u64,
    /// See [`Sink`].
    pub queue: i64,
    /// The most that ever waited.
    pub queue_most: i64,
    /// See [`Sink`].
    pub busy_ns: u64,
    /// How the sink is.
    pub condition: Condition,
}

impl Source {
    /// Notes what the source says of the outside world.
    pub fn look_at(&self, feed: &dyn Feed) {
        for (place, said) in [(&self.trouble, feed.trouble()), (&self.remark, feed.remark())] {
            *place.lock().expect("nobody panics while saying what is wrong") = said;
        }
        self.answers_in_part.store(feed.answers_in_part(), Relaxed);
    }

    /// What it counts now.
    pub fn read(&self) -> SourceCounts {
        let (queue, queue_most) = self.queue.read();
        let records = self.records.load(Relaxed);
        let seen = Seen {
            trouble: said(&self.trouble),
            remark: said(&self.remark),
            moved: records + self.rejected.load(Relaxed),
            waits: false,
            may_be_idle: self.answers_in_part.load(Relaxed),
        };
        SourceCounts {
            records,
            rejected: self.rejected.load(Relaxed),
            why: self.why.told(),
            late: self.late.load(Relaxed),
            progress: self.progress.load(Relaxed),
            busy_ns: self.busy.load(Relaxed),
            queue,
            queue_most,
            condition: look(&self.monitor, seen),
        }
    }
}

impl Sink {
    /// What it counts now.
    pub fn read(&self) -> SinkCounts {
        let (queue, queue_most) = self.queue.read();
        let troubles = self.troubles.lock().expect("nobody panics while saying what is wrong");
        let records = self.records.load(Relaxed);
        let seen = Seen {
            trouble: troubles.iter().find_map(|say| say()),
            remark: None,
            moved: records + self.flushed.load(Relaxed),
            waits: queue > 0 || self.under_way.load(Relaxed) > 0,
            may_be_idle: true,
        };
        SinkCounts {
            records,
            queue,
            queue_most,
            busy_ns: self.busy.load(Relaxed),
            condition: look(&self.monitor, seen),
        }
    }
}

/// What a step counts now, over all its workers.
pub fn read_step(workers: &[Step]) -> StepCounts {
    let sum = |count: fn(&Step) -> &AtomicU64| workers.iter().map(|w| count(w).load(Relaxed)).sum();
    StepCounts {
        records: sum(|w| &w.records),
        batches: sum(|w| &w.batches),
        out: sum(|w| &w.out),
        rejected: sum(|w| &w.rejected),
        why: workers.iter().find_map(|w| w.why.told()),
        late: sum(|w| &w.late),
        grows: false,
        busy_ns: workers.iter().map(|w| w.busy.load(Relaxed)).collect(),
        waiting: sum(|w| &w.waiting),
        keys: sum(|w| &w.keys),
        watermark: workers.iter().map(|w| w.watermark.load(Relaxed)).min().unwrap_or(BEFORE_ALL),
        epoch: workers.iter().map(|w| w.epoch.load(Relaxed)).min().unwrap_or(0),
        saved: read_saved(workers),
    }
}

fn look(monitor: &Mutex<Monitor>, seen: Seen) -> Condition {
    monitor.lock().expect("nobody panics while looking").look(wall::time_of_day(), seen)
}

fn said(trouble: &Mutex<Option<String>>) -> Option<String> {
    trouble.lock().expect("nobody panics while saying what is wrong").clone()
}
