//! What a checkpoint is made of: what sources, steps and sinks say of an interval, and the manifest that comes of it.
//!
//! The life of a job is cut into **intervals**; checkpoint `n` holds all that came in intervals up to `n`. An epoch's
//! number has the interval in its upper half, so that everybody knows where an interval ends without being told:
//!
//! ```text
//! epoch   7<<32 | 0   7<<32 | 1   ...   7<<32 | 4711   8<<32 | 0   ...
//!         \______________ interval 7 ______________/ ^ \__ interval 8
//!                                                    checkpoint 7
//! ```
//! The numbers of intervals are never used twice: a job that goes on begins with one that no file in the store has.

use super::driver::Epoch;
use crate::checkpoint::FileRef;
use crate::checkpoint::manifest::{FORMAT, Manifest, Partition, Sink, Step, Waiting};
use crate::job::plan::Plan;
use crate::origin::Origin;
use crate::sink::Delivery;
use crate::time::{BEFORE_ALL, EventTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of an interval, and of the checkpoint that ends it.
pub type Interval = u64;

const EPOCH_BITS: u32 = 32;

/// The interval that an epoch lies in.
pub fn interval_of(epoch: Epoch) -> Interval {
    epoch >> EPOCH_BITS
}

/// The first epoch of an interval.
pub fn first_epoch(interval: Interval) -> Epoch {
    interval << EPOCH_BITS
}

/// What one part of the graph on one worker says when an interval is over for it, and what it knew is durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ack {
    /// Partitions of a source, all that this worker has read of.
    Source(Vec<(Origin, Partition)>),
    /// A step; behind the steps of the plan, what puts rows in order for each sink.
    Step(StepAck),
    /// A shard of a sink.
    Sink {
        /// Which sink.
        sink: usize,
        /// Which shard.
        shard: usize,
        /// The number that it was sealed under.
        sealed: Interval,
        /// What it keeps back.
        outbox: Option<FileRef>,
    },
}

/// What a step says on one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepAck {
    /// Which step.
    pub step: usize,
    /// Which worker.
    pub worker: usize,
    /// Its key groups that changed.
    pub part: Option<FileRef>,
    /// All its rows that wait.
    pub waiting: Vec<Waiting>,
    /// Its watermark.
    pub watermark: EventTime,
    /// The watermarks of the partitions upstream.
    pub partitions: Vec<(Origin, EventTime)>,
}

impl StepAck {
    /// How much was written.
    pub fn bytes(&self) -> u64 {
        self.part.iter().chain(self.waiting.iter().map(|waiting| &waiting.file)).map(|file| file.bytes).sum()
    }
}

/// All that is known of the job's state, and what was said that is not in a manifest yet.
pub struct Ledger {
    manifest: Manifest,
    /// By step and worker.
    waiting: BTreeMap<(usize, usize), Vec<Waiting>>,
    said: BTreeMap<Interval, Vec<Ack>>,
}

impl Ledger {
    /// The ledger of a job; `before` is the checkpoint that it goes on from, made to fit the plan.
    pub fn new(plan: &Plan, shards: &[usize], before: Option<Manifest>, workers: usize) -> Ledger {
        let mut manifest = beginning(plan, shards);
        manifest.workers = workers;
        if let Some(before) = before {
            manifest.numbered = before.numbered;
            manifest.partitions = before.partitions;
            for (step, was) in manifest.steps.iter_mut().zip(before.steps) {
                (step.parts, step.watermark, step.partitions) = (was.parts, was.watermark, was.partitions);
            }
        }
        Ledger { manifest, waiting: BTreeMap::new(), said: BTreeMap::new() }
    }

    /// Takes note of what was said of an interval.
    pub fn note(&mut self, interval: Interval, ack: Ack) {
        self.said.entry(interval).or_default().push(ack);
    }

    /// Takes note of a partition that may not have spoken yet: its number is its own for ever.
    pub fn know(&mut self, origin: Origin, source: &str, (name, log): (&str, &str)) {
        let all = &mut self.manifest.partitions;
        if all.len() <= origin as usize {
            all.resize(origin as usize + 1, unread());
        }
        let known = &mut all[origin as usize];
        if known.name.is_empty() {
            (known.source, known.name, known.log) = (source.to_owned(), name.to_owned(), log.to_owned());
        }
    }

    /// The manifest of the last interval up to `last` (`None`: of which anything was said), once everybody has spoken.
    /// Nothing where nothing was said.
    pub fn close(&mut self, last: Option<Interval>) -> Option<Manifest> {
        let later = last.map(|last| self.said.split_off(&(last + 1))).unwrap_or_default();
        let said = std::mem::replace(&mut self.said, later);
        let id = *said.last_key_value()?.0;
        said.into_values().flatten().for_each(|ack| self.enter(ack));
        for (number, step) in self.manifest.steps.iter_mut().enumerate() {
            let of = self.waiting.range((number, 0)..(number + 1, 0));
            step.waiting = of.flat_map(|(_, waiting)| waiting.iter().cloned()).collect();
        }
        self.manifest.id = id;
        Some(self.manifest.clone())
    }

    fn enter(&mut self, ack: Ack) {
        match ack {
            Ack::Source(partitions) => partitions.into_iter().for_each(|(origin, partition)| {
                self.know(origin, &partition.source, (&partition.name, &partition.log));
                self.manifest.partitions[origin as usize] = partition;
            }),
            Ack::Step(StepAck { step: number, worker, part, waiting, watermark, partitions }) => {
                let step = &mut self.manifest.steps[number];
                step.parts.extend(part);
                (step.watermark, step.partitions) = (watermark, partitions);
                self.waiting.insert((number, worker), waiting);
            }
            Ack::Sink { sink, shard, sealed, outbox } => {
                let sink = &mut self.manifest.sinks[sink];
                (sink.outbox[shard], sink.sealed[shard]) = (outbox, sealed);
            }
        }
    }

    /// The steps whose files should be made one, with those files: where later ones have as much to say as the first.
    pub fn scattered(&self) -> Vec<(usize, Vec<FileRef>)> {
        let steps = self.manifest.steps.iter().enumerate();
        let scattered = steps.filter(|(_, step)| {
            let [first, later @ ..] = &step.parts[..] else { return false };
            let bytes: u64 = later.iter().map(|file| file.bytes).sum();
            later.len() >= PARTS_LEAST && (bytes >= first.bytes || later.len() >= PARTS_MOST)
        });
        scattered.map(|(number, step)| (number, step.parts.clone())).collect()
    }

    /// Hears that the first files of a step were made one.
    pub fn gathered(&mut self, step: usize, files: usize, whole: FileRef) {
        self.manifest.steps[step].parts.splice(..files, [whole]);
    }
}

/// Files of a step are made one when there are so many more than one; and in any case when so many.
const PARTS_LEAST: usize = 8;
const PARTS_MOST: usize = 256;

/// A partition of which nothing is known but that it has a number.
fn unread() -> Partition {
    Partition {
        source: String::new(),
        name: String::new(),
        log: String::new(),
        position: None,
        sequence: None,
        watermark: BEFORE_ALL,
        newest: BEFORE_ALL,
        idle: false,
        ended: false,
    }
}

/// What is known of a job whose sinks have so many shards before it has begun.
pub fn beginning(plan: &Plan, shards: &[usize]) -> Manifest {
    let step = |name: String, kind: &str, fingerprint: u64, state_version: u32| Step {
        name,
        kind: kind.to_owned(),
        fingerprint: format!("{fingerprint:016x}"),
        state_version,
        watermark: BEFORE_ALL,
        partitions: Vec::new(),
        parts: Vec::new(),
        waiting: Vec::new(),
    };
    let steps =
        plan.steps.iter().map(|s| step(s.name.clone(), s.kind, s.fingerprint, (s.planned.make)().state_version()));
    let orders = plan.sinks.iter().map(|sink| step(order_name(&sink.name), "order", 0, 1));
    let sinks = plan.sinks.iter().zip(shards).map(|(sink, shards)| Sink {
        name: sink.name.clone(),
        delivery: sink.delivery.name().to_owned(),
        shards: *shards,
        outbox: vec![None; *shards],
        sealed: vec![0; *shards],
    });
    Manifest {
        format: FORMAT,
        id: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        job: plan.name.clone(),
        begun_at: 0,
        took: 0,
        workers: 0,
        partitions: Vec::new(),
        steps: steps.chain(orders).collect(),
        numbered: numbered(plan, None),
        sinks: sinks.collect(),
    }
}

/// What puts rows in order for a sink is called so.
pub fn order_name(sink: &str) -> String {
    format!("{sink}.order")
}

/// The names of the steps by the number that their rows carry; a step that is new gets the next number.
pub fn numbered(plan: &Plan, before: Option<&Manifest>) -> Vec<String> {
    let mut names = before.map_or_else(Vec::new, |before| before.numbered.clone());
    for step in &plan.steps {
        if !names.contains(&step.name) {
            names.push(step.name.clone());
        }
    }
    names
}

/// How many shards a sink has on so many workers: as many as it was begun with where it delivers exactly once.
pub fn shards_of(plan: &Plan, before: Option<&Manifest>, workers: usize) -> Vec<usize> {
    let of = |sink: &crate::job::SinkPlan| {
        if sink.sink.shards() != crate::sink::Shards::PerWorker {
            return 1;
        }
        let before = before.iter().flat_map(|manifest| &manifest.sinks).find(|before| before.name == sink.name);
        match before {
            Some(before) if sink.delivery == Delivery::ExactlyOnce && before.shards > 0 => before.shards,
            _ => workers,
        }
    };
    plan.sinks.iter().map(of).collect()
}
