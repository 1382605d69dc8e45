//! Mounts sources, splitters and drivers as timely operators. These closures only move data between handles and
//! structs; capabilities live here, in `save`, `drain` and `coordinate`, and nowhere else.

use super::driver::{Driver, Epoch, Mark};
use super::intake::{Place, Polled};
use super::keeper::Keeper;
use super::ledger::{Ack, first_epoch, interval_of};
use super::parcel::Parcel;
use super::save::{AcksOut, PutBy, Saving, Who};
use super::shared::Shared;
use super::split::Splitter;
use super::wall;
use crate::batch::Batch;
use crate::checkpoint::manifest::Partition;
use crate::fault::Failure;
use crate::job::plan::EngineSettings;
use crate::operator::{Outputs, Ports};
use crate::origin::Origin;
use crate::time::{BEFORE_ALL, EventTime};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, Concatenate};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;
use timely::scheduling::activate::SyncActivator;

/// Batches on their way.
pub type Stream<'s> = StreamVec<'s, Epoch, Parcel>;
/// What the sources say of their partitions, once per epoch.
pub type Marks<'s> = StreamVec<'s, Epoch, Mark>;

/// What is said for checkpoints.
pub type Acks<'s> = StreamVec<'s, Epoch, Ack>;

/// An output of parcels.
pub type Out = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Parcel>>>;
type MarksOut = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Mark>>>;

/// What all operators of a worker have at hand.
#[derive(Clone)]
pub struct Mounting<'s> {
    /// The scope that they are mounted in.
    pub scope: Scope<'s, Epoch>,
    /// The job's state.
    pub shared: Arc<Shared>,
    /// The probe behind all sinks.
    pub probe: ProbeHandle<Epoch>,
    /// Settings of the job.
    pub settings: EngineSettings,
    /// Who writes checkpoints, if there are any.
    pub keeper: Option<Keeper>,
}

impl Mounting<'_> {
    /// The number of this worker among those of its process.
    fn worker(&self) -> usize {
        self.shared.peers.place().local(self.scope.index()).expect("a worker of this process")
    }
}

/// The streams of a mounted source.
pub struct SourceStreams<'s> {
    /// Records.
    pub out: Stream<'s>,
    /// What could not be taken.
    pub rejected: Stream<'s>,
    /// Watermarks, on the worker that read them.
    pub marks: Marks<'s>,
    /// Where its partitions stood at the end of each interval.
    pub acks: Acks<'s>,
    /// Wakes the operator from another thread.
    pub wake: SyncActivator,
    /// Wakes the operator from this worker.
    pub activator: Activator,
}

/// Mounts the operator that takes what a reader thread has polled and gives it into epochs.
pub fn source<'s>(
    mounting: &Mounting<'s>,
    name: &str,
    number: usize,
    polled: Receiver<Polled>,
    reader: Arc<OnceLock<Thread>>,
) -> SourceStreams<'s> {
    let scope = mounting.scope;
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let address = builder.operator_info().address;
    let wake = scope.worker().sync_activator_for(address.to_vec());
    let activator = scope.activator_for(Rc::clone(&address));
    let again = scope.activator_for(address);
    let (out, out_stream) = builder.new_output();
    let (rejected, rejected_stream) = builder.new_output();
    let (marks, marks_stream) = builder.new_output();
    let (acks, acks_stream) = builder.new_output();
    let mut ports = [Out::from(out), Out::from(rejected)];
    let mut tells = Tells { source: name.to_owned(), marks: MarksOut::from(marks), acks: AcksOut::from(acks) };
    let (shared, probe, settings) = (mounting.shared.clone(), mounting.probe.clone(), mounting.settings.clone());
    builder.build(move |caps| {
        let mut epoch = OpenEpoch::new(caps, number, shared.first_epoch());
        move |_| {
            while epoch.is_open() {
                if shared.failed() {
                    return epoch.abandon();
                }
                if shared.epoch() > epoch.number() {
                    epoch.close(shared.epoch(), &mut tells, &shared);
                }
                if epoch.is_far_ahead(&probe, &settings) {
                    return; // The worker wakes the sources when the probe moves.
                }
                match polled.try_recv() {
                    Ok(polled) => {
                        shared.metrics.sources[number].queue.take();
                        if let Some(thread) = reader.get() {
                            thread.unpark();
                        }
                        epoch.give(polled, &mut ports);
                        if epoch.records >= settings.epoch_records_max || epoch.bytes >= EPOCH_BYTES_MAX {
                            epoch.close(shared.end_epoch(epoch.number()), &mut tells, &shared);
                        }
                    }
                    Err(TryRecvError::Empty) => {
                        if !epoch.has_begun {
                            return;
                        }
                        let left = settings.epoch.to_std().saturating_sub(epoch.since.elapsed());
                        if !left.is_zero() {
                            return again.activate_after(left);
                        }
                        epoch.close(shared.end_epoch(epoch.number()), &mut tells, &shared);
                    }
                    Err(TryRecvError::Disconnected) => return epoch.finish(&mut tells, &shared),
                }
            }
        }
    });
    SourceStreams {
        out: out_stream,
        rejected: rejected_stream,
        marks: marks_stream,
        wake,
        activator,
        acks: acks_stream,
    }
}

/// An epoch of one worker ends at so many bytes although it may have more records: what waits for a slow sink is a
/// number of epochs, and a record may be large.
const EPOCH_BYTES_MAX: usize = 64 << 20;

/// A source may be so many times as many epochs ahead while all of them together hold less than a full one: an answer
/// of a broker takes longer than a short epoch, and records that come meanwhile need not wait for it.
const SHORT_EPOCHS: u64 = 16;

/// What a source says beside its records.
struct Tells {
    source: String,
    marks: MarksOut,
    acks: AcksOut,
}

/// The epoch that a source operator is in.
struct OpenEpoch {
    source: u16,
    caps: Option<Vec<Capability<Epoch>>>,
    number: Epoch,
    records: usize,
    bytes: usize,
    /// Whether anything was given into it.
    has_begun: bool,
    /// When the one before it ended.
    since: Instant,
    watermarks: BTreeMap<Origin, EventTime>,
    /// Where every partition stands, as far as it was given.
    places: BTreeMap<Origin, (EventTime, Place)>,
    /// The epochs that are closed and not done, with their records and bytes.
    ahead: VecDeque<(Epoch, usize, usize)>,
}

impl OpenEpoch {
    fn new(mut caps: Vec<Capability<Epoch>>, source: usize, first: Epoch) -> OpenEpoch {
        caps.iter_mut().for_each(|cap| cap.downgrade(&first));
        OpenEpoch {
            source: source as u16,
            caps: Some(caps),
            number: first,
            records: 0,
            bytes: 0,
            has_begun: false,
            since: wall::now(),
            watermarks: BTreeMap::new(),
            places: BTreeMap::new(),
            ahead: VecDeque::new(),
        }
    }

    fn is_open(&self) -> bool {
        self.caps.is_some()
    }

    fn number(&self) -> Epoch {
        self.number
    }

    /// Whether the sinks are so far behind that nothing more is taken.
    fn is_far_ahead(&mut self, probe: &ProbeHandle<Epoch>, settings: &EngineSettings) -> bool {
        while self.ahead.pop_front_if(|(epoch, ..)| !probe.less_equal(epoch)).is_some() {}
        let epochs = self.ahead.len() as u64;
        if epochs < settings.epochs_ahead_max {
            return false;
        }
        let (records, bytes) = self.ahead.iter().fold((0, 0), |(r, b), (_, records, bytes)| (r + records, b + bytes));
        records >= settings.epoch_records_max
            || bytes >= EPOCH_BYTES_MAX
            || epochs >= settings.epochs_ahead_max.saturating_mul(SHORT_EPOCHS)
    }

    fn give(&mut self, polled: Polled, ports: &mut [Out; 2]) {
        let caps = self.caps.as_ref().expect("an open epoch has capabilities");
        self.has_begun = true;
        self.records += polled.batch.as_ref().map_or(0, Batch::len);
        self.bytes += [&polled.batch, &polled.rejected].into_iter().flatten().map(Batch::bytes).sum::<usize>();
        for (port, batch) in [polled.batch, polled.rejected].into_iter().enumerate() {
            if let Some(batch) = batch {
                ports[port].activate().session(&caps[port]).give(Parcel { to: 0, batch });
            }
        }
        self.watermarks.insert(polled.mark.origin, polled.mark.watermark);
        self.places.insert(polled.mark.origin, (polled.mark.watermark, polled.place));
    }

    /// Says for a checkpoint where the partitions stand.
    fn acknowledge(&mut self, tells: &mut Tells, shared: &Shared) {
        let Some(caps) = &self.caps else { return };
        let place = |(origin, (watermark, place)): (&Origin, &(EventTime, Place))| {
            let partition = Partition {
                source: tells.source.clone(),
                name: shared.origins.name(*origin),
                log: shared.partitions.log(*origin),
                position: place.position,
                sequence: place.sequence,
                watermark: *watermark,
                newest: place.newest,
                idle: place.idle,
                ended: place.ended,
            };
            (*origin, partition)
        };
        let positions = self.places.iter().filter_map(|(origin, (_, place))| Some((*origin, place.position?)));
        shared.shown.note(interval_of(self.number), positions);
        let places = self.places.iter().map(place).collect();
        tells.acks.activate().session(&caps[3]).give(Ack::Source(places));
    }

    /// Says where the partitions stand, and goes on to a later epoch.
    fn close(&mut self, next: Epoch, tells: &mut Tells, shared: &Shared) {
        if interval_of(next) > interval_of(self.number) {
            self.acknowledge(tells, shared);
        }
        let Some(caps) = &mut self.caps else { return };
        let source = self.source;
        for (origin, _) in self.watermarks.iter().filter(|(_, watermark)| **watermark == BEFORE_ALL) {
            shared.announced(*origin, self.number);
        }
        let said = std::mem::take(&mut self.watermarks).into_iter().map(|(origin, watermark)| Mark {
            source,
            origin,
            watermark,
        });
        tells.marks.activate().session(&caps[2]).give_iterator(said);
        caps.iter_mut().for_each(|cap| cap.downgrade(&next));
        self.ahead.push_back((self.number, self.records, self.bytes));
        (self.number, self.records, self.bytes, self.has_begun, self.since) = (next, 0, 0, false, wall::now());
    }

    fn finish(&mut self, tells: &mut Tells, shared: &Shared) {
        // The others go on too: what they hold back would wait until one of them has something to give.
        let ended = self.number;
        self.close(shared.end_epoch(ended), tells, shared);
        if interval_of(self.number) == interval_of(ended) {
            self.acknowledge(tells, shared);
        }
        self.caps = None;
    }

    fn abandon(&mut self) {
        self.caps = None;
    }
}

/// Mounts a splitter: every row goes to the worker that owns its key group. Gives the parcels and the rejected rows.
pub fn split<'s>(
    mounting: &Mounting<'s>,
    name: &str,
    number: usize,
    stream: Stream<'s>,
    mut splitter: Splitter,
    mut outputs: Outputs,
) -> (Stream<'s>, Stream<'s>) {
    let mut builder = OperatorBuilder::new(format!("{name} (split)"), mounting.scope);
    let mut input = builder.new_input(stream, Pipeline);
    let (parcels, parcels_stream) = builder.new_output();
    let (rejected, rejected_stream) = builder.new_output();
    let (mut parcels, mut rejected) = (Out::from(parcels), Out::from(rejected));
    let (shared, name, worker) = (mounting.shared.clone(), name.to_owned(), mounting.worker());
    builder.build(move |caps| {
        drop(caps);
        move |_| {
            input.for_each(|cap, batches| {
                if shared.failed() {
                    return batches.clear();
                }
                let begun = wall::now();
                let mut sending = parcels.activate();
                let held = cap.retain(0);
                let mut session = sending.session(&held);
                guard(&shared, &name, || {
                    for parcel in batches.drain(..) {
                        splitter.split(&parcel.batch, &mut outputs, |to, batch| {
                            session.give(Parcel { to: to as u64, batch })
                        });
                    }
                });
                if !outputs.is_empty() {
                    let refused = outputs.drain().rejected.into_iter().map(|batch| Parcel { to: 0, batch });
                    rejected.activate().session(&cap.retain(1)).give_iterator(refused);
                }
                shared.metrics.steps[number][worker].worked(begun);
            });
        }
    });
    (parcels_stream, rejected_stream)
}

/// The streams of a mounted step.
pub struct StepStreams<'s> {
    /// Out, rejected and late.
    pub ports: [Stream<'s>; 3],
    /// What it knew at the end of each interval.
    pub acks: Acks<'s>,
}

/// Mounts a driver. `addressed` says that the inputs are parcels for certain workers.
pub fn step<'s>(
    mounting: &Mounting<'s>,
    name: &str,
    number: usize,
    driver: Driver,
    inputs: Vec<Stream<'s>>,
    addressed: bool,
    marks: Marks<'s>,
) -> StepStreams<'s> {
    let mut builder = OperatorBuilder::new(name.to_owned(), mounting.scope);
    let mut exchanged: Vec<_> = Vec::new();
    let mut local: Vec<_> = Vec::new();
    for stream in inputs {
        if addressed {
            exchanged.push(builder.new_input(stream, Exchange::new(|parcel: &Parcel| parcel.to)));
        } else {
            local.push(builder.new_input(stream, Pipeline));
        }
    }
    let mut marks = builder.new_input(marks, Pipeline);
    let mut streams = Vec::new();
    let mut ports: Vec<Out> = Vec::new();
    for _ in 0..3 {
        let (port, stream) = builder.new_output();
        ports.push(Out::from(port));
        streams.push(stream);
    }
    let (acks, acks_stream) = builder.new_output();
    let (worker, shard) = (mounting.worker(), mounting.scope.index());
    let saved = mounting.shared.metrics.steps[number][worker].saved.clone();
    let who = Who { step: number, worker, shard, name: name.to_owned(), saved };
    let address = builder.operator_info().address;
    let wake = mounting.scope.worker().sync_activator_for(address.to_vec());
    let again = mounting.scope.activator_for(address);
    let mut running = RunningStep { driver, ports, shared: mounting.shared.clone(), who, saving: None };
    let keeper = mounting.keeper.clone();
    builder.build(move |mut caps| {
        let standing = caps.pop().expect("the last of four outputs");
        let first = running.shared.first_epoch();
        running.saving = keeper.map(|keeper| Saving::new(keeper, AcksOut::from(acks), wake, standing, first));
        let mut held = Some(caps);
        move |frontiers| {
            for (i, input) in exchanged.iter_mut().enumerate() {
                input.for_each(|cap, parcels| running.take(i, parcels, [0, 1, 2].map(|port| cap.retain(port))));
            }
            for (i, input) in local.iter_mut().enumerate() {
                input.for_each(|cap, parcels| running.take(i, parcels, [0, 1, 2].map(|port| cap.retain(port))));
            }
            marks.for_each(|cap, heard| running.driver.hear(*cap.time(), heard.drain(..)));
            running.saving.iter_mut().for_each(Saving::acknowledge);
            if running.shared.failed() {
                running.saving = None;
            }
            let Some(caps) = &mut held else { return };
            let frontier = least(frontiers);
            running.advance(frontier, caps);
            if running.copy_on() {
                again.activate();
            }
            match frontier {
                Some(epoch) => caps.iter_mut().for_each(|cap| cap.downgrade(&epoch)),
                None => held = None,
            }
        }
    });
    StepStreams {
        ports: streams.try_into().unwrap_or_else(|_| unreachable!("three outputs were made")),
        acks: acks_stream,
    }
}

/// A driver with its handles.
struct RunningStep {
    driver: Driver,
    ports: Vec<Out>,
    shared: Arc<Shared>,
    who: Who,
    saving: Option<Saving>,
}

impl RunningStep {
    /// Takes parcels in, or puts them by until the interval that they came in has begun for this step.
    fn take(&mut self, input: usize, parcels: &mut Vec<Parcel>, caps: [Capability<Epoch>; 3]) {
        match &mut self.saving {
            Some(saving) if saving.is_early(*caps[0].time()) => saving.put_by(input, std::mem::take(parcels), caps),
            _ => self.accept(input, parcels, &caps),
        }
    }

    /// Closes the epochs before `frontier`; at the end of an interval, saves what the driver knows then, which is what
    /// came in it and before.
    fn advance(&mut self, frontier: Option<Epoch>, caps: &mut [Capability<Epoch>]) {
        while let Some(over) = self.saving.as_ref().and_then(|saving| saving.over(frontier, &self.driver)) {
            let next = over.next.map(first_epoch);
            self.close(next.map(|_| first_epoch(over.interval + 1)), caps);
            let Some(saving) = &mut self.saving else { return };
            saving.save(&mut self.driver, &self.who, over);
            let Some(next) = next else { return };
            caps.iter_mut().for_each(|cap| cap.downgrade(&next));
            for PutBy { input, mut parcels, caps } in saving.due(over) {
                self.accept(input, &mut parcels, &caps);
            }
        }
        self.close(frontier, caps);
    }

    /// Goes on with a copy that was begun; says whether there is more to copy.
    fn copy_on(&mut self) -> bool {
        let Some(saving) = &mut self.saving else { return false };
        let begun = wall::now();
        let more = saving.copy_on(&mut self.driver, &self.who);
        self.shared.metrics.steps[self.who.step][self.who.worker].worked(begun);
        more
    }

    fn accept(&mut self, input: usize, parcels: &mut Vec<Parcel>, caps: &[Capability<Epoch>]) {
        let begun = wall::now();
        let metrics = &self.shared.metrics.steps[self.who.step][self.who.worker];
        if !self.shared.failed() {
            metrics.batches.fetch_add(parcels.len() as u64, Relaxed);
            metrics.records.fetch_add(parcels.iter().map(|p| p.batch.len() as u64).sum(), Relaxed);
            let driver = &mut self.driver;
            guard(&self.shared, &self.who.name, || {
                parcels.drain(..).for_each(|parcel| driver.accept(input, parcel.batch))
            });
        }
        parcels.clear();
        self.emit(caps);
        self.shared.metrics.steps[self.who.step][self.who.worker].worked(begun);
    }

    fn close(&mut self, frontier: Option<Epoch>, caps: &[Capability<Epoch>]) {
        if self.shared.failed() {
            return;
        }
        let begun = wall::now();
        let driver = &mut self.driver;
        guard(&self.shared, &self.who.name, || driver.close(frontier));
        self.emit(caps);
        let metrics = &self.shared.metrics.steps[self.who.step][self.who.worker];
        metrics.watermark.store(self.driver.watermark(), Relaxed);
        metrics.keys.store(self.driver.keys() as u64, Relaxed);
        metrics.waiting.store(self.driver.waiting() as u64, Relaxed);
        metrics.epoch.store(frontier.unwrap_or(Epoch::MAX), Relaxed);
        metrics.worked(begun);
    }

    fn emit(&mut self, caps: &[Capability<Epoch>]) {
        let Some(Ports { out, rejected, late }) = self.driver.drain() else { return };
        let metrics = &self.shared.metrics.steps[self.who.step][self.who.worker];
        let counts = [&metrics.out, &metrics.rejected, &metrics.late];
        for (port, batches) in [out, rejected, late].into_iter().enumerate().filter(|(_, batches)| !batches.is_empty())
        {
            counts[port].fetch_add(batches.iter().map(|b| b.len() as u64).sum(), Relaxed);
            if port == 1 {
                metrics.why.note(&batches[0]);
            }
            let parcels = batches.into_iter().map(|batch| Parcel { to: 0, batch });
            self.ports[port].activate().session(&caps[port]).give_iterator(parcels);
        }
    }
}

/// Joins streams of one kind.
pub fn concatenate<'s, T: Clone + 'static>(
    mounting: &Mounting<'s>,
    mut streams: Vec<StreamVec<'s, Epoch, T>>,
) -> StreamVec<'s, Epoch, T> {
    match streams.len() {
        1 => streams.remove(0),
        _ => mounting.scope.concatenate(streams),
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is caught and becomes the failure that ends the job.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Calls what may panic; a panic becomes the failure that ends the job, with the step's name.
fn guard(shared: &Shared, step: &str, call: impl FnOnce()) {
    GUARDED.set(true);
    let called = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(false);
    if let Err(panic) = called {
        let said =
            panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        let said = said.unwrap_or_else(|| "no message".into());
        shared.fail(
            Failure::new(format!("step `{step}` panicked: {said}"))
                .help("this is a mistake in the operator, not in the job"),
        );
    }
}

/// The earliest of several frontiers.
pub fn least(frontiers: &[MutableAntichain<Epoch>]) -> Option<Epoch> {
    frontiers.iter().filter_map(|f| f.frontier().first().copied()).min()
}
