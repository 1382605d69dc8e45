//! Builds the graph of a plan on one worker. Every worker builds the same graph, in the order of the plan.

use super::coordinate::{coordinate, vouch};
use super::drain::{self, Drain, DrainStreams, Route};
use super::driver::{Driver, Epoch, Ordering};
use super::intake::{Lane, Polled};
use super::ledger::order_name;
use super::mount::{self, Acks, Marks, Mounting, StepStreams, Stream};
use super::split::Splitter;
use super::start::{OpenSource, Start, Writers};
use crate::batch::Batch;
use crate::job::plan::{Node, Output, Plan, Port, SinkPlan, StepPlan};
use crate::operator::{Instance, Outputs, StepNames};
use crate::schema;
use crate::sink::Shards;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::scheduling::Activator;

/// Batches that may wait between a reader and its worker, for each source.
const CHANNEL_BATCHES: usize = 4;

/// What a rendered worker needs to run.
pub struct Rendered {
    /// What its reader thread is to read.
    pub lanes: Vec<Lane>,
    /// Tells the source operators which thread that is.
    pub reader: Arc<OnceLock<Thread>>,
    /// Wake the sources when the probe moves.
    pub sources: Vec<Activator>,
    /// Behind all sinks.
    pub probe: ProbeHandle<Epoch>,
}

/// Builds the graph on this worker.
pub fn render(start: &Start, mounting: Mounting<'_>, writers: Writers) -> Rendered {
    let mut rendering = Rendering { start, mounting, streams: BTreeMap::new(), marks: Vec::new(), acks: Vec::new() };
    let reader = Arc::new(OnceLock::new());
    let mut sources = Vec::new();
    let lanes =
        start.sources.iter().enumerate().map(|(i, open)| rendering.source(i, open, &reader, &mut sources)).collect();
    let plan = &start.plan;
    for (i, step) in plan.steps.iter().enumerate() {
        rendering.step(i, step);
    }
    let mut ends = Vec::new();
    for (number, (sink, writers)) in plan.sinks.iter().zip(writers).enumerate() {
        let stream = rendering.input_of_sink(number, sink);
        let drain = Drain { name: &sink.name, number, route: start.route(number), writers };
        let DrainStreams { done, acks } = drain::drain(&rendering.mounting, stream, drain);
        ends.push(done);
        rendering.acks.push(acks);
    }
    let probe = rendering.mounting.probe.clone();
    mount::concatenate(&rendering.mounting, ends).probe_with(&probe);
    if let (Some(settings), Some(keeping)) = (&plan.checkpoint, &start.keeping) {
        let acks = mount::concatenate(&rendering.mounting, rendering.acks);
        let acks = match rendering.mounting.shared.peers.exist() {
            true => vouch(&rendering.mounting, acks),
            false => acks,
        };
        coordinate(&rendering.mounting, acks, keeping.ledger(plan), settings, plan);
    }
    Rendered { lanes, reader, sources, probe }
}

struct Rendering<'a, 's> {
    start: &'a Start,
    mounting: Mounting<'s>,
    streams: BTreeMap<Port, Stream<'s>>,
    /// The marks of each source, on every worker.
    marks: Vec<Marks<'s>>,
    /// What is said for checkpoints.
    acks: Vec<Acks<'s>>,
}

impl<'s> Rendering<'_, 's> {
    fn source(
        &mut self,
        i: usize,
        open: &OpenSource,
        reader: &Arc<OnceLock<Thread>>,
        activators: &mut Vec<Activator>,
    ) -> Lane {
        let plan = &self.start.plan.sources[i];
        let (sender, polled) = sync_channel::<Polled>(CHANNEL_BATCHES);
        let mounted = mount::source(&self.mounting, &plan.name, i, polled, reader.clone());
        self.streams.insert(Port { node: Node::Source(i), output: Output::Out }, mounted.out);
        self.streams.insert(Port { node: Node::Source(i), output: Output::Rejected }, mounted.rejected);
        self.marks.push(mounted.marks.broadcast());
        self.acks.push(mounted.acks);
        self.mounting.shared.add_source(mounted.wake.clone());
        activators.push(mounted.activator);
        Lane {
            source: i,
            feed: open.feed.clone(),
            decoders: open.decoders.clone(),
            sender: Some(sender),
            activator: mounted.wake,
            found: open.found[self.mounting.scope.index()].clone(),
            grows: open.feed.discovers().is_some(),
            policy: plan.time.clone(),
            partitions: Vec::new(),
        }
    }

    fn step(&mut self, i: usize, step: &StepPlan) {
        let names = self.names(i, step);
        let inputs: Vec<Stream<'s>> = step.inputs.iter().map(|port| self.streams[port].clone()).collect();
        let mut refused = Vec::new();
        let inputs = if step.planned.keyed {
            inputs
                .into_iter()
                .zip(&step.key)
                .map(|(stream, key)| self.split(i, &names, stream, key.clone(), &mut refused))
                .collect()
        } else {
            inputs
        };
        let mut driver = Driver::new(
            names,
            (step.planned.make)(),
            ordering(&self.start.plan, step),
            self.start.origins_of(&step.sources),
        );
        let keys = step.planned.keyed.then_some(step.key.as_slice());
        self.start.resume(i, &step.sources, &mut driver, keys, self.worker());
        let marks = self.marks_of(&step.sources);
        let StepStreams { ports: [out, rejected, late], acks } =
            mount::step(&self.mounting, &step.name, i, driver, inputs, step.planned.keyed, marks);
        self.acks.push(acks);
        refused.push(rejected);
        let rejected = mount::concatenate(&self.mounting, refused);
        for (output, stream) in [(Output::Out, out), (Output::Rejected, rejected), (Output::Late, late)] {
            self.streams.insert(Port { node: Node::Step(i), output }, stream);
        }
    }

    fn worker(&self) -> (usize, usize) {
        (self.mounting.scope.index(), self.mounting.scope.peers())
    }

    fn input_of_sink(&mut self, i: usize, sink: &SinkPlan) -> Stream<'s> {
        let inputs = sink.inputs.iter().map(|port| self.streams[port].clone()).collect();
        let Some(sources) = sources_in_order(&self.start.plan, sink) else {
            let stream = mount::concatenate(&self.mounting, inputs);
            return match self.start.route(i) {
                Route::Shards(shards) if shards > 1 => drain::scatter(&self.mounting, &sink.name, stream, shards),
                _ => stream,
            };
        };
        let names = StepNames {
            name: sink.name.as_str().into(),
            number: 0,
            output: sink.input.clone(),
            late: Vec::new(),
            origins: self.start.shared.origins.clone(),
        };
        let driver = Driver::new(names, Box::new(Pass), Ordering::Merge, self.start.origins_of(&sources));
        // With checkpoints what waits when the job is stopped is in the last one.
        let mut driver = if self.start.keeping.is_some() { driver } else { driver.keeping_nothing() };
        let (name, number) = (order_name(&sink.name), self.start.plan.steps.len() + i);
        // All rows come to the first worker.
        self.start.resume(number, &sources, &mut driver, Some(&[]), self.worker());
        let marks = self.marks_of(&sources);
        let StepStreams { ports: [out, ..], acks } =
            mount::step(&self.mounting, &name, number, driver, inputs, true, marks);
        self.acks.push(acks);
        out
    }

    fn marks_of(&self, sources: &BTreeSet<usize>) -> Marks<'s> {
        let marks = sources.iter().map(|source| self.marks[*source].clone()).collect::<Vec<_>>();
        self.mounting.scope.concatenate(marks)
    }

    fn split(
        &self,
        number: usize,
        names: &StepNames,
        stream: Stream<'s>,
        key: Vec<crate::expression::Expression>,
        refused: &mut Vec<Stream<'s>>,
    ) -> Stream<'s> {
        let splitter = Splitter::new(key, self.mounting.scope.peers());
        let (parcels, rejected) =
            mount::split(&self.mounting, &names.name, number, stream, splitter, Outputs::new(names.clone()));
        refused.push(rejected);
        parcels
    }

    fn names(&self, i: usize, step: &StepPlan) -> StepNames {
        StepNames {
            name: step.name.as_str().into(),
            number: self.start.numbers[i],
            output: step.planned.output.clone(),
            late: step.input_schemas.iter().map(schema::late).collect(),
            origins: self.start.shared.origins.clone(),
        }
    }
}

/// How a step's records must be ordered: as its operator asks, and in canonical order where records of one origin may
/// reach it by several ways.
fn ordering(plan: &Plan, step: &StepPlan) -> Ordering {
    let asked = Ordering::from(step.planned.arrival);
    let scattered = step.inputs.iter().any(|port| scattered(plan, *port));
    if asked == Ordering::None && (scattered || shares_a_source(plan, step)) { Ordering::Merge } else { asked }
}

/// Whether records of one origin may be on several workers at this port.
fn scattered(plan: &Plan, port: Port) -> bool {
    let Node::Step(i) = port.node else { return false };
    let step = &plan.steps[i];
    if step.planned.keyed {
        // What a keyed step derives has the step and key group as its origin; what it lets through, rejects or finds
        // late does not.
        return port.output != Output::Out || step.planned.keeps_origin;
    }
    step.inputs.iter().any(|port| scattered(plan, *port))
}

/// The sources of a sink whose rows have to be put in order. What a source rejects has no time of its own.
pub fn sources_in_order(plan: &Plan, sink: &SinkPlan) -> Option<BTreeSet<usize>> {
    let is_timed = |port: &Port| !matches!(port, Port { node: Node::Source(_), output: Output::Rejected });
    let in_order = sink.sink.shards() == Shards::InOrder && sink.inputs.iter().all(is_timed);
    in_order.then(|| sink.inputs.iter().flat_map(|port| sources_of(plan, *port)).collect())
}

/// Gives on what comes.
struct Pass;

impl Instance for Pass {
    fn on_batch(&mut self, _: usize, batch: &Batch, out: &mut Outputs) {
        out.push(batch.clone());
    }
}

fn shares_a_source(plan: &Plan, step: &StepPlan) -> bool {
    let mut seen = BTreeSet::new();
    step.inputs.iter().any(|port| sources_of(plan, *port).into_iter().any(|source| !seen.insert(source)))
}

fn sources_of(plan: &Plan, port: Port) -> Vec<usize> {
    match port.node {
        Node::Source(i) => vec![i],
        Node::Step(i) => plan.steps[i].sources.iter().copied().collect(),
    }
}
