//! What an instance gives out: rows that it lets through, rows that it derives, rows that it rejects or finds late.

use crate::batch::{Batch, Head};
use crate::key::{KEY_GROUPS, KeyGroup};
use crate::origin::{Origins, derived};
use crate::schema::{self, Schema};
use crate::time::EventTime;
use arrow::array::{ArrayRef, StringArray};
use std::sync::Arc;

/// The three outputs of a step, with what it takes to fill them. Owned by the engine, lent to the instance.
pub struct Outputs {
    names: StepNames,
    ports: Ports,
    reasons: Reasons,
    /// The next sequence of each key group's derived rows; part of the step's state. Empty before the first.
    sequences: Vec<i64>,
}

/// Who the step is.
#[derive(Clone)]
pub struct StepNames {
    /// Its name in the job.
    pub name: Arc<str>,
    /// Its number in the job.
    pub number: u16,
    /// The fields of `out`.
    pub output: Schema,
    /// The fields of each input's late records.
    pub late: Vec<Schema>,
    /// The names of origins.
    pub origins: Origins,
}

/// Batches for each of the outputs.
#[derive(Default)]
pub struct Ports {
    /// Results.
    pub out: Vec<Batch>,
    /// Records that could not be taken.
    pub rejected: Vec<Batch>,
    /// Records that came too late.
    pub late: Vec<Batch>,
}

#[derive(Default)]
struct Reasons {
    head: Head,
    columns: [Vec<String>; 3],
}

/// New rows. `columns` are those of the step's output.
pub struct Derived {
    /// Event times: for a window its end less 1 us.
    pub times: Vec<EventTime>,
    /// The point that fired each row, less 1 us; a row whose stamp is after its time is marked late. Empty: all on
    /// time.
    pub stamps: Vec<EventTime>,
    /// The key group of each row. The rows of one group must come in an order that depends on that group alone.
    pub groups: Vec<KeyGroup>,
    /// The fields.
    pub columns: Vec<ArrayRef>,
}

impl Outputs {
    /// Empty outputs of a step.
    pub fn new(names: StepNames) -> Outputs {
        Outputs { names, ports: Ports::default(), reasons: Reasons::default(), sequences: Vec::new() }
    }

    /// The step's name.
    pub fn step(&self) -> &str {
        &self.names.name
    }

    /// The fields of `out`.
    pub fn schema(&self) -> &Schema {
        &self.names.output
    }

    /// The names of origins.
    pub fn origins(&self) -> &Origins {
        &self.names.origins
    }

    /// Gives rows on that keep their time, origin and sequence.
    pub fn push(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.ports.out.push(batch.without_keys());
        }
    }

    /// Gives new rows: each gets the step and its key group as origin, and that group's next sequence.
    pub fn derive(&mut self, rows: Derived) {
        if rows.times.is_empty() {
            return;
        }
        self.sequences.resize(KEY_GROUPS, 0);
        let mut head = Head { times: rows.times, ..Head::default() };
        head.origins = rows.groups.iter().map(|group| derived(self.names.number, *group)).collect();
        let next = |group: &KeyGroup| {
            let next = &mut self.sequences[*group as usize];
            *next += 1;
            *next - 1
        };
        head.sequences = rows.groups.iter().map(next).collect();
        if rows.stamps.iter().zip(&head.times).any(|(stamp, time)| stamp > time) {
            head.stamps =
                rows.stamps.iter().zip(&head.times).map(|(stamp, time)| (stamp > time).then_some(*stamp)).collect();
        }
        self.ports.out.push(Batch::new(&self.names.output, head, rows.columns));
    }

    /// Sends a row to `rejected`.
    pub fn reject(&mut self, batch: &Batch, row: usize, reason: impl Into<String>) {
        let place = self.names.origins.place(batch.origins()[row], batch.sequences()[row]);
        let head = &mut self.reasons.head;
        head.times.push(batch.times()[row]);
        head.origins.push(batch.origins()[row]);
        head.sequences.push(batch.sequences()[row]);
        head.stamps.push(batch.stamp(row));
        let columns = [reason.into(), place, batch.row_json(row)];
        self.reasons.columns.iter_mut().zip(columns).for_each(|(column, text)| column.push(text));
    }

    /// Sends rows of an input to `late`, each with its reason.
    pub fn late(&mut self, input: usize, batch: &Batch, rows: &[(u32, String)]) {
        if rows.is_empty() {
            return;
        }
        let schema = &self.names.late[input];
        let indices: Vec<u32> = rows.iter().map(|(row, _)| *row).collect();
        let taken = batch.take(&indices);
        let arrow = taken.records().schema();
        let own = |i: usize| ["reason", "place"].contains(&arrow.field(schema::SYSTEM + i).name().as_str());
        let fields = taken.columns().iter().enumerate().filter(|(i, _)| !own(*i));
        let mut columns: Vec<ArrayRef> = fields.map(|(_, column)| column.clone()).collect();
        columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, reason)| reason))));
        let places = taken.origins().iter().zip(taken.sequences()).map(|(o, s)| self.names.origins.place(*o, *s));
        columns.push(Arc::new(StringArray::from_iter_values(places)));
        self.ports.late.push(taken.with_columns(schema, columns));
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.ports.out.is_empty() && self.ports.late.is_empty() && self.reasons.head.times.is_empty()
    }

    /// Takes what is there; the outputs are empty again.
    pub fn drain(&mut self) -> Ports {
        if !self.reasons.head.times.is_empty() {
            let Reasons { head, columns } = std::mem::take(&mut self.reasons);
            let step = StringArray::from_iter_values(std::iter::repeat_n(&self.names.name, head.times.len()));
            let texts = columns.into_iter().map(|texts| Arc::new(StringArray::from(texts)) as ArrayRef);
            let columns = std::iter::once(Arc::new(step) as ArrayRef).chain(texts).collect();
            self.ports.rejected.push(Batch::new(&schema::rejected(), head, columns));
        }
        std::mem::take(&mut self.ports)
    }

    /// The next sequence of each key group's derived rows, to be saved with the groups; all are 0 where there are none.
    pub fn sequences(&self) -> &[i64] {
        &self.sequences
    }

    /// Continues a key group's sequence where it was saved.
    pub fn resume(&mut self, group: KeyGroup, sequence: i64) {
        self.sequences.resize(KEY_GROUPS, 0);
        self.sequences[group as usize] = sequence;
    }
}
