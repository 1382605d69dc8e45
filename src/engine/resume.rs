//! What a job goes on with: finds a checkpoint, sees whether it fits the job, and reads it.
//!
//! A step keeps its state while its kind, its settings and its key stay what they were, whatever else of the job
//! changes. What does not fit is refused, all of it at once, each with the way out.

use super::ledger::{Interval, numbered, order_name};
use crate::batch::Batch;
use crate::checkpoint::manifest::{Manifest, Partition, Step};
use crate::checkpoint::part::{self, Group};
use crate::checkpoint::{Found, Store};
use crate::fault::{Failure, nearest};
use crate::job::plan::Plan;
use crate::key::{KEY_GROUPS, KeyGroup};
use crate::origin::Origin;
use crate::sink::Delivery;
use crate::time::BEFORE_ALL;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;

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
    /// Whether what the checkpoint has of parts that are not in the job, or of sources that read something else now, is
    /// left out.
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

/// Why a checkpoint is not gone on with.
enum Unfit {
    /// Its files are not what they were.
    Damaged(Failure),
    /// It is not of this job as it is now.
    Refused(Failure),
}

impl std::convert::From<Failure> for Unfit {
    fn from(failure: Failure) -> Unfit {
        Unfit::Refused(failure)
    }
}

/// Finds and reads what the job goes on with; nothing when it begins at the beginning. Each file is read once.
pub fn resume(store: &Store, plan: &Plan, resumption: &Resumption) -> Result<Option<Resumed>, Failure> {
    let mut notices = Vec::new();
    let twice = plan.sinks.iter().find(|sink| sink.delivery == Delivery::ExactlyOnce && !sink.implicit);
    for Found { manifest, .. } in candidates(store, resumption.from)? {
        let loaded = manifest.map_err(Unfit::Damaged).and_then(|manifest| {
            let fitted = fit(&manifest, plan, resumption)?;
            match load(store, plan, &fitted) {
                Ok(state) => Ok((fitted, state)),
                Err(Unfit::Damaged(first)) => Err(Unfit::Damaged(all_faults(store, &manifest, first))),
                Err(refused) => Err(refused),
            }
        });
        let failure = match loaded {
            Ok((manifest, state)) => return Ok(Some(Resumed { manifest, state: RwLock::new(state), notices })),
            Err(Unfit::Refused(failure)) => return Err(failure),
            Err(Unfit::Damaged(failure)) => failure,
        };
        match twice {
            _ if resumption.from != From::Latest => return Err(failure),
            Some(sink) => {
                let help = format!(
                    "an earlier one (--from ID; `eagre checkpoint list` shows them) would deliver to `{}` again what was \
                     delivered since",
                    sink.name
                );
                return Err(failure.help(help));
            }
            None => notices.push(format!("{failure}; the one before is tried")),
        }
    }
    if notices.is_empty() {
        return Ok(None);
    }
    let message = format!("no checkpoint can be used: {}", notices.join("; "));
    Err(Failure::new(message).help("--from none begins at the beginning"))
}

/// The checkpoints that may be gone on with, the first choice first.
fn candidates(store: &Store, from: From) -> Result<Vec<Found>, Failure> {
    let all = store.list()?;
    let From::Id(id) = from else { return Ok(if from == From::Latest { all } else { Vec::new() }) };
    let ids: Vec<String> = all.iter().map(|found| found.id.to_string()).collect();
    let one: Vec<Found> = all.into_iter().filter(|found| found.id == id).collect();
    if one.is_empty() {
        let there = if ids.is_empty() { "there is none".into() } else { format!("there are {}", ids.join(", ")) };
        return Err(Failure::new(format!("there is no checkpoint {id}: {there}")));
    }
    Ok(one)
}

/// Everything that is wrong with the files of a checkpoint, of which this was found first.
fn all_faults(store: &Store, manifest: &Manifest, first: Failure) -> Failure {
    let faults = store.verify(manifest).unwrap_or_default();
    let said = if faults.is_empty() { first.message } else { faults.join("; ") };
    Failure::new(format!("checkpoint {} cannot be used: {said}", manifest.id))
}

/// Reads what the parts of a job remembered.
fn load(store: &Store, plan: &Plan, fitted: &Manifest) -> Result<State, Unfit> {
    let mut state = State::default();
    for (number, step) in fitted.steps.iter().enumerate() {
        let (groups, waiting) = read(store, step)?;
        check_rows(plan, number, &step.name, &waiting)?;
        state.groups.push(groups);
        state.waiting.push(waiting);
    }
    for sink in &fitted.sinks {
        let shard = |(file, sealed): (&Option<_>, &Interval)| {
            let bytes = file.as_ref().map_or(Ok(Vec::new()), |file| store.read(file));
            Ok((*sealed, bytes.map_err(Unfit::Damaged)?))
        };
        let outboxes = sink.outbox.iter().zip(&sink.sealed).map(shard).collect::<Result<_, Unfit>>()?;
        state.outboxes.push(outboxes);
    }
    Ok(state)
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
    let manifest = &renamed(manifest, plan);
    let numbered = numbered(plan, Some(manifest));
    let mut fitted = Manifest { steps: Vec::new(), sinks: Vec::new(), numbered, ..manifest.clone() };
    let orders = plan.sinks.iter().map(|sink| (order_name(&sink.name), None));
    for (name, step) in plan.steps.iter().map(|step| (step.name.clone(), Some(step))).chain(orders) {
        let before = manifest.steps.iter().find(|before| before.name == name);
        let before = before.filter(|_| !resumption.reset.contains(&name));
        if let (Some(before), Some(step)) = (before, step)
            && holds(before)
            && before.fingerprint != format!("{:016x}", step.fingerprint)
        {
            faults.push(format!(
                "`{name}` is no longer what it was: its kind, its key, a setting, a field that it reads or what is taken \
                 of it (`made_from`) has changed (--reset {name} lets it begin with nothing)"
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
        // Of a source that is left out only the numbers of its partitions are remembered.
        let gone = |partition: &&mut Partition| plan.sources.iter().all(|source| source.name != partition.source);
        fitted.partitions.iter_mut().filter(gone).for_each(|partition| partition.source.clear());
        return Ok(fitted);
    }
    Err(Failure::new(format!("checkpoint {} does not fit the job: {}", manifest.id, faults.join("; ")))
        .help("--from none begins at the beginning"))
}

/// The checkpoint with the steps called as they are called now.
fn renamed(manifest: &Manifest, plan: &Plan) -> Manifest {
    let mut renamed = manifest.clone();
    for step in &plan.steps {
        let is_new = manifest.steps.iter().all(|before| before.name != step.name);
        let Some(was) = step.was.as_ref().filter(|_| is_new) else { continue };
        // A step that is long gone may have been called so, too.
        renamed.numbered.iter_mut().filter(|name| **name == step.name).for_each(String::clear);
        let names = renamed.numbered.iter_mut().chain(renamed.steps.iter_mut().map(|step| &mut step.name));
        names.filter(|name| *name == was).for_each(|name| name.clone_from(&step.name));
    }
    renamed
}

/// What the checkpoint has of parts that are not in the job.
fn missing(manifest: &Manifest, plan: &Plan) -> Vec<String> {
    let is_there = |name: &String| {
        plan.steps.iter().any(|step| step.name == *name)
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
        format!(
            "it keeps rows of sink `{}`, which is not in the job (--skip-missing leaves them out: those that were not \
             published yet are never seen)",
            sink.name
        )
    });
    let is_source = |name: &String| plan.sources.iter().any(|source| source.name == *name);
    let gone = manifest.partitions.iter().map(|partition| &partition.source);
    let gone: BTreeSet<&String> = gone.filter(|source| !source.is_empty() && !is_source(source)).collect();
    let sources = gone.into_iter().map(|source| {
        format!("it has been read from source `{source}`, which is not in the job (--skip-missing forgets it)")
    });
    steps.chain(sinks).chain(sources).collect()
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

/// What one step remembered.
type OfStep = (BTreeMap<KeyGroup, Group>, Vec<(usize, Batch)>);

fn read(store: &Store, step: &Step) -> Result<OfStep, Unfit> {
    let unreadable = |failure: Failure| failure.doing(format_args!("the state of `{}` cannot be read", step.name));
    let mut groups = BTreeMap::new();
    for file in &step.parts {
        let bytes = store.read(file).map_err(Unfit::Damaged)?;
        part::decode(&bytes, &mut groups).map_err(unreadable)?;
    }
    let mut rows = Vec::new();
    for waiting in &step.waiting {
        let bytes = store.read(&waiting.file).map_err(Unfit::Damaged)?;
        let records = part::decode_rows(&bytes).map_err(unreadable)?;
        rows.extend(records.into_iter().map(|records| (waiting.input, Batch::from_records(records))));
    }
    Ok((groups, rows))
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
    /// The number of a partition that is known.
    pub fn origin(&self, source: &str, log: &str) -> Option<Origin> {
        let is = |partition: &Partition| partition.source == source && partition.log == log;
        self.manifest.partitions.iter().position(is).map(|number| number as Origin)
    }

    /// The partitions that a source has been read from, by their names within it.
    pub fn logs(&self, source: &str) -> Vec<String> {
        let read = self.manifest.partitions.iter().filter(|p| p.source == source && p.position.is_some());
        read.map(|partition| partition.log.clone()).collect()
    }
}

const _: () = assert!(KEY_GROUPS <= 1 << 16, "the number of a key group fits its column");

#[cfg(test)]
mod tests;
