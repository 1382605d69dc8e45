//! The checked plan of a job, and how it is made of what was written.
//!
//! Forward: every step is planned with all the fields that can come in. Backward: what somebody takes is asked of who
//! gives it, up to the sources. Forward again: sources give only what was asked for, and every step is planned anew
//! with that. The first round finds the faults; the second cannot have any.

use super::faulty::{Located, Place};
use super::shared::shared;
use super::spec::{Described, Spec};
use super::wiring::{Inputs, Wiring, wire};
use crate::expression::Expression;
use crate::fault::Fault;
use crate::operator::{Planned, Planning};
use crate::registry::{AnyOperator, AnySink, AnySource, Registry};
use crate::schema::{self, Field, Kind, SYSTEM_NAMES, Schema};
use crate::sink::Delivery;
use crate::time::Interval;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A job that can run.
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What its text and all overrides come to.
    pub fingerprint: u64,
    /// How many threads are to work; as many as there are cores where it does not say.
    pub workers: Option<usize>,
    /// Where the job keeps its own files, in a folder of its name.
    pub data_dir: PathBuf,
    /// How the engine is to work.
    pub engine: EngineSettings,
    /// How it is made to survive; `None` where it is not.
    pub checkpoint: Option<CheckpointSettings>,
    /// Its sources, in the order of the file.
    pub sources: Vec<SourcePlan>,
    /// Its steps, each behind those it reads; a step's number is its index.
    pub steps: Vec<StepPlan>,
    /// Its sinks: those of the file, then the implicit ones.
    pub sinks: Vec<SinkPlan>,
}

/// How the engine is to work. Nothing here changes a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// The shortest time between two epochs while records come in live.
    pub epoch: Interval,
    /// How many records of one worker go into one epoch.
    pub epoch_records_max: usize,
    /// How many epochs a source may be ahead of the sinks.
    pub epochs_ahead_max: u64,
}

/// How a job is made to survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// The time between two checkpoints.
    pub every: Interval,
    /// How many are kept.
    pub keep: usize,
    /// Where: a folder.
    pub dir: PathBuf,
}

/// A planned source.
pub struct SourcePlan {
    /// Its name in the job.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its configuration.
    pub source: Arc<dyn AnySource>,
    /// How its time is told.
    pub time: TimePolicy,
    /// Those of its fields that the job uses.
    pub output: Schema,
}

/// How the time of a source is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimePolicy {
    /// The watermark of a partition is its newest event time less this.
    pub max_delay: Interval,
    /// A partition that is silent for so long holds the others back no more.
    pub idle_after: Option<Interval>,
    /// A partition that is more than this ahead of the slowest waits.
    pub max_drift: Option<Interval>,
    /// A record that is more than this in the future is rejected.
    pub max_ahead: Option<Interval>,
}

impl Default for TimePolicy {
    fn default() -> TimePolicy {
        TimePolicy {
            max_delay: Interval::ZERO,
            idle_after: Some(Interval::from_secs(10)),
            max_drift: Some(Interval::from_secs(60)),
            max_ahead: Some(Interval::from_secs(86_400)),
        }
    }
}

/// A planned step.
pub struct StepPlan {
    /// Its name in the job.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// What it reads.
    pub inputs: Vec<Port>,
    /// The fields of each input.
    pub input_schemas: Vec<Schema>,
    /// What its records are kept apart by: for each input, an expression for every key field. Empty lists without a
    /// key.
    pub key: Vec<Vec<Expression>>,
    /// The fields that the key gives.
    pub key_fields: Vec<Field>,
    /// What the operator planned.
    pub planned: Planned,
    /// The sources whose records reach it.
    pub sources: BTreeSet<usize>,
    /// What its kind, its configuration and its key come to: its state fits a step with the same.
    pub fingerprint: u64,
    /// After how long a key that was not touched is forgotten.
    pub ttl: Option<Interval>,
    /// Whether its kind takes a `ttl`.
    pub forgets: bool,
    /// What it was called before: its state is found under that name.
    pub was: Option<String>,
}

/// A planned sink.
pub struct SinkPlan {
    /// Its name in the job; an implicit one is called after the port, `valid.rejected`.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its configuration.
    pub sink: Arc<dyn AnySink>,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// The fields of all its inputs.
    pub input: Schema,
    /// Whether nobody wrote it: it keeps what nobody takes.
    pub implicit: bool,
    /// What is promised of its rows.
    pub delivery: Delivery,
}

/// One of the streams that come out of a source or step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Who gives it.
    pub node: Node,
    /// Which of its streams it is.
    pub output: Output,
}

/// A source or a step, by its index in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A source.
    Source(usize),
    /// A step.
    Step(usize),
}

/// The streams that come out of a source (`out`, `rejected`) or a step (all three).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// Its results.
    Out,
    /// The records that it could not take; of [`schema::rejected`].
    Rejected,
    /// The records that came too late for it; of [`schema::late`].
    Late,
}

impl Output {
    /// The word behind the dot.
    pub fn name(self) -> &'static str {
        match self {
            Output::Out => "out",
            Output::Rejected => "rejected",
            Output::Late => "late",
        }
    }
}

impl Plan {
    /// The name of who gives a port.
    pub fn giver(&self, port: Port) -> &str {
        match port.node {
            Node::Source(index) => &self.sources[index].name,
            Node::Step(index) => &self.steps[index].name,
        }
    }

    /// The fields of a port.
    pub fn schema(&self, port: Port) -> Schema {
        match (port.output, port.node) {
            (Output::Rejected, _) => schema::rejected(),
            (_, Node::Source(index)) => self.sources[index].output.clone(),
            (Output::Out, Node::Step(index)) => self.steps[index].planned.output.clone(),
            (Output::Late, Node::Step(index)) => schema::late(&self.steps[index].input_schemas[0]),
        }
    }
}

/// Joins and checks the parts of a job. `None` only when there are faults.
pub(super) fn plan(spec: Spec, registry: &Registry, faults: &mut Vec<Located>) -> Option<Plan> {
    let wiring = wire(&spec, faults);
    if wiring.is_whole(&spec) {
        unread(&spec, faults);
    }
    let sources: Vec<Option<Schema>> = spec.sources.iter().map(|source| offered(source, faults)).collect();
    let full = forward(&spec, &wiring, &sources, None, faults);
    let sinks: Vec<Option<Schema>> =
        spec.sinks.iter().zip(&wiring.sinks).map(|(s, w)| taken(s, w, &full, faults)).collect();
    shared(&spec, faults);
    deliveries(&spec, faults);
    if !faults.is_empty() {
        return None;
    }
    let sinks: Vec<Schema> = sinks.into_iter().flatten().collect();
    let narrow = narrow(&spec, &wiring, &full, faults)?;
    for ((sink, inputs), planned) in spec.sinks.iter().zip(&wiring.sinks).zip(&sinks) {
        let now = narrow.schemas(inputs).unwrap_or_default();
        if now.iter().any(|schema| schema != planned) {
            faults.push(our_mistake(&sink.node.at, "a sink is given other fields than it was promised"));
        }
    }
    Some(assemble(spec, wiring, narrow, sinks, registry))
}

/// The fields that go from part to part in one round of planning; nothing where a fault is in the way.
struct Round {
    sources: Vec<Option<Schema>>,
    steps: Vec<Option<PlannedStep>>,
}

struct PlannedStep {
    inputs: Vec<Schema>,
    key: Vec<Vec<Expression>>,
    key_fields: Vec<Field>,
    planned: Planned,
}

impl Round {
    fn schema(&self, port: Port) -> Option<Schema> {
        let step = |index: usize| self.steps.get(index).and_then(Option::as_ref);
        match (port.output, port.node) {
            (Output::Rejected, _) => Some(schema::rejected()),
            (_, Node::Source(index)) => self.sources[index].clone(),
            (Output::Out, Node::Step(index)) => step(index).map(|s| s.planned.output.clone()),
            (Output::Late, Node::Step(index)) => step(index).map(|s| schema::late(&s.inputs[0])),
        }
    }

    fn schemas(&self, inputs: &Inputs) -> Option<Vec<Schema>> {
        inputs.as_ref()?.iter().map(|(port, _)| self.schema(*port)).collect()
    }
}

fn offered(source: &Described<dyn AnySource>, faults: &mut Vec<Located>) -> Option<Schema> {
    let mut found = Vec::new();
    let schema = source.part.as_ref()?.plan(&mut found);
    faults.extend(found.into_iter().map(|fault| source.node.locate(fault)));
    schema
}

/// A source that nobody reads has no use.
fn unread(spec: &Spec, faults: &mut Vec<Located>) {
    let inputs = || spec.steps.iter().flat_map(|s| &s.inputs).chain(spec.sinks.iter().flat_map(|s| &s.inputs));
    for source in &spec.sources {
        let read =
            |text: &str| text.strip_prefix(source.name.as_str()).is_some_and(|rest| rest.is_empty() || rest == ".out");
        if !inputs().any(|(text, _)| read(text)) {
            let fault = Located::at(&source.node.key, format!("nothing reads `{}`", source.name));
            faults.push(fault.help(format!("write input = \"{}\" in a step or sink", source.name)));
        }
    }
}

/// Plans every step whose inputs are known. `wants` are the output fields that somebody takes, step by step.
fn forward(
    spec: &Spec,
    wiring: &Wiring,
    sources: &[Option<Schema>],
    wants: Option<&Demand>,
    faults: &mut Vec<Located>,
) -> Round {
    let mut round = Round { sources: sources.to_vec(), steps: Vec::new() };
    for (index, file) in wiring.order.iter().enumerate() {
        let step = &spec.steps[*file];
        let inputs = round.schemas(&wiring.steps[index]).filter(|schemas| {
            let mixed = step.part.as_ref().is_none_or(|part| part.mixed_inputs());
            mixed || alike(&wiring.steps[index], schemas, faults)
        });
        let wanted = wants.map(|wants| &wants.steps[index]);
        let planned = inputs.and_then(|inputs| plan_step(step, inputs, wanted, faults));
        round.steps.push(planned);
    }
    round
}

fn plan_step(
    step: &Described<dyn AnyOperator>,
    inputs: Vec<Schema>,
    wanted: Option<&BTreeSet<String>>,
    faults: &mut Vec<Located>,
) -> Option<PlannedStep> {
    let before = faults.len();
    let (key, key_fields) = plan_key(step, &inputs, faults);
    let part = step.part.as_ref()?;
    let ttl = step.ttl.as_ref().map(|(ttl, _)| *ttl);
    let mut planning = Planning::new(&step.name, &inputs, &key_fields, wanted).forgetting_after(ttl);
    let planned = part.plan(&mut planning);
    faults.extend(planning.into_faults().into_iter().map(|fault| step.node.locate(fault)));
    if let (Some(planned), Some((_, place))) = (&planned, step.key.first())
        && !planned.keyed
    {
        let at = step.node.child("key").map_or(place, |key| &key.at);
        let fault = Located::at(at, format!("a step of kind `{}` takes no key", step.kind));
        faults.push(fault.help("it looks at every record alone: take `key` away"));
    }
    if let (Some(planned), Some((_, place))) = (&planned, &step.ttl)
        && !(planned.keyed && part.forgets())
    {
        let why = if planned.keyed { "keeps its own account of what it remembers" } else { "remembers nothing" };
        let fault = Located::at(place, format!("a step of kind `{}` takes no ttl", step.kind));
        faults.push(fault.help(format!("it {why}: take `ttl` away")));
    }
    let planned = planned.filter(|_| faults.len() == before)?;
    Some(PlannedStep { inputs, key, key_fields, planned })
}

/// The expressions of a key for every input, and its fields. An expression that cannot be planned counts as text, so
/// that the operator does not complain about it too.
fn plan_key(
    step: &Described<dyn AnyOperator>,
    inputs: &[Schema],
    faults: &mut Vec<Located>,
) -> (Vec<Vec<Expression>>, Vec<Field>) {
    let mut key: Vec<Vec<Expression>> = vec![Vec::new(); inputs.len()];
    let mut fields: Vec<Field> = Vec::new();
    for (text, place) in &step.key {
        let planned: Vec<Result<Expression, Fault>> =
            inputs.iter().map(|input| Expression::plan(text, input, "")).collect();
        if let Some(Err(fault)) = planned.iter().find(|p| p.is_err()) {
            faults.push(Located::new(place, fault.clone()));
            fields.push(Field::new(text, Kind::Text));
            continue;
        }
        let planned: Vec<Expression> = planned.into_iter().flatten().collect();
        let field = Field::new(planned[0].name(), planned[0].kind());
        faults.extend(key_fault(&field, &fields, &planned, place));
        fields.push(field);
        planned.into_iter().enumerate().for_each(|(input, expression)| key[input].push(expression));
    }
    (key, fields)
}

fn key_fault(field: &Field, before: &[Field], planned: &[Expression], place: &Place) -> Option<Located> {
    let name = &field.name;
    if before.iter().any(|f| f.name == *name) {
        return Some(
            Located::at(place, format!("two fields of the key are called `{name}`")).help("name one with `as`"),
        );
    }
    if SYSTEM_NAMES.contains(&name.as_str()) {
        let fault = Located::at(place, format!("`{name}` is a column of the engine's, a key cannot be called so"));
        return Some(fault.help(format!("name it: \"{name} as my_{name}\"")));
    }
    let other = planned.iter().find(|e| e.kind() != field.kind)?;
    Some(Located::at(place, format!("`{name}` is {} in one input and {} in another", field.kind, other.kind())))
}

/// Whether all inputs of a part have the same fields in the same order; a fault for every one that has not.
fn alike(inputs: &Inputs, schemas: &[Schema], faults: &mut Vec<Located>) -> bool {
    let before = faults.len();
    for ((_, place), schema) in inputs.iter().flatten().zip(schemas).skip(1) {
        if schema == &schemas[0] {
            continue;
        }
        let lacks = |a: &Schema, b: &Schema| a.fields().iter().find(|f| !b.fields().contains(f)).cloned();
        let fault = match (lacks(&schemas[0], schema), lacks(schema, &schemas[0])) {
            (Some(field), _) => format!("the first input has a field `{}` ({}), this has not", field.name, field.kind),
            (None, Some(field)) => {
                format!("this input has a field `{}` ({}), the first has not", field.name, field.kind)
            }
            (None, None) => "this input has the fields of the first in another order".to_owned(),
        };
        faults.push(
            Located::at(place, fault)
                .help("put a step of kind `select` before it, so that all inputs have the same fields"),
        );
    }
    faults.len() == before
}

/// The fields that a sink takes, checked by the sink.
fn taken(sink: &Described<dyn AnySink>, inputs: &Inputs, round: &Round, faults: &mut Vec<Located>) -> Option<Schema> {
    let schemas = round.schemas(inputs)?;
    if !alike(inputs, &schemas, faults) {
        return None;
    }
    let mut found = Vec::new();
    sink.part.as_ref()?.plan(&schemas[0], &mut found);
    faults.extend(found.into_iter().map(|fault| sink.node.locate(fault)));
    schemas.into_iter().next()
}

/// What a sink cannot promise.
fn deliveries(spec: &Spec, faults: &mut Vec<Located>) {
    for sink in &spec.sinks {
        let (Some((Delivery::ExactlyOnce, place)), Some(part)) = (&sink.delivery, &sink.part) else { continue };
        if !part.delivers_exactly_once() {
            let fault = Located::at(place, format!("a sink of kind `{}` cannot deliver exactly once", sink.kind));
            faults.push(fault.help("write delivery = \"at_least_once\""));
        } else if spec.checkpoint.is_none() {
            let fault = Located::at(place, "without checkpoints nothing is delivered exactly once");
            faults.push(fault.help("add [checkpoint] to the job, with every = \"10s\""));
        }
    }
}

/// The fields that somebody takes.
struct Demand {
    sources: Vec<BTreeSet<String>>,
    /// Of a step's `out`.
    steps: Vec<BTreeSet<String>>,
    /// Of a step's first input, by who reads its `late`.
    late: Vec<BTreeSet<String>>,
}

impl Demand {
    fn add(&mut self, port: Port, fields: impl IntoIterator<Item = String>) {
        match (port.output, port.node) {
            (Output::Rejected, _) => {}
            (_, Node::Source(index)) => self.sources[index].extend(fields),
            (Output::Out, Node::Step(index)) => self.steps[index].extend(fields),
            (Output::Late, Node::Step(index)) => self.late[index].extend(fields),
        }
    }
}

/// Plans again with only those fields that somebody takes. A step with several inputs binds to the fields of the first:
/// where narrowing would make its inputs differ, it is given all fields instead, and the round begins anew.
fn narrow(spec: &Spec, wiring: &Wiring, full: &Round, faults: &mut Vec<Located>) -> Option<Round> {
    let mut wide: BTreeSet<usize> = BTreeSet::new();
    loop {
        let demand = demand(wiring, full, &wide);
        let sources = full.sources.iter().zip(&demand.sources);
        let sources: Vec<_> = sources.map(|(s, wants)| s.as_ref().map(|s| s.filtered(|f| wants.contains(f)))).collect();
        let mut found = Vec::new();
        let round = forward(spec, wiring, &sources, Some(&demand), &mut found);
        // An operator that takes inputs which differ finds its fields in each by name.
        let bound = |step: &usize| spec.steps[wiring.order[*step]].part.as_ref().is_some_and(|p| !p.mixed_inputs());
        let mut steps = (0..wiring.order.len()).filter(|step| bound(step) && !wide.contains(step));
        let split = steps.find(|step| is_split(&full.steps[*step], round.schemas(&wiring.steps[*step])));
        if let Some(step) = split {
            wide.insert(step);
            continue;
        }
        for fault in &found {
            faults.push(our_mistake(&fault.place, &format!("planned again with fewer fields, {}", fault.message)));
        }
        return found.is_empty().then_some(round);
    }
}

fn our_mistake(place: &Place, said: &str) -> Located {
    Located::at(place, format!("a mistake of Eagre's own: {said}")).help("please report it with this job file")
}

/// Whether inputs that were alike with all fields no longer are.
fn is_split(full: &Option<PlannedStep>, now: Option<Vec<Schema>>) -> bool {
    let alike = |schemas: &[Schema]| schemas.iter().all(|s| s == &schemas[0]);
    full.as_ref().is_some_and(|step| alike(&step.inputs)) && now.is_some_and(|schemas| !alike(&schemas))
}

/// What is taken of every source and step, from the sinks up.
fn demand(wiring: &Wiring, full: &Round, wide: &BTreeSet<usize>) -> Demand {
    let none = |n: usize| vec![BTreeSet::new(); n];
    let steps = full.steps.len();
    let mut demand = Demand { sources: none(full.sources.len()), steps: none(steps), late: none(steps) };
    let all =
        |port: Port| full.schema(port).map(|s| s.names().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default();
    let inputs = || wiring.steps.iter().chain(&wiring.sinks).flatten().flatten().map(|(port, _)| *port);
    for (port, _) in wiring.sinks.iter().flatten().flatten() {
        demand.add(*port, all(*port));
    }
    for index in (0..steps).rev() {
        let out = Port { node: Node::Step(index), output: Output::Out };
        // What nobody takes is kept as dead letters, whole.
        if !inputs().any(|port| port == out) {
            demand.add(out, all(out));
        }
        let Some(step) = &full.steps[index] else { continue };
        for (input, (port, _)) in wiring.steps[index].iter().flatten().enumerate() {
            let mut need: BTreeSet<String> = step.planned.uses.clone();
            need.extend(step.key[input].iter().flat_map(|e| e.fields().iter().cloned()));
            if step.planned.passes {
                need.extend(demand.steps[index].iter().cloned());
            }
            if input == 0 {
                need.extend(demand.late[index].iter().cloned());
            }
            let everything = wide.contains(&index);
            let offered = all(*port).into_iter().filter(|name| everything || need.contains(name));
            demand.add(*port, offered);
        }
    }
    demand
}

fn assemble(spec: Spec, wiring: Wiring, round: Round, taken: Vec<Schema>, registry: &Registry) -> Plan {
    let Spec { name, fingerprint, workers, data_dir, engine, checkpoint, sources, steps, sinks } = spec;
    let can = |sink: &dyn AnySink| checkpoint.is_some() && sink.delivers_exactly_once();
    let usual = |sink: &dyn AnySink| if can(sink) { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce };
    let sources = sources.into_iter().zip(round.sources).filter_map(|(source, output)| {
        Some(SourcePlan {
            name: source.name,
            kind: source.kind,
            source: source.part?,
            time: source.time,
            output: output?,
        })
    });
    let mut steps: BTreeMap<usize, Described<dyn AnyOperator>> = steps.into_iter().enumerate().collect();
    let ports = |inputs: Inputs| inputs.into_iter().flatten().map(|(port, _)| port).collect::<Vec<_>>();
    let mut planned: Vec<StepPlan> = Vec::new();
    for ((file, inputs), step) in wiring.order.iter().zip(wiring.steps).zip(round.steps) {
        let (Some(described), Some(step)) = (steps.remove(file), step) else { continue };
        let inputs = ports(inputs);
        let upstream = inputs.iter().flat_map(|port| match port.node {
            Node::Source(index) => BTreeSet::from([index]),
            Node::Step(index) => planned[index].sources.clone(),
        });
        let sources = upstream.collect();
        let PlannedStep { inputs: input_schemas, key, key_fields, planned: made } = step;
        let key_kinds: Vec<Kind> = key_fields.iter().map(|field| field.kind).collect();
        let form = format!("{key_kinds:?} {}", (made.make)().form());
        planned.push(StepPlan {
            fingerprint: described.fingerprint(&form),
            ttl: described.ttl.map(|(ttl, _)| ttl),
            forgets: described.part.is_some_and(|part| part.forgets()),
            was: described.was,
            name: described.name,
            kind: described.kind,
            inputs,
            input_schemas,
            key,
            key_fields,
            planned: made,
            sources,
        });
    }
    let sinks = sinks.into_iter().zip(wiring.sinks).zip(taken).filter_map(|((sink, inputs), input)| {
        let part = sink.part?;
        Some(SinkPlan {
            name: sink.name,
            kind: sink.kind,
            delivery: sink.delivery.map_or_else(|| usual(&*part), |(delivery, _)| delivery),
            sink: part,
            inputs: ports(inputs),
            input,
            implicit: false,
        })
    });
    let (sources, sinks) = (sources.collect(), sinks.collect());
    let mut plan = Plan {
        name,
        fingerprint,
        workers,
        data_dir,
        engine,
        checkpoint: checkpoint.clone(),
        sources,
        steps: planned,
        sinks,
    };
    let dead = dead_letters(&plan, registry).into_iter();
    plan.sinks.extend(dead.map(|sink| SinkPlan { delivery: usual(&*sink.sink), ..sink }));
    plan
}

/// A file for every port that nobody takes. A registry without a sink of kind `file` has none.
fn dead_letters(plan: &Plan, registry: &Registry) -> Vec<SinkPlan> {
    let steps = plan.steps.iter().map(|s| &s.inputs);
    let taken: BTreeSet<Port> = steps.chain(plan.sinks.iter().map(|s| &s.inputs)).flatten().copied().collect();
    let sources = (0..plan.sources.len())
        .flat_map(|i| [Output::Out, Output::Rejected].map(|output| Port { node: Node::Source(i), output }));
    let outputs = [Output::Out, Output::Rejected, Output::Late];
    let steps = (0..plan.steps.len()).flat_map(|i| outputs.map(|output| Port { node: Node::Step(i), output }));
    let folder = plan.data_dir.join(&plan.name).join("dead-letters");
    let left = sources.chain(steps).filter(|port| !taken.contains(port));
    left.filter_map(|port| dead_letter(plan, port, &folder, registry)).collect()
}

fn dead_letter(plan: &Plan, port: Port, folder: &Path, registry: &Registry) -> Option<SinkPlan> {
    let part = registry.sinks().iter().find(|part| part.name == "file")?;
    let name = format!("{}.{}", plan.giver(port), port.output.name());
    let mut settings = toml::Table::new();
    settings.insert("path".into(), folder.join(format!("{name}.jsonl")).to_string_lossy().into_owned().into());
    settings.insert("format".into(), "json".into());
    settings.insert("append".into(), true.into());
    let sink =
        (part.parse)(toml::Value::Table(settings)).expect("the sink of kind `file` takes path, format and append");
    Some(SinkPlan {
        name,
        kind: part.name,
        sink: Arc::from(sink),
        inputs: vec![port],
        input: plan.schema(port),
        implicit: true,
        delivery: Delivery::AtLeastOnce,
    })
}
