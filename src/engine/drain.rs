//! Mounts sinks: batches go to writer threads, and an epoch counts as done when they are written.
//!
//! At the end of an interval every writer seals what it keeps back; when the checkpoint is there, it publishes that.
//! The next interval is sealed only after that, so that at most one is under way.

use super::driver::Epoch;
use super::keeper::{Keeper, Letterbox};
use super::ledger::{Ack, Interval, first_epoch, interval_of};
use super::mount::{Acks, Mounting, Out, Stream, least};
use super::outlet::{Outlet, Post};
use super::parcel::Parcel;
use super::save::AcksOut;
use super::shared::Shared;
use super::wall;
use crate::batch::Batch;
use crate::origin::Origin;
use crate::sink::Writer;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::activate::SyncActivator;

/// A sink on one worker.
pub struct Drain<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub number: usize,
    /// How batches find their shard.
    pub route: Route,
    /// The writers of the shards that are on this worker.
    pub writers: Vec<(usize, Box<dyn Writer>)>,
}

/// How batches find their shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The one shard of the worker that they are on.
    Here,
    /// One of so many shards, by the origin of their rows; shard `s` is on worker `s % workers`.
    Shards(usize),
}

/// The streams of a mounted sink.
pub struct DrainStreams<'s> {
    /// Its frontier is that of what is done.
    pub done: Stream<'s>,
    /// What its shards keep back at the end of each interval.
    pub acks: Acks<'s>,
}

/// Mounts a sink. A worker without a writer only passes the frontier on.
pub fn drain<'s>(mounting: &Mounting<'s>, stream: Stream<'s>, drain: Drain<'_>) -> DrainStreams<'s> {
    let scope = mounting.scope;
    let Drain { name, number, route, writers } = drain;
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let address = builder.operator_info().address;
    let activator = scope.worker().sync_activator_for(address.to_vec());
    let again = scope.activator_for(address);
    let (mut by_worker, mut local) = (None, None);
    match route {
        Route::Here => local = Some(builder.new_input(stream, Pipeline)),
        Route::Shards(_) => by_worker = Some(builder.new_input(stream, Exchange::new(|parcel: &Parcel| parcel.to))),
    }
    let (done, done_stream) = builder.new_output::<Vec<Parcel>>();
    let (acks, acks_stream) = builder.new_output();
    let shared = mounting.shared.clone();
    let post = || Post { name: name.to_owned(), sink: number, shared: shared.clone(), activator: activator.clone() };
    let shards = writers.into_iter().map(|(shard, writer)| Shard::new(shard, Outlet::start(writer, post()))).collect();
    let mut draining = Draining { number, shards, shared: shared.clone(), sealing: None, failed: None };
    let keeper = mounting.keeper.clone().filter(|_| !draining.shards.is_empty());
    builder.build_reschedule(move |mut caps| {
        let _done = done;
        let standing = caps.pop().expect("the last of two outputs");
        shared.add_sink(activator.clone());
        if let Some(keeper) = keeper {
            let sealing = Sealing::new(keeper, AcksOut::from(acks), activator, standing, shared.first_epoch());
            draining.sealing = Some(sealing);
        }
        drop(caps);
        move |frontiers| {
            if let Some(input) = &mut by_worker {
                input.for_each(|cap, parcels| draining.take(cap.retain(0), parcels));
            }
            if let Some(input) = &mut local {
                input.for_each(|cap, parcels| draining.take(cap.retain(0), parcels));
            }
            if draining.shared.failed()
                && let Some(left) = draining.give_up()
            {
                again.activate_after(left);
            }
            draining.settle(least(frontiers))
        }
    });
    DrainStreams { done: done_stream, acks: acks_stream }
}

/// How long a writer has to come to an end after a failure.
const FAILED_WAIT: Duration = Duration::from_secs(2);

/// A sink operator at work.
struct Draining {
    number: usize,
    shards: Vec<Shard>,
    shared: Arc<Shared>,
    sealing: Option<Sealing>,
    /// Since when the job has failed.
    failed: Option<Instant>,
}

impl Draining {
    fn take(&mut self, cap: Capability<Epoch>, parcels: &mut Vec<Parcel>) {
        if self.shared.failed() {
            return parcels.clear();
        }
        self.shared.metrics.sinks[self.number].queue.add(parcels.len());
        match &mut self.sealing {
            Some(sealing) if sealing.is_early(*cap.time()) => {
                sealing.put_by.push((cap, std::mem::take(parcels)));
            }
            _ => give(&mut self.shards, &cap, parcels),
        }
    }

    /// When the job has failed: leaves the writers a while for what they are at, then waits for them no more, because
    /// they may wait for a broker for ever. Gives how long that is, the first time.
    fn give_up(&mut self) -> Option<Duration> {
        self.sealing = None;
        let is_first = self.failed.is_none();
        if self.failed.get_or_insert_with(wall::now).elapsed() >= FAILED_WAIT {
            self.shards.clear();
        }
        is_first.then_some(FAILED_WAIT)
    }

    /// Lets go of what is done; asks for a flush when an epoch is over, and for more when an interval is. Says whether
    /// the operator has more to wait for.
    fn settle(&mut self, frontier: Option<Epoch>) -> bool {
        if let Some(sealing) = &mut self.sealing {
            sealing.go_on(frontier, self.number, &mut self.shards, &self.shared);
        }
        let is_published = self.sealing.as_ref().is_none_or(Sealing::is_over);
        let mut waits = !is_published;
        for shard in &mut self.shards {
            waits |= shard.settle(frontier, is_published);
        }
        waits
    }
}

fn give(shards: &mut [Shard], cap: &Capability<Epoch>, parcels: &mut Vec<Parcel>) {
    for parcel in parcels.drain(..) {
        let shard = match shards {
            [only] => only,
            _ => shards.iter_mut().find(|s| s.number == parcel.shard()).expect("batches come where their writer is"),
        };
        shard.take(cap.clone(), parcel.batch);
    }
}

/// A shard and what it waits for.
struct Shard {
    number: usize,
    outlet: Outlet,
    held: VecDeque<(u64, Capability<Epoch>)>,
    /// The newest capability under which something was written that is not flushed.
    dirty: Option<Capability<Epoch>>,
    finishing: Option<u64>,
}

impl Shard {
    fn new(number: usize, outlet: Outlet) -> Shard {
        Shard { number, outlet, held: VecDeque::new(), dirty: None, finishing: None }
    }

    fn take(&mut self, cap: Capability<Epoch>, batch: Batch) {
        let order = self.outlet.write(batch);
        self.held.push_back((order, cap.clone()));
        self.dirty = Some(cap);
    }

    fn settle(&mut self, frontier: Option<Epoch>, may_finish: bool) -> bool {
        if let Some(cap) = self.dirty.take_if(|cap| frontier.is_none_or(|f| *cap.time() < f)) {
            self.held.push_back((self.outlet.flush(), cap));
        }
        if frontier.is_none() && may_finish && self.finishing.is_none() {
            self.finishing = Some(self.outlet.finish());
        }
        let done = self.outlet.done();
        while self.held.front().is_some_and(|(order, _)| *order <= done) {
            self.held.pop_front();
        }
        self.finishing.is_some_and(|order| order > done)
    }
}

/// The sealing of a sink's shards on one worker.
struct Sealing {
    keeper: Keeper,
    acks: AcksOut,
    letterbox: Letterbox<(Interval, Ack)>,
    /// The interval that the sink is in, and the right to speak of it; none when everything is over.
    standing: Option<(Interval, Capability<Epoch>)>,
    /// What came before its interval had begun.
    put_by: Vec<(Capability<Epoch>, Vec<Parcel>)>,
    /// A right for each shard that has not spoken of an interval yet.
    owed: Vec<(Interval, Capability<Epoch>)>,
    /// The interval that is sealed and not published.
    sealed: Option<Interval>,
}

impl Sealing {
    fn new(
        keeper: Keeper,
        acks: AcksOut,
        wake: SyncActivator,
        mut standing: Capability<Epoch>,
        epoch: Epoch,
    ) -> Sealing {
        standing.downgrade(&epoch);
        Sealing {
            keeper,
            acks,
            letterbox: Letterbox::new(wake),
            standing: Some((interval_of(epoch), standing)),
            put_by: Vec::new(),
            owed: Vec::new(),
            sealed: None,
        }
    }

    fn is_early(&self, epoch: Epoch) -> bool {
        self.standing.as_ref().is_some_and(|(interval, _)| interval_of(epoch) > *interval)
    }

    /// Whether the last interval has been published.
    fn is_over(&self) -> bool {
        self.standing.is_none() && self.sealed.is_none()
    }

    fn go_on(&mut self, frontier: Option<Epoch>, sink: usize, shards: &mut [Shard], shared: &Shared) {
        self.acknowledge(sink, shards);
        loop {
            if let Some(sealed) = self.sealed.take_if(|sealed| shared.committed() >= *sealed) {
                shards.iter_mut().for_each(|shard| shard.outlet.publish(sealed));
            }
            let is_over = |(interval, _): &(Interval, _)| frontier.is_none_or(|f| interval_of(f) > *interval);
            if self.sealed.is_some() || !self.standing.as_ref().is_some_and(is_over) {
                return;
            }
            self.seal(frontier, shards);
        }
    }

    /// Ends the interval at hand and goes on to the next.
    fn seal(&mut self, frontier: Option<Epoch>, shards: &mut [Shard]) {
        let Some((interval, mut standing)) = self.standing.take() else { return };
        for shard in shards.iter_mut() {
            shard.outlet.seal(interval);
            self.owed.push((interval, standing.clone()));
        }
        self.sealed = Some(interval);
        let put_by = self.put_by.iter().map(|(cap, _)| interval_of(*cap.time()));
        let Some(next) = put_by.chain(frontier.map(interval_of)).min() else { return };
        standing.downgrade(&first_epoch(next));
        self.standing = Some((next, standing));
        for (cap, mut parcels) in self.put_by.extract_if(.., |(cap, _)| interval_of(*cap.time()) == next) {
            give(shards, &cap, &mut parcels);
        }
    }

    /// Has written what was sealed, and says what is durable.
    fn acknowledge(&mut self, sink: usize, shards: &[Shard]) {
        for shard in shards {
            for (interval, outbox) in shard.outlet.sealed() {
                let shard = shard.number;
                self.keeper.keep(&self.letterbox, move |store| {
                    let write = || store.put(interval, &format!("{OUTBOX}{sink}"), shard, &outbox);
                    let outbox = if outbox.is_empty() { None } else { Some(write()?) };
                    Ok((interval, Ack::Sink { sink, shard, sealed: interval, outbox }))
                });
            }
        }
        for (interval, ack) in self.letterbox.take() {
            if let Some(owed) = self.owed.iter().position(|(owed, _)| *owed == interval) {
                let (_, cap) = self.owed.swap_remove(owed);
                self.acks.activate().session(&cap).give(ack);
            }
        }
    }
}

/// What the file of an outbox is called, before the number of the sink; no step has a name with a dot.
const OUTBOX: &str = "outbox.";

/// Gives every row on to the shard that its origin belongs to.
pub fn scatter<'s>(mounting: &Mounting<'s>, name: &str, stream: Stream<'s>, shards: usize) -> Stream<'s> {
    let mut builder = OperatorBuilder::new(format!("{name} (scatter)"), mounting.scope);
    let mut input = builder.new_input(stream, Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = Out::from(output);
    builder.build(move |_| {
        move |_| {
            input.for_each(|cap, parcels| {
                let mut sending = output.activate();
                let cap = cap.retain(0);
                let mut session = sending.session(&cap);
                parcels.drain(..).for_each(|parcel| scattered(parcel.batch, shards, |parcel| session.give(parcel)));
            });
        }
    });
    stream
}

fn scattered(batch: Batch, shards: usize, mut give: impl FnMut(Parcel)) {
    let shard = |origin: &Origin| *origin as usize % shards;
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); shards];
    (0..).zip(batch.origins()).for_each(|(row, origin)| rows[shard(origin)].push(row));
    for (to, rows) in rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        let all = rows.len() == batch.len();
        give(Parcel { to: to as u64, batch: if all { batch.clone() } else { batch.take(rows) } });
    }
}
