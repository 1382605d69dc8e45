//! The checked plan.

use crate::expression::Expression;
use crate::operator::Planned;
use crate::registry::{AnySink, AnySource};
use crate::schema::{Field, Schema};
use crate::time::Interval;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// A job with nothing left to doubt.
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Workers, when the job says.
    pub workers: Option<usize>,
    /// Where it keeps its things.
    pub data_dir: PathBuf,
    /// Settings of the engine.
    pub engine: EngineSettings,
    /// Sources.
    pub sources: Vec<SourcePlan>,
    /// Steps in topological order.
    pub steps: Vec<StepPlan>,
    /// Sinks.
    pub sinks: Vec<SinkPlan>,
}
/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Shortest time between epochs.
    pub epoch: Interval,
    /// Records of one worker in one epoch.
    pub epoch_records_max: usize,
    /// Epochs a source may be ahead of the sinks.
    pub epochs_ahead_max: u64,
}
/// How a source's time passes.
#[derive(Clone, Debug)]
pub struct TimePolicy {
    /// How late.
    pub max_delay: Interval,
    /// Idle.
    pub idle_after: Option<Interval>,
    /// Drift.
    pub max_drift: Option<Interval>,
    /// Ahead.
    pub max_ahead: Option<Interval>,
}
/// A source.
pub struct SourcePlan {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// Source.
    pub source: Arc<dyn AnySource>,
    /// Time.
    pub time: TimePolicy,
    /// Fields used.
    pub output: Schema,
}
/// A step.
pub struct StepPlan {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Their fields.
    pub input_schemas: Vec<Schema>,
    /// Key expressions per input.
    pub key: Vec<Vec<Expression>>,
    /// Key fields.
    pub key_fields: Vec<Field>,
    /// The planned operator.
    pub planned: Planned,
    /// Sources upstream.
    pub sources: BTreeSet<usize>,
}
/// A sink.
pub struct SinkPlan {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// Sink.
    pub sink: Arc<dyn AnySink>,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Fields.
    pub input: Schema,
    /// Whether nobody wrote it.
    pub implicit: bool,
}
/// An output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Node.
    pub node: Node,
    /// Output.
    pub output: Output,
}
/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Source.
    Source(usize),
    /// Step.
    Step(usize),
}
/// An output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// Results.
    Out,
    /// Rejected.
    Rejected,
    /// Late.
    Late,
}
