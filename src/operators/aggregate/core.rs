//! What windows of every form share: arguments, keys, slots, and the rows on their way out.

use super::accumulators::{Accumulator, Finishing, Measure, Rows, Spec};
use super::keys::Keys;
use super::slots::{NOWHERE, Slots};
use crate::batch::Batch;
use crate::expression::Expression;
use crate::key::{self, KEY_GROUPS, group_of};
use crate::operator::{Derived, Outputs, StateRow};
use crate::origin::Origins;
use crate::schema::{Field, Kind};
use crate::time::EventTime;
use crate::value::value_at;
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use std::sync::Arc;

/// How a step aggregates, whatever its windows: made by the plan, shared by all instances.
pub struct Shape {
    /// What the accumulators are fed with.
    pub arguments: Vec<Argument>,
    /// The accumulators, and whether each needs moments.
    pub accumulators: Vec<(Spec, bool)>,
    /// The aggregates: which accumulator tells them, and how.
    pub measures: Vec<(usize, Measure)>,
    /// The fields that these fill, behind the bounds of the window.
    pub fields: Vec<Field>,
    /// The kinds of the key's fields.
    pub key: Vec<Kind>,
    /// Whether rows say by what they were fired, and which revision they are.
    pub revisions: bool,
    /// The accumulator that knows the window's bounds, where the records make them.
    pub span: Option<usize>,
    /// The accumulator that knows which records a row was made from.
    pub places: Option<usize>,
}

/// What an accumulator is fed with.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its values.
    pub expression: Expression,
    /// What they are turned into.
    pub cast: Option<DataType>,
}

/// Why a row goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firing {
    /// The window is still open.
    Early,
    /// The window's end.
    OnTime,
    /// Records came after the window's end.
    Correction,
}

/// A row on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Fired {
    /// The key.
    pub key: u32,
    /// The window.
    pub window: (EventTime, EventTime),
    /// The point that fired it. `None` where a record did.
    pub point: Option<EventTime>,
    /// Why.
    pub firing: Firing,
    /// How many results of this window and key went before.
    pub revision: i64,
    /// What it holds.
    pub slot: u32,
    /// Whether the slot is free afterwards.
    pub give: bool,
}

/// What windows of every form share.
pub struct Core {
    /// The plan.
    pub shape: Arc<Shape>,
    /// The keys.
    pub keys: Keys,
    /// The partial aggregates.
    pub slots: Slots,
    /// The slot of every row of the batch at hand.
    pub assigned: Vec<u32>,
    /// Rows that wait to go out.
    pub fired: Vec<Fired>,
    /// Slots on their way into others: into, from.
    pub merging: Vec<(u32, u32)>,
    changed: Vec<bool>,
    scratch: Scratch,
}

/// Memory that is used again from one hand-over to the next.
#[derive(Default)]
struct Scratch {
    slots: Vec<u32>,
    lengths: Vec<i64>,
    measures: Vec<Measure>,
}

impl Core {
    /// Nothing yet.
    pub fn new(shape: Arc<Shape>) -> Core {
        let accumulators: Vec<Box<dyn Accumulator>> =
            shape.accumulators.iter().map(|(spec, moments)| spec.build(*moments)).collect();
        Core {
            shape,
            keys: Keys::default(),
            slots: Slots::new(accumulators),
            assigned: Vec::new(),
            fired: Vec::new(),
            merging: Vec::new(),
            scratch: Scratch::default(),
            changed: vec![false; KEY_GROUPS],
        }
    }

    /// The values of the arguments, and the rows (ascending) that have none and went to `rejected`.
    pub fn evaluate(&self, batch: &Batch, out: &mut Outputs) -> (Vec<ArrayRef>, Vec<u32>) {
        let mut failed: Vec<(u32, String)> = Vec::new();
        let mut evaluate = |argument: &Argument| {
            let evaluated = argument.expression.evaluate(batch);
            failed.extend(evaluated.failed);
            match &argument.cast {
                Some(to) => cast(&evaluated.values, to).expect("a cast between numbers"),
                None => evaluated.values,
            }
        };
        let columns = self.shape.arguments.iter().map(&mut evaluate).collect();
        failed.sort_by_key(|(row, _)| *row);
        failed.dedup_by_key(|(row, _)| *row);
        let rows = failed.iter().map(|(row, _)| *row).collect();
        failed.into_iter().for_each(|(row, reason)| out.reject(batch, row as usize, reason));
        (columns, rows)
    }

    /// Folds the batch at hand into the assigned slots. `skipped` says whether some rows count nowhere.
    pub fn update(&mut self, batch: &Batch, arguments: &[ArrayRef], skipped: bool) {
        self.slots.update(&Rows { slots: &self.assigned, batch, arguments });
        self.assigned.clear();
        if skipped {
            self.slots.clear(&[NOWHERE]);
        }
    }

    /// Notes that a key's group is not any more what was saved.
    #[inline]
    pub fn touch(&mut self, hash: u64) {
        self.changed[group_of(hash) as usize] = true;
    }

    /// For each key group, whether it changed since they were last asked for.
    pub fn changed(&mut self) -> Vec<bool> {
        std::mem::replace(&mut self.changed, vec![false; KEY_GROUPS])
    }

    /// A new slot that will hold what these do, joined in their order, once the merges are made.
    pub fn merged(&mut self, slots: impl IntoIterator<Item = u32>) -> u32 {
        let into = self.slots.take();
        self.merging.extend(slots.into_iter().map(|from| (into, from)));
        into
    }

    /// Makes the merges that wait, one accumulator after the other.
    pub fn merge(&mut self) {
        self.slots.merge(&self.merging);
        self.merging.clear();
    }

    /// Hands the fired rows over, in their order, and takes back the slots that were made for them.
    pub fn flush(&mut self, out: &mut Outputs) {
        if self.fired.is_empty() {
            return;
        }
        self.merge();
        let (fired, mut scratch) = (std::mem::take(&mut self.fired), std::mem::take(&mut self.scratch));
        let derived = self.rows(&fired, &mut scratch, out);
        out.derive(derived);
        scratch.slots.clear();
        scratch.slots.extend(fired.iter().filter(|row| row.give).map(|row| row.slot));
        self.slots.give(&scratch.slots);
        (self.fired, self.scratch) = (fired, scratch);
        self.fired.clear();
    }

    fn rows(&self, fired: &[Fired], scratch: &mut Scratch, out: &Outputs) -> Derived {
        let Scratch { slots, lengths, measures } = scratch;
        slots.clear();
        slots.extend(fired.iter().map(|row| row.slot));
        lengths.clear();
        lengths.extend(fired.iter().map(length));
        let cx = Finishing { slots, lengths, origins: out.origins() };
        let [starts, ends] = self.bounds(fired, &cx);
        let at = ends.as_primitive::<TimestampMicrosecondType>().values();
        let time = |(row, end): (&Fired, &EventTime)| match (row.firing, row.point) {
            (Firing::Early, Some(point)) => point - 1,
            _ => end.saturating_sub(1),
        };
        let rows_times: Vec<EventTime> = fired.iter().zip(at.iter()).map(time).collect();
        let stamps =
            fired.iter().zip(&rows_times).map(|(row, time)| row.point.map_or(*time, |point| point - 1)).collect();
        let groups = fired.iter().map(|row| group_of(self.keys.entry(row.key).hash)).collect();
        let keys = fired.iter().map(|row| &*self.keys.entry(row.key).bytes);
        let mut columns = vec![starts, ends];
        columns.extend(key::decode(keys, &self.shape.key));
        columns.extend(self.measured(measures, &cx));
        if self.shape.revisions {
            columns.push(Arc::new(StringArray::from_iter_values(fired.iter().map(|row| row.firing.word()))));
            columns.push(Arc::new(Int64Array::from_iter_values(fired.iter().map(|row| row.revision))));
        }
        columns.extend(self.shape.places.iter().flat_map(|places| self.slots.finish(*places, &[Measure::It], &cx)));
        Derived { times: rows_times, stamps, groups, columns }
    }

    /// The columns with the starts and the ends of windows.
    fn bounds(&self, fired: &[Fired], cx: &Finishing<'_>) -> [ArrayRef; 2] {
        [false, true].map(|last| match self.shape.span {
            Some(span) => self.slots.finish(span, &[Measure::Bound(last)], cx).remove(0),
            None => times(fired.iter().map(|row| if last { row.window.1 } else { row.window.0 })),
        })
    }

    /// Shows rows that would go out if nothing more came, each with its bytes, and takes back the slots that were made
    /// for them.
    pub fn show(&mut self, rows: &mut Vec<(Fired, usize)>, see: &mut dyn FnMut(StateRow<'_>)) {
        self.merge();
        let (fired, bytes): (Vec<Fired>, Vec<usize>) = rows.drain(..).unzip();
        let slots: Vec<u32> = fired.iter().map(|row| row.slot).collect();
        let lengths: Vec<i64> = fired.iter().map(length).collect();
        let cx = Finishing { slots: &slots, lengths: &lengths, origins: &Origins::new(Vec::new()) };
        let mut columns = self.bounds(&fired, &cx).to_vec();
        columns.extend(self.measured(&mut Vec::new(), &cx));
        for (row, fired) in fired.iter().enumerate() {
            let values = columns.iter().map(|column| value_at(column, row));
            let values = self.shape.remembers().into_iter().zip(values).collect();
            see(StateRow { key: &self.keys.entry(fired.key).bytes, values, bytes: bytes[row] });
        }
        let made: Vec<u32> = fired.iter().filter(|row| row.give).map(|row| row.slot).collect();
        self.slots.give(&made);
    }

    /// The columns of the aggregates. Each accumulator is asked once for all that it tells.
    fn measured(&self, measures: &mut Vec<Measure>, cx: &Finishing<'_>) -> Vec<ArrayRef> {
        let mut told: Vec<_> = (0..self.shape.accumulators.len())
            .map(|accumulator| {
                let asked = self.shape.measures.iter().filter(|(of, _)| *of == accumulator);
                measures.clear();
                measures.extend(asked.map(|(_, measure)| *measure));
                self.slots.finish(accumulator, measures, cx).into_iter()
            })
            .collect();
        let next = |(accumulator, _): &(usize, Measure)| told[*accumulator].next().expect("a column for each measure");
        self.shape.measures.iter().map(next).collect()
    }
}

impl Shape {
    /// What the form of a saved slot hangs on.
    pub fn form(&self) -> String {
        format!("{:?}", self.accumulators)
    }

    /// The columns in which windows are shown to people.
    pub fn remembers(&self) -> Vec<Field> {
        let bounds = ["window_start", "window_end"].map(|name| Field::new(name, Kind::Time));
        bounds.into_iter().chain(self.fields.iter().cloned()).collect()
    }
}

impl Firing {
    fn word(self) -> &'static str {
        match self {
            Firing::Early => "early",
            Firing::OnTime => "on_time",
            Firing::Correction => "correction",
        }
    }
}

/// How long a row's window is, as far as it has come, in microseconds.
fn length(row: &Fired) -> i64 {
    let until = row.point.map_or(row.window.1, |point| point.min(row.window.1));
    until.saturating_sub(row.window.0)
}

fn times(values: impl Iterator<Item = EventTime>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}
