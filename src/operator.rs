//! The contract of an operator: how it is planned, and what an instance of it does on a worker.
//!
//! ```text
//! Operator (configuration) --plan(input schemas)--> Planned { output schema, key?, order?, make }
//!                                   make() --> Instance, one on every worker
//!                       batches, watermarks --> Instance --> Outputs { out, rejected, late }
//! ```
//! An operator never sees timely, threads, epochs or checkpoints. Most operators are easier written as a
//! [`keyed::KeyedOperator`], whose state the engine owns whole.

mod inspect;
pub mod keyed;
mod outputs;
mod settings;
pub mod sweep;

pub use inspect::{Shown, StateRow, flattened, shown, shown_time};
pub use outputs::{Derived, Outputs, Ports, StepNames};
pub use settings::{Emit, Nan, Span, too_old_at};

use crate::batch::{Batch, Picked};
use crate::expression::Expression;
use crate::fault::{Failure, Fault, list};
use crate::key::KeyGroup;
use crate::schema::{Field, Kind, Schema};
use crate::time::{EventTime, Interval};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::cmp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The field in which a derived row names the records it was made from: `readings[0]@120-980 readings[2]@88-402`.
pub const MADE_FROM: &str = "made_from";

/// The configuration of a kind of operator; it is what a job file says under `[step.NAME]`.
pub trait Operator: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The word in `kind = "..."`.
    const NAME: &'static str;

    /// The part's manual: the `//!` lines at the head of this text. In the crate: `include_str!("this_file.rs")`.
    const MANUAL: &'static str = "";

    /// Whether its inputs may have different fields. Where not, the job's plan sees to it that all have the same.
    const MIXED_INPUTS: bool = false;

    /// Whether a step of it can have a `ttl`: what it remembers is the engine's to forget, key by key.
    const FORGETS: bool = false;

    /// Checks the configuration against the inputs. Every fault is reported to `planning`; `None` only when there was
    /// one. Called twice: the second time with inputs that have only the fields somebody uses.
    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned>;
}

/// What a step is planned with.
pub struct Planning<'a> {
    step: &'a str,
    inputs: &'a [Schema],
    key: &'a [Field],
    wanted: Option<&'a BTreeSet<String>>,
    ttl: Option<Interval>,
    faults: Vec<Fault>,
}

impl<'a> Planning<'a> {
    /// Planning for a step of that name. `wanted` are the output fields that somebody takes; `None` means all.
    pub fn new(step: &'a str, inputs: &'a [Schema], key: &'a [Field], wanted: Option<&'a BTreeSet<String>>) -> Self {
        Planning { step, inputs, key, wanted, ttl: None, faults: Vec::new() }
    }

    /// The same for a step that forgets a key which was not touched for so long.
    pub fn forgetting_after(self, ttl: Option<Interval>) -> Self {
        Planning { ttl, ..self }
    }

    /// After how long a key that was not touched is to be forgotten.
    pub fn ttl(&self) -> Option<Interval> {
        self.ttl
    }

    /// The step's name.
    pub fn step(&self) -> &'a str {
        self.step
    }

    /// The fields of the only input, or of the first.
    pub fn input(&self) -> &'a Schema {
        &self.inputs[0]
    }

    /// The fields of every input.
    pub fn inputs(&self) -> &'a [Schema] {
        self.inputs
    }

    /// The fields that the step's `key` gives; empty when it has none.
    pub fn key(&self) -> &'a [Field] {
        self.key
    }

    /// Whether somebody takes this output field: what nobody takes need not be computed.
    pub fn wants(&self, field: &str) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains(field))
    }

    /// Reports a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// How many faults were reported so far.
    pub fn faults(&self) -> usize {
        self.faults.len()
    }

    /// The faults that were reported.
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Plans an expression over the first input; `at` is its setting.
    pub fn expression(&mut self, text: &str, at: &str) -> Option<Expression> {
        Expression::plan(text, self.input(), at).map_err(|fault| self.fault(fault)).ok()
    }

    /// Plans a condition over the first input.
    pub fn condition(&mut self, text: &str, at: &str) -> Option<Expression> {
        Expression::condition(text, self.input(), at).map_err(|fault| self.fault(fault)).ok()
    }

    /// Finds a field of the first input, which must be of one of these kinds; `at` is the setting that names it.
    pub fn field(&mut self, name: &str, kinds: &[Kind], at: &str) -> Option<usize> {
        match self.input().field(name) {
            Some(field) if kinds.contains(&field.kind) => self.input().index_of(name),
            Some(field) => {
                let kinds: Vec<String> = kinds.iter().map(Kind::to_string).collect();
                let kinds = list(&kinds.iter().map(String::as_str).collect::<Vec<_>>());
                self.fault(Fault::at(at, format!("field `{name}` is {}, this needs {kinds}", field.kind)));
                None
            }
            None => {
                self.fault(Fault::at(at, format!("no field `{name}` comes in")).nearest(name, self.input().names()));
                None
            }
        }
    }

    /// Finds a numeric field of the first input and binds the column to it.
    pub fn number(&mut self, column: &mut Column, at: &str) {
        column.index = self.field(&column.name, &[Kind::Int, Kind::Float], at).unwrap_or_default();
    }

    /// Finds a field of the first input, of any kind, and binds the column to it.
    pub fn any(&mut self, column: &mut Column, at: &str) {
        column.index = self.field(&column.name, &Kind::ALL, at).unwrap_or_default();
    }
}

/// A field that a configuration names; bound to its position when the step is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The field's name.
    pub name: String,
    /// Its position among the input's fields, once bound.
    pub index: usize,
}

impl Column {
    /// A column of that name, not bound yet.
    pub fn new(name: impl Into<String>) -> Column {
        Column { name: name.into(), index: 0 }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Column, D::Error> {
        String::deserialize(from).map(Column::new)
    }
}

impl JsonSchema for Column {
    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": "string", "description": "The name of a field that comes in." })
    }
}

/// A planned step.
pub struct Planned {
    /// The fields of `out`.
    pub output: Schema,
    /// The input fields that the operator itself reads (its key apart).
    pub uses: BTreeSet<String>,
    /// Whether `out` carries the input's fields along, so that they must be there where somebody wants them.
    pub passes: bool,
    /// Whether rows of `out` are records that came in, with the origin and sequence that they came with. Rows that the
    /// operator derives have the step and their key group as their origin.
    pub keeps_origin: bool,
    /// Whether all records of a key must meet on one worker. Without a `key` they all meet.
    pub keyed: bool,
    /// In what order records must come.
    pub arrival: Arrival,
    /// Makes an instance; called on every worker.
    pub make: Make,
}

/// Makes an instance of a planned step.
pub type Make = Arc<dyn Fn() -> Box<dyn Instance> + Send + Sync>;

/// In what order an operator needs its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrival {
    /// As they come: within an origin in order of sequence, between origins in any order. Late ones come too, stamped.
    AsTheyCome,
    /// In canonical order, once the watermark has passed them. Late ones go to the step's `late` output.
    InOrder,
}

/// Makes bytes of what an instance copied, on any thread: those of every key group that changed, in order. No bytes
/// means that the group is empty now.
pub type Copied = Box<dyn FnOnce(&mut dyn FnMut(KeyGroup, Vec<u8>)) + Send>;

/// How far a copy is that was just asked for.
pub enum Copying {
    /// Nothing has changed since the last one.
    Unchanged,
    /// It is made.
    Whole(Copied),
    /// It is made bit by bit: see [`Instance::copy_on`].
    Begun,
}

impl Copying {
    /// A copy of which the bytes are there already.
    pub fn of(groups: Vec<(KeyGroup, Vec<u8>)>) -> Copying {
        if groups.is_empty() {
            return Copying::Unchanged;
        }
        Copying::Whole(Box::new(move |save| groups.into_iter().for_each(|(group, bytes)| save(group, bytes))))
    }
}

/// An operator at work on one worker.
///
/// 1. **Determinism.** For one key group, what goes to `out` and in what order depends on the records of that key group
///    and on the watermark alone; a watermark that rises in one leap gives what it gives in many steps.
/// 2. **State** is kept by key group: `snapshot` followed by `restore` into a fresh instance continues as if nothing
///    had happened.
/// 3. Batches have [`Batch::keys`] where the step was planned `keyed`.
pub trait Instance {
    /// Takes a batch of an input.
    fn on_batch(&mut self, input: usize, batch: &Batch, out: &mut Outputs);

    /// Takes rows of several batches of an input, as if they were one batch. To be overridden where rows can be taken
    /// from where they are.
    fn on_rows(&mut self, input: usize, rows: Picked<'_>, out: &mut Outputs) {
        self.on_batch(input, &rows.gathered(), out);
    }

    /// Hears that nothing older than `watermark` will come (but what is stamped).
    fn on_watermark(&mut self, _watermark: EventTime, _out: &mut Outputs) {}

    /// Copies every key group that changed since the last snapshot, as it is now. The worker waits for this: what takes
    /// longer than a few milliseconds with a million keys is left to [`Instance::copy_on`] or to [`Copied`].
    fn snapshot(&mut self) -> Copying {
        Copying::Unchanged
    }

    /// Goes on by about so many keys with a copy that was begun, and gives it when it is whole. Batches and watermarks
    /// may have come since; what they changed is not in it.
    fn copy_on(&mut self, _keys: usize) -> Option<Copied> {
        None
    }

    /// Takes a key group over as it was saved.
    fn restore(&mut self, _group: KeyGroup, _bytes: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    /// The version of the format that it saves in. A format that changes gets the next number.
    fn state_version(&self) -> u32 {
        1
    }

    /// Takes a key group over that was saved under a former version.
    fn restore_former(&mut self, version: u32, _group: KeyGroup, _bytes: &[u8]) -> Result<(), Failure> {
        Err(no_longer_read(version))
    }

    /// Takes a key group over as it was saved under any version.
    ///
    /// # Errors
    ///
    /// A version that is not known (any more), and bytes that cannot be read.
    fn restore_from(&mut self, version: u32, group: KeyGroup, bytes: &[u8]) -> Result<(), Failure> {
        let own = self.state_version();
        match version.cmp(&own) {
            cmp::Ordering::Less => self.restore_former(version, group, bytes),
            cmp::Ordering::Equal => self.restore(group, bytes),
            cmp::Ordering::Greater => Err(Failure::new(format!(
                "its format has version {version}, and this program knows {own}: a later Eagre wrote it"
            ))),
        }
    }

    /// What the form of what it saves hangs on beside the settings of the step: the kinds of the fields that it reads,
    /// what of its output is wanted. What was saved is taken over by an instance with the same only.
    fn form(&self) -> String {
        String::new()
    }

    /// How many keys it has state for.
    fn keys(&self) -> usize {
        0
    }

    /// Shows what it remembers to people who look into a checkpoint: a row for every key, or for every open window of
    /// one, in no order that means anything. What it gives out afterwards is what it would have given anyway.
    fn inspect(&mut self, _see: &mut dyn FnMut(StateRow<'_>)) {}

    /// The columns that [`Instance::inspect`] shows, as far as they are known while nothing is remembered.
    fn remembers(&self) -> Vec<Field> {
        Vec::new()
    }
}

fn no_longer_read(version: u32) -> Failure {
    Failure::new(format!("its format has version {version}, which is not read any more"))
        .help("--reset STEP lets the step begin with nothing")
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(pub String);

impl From<String> for Reject {
    fn from(reason: String) -> Reject {
        Reject(reason)
    }
}

impl From<&str> for Reject {
    fn from(reason: &str) -> Reject {
        Reject(reason.into())
    }
}
