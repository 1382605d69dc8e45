//! Decides when an interval ends, and makes the checkpoint when everybody has spoken.
//!
//! ```text
//! sources, steps, sinks ==acks==> coordinator, on the first worker ==decrees==> every worker
//!                                  manifest, when the acks of an interval are all there
//! ```

use super::driver::Epoch;
use super::keeper::{Keeper, Letterbox};
use super::ledger::{Ack, Interval, Ledger, interval_of};
use super::metrics::Made;
use super::mount::{Acks, Mounting};
use super::save::AcksOut;
use super::shared::Shared;
use super::wall;
use crate::checkpoint::{FileRef, Store, part};
use crate::fault::Failure;
use crate::job::plan::{CheckpointSettings, Plan};
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

/// What the coordinator tells everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Decree {
    /// The interval ends.
    End(Interval),
    /// Its checkpoint is there for good.
    Committed(Interval),
}

/// Mounts the coordinator, and on every worker what hears it.
pub fn coordinate<'s>(
    mounting: &Mounting<'s>,
    acks: Acks<'s>,
    ledger: Ledger,
    settings: &CheckpointSettings,
    plan: &Plan,
) {
    let Some(keeper) = mounting.keeper.clone() else { return };
    let scope = mounting.scope;
    let mut builder = OperatorBuilder::new("coordinator".to_owned(), scope);
    let address = builder.operator_info().address;
    let wake = scope.worker().sync_activator_for(address.to_vec());
    let again = scope.activator_for(address);
    let mut acks = builder.new_input(acks, Exchange::new(|_: &Ack| 0));
    let (decrees, stream) = builder.new_output();
    let mut decrees = OutputBuilder::<Epoch, CapacityContainerBuilder<Vec<Decree>>>::from(decrees);
    let shared = mounting.shared.clone();
    let sources = plan.sources.iter().map(|source| source.name.clone()).collect();
    let mut coordinator = Coordinator::new(ledger, keeper, Letterbox::new(wake), shared.clone(), settings, sources);
    let leads = scope.index() == 0;
    if leads {
        shared.add_coordinator(scope.worker().sync_activator_for(builder.operator_info().address.to_vec()));
    }
    builder.build(move |caps| {
        let mut standing: Option<Capability<Epoch>> = caps.into_iter().next().filter(|_| leads);
        move |frontiers| {
            acks.for_each(|cap, said| {
                said.drain(..).for_each(|ack| coordinator.ledger.note(interval_of(*cap.time()), ack));
            });
            let Some(cap) = &standing else { return };
            if shared.failed() {
                standing = None;
                return;
            }
            let frontier = frontiers[0].frontier().first().copied();
            let (said, look_again) = coordinator.go_on(frontier);
            decrees.activate().session(cap).give_iterator(said.into_iter());
            match look_again {
                _ if coordinator.is_over(frontier) => standing = None,
                Some(wait) => again.activate_after(wait),
                None => {}
            }
        }
    });
    hear(mounting, stream.broadcast(), plan.name.clone());
}

/// Passes on what the parts of a worker say. Of a process that has failed nothing more is said, and the right to speak
/// is kept: that its parts have let go of theirs must not be taken by the leader, who may not have heard of the failure
/// yet, for all having been said.
pub fn vouch<'s>(mounting: &Mounting<'s>, acks: Acks<'s>) -> Acks<'s> {
    let mut builder = OperatorBuilder::new("vouch".to_owned(), mounting.scope);
    let mut input = builder.new_input(acks, Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = AcksOut::from(output);
    let shared = mounting.shared.clone();
    builder.build(move |caps| {
        let mut standing = caps.into_iter().next();
        move |frontiers| {
            input.for_each(|cap, said| output.activate().session(&cap.retain(0)).give_iterator(said.drain(..)));
            if shared.fallen() {
                return;
            }
            match frontiers[0].frontier().first() {
                Some(epoch) => standing.iter_mut().for_each(|cap| cap.downgrade(epoch)),
                None => standing = None,
            }
        }
    });
    stream
}

fn hear<'s>(mounting: &Mounting<'s>, decrees: timely::dataflow::StreamVec<'s, Epoch, Decree>, job: String) {
    let mut builder = OperatorBuilder::new("decrees".to_owned(), mounting.scope);
    let mut input = builder.new_input(decrees, Pipeline);
    let shared = mounting.shared.clone();
    builder.build(move |_| {
        move |_| {
            input.for_each(|_, decrees| {
                decrees.drain(..).for_each(|decree| match decree {
                    Decree::End(interval) => shared.end_interval(interval),
                    Decree::Committed(interval) => {
                        shared.commit(interval);
                        shared.shown.tell(&job, interval);
                    }
                });
            });
        }
    });
}

/// What was done on the threads that keep.
enum Kept {
    Committed(Made),
    Tidied(Vec<Gathered>),
}

/// Files of a step that were made one.
struct Gathered {
    step: usize,
    /// How many, from the first.
    files: usize,
    whole: FileRef,
}

/// How far the clearing away of old files and the gathering of scattered ones has come. Only one is under way at a
/// time: what was gathered is named by no manifest at first, and would be cleared away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tidying {
    /// It can begin.
    Idle,
    /// Threads are at it.
    Busy,
    /// Files were made one, and the next manifest is to name them.
    Unnamed,
    /// This one names them, and is not there yet.
    Named(Interval),
}

struct Coordinator {
    ledger: Ledger,
    keeper: Keeper,
    letterbox: Letterbox<Kept>,
    shared: Arc<Shared>,
    every: Duration,
    /// How long the interval at hand is to be. The first ends at once, so that a sink that writes on behind what is
    /// there already is told soon where it began.
    wait: Duration,
    keep: usize,
    /// The names of the sources.
    sources: Vec<String>,
    /// When the interval at hand began.
    since: Instant,
    /// The interval that was ended and has no checkpoint yet, and when it was ended.
    ended: Option<(Interval, EventTime)>,
    /// The checkpoint that is being written.
    committing: Option<Interval>,
    tidying: Tidying,
}

impl Coordinator {
    fn new(
        ledger: Ledger,
        keeper: Keeper,
        letterbox: Letterbox<Kept>,
        shared: Arc<Shared>,
        settings: &CheckpointSettings,
        sources: Vec<String>,
    ) -> Coordinator {
        Coordinator {
            ledger,
            keeper,
            letterbox,
            shared,
            every: settings.every.to_std(),
            wait: Duration::ZERO,
            keep: settings.keep,
            sources,
            since: wall::now(),
            ended: None,
            committing: None,
            tidying: Tidying::Idle,
        }
    }

    /// Does what can be done; gives what is to be told, and when to look again.
    fn go_on(&mut self, frontier: Option<Epoch>) -> (Vec<Decree>, Option<Duration>) {
        let kept: Vec<Kept> = self.letterbox.take().collect();
        let mut decrees = Vec::new();
        for kept in kept {
            match kept {
                Kept::Committed(made) => {
                    let interval = made.id;
                    self.shared.metrics.checkpoints.note(made);
                    (self.committing, self.ended) = (None, self.ended.filter(|(ended, _)| *ended > interval));
                    decrees.push(Decree::Committed(interval));
                    self.tidy(interval, frontier.is_none());
                }
                Kept::Tidied(gathered) => {
                    self.tidying = if gathered.is_empty() { Tidying::Idle } else { Tidying::Unnamed };
                    for Gathered { step, files, whole } in gathered {
                        self.ledger.gathered(step, files, whole);
                    }
                }
            }
        }
        if self.committing.is_none() {
            self.commit(frontier);
        }
        if frontier.is_none() || self.ended.is_some() {
            return (decrees, None);
        }
        let left = self.wait.saturating_sub(self.since.elapsed());
        if !left.is_zero() && !self.shared.was_full() {
            return (decrees, Some(left));
        }
        let interval = interval_of(self.shared.epoch());
        self.wait = self.every;
        (self.since, self.ended) = (wall::now(), Some((interval, wall::time_of_day())));
        decrees.push(Decree::End(interval));
        (decrees, None)
    }

    /// Writes the manifest of what is over, if everybody has spoken.
    fn commit(&mut self, frontier: Option<Epoch>) {
        let last = frontier.map(|epoch| interval_of(epoch).saturating_sub(1));
        for (origin, standing) in self.shared.partitions.all() {
            self.ledger.know(origin, &self.sources[standing.source], (&standing.name, &standing.log));
        }
        let Some(mut manifest) = self.ledger.close(last) else { return };
        let now = wall::time_of_day();
        manifest.begun_at = self.ended.map_or(now, |(_, at)| at);
        manifest.took = now - manifest.begun_at;
        self.committing = Some(manifest.id);
        if self.tidying == Tidying::Unnamed {
            self.tidying = Tidying::Named(manifest.id);
        }
        self.keeper.keep(&self.letterbox, move |store| {
            store.commit(&manifest)?;
            Ok(Kept::Committed(Made::of(&manifest)))
        });
    }

    /// Has old checkpoints cleared away, and scattered files made one, once `interval` has its checkpoint. After the
    /// last one there is none that would name what was gathered.
    fn tidy(&mut self, interval: Interval, is_last: bool) {
        let keep = self.keep;
        if is_last {
            return self.keeper.clear_up(move |store| store.collect(keep).map(drop));
        }
        match self.tidying {
            Tidying::Idle => {}
            Tidying::Named(by) if by <= interval => {}
            _ => return,
        }
        self.tidying = Tidying::Busy;
        let (scattered, shared) = (self.ledger.scattered(), self.shared.clone());
        self.keeper.keep(&self.letterbox, move |store| {
            shared.metrics.checkpoints.trouble(store.collect(keep).err());
            let gather = |(step, files): (usize, Vec<FileRef>)| gather(store, interval, step, &files);
            Ok(Kept::Tidied(scattered.into_iter().map(gather).collect::<Result<_, Failure>>()?))
        });
    }

    /// Whether the job has come to its end and the last checkpoint is there.
    fn is_over(&self, frontier: Option<Epoch>) -> bool {
        frontier.is_none() && self.committing.is_none()
    }
}

fn gather(store: &Store, id: Interval, step: usize, files: &[FileRef]) -> Result<Gathered, Failure> {
    let mut groups = BTreeMap::new();
    for file in files {
        part::decode(&store.read(file)?, &mut groups)?;
    }
    let groups: Vec<part::Group> = groups.into_values().collect();
    let bytes = part::encode("", &groups);
    let whole = store.put(id, &format!("step-{step}.whole"), 0, &bytes)?;
    Ok(Gathered { step, files: files.len(), whole })
}
