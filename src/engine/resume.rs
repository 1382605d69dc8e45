//! What a job goes on with: finds a checkpoint, sees whether it fits the job, and reads it.
//!
//! A step keeps its state while its kind, its settings and its key stay what they were, whatever else of the job
//! changes. What does not fit is refused, all of it at once, each with the way out.

use super::ledger::{Interval, order_name};
use crate::batch::Batch;
use crate::checkpoint::manifest::{Manifest, Partition, Step};
use crate::checkpoint::part::{self, Group};
use crate::checkpoint::{Found, Store};
use crate::fault::{Failure, nearest};
use crate::job::plan::{Plan, StepPlan};
use crate::key::{KEY_GROUPS, KeyGroup};
use crate::origin::{derived, step_of};
use crate::sink::Delivery;
use crate::time::BEFORE_ALL;
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::UInt32Type;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

/// Which checkpoint a job goes on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// The newest; from the beginning where there is none.
    #[default]
    Latest,
    /// None: from the beginning.
    Nothing,
    /// A certain one.
    Id(Interval),
}

/// How a job goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumption {
    /// From which checkpoint.
    pub from: From,
    /// The steps that begin with nothing, whatever the checkpoint has of them.
    pub reset: Vec<String>,
    /// Whether what the checkpoint has of parts that are not in the job is left out.
    pub skip_missing: bool,
}

/// What a job goes on with.
pub struct Resumed {
    /// The checkpoint, with the steps and sinks of the plan, in its order.
    pub manifest: Manifest,
    /// What was remembered; let go of when all workers have taken theirs.
    pub state: RwLock<State>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// What the parts of a job remembered.
#[derive(Default)]
pub struct State {
    /// For each step, and behind them for what puts rows in order for each sink: its key groups.
    pub groups: Vec<BTreeMap<KeyGroup, Group>>,
    /// For each of these: the rows that waited, with the input that they came by.
    pub waiting: Vec<Vec<(usize, Batch)>>,
    /// For each sink and shard: under which number it was sealed, and what was kept back.
    pub outboxes: Vec<Vec<(Interval, Vec<u8>)>>,
}

/// Finds and reads what the job goes on with; nothing when it begins at the beginning.
pub fn resume(store: &Store, plan: &Plan, resumption: &Resumption) -> Result<Option<Resumed>, Failure> {
    let mut notices = Vec::new();
    let Some(manifest) = find(store, plan, resumption.from, &mut notices)? else { return Ok(None) };
    let fitted = fit(&manifest, plan, resumption)?;
    let numbers = numbers(&manifest, plan);
    let mut state = State::default();
    for (number, step) in fitted.steps.iter().enumerate() {
        let (groups, waiting) = read(store, step, &numbers)
            .map_err(|failure| failure.doing(format_args!("the state of `{}` cannot be read", step.name)))?;
        check_rows(plan, number, &step.name, &waiting)?;
        state.groups.push(groups);
        state.waiting.push(waiting);
    }
    for sink in &fitted.sinks {
        let shard = |(file, sealed): (&Option<_>, &Interval)| {
            let bytes = file.as_ref().map_or(Ok(Vec::new()), |file| store.read(file))?;
            Ok((*sealed, bytes))
        };
        let outboxes = sink.outbox.iter().zip(&sink.sealed).map(shard).collect::<Result<_, Failure>>()?;
        state.outboxes.push(outboxes);
    }
    Ok(Some(Resumed { manifest: fitted, state: RwLock::new(state), notices }))
}

fn find(store: &Store, plan: &Plan, from: From, notices: &mut Vec<String>) -> Result<Option<Manifest>, Failure> {
    let all = store.list()?;
    let found = match from {
        From::Nothing => return Ok(None),
        From::Latest => all,
        From::Id(id) => {
            let ids: Vec<String> = all.iter().map(|found| found.id.to_string()).collect();
            let one: Vec<Found> = all.into_iter().filter(|found| found.id == id).collect();
            if one.is_empty() {
                let there =
                    if ids.is_empty() { "there is none".into() } else { format!("there are {}", ids.join(", ")) };
                return Err(Failure::new(format!("there is no checkpoint {id}: {there}")));
            }
            one
        }
    };
    let twice = plan.sinks.iter().find(|sink| sink.delivery == Delivery::ExactlyOnce && !sink.implicit);
    for found in found {
        let manifest = found.manifest.and_then(|manifest| match store.verify(&manifest)?.as_slice() {
            [] => Ok(manifest),
            faults => Err(Failure::new(format!("checkpoint {} cannot be used: {}", found.id, faults.join("; ")))),
        });
        match (manifest, twice) {
            (Ok(manifest), _) => return Ok(Some(manifest)),
            (Err(failure), _) if from != From::Latest => return Err(failure),
            (Err(failure), Some(sink)) => {
                let help = format!(
                    "an earlier one (--from ID; `eagre checkpoint list` shows them) would deliver to `{}` again what was \
                     delivered since",
                    sink.name
                );
                return Err(failure.help(help));
            }
            (Err(failure), None) => notices.push(format!("{failure}; the one before is tried")),
        }
    }
    if notices.is_empty() {
        return Ok(None);
    }
    let message = format!("no checkpoint can be used: {}", notices.join("; "));
    Err(Failure::new(message).help("--from none begins at the beginning"))
}

/// The checkpoint with the steps and sinks of the plan; or everything that does not fit.
fn fit(manifest: &Manifest, plan: &Plan, resumption: &Resumption) -> Result<Manifest, Failure> {
    let mut faults = Vec::new();
    if manifest.job != plan.name {
        faults.push(format!("it is of job `{}`, and this is `{}`", manifest.job, plan.name));
    }
    for name in &resumption.reset {
        if plan.steps.iter().all(|step| step.name != *name) {
            let near = nearest(name, plan.steps.iter().map(|step| step.name.as_str()));
            let near = near.map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            faults.push(format!("no step is called `{name}`, which is to be reset{near}"));
        }
    }
    let mut fitted = Manifest { steps: Vec::new(), sinks: Vec::new(), ..manifest.clone() };
    let orders = plan.sinks.iter().map(|sink| (order_name(&sink.name), None));
    for (name, step) in plan.steps.iter().map(|step| (step.name.clone(), Some(step))).chain(orders) {
        let was = step.and_then(|step| step.was.as_ref());
        let before = manifest.steps.iter().find(|before| before.name == name);
        let before = before.or_else(|| manifest.steps.iter().find(|before| was == Some(&before.name)));
        let before = before.filter(|_| !resumption.reset.contains(&name));
        if let (Some(before), Some(step)) = (before, step)
            && holds(before)
            && before.fingerprint != format!("{:016x}", step.fingerprint)
        {
            faults.push(format!(
                "`{name}` is no longer what it was: its kind, its key or a setting has changed (--reset {name} lets it \
                 begin with nothing)"
            ));
        }
        fitted.steps.push(Step { name, ..before.cloned().unwrap_or_else(nothing) });
    }
    for sink in &plan.sinks {
        let before = manifest.sinks.iter().find(|before| before.name == sink.name);
        fitted.sinks.push(before.cloned().unwrap_or_else(|| crate::checkpoint::manifest::Sink {
            name: sink.name.clone(),
            delivery: sink.delivery.name().into(),
            shards: 0,
            outbox: Vec::new(),
            sealed: Vec::new(),
        }));
    }
    if !resumption.skip_missing {
        faults.extend(missing(manifest, plan));
    }
    if faults.is_empty() {
        return Ok(fitted);
    }
    Err(Failure::new(format!("checkpoint {} does not fit the job: {}", manifest.id, faults.join("; ")))
        .help("--from none begins at the beginning"))
}

/// What the checkpoint has of parts that are not in the job.
fn missing(manifest: &Manifest, plan: &Plan) -> Vec<String> {
    let is_there = |name: &String| {
        plan.steps.iter().any(|step| is_called(step, name))
            || plan.sinks.iter().any(|sink| order_name(&sink.name) == *name)
    };
    let steps = manifest.steps.iter().filter(|step| holds(step) && !is_there(&step.name));
    let steps = steps.map(|step| {
        let name = &step.name;
        format!(
            "it has state of `{name}`, which is not in the job (was = \"{name}\" in the step that is called otherwise \
             now; --skip-missing leaves it out)"
        )
    });
    let is_sink = |name: &String| plan.sinks.iter().any(|sink| sink.name == *name);
    let sinks = manifest.sinks.iter().filter(|sink| sink.outbox.iter().any(Option::is_some) && !is_sink(&sink.name));
    let sinks = sinks.map(|sink| {
        format!("it has rows for sink `{}`, which is not in the job (--skip-missing drops them)", sink.name)
    });
    let is_source = |name: &String| plan.sources.iter().any(|source| source.name == *name);
    let gone = manifest.partitions.iter().map(|partition| &partition.source);
    let gone: BTreeSet<&String> = gone.filter(|source| !source.is_empty() && !is_source(source)).collect();
    let sources = gone.into_iter().map(|source| {
        format!("it has been read from source `{source}`, which is not in the job (--skip-missing forgets it)")
    });
    steps.chain(sinks).chain(sources).collect()
}

/// Whether a step is or was called so.
fn is_called(step: &StepPlan, name: &String) -> bool {
    step.name == *name || step.was.as_ref() == Some(name)
}

fn holds(step: &Step) -> bool {
    !step.parts.is_empty() || !step.waiting.is_empty()
}

/// The state of a step that begins.
fn nothing() -> Step {
    Step {
        name: String::new(),
        kind: String::new(),
        fingerprint: String::new(),
        state_version: 1,
        watermark: BEFORE_ALL,
        partitions: Vec::new(),
        parts: Vec::new(),
        waiting: Vec::new(),
    }
}

/// The number in the plan of each step of the checkpoint, where it has another one now.
type Numbers = BTreeMap<u16, u16>;

fn numbers(manifest: &Manifest, plan: &Plan) -> Numbers {
    let now = |before: &Step| plan.steps.iter().position(|step| is_called(step, &before.name));
    let pairs = manifest.steps.iter().enumerate().filter_map(|(was, step)| Some((was as u16, now(step)? as u16)));
    pairs.filter(|(was, now)| was != now).collect()
}

/// What one step remembered.
type OfStep = (BTreeMap<KeyGroup, Group>, Vec<(usize, Batch)>);

fn read(store: &Store, step: &Step, numbers: &Numbers) -> Result<OfStep, Failure> {
    let mut groups = BTreeMap::new();
    for file in &step.parts {
        part::decode(&store.read(file)?, &mut groups)?;
    }
    let mut rows = Vec::new();
    for waiting in &step.waiting {
        for records in part::decode_rows(&store.read(&waiting.file)?)? {
            rows.push((waiting.input, Batch::from_records(renumbered(records, numbers)?)));
        }
    }
    Ok((groups, rows))
}

/// Rows whose origins name the steps by the numbers that they have now.
fn renumbered(records: RecordBatch, numbers: &Numbers) -> Result<RecordBatch, Failure> {
    if numbers.is_empty() {
        return Ok(records);
    }
    let place = records.schema().index_of("origin")?;
    let now = |origin: u32| match step_of(origin) {
        Some((step, group)) => derived(numbers.get(&step).copied().unwrap_or(step), group),
        None => origin,
    };
    let origins: UInt32Array = records.column(place).as_primitive::<UInt32Type>().unary(now);
    let mut columns: Vec<ArrayRef> = records.columns().to_vec();
    columns[place] = Arc::new(origins);
    Ok(RecordBatch::try_new(records.schema(), columns)?)
}

/// Rows that waited must have the fields that the step is given now.
fn check_rows(plan: &Plan, number: usize, name: &str, rows: &[(usize, Batch)]) -> Result<(), Failure> {
    for (input, batch) in rows {
        let now = match plan.steps.get(number) {
            Some(step) => step.input_schemas.get(*input),
            None => plan.sinks.get(number - plan.steps.len()).map(|sink| &sink.input),
        };
        if now.is_none_or(|now| now.arrow() != &batch.records().schema()) {
            return Err(Failure::new(format!(
                "`{name}` has rows that wait for their turn, with other fields than now"
            ))
            .help(format!(
                "go on with the job as it was until they are through, or let it begin with nothing: --reset {name}"
            )));
        }
    }
    Ok(())
}

impl Resumed {
    /// What is known of a partition.
    pub fn partition(&self, source: &str, name: &str) -> Option<&Partition> {
        self.manifest.partitions.iter().find(|partition| partition.source == source && partition.name == name)
    }
}

const _: () = assert!(KEY_GROUPS <= 1 << 16, "the number of a key group fits its column");

#[cfg(test)]
mod tests;
