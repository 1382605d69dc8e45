//! Saves what a step knows at the end of every interval, while the step goes on.
//!
//! Records of an interval are taken in only when the one before is over and what was known then has been copied. The
//! capability to say so is held from the beginning of an interval until everything that it brought is durable: so the
//! frontier of what is said proves, where all of it comes together, that a checkpoint is whole.

use super::driver::{Driver, Epoch, Snapshot};
use super::keeper::{Keeper, Letterbox};
use super::ledger::{Ack, Interval, StepAck, first_epoch, interval_of};
use super::metrics::Saved;
use super::parcel::Parcel;
use super::wall;
use crate::checkpoint::manifest::Waiting;
use crate::checkpoint::{Store, part};
use crate::fault::Failure;
use std::sync::Arc;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::scheduling::activate::SyncActivator;

/// The output that acknowledgements go to.
pub type AcksOut = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Ack>>>;

/// Who a step is on a worker.
pub struct Who {
    /// Its number.
    pub step: usize,
    /// The worker, among those of its process.
    pub worker: usize,
    /// The worker, among all.
    pub shard: usize,
    /// Its name.
    pub name: String,
    /// What its checkpoints take and write.
    pub saved: Arc<Saved>,
}

/// An interval that is over, and the one that a step goes on with; none at the end of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// It is over.
    pub interval: Interval,
    /// What comes next.
    pub next: Option<Interval>,
}

/// Parcels that came before their interval had begun.
pub struct PutBy {
    /// The input that they came by.
    pub input: usize,
    /// The parcels.
    pub parcels: Vec<Parcel>,
    /// With what they came.
    pub caps: [Capability<Epoch>; 3],
}

/// A copy that has been begun, and the right to speak of its interval.
struct Begun {
    interval: Interval,
    snapshot: Snapshot,
    ack: StepAck,
    cap: Capability<Epoch>,
    /// How long it was copied.
    copied: Duration,
}

/// For so long a worker copies before it looks at everything else.
const TURN: Duration = Duration::from_millis(1);

/// So many keys are copied before the first look at the clock, and at most between two: some are large.
const KEYS: (usize, usize) = (16, 1_024);

/// The saving of a step on one worker.
pub struct Saving {
    keeper: Keeper,
    acks: AcksOut,
    letterbox: Letterbox<(Interval, StepAck)>,
    /// What is being copied.
    copying: Option<Begun>,
    /// The interval that the step is in, and the right to speak of it; none when everything is over.
    standing: Option<(Interval, Capability<Epoch>)>,
    put_by: Vec<PutBy>,
    /// The intervals of which not everything is durable yet.
    owed: Vec<(Interval, Capability<Epoch>)>,
}

impl Saving {
    /// Begins in the interval of `epoch`.
    pub fn new(
        keeper: Keeper,
        acks: AcksOut,
        wake: SyncActivator,
        mut standing: Capability<Epoch>,
        epoch: Epoch,
    ) -> Saving {
        standing.downgrade(&epoch);
        let standing = Some((interval_of(epoch), standing));
        let letterbox = Letterbox::new(wake);
        Saving { keeper, acks, letterbox, copying: None, standing, put_by: Vec::new(), owed: Vec::new() }
    }

    /// Whether what comes in this epoch comes before its interval has begun here.
    pub fn is_early(&self, epoch: Epoch) -> bool {
        self.standing.as_ref().is_some_and(|(interval, _)| interval_of(epoch) > *interval)
    }

    /// Puts parcels by until their interval begins.
    pub fn put_by(&mut self, input: usize, parcels: Vec<Parcel>, caps: [Capability<Epoch>; 3]) {
        self.put_by.push(PutBy { input, parcels, caps });
    }

    /// The interval that the step is in, if it is over.
    ///
    /// What the sources said in the next one belongs there, also where nothing else came in it: else a step that hears
    /// of the end of one interval only when everything has ended would save the watermark of the end under it.
    pub fn over(&self, frontier: Option<Epoch>, driver: &Driver) -> Option<Over> {
        let (interval, _) = self.standing.as_ref()?;
        if frontier.is_some_and(|epoch| interval_of(epoch) <= *interval) {
            return None;
        }
        let put_by = self.put_by.iter().map(|put_by| interval_of(*put_by.caps[0].time()));
        let heard = driver.heard_from(first_epoch(*interval + 1));
        let next = put_by.chain(heard.map(interval_of)).chain(frontier.map(interval_of)).min();
        Some(Over { interval: *interval, next })
    }

    /// Begins to copy what the driver knows, to have it written: see [`Saving::copy_on`].
    pub fn save(&mut self, driver: &mut Driver, who: &Who, over: Over) {
        self.copy_all(driver, who);
        let Over { interval, next } = over;
        let Some((_, mut standing)) = self.standing.take() else { return };
        let begun = wall::now();
        let snapshot = driver.snapshot();
        let partitions = snapshot.partitions.iter().map(|(origin, watermark)| (*origin, *watermark)).collect();
        let (step, worker, watermark) = (who.step, who.shard, snapshot.watermark);
        let ack = StepAck { step, worker, part: None, waiting: Vec::new(), watermark, partitions };
        let copied = begun.elapsed();
        if !snapshot.has_groups() && snapshot.waiting.is_empty() {
            who.saved.copied(copied);
            who.saved.written(Duration::ZERO, 0, 0);
            self.acks.activate().session(&standing).give(Ack::Step(ack));
        } else {
            self.copying = Some(Begun { interval, snapshot, ack, cap: standing.clone(), copied });
        }
        if next.is_none() {
            self.copy_all(driver, who);
        }
        self.standing = next.map(|next| {
            standing.downgrade(&first_epoch(next));
            (next, standing)
        });
    }

    /// Goes on copying for a while, and has written what is whole; says whether there is more to copy.
    pub fn copy_on(&mut self, driver: &mut Driver, who: &Who) -> bool {
        let begun = wall::now();
        self.copying.is_some() && !self.copy_while(driver, who, || begun.elapsed() < TURN)
    }

    fn copy_all(&mut self, driver: &mut Driver, who: &Who) {
        self.copy_while(driver, who, || true);
    }

    fn copy_while(&mut self, driver: &mut Driver, who: &Who, may_go_on: impl Fn() -> bool) -> bool {
        let Some(copying) = &mut self.copying else { return true };
        let begun = wall::now();
        let mut keys = KEYS.0;
        loop {
            let round = wall::now();
            if driver.copy_on(&mut copying.snapshot, keys) {
                break;
            }
            if !may_go_on() {
                copying.copied += begun.elapsed();
                return false;
            }
            keys = if round.elapsed() < TURN / 8 { (keys * 2).min(KEYS.1) } else { keys };
        }
        let Some(Begun { interval, snapshot, ack, cap, copied }) = self.copying.take() else { return true };
        who.saved.copied(copied + begun.elapsed());
        let (name, saved) = (who.name.clone(), who.saved.clone());
        let write = move |store: &Store| Ok((interval, write(store, interval, &name, snapshot, ack, &saved)?));
        self.keeper.keep(&self.letterbox, write);
        self.owed.push((interval, cap));
        true
    }

    /// What was put by and is due in the interval that has begun.
    pub fn due(&mut self, over: Over) -> Vec<PutBy> {
        let is_due = |put_by: &mut PutBy| over.next == Some(interval_of(*put_by.caps[0].time()));
        self.put_by.extract_if(.., is_due).collect()
    }

    /// Says what has become durable.
    pub fn acknowledge(&mut self) {
        for (interval, ack) in self.letterbox.take() {
            if let Some(owed) = self.owed.iter().position(|(owed, _)| *owed == interval) {
                let (_, cap) = self.owed.swap_remove(owed);
                self.acks.activate().session(&cap).give(Ack::Step(ack));
            }
        }
    }
}

fn write(
    store: &Store,
    interval: Interval,
    name: &str,
    mut snapshot: Snapshot,
    mut ack: StepAck,
    saved: &Saved,
) -> Result<StepAck, Failure> {
    let (begun, mut count) = (wall::now(), 0);
    if snapshot.has_groups() {
        let groups = snapshot.take_groups();
        count = groups.len();
        let bytes = part::encode(name, &groups);
        ack.part = Some(store.put(interval, name, ack.worker, &bytes)?);
    }
    let mut waiting = snapshot.waiting;
    waiting.sort_by_key(|(input, _)| *input);
    for (input, batches) in waiting.chunk_by(|a, b| a.0 == b.0).map(|same| (same[0].0, same)) {
        let records = batches.iter().map(|(_, batch)| batch.records());
        let bytes = part::encode_rows(records)?;
        let file = store.put(interval, &format!("{name}.waiting-{input}"), ack.worker, &bytes)?;
        ack.waiting.push(Waiting { input, file });
    }
    saved.written(begun.elapsed(), count, ack.bytes());
    Ok(ack)
}
