//! Runs one operator on one worker, without timely: order, watermarks, state.
//!
//! ```text
//! accept(input, batch) --(in order?)--> Order --+--> Instance::on_batch
//! hear(epoch, mark)    --> by epoch             |
//! close(epoch)         --> watermark = min over the partitions upstream --> release, on_watermark
//! ```
//! **What goes out at watermark W depends on the rows whose point is below W and on nothing else**, so it does not
//! matter how epochs were cut. That is why marks of several epochs may be applied in one leap.

use super::order::Order;
use crate::batch::Batch;
use crate::checkpoint::part::Group;
use crate::fault::Failure;
use crate::operator::{Arrival, Copied, Copying, Instance, Outputs, Ports, StepNames};
use crate::origin::Origin;
use crate::time::{self, AFTER_ALL, BEFORE_ALL, EventTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Timely's time: the number of an epoch.
pub type Epoch = u64;

/// What a source says of one of its partitions at the end of an epoch: nothing older than `watermark` comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which source of the job.
    pub source: u16,
    /// Which partition.
    pub origin: Origin,
    /// Its watermark.
    pub watermark: EventTime,
}

/// How a driver treats the order of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// Rows go to the operator as they come.
    None,
    /// Rows go to the operator in canonical order; late ones go to `late`.
    Strict,
    /// Rows go to the operator in canonical order, late ones at the point of their stamp: for streams in which rows of
    /// one origin may come by several ways.
    Merge,
}

impl From<Arrival> for Ordering {
    fn from(arrival: Arrival) -> Ordering {
        match arrival {
            Arrival::AsTheyCome => Ordering::None,
            Arrival::InOrder => Ordering::Strict,
        }
    }
}

/// An operator at work on one worker.
pub struct Driver {
    instance: Box<dyn Instance>,
    outputs: Outputs,
    ordering: Ordering,
    order: Order,
    marks: BTreeMap<Epoch, Vec<Mark>>,
    partitions: BTreeMap<Origin, EventTime>,
    watermark: EventTime,
    keeps_nothing: bool,
}

impl Driver {
    /// A driver; `partitions` are those of all sources upstream, so that none is forgotten in the minimum.
    pub fn new(
        names: StepNames,
        instance: Box<dyn Instance>,
        ordering: Ordering,
        partitions: impl IntoIterator<Item = Origin>,
    ) -> Driver {
        Driver {
            instance,
            outputs: Outputs::new(names),
            ordering,
            order: Order::default(),
            marks: BTreeMap::new(),
            partitions: partitions.into_iter().map(|origin| (origin, BEFORE_ALL)).collect(),
            watermark: BEFORE_ALL,
            keeps_nothing: false,
        }
    }

    /// The same, but when there are no more epochs it gives out what still waits, whether or not the watermark came so
    /// far: when a job is stopped, a sink gets all that was read.
    pub fn keeping_nothing(mut self) -> Driver {
        self.keeps_nothing = true;
        self
    }

    /// Takes a batch of an input.
    pub fn accept(&mut self, input: usize, batch: Batch) {
        match self.ordering {
            Ordering::None => self.instance.on_batch(input, &batch, &mut self.outputs),
            Ordering::Merge => self.order.push(input, batch),
            Ordering::Strict if batch.any_late() => {
                let (late, on_time): (Vec<u32>, Vec<u32>) =
                    (0..batch.len() as u32).partition(|row| batch.stamp(*row as usize).is_some());
                let late: Vec<(u32, String)> = late.into_iter().map(|row| (row, too_late(&batch, row))).collect();
                self.outputs.late(input, &batch, &late);
                self.order.push(input, batch.take(&on_time));
            }
            Ordering::Strict => self.order.push(input, batch),
        }
    }

    /// Hears what the sources said at the end of an epoch; applied when the epoch closes.
    pub fn hear(&mut self, epoch: Epoch, marks: impl IntoIterator<Item = Mark>) {
        self.marks.entry(epoch).or_default().extend(marks);
    }

    /// The first epoch from this one on of which something was heard that is not applied yet.
    pub fn heard_from(&self, epoch: Epoch) -> Option<Epoch> {
        self.marks.range(epoch..).next().map(|(epoch, _)| *epoch)
    }

    /// Closes all epochs before `frontier` (`None`: all there are).
    pub fn close(&mut self, frontier: Option<Epoch>) {
        let later = frontier.map(|frontier| self.marks.split_off(&frontier)).unwrap_or_default();
        let closed = std::mem::replace(&mut self.marks, later);
        for mark in closed.into_values().flatten() {
            let watermark = self.partitions.entry(mark.origin).or_insert(BEFORE_ALL);
            *watermark = mark.watermark.max(*watermark);
        }
        let least = self.partitions.values().min().copied().unwrap_or(BEFORE_ALL);
        if least > self.watermark {
            self.watermark = least;
            let Driver { order, instance, outputs, .. } = self;
            order.release(least, |input, rows| instance.on_rows(input, rows, outputs));
            self.instance.on_watermark(least, &mut self.outputs);
        }
        if frontier.is_none() && self.keeps_nothing {
            let Driver { order, instance, outputs, .. } = self;
            order.release(AFTER_ALL, |input, rows| instance.on_rows(input, rows, outputs));
        }
    }

    /// What has gone out since it was last asked.
    pub fn drain(&mut self) -> Option<Ports> {
        (!self.outputs.is_empty()).then(|| self.outputs.drain())
    }

    /// The watermark that was last applied.
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// How many keys the operator has state for.
    pub fn keys(&self) -> usize {
        self.instance.keys()
    }

    /// How many rows wait to be put in order.
    pub fn waiting(&self) -> usize {
        self.order.len()
    }

    /// The outputs, for a splitter that rejects on this step's behalf.
    pub fn outputs(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// All that the driver knows now, as far as it changed since the last snapshot: the groups of the operator's state
    /// that changed, each with the next sequence of its derived rows; what waits, and the watermarks, whole. The groups
    /// may still be to be copied: see [`Driver::copy_on`].
    pub fn snapshot(&mut self) -> Snapshot {
        let (groups, begun) = match self.instance.snapshot() {
            Copying::Unchanged => (None, false),
            Copying::Whole(copied) => (Some(copied), false),
            Copying::Begun => (None, true),
        };
        Snapshot {
            groups,
            begun,
            sequences: self.outputs.sequences().to_vec(),
            version: self.instance.state_version(),
            waiting: self.order.waiting().collect(),
            partitions: self.partitions.clone(),
            watermark: self.watermark,
        }
    }

    /// Goes on with the newest snapshot by about so many keys; says whether it is whole.
    pub fn copy_on(&mut self, snapshot: &mut Snapshot, keys: usize) -> bool {
        if snapshot.begun {
            snapshot.groups = self.instance.copy_on(keys);
            snapshot.begun = snapshot.groups.is_none();
        }
        !snapshot.begun
    }

    /// Takes over a key group as it was saved.
    pub fn restore(&mut self, saved: &Group) -> Result<(), Failure> {
        self.outputs.resume(saved.group, saved.next_sequence);
        if saved.state.is_empty() {
            return Ok(());
        }
        self.instance.restore_from(saved.version, saved.group, &saved.state)
    }

    /// Goes on where time stood.
    pub fn resume(&mut self, partitions: impl IntoIterator<Item = (Origin, EventTime)>, watermark: EventTime) {
        self.partitions.extend(partitions);
        self.watermark = watermark;
    }

    /// Takes over rows that waited to be put in order.
    pub fn wait(&mut self, input: usize, batch: Batch) {
        self.order.push(input, batch);
    }
}

/// What a driver knows.
pub struct Snapshot {
    /// The key groups that changed, if any did.
    groups: Option<Copied>,
    /// Whether they are still to be copied.
    begun: bool,
    /// The next sequence of the rows derived for each.
    sequences: Vec<i64>,
    /// The format of their state.
    version: u32,
    /// The rows that wait to be put in order, with the input that they came by.
    pub waiting: Vec<(usize, Batch)>,
    /// The watermark of each partition upstream.
    pub partitions: BTreeMap<Origin, EventTime>,
    /// The watermark that was last applied.
    pub watermark: EventTime,
}

impl Snapshot {
    /// Whether some key groups changed.
    pub fn has_groups(&self) -> bool {
        self.groups.is_some() || self.begun
    }

    /// The key groups that changed, once, when it is whole. May take long: it is no work for a worker.
    pub fn take_groups(&mut self) -> Vec<Group> {
        let mut groups = Vec::new();
        if let Some(copied) = self.groups.take() {
            copied(&mut |group, state| {
                let next_sequence = self.sequences.get(group as usize).copied().unwrap_or(0);
                groups.push(Group { group, next_sequence, version: self.version, state });
            });
        }
        groups
    }
}

fn too_late(batch: &Batch, row: u32) -> String {
    let stamp = batch.stamp(row as usize).expect("a late row has a stamp");
    let watermark = time::format(stamp);
    format!(
        "older than the watermark of its partition, which was {watermark} already; this step needs its records in order"
    )
}
