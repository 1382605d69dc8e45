//! What all threads of a running job share.

use super::ledger::{Interval, first_epoch};
use super::metrics::Metrics;
use super::partitions::Partitions;
use crate::fault::Failure;
use crate::origin::{Origin, Origins};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use timely::scheduling::activate::SyncActivator;

/// The state of a job that is not data.
pub struct Shared {
    /// What is counted.
    pub metrics: Metrics,
    /// Where the source partitions stand.
    pub partitions: Partitions,
    /// The names of origins.
    pub origins: Origins,
    epoch: AtomicU64,
    /// The newest checkpoint that is there for good.
    committed: AtomicU64,
    stopping: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// In which epoch each partition that was found while the job runs was announced.
    announced: Mutex<BTreeMap<Origin, u64>>,
    sources: Mutex<Vec<SyncActivator>>,
    /// The sinks, which may wait for a checkpoint or a writer.
    sinks: Mutex<Vec<SyncActivator>>,
    readers: Mutex<Vec<Thread>>,
    discoverers: Mutex<Vec<Thread>>,
    /// Whether a reader waits for the slowest partition of its source.
    waits: AtomicBool,
}

impl Shared {
    /// The state of a job that has not begun; its first epoch is the first of this interval.
    pub fn new(metrics: Metrics, partitions: Partitions, origins: Origins, first: Interval) -> Shared {
        Shared {
            metrics,
            partitions,
            origins,
            epoch: AtomicU64::new(first_epoch(first)),
            committed: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            failure: Mutex::default(),
            announced: Mutex::default(),
            sources: Mutex::default(),
            sinks: Mutex::default(),
            readers: Mutex::default(),
            discoverers: Mutex::default(),
            waits: AtomicBool::new(false),
        }
    }

    /// The epoch that all sources are to be in.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Ends an epoch for all sources of the process.
    pub fn end_epoch(&self, epoch: u64) -> u64 {
        if self.epoch.fetch_max(epoch + 1, Ordering::AcqRel) <= epoch {
            self.wake_sources();
        }
        self.epoch()
    }

    /// Ends an interval, and with it the epoch, for all sources of the process.
    pub fn end_interval(&self, interval: Interval) {
        self.end_epoch(first_epoch(interval + 1) - 1);
    }

    /// Whether sinks keep so much back that a checkpoint should come before its time.
    pub fn is_full(&self) -> bool {
        false
    }

    /// The newest checkpoint that is there for good; 0 before the first.
    pub fn committed(&self) -> Interval {
        self.committed.load(Ordering::Acquire)
    }

    /// Hears that a checkpoint is there for good.
    pub fn commit(&self, interval: Interval) {
        self.committed.fetch_max(interval, Ordering::AcqRel);
        self.wake_sinks();
    }

    fn wake_sinks(&self) {
        lock(&self.sinks).retain(|sink| sink.activate().is_ok());
    }

    /// Adds a sink operator, to be woken when a checkpoint is there, or the job has failed.
    pub fn add_sink(&self, sink: SyncActivator) {
        lock(&self.sinks).push(sink);
    }

    /// Whether the job is to stop: nothing more is read.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Stops reading; what was read is worked off.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_readers();
        lock(&self.discoverers).iter().for_each(Thread::unpark);
        self.wake_sources();
    }

    /// Stops because of a failure; the first one is kept.
    pub fn fail(&self, failure: Failure) {
        lock(&self.failure).get_or_insert(failure);
        self.stop();
        // A sink may wait for a checkpoint that will never be there.
        self.wake_sinks();
    }

    /// The failure that stopped the job.
    pub fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    /// Whether a failure stopped the job: what is under way is dropped.
    pub fn failed(&self) -> bool {
        self.stopping() && lock(&self.failure).is_some()
    }

    /// Notes the epoch in which a partition was announced to all steps.
    pub fn announced(&self, origin: Origin, epoch: u64) {
        lock(&self.announced).entry(origin).or_insert(epoch);
    }

    /// The epoch in which a partition was announced, once it has been.
    pub fn announcement(&self, origin: Origin) -> Option<u64> {
        lock(&self.announced).get(&origin).copied()
    }

    /// Adds a source operator, to be woken when an epoch ends.
    pub fn add_source(&self, source: SyncActivator) {
        lock(&self.sources).push(source);
    }

    /// Adds a thread that reads, to be woken when there is news for it or the job stops.
    pub fn add_reader(&self, thread: Thread) {
        lock(&self.readers).push(thread);
    }

    /// Adds a thread that looks for partitions, to be woken when the job stops.
    pub fn add_discoverer(&self, thread: Thread) {
        lock(&self.discoverers).push(thread);
    }

    /// Wakes the threads that read.
    pub fn wake_readers(&self) {
        lock(&self.readers).iter().for_each(Thread::unpark);
    }

    /// Says that a reader waits for the slowest partition: the next call of [`Shared::moved_on`] wakes all readers.
    pub fn wait_for_slowest(&self) {
        self.waits.store(true, Ordering::SeqCst);
    }

    /// Says that a partition has moved on, or holds nobody back any more.
    pub fn moved_on(&self) {
        if self.waits.load(Ordering::SeqCst) && self.waits.swap(false, Ordering::SeqCst) {
            self.wake_readers();
        }
    }

    fn wake_sources(&self) {
        // A worker that is gone has no need to be woken.
        lock(&self.sources).retain(|source| source.activate().is_ok());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding the job's state")
}
