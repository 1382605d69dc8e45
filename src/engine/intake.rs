//! Reads source partitions on a thread of their own: one reader thread for each worker.
//!
//! ```text
//! Reader::read --frames--> decode pool --rows, in order--> Stamper --batches and watermarks--> source operator
//! ```
//! A reader that would have to wait for the pool decodes with it.
//!
//! Bounded everywhere: a partition has a few frames in the pool, a worker's channel has room for a few batches, and
//! when it is full nothing is read.

use super::decode::{DecodePool, Decoders, Decoding};
use super::driver::Mark;
use super::shared::Shared;
use super::stamp::Stamper;
use super::threads::Role;
use super::wall;
use crate::batch::Batch;
use crate::fault::Failure;
use crate::formats::Rows;
use crate::job::plan::TimePolicy;
use crate::origin::Origin;
use crate::source::{Feed, Position, Read, Reader};
use crate::time::{BEFORE_ALL, EventTime};
use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use timely::scheduling::activate::SyncActivator;

/// Records asked of a reader at once.
const READ_RECORDS: usize = 8_192;
/// How long a partition must have had nothing to give before it counts as caught up.
const QUIET: Duration = Duration::from_millis(200);
/// How long the thread sleeps when nobody wakes it.
const NAP: Duration = Duration::from_millis(100);

/// What a reader thread hands to the source operator.
pub struct Polled {
    /// Records.
    pub batch: Option<Batch>,
    /// What could not be taken.
    pub rejected: Option<Batch>,
    /// How many of the records are older than their stamp.
    pub late: usize,
    /// Where the partition stands behind them.
    pub mark: Mark,
    /// Where to go on reading it behind them.
    pub place: Place,
}

/// Where to go on reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The position behind everything that was taken whole; `None` at the beginning.
    pub position: Option<Position>,
    /// The last sequence that was taken: what is read again up to it is left out.
    pub sequence: Option<i64>,
    /// The newest event time.
    pub newest: EventTime,
    /// Whether it was silent for so long that nobody waited for it.
    pub idle: bool,
    /// Whether it has ended.
    pub ended: bool,
}

impl Place {
    /// The beginning.
    pub const BEGINNING: Place =
        Place { position: None, sequence: None, newest: BEFORE_ALL, idle: false, ended: false };
}

/// The partitions of one source that belong to one worker.
pub struct Lane {
    /// Which source of the job.
    pub source: usize,
    /// The open source.
    pub feed: Arc<dyn Feed>,
    /// How its frames are decoded.
    pub decoders: Decoders,
    /// Where batches go. Dropped when there is nothing more to come.
    pub sender: Option<SyncSender<Polled>>,
    /// Wakes the source operator.
    pub activator: SyncActivator,
    /// Partitions that were found and are to be read; filled while the job runs, too.
    pub found: Arc<Mutex<Vec<Found>>>,
    /// Whether more may be found.
    pub grows: bool,
    /// The policy that the stampers follow.
    pub policy: TimePolicy,
    /// The partitions that are read.
    pub partitions: Vec<Partition>,
}

/// News of a partition.
pub enum Found {
    /// It is there and will be opened: until then no watermark may rise past what it may hold.
    Announced(Origin),
    /// It is to be opened: its number, its name within the source, where to go on, and what stamps its records.
    Open(Origin, String, Place, Stamper),
}

/// An open partition.
pub struct Partition {
    origin: Origin,
    reader: Box<dyn Reader>,
    stamper: Stamper,
    place: Place,
    decoding: VecDeque<Decoding>,
    /// For each of these, the position behind it.
    behind: VecDeque<Position>,
    /// The last sequence that was taken before the job was started: it and what comes before it is left out.
    known: Option<i64>,
    /// The position behind those that are decoded, until all of it is stamped.
    decoded_to: Option<Position>,
    /// What is decoded and not stamped yet.
    decoded: VecDeque<Rows>,
    outbox: VecDeque<Polled>,
    at_end: bool,
    closed: bool,
    look_again: Option<Instant>,
    /// Whether the reader has called since it was last asked: then it is asked at once.
    woken: Arc<AtomicBool>,
    /// Since when the reader has had nothing to give.
    quiet: Option<Instant>,
    progress: u64,
}

impl Partition {
    /// Whether all that was read has been stamped.
    fn is_done(&self) -> bool {
        self.decoding.is_empty() && self.decoded.is_empty()
    }

    /// How many frames and errands of it the pool has, or has had and are not stamped yet.
    fn in_hand(&self) -> usize {
        self.decoding.len() + usize::from(!self.decoded.is_empty())
    }

    /// Takes what is next in the queue, if it is decoded. Where it could not be read to its end, what is behind it in
    /// the queue is dropped.
    fn fetch(&mut self) {
        while self.decoded.is_empty() {
            let Some(first) = self.decoding.front_mut() else { return };
            match first.take(&mut self.decoded) {
                None => return,
                Some(Ok(())) => {
                    self.decoding.pop_front();
                    self.decoded_to = self.behind.pop_front();
                }
                Some(Err(bad)) => {
                    self.reader.end();
                    self.at_end = true;
                    self.decoding.clear();
                    self.behind.clear();
                    self.decoded.push_back(Rows { bad: vec![bad], ..Rows::default() });
                }
            }
        }
    }
}

/// Reads all lanes of one worker until they end or the job stops. Runs on its own thread.
pub fn read(mut lanes: Vec<Lane>, pool: &DecodePool, shared: &Arc<Shared>) {
    let counted = shared.metrics.threads.count(Role::Read);
    let me = thread::current();
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || me.unpark());
    while !lanes.is_empty() && !shared.stopping() {
        let in_hand = lanes.iter().flat_map(|lane| &lane.partitions).map(Partition::in_hand).sum();
        let mut turn = Turn { pool, shared, wake: &wake, in_hand, busy: false, next: wall::now() + NAP };
        for lane in &mut lanes {
            if let Err(failure) = counted.work(|| turn.lane(lane)) {
                return shared.fail(failure);
            }
        }
        let (busy, next) = (turn.busy, turn.next);
        lanes.retain(|lane| lane.sender.is_some());
        if !busy && !pool.help(&counted) {
            thread::park_timeout(next.saturating_duration_since(wall::now()));
        }
    }
    // Dropping the senders ends the sources; they are told so that they need not wait to notice.
    for lane in &mut lanes {
        lane.sender = None;
        let _ = lane.activator.activate();
    }
}

/// One look at everything that can be done now.
struct Turn<'a> {
    pool: &'a DecodePool,
    shared: &'a Arc<Shared>,
    wake: &'a Arc<dyn Fn() + Send + Sync>,
    /// How many frames and errands of all partitions the pool has, or has had and are not stamped yet.
    in_hand: usize,
    busy: bool,
    next: Instant,
}

impl Turn<'_> {
    fn lane(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        let begun = wall::now();
        let found = std::mem::take(&mut *lane.found.lock().expect("nobody panics while adding a partition"));
        for found in found {
            match found {
                Found::Announced(origin) => self.announce(lane, origin),
                Found::Open(origin, name, place, stamper) => {
                    let mut partition = self.open(lane, origin, &name, place, stamper)?;
                    // A partition that says nothing has its place in a checkpoint, too.
                    self.post(lane, &mut partition, None, None, 0);
                    lane.partitions.push(partition);
                }
            }
        }
        let mut partitions = std::mem::take(&mut lane.partitions);
        let mut worked = false;
        for partition in &mut partitions {
            worked |= self.partition(lane, partition)?;
        }
        partitions.retain(|p| !p.closed || !p.outbox.is_empty());
        lane.partitions = partitions;
        let metrics = &self.shared.metrics.sources[lane.source];
        if worked {
            self.busy = true;
            metrics.busy.fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
        } else {
            *metrics.trouble.lock().expect("nobody panics while saying what is wrong") = lane.feed.trouble();
            metrics.answers_in_part.store(lane.feed.answers_in_part(), Relaxed);
        }
        if lane.partitions.is_empty() && !lane.grows {
            lane.sender = None;
            let _ = lane.activator.activate();
        }
        Ok(())
    }

    /// Tells all steps of a partition that will be opened. Waits where there is no room: it happens once.
    fn announce(&self, lane: &Lane, origin: Origin) {
        let mark = Mark { source: lane.source as u16, origin, watermark: BEFORE_ALL };
        let polled = Polled { batch: None, rejected: None, late: 0, mark, place: Place::BEGINNING };
        self.shared.metrics.sources[lane.source].queue.add(1);
        // A source that is gone needs no telling.
        if let Some(sender) = &lane.sender {
            let _ = sender.send(polled);
        }
        let _ = lane.activator.activate();
    }

    fn open(
        &self,
        lane: &Lane,
        origin: Origin,
        name: &str,
        place: Place,
        stamper: Stamper,
    ) -> Result<Partition, Failure> {
        let woken = Arc::new(AtomicBool::new(false));
        let (called, wake) = (woken.clone(), self.wake.clone());
        let wake = Arc::new(move || {
            called.store(true, Release);
            wake();
        });
        let reader = lane.feed.open(name, place.position, wake)?;
        Ok(Partition {
            origin,
            place: Place { position: Some(reader.position()), ..place },
            reader,
            stamper,
            decoding: VecDeque::new(),
            behind: VecDeque::new(),
            known: place.sequence,
            decoded_to: None,
            decoded: VecDeque::new(),
            outbox: VecDeque::new(),
            at_end: false,
            closed: false,
            look_again: None,
            woken,
            quiet: None,
            progress: 0,
        })
    }

    /// Does for a partition what can be done now; says whether that was anything.
    fn partition(&mut self, lane: &Lane, partition: &mut Partition) -> Result<bool, Failure> {
        let mut worked = self.send(lane, partition);
        let before = partition.in_hand();
        while partition.outbox.is_empty() && self.stamp(lane, partition) {
            worked = true;
            self.send(lane, partition);
        }
        self.in_hand = self.in_hand + partition.in_hand() - before;
        if partition.outbox.is_empty() && self.may_read(lane, partition) {
            worked |= self.read(lane, partition)?;
        }
        if partition.at_end && !partition.closed && partition.is_done() && partition.outbox.is_empty() {
            partition.stamper.end();
            partition.closed = true;
            partition.place.ended = true;
            self.shared.partitions.end(partition.origin);
            self.shared.moved_on();
            self.post(lane, partition, None, None, 0);
            self.send(lane, partition);
            worked = true;
        }
        Ok(worked)
    }

    fn may_read(&mut self, lane: &Lane, partition: &Partition) -> bool {
        // A partition of which nothing is in hand may always read: the others may be waiting for it.
        if partition.at_end || (!partition.is_done() && self.has_enough()) {
            return false;
        }
        if let Some(at) = partition.look_again.filter(|at| !partition.woken.load(Acquire) && *at > wall::now()) {
            self.next = self.next.min(at);
            return false;
        }
        let Some(drift) = lane.policy.max_drift else { return true };
        let slowest = || self.shared.partitions.slowest(lane.source);
        let is_near = |slowest: EventTime| partition.stamper.watermark() <= slowest.saturating_add(drift.micros());
        if slowest().is_none_or(is_near) {
            return true;
        }
        // It is looked at once more: whoever has moved on before this was said wakes nobody.
        self.shared.wait_for_slowest();
        slowest().is_none_or(is_near)
    }

    fn has_enough(&self) -> bool {
        self.in_hand >= self.pool.depth()
    }

    fn read(&mut self, lane: &Lane, partition: &mut Partition) -> Result<bool, Failure> {
        partition.look_again = None;
        partition.woken.store(false, Release);
        partition.reader.hear(self.has_enough());
        let read = partition.reader.read(READ_RECORDS)?;
        if !matches!(read, Read::Idle(_) | Read::End) {
            partition.behind.push_back(partition.reader.position());
        }
        let progress = partition.reader.progress();
        self.shared.metrics.sources[lane.source]
            .progress
            .fetch_add(progress.saturating_sub(partition.progress), Relaxed);
        partition.progress = progress;
        self.shared.partitions.behind(partition.origin, partition.reader.behind());
        if !matches!(read, Read::Idle(_) | Read::End) {
            partition.quiet = None;
            self.in_hand += 1;
        }
        match read {
            Read::Rows(rows) => partition.decoding.push_back(Decoding::Ready(rows)),
            Read::Frames(frames) => partition.decoding.push_back(self.pool.decode(&lane.decoders, frames, self.wake)),
            Read::Errand(errand) => partition.decoding.push_back(self.pool.run(&lane.decoders, errand, self.wake)),
            Read::End => partition.at_end = true,
            Read::Idle(wait) => {
                partition.look_again = Some(wall::now() + wait);
                self.next = self.next.min(wall::now() + wait);
                self.grow_quiet(lane, partition);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A partition that has been silent for long no longer holds the others back.
    fn grow_quiet(&mut self, lane: &Lane, partition: &mut Partition) {
        if !partition.reader.is_connected() {
            partition.quiet = None;
            return;
        }
        let since = *partition.quiet.get_or_insert_with(wall::now);
        if since.elapsed() >= QUIET && partition.is_done() {
            self.shared.partitions.quiet(partition.origin);
            self.shared.moved_on();
        }
        let Some(idle_after) = lane.policy.idle_after.filter(|_| !lane.feed.is_bounded()) else { return };
        if since.elapsed() < idle_after.to_std() || !partition.is_done() {
            return;
        }
        let before = partition.stamper.watermark();
        // It is silent first, so that it is not counted among those that hold back.
        self.shared.partitions.idle(partition.origin, before);
        let reached = self.shared.partitions.reached(lane.source);
        if partition.stamper.raise(reached) > before {
            self.shared.partitions.idle(partition.origin, partition.stamper.watermark());
            partition.place.idle = true;
            self.post(lane, partition, None, None, 0);
            self.send(lane, partition);
        }
    }

    /// Stamps the rows at the head of the queue, if they are decoded.
    fn stamp(&mut self, lane: &Lane, partition: &mut Partition) -> bool {
        partition.fetch();
        let Some(rows) = partition.decoded.pop_front() else { return false };
        self.give(lane, partition, rows);
        true
    }

    fn give(&mut self, lane: &Lane, partition: &mut Partition, mut rows: Rows) {
        if let Some(sequence) = partition.known {
            rows.leave_out(sequence);
            partition.known.take_if(|_| !rows.times.is_empty());
        }
        let records = rows.times.len() as u64;
        let last = rows.sequences.last().copied();
        let taken = last.max(rows.bad.last().map(|bad| bad.sequence));
        let stamped = partition.stamper.stamp(rows, wall::time_of_day(), &self.shared.origins);
        partition.place.sequence = taken.max(partition.place.sequence);
        partition.place.idle = false;
        if let Some(behind) = partition.decoded_to.take_if(|_| partition.decoded.is_empty()) {
            partition.place.position = Some(behind);
        }
        self.shared.partitions.advance(partition.origin, partition.stamper.reached(), last, records);
        self.shared.moved_on();
        self.post(lane, partition, stamped.batch, stamped.rejected, stamped.late);
    }

    fn post(&self, lane: &Lane, partition: &mut Partition, batch: Option<Batch>, rejected: Option<Batch>, late: usize) {
        let mark =
            Mark { source: lane.source as u16, origin: partition.origin, watermark: partition.stamper.watermark() };
        partition.place.newest = partition.stamper.reached().newest;
        partition.outbox.push_back(Polled { batch, rejected, late, mark, place: partition.place });
    }

    /// Counts what has been sent: only that will be worked off.
    fn count(&self, lane: &Lane, records: usize, rejected: usize, late: usize) {
        let metrics = &self.shared.metrics.sources[lane.source];
        metrics.queue.add(1);
        metrics.batches.fetch_add(1, Relaxed);
        metrics.records.fetch_add(records as u64, Relaxed);
        metrics.rejected.fetch_add(rejected as u64, Relaxed);
        metrics.late.fetch_add(late as u64, Relaxed);
    }

    /// Sends what there is room for.
    fn send(&mut self, lane: &Lane, partition: &mut Partition) -> bool {
        let Some(sender) = &lane.sender else { return false };
        let mut sent = false;
        while let Some(polled) = partition.outbox.pop_front() {
            if let Some(rejected) = &polled.rejected {
                self.shared.metrics.sources[lane.source].why.note(rejected);
            }
            let [records, rejected] = [&polled.batch, &polled.rejected].map(|b| b.as_ref().map_or(0, Batch::len));
            let late = polled.late;
            match sender.try_send(polled) {
                Ok(()) => {
                    sent = true;
                    self.count(lane, records, rejected, late);
                }
                Err(TrySendError::Full(polled)) => {
                    partition.outbox.push_front(polled);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        if sent {
            // A worker that is gone does not miss it.
            let _ = lane.activator.activate();
        }
        sent
    }
}
